/**
 * The two calls a breath that touch payload, and the copies of read() and write(). Filled by native code (native/burst) and
 * by its TypeScript twin (wire/burst), which is the reference in tests and the fallback without an addon.
 */

/**
 * The payload bursts: native, or their TypeScript twins (wire/burst). Integers only; descriptors and copy lists stand in
 * the arena, so that native code finds them. All `…At` are word indices into the arena unless named `Byte`.
 *
 * Copy entry, 4 words: destination byte offset · source byte offset · length · kind << 16 | descriptor index.
 * kind: bit 0 set = destination is the arena (else packet memory), bit 1 set = source is the arena (else packet memory).
 * The descriptor index says whose payload `emit` is gathering, counted from `at`; COPY_NO_DESC when it is nobody's.
 * An entry that does not lie inside both memories is skipped and counted in `badEntries`. Source and destination of one
 * entry do not overlap.
 */
export interface Bursts {
  readonly native: boolean;
  /** Copy entries and descriptor lists refused so far because they reached outside their memory: always 0 in a sound program. */
  badEntries(): number;
  /**
   * After popping: for each of `n` descriptors at `at`, check lengths of Ethernet, IPv4, TCP, UDP, ICMP; fill the offsets
   * of word 4 and F_PARSED/F_TCP/F_UDP/F_ICMP/F_FRAGMENT/F_MULTICAST; verify the IPv4 header checksum, and the L4
   * checksum unless F_CSUM_OK vouches for it; then, when `coalesce` is 1, chain consecutive in-order TCP segments of one
   * flow into trains, segment boundaries kept (GRO). A frame found bad gets F_BAD and its DROP_* reason in word 7.
   * Non-IPv4 frames pass with F_PARSED and no L4 flag. Works in place and compacts; returns how many descriptors remain.
   * The drop reason in word 7 replaces the flow hash, which a bad frame has no use for.
   */
  inspect(at: number, n: number, coalesce: number): number;
  /**
   * Before pushing: runs `copies` copy entries at `copyAt`; then, by `work` bits, WORK_CSUM completes F_CSUM_PARTIAL L4
   * checksums (clears the flag, sets F_CSUM_OK), WORK_CUT makes single segments of trains by writing a header into each
   * link (sequence, IP id, lengths, PSH/FIN only on the last, checksums). Result descriptors at `outAt` (may equal `at`
   * unless WORK_CUT, which needs room there for one descriptor a link). Returns how many. A train that is cut gives up its
   * chain: every link becomes a frame of its own (`next` -1). A descriptor that cannot be believed gets F_BAD and its
   * DROP_* reason in word 7; the caller drops it.
   */
  emit(at: number, n: number, copyAt: number, copies: number, work: number, outAt: number): number;
  /** Copies within packet memory and arena: data that outlives its breath. */
  copy(copyAt: number, copies: number): void;
  /** Entries' destination is a byte offset in `user`: the end of read(). */
  toUser(user: Uint8Array, copyAt: number, copies: number): void;
  /** Entries' source is a byte offset in `user`: the end of write(). */
  fromUser(user: Uint8Array, copyAt: number, copies: number): void;
}

export const WORK_CSUM = 1;
export const WORK_CUT = 2;
/** Copies below this many bytes are made in JavaScript by 32-bit words; above, a native gather is cheaper. */
export const NATIVE_COPY_MIN = 128;

export const COPY_WORDS = 4;
export const COPY_TO_ARENA = 1;
export const COPY_FROM_ARENA = 2;
/** Descriptor index of a copy entry that belongs to no descriptor. */
export const COPY_NO_DESC = 0xffff;
