/** Copies too small for a native call, and the four views that each copying part needs. */
import type { StackEnv } from './env.ts';

/** A memory as bytes and as words, and as words at any byte, all from its first byte. */
export class Memory {
  readonly u8: Uint8Array;
  readonly i32: Int32Array;
  readonly view: DataView;

  constructor(u8: Uint8Array, i32: Int32Array) {
    this.u8 = u8;
    this.i32 = i32;
    this.view = new DataView(u8.buffer, u8.byteOffset, u8.byteLength);
  }
}

export const arenaMemory = (env: StackEnv): Memory => new Memory(env.arena.u8, env.arena.i32);
export const packetMemory = (env: StackEnv): Memory => new Memory(env.port.frames.u8, env.port.frames.i32);

// hot: per packet
/**
 * `n` bytes from byte `src` of one memory to byte `dst` of another, by words. An application's bytes stand where they stand: where
 * one side is not aligned both go through a DataView, whose accesses need no alignment.
 */
export function copyWords(to: Memory, dst: number, from: Memory, src: number, n: number): void {
  const whole = n & ~3;
  if (((dst | src) & 3) === 0) {
    const x = to.i32;
    const y = from.i32;
    for (let i = 0; i < whole; i += 4) x[(dst + i) >> 2] = y[(src + i) >> 2]!;
  } else {
    const x = to.view;
    const y = from.view;
    for (let i = 0; i < whole; i += 4) x.setInt32(dst + i, y.getInt32(src + i, true), true);
  }
  if (whole === n) return;
  const a = to.u8;
  const b = from.u8;
  for (let i = whole; i < n; i++) a[dst + i] = b[src + i]!;
}
