// inspect: src/wire/burst/inspect.ts and coalesce.ts, which say what is done and why, in native code.
#include "burst.h"
#include "checksum.h"

namespace flowring {

uint32_t sumChain(const Frames& t, const uint8_t* p, int32_t len, int32_t inFirst, int32_t f, int32_t pay) {
  uint32_t sum = sumBytes(p, static_cast<size_t>(len < inFirst ? len : inFirst));
  int32_t done = inFirst;
  for (int32_t g = t.next[f]; g != -1 && done < len; g = t.next[g]) {
    const int32_t n = t.length[g], take = n < len - done ? n : len - done;
    sum = addPart(sum, sumBytes(t.packet + t.offset[g] + pay, static_cast<size_t>(take)), done);
    done += n;
  }
  return sum;
}

namespace {

constexpr int32_t kDecided = F_PARSED | F_TCP | F_UDP | F_ICMP | F_FRAGMENT | F_MULTICAST | F_BAD;
constexpr int32_t kSameFlags = F_VLAN | F_MULTICAST | F_TX | F_REDIRECTED;
constexpr int kOpenMax = 8;

inline int32_t linearOf(const int32_t* d) { return d[D_DATA] & 0xffff; }
inline int32_t fromOf(const int32_t* d) { return static_cast<int32_t>(static_cast<uint32_t>(d[D_DATA]) >> 16); }
inline int32_t l3Of(const int32_t* d) { return (d[D_OFFSETS] >> 8) & 0xff; }
inline int32_t l4Of(const int32_t* d) { return static_cast<int32_t>(static_cast<uint32_t>(d[D_OFFSETS]) >> 16); }
inline bool isTrain(const int32_t* d) { return (d[D_FLAGS_GSO] & F_TRAIN) != 0; }

int32_t verify(const Frames& t, int32_t* d, const uint8_t* eth, int32_t l4, int32_t len, int32_t pay, int32_t kind) {
  const int32_t payInFrame = fromOf(d) + pay;
  const bool train = isTrain(d);
  if (train && !t.linksFit(d, payInFrame)) return DROP_BAD_DESCRIPTOR;
  if ((d[D_FLAGS_GSO] & F_CSUM_OK) == 0) {
    const uint8_t* ip = eth + l3Of(d);
    const uint64_t pseudo = pseudoSum4(be32(ip + 12), be32(ip + 16), ip[9], static_cast<uint32_t>(len));
    const uint32_t sum = train ? sumChain(t, eth + l4, len, linearOf(d) - l4, d[D_FRAME], payInFrame) : sumBytes(eth + l4, static_cast<size_t>(len));
    if (fold(pseudo + sum) != 0xffff) return DROP_L4_CHECKSUM;
  }
  d[D_FLAGS_GSO] |= F_CSUM_OK | kind;
  return DROP_NONE;
}

int32_t tcp(const Frames& t, int32_t* d, const uint8_t* eth, int32_t l4, int32_t len) {
  const int32_t linear = linearOf(d);
  if (len < 20 || linear < l4 + 20) return DROP_TCP_HEADER;
  const int32_t doff = (eth[l4 + 12] >> 4) << 2;
  if (doff < 20 || doff > len || linear < l4 + doff) return DROP_TCP_HEADER;
  return verify(t, d, eth, l4, len, l4 + doff, F_TCP);
}

int32_t udp(const Frames& t, int32_t* d, const uint8_t* eth, int32_t l4, int32_t len) {
  if (len < 8 || linearOf(d) < l4 + 8) return DROP_UDP_HEADER;
  const auto udpLen = static_cast<int32_t>(be16(eth + l4 + 4));
  if (udpLen < 8 || udpLen > len) return DROP_UDP_HEADER;
  if (be16(eth + l4 + 6) == 0 && !isTrain(d)) {
    d[D_FLAGS_GSO] |= F_UDP;
    return DROP_NONE;
  }
  return verify(t, d, eth, l4, udpLen, l4 + 8, F_UDP);
}

int32_t icmp(int32_t* d, const uint8_t* p, int32_t len) {
  if (len < 8) return DROP_ICMP;
  if ((d[D_FLAGS_GSO] & F_CSUM_OK) == 0 && sumBytes(p, static_cast<size_t>(len)) != 0xffff) return DROP_L4_CHECKSUM;
  d[D_FLAGS_GSO] |= F_CSUM_OK | F_ICMP;
  return DROP_NONE;
}

int32_t ipv4(const Frames& t, int32_t* d, const uint8_t* eth, int32_t l3) {
  const uint8_t* ip = eth + l3;
  const int32_t linear = linearOf(d);
  const bool train = isTrain(d);
  if (linear < l3 + 20) return DROP_TRUNCATED;
  const int32_t ihl = (ip[0] & 15) << 2, ipLen = static_cast<int32_t>(be16(ip + 2));
  if (ip[0] >> 4 != 4 || ihl < 20 || ipLen < ihl) return DROP_IP_HEADER;
  if (linear < l3 + ihl || d[D_TOTAL] < l3 + ipLen) return DROP_TRUNCATED;
  if (train && d[D_TOTAL] != l3 + ipLen) return DROP_IP_HEADER;
  if ((d[D_FLAGS_GSO] & F_IPCSUM_OK) == 0) {
    if (sumBytes(ip, static_cast<size_t>(ihl)) != 0xffff) return DROP_IP_CHECKSUM;
    d[D_FLAGS_GSO] |= F_IPCSUM_OK;
  }
  const int32_t l4 = l3 + ihl;
  d[D_OFFSETS] = (l4 << 16) | (l3 << 8);
  if (!train && linear != l3 + ipLen) {
    d[D_DATA] = (d[D_DATA] & ~0xffff) | (l3 + ipLen);
    d[D_TOTAL] = l3 + ipLen;
  }
  if ((be16(ip + 6) & 0x3fff) != 0) {
    d[D_FLAGS_GSO] |= F_FRAGMENT;
    return train ? DROP_BAD_DESCRIPTOR : DROP_NONE;
  }
  if (ip[9] == 6) return tcp(t, d, eth, l4, ipLen - ihl);
  if (ip[9] == 17) return udp(t, d, eth, l4, ipLen - ihl);
  if (train) return DROP_BAD_DESCRIPTOR;
  return ip[9] == 1 ? icmp(d, eth + l4, ipLen - ihl) : DROP_NONE;
}

int32_t ethernet(const Frames& t, int32_t* d) {
  const uint8_t* eth = t.believe(d);
  if (eth == nullptr) return DROP_BAD_DESCRIPTOR;
  const int32_t linear = linearOf(d);
  if (isTrain(d) ? !t.chainSound(d) : d[D_TOTAL] != linear) return DROP_BAD_DESCRIPTOR;
  if (linear < 14) return DROP_TRUNCATED;
  int32_t flags = F_PARSED | ((eth[0] & 1) != 0 ? F_MULTICAST : 0);
  int32_t l3 = 14;
  uint32_t type = be16(eth + 12);
  if (type == 0x8100) {
    if (linear < 18) return DROP_TRUNCATED;
    d[D_SEGS_VLAN] = static_cast<int32_t>(be16(eth + 14) << 16) | (d[D_SEGS_VLAN] & 0xffff);
    flags |= F_VLAN;
    type = be16(eth + 16);
    l3 = 18;
  }
  d[D_FLAGS_GSO] |= flags;
  d[D_OFFSETS] = l3 << 8;
  return type == 0x0800 ? ipv4(t, d, eth, l3) : DROP_NONE;
}

struct OpenFlow {
  int32_t* desc;
  uint8_t* eth;
  int32_t tail;
};

struct Coalescer {
  const Frames& t;
  OpenFlow open[kOpenMax];
  int turn = 0;

