/**
 * The ABI that every thread, and native code, shares. Version 1.
 *
 * This file is the specification: native/layout_check.cc includes the same numbers and refuses to load against others.
 * All multi-byte fields are host order. "word" is an int32. Every shared block starts with the 64-byte header below.
 *
 * Block header (words)
 * | word | meaning                                              | writer |
 * |------|------------------------------------------------------|--------|
 * | 0    | magic 'FLWR' (0x464c5752)                            | main   |
 * | 1    | ABI version                                          | main   |
 * | 2    | block kind (KIND_*)                                  | main   |
 * | 3    | total bytes                                          | main   |
 * | 4..15| kind-specific sizes, see the constants of each kind  | main   |
 *
 * Packet memory itself (the region) carries no header: it may be a device's. Its frame table does.
 *
 * Descriptor, 32 bytes (words)
 * | word | bits 31..16         | bits 15..0                                   |
 * |------|---------------------|----------------------------------------------|
 * | 0    | frameId (whole word): dense within the region                      |
 * | 1    | dataOffset in frame | linear length (bytes in link 0)              |
 * | 2    | total length over all links, from the Ethernet header (whole word) |
 * | 3    | region id           | generation of link 0                         |
 * | 4    | L4 offset           | L3 offset << 8 or'ed with L2 offset          |
 * | 5    | gsoSize             | flags F_*                                    |
 * | 6    | VLAN TCI, or size   | links (1 for a single frame)                 |
 * | 7    | flow hash (whole word)                                             |
 * gsoSize is the payload of a link. Where links hold several segments, word 6 says the size of one in its high half, also for a
 * single frame; without F_VLAN or such a size the high half is 0.
 * L2/L3/L4 offsets count from dataOffset. Written by whoever received the frame; trusted after one check
 * (frameId in range, generation equal, dataOffset + linear inside the frame).
 *
 * Frame table (columns of `frames` int32 each, in this order after the header)
 * | column     | meaning                                                              | writer        |
 * |------------|----------------------------------------------------------------------|---------------|
 * | offset     | byte offset of the frame in its region; never computed from a stride | main          |
 * | owner      | OWNER_* | host << 8: one of device, broker, ring, worker, lease, free | current owner |
 * | generation | 16 bits, bumped each time the frame returns to the free list         | broker        |
 * | next       | next frame of the train, -1 at the end                               | current owner |
 * | length     | link 0: linear bytes from dataOffset; further links: payload bytes   | current owner |
 *
 * Ring (words, from the ring's base)
 * | word | meaning                                               | writer   | reader   |
 * |------|-------------------------------------------------------|----------|----------|
 * | 0    | tail: producer index, free-running                    | producer | consumer |
 * | 32   | head: consumer index, free-running                    | consumer | producer |
 * | 33   | claiming: index behind the slot whose frame is taken  | consumer | heir     |
 * | 34   | claimed: index behind the last slot wholly taken      | consumer | heir     |
 * | 64   | capacity in slots (power of two)                      | main     | both     |
 * | 65   | words a slot (8 for descriptors, 4 control, 1 ids)    | main     | both     |
 * | 66   | offered: index behind the last slot wholly written    | producer | heir     |
 * | 96.. | slots                                                 | producer | consumer |
 * Indices stand on their own 128-byte lines. Words 33, 34 and 66 are kept where a side may die alone and its heir cannot
 * tell by the owner column what the ring holds (succession.ts).
 */

export const MAGIC = 0x464c5752;
export const ABI_VERSION = 1;
export const HEADER_BYTES = 64;

// Block kinds
export const KIND_CONTROL = 1;
export const KIND_RINGS = 2;
export const KIND_FRAME_TABLE = 3;
export const KIND_ARENA = 4;

// Block header words
export const H_MAGIC = 0;
export const H_VERSION = 1;
export const H_KIND = 2;
export const H_BYTES = 3;
/** Frame table: number of frames, bytes a frame, region id, headroom. */
export const H_FRAMES = 4;
export const H_FRAME_BYTES = 5;
export const H_REGION = 6;
export const H_HEADROOM = 7;
/** Arena: word where the connections' columns begin (0 before there are any), and how many connections they hold. */
export const H_TCB = 4;
export const H_CONNECTIONS = 5;
/** The same of UDP sockets' columns. */
export const H_UDP = 6;
export const H_DATAGRAMS = 7;

