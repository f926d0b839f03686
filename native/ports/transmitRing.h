// The transmit ring of an AF_XDP socket (linux: Documentation/networking/af_xdp.rst), in copy mode and without a program: another way
// out of an interface that receives by other means. A frame of its own memory, no message header, no iovec and no look into the
// headers a frame: over a veth a third cheaper to send than by sendmmsg. It completes no checksums and cuts nothing.
#pragma once
#include <linux/if_xdp.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace flowring {

class TransmitRing {
 public:
  static constexpr int32_t kChunkBytes = 2048, kChunks = 1024;

  ~TransmitRing();
  // Opens the ring on a queue of the interface. False, and nothing is changed, with a reason why there is none.
  bool open(int ifindex, uint32_t queue, std::string& why);
  bool active() const { return active_; }
  // Frames there is room for now.
  int32_t room();
  // Room for the next frame, at most kChunkBytes, to be filled before `put`; only when there is room.
  uint8_t* next() { return memory_ + free_[freeCount_ - 1]; }
  void put(int32_t bytes);
  // Hands what was put to the interface, whole: what it refuses is gone. Returns how many were; `err` is why. A ring that takes
  // nothing any more is active no longer.
  int32_t send(int* err);
  // From any thread: the socket goes, its number stays ours until destruction.
  void close();

 private:
  bool map(std::string& why);
  void reap();

  int fd_ = -1;
  bool active_ = false;
  uint8_t *memory_ = nullptr, *tx_ = nullptr, *completion_ = nullptr;
  size_t txBytes_ = 0, completionBytes_ = 0;
  uint32_t *produced_ = nullptr, *consumed_ = nullptr, *completed_ = nullptr, *reaped_ = nullptr;
  xdp_desc* slots_ = nullptr;
  uint64_t* done_ = nullptr;
  uint32_t put_ = 0, taken_ = 0;
  int32_t freeCount_ = 0;
  uint64_t free_[kChunks];
};

}  // namespace flowring
