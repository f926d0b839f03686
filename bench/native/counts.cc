// How many instructions does a frame cost in the native bursts? The bursts alone, without Node, under callgrind:
//
//   counts scalar|avx2
//
// Each case sets its memory up anew, runs one burst with callgrind collecting, and checks what came out; after REPEATS of these its
// count is dumped under its name. Prints a line a case, `FRAMES NAME`: what a count is divided by. Exit code 1 when a burst gave a
// wrong result, 3 when this CPU has no such form of the checksum. Without callgrind it is a test of the harness.
//
// bench/counts.ts compiles, runs and reads it.
#include <valgrind/callgrind.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "../../native/burst/burst.h"
#include "../../native/burst/checksum.h"

namespace flowring {

// Memory by id belongs to the addon; here it is the harness's own.
Hold::~Hold() {}

}  // namespace flowring

using namespace flowring;

namespace {

constexpr int32_t REPEATS = 8;
constexpr int32_t BURST = 16, TRAIN = 44, FRAMES = 64, FRAME_BYTES = 2048, REGION = 1;
constexpr int32_t MSS = 1448, IP = 14, TCP = 34, HEADERS = 66;
// Words of the arena: descriptors, copies, descriptors out; payload from 64 KiB on.
constexpr int32_t DESC_AT = 64, COPY_AT = 4096, OUT_AT = 8192, PAYLOAD_BYTE = 65536, ARENA_BYTES = 262144;

struct Rig {
  std::vector<int32_t> table, arena;
  std::vector<uint8_t> packet, user;
  Bursts bursts;

  Rig() : table(HEADER_BYTES / 4 + FT_COLUMNS * FRAMES), arena(ARENA_BYTES / 4), packet(FRAMES * FRAME_BYTES), user(65536) {
    table[H_MAGIC] = MAGIC;
    table[H_VERSION] = ABI_VERSION;
    table[H_KIND] = KIND_FRAME_TABLE;
    table[H_FRAMES] = FRAMES;
    table[H_FRAME_BYTES] = FRAME_BYTES;
    table[H_REGION] = REGION;
    table[H_HEADROOM] = HEADROOM;
    std::string why;
    if (!bursts.bind(reinterpret_cast<uint8_t*>(table.data()), table.size() * 4, packet.data(), packet.size(), reinterpret_cast<uint8_t*>(arena.data()), ARENA_BYTES, why)) {
      fprintf(stderr, "counts: %s\n", why.c_str());
      exit(1);
    }
    for (int32_t f = 0; f < FRAMES; f++) bursts.t.offset[f] = f * FRAME_BYTES;
    for (size_t i = 0; i < packet.size(); i++) packet[i] = pattern(static_cast<int32_t>(i));
    for (int32_t i = PAYLOAD_BYTE; i < ARENA_BYTES; i++) reinterpret_cast<uint8_t*>(arena.data())[i] = pattern(i * 5);
  }

  static uint8_t pattern(int32_t i) { return static_cast<uint8_t>(i * 7 + (i >> 8)); }
  int32_t* desc(int32_t i, int32_t at = DESC_AT) { return arena.data() + at + i * DESC_WORDS; }
  uint8_t* eth(int32_t f) { return packet.data() + f * FRAME_BYTES + HEADROOM; }

  uint32_t pseudo(int32_t f, int32_t total) { return pseudoSum4(be32(eth(f) + IP + 12), be32(eth(f) + IP + 16), 6, static_cast<uint32_t>(total - TCP)); }

  // Ethernet, IPv4 and TCP with timestamps in frame `f`, for a datagram whose frame would have `total` bytes.
  void headers(int32_t f, int32_t total, uint32_t seq, uint32_t port) {
    uint8_t *p = eth(f), *ip = p + IP, *tcp = p + TCP;
    memset(p, 0, HEADERS);
    p[0] = p[6] = 2;
    put16(p + 12, 0x0800);
    ip[0] = 0x45;
    put16(ip + 2, static_cast<uint32_t>(total - IP));
    put16(ip + 6, 0x4000);
    ip[8] = 64;
    ip[9] = 6;
    put32(ip + 12, 0x0a000001);
    put32(ip + 16, 0x0a000002);
    put16(ip + 10, ~sumScalar(ip, 20) & 0xffff);
    put16(tcp, port);
    put16(tcp + 2, 80);
    put32(tcp + 4, seq);
    put32(tcp + 8, 1);
    tcp[12] = 8 << 4;
    tcp[13] = 0x10;
    put16(tcp + 14, 500);
    put32(tcp + 20, 0x0101080a);
    put32(tcp + 24, 1);
    put32(tcp + 28, 2);
  }