// Descriptor
export const DESC_WORDS = 8;
export const DESC_BYTES = 32;
export const D_FRAME = 0;
export const D_DATA = 1;
export const D_TOTAL = 2;
export const D_REGION_GEN = 3;
export const D_OFFSETS = 4;
export const D_FLAGS_GSO = 5;
export const D_SEGS_VLAN = 6;
export const D_HASH = 7;

// Descriptor flags (low 16 bits of word 5)
/** The L4 checksum is known good: verified by the provider, or vouched for because it never left memory. */
export const F_CSUM_OK = 1 << 0;
/** The L4 checksum field holds the folded pseudo-header sum; whoever puts the frame on a real wire completes it. */
export const F_CSUM_PARTIAL = 1 << 1;
/** The IPv4 header checksum is known good. */
export const F_IPCSUM_OK = 1 << 2;
/** More than one link: segment count and gsoSize are meaningful. */
export const F_TRAIN = 1 << 3;
export const F_VLAN = 1 << 4;
/** Direction: set on frames going out. */
export const F_TX = 1 << 5;
/** Offsets of word 4 and the L4 kind were filled by `inspect`. */
export const F_PARSED = 1 << 6;
export const F_TCP = 1 << 7;
export const F_UDP = 1 << 8;
export const F_ICMP = 1 << 9;
/** IPv4 fragment: offset not zero or MF set. */
export const F_FRAGMENT = 1 << 10;
/** L2 destination was broadcast or multicast. */
export const F_MULTICAST = 1 << 11;
/** Sent on by another worker over a redirect ring: is not redirected again. */
export const F_REDIRECTED = 1 << 12;
/** `inspect` found it unacceptable: word 7 holds the drop reason (DROP_*). */
export const F_BAD = 1 << 13;

// Frame owners
export const OWNER_FREE = 0;
export const OWNER_DEVICE = 1;
export const OWNER_BROKER = 2;
export const OWNER_RING = 3;
export const OWNER_LEASE = 4;
/** Worker w owns with OWNER_WORKER + w. */
export const OWNER_WORKER = 16;
/**
 * A frame in a ring that ends with worker w: its rx, tx, recycle and grant. OWNER_RING is left to rings that outlive a
 * worker: redirect rings, a switch's pair and home rings.
 */
export const OWNER_RING_OF = 128;
/** Leased by worker w: frames that wait for a neighbour. */
export const OWNER_LEASE_OF = 192;
/** The low byte of an owner says who; above it stands the host, where several runtimes share one region (the switch). */
export const OWNER_MASK = 0xff;
export const OWNER_HOST_SHIFT = 8;

/** Frame table columns, in order. */
export const FT_OFFSET = 0;
export const FT_OWNER = 1;
export const FT_GENERATION = 2;
export const FT_NEXT = 3;
export const FT_LENGTH = 4;
export const FT_COLUMNS = 5;
export const GENERATION_MASK = 0xffff;

// Rings
export const RING_TAIL = 0;
export const RING_HEAD = 32;
export const RING_CLAIMING = 33;
export const RING_CLAIMED = 34;
export const RING_CAPACITY = 64;
export const RING_SLOT_WORDS = 65;
export const RING_OFFERED = 66;
export const RING_SLOTS = 96;
/** Indices are published at least every this many slots: larger units put two threads in lockstep. */
export const PUBLISH_EVERY = 16;

/** Bytes before the Ethernet header: IPv4 TCP payload with timestamps (66 bytes on) starts on an 8-byte boundary. */
export const HEADROOM = 190;
/** Links a train may have: a 64 KiB IPv4 datagram in 1448-byte links is 46, with small MSS more. */
export const TRAIN_LINKS_MAX = 64;
export const FRAME_BYTES_MIN = 2048;
export const FRAME_BYTES_MAX = 16384;
/** Byte offsets into a region must stay positive int32 (Smi) in the hot path. */
export const REGION_BYTES_MAX = 0x7fff0000;

export const MAX_WORKERS = 64;
export const RETA_SIZE = 512;

/** Int32 words of a ring of `capacity` slots, rounded to whole 128-byte lines. */
export const ringWords = (capacity: number, slotWords: number): number => (RING_SLOTS + capacity * slotWords + 31) & ~31;

