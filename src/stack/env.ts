/**
 * What a stack is given. The stack is pure: no clock, no threads, no `node:*`; everything else reaches it here, so that
 * the same code runs in a worker, inline, on virtual time in a simulation, and under packetdrill.
 */
import type { Bursts } from '../rings/bursts.ts';
import type { Counters } from '../rings/counters.ts';
import type { HostView } from '../rings/hostState.ts';
import type { WorkerPort } from '../rings/portRings.ts';
import type { Steering } from '../rings/steering.ts';

export { COPY_FROM_ARENA, COPY_TO_ARENA, COPY_WORDS, NATIVE_COPY_MIN, WORK_CSUM, WORK_CUT } from '../rings/bursts.ts';
export type { Bursts } from '../rings/bursts.ts';

/** A worker's own memory, made by main: columns, tables, chunks, scratch for descriptors and copy lists. */
export interface Arena {
  readonly memory: SharedArrayBuffer;
  readonly u8: Uint8Array;
  readonly i32: Int32Array;
  /** Takes `words` int32 (128-byte aligned) and returns the word index. Throws RangeError when the arena is too small. */
  take(words: number): number;
}

export interface StackConfig {
  /** Most TCP listeners and connections, and most UDP sockets, at a time. */
  maxConnections: number;
  maxDatagrams: number;
  /** Bytes of datagrams a UDP socket may hold unread, and bytes it may send in one breath. */
  udpRcvbuf: number;
  udpSndbuf: number;
  /** Bytes a connection may hold unread / unacknowledged. */
  rcvbuf: number;
  sndbuf: number;
  /** Bytes of a chunk of the send and receive buffers, and how many the worker has. */
  chunkBytes: number;
  chunks: number;
  /** Descriptors a breath takes at most. */
  burst: number;
  /** Bytes after which a breath takes no more descriptors, and a connection sends nothing new in it. */
  burstBytes: number;
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
  /** A connection on which nothing came and nothing was sent for so long ends with ETIMEDOUT; 0 never. */
  idleTimeoutMs: number;
  nagle: boolean;
  /** Most links a train may have, 1 to send single segments only. */
  trainLinksMax: number;
  /** Coalesce received segments (GRO). */
  coalesce: boolean;
  windowScale: number;
  /** Pipes a worker may have at a time, and the bytes each holds. */
  pipes: number;
  pipeBytes: number;
  timestamps: boolean;
  /** Offer SACK, and use what the peer reports. */
  sack: boolean;
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