  void describe(int32_t i, int32_t f, int32_t linear, int32_t total, int32_t flags) {
    int32_t* d = desc(i);
    d[D_FRAME] = f;
    d[D_DATA] = (HEADROOM << 16) | linear;
    d[D_TOTAL] = total;
    d[D_REGION_GEN] = REGION << 16;
    d[D_OFFSETS] = (TCP << 16) | (IP << 8);
    d[D_FLAGS_GSO] = flags;
    d[D_SEGS_VLAN] = 1;
    bursts.t.next[f] = -1;
    bursts.t.length[f] = linear;
  }

  void copyEntry(int32_t i, int32_t to, int32_t from, int32_t len, int32_t kind, int32_t index) {
    int32_t* c = arena.data() + COPY_AT + i * COPY_WORDS;
    c[0] = to;
    c[1] = from;
    c[2] = len;
    c[3] = (kind << 16) | index;
  }

  // `n` received segments of `payload` bytes with right checksums: of one flow in sequence, or of a flow each.
  void received(int32_t n, int32_t payload, bool oneFlow) {
    for (int32_t f = 0; f < n; f++) {
      const int32_t total = HEADERS + payload;
      headers(f, total, oneFlow ? static_cast<uint32_t>(1 + f * payload) : 1, oneFlow ? 1000 : static_cast<uint32_t>(1000 + f));
      put16(eth(f) + TCP + 16, ~fold(pseudo(f, total) + sumScalar(eth(f) + TCP, static_cast<size_t>(total - TCP))) & 0xffff);
      describe(f, f, total, total, 0);
    }
  }

  void chain(int32_t n) {
    for (int32_t f = 0; f < n; f++) {
      bursts.t.next[f] = f + 1 < n ? f + 1 : -1;
      bursts.t.length[f] = f == 0 ? HEADERS + MSS : MSS;
    }
    desc(0)[D_FLAGS_GSO] |= F_TRAIN | (MSS << 16);
    desc(0)[D_SEGS_VLAN] = n;
  }

  // One train of `n` links as it was received, its checksum right.
  void receivedTrain(int32_t n) {
    const int32_t total = HEADERS + n * MSS;
    headers(0, total, 1, 1000);
    describe(0, 0, HEADERS + MSS, total, 0);
    chain(n);
    uint32_t sum = fold(pseudo(0, total) + sumScalar(eth(0) + TCP, static_cast<size_t>(HEADERS + MSS - TCP)));
    for (int32_t f = 1; f < n; f++) sum = fold(sum + sumScalar(eth(f) + HEADERS, MSS));
    put16(eth(0) + TCP + 16, ~sum & 0xffff);
  }

  // `n` segments to send, their payload in the arena.
  void toSend(int32_t n, int32_t payload) {
    for (int32_t f = 0; f < n; f++) {
      const int32_t total = HEADERS + payload;
      headers(f, total, 1, static_cast<uint32_t>(1000 + f));
      put16(eth(f) + TCP + 16, fold(pseudo(f, total)));
      describe(f, f, total, total, F_TX | F_PARSED | F_TCP | F_IPCSUM_OK | F_CSUM_PARTIAL);
      copyEntry(f, f * FRAME_BYTES + HEADROOM + HEADERS, PAYLOAD_BYTE + f * payload, payload, COPY_FROM_ARENA, f);
    }
  }

  void trainToSend(int32_t n) {
    const int32_t total = HEADERS + n * MSS;
    headers(0, total, 1, 1000);
    put16(eth(0) + TCP + 16, fold(pseudo(0, total)));
    describe(0, 0, HEADERS + MSS, total, F_TX | F_PARSED | F_TCP | F_IPCSUM_OK | F_CSUM_PARTIAL);
    chain(n);
    for (int32_t f = 0; f < n; f++) copyEntry(f, f * FRAME_BYTES + HEADROOM + HEADERS, PAYLOAD_BYTE + f * MSS, MSS, COPY_FROM_ARENA, 0);
  }

  // Every one of `n` descriptors from `at` on is whole: not refused, its checksum good.
  bool good(int32_t n, int32_t at = DESC_AT) {
    for (int32_t i = 0; i < n; i++)
      if ((desc(i, at)[D_FLAGS_GSO] & (F_BAD | F_CSUM_OK)) != F_CSUM_OK) return false;
    return bursts.bad == 0;
  }

  // The segment in frame `f` as it would stand on the wire has a right checksum.
  bool verifies(int32_t f, int32_t payload) {
    const int32_t total = HEADERS + payload;
    return fold(pseudo(f, total) + sumScalar(eth(f) + TCP, static_cast<size_t>(total - TCP))) == 0xffff;
  }

