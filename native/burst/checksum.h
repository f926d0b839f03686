// The Internet checksum (RFC 1071): scalar and AVX2, chosen once at run time. All sums are folded, big-endian, an odd last
// byte padded with zero: the same numbers as src/wire/checksum.ts.
#pragma once
#include <cstddef>
#include <cstdint>

namespace flowring {

inline uint32_t fold(uint64_t s) {
  while (s >> 16) s = (s & 0xffff) + (s >> 16);
  return static_cast<uint32_t>(s);
}
inline uint32_t swap16(uint32_t s) { return ((s & 0xff) << 8) | (s >> 8); }

extern uint32_t (*sumBytes)(const uint8_t* p, size_t len);
// Copies and sums in one pass. The two ranges do not overlap.
extern uint32_t (*copySum)(uint8_t* to, const uint8_t* from, size_t len);
// "avx2" or "scalar": which was chosen.
extern const char* checksumKind;
// Chooses by name what the CPU would have chosen, for tests and counts of instructions; false, and nothing changes, where there is
// no such form or this CPU cannot run it. Before any thread runs a burst.
bool useChecksum(const char* kind);

uint32_t sumScalar(const uint8_t* p, size_t len);
uint32_t copySumScalar(uint8_t* to, const uint8_t* from, size_t len);

// Unfolded sum of the IPv4 pseudo-header (RFC 9293 section 3.1); addresses as read big-endian.
inline uint32_t pseudoSum4(uint32_t src, uint32_t dst, uint32_t protocol, uint32_t len) {
  return (src >> 16) + (src & 0xffff) + (dst >> 16) + (dst & 0xffff) + protocol + len;
}
// RFC 1624 equation 3.
inline uint32_t update16(uint32_t checksum, uint32_t before, uint32_t after) {
  return ~fold((~checksum & 0xffff) + (~before & 0xffff) + (after & 0xffff)) & 0xffff;
}
// Adds `part`, which starts `at` bytes into the summed datagram, to `sum`.
inline uint32_t addPart(uint32_t sum, uint32_t part, int32_t at) { return fold(static_cast<uint64_t>(sum) + ((at & 1) ? swap16(part) : part)); }

}  // namespace flowring
