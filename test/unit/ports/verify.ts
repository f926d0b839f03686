/** One received frame through the reference burst `inspect`: the reason it is refused for, or 0. */
import { D_HASH, DESC_WORDS, D_FLAGS_GSO, F_BAD } from '../../../src/rings/layout.ts';
import type { FrameTable } from '../../../src/rings/frameTable.ts';
import { createTwinBursts } from '../../../src/wire/burst/twin.ts';

export const BURST_ARENA_BYTES = 65536;

/** The descriptor at word 0 of `desc` is inspected in place. */
export function inspectOne(frames: FrameTable, arena: SharedArrayBuffer, desc: Int32Array): number {
  const words = new Int32Array(arena);
  for (let i = 0; i < DESC_WORDS; i++) words[i] = desc[i]!;
  const n = createTwinBursts(frames, arena).inspect(0, 1, 0);
  if (n !== 1) throw new Error(`inspect returned ${n} of 1`);
  for (let i = 0; i < DESC_WORDS; i++) desc[i] = words[i]!;
  return (desc[D_FLAGS_GSO]! & F_BAD) !== 0 ? desc[D_HASH]! : 0;
}
