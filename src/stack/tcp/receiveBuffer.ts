/**
 * In-order data that the application has not read: older bytes in a chain of chunks, this breath's still in frames.
 *
 *   rbHead → chunk → … → rbTail   then   pfHead → frame (train) → … → pfTail
 *
 * read() drains both, oldest first, one copy. What is left in frames when the breath ends moves to chunks (a second copy),
 * because frames do not outlive a breath; the chunks were reserved when the payload was accepted.
 * Each chunk says itself where its bytes start and how many there are, so that the out-of-order queue hands its chunks
 * over as they are.
 */
import * as counterIndex from '../../rings/counters.ts';
import type { Machine } from './machine.ts';
import * as tcbNumbers from './tcb.ts';
import type { UserCopy } from './userCopy.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { C_RX_BYTES_COPIED } = counterIndex;
const { T_FRAMES } = tcbNumbers;

/** Out-of-order pieces up to this size are copied together when they come into order. */
const COLLAPSE_MAX = 512;

export interface ReceiveBuffer {
  /**
   * Takes `len` bytes that start `skip` bytes into the payload of frame (train) `f`, link 0 holding `first` payload bytes
   * from byte `at` of packet memory. The frame is ours until it is read or moved.
   */
  append(c: number, f: number, at: number, first: number, skip: number, len: number): void;
  /** Moves what stands in frames of connection `c` to chunks. */
  settle(c: number): void;
  /** Ends the breath: settles every connection, one copy burst, frames go home. */
  settleAll(): void;
  /** Links a filled chunk behind everything. */
  adopt(c: number, k: number): void;
  read(c: number, buffer: Uint8Array, offset: number, length: number, peek: boolean): number;
}

