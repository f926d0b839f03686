/**
 * Copies of whole frames within one region: what a switch needs to flood and to duplicate. A train is copied link by link.
 */
import type { FrameTable } from '../rings/frameTable.ts';
import * as layoutNumbers from '../rings/layout.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { D_DATA, D_FLAGS_GSO, D_FRAME, D_REGION_GEN, D_TOTAL, DESC_WORDS, F_TRAIN, GENERATION_MASK, OWNER_BROKER, TRAIN_LINKS_MAX } =
  layoutNumbers;

/** Where copies get their empty frames. */
export interface FrameSource {
  /** Empty frames that can be taken now, up to `want` looked for. */
  credit(want: number): number;
  /** One of them; only after `credit` said so. */
  takeFrame(): number;
}

// hot: per packet
/**
 * Byte offset in every link of a train where payload starts: link 0 is headers and one gsoSize of payload (layout.ts), so
 * it is found without parsing. -1 when the descriptor contradicts itself.
 */
export function payloadOffset(words: Int32Array, d: number): number {
  const data = words[d + D_DATA]!;
  const at = (data >>> 16) + (data & 0xffff) - (words[d + D_FLAGS_GSO]! >>> 16);
  return at < data >>> 16 ? -1 : at;
}

// hot: per packet
/** Links of the frame at descriptor `d`, or -1 when a link is out of range or the chain too long. */
export function countLinks(t: FrameTable, words: Int32Array, d: number): number {
  if ((words[d + D_FLAGS_GSO]! & F_TRAIN) === 0) return 1;
  let n = 0;
  for (let f = words[d + D_FRAME]!; f !== -1; f = t.next[f]!) {
    if (f < 0 || f >= t.frames || ++n > TRAIN_LINKS_MAX) return -1;
  }
  return n;
}

/**
 * Copies the frame of descriptor `d` into frames of `source` and writes the copy's descriptor at `to` (another array or
 * another place). The copy's owner is BROKER. False, and nothing taken, when frames are short or the train is malformed.
 */
export function copyFrame(t: FrameTable, words: Int32Array, d: number, into: Int32Array, to: number, source: FrameSource): boolean {
  const links = countLinks(t, words, d);
  const payload = links === 1 ? 0 : payloadOffset(words, d);
  if (links < 0 || payload < 0 || source.credit(links) < links) return false;
  const data = words[d + D_DATA]!;
  let first = -1;
  let last = -1;
  let from = words[d + D_FRAME]!;
  for (let i = 0; i < links; i++) {
    const f = source.takeFrame();
    const start = i === 0 ? data >>> 16 : payload;
    let bytes = i === 0 ? data & 0xffff : t.length[from]!;
    if (bytes > t.frameBytes - start) bytes = t.frameBytes - start;
    const at = t.offset[from]! + start;
    t.u8.copyWithin(t.offset[f]! + start, at, at + bytes);
    t.owner[f] = OWNER_BROKER | t.hostBits;
    t.length[f] = bytes;
    t.next[f] = -1;
    if (last < 0) first = f;
    else t.next[last] = f;
    last = f;
    from = t.next[from]!;
  }
  for (let w = 0; w < DESC_WORDS; w++) into[to + w] = words[d + w]!;
  into[to + D_FRAME] = first;
  into[to + D_REGION_GEN] = (t.region << 16) | (t.generation[first]! & GENERATION_MASK);
  into[to + D_TOTAL] = words[d + D_TOTAL]!;
  return true;
}
