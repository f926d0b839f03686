/**
 * What the application wrote and the peer has not acknowledged: a chain of chunks, every chunk full but the first (from
 * sbHeadOff) and the last (to sbTailOff). Nothing that was sent is kept elsewhere: a retransmission is cut from here again.
 *
 *   sbHead … nxChunk (where nxSeq stands) … sbTail
 *
 * The cursor follows SND.NXT, so that sending on never walks the chain; sending again from SND.UNA starts at the head.
 */
import * as counterIndex from '../../rings/counters.ts';
import type { Machine } from './machine.ts';
import type { UserCopy } from './userCopy.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { C_TX_BYTES_COPIED } = counterIndex;

export interface SendBuffer {
  /** Copies up to `length` bytes in; returns how many the chunk pool allowed. The caller looked at the room of the buffer. */
  write(c: number, buffer: Uint8Array, offset: number, length: number): number;
  /** The peer has `n` more bytes: chunks go back to the pool. */
  acknowledge(c: number, n: number): void;
  /** Copies `n` bytes that stand at sequence number `seq` to packet memory byte `dst`, and leaves the cursor behind them. */
  emit(c: number, seq: number, dst: number, n: number): void;
}

export function createSendBuffer(m: Machine, user: UserCopy): SendBuffer {
  const { sndUna, sbLen, sbHead, sbHeadOff, sbTail, sbTailOff, nxChunk, nxOff, nxSeq } = m.tcb;
  const { next: chunkNext, base: chunkBase, chunkBytes } = m.chunks;
  const { chunks, transmit, counted } = m;

  function write(c: number, buffer: Uint8Array, offset: number, length: number): number {
    user.begin(buffer);
    let done = 0;
    while (done < length) {
      let k = sbTail[c];
      if (k < 0 || sbTailOff[c] === chunkBytes) {
        const fresh = chunks.takeForSending();
        if (fresh < 0) break;
        if (k < 0) {
          sbHead[c] = fresh;
          sbHeadOff[c] = 0;
        } else {
          chunkNext[k] = fresh;
        }
        sbTail[c] = fresh;
        sbTailOff[c] = 0;
        k = fresh;
      }
      const at = sbTailOff[c];
      let n = chunkBytes - at;
      if (n > length - done) n = length - done;
      user.userToArena(chunkBase + k * chunkBytes + at, offset + done, n);
      sbTailOff[c] = at + n;
      done += n;
    }
    user.fromUser();
    sbLen[c] += done;
    counted[C_TX_BYTES_COPIED] += done;
    return done;
  }

  // hot: per packet
  function acknowledge(c: number, n: number): void {
    sbLen[c] -= n;
    if (sbLen[c] === 0) {
      chunks.giveSentChain(sbHead[c]);
      sbHead[c] = -1;
      sbTail[c] = -1;
      nxChunk[c] = -1;
      return;
    }
    let k = sbHead[c];
    let off = sbHeadOff[c] + n;
    while (off >= chunkBytes) {
      const next = chunkNext[k];
      if (nxChunk[c] === k) nxChunk[c] = -1;
      chunks.giveSent(k);
      k = next;
      off -= chunkBytes;
    }
    sbHead[c] = k;
    sbHeadOff[c] = off;
  }

  // hot: per packet
  function seek(c: number, seq: number): void {
    let off = sbHeadOff[c] + ((seq - sndUna[c]) | 0);
    let k = sbHead[c];
    while (off >= chunkBytes) {
      k = chunkNext[k];
      off -= chunkBytes;
    }
    nxChunk[c] = k;
    nxOff[c] = off;
    nxSeq[c] = seq;
  }

  // hot: per packet
  function emit(c: number, seq: number, dst: number, n: number): void {
    if (nxChunk[c] < 0 || nxSeq[c] !== seq) seek(c, seq);
    let k = nxChunk[c];
    let off = nxOff[c];
    nxSeq[c] = (seq + n) | 0;
    while (n > 0) {
      if (off === chunkBytes) {
        k = chunkNext[k];
        off = 0;
      }
      let part = chunkBytes - off;
      if (part > n) part = n;
      transmit.copy(dst, chunkBase + k * chunkBytes + off, part);
      dst += part;
      off += part;
      n -= part;
    }
    nxChunk[c] = k;
    nxOff[c] = off;
  }

  return { write, acknowledge, emit };
}
