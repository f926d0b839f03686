/**
 * The worker's chunk pool: equal pieces of the arena, 8-byte aligned, that send and receive buffers are chained of.
 * Allocated at the first byte and given back with the last, so an idle connection holds none.
 *
 * Receive payload that stands in frames during a breath may have to move here when the breath ends; `reserved` counts the
 * chunks that would take, so that the move can never fail. Sending and receiving each leave the other an eighth of the
 * pool: peers that do not read must not stop us from taking what we advertised, and an application that reads no more
 * before it has written must find something to write into.
 */
import type { Arena } from './env.ts';

export class ChunkPool {
  readonly chunkBytes: number;
  readonly chunks: number;
  /** Byte offset of chunk 0 in the arena. */
  readonly base: number;
  /** Next chunk of a chain, -1 at its end. */
  readonly next: Int32Array;
  /** Receive chunks: first byte in use, bytes in use, and (out-of-order queue) the sequence number of the first. */
  readonly start: Int32Array;
  readonly length: Int32Array;
  readonly seq: Int32Array;
  free: number;
  reserved = 0;
  /** Chunks that sending holds. */
  sending = 0;
  private readonly kept: number;
  private head: number;

  constructor(arena: Arena, chunks: number, chunkBytes: number) {
    this.chunkBytes = chunkBytes;
    this.chunks = chunks;
    this.base = arena.take((chunks * chunkBytes) >> 2) * 4;
    const column = (): Int32Array => new Int32Array(arena.memory, arena.take(chunks) * 4, chunks);
    this.next = column();
    this.start = column();
    this.length = column();
    this.seq = column();
    for (let k = 0; k < chunks; k++) this.next[k] = k + 1 < chunks ? k + 1 : -1;
    this.head = 0;
    this.free = chunks;
    this.kept = chunks >> 3;
  }

  /** Words of arena a pool of this size takes. */
  static words(chunks: number, chunkBytes: number): number {
    return ((((chunks * chunkBytes) >> 2) + 31) & ~31) + 4 * ((chunks + 31) & ~31);
  }

  // hot: per packet
  /** A chunk that was reserved, or that the caller checked for: -1 only when the pool is empty. */
  take(): number {
    const k = this.head;
    if (k < 0) return -1;
    this.head = this.next[k];
    this.next[k] = -1;
    this.free--;
    return k;
  }

  // hot: per packet
  /** A chunk for out-of-order data, or -1 when what is left is kept for in-order data. */
  takeSpare(): number {
    return this.free - this.reserved > this.kept + this.forSending() ? this.take() : -1;
  }

  // hot: per packet
  /** What receiving leaves free for sending. */
  private forSending(): number {
    return this.sending < this.kept ? this.kept - this.sending : 0;
  }

  // hot: per packet
  /** A chunk for sending, or -1 when what is left is kept for in-order data. */
  takeForSending(): number {
    if (this.free - this.reserved <= (this.sending < this.kept ? 0 : this.kept)) return -1;
    this.sending++;
    return this.take();
  }

  // hot: per packet
  /** Gives back one chunk of sending. */
  giveSent(k: number): void {
    this.sending--;
    this.give(k);
  }

  // hot: per packet
  /** Gives back all chunks of a send buffer. */
  giveSentChain(k: number): void {
    while (k >= 0) {
      const n = this.next[k];
      this.giveSent(k);
      k = n;
    }
  }

  // hot: per packet
  /** Reserves what `bytes` more in frames may need at the end of the breath. */
  reserve(bytes: number): boolean {
    const n = ((bytes / this.chunkBytes) | 0) + 2;
    if (this.reserved + n + this.forSending() > this.free) return false;
    this.reserved += n;
    return true;
  }

  // hot: per packet
  /** The same for what may be lost: what TCP advertised keeps its eighth. Returns false when less would be left. */
  reserveSpare(bytes: number): boolean {
    const n = ((bytes / this.chunkBytes) | 0) + 2;
    if (this.reserved + n + this.kept + this.forSending() > this.free) return false;
    this.reserved += n;
    return true;
  }

  // hot: per packet
  give(k: number): void {
    this.next[k] = this.head;
    this.head = k;
    this.free++;
  }

  giveChain(k: number): void {
    while (k >= 0) {
      const n = this.next[k];
      this.give(k);
      k = n;
    }
  }

  // hot: per packet
  /** Less than a quarter of the pool is left: receivers are told less than their buffers. */
  scarce(): boolean {
    return this.free - this.reserved < this.chunks >> 2;
  }

  // hot: per packet
  /** Bytes that receiving may still take. */
  spareBytes(): number {
    const n = this.free - this.reserved - this.forSending();
    return n > 0 ? n * this.chunkBytes : 0;
  }

  /** Whether a starved writer may try again. */
  plenty(): boolean {
    return this.free - this.reserved > this.kept + (this.kept >> 1) || this.sending < (this.kept + 1) >> 1;
  }
}
