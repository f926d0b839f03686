// Which CPUs the calling thread may run on, its kernel id and its name.
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "addon.h"

namespace flowring {

namespace {

// setAffinity(cpus: number[]): the calling thread runs on these from now on.
napi_value setAffinity(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  uint32_t n = 0;
  if (napi_get_array_length(env, a[0], &n) != napi_ok || n == 0) return fail(env, "EINVAL", "setAffinity wants a non-empty array of CPU numbers");
  cpu_set_t set;
  CPU_ZERO(&set);
  std::string list;
  for (uint32_t i = 0; i < n; i++) {
    napi_value v;
    int32_t cpu = -1;
    napi_get_element(env, a[0], i, &v);
    napi_get_value_int32(env, v, &cpu);
    if (cpu < 0 || cpu >= CPU_SETSIZE) return fail(env, "EINVAL", "setAffinity: CPU " + std::to_string(cpu) + " is not in 0.." + std::to_string(CPU_SETSIZE - 1));
    CPU_SET(cpu, &set);
    list += (i == 0 ? "" : ",") + std::to_string(cpu);
  }
  const int err = pthread_setaffinity_np(pthread_self(), sizeof set, &set);
  if (err != 0) return failErrno(env, "setAffinity: CPUs " + list + " (outside this process's cpuset, or not online)", err);
  return nullptr;
}

napi_value getAffinity(napi_env env, napi_callback_info) {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int err = pthread_getaffinity_np(pthread_self(), sizeof set, &set);
  if (err != 0) return failErrno(env, "getAffinity", err);
  napi_value r;
  napi_create_array(env, &r);
  uint32_t k = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
    if (CPU_ISSET(cpu, &set)) napi_set_element(env, r, k++, number(env, cpu));
  return r;
}

// setThreadName(name): as top -H and perf show it; the kernel keeps 15 bytes.
napi_value setThreadName(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  pthread_setname_np(pthread_self(), a.text(0).substr(0, 15).c_str());
  return nullptr;
}

napi_value gettid(napi_env env, napi_callback_info) { return number(env, static_cast<int32_t>(syscall(SYS_gettid))); }

}  // namespace

void registerAffinity(napi_env env, napi_value exports) {
  define(env, exports, "setAffinity", setAffinity);
  define(env, exports, "getAffinity", getAffinity);
  define(env, exports, "setThreadName", setThreadName);
  define(env, exports, "gettid", gettid);
}

}  // namespace flowring
