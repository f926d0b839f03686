// The descriptors stand in an epoll set of their own, with a timer, and libuv watches that set: so a sleep costs one handle
// whatever a port has, its end is exact to the millisecond and leaves no garbage, and a device that closes leaves by itself.
//
// A thread that wakes wants to look at its rings, not to tidy up: libuv goes on watching, unreferenced, and the timer runs on, until
// something of the set is ready while nobody sleeps. Mostly the next sleep comes before, and finds both in place.
//
// The port's descriptors leave the set with it: a device in an epoll set wakes that set for every frame that comes and for every one
// whose memory is free again, which is CPU a frame on both sides.
#include "watch.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

// libuv's, by hand: node exports it, its ABI holds within version 1, and the Node-API headers alone do not have it.
extern "C" {
struct uv_poll_s;
size_t uv_handle_size(int type);
const char* uv_handle_type_name(int type);
void uv_handle_set_data(uv_poll_s* handle, void* data);
void* uv_handle_get_data(const uv_poll_s* handle);
int uv_poll_init(uv_loop_s* loop, uv_poll_s* handle, int fd);
int uv_poll_start(uv_poll_s* handle, int events, void (*done)(uv_poll_s*, int, int));
int uv_poll_stop(uv_poll_s* handle);
void uv_ref(uv_poll_s* handle);
void uv_unref(uv_poll_s* handle);
void uv_close(uv_poll_s* handle, void (*closed)(uv_poll_s*));
}

namespace flowring {

namespace {

constexpr int kUvPoll = 8;      // uv_handle_type UV_POLL
constexpr int kUvReadable = 1;  // UV_READABLE

struct Watch;

// What the JavaScript object points at: outlives the watch, until the thread's environment ends.
struct Place : Owned {
  Watch* watch = nullptr;
};

struct Watch {
  napi_env env = nullptr;
  Place* place = nullptr;
  napi_ref wake = nullptr;
  napi_async_cleanup_hook_handle hook = nullptr;
  uv_poll_s* handle = nullptr;
  int set = -1, timer = -1, bell = -1;
  // The port's.
  int fds[kWatchedMax], count = 0;
  // Somebody sleeps; libuv watches.
  bool armed = false, watching = false, closing = false;

