// What the calling thread cost: CPU time, context switches, the CPU it is on.
#include <sched.h>
#include <sys/resource.h>
#include <time.h>

#include "addon.h"
#include "sab_v8.h"

namespace flowring {

namespace {

// Each about half a microsecond: for sampling, not for every breath.
napi_value threadCpuNs(napi_env env, napi_callback_info) {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return number64(env, static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec));
}

rusage usage() {
  rusage u{};
  getrusage(RUSAGE_THREAD, &u);
  return u;
}
napi_value voluntarySwitches(napi_env env, napi_callback_info) { return number64(env, static_cast<double>(usage().ru_nvcsw)); }
napi_value involuntarySwitches(napi_env env, napi_callback_info) { return number64(env, static_cast<double>(usage().ru_nivcsw)); }

napi_value startGcWatch(napi_env env, napi_callback_info) {
  napi_value yes = nullptr;
  napi_get_boolean(env, watchGc(), &yes);
  return yes;
}
napi_value gcCountOf(napi_env env, napi_callback_info) { return number64(env, gcCount()); }
napi_value gcNsOf(napi_env env, napi_callback_info) { return number64(env, gcNs()); }

napi_value currentCpu(napi_env env, napi_callback_info) { return number(env, sched_getcpu()); }

}  // namespace

void registerThreadStats(napi_env env, napi_value exports) {
  define(env, exports, "threadCpuNs", threadCpuNs);
  define(env, exports, "voluntarySwitches", voluntarySwitches);
  define(env, exports, "involuntarySwitches", involuntarySwitches);
  define(env, exports, "currentCpu", currentCpu);
  define(env, exports, "watchGc", startGcWatch);
  define(env, exports, "gcCount", gcCountOf);
  define(env, exports, "gcNs", gcNsOf);
}

}  // namespace flowring
