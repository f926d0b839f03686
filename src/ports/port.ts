/**
 * What every software NIC fills. A port belongs to the thread that runs its broker (the dispatcher, or the worker itself
 * in layout `inline`); nobody else calls it. The broker owns the free list: frames come from it and go back to it.
 *
 * A port is opened in main (`PortHandle`: device opened, region and frame table made), posted to the broker's thread as
 * a plain structured-cloneable `PortAttachment`, and attached there (`attachPort`).
 */
import type { Watch } from './native.ts';
import type { FrameTable } from '../rings/frameTable.ts';

/** Who does a piece of work: the device itself, the kernel behind it, this program's native or TypeScript bursts, nobody. */
export type OffloadProvider = 'device' | 'kernel' | 'memory' | 'stack' | 'none';

export interface Offload {
  /** rx-checksum, tx-checksum, tso, gro, rss … */
  name: string;
  provider: OffloadProvider;
  /** Why a faster provider was refused, or what the value rests on. Empty when there is nothing to say. */
  reason: string;
}

/** What the stack must know of a port's abilities. */
export interface PortCaps {
  /** The port takes frames whose L4 checksum is F_CSUM_PARTIAL. */
  txChecksum: boolean;
  /** The port takes trains (super-segments). */
  txTrains: boolean;
  /** The most bytes a train may have from the Ethernet header on; frame size when txTrains is false. */
  txTrainBytesMax: number;
  /** Bytes of IP datagram the link carries. */
  mtu: number;
  /** The port can be waited for with poll(2). */
  waitable: boolean;
}

/**
 * A bell outside the runtime's control block: BELL_WORDS int32 at word `at` of `block` (rings/doorbell.ts).
 */
export interface PortBell {
  block: SharedArrayBuffer;
  at: number;
}

/** Structured-cloneable: everything a thread needs to attach the port. */
export interface PortAttachment {
  kind: string;
  name: string;
  /** Our address on it: first 4 bytes and last 2. */
  macHi: number;
  macLo: number;
  caps: PortCaps;
  region: number;
  memory: SharedArrayBuffer;
  table: SharedArrayBuffer;
  /** First frame of this port and how many: the free list it starts with. */
  frameFirst: number;
  frameCount: number;
  /** Which of the runtimes, or brokers, that share the region this one is (rings/frameTable.ts); 0 when left out. */
  host?: number;
  /**
   * Where the thread that runs this port's broker sleeps, when others than its own runtime must wake it (the switch: peers
   * of another runtime). A thread has one bell: with this set, it is used instead of the one in the thread's record, by
   * the broker's thread to sleep and by that runtime's workers to ring.
   */
  bell?: PortBell;
  /** The same for a transmitter's thread (layout `dispatcher-rx-tx`): peers wake it when they have made room. */
  senderBell?: PortBell;
  /** The kind's own: native handle, pair rings … */
  own: unknown;
}

/** Main's side of an open port. */
export interface PortHandle {
  /** Queue 0, which is all of a port with one queue. */
  readonly attachment: PortAttachment;
  /**
   * One attachment a queue, in order: the same memory and frame table, frames of their own (`frameFirst`, `frameCount`), which
   * a queue starts with and its frames come home to.
   */
  readonly queues: readonly PortAttachment[];
  readonly offloads: readonly Offload[];
  /** What is wrong with the device just now, in words; empty when nothing is. For devices that may come and go. */
  trouble?(): string;
  /** Closes the device. Idempotent; also run on exit. */
  close(): void;
}

/**
 * The sending half alone, for a transmitter that has a thread of its own (layout `dispatcher-rx-tx`). The broker's thread has the
 * same port then with everything but txBurst, on its side. Frames change hands between the two only through the transmitter.
 */
export interface TxPort {
  readonly frames: FrameTable;
  /** As Port.txBurst. What is sent, or dropped inside, comes back by `sent` unless the port has given it away. */
  txBurst(desc: Int32Array, at: number, n: number): number;
  /** Frames this half is done with, up to `max` ids at `into`; the caller owns them, and brings them to the broker. */
  sent(into: Int32Array, at: number, max: number): number;
  /** Empty frames this half could do with, for copies of what goes to several; `lend` gives it one. `sent` returns them at the end. */
  wants(): number;
  lend(frameId: number): void;
  tick(nowUs: number): void;
  flush(): void;
  /** The last look before sleeping: could something be sent that was refused before? */
  pending(): boolean;
  /** As Port.drops. */
  readonly drops: Int32Array;
  detach(): void;
}

/** The broker thread's side. All counts are frames; descriptors are DESC_WORDS int32 each (rings/layout.ts). */
export interface Port {
  readonly kind: string;
  readonly caps: PortCaps;
  readonly frames: FrameTable;
  /**
   * Receives up to `max` frames (a train counts as one) as descriptors at word `at` of `desc`.
   * The caller owns them: owner column BROKER. Returns how many.
   */
  rxBurst(desc: Int32Array, at: number, max: number): number;
  /**
   * Sends `n` descriptors. Takes ownership of the first `returned` of them, all links included; the rest stay the
   * caller's (the device is full: try later). Frames it could not send for good are dropped inside and counted in `drops`.
   */
  txBurst(desc: Int32Array, at: number, n: number): number;
  /** Takes up to `max` empty frames off the free list into `into`; owner column is the caller's to write. */
  alloc(into: Int32Array, at: number, max: number): number;
  /** One frame comes home: generation bumped, owner FREE (or sent on to the port it belongs to). */
  free(frameId: number): void;
  /** Empty frames left. */
  available(): number;
  /** Work that is not frames: transmit completions, delayed frames of the switch. `nowUs` int32 microseconds. */
  tick(nowUs: number): void;
  /** Earliest nowUs at which tick has something to do, or -1 (with `hasDeadline` false). */
  hasDeadline(): boolean;
  deadlineUs(): number;
  /** Publishes ring indices and rings the bells of the threads that have something new. End of the breath. */
  flush(): void;
  /** The last look before sleeping: anything to receive or to take home? */
  pending(): boolean;
  /** Sleeps until the device has something, `bellFd` is written, or `ms` passed. Only when caps.waitable. */
  wait(bellFd: number, ms: number): void;
  /**
   * The same with the event loop free: a watch that calls `wake` from there (native.ts). Null, or no such method, where the
   * port can only be waited for. The watch ends before the port is detached.
   */
  watch?(bellFd: number, wake: () => void): Watch | null;
  /**
   * Drops inside the port, by DROP_* reason; read and cleared by the dispatcher when it commits. DROP_TX_DEVICE and
   * DROP_SWITCH are frames on their way out; every other reason is a received frame that `rxBurst` never returned, which
   * the dispatcher counts as received, too, so that received = delivered + Σ drops.
   */
  readonly drops: Int32Array;
  /** Frames the port still holds in delay queues and pair rings: must be 0 at a quiescent point. */
  held(): number;
  detach(): void;
}
