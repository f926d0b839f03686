/**
 * What a burst reaches: the packet memory, its frame table and the arena, and the checks that make a descriptor or a copy
 * entry believable. Nothing outside these three is ever read or written: a bad entry is skipped and counted.
 */
import type { FrameTable } from '../../rings/frameTable.ts';
import * as layoutNumbers from '../../rings/layout.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { D_DATA, D_FRAME, D_REGION_GEN, D_TOTAL, GENERATION_MASK, TRAIN_LINKS_MAX } = layoutNumbers;

/** One thread's views and checks. Made once; the fields never change. */
export class BurstMemory {
  readonly frames: number;
  readonly frameBytes: number;
  readonly region: number;
  readonly offset: Int32Array;
  readonly generation: Int32Array;
  readonly next: Int32Array;
  readonly length: Int32Array;
  readonly packet: Uint8Array;
  readonly packetView: DataView;
  readonly packetWords: Int32Array;
  readonly packetBytes: number;
  readonly arena: Uint8Array;
  readonly words: Int32Array;
  readonly arenaBytes: number;
  /** Lists and entries refused because they reached outside. */
  bad = 0;

  constructor(t: FrameTable, arena: SharedArrayBuffer) {
    this.frames = t.frames;
    this.frameBytes = t.frameBytes;
    this.region = t.region & 0xffff;
    this.offset = t.offset;
    this.generation = t.generation;
    this.next = t.next;
    this.length = t.length;
    this.packet = t.u8;
    this.packetView = t.view;
    this.packetWords = t.i32;
    this.packetBytes = t.u8.length;
    this.arena = new Uint8Array(arena);
    this.words = new Int32Array(arena, 0, arena.byteLength >> 2);
    this.arenaBytes = arena.byteLength;
  }

  // hot: per burst
  /** Whether `count` items of `itemWords` words from word `at` lie in the arena. Counts a refusal. */
  listFits(at: number, count: number, itemWords: number): boolean {
    if (at >= 0 && count >= 0 && count <= this.words.length && at <= this.words.length - count * itemWords) return true;
    this.bad++;
    return false;
  }

  // hot: per packet
  /** Whether `[from, from + len)` of frame `f`, counted from the frame's start, is inside the frame and the region. */
  inFrame(f: number, from: number, len: number): boolean {
    if (f < 0 || f >= this.frames || from < 0 || len < 0 || from + len > this.frameBytes) return false;
    const o = this.offset[f]!;
    return o >= 0 && o <= this.packetBytes - (from + len);
  }

  // hot: per packet
  /** Byte offset of a descriptor's Ethernet header, or -1 when the descriptor is not to be believed. */
  believe(d: number): number {
    const w = this.words;
    const f = w[d + D_FRAME]!;
    const from = w[d + D_DATA]! >>> 16;
    const rg = w[d + D_REGION_GEN]!;
    if (!this.inFrame(f, from, w[d + D_DATA]! & 0xffff)) return -1;
    if (((this.generation[f]! ^ rg) & GENERATION_MASK) !== 0 || rg >>> 16 !== this.region) return -1;
    return this.offset[f]! + from;
  }

  // hot: per packet
  /** Whether a train's links exist, are not too many, and their bytes sum to the descriptor's total. Places are checked by `linksFit`. */
  chainSound(d: number): boolean {
    const w = this.words;
    let sum = w[d + D_DATA]! & 0xffff;
    let f = this.next[w[d + D_FRAME]!]!;
    for (let links = 1; f !== -1; links++) {
      if (links >= TRAIN_LINKS_MAX || f < 0 || f >= this.frames) return false;
      const len = this.length[f]!;
      if (len < 1 || len > this.frameBytes) return false;
      sum += len;
      f = this.next[f]!;
    }
    return sum === w[d + D_TOTAL];
  }

  // hot: per packet
  /** Whether every further link of a sound chain holds its payload, `pay` bytes from the frame's start, inside its frame. */
  linksFit(d: number, pay: number): boolean {
    for (let f = this.next[this.words[d + D_FRAME]!]!; f !== -1; f = this.next[f]!) {
      if (!this.inFrame(f, pay, this.length[f]!)) return false;
    }
    return true;
  }
}