export const frameTableBytes = (frames: number): number => HEADER_BYTES + frames * 4 * FT_COLUMNS;

export class AbiError extends Error {
  readonly code = 'FLOWRING_ABI';
}

/** Writes a block header. Main only, before the block is shared. */
export function writeHeader(block: SharedArrayBuffer, kind: number): Int32Array {
  const h = new Int32Array(block, 0, HEADER_BYTES >> 2);
  h[H_MAGIC] = MAGIC;
  h[H_VERSION] = ABI_VERSION;
  h[H_KIND] = kind;
  h[H_BYTES] = block.byteLength;
  return h;
}

/**
 * Checks a block header on attach and returns it.
 * Throws AbiError (code FLOWRING_ABI) that names both values when they differ.
 */
export function checkHeader(block: SharedArrayBuffer, kind: number): Int32Array {
  if (block.byteLength < HEADER_BYTES) throw new AbiError(`shared block has ${block.byteLength} bytes, a header needs ${HEADER_BYTES}`);
  const h = new Int32Array(block, 0, HEADER_BYTES >> 2);
  const differ = (what: string, got: number, want: number): never => {
    throw new AbiError(`shared block: ${what} is ${got}, this build expects ${want}; rebuild both sides (npm run build)`);
  };
  if (h[H_MAGIC] !== MAGIC) differ('magic', h[H_MAGIC]!, MAGIC);
  if (h[H_VERSION] !== ABI_VERSION) differ('ABI version', h[H_VERSION]!, ABI_VERSION);
  if (h[H_KIND] !== kind) differ('kind', h[H_KIND]!, kind);
  if (h[H_BYTES] !== block.byteLength) differ('size', h[H_BYTES]!, block.byteLength);
  return h;
}

/**
 * The numbers native code asserts against its own, in this order (native/layout_check.cc).
 * Passed once when the addon is loaded; the addon throws with both values named when one differs.
 */
export const LAYOUT_NUMBERS: readonly (readonly [string, number])[] = [
  ['MAGIC', MAGIC],
  ['ABI_VERSION', ABI_VERSION],
  ['HEADER_BYTES', HEADER_BYTES],
  ['DESC_BYTES', DESC_BYTES],
  ['D_FRAME', D_FRAME],
  ['D_DATA', D_DATA],
  ['D_TOTAL', D_TOTAL],
  ['D_REGION_GEN', D_REGION_GEN],
  ['D_OFFSETS', D_OFFSETS],
  ['D_FLAGS_GSO', D_FLAGS_GSO],
  ['D_SEGS_VLAN', D_SEGS_VLAN],
  ['D_HASH', D_HASH],
  ['F_CSUM_OK', F_CSUM_OK],
  ['F_CSUM_PARTIAL', F_CSUM_PARTIAL],
  ['F_IPCSUM_OK', F_IPCSUM_OK],
  ['F_TRAIN', F_TRAIN],
  ['F_VLAN', F_VLAN],
  ['F_TX', F_TX],
  ['F_PARSED', F_PARSED],
  ['F_TCP', F_TCP],
  ['F_UDP', F_UDP],
  ['F_ICMP', F_ICMP],
  ['F_FRAGMENT', F_FRAGMENT],
  ['F_MULTICAST', F_MULTICAST],
  ['F_REDIRECTED', F_REDIRECTED],
  ['F_BAD', F_BAD],
  ['OWNER_FREE', OWNER_FREE],
  ['OWNER_DEVICE', OWNER_DEVICE],
  ['OWNER_BROKER', OWNER_BROKER],
  ['OWNER_RING', OWNER_RING],
  ['OWNER_LEASE', OWNER_LEASE],
  ['OWNER_WORKER', OWNER_WORKER],
  ['FT_OFFSET', FT_OFFSET],
  ['FT_OWNER', FT_OWNER],
  ['FT_GENERATION', FT_GENERATION],
  ['FT_NEXT', FT_NEXT],
  ['FT_LENGTH', FT_LENGTH],
  ['FT_COLUMNS', FT_COLUMNS],
  ['RING_TAIL', RING_TAIL],
  ['RING_HEAD', RING_HEAD],
  ['RING_CAPACITY', RING_CAPACITY],
  ['RING_SLOTS', RING_SLOTS],
  ['HEADROOM', HEADROOM],
  ['TRAIN_LINKS_MAX', TRAIN_LINKS_MAX],
];
