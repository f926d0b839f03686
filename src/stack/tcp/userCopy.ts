/**
 * Copies between the application's buffers and ours, at the end of read() and write(): more than NATIVE_COPY_MIN bytes go
 * on a list that one burst runs, less are copied here by 32-bit words where both sides are aligned.
 *
 * The views of the last two application buffers are kept: an application that alternates a request and a reply
 * buffer would otherwise make views a call.
 */
import { COPY_FROM_ARENA, COPY_TO_ARENA, COPY_WORDS, NATIVE_COPY_MIN } from '../env.ts';
import type { StackEnv } from '../env.ts';
import { arenaMemory, copyWords, Memory, packetMemory } from '../wordCopy.ts';

const ENTRIES = 512;
export const USER_COPY_WORDS = ENTRIES * COPY_WORDS;

export class UserCopy {
  private readonly env: StackEnv;
  private readonly at: number;
  private readonly arena: Memory;
  private readonly packets: Memory;
  private entries = 0;
  /** The last two buffers, their whole memories, and where in them they begin. */
  private bufferA: Uint8Array;
  private bufferB: Uint8Array;
  private memoryA: Memory;
  private memoryB: Memory;
  private baseA = 0;
  private baseB = 0;
  private buffer: Uint8Array;
  private user: Memory;
  private userBase = 0;

  constructor(env: StackEnv) {
    this.env = env;
    this.at = env.arena.take(USER_COPY_WORDS);
    this.arena = arenaMemory(env);
    this.packets = packetMemory(env);
    this.bufferA = new Uint8Array(0);
    this.bufferB = new Uint8Array(0);
    this.memoryA = new Memory(this.bufferA, new Int32Array(0));
    this.memoryB = this.memoryA;
    this.buffer = this.bufferA;
    this.user = this.memoryA;
  }

  // hot: per packet
  begin(buffer: Uint8Array): void {
    if (buffer === this.buffer) return;
    // The two keep their places: turning them round at each call would be six writes of references.
    if (buffer === this.bufferA) {
      this.user = this.memoryA;
      this.userBase = this.baseA;
    } else {
      if (buffer !== this.bufferB) this.take(buffer);
      this.user = this.memoryB;
      this.userBase = this.baseB;
    }
    this.buffer = buffer;
  }

  /** Another buffer than the last two: it takes the place of the one not used last, and that is B. */
  private take(buffer: Uint8Array): void {
    if (this.buffer === this.bufferB) {
      this.bufferA = this.bufferB;
      this.memoryA = this.memoryB;
      this.baseA = this.baseB;
    }
    const all = buffer.buffer;
    this.bufferB = buffer;
    this.memoryB = new Memory(new Uint8Array(all), new Int32Array(all, 0, all.byteLength >> 2));
    this.baseB = buffer.byteOffset;
  }

  private list(dst: number, src: number, n: number, kind: number): void {
    const e = this.at + this.entries++ * COPY_WORDS;
    const words = this.arena.i32;
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
    copyWords(this.user, this.userBase + dst, this.packets, src, n);
  }

  // hot: per packet
  /** `n` bytes from arena byte `src` to byte `dst` of the buffer. */
  arenaToUser(dst: number, src: number, n: number): void {
    if (n > NATIVE_COPY_MIN) {
      if (this.entries === ENTRIES) this.toUser();
      this.list(dst, src, n, COPY_FROM_ARENA);
      return;
    }
    copyWords(this.user, this.userBase + dst, this.arena, src, n);
  }

  // hot: per packet
  /** `n` bytes from byte `src` of the buffer to arena byte `dst`. */
  userToArena(dst: number, src: number, n: number): void {
    if (n > NATIVE_COPY_MIN) {
      if (this.entries === ENTRIES) this.fromUser();
      this.list(dst, src, n, COPY_TO_ARENA);
      return;
    }
    copyWords(this.arena, dst, this.user, this.userBase + src, n);
  }

  // hot: per packet
  /** `n` bytes from byte `src` of the buffer to packet memory byte `dst`. */
  userToFrame(dst: number, src: number, n: number): void {
    if (n > NATIVE_COPY_MIN) {
      if (this.entries === ENTRIES) this.fromUser();
      this.list(dst, src, n, 0);
      return;
    }
    copyWords(this.packets, dst, this.user, this.userBase + src, n);
  }

  // hot: per burst
  /** Ends a read: the bytes are there when this returns. */
  toUser(): void {
    if (this.entries === 0) return;
    this.env.bursts.toUser(this.buffer, this.at, this.entries);
    this.entries = 0;
  }

  // hot: per burst
  /** Ends a write: the buffer is the application's again when this returns. */
  fromUser(): void {
    if (this.entries === 0) return;
    this.env.bursts.fromUser(this.buffer, this.at, this.entries);
    this.entries = 0;
  }
}
