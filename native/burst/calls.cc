// createBursts(packetId, tableId, arenaId) -> the calls of src/rings/bursts.ts, each bound to its context: integers in, integer out.
#include "burst.h"
#include "checksum.h"

namespace flowring {

namespace {

Bursts* of(void* data) { return static_cast<Bursts*>(data); }

napi_value inspect(napi_env env, napi_callback_info info) {
  Args<3> a(env, info);
  return number(env, of(a.data)->inspect(a.i32(0), a.i32(1), a.i32(2)));
}
napi_value emit(napi_env env, napi_callback_info info) {
  Args<6> a(env, info);
  return number(env, of(a.data)->emit(a.i32(0), a.i32(1), a.i32(2), a.i32(3), a.i32(4), a.i32(5)));
}
napi_value copy(napi_env env, napi_callback_info info) {
  Args<2> a(env, info);
  of(a.data)->copy(a.i32(0), a.i32(1));
  return nullptr;
}

// The bytes of a Uint8Array (a Buffer too); none for anything else: then every entry is refused and counted.
uint8_t* userBytes(napi_env env, napi_value v, size_t* bytes) {
  napi_typedarray_type type;
  void* data = nullptr;
  *bytes = 0;
  if (napi_get_typedarray_info(env, v, &type, bytes, &data, nullptr, nullptr) != napi_ok || type != napi_uint8_array) *bytes = 0;
  return static_cast<uint8_t*>(data);
}
napi_value toUser(napi_env env, napi_callback_info info) {
  Args<3> a(env, info);
  size_t bytes;
  uint8_t* user = userBytes(env, a[0], &bytes);
  of(a.data)->toUser(user, static_cast<int64_t>(bytes), a.i32(1), a.i32(2));
  return nullptr;
}
napi_value fromUser(napi_env env, napi_callback_info info) {
  Args<3> a(env, info);
  size_t bytes;
  const uint8_t* user = userBytes(env, a[0], &bytes);
  of(a.data)->fromUser(user, static_cast<int64_t>(bytes), a.i32(1), a.i32(2));
  return nullptr;
}
napi_value badEntries(napi_env env, napi_callback_info info) {
  Args<0> a(env, info);
  return number64(env, static_cast<double>(of(a.data)->bad));
}

napi_value createBursts(napi_env env, napi_callback_info info) {
  Args<3> a(env, info);
  if (!layoutChecked()) return fail(env, "FLOWRING_ABI", "createBursts: checkLayout must pass first");
  auto* b = new Bursts();
  const char* which[] = {"packet memory", "frame table", "arena"};
  Hold* holds[] = {&b->packetHold, &b->tableHold, &b->arenaHold};
  for (int i = 0; i < 3; i++)
    if (!holds[i]->take(a.i32(static_cast<size_t>(i)))) {
      delete b;
      return fail(env, "EINVAL", std::string("createBursts: no memory ") + std::to_string(a.i32(static_cast<size_t>(i))) + " for the " + which[i] + "; register it first");
    }
  std::string why;
  if (!b->bind(b->tableHold.base(), b->tableHold.bytes(), b->packetHold.base(), b->packetHold.bytes(), b->arenaHold.base(), b->arenaHold.bytes(), why)) {
    delete b;
    return fail(env, "FLOWRING_ABI", "createBursts: " + why);
  }
  own(env, b);
  napi_value o;
  napi_create_object(env, &o);
  define(env, o, "inspect", inspect, b);
  define(env, o, "emit", emit, b);
  define(env, o, "copy", copy, b);
  define(env, o, "toUser", toUser, b);
  define(env, o, "fromUser", fromUser, b);
  define(env, o, "badEntries", badEntries, b);
  return o;
}

// checksum(id, offset, len, scalar) -> folded sum: for tests, which compare both forms on any CPU
napi_value checksum(napi_env env, napi_callback_info info) {
  Args<4> a(env, info);
  const int32_t len = a.i32(2);
  const uint8_t* p = len < 0 ? nullptr : memoryAt(a.i32(0), a.i32(1), len);
  if (p == nullptr) return number(env, -1);
  return number(env, static_cast<int32_t>(a.flag(3) ? sumScalar(p, static_cast<size_t>(len)) : sumBytes(p, static_cast<size_t>(len))));
}

}  // namespace

void registerBursts(napi_env env, napi_value exports) {
  define(env, exports, "createBursts", createBursts);
  define(env, exports, "checksum", checksum);
  set(env, exports, "checksumKind", text(env, checksumKind));
}

}  // namespace flowring
