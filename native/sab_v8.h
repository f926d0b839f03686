// The one place that needs V8's own headers. Built without them (FLOWRING_NO_V8), every function says "not available".
#pragma once
#include <node_api.h>

#include <cstddef>

namespace flowring {

typedef void (*ExternalDeleter)(void* data, void* hint);

// A SharedArrayBuffer over foreign memory, or null. The deleter may run on any thread, or never.
napi_value externalSharedArrayBuffer(napi_env env, void* data, size_t bytes, ExternalDeleter deleter, void* hint);
// Keeps a SharedArrayBuffer's memory alive; null when that is not possible (the caller must keep it then).
// Whether pinBackingStore can.
bool canPin();
void* pinBackingStore(napi_env env, napi_value buffer);
void unpinBackingStore(void* pin);
// Runs the microtask queue. False when not available.
bool runMicrotasks();
// Counts this thread's garbage collections from now on, also while its event loop never turns. False when not available.
bool watchGc();
double gcCount();
double gcNs();

}  // namespace flowring
