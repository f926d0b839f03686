/**
 * A worker's own memory, made by main so that it outlives the worker: connection columns, tables, chunks, and scratch
 * for descriptors and copy lists. A bump allocator: what is taken stays taken.
 */
import { checkHeader, H_BYTES, HEADER_BYTES, KIND_ARENA, writeHeader } from './layout.ts';

/** Makes an arena block of `bytes` (rounded up to pages). Main only. */
export function createArena(bytes: number): SharedArrayBuffer {
  const block = new SharedArrayBuffer((bytes + HEADER_BYTES + 128 + 4095) & ~4095);
  writeHeader(block, KIND_ARENA);
  return block;
}

/** Makes a dead worker's arena ready for the next stack: what the header said of the last one is forgotten. Main only. */
export function reformatArena(block: SharedArrayBuffer): void {
  checkHeader(block, KIND_ARENA).fill(0, H_BYTES + 1);
}

const PAGE_WORDS = 1024;

/** Zeroes words of an arena, but only pages that are not zero: what nobody has written to yet is no memory and stays none. */
export function clearWords(i32: Int32Array, at: number, words: number): void {
  for (const end = at + words; at < end; ) {
    const next = Math.min(end, (at | (PAGE_WORDS - 1)) + 1);
    for (let k = at; k < next; k++) {
      if (i32[k] === 0) continue;
      i32.fill(0, k, next);
      break;
    }
    at = next;
  }
}

export class SharedArena {
  readonly memory: SharedArrayBuffer;
  readonly u8: Uint8Array;
  readonly i32: Int32Array;
  private top: number;

  constructor(block: SharedArrayBuffer) {
    checkHeader(block, KIND_ARENA);
    this.memory = block;
    this.u8 = new Uint8Array(block);
    this.i32 = new Int32Array(block, 0, block.byteLength >> 2);
    this.top = 128 >> 2;
  }

  /** Takes `words` int32, 128-byte aligned; returns the word index. RangeError when the arena is too small. */
  take(words: number): number {
    const at = this.top;
    const end = (at + words + 31) & ~31;
    if (end > this.i32.length) {
      throw new RangeError(`arena: ${words * 4} bytes asked, ${(this.i32.length - at) * 4} of ${this.memory.byteLength} left`);
    }
    this.top = end;
    return at;
  }

  /** Bytes taken so far. */
  get used(): number {
    return this.top * 4;
  }
}
