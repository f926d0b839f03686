// Registration. One process loads this once for main and every worker: tables are process-wide, guarded on cold paths only.
#include "addon.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <vector>

#include "region.h"

namespace flowring {

namespace {

struct Environment {
  std::vector<Owned*> owned;
};

std::atomic<bool> checked{false};

void endEnvironment(napi_env, void* data, void*) {
  auto* e = static_cast<Environment*>(data);
  // Last made, first freed: a port attachment before the memory it stands on.
  while (!e->owned.empty()) {
    Owned* o = e->owned.back();
    e->owned.pop_back();
    delete o;
  }
  delete e;
}

void atExit() {
  closeAllPorts();
  unlinkAllFiles();
  traceRegions();
}

napi_value closeAll(napi_env, napi_callback_info) {
  closeAllPorts();
  unlinkAllFiles();
  return nullptr;
}

// The deleters of shared memory and atexit point into this library: it must never be unloaded, even when the last
// environment that loaded it ends.
void pinLibrary() {
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&pinLibrary), &info) != 0) dlopen(info.dli_fname, RTLD_NOW | RTLD_NODELETE);
}

}  // namespace

bool layoutChecked() { return checked.load(); }
void setLayoutChecked() { checked.store(true); }

void own(napi_env env, Owned* o) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  static_cast<Environment*>(data)->owned.push_back(o);
}

void disown(napi_env env, Owned* o) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  auto& v = static_cast<Environment*>(data)->owned;
  for (size_t i = 0; i < v.size(); i++)
    if (v[i] == o) {
      v.erase(v.begin() + static_cast<long>(i));
      return;
    }
}

const char* errnoName(int err) {
  switch (err) {
    case EPERM: return "EPERM";
    case EACCES: return "EACCES";
    case ENOENT: return "ENOENT";
    case ENXIO: return "ENXIO";
    case ENODEV: return "ENODEV";
    case EBUSY: return "EBUSY";
    case EEXIST: return "EEXIST";
    case EINVAL: return "EINVAL";
    case ENOMEM: return "ENOMEM";
    case EMFILE: return "EMFILE";
    case ENFILE: return "ENFILE";
    case ENOSPC: return "ENOSPC";
    case ESRCH: return "ESRCH";
    case ENOTTY: return "ENOTTY";
    case E2BIG: return "E2BIG";
    case ENETDOWN: return "ENETDOWN";
    case EAFNOSUPPORT: return "EAFNOSUPPORT";
    case EOPNOTSUPP: return "EOPNOTSUPP";
    case ENOPROTOOPT: return "ENOPROTOOPT";
    default: return "EIO";
  }
}

napi_value failErrno(napi_env env, const std::string& what, int err) {
  return fail(env, errnoName(err), what + ": " + strerror(err) + " (" + errnoName(err) + ")");
}

}  // namespace flowring

NAPI_MODULE_INIT() {
  using namespace flowring;
  static std::once_flag once;
  std::call_once(once, [] {
    pinLibrary();
    atexit(atExit);
  });
  napi_set_instance_data(env, new Environment(), endEnvironment, nullptr);
  registerLayoutCheck(env, exports);
  registerRegion(env, exports);
  registerAffinity(env, exports);
  registerClock(env, exports);
  registerThreadStats(env, exports);
  registerBell(env, exports);
  registerBursts(env, exports);
  registerLink(env, exports);
  registerPorts(env, exports);
  define(env, exports, "closeAll", closeAll);
  return exports;
}
