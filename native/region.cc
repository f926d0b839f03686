#include "region.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "addon.h"
#include "sab_v8.h"

namespace flowring {

struct Memory {
  int32_t id;
  uint64_t serial;
  uint8_t* base;
  size_t bytes;
  int refs;        // under the mutex
  bool mapped;     // ours to unmap
  bool released;   // releaseMemory was called
  void* pin;       // registered SharedArrayBuffer
  char path[128];  // file to unlink
};

namespace {

constexpr int32_t kMemories = 1 << 16;
// Least size of a memory that is worth huge pages: less might not hold one that is aligned.
constexpr size_t kHugeFrom = 4u << 20;

// Never destroyed: deleters may run after static destructors.
struct Table {
  std::mutex mutex;
  std::atomic<Memory*> slot[kMemories];
  int32_t next = 1;
  uint64_t serial = 0;
};
Table& table() {
  static Table* t = new Table();
  return *t;
}
std::atomic<int64_t> mappedCount{0}, unmappedCount{0};

// Under the mutex.
Memory* insert(Memory* m) {
  Table& t = table();
  for (int32_t i = 0; i < kMemories - 1; i++) {
    const int32_t id = t.next;
    t.next = t.next == kMemories - 1 ? 1 : t.next + 1;
    if (t.slot[id].load() != nullptr) continue;
    m->id = id;
    m->serial = ++t.serial;
    t.slot[id].store(m);
    return m;
  }
  return nullptr;
}

void unlinkFile(Memory* m) {
  if (m->path[0] == 0) return;
  unlink(m->path);
  m->path[0] = 0;
}

// Any thread, no environment: V8's deleter ends here.
void drop(Memory* m) {
  void* pin = nullptr;
  {
    std::lock_guard<std::mutex> lock(table().mutex);
    if (--m->refs != 0) return;
    table().slot[m->id].store(nullptr);
    unlinkFile(m);
    pin = m->pin;
    if (m->mapped) {
      munmap(m->base, m->bytes);
      unmappedCount++;
    }
    delete m;
  }
  if (pin != nullptr) unpinBackingStore(pin);
}

void deleteMapping(void*, void* hint) { drop(static_cast<Memory*>(hint)); }

Memory* lookup(int32_t id) { return id > 0 && id < kMemories ? table().slot[id].load() : nullptr; }

// Asks for pages of 2 MiB where the kernel gives them on request (transparent_hugepage: madvise, most distributions' default): frames,
// connections and the flow table are touched at random places, and each touch of a page of 4 KiB is a miss of the TLB, in a virtual
// machine a walk through two tables. Pages that were touched before stay as they are. A kernel without them says no, and that is all.
void wantHugePages(void* at, size_t bytes) {
  const uintptr_t page = 4096, from = (reinterpret_cast<uintptr_t>(at) + page - 1) & ~(page - 1);
  const uintptr_t to = (reinterpret_cast<uintptr_t>(at) + bytes) & ~(page - 1);
  if (bytes >= kHugeFrom && from < to) madvise(reinterpret_cast<void*>(from), to - from, MADV_HUGEPAGE);
}

// A mapping of `bytes`, or null with errno. `path` only for files.
void* map(const std::string& kind, size_t bytes, const std::string& path) {
  if (kind == "file") {
    int fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    // The name carries our process id: a file of that name was left behind by an earlier process of the same number.
    if (fd < 0 && errno == EEXIST && unlink(path.c_str()) == 0) fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return nullptr;
    void* p = MAP_FAILED;
    // posix_fallocate: a full /dev/shm is an error now instead of SIGBUS later.
    int err = posix_fallocate(fd, 0, static_cast<off_t>(bytes));
    if (err == 0) {
      p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
      err = errno;
    }
    close(fd);
    if (p != MAP_FAILED) return p;
    unlink(path.c_str());
    errno = err;
    return nullptr;
  }
  // Private to the process, not to a thread: shared anonymous memory is a file of tmpfs, which is given no huge pages by default.
  const int flags = kind == "hugepages" ? MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE : MAP_PRIVATE | MAP_ANONYMOUS;
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (p == MAP_FAILED) return nullptr;
  wantHugePages(p, bytes);
  return p;
}

// createRegion(bytes, kind, path) -> { id, memory } | null when this runtime cannot wrap foreign memory
napi_value createRegion(napi_env env, napi_callback_info info) {
  Args<3> a(env, info);
  const double want = a.f64(0);
  const std::string kind = a.text(1), path = a.text(2);
  if (kind != "anonymous" && kind != "hugepages" && kind != "file")
    return fail(env, "EINVAL", "createRegion: kind is '" + kind + "', not 'anonymous', 'hugepages' or 'file'");
  if (!(want >= 1 && want <= 4294963200.0)) return fail(env, "EINVAL", "createRegion: bytes is not in 1..4294963200");
  if (kind == "file" && (path.empty() || path.size() >= sizeof Memory::path)) return fail(env, "EINVAL", "createRegion: path '" + path + "' is empty or longer than 127 bytes");
  const size_t page = kind == "hugepages" ? 2u << 20 : 4096;
  const size_t bytes = (static_cast<size_t>(want) + page - 1) & ~(page - 1);
  void* p = map(kind, bytes, path);
  if (p == nullptr) {
    const int err = errno;
    const char* fix = kind == "hugepages" ? " (reserve pages in /proc/sys/vm/nr_hugepages)" : "";
    return failErrno(env, "createRegion: cannot map " + std::to_string(bytes) + " bytes, kind " + kind + (kind == "file" ? " " + path : "") + fix, err);
  }
  auto* m = new Memory{0, 0, static_cast<uint8_t*>(p), bytes, 1, true, false, nullptr, {}};
  if (kind == "file") snprintf(m->path, sizeof m->path, "%s", path.c_str());
  bool room;
  {
    std::lock_guard<std::mutex> lock(table().mutex);
    room = insert(m) != nullptr;
  }
  napi_value sab = room ? externalSharedArrayBuffer(env, p, bytes, deleteMapping, m) : nullptr;
  if (sab == nullptr) {
    if (room) table().slot[m->id].store(nullptr);
    unlinkFile(m);
    munmap(p, bytes);
    delete m;
    if (!room) return fail(env, "ENOMEM", "createRegion: more than 65535 memories are registered; release some");
    napi_value none;
    napi_get_null(env, &none);
    return none;
  }
  mappedCount++;
  napi_value o;
  napi_create_object(env, &o);
  set(env, o, "id", number(env, m->id));
  set(env, o, "memory", sab);
  return o;
}

// A registration ends with releaseMemory, from any thread, or with the thread that made it. Known by serial number: the
// memory may be long gone, and its id another's.
struct Registration : Owned {
  int32_t id;
  uint64_t serial;
  Registration(int32_t i, uint64_t s) : id(i), serial(s) {}
  ~Registration() override {
    Memory* m;
    {
      std::lock_guard<std::mutex> lock(table().mutex);
      m = lookup(id);
      if (m == nullptr || m->serial != serial || m->released) return;
      m->released = true;
    }
    drop(m);
  }
};

// registerMemory(view: Uint8Array) -> id
napi_value registerMemory(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  napi_value buffer;
  if (napi_get_typedarray_info(env, a[0], &type, &length, &data, &buffer, nullptr) != napi_ok || type != napi_uint8_array || length == 0)
    return fail(env, "EINVAL", "registerMemory wants a non-empty Uint8Array over a SharedArrayBuffer");
  wantHugePages(data, length);
  auto* m = new Memory{0, 0, static_cast<uint8_t*>(data), length, 1, false, false, pinBackingStore(env, buffer), {}};
  bool room;
  {
    std::lock_guard<std::mutex> lock(table().mutex);
    room = insert(m) != nullptr;
  }
  if (!room) {
    if (m->pin != nullptr) unpinBackingStore(m->pin);
    delete m;
    return fail(env, "ENOMEM", "registerMemory: more than 65535 memories are registered; release some");
  }
  own(env, new Registration(m->id, m->serial));
  return number(env, m->id);
}

// releaseMemory(id) -> whether there was something to release. A region stays mapped until its last SharedArrayBuffer and
// its last native user are gone; its file is unlinked at once.
napi_value releaseMemory(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  Memory* m = nullptr;
  bool dropIt = false;
  {
    std::lock_guard<std::mutex> lock(table().mutex);
    m = lookup(a.i32(0));
    if (m != nullptr && !m->released) {
      m->released = true;
      unlinkFile(m);
      dropIt = !m->mapped;
    } else {
      m = nullptr;
    }
  }
  if (dropIt) drop(m);
  napi_value r;
  napi_get_boolean(env, m != nullptr, &r);
  return r;
}

// regionCounts() -> [mapped, unmapped] over the whole process
napi_value regionCounts(napi_env env, napi_callback_info) {
  napi_value r;
  napi_create_array_with_length(env, 2, &r);
  napi_set_element(env, r, 0, number64(env, static_cast<double>(mappedCount.load())));
  napi_set_element(env, r, 1, number64(env, static_cast<double>(unmappedCount.load())));
  return r;
}

// microtasks() -> whether a checkpoint could be run
napi_value microtasks(napi_env env, napi_callback_info) {
  napi_value r;
  napi_get_boolean(env, runMicrotasks(), &r);
  return r;
}

}  // namespace

Hold::Hold(int32_t id) { take(id); }
Hold::~Hold() {
  if (m_ != nullptr) drop(m_);
}
bool Hold::take(int32_t id) {
  std::lock_guard<std::mutex> lock(table().mutex);
  Memory* m = lookup(id);
  if (m == nullptr || m_ != nullptr) return false;
  m->refs++;
  m_ = m;
  return true;
}
uint8_t* Hold::base() const { return m_->base; }
size_t Hold::bytes() const { return m_->bytes; }

uint8_t* memoryAt(int32_t id, int32_t offset, int32_t len) {
  const Memory* m = lookup(id);
  if (m == nullptr || offset < 0 || static_cast<size_t>(offset) + static_cast<size_t>(len) > m->bytes) return nullptr;
  return m->base + offset;
}

void unlinkAllFiles() {
  std::lock_guard<std::mutex> lock(table().mutex);
  for (auto& s : table().slot)
    if (Memory* m = s.load()) unlinkFile(m);
}

void traceRegions() {
  if (getenv("FLOWRING_TRACE_REGIONS") == nullptr) return;
  fprintf(stderr, "flowring: regions mapped %lld unmapped %lld\n", static_cast<long long>(mappedCount.load()), static_cast<long long>(unmappedCount.load()));
}

void registerRegion(napi_env env, napi_value exports) {
  napi_value pins;
  napi_get_boolean(env, canPin(), &pins);
  set(env, exports, "pinsMemory", pins);
  define(env, exports, "createRegion", createRegion);
  define(env, exports, "registerMemory", registerMemory);
  define(env, exports, "releaseMemory", releaseMemory);
  define(env, exports, "regionCounts", regionCounts);
  define(env, exports, "microtasks", microtasks);
}

}  // namespace flowring
