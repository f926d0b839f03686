/** Copy lists, the reference. An entry that reaches outside either memory is skipped and counted. */
import * as burstsNumbers from '../../rings/bursts.ts';
import type { BurstMemory } from './memory.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { COPY_FROM_ARENA, COPY_TO_ARENA, COPY_WORDS } = burstsNumbers;

/** Copies by a loop up to this many bytes: below it a `subarray` costs more than the bytes. */
const LOOP_MAX = 48;

// hot: per packet
/** Copies between two memories, or within one (then overlapping like memmove). The caller checked both ranges. */
export function moveBytes(to: Uint8Array, at: number, from: Uint8Array, off: number, len: number): void {
  if (to === from) to.copyWithin(at, off, off + len);
  else if (len <= LOOP_MAX) for (let i = 0; i < len; i++) to[at + i] = from[off + i]!;
  else moveLong(to, at, from, off, len);
}

/** One short-lived view a long copy: a loop over 1,448 bytes takes 8 times as long and more, and with the addon nothing comes here. */
function moveLong(to: Uint8Array, at: number, from: Uint8Array, off: number, len: number): void {
  to.set(from.subarray(off, off + len), at);
}

// hot: per packet
const inside = (off: number, len: number, bytes: number): boolean => off >= 0 && len >= 0 && len <= bytes && off <= bytes - len;

// hot: per burst
export function runCopies(m: BurstMemory, copyAt: number, copies: number): void {
  if (!m.listFits(copyAt, copies, COPY_WORDS)) return;
  const w = m.words;
  const end = copyAt + copies * COPY_WORDS;
  for (let c = copyAt; c < end; c += COPY_WORDS) {
    const len = w[c + 2]!;
    const kind = w[c + 3]! >>> 16;
    const to = (kind & COPY_TO_ARENA) !== 0 ? m.arena : m.packet;
    const from = (kind & COPY_FROM_ARENA) !== 0 ? m.arena : m.packet;
    if (inside(w[c]!, len, to.length) && inside(w[c + 1]!, len, from.length)) moveBytes(to, w[c]!, from, w[c + 1]!, len);
    else m.bad++;
  }
}

// hot: per burst
/** `toUser`: destinations are byte offsets in `user`. */
export function runToUser(m: BurstMemory, user: Uint8Array, copyAt: number, copies: number): void {
  if (!m.listFits(copyAt, copies, COPY_WORDS)) return;
  const w = m.words;
  const end = copyAt + copies * COPY_WORDS;
  for (let c = copyAt; c < end; c += COPY_WORDS) {
    const len = w[c + 2]!;
    const from = ((w[c + 3]! >>> 16) & COPY_FROM_ARENA) !== 0 ? m.arena : m.packet;
    if (inside(w[c]!, len, user.length) && inside(w[c + 1]!, len, from.length)) moveBytes(user, w[c]!, from, w[c + 1]!, len);
    else m.bad++;
  }
}

// hot: per burst
/** `fromUser`: sources are byte offsets in `user`. */
export function runFromUser(m: BurstMemory, user: Uint8Array, copyAt: number, copies: number): void {
  if (!m.listFits(copyAt, copies, COPY_WORDS)) return;
  const w = m.words;
  const end = copyAt + copies * COPY_WORDS;
  for (let c = copyAt; c < end; c += COPY_WORDS) {
    const len = w[c + 2]!;
    const to = ((w[c + 3]! >>> 16) & COPY_TO_ARENA) !== 0 ? m.arena : m.packet;
    if (inside(w[c]!, len, to.length) && inside(w[c + 1]!, len, user.length)) moveBytes(to, w[c]!, user, w[c + 1]!, len);
    else m.bad++;
  }
}
