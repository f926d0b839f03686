// Time and waiting a few cycles.
#include <time.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "addon.h"
#include "region.h"

namespace flowring {

namespace {

int64_t monotonicNs() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<int64_t>(t.tv_sec) * 1000000000 + t.tv_nsec;
}

// clock(memoryId, byteOffset): nowUs and nowMs, int32 and wrapping, both from one reading of CLOCK_MONOTONIC.
napi_value clock(napi_env env, napi_callback_info info) {
  Args<2> a(env, info);
  const int32_t at = a.i32(1);
  uint8_t* p = (at & 3) == 0 ? memoryAt(a.i32(0), at, 8) : nullptr;
  if (p == nullptr) return fail(env, "EINVAL", "clock: memory " + std::to_string(a.i32(0)) + " has no 8 bytes at " + std::to_string(at));
  const int64_t ns = monotonicNs();
  auto* w = reinterpret_cast<int32_t*>(p);
  __atomic_store_n(&w[0], static_cast<int32_t>(ns / 1000), __ATOMIC_RELAXED);
  __atomic_store_n(&w[1], static_cast<int32_t>(ns / 1000000), __ATOMIC_RELAXED);
  return nullptr;
}

napi_value nowNs(napi_env env, napi_callback_info) { return number64(env, static_cast<double>(monotonicNs())); }

// pause(n): n times the CPU's spin-wait hint, at most a million.
napi_value pause(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  int32_t n = a.i32(0);
  if (n > 1000000) n = 1000000;
  for (int32_t i = 0; i < n; i++) {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#else
    asm volatile("" ::: "memory");
#endif
  }
  return nullptr;
}

}  // namespace

void registerClock(napi_env env, napi_value exports) {
  define(env, exports, "clock", clock);
  define(env, exports, "nowNs", nowNs);
  define(env, exports, "pause", pause);
}

}  // namespace flowring
