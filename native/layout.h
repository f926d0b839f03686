// The ABI of src/rings/layout.ts as native code knows it. layout_check.cc compares every number when the addon is loaded.
#pragma once
#include <cstdint>

namespace flowring {

constexpr int32_t MAGIC = 0x464c5752;
constexpr int32_t ABI_VERSION = 1;
constexpr int32_t HEADER_BYTES = 64;
constexpr int32_t DESC_WORDS = 8;
constexpr int32_t DESC_BYTES = 32;

// Block header words; KIND_FRAME_TABLE
constexpr int32_t H_MAGIC = 0, H_VERSION = 1, H_KIND = 2, H_BYTES = 3, H_FRAMES = 4, H_FRAME_BYTES = 5, H_REGION = 6, H_HEADROOM = 7;
constexpr int32_t KIND_FRAME_TABLE = 3;

constexpr int32_t D_FRAME = 0, D_DATA = 1, D_TOTAL = 2, D_REGION_GEN = 3, D_OFFSETS = 4, D_FLAGS_GSO = 5, D_SEGS_VLAN = 6, D_HASH = 7;

constexpr int32_t F_CSUM_OK = 1 << 0;
constexpr int32_t F_CSUM_PARTIAL = 1 << 1;
constexpr int32_t F_IPCSUM_OK = 1 << 2;
constexpr int32_t F_TRAIN = 1 << 3;
constexpr int32_t F_VLAN = 1 << 4;
constexpr int32_t F_TX = 1 << 5;
constexpr int32_t F_PARSED = 1 << 6;
constexpr int32_t F_TCP = 1 << 7;
constexpr int32_t F_UDP = 1 << 8;
constexpr int32_t F_ICMP = 1 << 9;
constexpr int32_t F_FRAGMENT = 1 << 10;
constexpr int32_t F_MULTICAST = 1 << 11;
constexpr int32_t F_REDIRECTED = 1 << 12;
constexpr int32_t F_BAD = 1 << 13;

constexpr int32_t OWNER_FREE = 0, OWNER_DEVICE = 1, OWNER_BROKER = 2, OWNER_RING = 3, OWNER_LEASE = 4, OWNER_WORKER = 16;
constexpr int32_t FT_OFFSET = 0, FT_OWNER = 1, FT_GENERATION = 2, FT_NEXT = 3, FT_LENGTH = 4, FT_COLUMNS = 5;
constexpr int32_t GENERATION_MASK = 0xffff;
constexpr int32_t RING_TAIL = 0, RING_HEAD = 32, RING_CAPACITY = 64, RING_SLOTS = 96;
constexpr int32_t HEADROOM = 190;
constexpr int32_t TRAIN_LINKS_MAX = 64;

// Drop reasons (src/rings/drops.ts)
constexpr int32_t DROP_NONE = 0, DROP_BAD_DESCRIPTOR = 1, DROP_TRUNCATED = 2, DROP_IP_HEADER = 5, DROP_IP_CHECKSUM = 6, DROP_L4_CHECKSUM = 7;
constexpr int32_t DROP_TCP_HEADER = 8, DROP_UDP_HEADER = 9, DROP_ICMP = 10, DROP_NO_FRAME = 17, DROP_TX_DEVICE = 18, DROP_DEVICE_RING = 32, DROP_REASONS = 35;

// Bursts (src/rings/bursts.ts)
constexpr int32_t WORK_CSUM = 1, WORK_CUT = 2, COPY_WORDS = 4, COPY_TO_ARENA = 1, COPY_FROM_ARENA = 2;

}  // namespace flowring
