// Shared by all native files: argument reading, errors, and what each file registers. Raw Node-API throughout: the calls of the
// hot path take integers only, the cold ones are few.
#pragma once
#include <node_api.h>

#include <cstdint>
#include <string>

namespace flowring {

template <size_t N>
struct Args {
  napi_env env;
  size_t count = N;
  napi_value v[N == 0 ? 1 : N];
  void* data = nullptr;
  Args(napi_env e, napi_callback_info info) : env(e) { napi_get_cb_info(e, info, &count, v, nullptr, &data); }
  napi_value operator[](size_t i) const { return v[i]; }
  // 0 when the argument is missing or not a number: callers check ranges anyway.
  int32_t i32(size_t i) const {
    int32_t x = 0;
    napi_get_value_int32(env, v[i], &x);
    return x;
  }
  double f64(size_t i) const {
    double x = 0;
    napi_get_value_double(env, v[i], &x);
    return x;
  }
  bool flag(size_t i) const {
    bool x = false;
    napi_get_value_bool(env, v[i], &x);
    return x;
  }
  std::string text(size_t i) const {
    char s[256] = "";
    napi_get_value_string_utf8(env, v[i], s, sizeof s, nullptr);
    return s;
  }
};

inline napi_value number(napi_env env, int32_t x) {
  napi_value r;
  napi_create_int32(env, x, &r);
  return r;
}
inline napi_value number64(napi_env env, double x) {
  napi_value r;
  napi_create_double(env, x, &r);
  return r;
}
inline napi_value text(napi_env env, const std::string& s) {
  napi_value r;
  napi_create_string_utf8(env, s.data(), s.size(), &r);
  return r;
}
inline void set(napi_env env, napi_value o, const char* name, napi_value v) { napi_set_named_property(env, o, name, v); }
inline napi_value fail(napi_env env, const char* code, const std::string& message) {
  napi_throw_error(env, code, message.c_str());
  return nullptr;
}
// Throws "what: reason" with the errno's name as code.
napi_value failErrno(napi_env env, const std::string& what, int err);
const char* errnoName(int err);

inline void define(napi_env env, napi_value o, const char* name, napi_callback f, void* data = nullptr) {
  napi_value fn;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, f, data, &fn);
  napi_set_named_property(env, o, name, fn);
}

// Something a thread's environment owns: freed when that thread ends (never at process.exit()).
struct Owned {
  virtual ~Owned() = default;
};
void own(napi_env env, Owned* o);
void disown(napi_env env, Owned* o);

bool layoutChecked();
void setLayoutChecked();

void registerLayoutCheck(napi_env env, napi_value exports);
void registerRegion(napi_env env, napi_value exports);
void registerAffinity(napi_env env, napi_value exports);
void registerClock(napi_env env, napi_value exports);
void registerThreadStats(napi_env env, napi_value exports);
void registerBell(napi_env env, napi_value exports);
void registerBursts(napi_env env, napi_value exports);
void registerLink(napi_env env, napi_value exports);
void registerPorts(napi_env env, napi_value exports);

// Closes every device and unlinks every file. Idempotent; process.on('exit') and atexit.
void closeAllPorts();
void unlinkAllFiles();

}  // namespace flowring