  explicit Coalescer(const Frames& frames) : t(frames) {
    for (OpenFlow& f : open) f.desc = nullptr;
  }

  OpenFlow* find(const int32_t* d, const uint8_t* eth) {
    const uint8_t *ip = eth + l3Of(d), *l4 = eth + l4Of(d);
    for (OpenFlow& f : open) {
      if (f.desc == nullptr) continue;
      if (memcmp(f.eth + l4Of(f.desc), l4, 4) == 0 && memcmp(f.eth + l3Of(f.desc) + 12, ip + 12, 8) == 0) return &f;
    }
    return nullptr;
  }

  OpenFlow* freeSlot() {
    for (OpenFlow& f : open)
      if (f.desc == nullptr) return &f;
    OpenFlow* f = &open[turn];
    turn = (turn + 1) % kOpenMax;
    return f;
  }

  bool mergeable(const OpenFlow& f, const int32_t* d, const uint8_t* eth, int32_t pay) const {
    const int32_t* o = f.desc;
    if (o[D_OFFSETS] != d[D_OFFSETS] || fromOf(o) != fromOf(d)) return false;
    if (((o[D_FLAGS_GSO] ^ d[D_FLAGS_GSO]) & kSameFlags) != 0 || ((static_cast<uint32_t>(o[D_SEGS_VLAN]) ^ static_cast<uint32_t>(d[D_SEGS_VLAN])) >> 16) != 0) return false;
    const int32_t l3 = l3Of(d), l4 = l4Of(d);
    const uint8_t *ip0 = f.eth + l3, *ip = eth + l3, *tcp0 = f.eth + l4, *tcp = eth + l4;
    if (ip0[1] != ip[1] || be16(ip0 + 6) != be16(ip + 6) || ip0[8] != ip[8]) return false;
    if (be32(tcp0 + 8) != be32(tcp + 8) || be16(tcp0 + 14) != be16(tcp + 14) || tcp0[12] != tcp[12]) return false;
    const int32_t doff = (tcp[12] >> 4) << 2;
    if (memcmp(tcp0 + 20, tcp + 20, static_cast<size_t>(doff - 20)) != 0) return false;
    const int32_t have = o[D_TOTAL] - l4 - doff, first = linearOf(o) - l4 - doff;
    if (be32(tcp0 + 4) + static_cast<uint32_t>(have) != be32(tcp + 4) || pay > first) return false;
    return o[D_TOTAL] + pay - l3 <= 0xffff && (o[D_SEGS_VLAN] & 0xffff) < TRAIN_LINKS_MAX && o[D_FRAME] != d[D_FRAME];
  }

