// What the calling thread cost: CPU time, context switches, the CPU it is on.
#include <sched.h>
#include <sys/resource.h>
#include <time.h>

#include "addon.h"

namespace flowring {

namespace {

// threadStats(into: Float64Array of 4): CPU nanoseconds, voluntary and involuntary switches, current CPU. About half a
// microsecond: for sampling, not for every breath.
napi_value threadStats(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  napi_typedarray_type type;
  size_t n = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, a[0], &type, &n, &data, nullptr, nullptr) != napi_ok || type != napi_float64_array || n < 4)
    return fail(env, "EINVAL", "threadStats wants a Float64Array of 4");
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  rusage u{};
  getrusage(RUSAGE_THREAD, &u);
  auto* out = static_cast<double*>(data);
  out[0] = static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
  out[1] = static_cast<double>(u.ru_nvcsw);
  out[2] = static_cast<double>(u.ru_nivcsw);
  out[3] = sched_getcpu();
  return nullptr;
}

napi_value currentCpu(napi_env env, napi_callback_info) { return number(env, sched_getcpu()); }

}  // namespace

void registerThreadStats(napi_env env, napi_value exports) {
  define(env, exports, "threadStats", threadStats);
  define(env, exports, "currentCpu", currentCpu);
}

}  // namespace flowring
