/**
 * Frames: who owns each piece of packet memory, and where it is.
 *
 * **A frame belongs to exactly one of device, broker, ring, worker, lease, free list; the owner writes the owner
 * column before it publishes the frame to the next one.** The generation is bumped when a frame comes back to the
 * free list, so that a descriptor kept too long is recognised. `audit` counts all owners and must sum to the pool.
 *
 * What a worker holds says so, in its hands, leased, or in a ring that ends with it: when it dies one pass over the owner
 * column (`sweepWorker`, `sweepHost`) finds all of it. Where several runtimes share a region, each has a host number.
 *
 * A region never computes a frame's place from its number: `offset[frameId]` says it (false for DPDK otherwise).
 */
import * as layoutNumbers from './layout.ts';
import { frameTableBytes, checkHeader, writeHeader } from './layout.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const {
  FT_COLUMNS,
  FT_GENERATION,
  FT_LENGTH,
  FT_NEXT,
  FT_OFFSET,
  FT_OWNER,
  GENERATION_MASK,
  H_FRAME_BYTES,
  H_FRAMES,
  H_HEADROOM,
  H_REGION,
  HEADER_BYTES,
  HEADROOM,
  KIND_FRAME_TABLE,
  MAX_WORKERS,
  OWNER_BROKER,
  OWNER_DEVICE,
  OWNER_FREE,
  OWNER_HOST_SHIFT,
  OWNER_LEASE,
  OWNER_LEASE_OF,
  OWNER_MASK,
  OWNER_RING,
  OWNER_RING_OF,
  OWNER_WORKER,
  TRAIN_LINKS_MAX,
} = layoutNumbers;

/** One thread's views of a region and its frame table. Made once per thread, kept for its life. */
export class FrameTable {
  readonly frames: number;
  readonly frameBytes: number;
  readonly headroom: number;
  readonly region: number;
  /** The host this thread writes into owners, shifted into place: `owner = OWNER_BROKER | hostBits`. */
  readonly hostBits: number;
  /** Columns, indexed by frameId (layout.ts). */
  readonly offset: Int32Array;
  readonly owner: Int32Array;
  readonly generation: Int32Array;
  readonly next: Int32Array;
  readonly length: Int32Array;
  /** The packet memory. */
  readonly memory: SharedArrayBuffer;
  readonly u8: Uint8Array;
  readonly i32: Int32Array;
  readonly view: DataView;

  /** `host` (0 to 2^22): which of the runtimes that share the region this thread belongs to. */
  constructor(table: SharedArrayBuffer, memory: SharedArrayBuffer, host = 0) {
    const h = checkHeader(table, KIND_FRAME_TABLE);
    const n = h[H_FRAMES]!;
    this.frames = n;
    this.frameBytes = h[H_FRAME_BYTES]!;
    this.headroom = h[H_HEADROOM]!;
    this.region = h[H_REGION]!;
    this.hostBits = host << OWNER_HOST_SHIFT;
    const column = (i: number) => new Int32Array(table, HEADER_BYTES + i * n * 4, n);
    this.offset = column(FT_OFFSET);
    this.owner = column(FT_OWNER);
    this.generation = column(FT_GENERATION);
    this.next = column(FT_NEXT);
    this.length = column(FT_LENGTH);
    this.memory = memory;
    this.u8 = new Uint8Array(memory);
    this.i32 = new Int32Array(memory, 0, memory.byteLength >> 2);
    this.view = new DataView(memory);
  }
}

/** Makes a frame table over a region of equal frames that stand one after another. Main only. */
export function createFrameTable(region: number, frames: number, frameBytes: number): SharedArrayBuffer {
  const table = new SharedArrayBuffer(frameTableBytes(frames));
  const h = writeHeader(table, KIND_FRAME_TABLE);
  h[H_FRAMES] = frames;
  h[H_FRAME_BYTES] = frameBytes;
  h[H_REGION] = region;
  h[H_HEADROOM] = HEADROOM;
  const words = new Int32Array(table, HEADER_BYTES, frames * FT_COLUMNS);
  for (let f = 0; f < frames; f++) {
    words[FT_OFFSET * frames + f] = f * frameBytes;
    words[FT_OWNER * frames + f] = OWNER_FREE;
    words[FT_NEXT * frames + f] = -1;
  }
  return table;
}