  void merge(OpenFlow& s, const int32_t* d, int32_t pay, uint8_t tcpFlags) {
    int32_t* o = s.desc;
    const int32_t l3 = l3Of(o), l4 = l4Of(o), first = o[D_FRAME], f = d[D_FRAME], linear = linearOf(o);
    uint8_t *ip = s.eth + l3, *tcp = s.eth + l4;
    const int32_t gso = linear - l4 - ((tcp[12] >> 4) << 2);
    const int32_t segs = isTrain(o) ? o[D_SEGS_VLAN] & 0xffff : 1;
    if (segs == 1) t.length[first] = linear;
    t.next[s.tail] = f;
    t.next[f] = -1;
    t.length[f] = pay;
    s.tail = f;
    const int32_t total = o[D_TOTAL] + pay;
    o[D_TOTAL] = total;
    o[D_FLAGS_GSO] = (gso << 16) | (o[D_FLAGS_GSO] & 0xffff) | F_TRAIN | F_CSUM_OK | F_CSUM_PARTIAL;
    o[D_SEGS_VLAN] = (o[D_SEGS_VLAN] & ~0xffff) | (segs + 1);
    put16(ip + 10, update16(be16(ip + 10), be16(ip + 2), static_cast<uint32_t>(total - l3)));
    put16(ip + 2, static_cast<uint32_t>(total - l3));
    put16(tcp + 16, fold(pseudoSum4(be32(ip + 12), be32(ip + 16), 6, static_cast<uint32_t>(total - l4))));
    if ((tcpFlags & 8) != 0) tcp[13] = 0x18;
    if (pay < gso || (tcpFlags & 8) != 0) s.desc = nullptr;
  }

  bool absorb(int32_t* d, int32_t* out) {
    if ((d[D_FLAGS_GSO] & F_TCP) == 0) return false;
    uint8_t* eth = t.packet + t.offset[d[D_FRAME]] + fromOf(d);
    OpenFlow* slot = find(d, eth);
    const uint8_t* tcp = eth + l4Of(d);
    const uint8_t tcpFlags = tcp[13];
    const int32_t pay = d[D_TOTAL] - l4Of(d) - ((tcp[12] >> 4) << 2);
    const bool plain = !isTrain(d) && (tcpFlags == 0x10 || tcpFlags == 0x18) && pay > 0 && l4Of(d) - l3Of(d) == 20;
    if (slot != nullptr) {
      if (plain && mergeable(*slot, d, eth, pay)) {
        merge(*slot, d, pay, tcpFlags);
        return true;
      }
      slot->desc = nullptr;
    }
    if (plain && tcpFlags == 0x10) {
      OpenFlow* s = slot != nullptr ? slot : freeSlot();
      s->desc = out;
      s->eth = eth;
      s->tail = d[D_FRAME];
    }
    return false;
  }
};

}  // namespace

int32_t Bursts::inspect(int32_t at, int32_t n, int32_t coalesce) {
  if (!listFits(at, n, DESC_WORDS)) return 0;
  int32_t* out = w + at;
  Coalescer merged(t);
  for (int32_t i = 0; i < n; i++) {
    int32_t* d = w + at + i * DESC_WORDS;
    if (i + 1 < n) {
      const int32_t f = d[DESC_WORDS + D_FRAME];
      if (f >= 0 && f < t.frames) __builtin_prefetch(t.packet + t.offset[f] + fromOf(d + DESC_WORDS));
    }
    d[D_FLAGS_GSO] &= ~kDecided;
    const int32_t reason = ethernet(t, d);
    if (reason != DROP_NONE) {
      d[D_FLAGS_GSO] |= F_BAD;
      d[D_HASH] = reason;
    } else if (coalesce == 1 && merged.absorb(d, out)) {
      continue;
    }
    if (out != d) memcpy(out, d, DESC_BYTES);
    out += DESC_WORDS;
  }
  return static_cast<int32_t>((out - (w + at)) / DESC_WORDS);
}

}  // namespace flowring
