// The one C interface a device port fills; of a port with several queues each queue is a Device. It is opened in main,
// attached in its broker's thread, and closed by main, by process.on('exit') or by atexit, whichever comes first.
//
// It has two halves, receiving and sending, which one thread attaches together or two threads one each, with an `own` block
// each: then rxBurst and txBurst run at the same time, so they share no state that changes but what close() says.
//
// The `own` block is shared with src/ports: word 0 is the number of free frames, word 1 the last errno, word 3 what is wrong with
// the link (0, ENETDOWN, ENODEV), word 4 the host that goes into a received frame's owner (src/rings/layout.ts), words 16.. the drop counters, words 64.. the stack of free frame ids: for receiving those to
// receive into, for sending alone those that are sent. Only the thread that attached the half touches it.
#pragma once
#include <linux/filter.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "frames.h"

namespace flowring {

constexpr int32_t P_FREE = 0, P_ERRNO = 1, P_RX_RESCATTER = 2, P_LINK = 3, P_HOST = 4, P_DROPS = 16, P_STACK = 64;
static_assert(P_DROPS + DROP_REASONS <= P_STACK, "drop counters reach into the stack of free frames");

constexpr int32_t HALF_RX = 1, HALF_TX = 2, HALF_BOTH = HALF_RX | HALF_TX;

struct PortOptions {
  std::string name;
  bool multiQueue = false;
  // Queues the port shall have, and which of them this is: more than one insists on a device that has several.
  int32_t queues = 1, queue = 0;
  bool offload = true;
  int32_t mtu = 1500;
  // AF_PACKET: slots of the receive ring, our address, what is let in, and of several queues the group to join (-1: make one) and
  // the program that gives a frame its queue.
  int32_t rxSlots = 0;
  uint8_t mac[6] = {};
  std::vector<sock_filter> filter, steer;
  bool groupByHash = false;
  int32_t group = -1;
  // Whether small frames may leave through an AF_XDP ring.
  bool transmitRing = false;
};

// What opening found out; reasons are empty where there is nothing to say.
struct PortFacts {
  int32_t mtu = 0;
  bool rxChecksum = false, txChecksum = false, tso = false, created = false;
  std::string reason;
  std::string name;
  uint8_t kernelMac[6] = {};
  int32_t slots = 0, group = -1;
  bool groupByHash = false;
  std::string groupReason;
  // Small frames leave through an AF_XDP ring, or why not.
  bool transmitRing = false;
  std::string transmitReason;
};

// The broker's memory, valid while attached.
struct PortMemory {
  Frames frames;
  int32_t* own = nullptr;
  int32_t capacity = 0;  // of the stack of free ids

  // Takes the frames of a believed and sound train (or single frame) home: generation bumped, owner FREE.
  void takeHome(int32_t first) {
    for (int32_t f = first, links = 0; f >= 0 && f < frames.frames && links < TRAIN_LINKS_MAX; links++) {
      const int32_t next = frames.next[f];
      frames.next[f] = -1;
      // A frame that is free already would be handed out twice: leave it where it is.
      if (frames.owner[f] != OWNER_FREE && own[P_FREE] < capacity) {
        frames.generation[f] = (frames.generation[f] + 1) & GENERATION_MASK;
        frames.owner[f] = OWNER_FREE;
        own[P_STACK + own[P_FREE]++] = f;
      } else {
        own[P_DROPS + DROP_BAD_DESCRIPTOR]++;
      }
      f = next;
    }
  }
};

struct Device {
  virtual ~Device() = default;
  // 0, or an errno with `what` saying which step failed and how to mend it.
  virtual int open(const PortOptions& options, PortFacts& facts, std::string& what) = 0;
  // Up to `max` descriptors at `desc`, frames taken off the free stack.
  virtual int32_t rxBurst(PortMemory& m, int32_t* desc, int32_t max) = 0;
  // Takes the first returned of `n` descriptors, frames brought home.
  virtual int32_t txBurst(PortMemory& m, int32_t* desc, int32_t n) = 0;
  // Until the device has something, `bellFd` or the wake rings, or `ms` passed. Returns whether the device is readable.
  virtual bool wait(PortMemory& m, int bellFd, int ms) = 0;
  // What a sleep waits for, at most kWatchedMax (watch.h) descriptors that poll(2) takes; how many. 0: only `wait` will do.
  virtual int descriptors(int*) { return 0; }
  // From any thread: ends a wait.
  virtual void wake() = 0;
  // From any thread, also while the broker is inside a burst; idempotent. Descriptors stay numbers of ours until destruction.
  virtual void close() = 0;
};

Device* makeTap();
Device* makePacket();

}  // namespace flowring
