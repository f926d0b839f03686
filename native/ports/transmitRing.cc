#include "transmitRing.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

namespace flowring {

namespace {

constexpr uint32_t kFillSlots = 64;  // must exist, is not used
constexpr size_t kMemoryBytes = static_cast<size_t>(TransmitRing::kChunkBytes) * TransmitRing::kChunks;
// Calls beyond one a frame after which a ring that does not empty is given up.
constexpr int kSpareCalls = 64;

}  // namespace

TransmitRing::~TransmitRing() {
  if (fd_ >= 0) ::close(fd_);
  if (tx_ != nullptr) munmap(tx_, txBytes_);
  if (completion_ != nullptr) munmap(completion_, completionBytes_);
  if (memory_ != nullptr) munmap(memory_, kMemoryBytes);
}

bool TransmitRing::map(std::string& why) {
  const auto refused = [&](const char* step) { return why = std::string(step) + " refused: " + strerror(errno), false; };
  void* p = mmap(nullptr, kMemoryBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return refused("memory");
  memory_ = static_cast<uint8_t*>(p);
  xdp_umem_reg memory{};
  memory.addr = reinterpret_cast<uint64_t>(memory_);
  memory.len = kMemoryBytes;
  memory.chunk_size = kChunkBytes;
  if (setsockopt(fd_, SOL_XDP, XDP_UMEM_REG, &memory, sizeof memory) != 0) return refused("XDP_UMEM_REG");
  const uint32_t fill = kFillSlots, slots = kChunks;
  if (setsockopt(fd_, SOL_XDP, XDP_UMEM_FILL_RING, &fill, sizeof fill) != 0) return refused("XDP_UMEM_FILL_RING");
  if (setsockopt(fd_, SOL_XDP, XDP_UMEM_COMPLETION_RING, &slots, sizeof slots) != 0) return refused("XDP_UMEM_COMPLETION_RING");
  if (setsockopt(fd_, SOL_XDP, XDP_TX_RING, &slots, sizeof slots) != 0) return refused("XDP_TX_RING");
  xdp_mmap_offsets at{};
  socklen_t bytes = sizeof at;
  if (getsockopt(fd_, SOL_XDP, XDP_MMAP_OFFSETS, &at, &bytes) != 0 || bytes != sizeof at) return refused("XDP_MMAP_OFFSETS");
  txBytes_ = at.tx.desc + slots * sizeof(xdp_desc);
  if ((p = mmap(nullptr, txBytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, XDP_PGOFF_TX_RING)) == MAP_FAILED) return refused("its ring");
  tx_ = static_cast<uint8_t*>(p);
  completionBytes_ = at.cr.desc + slots * sizeof(uint64_t);
  p = mmap(nullptr, completionBytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, static_cast<off_t>(XDP_UMEM_PGOFF_COMPLETION_RING));
  if (p == MAP_FAILED) return refused("its completion ring");
  completion_ = static_cast<uint8_t*>(p);
  produced_ = reinterpret_cast<uint32_t*>(tx_ + at.tx.producer);
  consumed_ = reinterpret_cast<uint32_t*>(tx_ + at.tx.consumer);
  slots_ = reinterpret_cast<xdp_desc*>(tx_ + at.tx.desc);
  completed_ = reinterpret_cast<uint32_t*>(completion_ + at.cr.producer);
  reaped_ = reinterpret_cast<uint32_t*>(completion_ + at.cr.consumer);
  done_ = reinterpret_cast<uint64_t*>(completion_ + at.cr.desc);
  return true;
}

bool TransmitRing::open(int ifindex, uint32_t queue, std::string& why) {
  fd_ = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return why = std::string("no AF_XDP socket: ") + strerror(errno), false;
  if (!map(why)) return false;
  sockaddr_xdp to{};
  to.sxdp_family = AF_XDP;
  to.sxdp_flags = XDP_COPY;
  to.sxdp_ifindex = static_cast<uint32_t>(ifindex);
  to.sxdp_queue_id = queue;
  if (bind(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) return why = std::string("AF_XDP bind refused: ") + strerror(errno), false;
  for (int32_t i = kChunks - 1; i >= 0; i--) free_[freeCount_++] = static_cast<uint64_t>(i) * kChunkBytes;
  return active_ = true;
}

// Chunks whose frames the kernel is done with come back.
void TransmitRing::reap() {
  const uint32_t upTo = __atomic_load_n(completed_, __ATOMIC_ACQUIRE);
  for (; taken_ != upTo && freeCount_ < kChunks; taken_++) {
    const uint64_t chunk = done_[taken_ & (kChunks - 1)];
    if (chunk <= kMemoryBytes - kChunkBytes) free_[freeCount_++] = chunk;
  }
  __atomic_store_n(reaped_, taken_, __ATOMIC_RELEASE);
}

int32_t TransmitRing::room() {
  if (freeCount_ < kChunks) reap();
  return freeCount_;
}

// There are as many slots as chunks, and `send` leaves none behind: the ring is never full.
void TransmitRing::put(int32_t bytes) {
  xdp_desc& d = slots_[put_++ & (kChunks - 1)];
  d.addr = free_[--freeCount_];
  d.len = static_cast<uint32_t>(bytes);
  d.options = 0;
}

int32_t TransmitRing::send(int* err) {
  __atomic_store_n(produced_, put_, __ATOMIC_RELEASE);
  uint32_t at = __atomic_load_n(consumed_, __ATOMIC_ACQUIRE);
  int32_t refused = 0, calls = static_cast<int32_t>(put_ - at) + kSpareCalls;
  // The kernel shows what it has taken only at the call after: the end is what counts.
  for (; at != put_; at = __atomic_load_n(consumed_, __ATOMIC_ACQUIRE)) {
    const int e = sendto(fd_, nullptr, 0, MSG_DONTWAIT, nullptr, 0) < 0 ? errno : 0;
    // The interface refused one frame, which is gone. EAGAIN: no more than so many a call, or later.
    if (e == EBUSY) refused++, *err = e;
    const bool soft = e == 0 || e == EAGAIN || e == EBUSY || e == EINTR || e == ENOBUFS || e == ENOMEM;
    if (soft && --calls > 0) continue;
    *err = e == 0 ? EAGAIN : e;
    refused += static_cast<int32_t>(put_ - at);
    active_ = false;
    break;
  }
  return refused;
}

void TransmitRing::close() {
  if (fd_ < 0) return;
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return;
  dup3(null, fd_, O_CLOEXEC);
  ::close(null);
}

}  // namespace flowring