  bool sent(int32_t n, int32_t payload, int32_t at) {
    for (int32_t f = 0; f < n; f++)
      if (!verifies(f, payload)) return false;
    return good(n, at);
  }
};

struct Case {
  const char* name;
  int32_t frames;
  void (*setUp)(Rig&);
  int32_t (*run)(Rig&);
  bool (*right)(Rig&, int32_t result);
};

template <int32_t payload>
void receive(Rig& r) { r.received(BURST, payload, false); }
int32_t inspectBurst(Rig& r) { return r.bursts.inspect(DESC_AT, BURST, 0); }
bool burstGood(Rig& r, int32_t n) { return n == BURST && r.good(BURST); }

template <int32_t payload>
void send(Rig& r) { r.toSend(BURST, payload); }
int32_t emitBurst(Rig& r) { return r.bursts.emit(DESC_AT, BURST, COPY_AT, BURST, WORK_CSUM, OUT_AT); }

template <int32_t from, int32_t to>
void userCopies(Rig& r) {
  for (int32_t i = 0; i < BURST; i++) r.copyEntry(i, (to == 0 ? 0 : PAYLOAD_BYTE) + i * MSS, (from == 0 ? i * FRAME_BYTES + HEADROOM + HEADERS : i * MSS), MSS, to == 0 ? 0 : COPY_TO_ARENA, 0);
}
bool copied(Rig& r, int32_t) {
  for (int32_t i = 0; i < BURST; i++)
    if (memcmp(r.user.data() + i * MSS, r.eth(i) + HEADERS, MSS) != 0) return false;
  return r.bursts.bad == 0;
}

const Case CASES[] = {
    {"inspect 64", BURST, receive<64>, inspectBurst, burstGood},
    {"inspect 1448", BURST, receive<MSS>, inspectBurst, burstGood},
    {"inspect train of 44", TRAIN, [](Rig& r) { r.receivedTrain(TRAIN); }, [](Rig& r) { return r.bursts.inspect(DESC_AT, 1, 0); },
     [](Rig& r, int32_t n) { return n == 1 && r.good(1); }},
    {"coalesce 1448", BURST, [](Rig& r) { r.received(BURST, MSS, true); }, [](Rig& r) { return r.bursts.inspect(DESC_AT, BURST, 1); },
     [](Rig& r, int32_t n) { return n == 1 && r.good(1) && r.desc(0)[D_TOTAL] == HEADERS + BURST * MSS; }},
    {"emit 64", BURST, send<64>, emitBurst, [](Rig& r, int32_t n) { return n == BURST && r.sent(BURST, 64, OUT_AT); }},
    {"emit 1448", BURST, send<MSS>, emitBurst, [](Rig& r, int32_t n) { return n == BURST && r.sent(BURST, MSS, OUT_AT); }},
    {"emit train of 44, cut", TRAIN, [](Rig& r) { r.trainToSend(TRAIN); },
     [](Rig& r) { return r.bursts.emit(DESC_AT, 1, COPY_AT, TRAIN, WORK_CSUM | WORK_CUT, OUT_AT); },
     [](Rig& r, int32_t n) { return n == TRAIN && r.sent(TRAIN, MSS, OUT_AT); }},
    {"emit train of 44, whole", TRAIN, [](Rig& r) { r.trainToSend(TRAIN); }, [](Rig& r) { return r.bursts.emit(DESC_AT, 1, COPY_AT, TRAIN, 0, OUT_AT); },
     [](Rig& r, int32_t n) { return n == 1 && memcmp(r.eth(TRAIN - 1) + HEADERS, r.bursts.arena + PAYLOAD_BYTE + (TRAIN - 1) * MSS, MSS) == 0 && r.bursts.bad == 0; }},
    {"read 1448", BURST, userCopies<0, 0>, [](Rig& r) { return r.bursts.toUser(r.user.data(), static_cast<int64_t>(r.user.size()), COPY_AT, BURST), 0; }, copied},
    {"write 1448", BURST, userCopies<1, 1>, [](Rig& r) { return r.bursts.fromUser(r.user.data(), static_cast<int64_t>(r.user.size()), COPY_AT, BURST), 0; },
     [](Rig& r, int32_t) { return memcmp(r.bursts.arena + PAYLOAD_BYTE, r.user.data(), BURST * MSS) == 0 && r.bursts.bad == 0; }},
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return fprintf(stderr, "counts scalar|avx2\n"), 2;
  if (!useChecksum(argv[1])) return fprintf(stderr, "counts: no %s checksum on this CPU\n", argv[1]), 3;
  for (const Case& c : CASES) {
    // Once before counting: what the dynamic linker looks up at a function's first call is no part of a burst.
    for (int32_t k = -1; k < REPEATS; k++) {
      Rig* r = new Rig();
      c.setUp(*r);
      if (k >= 0) CALLGRIND_TOGGLE_COLLECT;
      const int32_t result = c.run(*r);
      if (k >= 0) CALLGRIND_TOGGLE_COLLECT;
      if (!c.right(*r, result)) return fprintf(stderr, "counts: %s gave a wrong result (%d)\n", c.name, result), 1;
      delete r;
    }
    CALLGRIND_DUMP_STATS_AT(c.name);
    printf("%d %s\n", c.frames * REPEATS, c.name);
  }
  return 0;
}
