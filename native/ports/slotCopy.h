// How a packet socket's frame leaves the slot it was received in: copied with its checksum verified on the way, or, a UDP
// super-segment, a datagram at a time.
#pragma once
#include <linux/if_ether.h>
#include <string.h>

#include "../burst/checksum.h"
#include "vnet.h"

namespace flowring {

// Copies a frame; true when it is TCP or UDP over IPv4 in one piece with a right checksum, which costs no second look at it.
inline bool copyVerified(uint8_t* to, const uint8_t* p, int32_t len) {
  const int32_t l3 = be16(p + 12) == ETH_P_8021Q ? 18 : 14;
  if (len >= l3 + 28 && be16(p + l3 - 2) == ETH_P_IP && p[l3] >> 4 == 4) {
    const int32_t ihl = (p[l3] & 15) << 2, total = static_cast<int32_t>(be16(p + l3 + 2)), l4 = l3 + ihl, l4Bytes = total - ihl;
    const uint8_t proto = p[l3 + 9];
    const bool whole = ihl >= 20 && l4Bytes >= 8 && l3 + total <= len && (be16(p + l3 + 6) & 0x3fff) == 0;
    // UDP's length may be below IP's, and its checksum may be absent (RFC 768): left to `inspect`.
    const bool sums = proto == 6 || (proto == 17 && be16(p + l4 + 6) != 0 && static_cast<int32_t>(be16(p + l4 + 4)) == l4Bytes);
    if (whole && sums) {
      memcpy(to, p, static_cast<size_t>(l4));
      const uint32_t sum = copySum(to + l4, p + l4, static_cast<size_t>(l4Bytes));
      return fold(pseudoSum4(be32(p + l3 + 12), be32(p + l3 + 16), proto, static_cast<uint32_t>(l4Bytes)) + sum) == 0xffff;
    }
  }
  memcpy(to, p, static_cast<size_t>(len));
  return false;
}

// A UDP super-segment (UDP_SEGMENT of a peer): datagrams of `gso` bytes that stand behind one header, taken out one by one.
struct Datagrams {
  const uint8_t* head = nullptr;
  int32_t l3 = 0, l4 = 0, gso = 0, at = 0, end = 0, count = 0;
  bool left() const { return at < end; }
  // False: these are none, or larger than `room`.
  bool begin(const VnetHeader& v, const uint8_t* p, int32_t len, int32_t room) {
    *this = Datagrams{};
    const int32_t eth = len >= 18 && be16(p + 12) == ETH_P_8021Q ? 18 : 14;
    if (len < eth + 28 || be16(p + eth - 2) != ETH_P_IP || p[eth] >> 4 != 4 || (p[eth] & 15) < 5 || p[eth + 9] != 17) return false;
    const int32_t udp = eth + ((p[eth] & 15) << 2), vouched = v.flags & (VNET_NEEDS_CSUM | VNET_DATA_VALID);
    if (vouched == 0 || v.gsoSize < 1 || len <= udp + 8 || udp + 8 + v.gsoSize > room) return false;
    head = p, l3 = eth, l4 = udp, gso = v.gsoSize, at = udp + 8, end = len;
    return true;
  }
  // The next one at `to`, its checksum left partial; its bytes.
  int32_t next(uint8_t* to) {
    const int32_t pay = gso < end - at ? gso : end - at, len = l4 + 8 + pay;
    memcpy(to, head, static_cast<size_t>(l4 + 8));
    memcpy(to + l4 + 8, head + at, static_cast<size_t>(pay));
    uint8_t* ip = to + l3;
    put16(ip + 2, static_cast<uint32_t>(len - l3));
    put16(ip + 4, be16(ip + 4) + static_cast<uint32_t>(count++));
    put16(ip + 10, 0);
    put16(ip + 10, ~sumBytes(ip, static_cast<size_t>(l4 - l3)) & 0xffff);
    put16(to + l4 + 4, static_cast<uint32_t>(8 + pay));
    put16(to + l4 + 6, fold(pseudoSum4(be32(ip + 12), be32(ip + 16), 17, static_cast<uint32_t>(8 + pay))));
    at += pay;
    return len;
  }
};

}  // namespace flowring
