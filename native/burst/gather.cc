// Copies and emit: src/wire/burst/copy.ts and emit.ts in native code. Where a copy fills a link's payload whose checksum is
// asked for in the same call, the sum is made while copying and the payload is not read again.
#include "burst.h"
#include "checksum.h"

namespace flowring {

namespace {

inline bool inside(int32_t off, int32_t len, int64_t bytes) { return off >= 0 && len >= 0 && off <= bytes - len; }
inline int32_t l3Of(const int32_t* d) { return (d[D_OFFSETS] >> 8) & 0xff; }
inline int32_t l4Of(const int32_t* d) { return static_cast<int32_t>(static_cast<uint32_t>(d[D_OFFSETS]) >> 16); }
inline int32_t fromOf(const int32_t* d) { return static_cast<int32_t>(static_cast<uint32_t>(d[D_DATA]) >> 16); }
inline uint32_t kindOf(const int32_t* c) { return static_cast<uint32_t>(c[3]) >> 16; }

// Where the next payload byte of one descriptor is expected.
struct Cursor {
  int32_t desc = -1;   // index the cursor stands on, whether or not it is `live`
  bool live = false;
  int32_t frame = -1;
  int32_t pay = 0;     // payload's place in every frame
  int32_t length = 0;  // payload bytes of this link
  int32_t filled = 0;

  void start(const Bursts& b, const int32_t* d, int32_t index, int32_t work) {
    desc = index;
    live = false;
    const bool train = (d[D_FLAGS_GSO] & F_TRAIN) != 0;
    const bool sums = (work & WORK_CSUM) != 0 && ((d[D_FLAGS_GSO] & F_CSUM_PARTIAL) != 0 || (train && (work & WORK_CUT) != 0));
    const uint8_t* eth = sums ? b.t.believe(d) : nullptr;
    const int32_t hdr = eth == nullptr ? 0 : headerBytes(d, eth);
    if (hdr == 0 || (train && (!b.t.chainSound(d) || !b.t.linksFit(d, fromOf(d) + hdr)))) return;
    live = true;
    frame = d[D_FRAME];
    pay = fromOf(d) + hdr;
    length = (d[D_DATA] & 0xffff) - hdr;
    filled = 0;
  }

