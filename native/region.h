// Memory that bursts and ports address by id: mappings made here and handed to JavaScript as SharedArrayBuffers, and
// SharedArrayBuffers made by JavaScript and registered here. An id is good in every thread.
#pragma once
#include <cstddef>
#include <cstdint>

namespace flowring {

struct Memory;

// A counted hold on memory: while it lives, the memory stays mapped (or pinned). Cold calls only.
class Hold {
 public:
  Hold() = default;
  explicit Hold(int32_t id);
  ~Hold();
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;
  // Takes hold of `id`; false when there is no such memory.
  bool take(int32_t id);
  uint8_t* base() const;
  size_t bytes() const;
  explicit operator bool() const { return m_ != nullptr; }

 private:
  Memory* m_ = nullptr;
};

// The hot clock's lookup: base of `id` when `[offset, offset + len)` is inside it, else null. No lock: the caller's own
// registration keeps the memory there.
uint8_t* memoryAt(int32_t id, int32_t offset, int32_t len);

// At exit with FLOWRING_TRACE_REGIONS set: how many were mapped and unmapped, on stderr.
void traceRegions();

}  // namespace flowring
