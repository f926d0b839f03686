// One thread's bursts: its packet memory, frame table and arena. Each function has its twin, of the same name, in
// src/wire/burst; test/native/twins.test.ts compares every word and byte.
#pragma once
#include <cstdint>
#include <vector>

#include "../addon.h"
#include "../frames.h"
#include "../region.h"

namespace flowring {

// Sum of a link's payload, made while it was copied: good while `epoch` is the current emit's and `len` is the whole payload.
struct LinkSum {
  uint32_t epoch = 0;
  int32_t len = 0;
  uint32_t sum = 0;
};

struct Bursts : Owned {
  Hold packetHold, tableHold, arenaHold;
  Frames t;
  uint8_t* arena = nullptr;
  int64_t arenaBytes = 0;
  int32_t* w = nullptr;
  int64_t words = 0;
  int64_t bad = 0;
  std::vector<LinkSum> sums;
  uint32_t epoch = 0;

  // Points at memory that outlives this: frame table, packet bytes, arena. False, with a reason, when the table is none.
  bool bind(uint8_t* table, size_t tableBytes, uint8_t* packet, size_t packetBytes, uint8_t* arenaBase, size_t arenaSize, std::string& why) {
    if (!t.attach(table, tableBytes, packet, packetBytes, why)) return false;
    arena = arenaBase;
    arenaBytes = static_cast<int64_t>(arenaSize);
    w = reinterpret_cast<int32_t*>(arena);
    words = arenaBytes >> 2;
    sums.resize(static_cast<size_t>(t.frames));
    return true;
  }

  bool listFits(int32_t at, int32_t count, int32_t itemWords) {
    if (at >= 0 && count >= 0 && at <= words - static_cast<int64_t>(count) * itemWords) return true;
    bad++;
    return false;
  }

  int32_t inspect(int32_t at, int32_t n, int32_t coalesce);
  int32_t emit(int32_t at, int32_t n, int32_t copyAt, int32_t copies, int32_t work, int32_t outAt);
  void copy(int32_t copyAt, int32_t copies);
  void toUser(uint8_t* user, int64_t userBytes, int32_t copyAt, int32_t copies);
  void fromUser(const uint8_t* user, int64_t userBytes, int32_t copyAt, int32_t copies);
};

// Folded sum of a datagram: `len` bytes from `p` in link 0, which has `inFirst` of them, the rest in the links behind frame `f`.
uint32_t sumChain(const Frames& t, const uint8_t* p, int32_t len, int32_t inFirst, int32_t f, int32_t pay);

}  // namespace flowring
