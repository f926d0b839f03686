/**
 * Frames: who owns each piece of packet memory, and where it is.
 *
 * **A frame belongs to exactly one of device, broker, ring, worker, lease, free list; the owner writes the owner
 * column before it publishes the frame to the next one.** The generation is bumped when a frame comes back to the
 * free list, so that a descriptor kept too long is recognised. `audit` counts all owners and must sum to the pool.
 *
 * A region never computes a frame's place from its number: `offset[frameId]` says it (false for DPDK otherwise).
 */
import {
  FT_COLUMNS,
  FT_GENERATION,
  FT_LENGTH,
  FT_NEXT,
  FT_OFFSET,
  FT_OWNER,
  frameTableBytes,
  GENERATION_MASK,
  H_FRAME_BYTES,
  H_FRAMES,
  H_HEADROOM,
  H_REGION,
  HEADER_BYTES,
  HEADROOM,
  checkHeader,
  KIND_FRAME_TABLE,
  OWNER_BROKER,
  OWNER_DEVICE,
  OWNER_FREE,
  OWNER_LEASE,
  OWNER_RING,
  OWNER_WORKER,
  writeHeader,
} from './layout.ts';

/** One thread's views of a region and its frame table. Made once per thread, kept for its life. */
export class FrameTable {
  readonly frames: number;
  readonly frameBytes: number;
  readonly headroom: number;
  readonly region: number;
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

  constructor(table: SharedArrayBuffer, memory: SharedArrayBuffer) {
    const h = checkHeader(table, KIND_FRAME_TABLE);
    const n = h[H_FRAMES]!;
    this.frames = n;
    this.frameBytes = h[H_FRAME_BYTES]!;
    this.headroom = h[H_HEADROOM]!;
    this.region = h[H_REGION]!;
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
    const o = t.owner[f]!;
    if (o === OWNER_FREE) a.free++;
    else if (o === OWNER_DEVICE) a.device++;
    else if (o === OWNER_BROKER) a.broker++;
    else if (o === OWNER_RING) a.ring++;
    else if (o === OWNER_LEASE) a.lease++;
    else if (o >= OWNER_WORKER) a.workers.set(o - OWNER_WORKER, (a.workers.get(o - OWNER_WORKER) ?? 0) + 1);
    else a.unknown++;
  }
  return a;
}