// hot: per packet
/** Whether a descriptor's frame id and generation are to be believed. */
export function frameValid(t: FrameTable, frameId: number, generation: number): boolean {
  return frameId >= 0 && frameId < t.frames && (t.generation[frameId]! & GENERATION_MASK) === (generation & GENERATION_MASK);
}

// hot: per packet
/** The frame is free: descriptors that still name it are stale from here on. On which free list it stands is its port's affair. */
export function markFree(t: FrameTable, f: number): void {
  t.generation[f] = (t.generation[f]! + 1) & GENERATION_MASK;
  t.next[f] = -1;
  t.owner[f] = OWNER_FREE;
}

export interface FrameAudit {
  free: number;
  device: number;
  broker: number;
  ring: number;
  lease: number;
  /** Frames owned by each worker id that owns any. */
  workers: Map<number, number>;
  /** Frames whose owner byte is none of the above: always 0 unless memory was corrupted. */
  unknown: number;
  total: number;
}

/** Counts every owner. The sum is always the pool; at a quiescent point ring is 0 and workers hold only their credit. */
export function auditFrames(t: FrameTable, from = 0, to = t.frames): FrameAudit {
  const a: FrameAudit = { free: 0, device: 0, broker: 0, ring: 0, lease: 0, workers: new Map(), unknown: 0, total: to - from };
  for (let f = from; f < to; f++) {
    // Read once: its owner may change between two reads, and what was free at the first is nobody's at the second.
    const owner = t.owner[f]!;
    const o = owner & OWNER_MASK;
    if (owner === OWNER_FREE) a.free++;
    else if (o === OWNER_DEVICE) a.device++;
    else if (o === OWNER_BROKER) a.broker++;
    else if (o === OWNER_RING || (o >= OWNER_RING_OF && o < OWNER_LEASE_OF)) a.ring++;
    else if (o === OWNER_LEASE || o >= OWNER_LEASE_OF) a.lease++;
    else if (o >= OWNER_WORKER && o < OWNER_WORKER + MAX_WORKERS)
      a.workers.set(o - OWNER_WORKER, (a.workers.get(o - OWNER_WORKER) ?? 0) + 1);
    else a.unknown++;
  }
  return a;
}

/**
 * Hands every frame that dead worker `worker` of this host held to `free`: its own, its leases, those in its rings. Only
 * when its thread has ended, and from the thread that frees. Returns how many there were.
 */
export function sweepWorker(t: FrameTable, worker: number, free: (frameId: number) => void): number {
  const a = (OWNER_WORKER + worker) | t.hostBits;
  const b = (OWNER_RING_OF + worker) | t.hostBits;
  const c = (OWNER_LEASE_OF + worker) | t.hostBits;
  let n = 0;
  for (let f = 0; f < t.frames; f++) {
    const o = t.owner[f]!;
    if (o !== a && o !== b && o !== c) continue;
    free(f);
    n++;
  }
  return n;
}

/** The same for a whole host whose one thread died, broker and worker in one: everything but what stands in rings that outlive it. */
export function sweepHost(t: FrameTable, free: (frameId: number) => void): number {
  let n = 0;
  for (let f = 0; f < t.frames; f++) {
    const o = t.owner[f]!;
    const who = o & OWNER_MASK;
    if ((o & ~OWNER_MASK) !== t.hostBits || (who !== OWNER_BROKER && who < OWNER_WORKER)) continue;
    free(f);
    n++;
  }
  return n;
}

/** As settleTrain, of a frame that is in a ring by itself, whatever its `next` says. */
export function settleFrame(t: FrameTable, f: number, owner: number, from: number): void {
  if (f >= 0 && f < t.frames && (from === 0 || t.owner[f] === from)) t.owner[f] = owner;
}

/**
 * Finishes or undoes a hand-over whose author died in the middle of it: all links of `f` belong to `owner` from now on,
 * as far as they belonged to `from` before (0: whoever had them). Bounded, whatever `next` says.
 */
export function settleTrain(t: FrameTable, f: number, owner: number, from: number): void {
  for (let links = 0; f >= 0 && f < t.frames && links < TRAIN_LINKS_MAX; links++) {
    const next = t.next[f]!;
    if (from === 0 || t.owner[f] === from) t.owner[f] = owner;
    f = next;
  }
}
