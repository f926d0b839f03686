// eventfds: the bell of a thread that sleeps in poll(2) or in its event loop (src/rings/doorbell.ts).
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <mutex>
#include <vector>

#include "addon.h"
#include "watch.h"

namespace flowring {

namespace {

// Bells that nobody has any more. They stay open: whoever was about to ring one writes late, and the number must not be
// another file's by then. What it costs their next owner is one look for nothing.
struct Spare {
  std::mutex mutex;
  std::vector<int> fds;
};
Spare& spare() {
  static Spare* s = new Spare();
  return *s;
}

napi_value eventfdOpen(napi_env env, napi_callback_info) {
  {
    std::lock_guard<std::mutex> lock(spare().mutex);
    if (!spare().fds.empty()) {
      const int fd = spare().fds.back();
      spare().fds.pop_back();
      uint64_t late;
      if (read(fd, &late, sizeof late) < 0 && errno != EAGAIN) return failErrno(env, "eventfd", errno);
      return number(env, fd);
    }
  }
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

// eventfdClose(fd): the owner has no use for it any more.
napi_value eventfdClose(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  if (a.i32(0) >= 0) {
    std::lock_guard<std::mutex> lock(spare().mutex);
    spare().fds.push_back(a.i32(0));
  }
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

// eventfdWatch(fd, wake) -> { arm, disarm, close } (watch.h): the sleep of a thread that has no device.
napi_value eventfdWatch(napi_env env, napi_callback_info info) {
  Args<2> a(env, info);
  return makeWatch(env, nullptr, 0, a.i32(0), a[1]);
}

}  // namespace

void registerBell(napi_env env, napi_value exports) {
  define(env, exports, "eventfdOpen", eventfdOpen);
  define(env, exports, "eventfdWrite", eventfdWrite);
  define(env, exports, "eventfdClose", eventfdClose);
  define(env, exports, "eventfdWait", eventfdWait);
  define(env, exports, "eventfdWatch", eventfdWatch);
}

}  // namespace flowring
