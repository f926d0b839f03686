// A sleep with the event loop free: descriptors watched through libuv until one is readable or the time is over.
#pragma once
#include "addon.h"

namespace flowring {

// Descriptors a watch may have.
constexpr int kWatchedMax = 8;

// { arm(ms), disarm(), close() } for the calling thread. After arm(), `wake` is called once: when one of the `n` descriptors or
// `bellFd` (an eventfd, made silent again) is readable, or after `ms`. Throws with an errno's name.
napi_value makeWatch(napi_env env, const int* fds, int n, int bellFd, napi_value wake);

}  // namespace flowring
