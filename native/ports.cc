// Ports by handle: open in main, attach in the broker's thread, close from anywhere.
#include <errno.h>

#include <mutex>
#include <vector>

#include "addon.h"
#include "port.h"
#include "ports/vnet.h"
#include "region.h"
#include "watch.h"

namespace flowring {

namespace {

struct Entry {
  Device* device = nullptr;
  int32_t attached = 0;  // HALF_*
  bool closed = false;
};

struct Ports {
  std::mutex mutex;
  std::vector<Entry> entries{1};  // handle 0 is none
};
Ports& ports() {
  static Ports* p = new Ports();
  return *p;
}

// Under the mutex: a device goes when it is closed and nobody is attached.
void reap(Entry& e) {
  if (!e.closed || e.attached != 0) return;
  delete e.device;
  e.device = nullptr;
}

std::string stringOf(napi_env env, napi_value o, const char* name) {
  napi_value v;
  char s[256] = "";
  if (napi_get_named_property(env, o, name, &v) == napi_ok) napi_get_value_string_utf8(env, v, s, sizeof s, nullptr);
  return s;
}
bool boolOf(napi_env env, napi_value o, const char* name) {
  napi_value v;
  bool b = false;
  if (napi_get_named_property(env, o, name, &v) == napi_ok) napi_get_value_bool(env, v, &b);
  return b;
}
int32_t intOf(napi_env env, napi_value o, const char* name) {
  napi_value v;
  int32_t n = 0;
  if (napi_get_named_property(env, o, name, &v) == napi_ok) napi_get_value_int32(env, v, &n);
  return n;
}

// A classic BPF program: two words an instruction, as struct sock_filter lies in memory. Empty when it is none.
std::vector<sock_filter> programOf(napi_env env, napi_value o, const char* name) {
  napi_value v;
  napi_typedarray_type type;
  size_t words = 0;
  void* data = nullptr;
  std::vector<sock_filter> out;
  if (napi_get_named_property(env, o, name, &v) != napi_ok || napi_get_typedarray_info(env, v, &type, &words, &data, nullptr, nullptr) != napi_ok) return out;
  if (type != napi_int32_array || words % 2 != 0 || words / 2 > BPF_MAXINSNS) return out;
  out.resize(words / 2);
  memcpy(static_cast<void*>(out.data()), data, words * 4);
  return out;
}

PortOptions optionsOf(napi_env env, napi_value o) {
  PortOptions options;
  options.name = stringOf(env, o, "name");
  options.multiQueue = boolOf(env, o, "multiQueue");
  options.queues = intOf(env, o, "queues");
  options.queue = intOf(env, o, "queue");
  options.offload = boolOf(env, o, "offload");
  options.mtu = intOf(env, o, "mtu");
  options.rxSlots = intOf(env, o, "rxSlots");
  put32(options.mac, static_cast<uint32_t>(intOf(env, o, "macHi")));
  put16(options.mac + 4, static_cast<uint32_t>(intOf(env, o, "macLo")));
  options.filter = programOf(env, o, "filter");
  options.steer = programOf(env, o, "steer");
  options.groupByHash = boolOf(env, o, "groupByHash");
  options.group = intOf(env, o, "group");
  options.transmitRing = boolOf(env, o, "transmitRing");
  return options;
}

// openPort(kind, { name, multiQueue, queues, queue, offload, mtu, and for packet rxSlots, macHi, macLo, filter, steer, groupByHash, group, transmitRing })
// -> { handle, name, mtu, created, rxChecksum, txChecksum, tso, reason, kernelMac, slots, group, groupByHash, groupReason, transmitRing, transmitReason }
napi_value openPort(napi_env env, napi_callback_info info) {
  Args<2> a(env, info);
  const std::string kind = a.text(0);
  Device* device = kind == "tap" ? makeTap() : kind == "packet" ? makePacket() : nullptr;
  if (device == nullptr) return fail(env, "EINVAL", "openPort: no port of kind '" + kind + "' in this addon");
  const PortOptions options = optionsOf(env, a[1]);
  PortFacts facts;
  std::string what;
  const int err = device->open(options, facts, what);
  if (err != 0) {
    device->close();
    delete device;
    return failErrno(env, what, err);
  }
  int32_t handle;
  {
    std::lock_guard<std::mutex> lock(ports().mutex);
    handle = static_cast<int32_t>(ports().entries.size());
    ports().entries.push_back(Entry{device, 0, false});
  }
  char mac[18];
  const uint8_t* k = facts.kernelMac;
  snprintf(mac, sizeof mac, "%02x:%02x:%02x:%02x:%02x:%02x", k[0], k[1], k[2], k[3], k[4], k[5]);
  napi_value o, v;
  napi_create_object(env, &o);
  set(env, o, "handle", number(env, handle));
  set(env, o, "mtu", number(env, facts.mtu));
  napi_get_boolean(env, facts.created, &v), set(env, o, "created", v);
  napi_get_boolean(env, facts.rxChecksum, &v), set(env, o, "rxChecksum", v);
  napi_get_boolean(env, facts.txChecksum, &v), set(env, o, "txChecksum", v);
  napi_get_boolean(env, facts.tso, &v), set(env, o, "tso", v);
  set(env, o, "name", text(env, facts.name));
  set(env, o, "reason", text(env, facts.reason));
  set(env, o, "kernelMac", text(env, mac));
  set(env, o, "slots", number(env, facts.slots));
  set(env, o, "group", number(env, facts.group));
  napi_get_boolean(env, facts.groupByHash, &v), set(env, o, "groupByHash", v);
  set(env, o, "groupReason", text(env, facts.groupReason));
  napi_get_boolean(env, facts.transmitRing, &v), set(env, o, "transmitRing", v);
  set(env, o, "transmitReason", text(env, facts.transmitReason));
  return o;
}

struct Attachment : Owned {
  Hold packet, table, own;
  PortMemory m;
  Device* device = nullptr;
  int32_t handle = 0, half = 0;
  ~Attachment() override {
    if (device == nullptr) return;
    std::lock_guard<std::mutex> lock(ports().mutex);
    Entry& e = ports().entries[static_cast<size_t>(handle)];
    e.attached &= ~half;
    reap(e);
  }
};
Attachment* of(void* data) { return static_cast<Attachment*>(data); }

// `n` descriptors at word `at` of an Int32Array, or null when they are not all inside it.
int32_t* descriptors(napi_env env, napi_value v, int32_t at, int32_t n) {
  napi_typedarray_type type;
  size_t words = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, v, &type, &words, &data, nullptr, nullptr) != napi_ok || type != napi_int32_array) return nullptr;
  if (at < 0 || n < 0 || static_cast<int64_t>(at) + static_cast<int64_t>(n) * DESC_WORDS > static_cast<int64_t>(words)) return nullptr;
  return static_cast<int32_t*>(data) + at;
}