export function createReceiveBuffer(m: Machine, user: UserCopy): ReceiveBuffer {
  const { flags, rbHead, rbTail, rbLen, pfHead, pfTail, pfLen, pfLink, pfOff } = m.tcb;
  const { pfNext, pfAt, pfSize, pfFirst, pfSkip, framesOf, moves, counted } = m;
  const { next: linkNext, length: linkLength, offset: frameAt } = m.env.port.frames;
  const { next: chunkNext, start: chunkStart, length: chunkLength, base: chunkBase, chunkBytes } = m.chunks;
  const chunks = m.chunks;
  const bytes = m.env.arena.u8;
  const port = m.env.port;

  // hot: per packet
  /** Sets the cursor to the first wanted byte of the frame now at the head. */
  function openHead(c: number, f: number): void {
    let link = f;
    let skip = pfSkip[f];
    let size = pfFirst[f];
    while (skip >= size) {
      skip -= size;
      link = linkNext[link];
      size = linkLength[link];
    }
    pfLink[c] = link;
    pfOff[c] = skip;
  }

  // hot: per packet
  function append(c: number, f: number, at: number, first: number, skip: number, len: number): void {
    pfNext[f] = -1;
    pfAt[f] = at;
    pfFirst[f] = first;
    pfSkip[f] = skip;
    pfSize[f] = len;
    pfLen[c] += len;
    if (pfHead[c] >= 0) {
      pfNext[pfTail[c]] = f;
      pfTail[c] = f;
      return;
    }
    pfHead[c] = f;
    pfTail[c] = f;
    openHead(c, f);
    if ((flags[c] & T_FRAMES) === 0) {
      flags[c] |= T_FRAMES;
      framesOf[m.framesCount++] = c;
    }
  }

  // hot: per packet
  /** Bytes that the link under the cursor still holds. */
  function inLink(f: number, link: number, off: number, left: number): number {
    const n = (link === f ? pfFirst[f] : linkLength[link]) - off;
    return n < left ? n : left;
  }

  // hot: per packet
  function settle(c: number): void {
    let f = pfHead[c];
    while (f >= 0) {
      let link = pfLink[c];
      let off = pfOff[c];
      let left = pfSize[f];
      const inFrame = pfAt[f] - frameAt[f];
      while (left > 0) {
        const n = inLink(f, link, off, left);
        toChunks(c, frameAt[link] + inFrame + off, n);
        left -= n;
        off = 0;
        link = linkNext[link];
      }
      const next = pfNext[f];
      moves.release(f);
      f = next;
      if (f >= 0) openHead(c, f);
    }
    pfHead[c] = -1;
    pfLen[c] = 0;
  }

  // hot: per packet
  function toChunks(c: number, src: number, n: number): void {
    rbLen[c] += n;
    while (n > 0) {
      let k = rbTail[c];
      let end = k < 0 ? chunkBytes : chunkStart[k] + chunkLength[k];
      if (end === chunkBytes) {
        const fresh = chunks.take();
        chunkStart[fresh] = 0;
        chunkLength[fresh] = 0;
        if (k < 0) rbHead[c] = fresh;
        else chunkNext[k] = fresh;
        rbTail[c] = fresh;
        k = fresh;
        end = 0;
      }
      let part = chunkBytes - end;
      if (part > n) part = n;
      moves.add(chunkBase + k * chunkBytes + end, src, part);
      chunkLength[k] += part;
      src += part;
      n -= part;
    }
  }

  // hot: per burst
  function settleAll(): void {
    for (let i = 0; i < m.framesCount; i++) {
      const c = framesOf[i];
      flags[c] &= ~T_FRAMES;
      if (pfHead[c] >= 0) settle(c);
    }
    m.framesCount = 0;
    chunks.reserved = 0;
    moves.flush();
  }

  // hot: per packet
  function adopt(c: number, k: number): void {
    const tail = rbTail[c];
    const n = chunkLength[k];
    rbLen[c] += n;
    if (tail >= 0 && n <= COLLAPSE_MAX && chunkStart[tail] + chunkLength[tail] + n <= chunkBytes) {
      collapse(tail, k, n);
      return;
    }
    chunkNext[k] = -1;
    if (tail < 0) rbHead[c] = k;
    else chunkNext[tail] = k;
    rbTail[c] = k;
  }

  /** Little bytes join the chunk before them: a chunk each would let a peer that sends crumbs take the whole pool. */
  function collapse(tail: number, k: number, n: number): void {
    if (moves.entries > 0) moves.flush();
    const from = chunkBase + k * chunkBytes + chunkStart[k];
    const to = chunkBase + tail * chunkBytes + chunkStart[tail] + chunkLength[tail];
    for (let i = 0; i < n; i++) bytes[to + i] = bytes[from + i];
    chunkLength[tail] += n;
    chunks.give(k);
  }

  // hot: per packet
  /** Lists the copies of the first `want` bytes; moves nothing. */
  function gather(c: number, dst: number, want: number): void {
    for (let k = rbHead[c]; k >= 0 && want > 0; k = chunkNext[k]) {
      let n = chunkLength[k];
      if (n > want) n = want;
      user.arenaToUser(dst, chunkBase + k * chunkBytes + chunkStart[k], n);
      dst += n;
      want -= n;
    }
    let link = pfLink[c];
    let off = pfOff[c];
    for (let f = pfHead[c]; f >= 0 && want > 0; ) {
      let left = pfSize[f];
      if (left > want) left = want;
      const inFrame = pfAt[f] - frameAt[f];
      while (left > 0) {
        const n = inLink(f, link, off, left);
        user.frameToUser(dst, frameAt[link] + inFrame + off, n);
        dst += n;
        want -= n;
        left -= n;
        off = 0;
        link = linkNext[link];
      }
      f = pfNext[f];
      if (f < 0 || want === 0) break;
      // The cursor columns belong to the head: find the next frame's start here.
      link = f;
      off = pfSkip[f];
      for (let size = pfFirst[f]; off >= size; size = linkLength[link]) {
        off -= size;
        link = linkNext[link];
      }
    }
  }

  // hot: per packet
  /** The first `n` bytes are done with: chunks go back to the pool, frames home. */
  function consume(c: number, n: number): void {
    while (n > 0 && rbHead[c] >= 0) {
      const k = rbHead[c];
      const have = chunkLength[k];
      if (n < have) {
        chunkStart[k] += n;
        chunkLength[k] = have - n;
        rbLen[c] -= n;
        return;
      }
      rbLen[c] -= have;
      n -= have;
      rbHead[c] = chunkNext[k];
      if (rbHead[c] < 0) rbTail[c] = -1;
      chunks.give(k);
    }
    while (n > 0) {
      const f = pfHead[c];
      const have = pfSize[f];
      if (n < have) {
        advance(c, f, n);
        return;
      }
      pfLen[c] -= have;
      n -= have;
      const next = pfNext[f];
      pfHead[c] = next;
      if (next >= 0) openHead(c, next);
      port.freeTrain(f);
    }
  }

  // hot: per packet
  function advance(c: number, f: number, n: number): void {
    pfSize[f] -= n;
    pfLen[c] -= n;
    let link = pfLink[c];
    let off = pfOff[c] + n;
    for (let size = link === f ? pfFirst[f] : linkLength[link]; off >= size; size = linkLength[link]) {
      off -= size;
      link = linkNext[link];
    }
    pfLink[c] = link;
    pfOff[c] = off;
  }

  function read(c: number, buffer: Uint8Array, offset: number, length: number, peek: boolean): number {
    const have = rbLen[c] + pfLen[c];
    const n = have < length ? have : length;
    if (n === 0) return 0;
    // A chunk may still wait for its bytes.
    if (moves.entries > 0) moves.flush();
    user.begin(buffer);
    gather(c, offset, n);
    user.toUser();
    counted[C_RX_BYTES_COPIED] += n;
    if (!peek) consume(c, n);
    return n;
  }

  return { append, settle, settleAll, adopt, read };
}
