// The frame table and the packet memory as native code sees them, and the checks every descriptor passes: what
// src/wire/burst/memory.ts does, in the same order.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>

#include "layout.h"

namespace flowring {

inline uint32_t be16(const uint8_t* p) { return static_cast<uint32_t>(p[0] << 8 | p[1]); }
inline uint32_t be32(const uint8_t* p) {
  uint32_t v;
  memcpy(&v, p, 4);
  return __builtin_bswap32(v);
}
inline void put16(uint8_t* p, uint32_t v) {
  p[0] = static_cast<uint8_t>(v >> 8);
  p[1] = static_cast<uint8_t>(v);
}
inline void put32(uint8_t* p, uint32_t v) {
  v = __builtin_bswap32(v);
  memcpy(p, &v, 4);
}

struct Frames {
  int32_t frames = 0, frameBytes = 0, headroom = 0, region = 0;
  int32_t *offset = nullptr, *owner = nullptr, *generation = nullptr, *next = nullptr, *length = nullptr;
  uint8_t* packet = nullptr;
  int64_t packetBytes = 0;

  // Reads the header of a frame table block. False, with a reason, when it is none or too short.
  bool attach(uint8_t* table, size_t tableBytes, uint8_t* memory, size_t memoryBytes, std::string& why) {
    if (tableBytes < HEADER_BYTES || (reinterpret_cast<uintptr_t>(table) & 3) != 0) return why = "frame table is too short or not 4-aligned", false;
    const auto* h = reinterpret_cast<int32_t*>(table);
    if (h[H_MAGIC] != MAGIC || h[H_VERSION] != ABI_VERSION || h[H_KIND] != KIND_FRAME_TABLE) return why = "block is not a frame table of this ABI version", false;
    frames = h[H_FRAMES];
    frameBytes = h[H_FRAME_BYTES];
    headroom = h[H_HEADROOM];
    region = h[H_REGION] & 0xffff;
    if (frames < 1 || frameBytes < 1 || headroom < 0 || headroom >= frameBytes || HEADER_BYTES + static_cast<uint64_t>(frames) * 4 * FT_COLUMNS > tableBytes)
      return why = "frame table says " + std::to_string(frames) + " frames of " + std::to_string(frameBytes) + " bytes, its block has " + std::to_string(tableBytes) + " bytes", false;
    auto* columns = reinterpret_cast<int32_t*>(table + HEADER_BYTES);
    offset = columns + FT_OFFSET * frames;
    owner = columns + FT_OWNER * frames;
    generation = columns + FT_GENERATION * frames;
    next = columns + FT_NEXT * frames;
    length = columns + FT_LENGTH * frames;
    packet = memory;
    packetBytes = static_cast<int64_t>(memoryBytes);
    return true;
  }

  bool inFrame(int32_t f, int32_t from, int32_t len) const {
    if (f < 0 || f >= frames || from < 0 || len < 0 || from + len > frameBytes) return false;
    return offset[f] >= 0 && offset[f] <= packetBytes - (from + len);
  }

  // The Ethernet header of a descriptor, or null when the descriptor is not to be believed.
  uint8_t* believe(const int32_t* d) const {
    const uint32_t data = static_cast<uint32_t>(d[D_DATA]), rg = static_cast<uint32_t>(d[D_REGION_GEN]);
    const int32_t f = d[D_FRAME], from = static_cast<int32_t>(data >> 16);
    if (!inFrame(f, from, static_cast<int32_t>(data & 0xffff))) return nullptr;
    if (((static_cast<uint32_t>(generation[f]) ^ rg) & GENERATION_MASK) != 0 || rg >> 16 != static_cast<uint32_t>(region)) return nullptr;
    return packet + offset[f] + from;
  }

  bool chainSound(const int32_t* d) const {
    int32_t sum = d[D_DATA] & 0xffff;
    int32_t f = next[d[D_FRAME]];
    for (int links = 1; f != -1; links++) {
      if (links >= TRAIN_LINKS_MAX || f < 0 || f >= frames) return false;
      const int32_t len = length[f];
      if (len < 1 || len > frameBytes) return false;
      sum += len;
      f = next[f];
    }
    return sum == d[D_TOTAL];
  }

  bool linksFit(const int32_t* d, int32_t pay) const {
    for (int32_t f = next[d[D_FRAME]]; f != -1; f = next[f])
      if (!inFrame(f, pay, length[f])) return false;
    return true;
  }
};

// Bytes from the Ethernet header to the payload, as word 4 and the TCP header say; 0 when they cannot be right.
inline int32_t headerBytes(const int32_t* d, const uint8_t* eth) {
  const int32_t l3 = (d[D_OFFSETS] >> 8) & 0xff, l4 = static_cast<int32_t>(static_cast<uint32_t>(d[D_OFFSETS]) >> 16);
  const int32_t linear = d[D_DATA] & 0xffff;
  if (l3 < 14 || l4 < l3 + 20 || linear < l4 + 8) return 0;
  const uint8_t proto = eth[l3 + 9];
  if (proto == 17) return l4 + 8;
  if (proto != 6 || linear < l4 + 20) return 0;
  const int32_t doff = (eth[l4 + 12] >> 4) << 2;
  return doff < 20 || linear < l4 + doff ? 0 : l4 + doff;
}

}  // namespace flowring