napi_value rxBurst(napi_env env, napi_callback_info info) {
  Args<3> a(env, info);
  Attachment* t = of(a.data);
  int32_t* d = descriptors(env, a[0], a.i32(1), a.i32(2));
  return number(env, d == nullptr || t->device == nullptr ? 0 : t->device->rxBurst(t->m, d, a.i32(2)));
}
napi_value txBurst(napi_env env, napi_callback_info info) {
  Args<3> a(env, info);
  Attachment* t = of(a.data);
  int32_t* d = descriptors(env, a[0], a.i32(1), a.i32(2));
  return number(env, d == nullptr || t->device == nullptr ? 0 : t->device->txBurst(t->m, d, a.i32(2)));
}
// wait(bellFd, ms) -> 1 when the device is readable
napi_value waitPort(napi_env env, napi_callback_info info) {
  Args<2> a(env, info);
  Attachment* t = of(a.data);
  return number(env, t->device != nullptr && t->device->wait(t->m, a.i32(0), a.i32(1)) ? 1 : 0);
}
// watch(bellFd, wake) -> { arm, disarm, close } (watch.h), or null when the device can only be waited for
napi_value watchPort(napi_env env, napi_callback_info info) {
  Args<2> a(env, info);
  Attachment* t = of(a.data);
  int fds[kWatchedMax];
  const int n = t->device == nullptr ? 0 : t->device->descriptors(fds);
  if (n > 0) return makeWatch(env, fds, n, a.i32(0), a[1]);
  napi_value nothing;
  napi_get_null(env, &nothing);
  return nothing;
}
napi_value detach(napi_env env, napi_callback_info info) {
  Args<0> a(env, info);
  Attachment* t = of(a.data);
  if (t->device == nullptr) return nullptr;
  std::lock_guard<std::mutex> lock(ports().mutex);
  Entry& e = ports().entries[static_cast<size_t>(t->handle)];
  e.attached &= ~t->half;
  t->device = nullptr;
  reap(e);
  return nullptr;
}

