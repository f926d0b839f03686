// eventfds: the bell of a thread that sleeps in poll(2) (src/rings/doorbell.ts).
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "addon.h"

namespace flowring {

namespace {

napi_value eventfdOpen(napi_env env, napi_callback_info) {
  const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return fd < 0 ? failErrno(env, "eventfd", errno) : number(env, fd);
}

// eventfdWrite(fd): wakes whoever polls it. A descriptor below 0 is nobody's bell.
napi_value eventfdWrite(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  const int32_t fd = a.i32(0);
  if (fd >= 0) {
    const uint64_t one = 1;
    ssize_t r;
    do r = write(fd, &one, sizeof one);
    while (r < 0 && errno == EINTR);  // EAGAIN: it is ringing already
  }
  return nullptr;
}

napi_value eventfdClose(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  if (a.i32(0) >= 0) close(a.i32(0));
  return nullptr;
}

// eventfdWait(fd, ms) -> 1 when it rang (and is silent again), 0 after `ms`
napi_value eventfdWait(napi_env env, napi_callback_info info) {
  Args<2> a(env, info);
  pollfd p{a.i32(0), POLLIN, 0};
  const int r = poll(&p, 1, a.i32(1));
  uint64_t count;
  return number(env, r > 0 && read(p.fd, &count, sizeof count) == sizeof count ? 1 : 0);
}

}  // namespace

void registerBell(napi_env env, napi_value exports) {
  define(env, exports, "eventfdOpen", eventfdOpen);
  define(env, exports, "eventfdWrite", eventfdWrite);
  define(env, exports, "eventfdClose", eventfdClose);
  define(env, exports, "eventfdWait", eventfdWait);
}

}  // namespace flowring