  // Whether [at, at + len) is exactly what comes next.
  bool expects(const Bursts& b, int32_t at, int32_t len) {
    if (!live) return false;
    while (filled == length && b.t.next[frame] >= 0 && b.t.next[frame] < b.t.frames) {
      frame = b.t.next[frame];
      length = b.t.length[frame];
      filled = 0;
    }
    return at == b.t.offset[frame] + pay + filled && len <= length - filled;
  }
};

// The sum of a link's payload: made by the copies of this call, or now.
uint32_t paySum(const Bursts& b, int32_t f, const uint8_t* p, int32_t len) {
  const LinkSum& s = b.sums[static_cast<size_t>(f)];
  return s.epoch == b.epoch && s.len == len ? s.sum : sumBytes(p, static_cast<size_t>(len));
}

void gather(Bursts& b, int32_t at, int32_t n, int32_t copyAt, int32_t copies, int32_t work) {
  if (!b.listFits(copyAt, copies, COPY_WORDS)) return;
  const bool listed = at >= 0 && n >= 0 && at <= b.words - static_cast<int64_t>(n) * DESC_WORDS;
  Cursor cursor;
  for (int32_t i = 0; i < copies; i++) {
    const int32_t* c = b.w + copyAt + i * COPY_WORDS;
    const int32_t to = c[0], from = c[1], len = c[2], index = c[3] & 0xffff;
    const bool toArena = (kindOf(c) & COPY_TO_ARENA) != 0, fromArena = (kindOf(c) & COPY_FROM_ARENA) != 0;
    if (!inside(to, len, toArena ? b.arenaBytes : b.t.packetBytes) || !inside(from, len, fromArena ? b.arenaBytes : b.t.packetBytes)) {
      b.bad++;
      continue;
    }
    uint8_t* target = (toArena ? b.arena : b.t.packet) + to;
    const uint8_t* source = (fromArena ? b.arena : b.t.packet) + from;
    if (listed && index < n && !toArena && fromArena) {
      if (cursor.desc != index) cursor.start(b, b.w + at + index * DESC_WORDS, index, work);
      if (cursor.expects(b, to, len)) {
        LinkSum& s = b.sums[static_cast<size_t>(cursor.frame)];
        if (s.epoch != b.epoch || cursor.filled == 0) s = LinkSum{b.epoch, 0, 0};
        s.sum = addPart(s.sum, copySum(target, source, static_cast<size_t>(len)), s.len);
        s.len += len;
        cursor.filled += len;
        continue;
      }
    }
    memmove(target, source, static_cast<size_t>(len));
  }
}

void refuse(int32_t* d) {
  d[D_FLAGS_GSO] |= F_BAD;
  d[D_HASH] = DROP_BAD_DESCRIPTOR;
}

void complete(Bursts& b, int32_t* d) {
  Frames& t = b.t;
  uint8_t* eth = t.believe(d);
  const int32_t hdr = eth == nullptr ? 0 : headerBytes(d, eth);
  const bool train = (d[D_FLAGS_GSO] & F_TRAIN) != 0;
  const int32_t linear = d[D_DATA] & 0xffff, pay = fromOf(d) + hdr, l4 = l4Of(d);
  if (hdr == 0 || (train ? !t.chainSound(d) || !t.linksFit(d, pay) : d[D_TOTAL] != linear)) return refuse(d);
  uint32_t sum = sumBytes(eth + l4, static_cast<size_t>(hdr - l4));
  int32_t done = linear - l4;
  sum = addPart(sum, paySum(b, d[D_FRAME], eth + hdr, linear - hdr), hdr - l4);
  if (train)
    for (int32_t f = t.next[d[D_FRAME]]; f != -1; f = t.next[f]) {
      sum = addPart(sum, paySum(b, f, t.packet + t.offset[f] + pay, t.length[f]), done);
      done += t.length[f];
    }
  const bool udp = eth[l3Of(d) + 9] == 17;
  const uint32_t field = ~sum & 0xffff;
  put16(eth + l4 + (udp ? 6 : 16), udp && field == 0 ? 0xffff : field);
  d[D_FLAGS_GSO] = (d[D_FLAGS_GSO] & ~F_CSUM_PARTIAL) | F_CSUM_OK;
}

// Segment `k` of a train, `done` payload bytes into it, of the header that stands at `eth`.
void segment(Bursts& b, int32_t* o, uint8_t* eth, int32_t hdr, int32_t k, int32_t done, bool last, int32_t work) {
  const int32_t l3 = l3Of(o), l4 = l4Of(o), total = o[D_TOTAL];
  uint8_t *ip = eth + l3, *tcp = eth + l4;
  put16(ip + 2, static_cast<uint32_t>(total - l3));
  put16(ip + 4, (be16(ip + 4) + static_cast<uint32_t>(k)) & 0xffff);
  put16(ip + 10, 0);
  put16(ip + 10, ~sumBytes(ip, static_cast<size_t>(l4 - l3)) & 0xffff);
  put32(tcp + 4, be32(tcp + 4) + static_cast<uint32_t>(done));
  uint8_t flags = tcp[13];
  if (k != 0) flags &= static_cast<uint8_t>(~0x80);
  if (!last) flags &= static_cast<uint8_t>(~0x09);
  tcp[13] = flags;
  put16(tcp + 16, fold(pseudoSum4(be32(ip + 12), be32(ip + 16), 6, static_cast<uint32_t>(total - l4))));
  if ((work & WORK_CSUM) != 0) {
    uint32_t sum = sumBytes(tcp, static_cast<size_t>(hdr - l4));
    sum = addPart(sum, paySum(b, o[D_FRAME], eth + hdr, total - hdr), hdr - l4);
    put16(tcp + 16, ~sum & 0xffff);
    o[D_FLAGS_GSO] = (o[D_FLAGS_GSO] & ~F_CSUM_PARTIAL) | F_CSUM_OK;
  } else {
    o[D_FLAGS_GSO] |= F_CSUM_PARTIAL;
  }
}

int32_t cut(Bursts& b, int32_t* d, int32_t* out, int32_t work) {
  Frames& t = b.t;
  uint8_t* eth = t.believe(d);
  const int32_t hdr = eth == nullptr ? 0 : headerBytes(d, eth);
  bool ok = hdr != 0 && eth[l3Of(d) + 9] == 6 && t.chainSound(d) && t.linksFit(d, fromOf(d) + hdr);
  if (ok) {
    int64_t links = 0;
    for (int32_t f = d[D_FRAME]; f != -1; f = t.next[f]) links++;
    ok = (out - b.w) <= b.words - links * DESC_WORDS;
  }
  if (!ok) {
    refuse(d);
    if (out != d) memmove(out, d, DESC_BYTES);
    return 1;
  }
  int32_t base[DESC_WORDS];
  memcpy(base, d, DESC_BYTES);
  const int32_t first = base[D_FRAME], from = fromOf(base);
  int32_t done = 0, count = 0, n = (base[D_DATA] & 0xffff) - hdr;
  for (int32_t f = first; f != -1; count++) {
    const int32_t next = t.next[f];
    int32_t* o = out + count * DESC_WORDS;
    uint8_t* to = t.packet + t.offset[f] + from;
    if (f != first) memmove(to, eth, static_cast<size_t>(hdr));
    o[D_FRAME] = f;
    o[D_DATA] = (base[D_DATA] & ~0xffff) | (hdr + n);
    o[D_TOTAL] = hdr + n;
    o[D_REGION_GEN] = (base[D_REGION_GEN] & ~GENERATION_MASK) | (t.generation[f] & GENERATION_MASK);
    o[D_OFFSETS] = base[D_OFFSETS];
    o[D_FLAGS_GSO] = base[D_FLAGS_GSO] & 0xffff & ~F_TRAIN;
    o[D_SEGS_VLAN] = (base[D_SEGS_VLAN] & ~0xffff) | 1;
    o[D_HASH] = base[D_HASH];
    t.next[f] = -1;
    t.length[f] = hdr + n;
    if (f != first) segment(b, o, to, hdr, count, done, next == -1, work);
    done += n;
    f = next;
    if (f != -1) n = t.length[f];
  }
  segment(b, out, eth, hdr, 0, 0, count == 1, work);
  return count;
}

}  // namespace

int32_t Bursts::emit(int32_t at, int32_t n, int32_t copyAt, int32_t copies, int32_t work, int32_t outAt) {
  if (++epoch == 0) {
    for (LinkSum& s : sums) s = LinkSum{};
    epoch = 1;
  }
  if (copies != 0) gather(*this, at, n, copyAt, copies, work);
  if (!listFits(at, n, DESC_WORDS) || !listFits(outAt, 0, DESC_WORDS)) return 0;
  int32_t* out = w + outAt;
  const int32_t* limit = w + words - DESC_WORDS;
  for (int32_t i = 0; i < n; i++) {
    int32_t* d = w + at + i * DESC_WORDS;
    if (out > limit) {
      bad++;
      break;
    }
    const int32_t flags = d[D_FLAGS_GSO];
    if ((flags & F_TRAIN) != 0 && (work & WORK_CUT) != 0) {
      out += cut(*this, d, out, work) * DESC_WORDS;
      continue;
    }
    if ((flags & F_CSUM_PARTIAL) != 0 && (work & WORK_CSUM) != 0) complete(*this, d);
    if (out != d) memmove(out, d, DESC_BYTES);
    out += DESC_WORDS;
  }
  return static_cast<int32_t>((out - (w + outAt)) / DESC_WORDS);
}

void Bursts::copy(int32_t copyAt, int32_t copies) { gather(*this, 0, 0, copyAt, copies, 0); }

void Bursts::toUser(uint8_t* user, int64_t userBytes, int32_t copyAt, int32_t copies) {
  // An empty view may have no address at all: nothing could be copied to it anyway.
  if (user == nullptr || !listFits(copyAt, copies, COPY_WORDS)) return;
  for (int32_t i = 0; i < copies; i++) {
    const int32_t* c = w + copyAt + i * COPY_WORDS;
    const bool fromArena = (kindOf(c) & COPY_FROM_ARENA) != 0;
    if (inside(c[0], c[2], userBytes) && inside(c[1], c[2], fromArena ? arenaBytes : t.packetBytes))
      memmove(user + c[0], (fromArena ? arena : t.packet) + c[1], static_cast<size_t>(c[2]));
    else
      bad++;
  }
}

void Bursts::fromUser(const uint8_t* user, int64_t userBytes, int32_t copyAt, int32_t copies) {
  if (user == nullptr || !listFits(copyAt, copies, COPY_WORDS)) return;
  for (int32_t i = 0; i < copies; i++) {
    const int32_t* c = w + copyAt + i * COPY_WORDS;
    const bool toArena = (kindOf(c) & COPY_TO_ARENA) != 0;
    if (inside(c[0], c[2], toArena ? arenaBytes : t.packetBytes) && inside(c[1], c[2], userBytes))
      memmove((toArena ? arena : t.packet) + c[0], user + c[1], static_cast<size_t>(c[2]));
    else
      bad++;
  }
}

}  // namespace flowring