// attachPort(handle, packetId, tableId, ownId, half) -> { rxBurst, txBurst, wait, watch, detach }
napi_value attachPort(napi_env env, napi_callback_info info) {
  Args<5> a(env, info);
  if (!layoutChecked()) return fail(env, "FLOWRING_ABI", "attachPort: checkLayout must pass first");
  auto* t = new Attachment();
  std::string why;
  const int32_t handle = a.i32(0), half = a.i32(4);
  if (half < HALF_RX || half > HALF_BOTH) why = "half is not 1 (receive), 2 (send) or 3 (both)";
  else if (!t->packet.take(a.i32(1)) || !t->table.take(a.i32(2)) || !t->own.take(a.i32(3))) why = "a memory id is not registered";
  else if (t->m.frames.attach(t->table.base(), t->table.bytes(), t->packet.base(), t->packet.bytes(), why)) {
    t->m.own = reinterpret_cast<int32_t*>(t->own.base());
    t->m.capacity = static_cast<int32_t>(t->own.bytes() / 4) - P_STACK;
    if (t->m.capacity < t->m.frames.frames || t->m.own[P_FREE] < 0 || t->m.own[P_FREE] > t->m.capacity) why = "the port's own block does not hold one id a frame";
    else if (t->m.frames.headroom < kVnetBytes) why = "frames have no headroom for a virtio-net header";
  }
  if (why.empty()) {
    std::lock_guard<std::mutex> lock(ports().mutex);
    auto& all = ports().entries;
    if (handle < 1 || handle >= static_cast<int32_t>(all.size()) || all[static_cast<size_t>(handle)].closed) why = "port " + std::to_string(handle) + " is not open";
    else if ((all[static_cast<size_t>(handle)].attached & half) != 0) why = "port " + std::to_string(handle) + " is attached in another thread";
    else {
      all[static_cast<size_t>(handle)].attached |= half;
      t->half = half;
      t->device = all[static_cast<size_t>(handle)].device;
      t->handle = handle;
    }
  }
  if (!why.empty()) {
    delete t;
    return fail(env, "EINVAL", "attachPort: " + why);
  }
  own(env, t);
  napi_value o;
  napi_create_object(env, &o);
  define(env, o, "rxBurst", rxBurst, t);
  define(env, o, "txBurst", txBurst, t);
  define(env, o, "wait", waitPort, t);
  define(env, o, "watch", watchPort, t);
  define(env, o, "detach", detach, t);
  return o;
}

// Under the mutex.
void closeEntry(Entry& e) {
  if (e.closed || e.device == nullptr) return;
  e.closed = true;
  e.device->close();
  e.device->wake();
  reap(e);
}

napi_value closePort(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  std::lock_guard<std::mutex> lock(ports().mutex);
  const int32_t handle = a.i32(0);
  if (handle > 0 && handle < static_cast<int32_t>(ports().entries.size())) closeEntry(ports().entries[static_cast<size_t>(handle)]);
  return nullptr;
}

}  // namespace

void closeAllPorts() {
  std::lock_guard<std::mutex> lock(ports().mutex);
  for (Entry& e : ports().entries) closeEntry(e);
}

void registerPorts(napi_env env, napi_value exports) {
  define(env, exports, "openPort", openPort);
  define(env, exports, "attachPort", attachPort);
  define(env, exports, "closePort", closePort);
}

}  // namespace flowring
