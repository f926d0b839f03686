/**
 * Copies between the application's buffers and ours, at the end of read() and write(): more than NATIVE_COPY_MIN bytes go
 * on a list that one burst runs, less are copied here by 32-bit words where both sides are aligned.
 *
 * The word views of the last two application buffers are kept: an application that alternates a request and a reply
 * buffer would otherwise make a view a call.
 */
import { COPY_FROM_ARENA, COPY_TO_ARENA, COPY_WORDS, NATIVE_COPY_MIN } from '../env.ts';
import type { StackEnv } from '../env.ts';

const ENTRIES = 512;
export const USER_COPY_WORDS = ENTRIES * COPY_WORDS;

export class UserCopy {
  private readonly env: StackEnv;
  private readonly at: number;
  private readonly words: Int32Array;
  private readonly arena8: Uint8Array;
  private readonly frame8: Uint8Array;
  private readonly frame32: Int32Array;
  private entries = 0;
  private bufferA: Uint8Array;
  private bufferB: Uint8Array;
  private wordsA: Int32Array;
  private wordsB: Int32Array;
  private baseA = 0;
  private baseB = 0;
  private user: Uint8Array;
  private user32: Int32Array;
  private userBase = 0;

  constructor(env: StackEnv) {
    this.env = env;
    this.at = env.arena.take(USER_COPY_WORDS);
    this.words = env.arena.i32;
    this.arena8 = env.arena.u8;
    this.frame8 = env.port.frames.u8;
    this.frame32 = env.port.frames.i32;
    this.bufferA = new Uint8Array(0);
    this.bufferB = new Uint8Array(0);
    this.wordsA = new Int32Array(0);
    this.wordsB = new Int32Array(0);
    this.user = this.bufferA;
    this.user32 = this.wordsA;
  }

  // hot: per packet
  begin(buffer: Uint8Array): void {
    if (buffer !== this.bufferA) this.turnTo(buffer);
    this.user = this.bufferA;
    this.user32 = this.wordsA;
    this.userBase = this.baseA;
  }

  private turnTo(buffer: Uint8Array): void {
    const b = this.bufferA;
    const w = this.wordsA;
    const at = this.baseA;
    if (buffer === this.bufferB) {
      this.bufferA = this.bufferB;
      this.wordsA = this.wordsB;
      this.baseA = this.baseB;
    } else {
      this.bufferA = buffer;
      this.wordsA = new Int32Array(buffer.buffer, 0, buffer.buffer.byteLength >> 2);
      this.baseA = buffer.byteOffset;
    }
    this.bufferB = b;
    this.wordsB = w;
    this.baseB = at;
  }

  private list(dst: number, src: number, n: number, kind: number): void {
    const e = this.at + this.entries++ * COPY_WORDS;
    const words = this.words;
    words[e] = dst;
    words[e + 1] = src;
    words[e + 2] = n;
    words[e + 3] = kind << 16;
  }

  // hot: per packet
  /** `n` bytes from packet memory byte `src` to byte `dst` of the buffer. */
  frameToUser(dst: number, src: number, n: number): void {
    if (n > NATIVE_COPY_MIN) {
      if (this.entries === ENTRIES) this.toUser();
      this.list(dst, src, n, 0);
      return;
    }
    const to = this.userBase + dst;
    let i = 0;
    if (((to | src) & 3) === 0) {
      const whole = n & ~3;
      for (; i < whole; i += 4) this.user32[(to + i) >> 2] = this.frame32[(src + i) >> 2];
    }
    for (; i < n; i++) this.user[dst + i] = this.frame8[src + i];
  }

  // hot: per packet
  /** `n` bytes from arena byte `src` to byte `dst` of the buffer. */
  arenaToUser(dst: number, src: number, n: number): void {
    if (n > NATIVE_COPY_MIN) {
      if (this.entries === ENTRIES) this.toUser();
      this.list(dst, src, n, COPY_FROM_ARENA);
      return;
    }
    const to = this.userBase + dst;
    let i = 0;
    if (((to | src) & 3) === 0) {
      const whole = n & ~3;
      for (; i < whole; i += 4) this.user32[(to + i) >> 2] = this.words[(src + i) >> 2];
    }
    for (; i < n; i++) this.user[dst + i] = this.arena8[src + i];
  }

  // hot: per packet
  /** `n` bytes from byte `src` of the buffer to arena byte `dst`. */
  userToArena(dst: number, src: number, n: number): void {
    if (n > NATIVE_COPY_MIN) {
      if (this.entries === ENTRIES) this.fromUser();
      this.list(dst, src, n, COPY_TO_ARENA);
      return;
    }
    const from = this.userBase + src;
    let i = 0;
    if (((from | dst) & 3) === 0) {
      const whole = n & ~3;
      for (; i < whole; i += 4) this.words[(dst + i) >> 2] = this.user32[(from + i) >> 2];
    }
    for (; i < n; i++) this.arena8[dst + i] = this.user[src + i];
  }

  // hot: per packet
  /** `n` bytes from byte `src` of the buffer to packet memory byte `dst`. */
  userToFrame(dst: number, src: number, n: number): void {
    if (n > NATIVE_COPY_MIN) {
      if (this.entries === ENTRIES) this.fromUser();
      this.list(dst, src, n, 0);
      return;
    }
    const from = this.userBase + src;
    let i = 0;
    if (((from | dst) & 3) === 0) {
      const whole = n & ~3;
      for (; i < whole; i += 4) this.frame32[(dst + i) >> 2] = this.user32[(from + i) >> 2];
    }
    for (; i < n; i++) this.frame8[dst + i] = this.user[src + i];
  }

  // hot: per burst
  /** Ends a read: the bytes are there when this returns. */
  toUser(): void {
    if (this.entries === 0) return;
    this.env.bursts.toUser(this.user, this.at, this.entries);
    this.entries = 0;
  }

  // hot: per burst
  /** Ends a write: the buffer is the application's again when this returns. */
  fromUser(): void {
    if (this.entries === 0) return;
    this.env.bursts.fromUser(this.user, this.at, this.entries);
    this.entries = 0;
  }
}
