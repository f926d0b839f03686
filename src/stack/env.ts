/**
 * What a stack is given. The stack is pure: no clock, no threads, no `node:*`; everything else reaches it here, so that
 * the same code runs in a worker, inline, on virtual time in a simulation, and under packetdrill.
 */
import type { Counters } from '../rings/counters.ts';
import type { HostView } from '../rings/hostState.ts';
import type { WorkerPort } from '../rings/portRings.ts';
import type { Steering } from '../rings/steering.ts';

/**
 * The payload bursts: native, or their TypeScript twins (wire/burst). Integers only; descriptors and copy lists stand in
 * the arena, so that native code finds them. All `…At` are word indices into the arena unless named `Byte`.
 *
 * Copy entry, 4 words: destination byte offset · source byte offset · length · kind << 16 | descriptor index.
 * kind: bit 0 set = destination is the arena (else packet memory), bit 1 set = source is the arena (else packet memory).
 */
export interface Bursts {
  readonly native: boolean;
  /**
   * After popping: for each of `n` descriptors at `at`, check lengths of Ethernet, IPv4, TCP, UDP, ICMP; fill the offsets
   * of word 4 and F_PARSED/F_TCP/F_UDP/F_ICMP/F_FRAGMENT/F_MULTICAST; verify the IPv4 header checksum, and the L4
   * checksum unless F_CSUM_OK vouches for it; then, when `coalesce` is 1, chain consecutive in-order TCP segments of one
   * flow into trains, segment boundaries kept (GRO). A frame found bad gets F_BAD and its DROP_* reason in word 7.
   * Non-IPv4 frames pass with F_PARSED and no L4 flag. Works in place and compacts; returns how many descriptors remain.
   */
  inspect(at: number, n: number, coalesce: number): number;
  /**
   * Before pushing: runs `copies` copy entries at `copyAt`; then, by `work` bits, WORK_CSUM completes F_CSUM_PARTIAL L4
   * checksums (clears the flag, sets F_CSUM_OK), WORK_CUT makes single segments of trains by writing a header into each
   * link (sequence, IP id, lengths, PSH/FIN only on the last, checksums). Result descriptors at `outAt` (may equal `at`
   * unless WORK_CUT). Returns how many.
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

/** A worker's own memory, made by main: columns, tables, chunks, scratch for descriptors and copy lists. */
export interface Arena {
  readonly memory: SharedArrayBuffer;
  readonly u8: Uint8Array;
  readonly i32: Int32Array;
  /** Takes `words` int32 (128-byte aligned) and returns the word index. Throws RangeError when the arena is too small. */
  take(words: number): number;
}

export interface StackConfig {
  /** Most connections and sockets at a time. */
  maxConnections: number;
  /** Bytes a connection may hold unread / unacknowledged. */
  rcvbuf: number;
  sndbuf: number;
  /** Bytes of a chunk of the send and receive buffers, and how many the worker has. */
  chunkBytes: number;
  chunks: number;
  /** Descriptors a breath takes at most. */
  burst: number;
  mss: number;
  /** Milliseconds. */
  timeWaitMs: number;
  rtoMinMs: number;
  rtoInitialMs: number;
  rtoMaxMs: number;
  delayedAckMs: number;
  /** SYN retransmissions before ETIMEDOUT; data retransmissions before ETIMEDOUT. */
  synRetries: number;
  retries: number;
  finWait2Ms: number;
  nagle: boolean;
  /** Most links a train may have, 1 to send single segments only. */
  trainLinksMax: number;
  /** Coalesce received segments (GRO). */
  coalesce: boolean;
  windowScale: number;
  timestamps: boolean;
}

export interface StackEnv {
  readonly worker: number;
  readonly port: WorkerPort;
  readonly arena: Arena;
  readonly bursts: Bursts;
  /** WORK_* bits the port leaves to the stack. */
  readonly txWork: number;
  readonly txTrainBytesMax: number;
  /** [nowUs, nowMs], refreshed once a breath by whoever drives the stack. */
  readonly clock: Int32Array;
  readonly host: HostView;
  readonly steering: Steering;
  /** Symmetric flow hash of a TCP/UDP IPv4 flow, as the dispatcher computes it. */
  readonly flowHash: (srcIp: number, dstIp: number, srcPort: number, dstPort: number) => number;
  readonly counters: Counters;
  /** 32 random bits as int32; cryptographic in production, seeded in simulation. */
  readonly random: () => number;
  readonly config: StackConfig;
}
