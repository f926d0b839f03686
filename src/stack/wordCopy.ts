/** Copies too small for a native call, and the four views that each copying part needs. */
import type { StackEnv } from './env.ts';

/** A memory as bytes and as words, both from its first byte. */
export class Memory {
  readonly u8: Uint8Array;
  readonly i32: Int32Array;

  constructor(u8: Uint8Array, i32: Int32Array) {
    this.u8 = u8;
    this.i32 = i32;
  }
}

export const arenaMemory = (env: StackEnv): Memory => new Memory(env.arena.u8, env.arena.i32);
export const packetMemory = (env: StackEnv): Memory => new Memory(env.port.frames.u8, env.port.frames.i32);

// hot: per packet
/** `n` bytes from byte `src` of one memory to byte `dst` of another: by words where both are aligned, else byte by byte. */
export function copyWords(to: Memory, dst: number, from: Memory, src: number, n: number): void {
  const a = to.u8;
  const b = from.u8;
  let i = 0;
  if (((dst | src) & 3) === 0) {
    const x = to.i32;
    const y = from.i32;
    const whole = n & ~3;
    for (; i < whole; i += 4) x[(dst + i) >> 2] = y[(src + i) >> 2]!;
  }
  for (; i < n; i++) a[dst + i] = b[src + i]!;
}
