#include "sab_v8.h"

#include <dlfcn.h>

#ifndef FLOWRING_NO_V8
#include <time.h>
#include <v8.h>

#include <cstring>
#include <memory>
#endif

namespace flowring {

namespace {

// node_api_create_external_sharedarraybuffer: in Node 22.23, 24.16, 26.1 and later (experimental Node-API), looked up so that one
// build runs on all.
typedef napi_status (*CreateExternal)(napi_env, void*, size_t, void (*)(void*, void*), void*, napi_value*);
CreateExternal createExternal() {
  static auto f = reinterpret_cast<CreateExternal>(dlsym(RTLD_DEFAULT, "node_api_create_external_sharedarraybuffer"));
  return f;
}

#ifndef FLOWRING_NO_V8
// A napi_value is a Local's slot address; both are one pointer wide.
v8::Local<v8::Value> toV8(napi_value v) {
  v8::Local<v8::Value> local;
  static_assert(sizeof v == sizeof local, "napi_value and v8::Local differ in size");
  memcpy(static_cast<void*>(&local), &v, sizeof v);
  return local;
}
napi_value fromV8(v8::Local<v8::Value> local) {
  napi_value v;
  memcpy(&v, static_cast<void*>(&local), sizeof v);
  return v;
}
struct Finalizer {
  ExternalDeleter deleter;
  void* hint;
};
#endif

}  // namespace

napi_value externalSharedArrayBuffer(napi_env env, void* data, size_t bytes, ExternalDeleter deleter, void* hint) {
  if (CreateExternal f = createExternal()) {
    napi_value v = nullptr;
    if (f(env, data, bytes, deleter, hint, &v) == napi_ok) return v;
  }
#ifndef FLOWRING_NO_V8
  auto store = v8::SharedArrayBuffer::NewBackingStore(
      data, bytes,
      [](void* p, size_t, void* d) {
        auto* f = static_cast<Finalizer*>(d);
        f->deleter(p, f->hint);
        delete f;
      },
      new Finalizer{deleter, hint});
  return fromV8(v8::SharedArrayBuffer::New(v8::Isolate::GetCurrent(), std::move(store)));
#else
  return nullptr;
#endif
}

#ifndef FLOWRING_NO_V8
bool canPin() { return true; }
void* pinBackingStore(napi_env, napi_value buffer) {
  v8::Local<v8::Value> v = toV8(buffer);
  if (!v->IsSharedArrayBuffer()) return nullptr;
  return new std::shared_ptr<v8::BackingStore>(v.As<v8::SharedArrayBuffer>()->GetBackingStore());
}
void unpinBackingStore(void* pin) { delete static_cast<std::shared_ptr<v8::BackingStore>*>(pin); }
namespace {
thread_local double collections = 0;
thread_local double collectionNs = 0;
thread_local timespec collectionBegan{};
void gcBegins(v8::Isolate*, v8::GCType, v8::GCCallbackFlags) { clock_gettime(CLOCK_MONOTONIC, &collectionBegan); }
void gcEnds(v8::Isolate*, v8::GCType, v8::GCCallbackFlags) {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  collections += 1;
  collectionNs += static_cast<double>(t.tv_sec - collectionBegan.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec - collectionBegan.tv_nsec);
}
}  // namespace
bool watchGc() {
  v8::Isolate* isolate = v8::Isolate::GetCurrent();
  isolate->AddGCPrologueCallback(gcBegins);
  isolate->AddGCEpilogueCallback(gcEnds);
  return true;
}
double gcCount() { return collections; }
double gcNs() { return collectionNs; }
bool runMicrotasks() {
  v8::Isolate::GetCurrent()->PerformMicrotaskCheckpoint();
  return true;
}
#else
bool canPin() { return false; }
void* pinBackingStore(napi_env, napi_value) { return nullptr; }
void unpinBackingStore(void*) {}
bool runMicrotasks() { return false; }
bool watchGc() { return false; }
double gcCount() { return 0; }
double gcNs() { return 0; }
#endif

}  // namespace flowring
