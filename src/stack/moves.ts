/**
 * Payload on its way from frames to chunks: one copy list a breath, and the frames that go home once it has run.
 * Who reads a chunk in the same breath flushes first.
 */
import * as counterIndex from '../rings/counters.ts';
import { COPY_TO_ARENA, COPY_WORDS, NATIVE_COPY_MIN } from './env.ts';
import type { StackEnv } from './env.ts';
import { arenaMemory, copyWords, packetMemory } from './wordCopy.ts';
import type { Memory } from './wordCopy.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { C_RX_BYTES_COPIED } = counterIndex;

const ENTRIES = 1024;
export const MOVES_WORDS = ENTRIES * COPY_WORDS;

export class Moves {
  private readonly env: StackEnv;
  private readonly at: number;
  private readonly arena: Memory;
  private readonly packets: Memory;
  private readonly counted: Float64Array;
  /** Heads of frames (trains) that go home after the copies. */
  private readonly late: Int32Array;
  private lateCount = 0;
  entries = 0;

  constructor(env: StackEnv) {
    this.env = env;
    this.at = env.arena.take(MOVES_WORDS);
    this.arena = arenaMemory(env);
    this.packets = packetMemory(env);
    this.counted = env.counters.v;
    this.late = new Int32Array(ENTRIES);
  }

  // hot: per packet
  /** Copies `n` bytes from packet memory byte `src` to arena byte `dst`, now or at the flush. */
  add(dst: number, src: number, n: number): void {
    this.counted[C_RX_BYTES_COPIED] += n;
    if (n <= NATIVE_COPY_MIN) {
      copyWords(this.arena, dst, this.packets, src, n);
      return;
    }
    if (this.entries === ENTRIES) this.flush();
    const e = this.at + this.entries++ * COPY_WORDS;
    const words = this.arena.i32;
    words[e] = dst;
    words[e + 1] = src;
    words[e + 2] = n;
    words[e + 3] = COPY_TO_ARENA << 16;
  }

  // hot: per packet
  /** Frame (train) `f` is done with once the list has run. */
  release(f: number): void {
    if (this.lateCount === ENTRIES) this.flush();
    this.late[this.lateCount++] = f;
  }

  // hot: per burst
  flush(): void {
    if (this.entries > 0) {
      this.env.bursts.copy(this.at, this.entries);
      this.entries = 0;
    }
    const n = this.lateCount;
    for (let i = 0; i < n; i++) this.env.port.freeTrain(this.late[i]);
    this.lateCount = 0;
  }
}