  void enter();
  void disarm();
  void still();
  void close();
  void call();
  ~Watch() {
    if (set >= 0) ::close(set);
    if (timer >= 0) ::close(timer);
    free(handle);
  }
};

void setTimer(int timer, int32_t ms) {
  itimerspec t{};
  t.it_value.tv_sec = ms / 1000;
  t.it_value.tv_nsec = static_cast<long>(ms % 1000) * 1000000;
  timerfd_settime(timer, 0, &t, nullptr);  // 0 silences one that rang
}

int addTo(int set, int fd) {
  epoll_event e{};
  e.events = EPOLLIN;
  e.data.fd = fd;
  return epoll_ctl(set, EPOLL_CTL_ADD, fd, &e) == 0 ? 0 : errno;
}

// A device that was closed has /dev/null in its place, which takes no part in epoll: nothing will come from there.
void Watch::enter() {
  for (int i = 0; i < count; i++) addTo(set, fds[i]);
}

void Watch::disarm() {
  if (!armed) return;
  armed = false;
  uv_unref(handle);
}

void Watch::still() {
  if (!watching) return;
  watching = false;
  uv_poll_stop(handle);
  setTimer(timer, 0);
  for (int i = 0; i < count; i++) epoll_ctl(set, EPOLL_CTL_DEL, fds[i], nullptr);
}

void Watch::call() {
  napi_handle_scope scope;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  napi_value fn, global, result;
  if (napi_get_reference_value(env, wake, &fn) == napi_ok && napi_get_global(env, &global) == napi_ok &&
      napi_make_callback(env, nullptr, global, fn, 0, nullptr, &result) == napi_pending_exception) {
    // A throw of the thread's program: as one from any other callback of the event loop. None is there when the thread is being terminated.
    napi_value error;
    bool pending = false;
    if (napi_is_exception_pending(env, &pending) == napi_ok && pending && napi_get_and_clear_last_exception(env, &error) == napi_ok)
      napi_fatal_exception(env, error);
  }
  napi_close_handle_scope(env, scope);
}

void ready(uv_poll_s* handle, int, int) {
  auto* w = static_cast<Watch*>(uv_handle_get_data(handle));
  if (!w->armed) return w->still();
  w->disarm();
  uint64_t rings;
  if (w->bell >= 0 && read(w->bell, &rings, sizeof rings) < 0 && errno != EAGAIN) w->bell = -1;
  w->call();
}

void closed(uv_poll_s* handle) {
  auto* w = static_cast<Watch*>(uv_handle_get_data(handle));
  w->place->watch = nullptr;
  const napi_async_cleanup_hook_handle hook = w->hook;
  delete w;
  // Lets the environment go on ending when it waits for this.
  if (hook != nullptr) napi_remove_async_cleanup_hook(hook);
}

void Watch::close() {
  if (closing) return;
  disarm();
  still();
  closing = true;
  napi_delete_reference(env, wake);
  uv_close(handle, closed);
}

// The thread ends, whatever the reason: its loop must not be left with a handle that is open.
void environmentEnds(napi_async_cleanup_hook_handle, void* data) { static_cast<Watch*>(data)->close(); }

Watch* of(void* data) { return static_cast<Place*>(data)->watch; }

// arm(ms): at least 1 ms
napi_value arm(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  Watch* w = of(a.data);
  if (w == nullptr || w->closing || w->armed) return nullptr;
  const int32_t ms = a.i32(0);
  if (!w->watching) w->enter();
  setTimer(w->timer, ms < 1 ? 1 : ms);
  if (!w->watching && uv_poll_start(w->handle, kUvReadable, ready) != 0) return fail(env, "EIO", "watch: libuv refuses to poll");
  w->watching = w->armed = true;
  uv_ref(w->handle);
  return nullptr;
}

napi_value disarm(napi_env env, napi_callback_info info) {
  Args<0> a(env, info);
  if (Watch* w = of(a.data)) w->disarm();
  return nullptr;
}

napi_value close(napi_env env, napi_callback_info info) {
  Args<0> a(env, info);
  if (Watch* w = of(a.data)) w->close();
  return nullptr;
}

}  // namespace

napi_value makeWatch(napi_env env, const int* fds, int n, int bellFd, napi_value wake) {
  uv_loop_s* loop = nullptr;
  const char* name = uv_handle_type_name(kUvPoll);
  if (name == nullptr || std::string(name) != "poll" || napi_get_uv_event_loop(env, &loop) != napi_ok) return fail(env, "ENOTSUP", "watch: this libuv is not version 1's");
  auto* w = new Watch();
  w->env = env;
  w->bell = bellFd;
  w->set = epoll_create1(EPOLL_CLOEXEC);
  w->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  int err = w->set < 0 || w->timer < 0 ? errno : addTo(w->set, w->timer);
  if (err == 0 && bellFd >= 0) err = addTo(w->set, bellFd);
  for (int i = 0; err == 0 && i < n && i < kWatchedMax; i++) w->fds[w->count++] = fds[i];
  if (err != 0) {
    delete w;
    return failErrno(env, "watch", err);
  }
  w->handle = static_cast<uv_poll_s*>(calloc(1, uv_handle_size(kUvPoll)));
  const int bad = uv_poll_init(loop, w->handle, w->set);
  if (bad != 0) {
    delete w;
    return failErrno(env, "watch: uv_poll_init", -bad);
  }
  uv_handle_set_data(w->handle, w);
  uv_unref(w->handle);
  napi_create_reference(env, wake, 1, &w->wake);
  napi_add_async_cleanup_hook(env, environmentEnds, w, &w->hook);
  w->place = new Place();
  w->place->watch = w;
  own(env, w->place);
  napi_value o;
  napi_create_object(env, &o);
  define(env, o, "arm", arm, w->place);
  define(env, o, "disarm", disarm, w->place);
  define(env, o, "close", close, w->place);
  return o;
}

}  // namespace flowring
