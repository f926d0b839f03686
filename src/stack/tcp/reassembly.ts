/**
 * The out-of-order queue: chunks in sequence order, without overlap, each saying its sequence number and length. Payload
 * is copied here at once, so that frames go home with their breath.
 *
 *   oooHead → [seq, length] → [seq, length] → … → oooTail
 *
 * A segment right behind the last one goes into the last chunk while it has room, so an ordinary hole costs no more chunks
 * than in-order data; bytes already queued are kept (first copy wins), the new segment is trimmed around them. Bounds: the
 * receive window, OOO_CHUNKS_MAX chunks a connection (against one-byte pieces), and the pool's reserve for in-order data.
 */
import type { Machine } from './machine.ts';
import type { ReceiveBuffer } from './receiveBuffer.ts';

export interface Reassembly {
  /**
   * Queues [seq, seq + len) of a segment in frame (train) `f`, whose byte at `seq` is `skip` bytes into the payload.
   * Returns bytes queued: 0 for nothing new, or when the bounds say no. The frame stays the caller's until the moves ran.
   */
  insert(c: number, seq: number, len: number, f: number, at: number, first: number, skip: number): number;
  /** RCV.NXT reached the queue: hands over what is in order now. Returns how far RCV.NXT moves. */
  deliver(c: number): number;
}

export function createReassembly(m: Machine, receive: ReceiveBuffer): Reassembly {
  const { oooHead, oooTail, oooCount, rcvNxt, pfLen } = m.tcb;
  const { next: chunkNext, start: chunkStart, length: chunkLength, seq: chunkSeq, base: chunkBase, chunkBytes } = m.chunks;
  const { next: linkNext, length: linkLength, offset: frameAt } = m.env.port.frames;
  const { chunks, moves } = m;
  const mostChunks = Math.max(64, Math.ceil(m.config.rcvbuf / chunkBytes) * 2);

  /** Copies payload bytes [skip, skip + n) of the frame to an arena byte. */
  function copyOut(dst: number, f: number, at: number, first: number, skip: number, n: number): void {
    const inFrame = at - frameAt[f];
    let link = f;
    let size = first;
    while (skip >= size) {
      skip -= size;
      link = linkNext[link];
      size = linkLength[link];
    }
    while (n > 0) {
      let part = size - skip;
      if (part > n) part = n;
      moves.add(dst, frameAt[link] + inFrame + skip, part);
      dst += part;
      n -= part;
      skip = 0;
      link = linkNext[link];
      if (link >= 0) size = linkLength[link];
    }
  }

  /** Fills a gap [seq, seq + len) behind chunk `prev` (-1: at the head). Returns bytes taken. */
  function fill(c: number, prev: number, seq: number, len: number, f: number, at: number, first: number, skip: number): number {
    let done = 0;
    while (done < len) {
      let k = prev;
      const behind = k >= 0 && ((chunkSeq[k] + chunkLength[k]) | 0) === ((seq + done) | 0);
      let end = behind ? chunkStart[k] + chunkLength[k] : chunkBytes;
      if (end === chunkBytes) {
        if (oooCount[c] >= mostChunks) return done;
        k = chunks.takeSpare();
        if (k < 0) return done;
        oooCount[c]++;
        chunkStart[k] = 0;
        chunkLength[k] = 0;
        chunkSeq[k] = (seq + done) | 0;
        if (prev < 0) {
          chunkNext[k] = oooHead[c];
          oooHead[c] = k;
        } else {
          chunkNext[k] = chunkNext[prev];
          chunkNext[prev] = k;
        }
        if (chunkNext[k] < 0) oooTail[c] = k;
        end = 0;
      }
      let n = chunkBytes - end;
      if (n > len - done) n = len - done;
      copyOut(chunkBase + k * chunkBytes + end, f, at, first, skip + done, n);
      chunkLength[k] += n;
      done += n;
      prev = k;
    }
    return done;
  }

  function insert(c: number, seq: number, len: number, f: number, at: number, first: number, skip: number): number {
    // Almost always behind everything that is queued.
    const tail = oooTail[c];
    if (tail >= 0 && ((seq - chunkSeq[tail] - chunkLength[tail]) | 0) >= 0) return fill(c, tail, seq, len, f, at, first, skip);
    let queued = 0;
    let prev = -1;
    let k = oooHead[c];
    while (len > 0) {
      // Past chunks that end at or before seq.
      while (k >= 0 && ((chunkSeq[k] + chunkLength[k] - seq) | 0) <= 0) {
        prev = k;
        k = chunkNext[k];
      }
      if (k >= 0 && ((chunkSeq[k] - seq) | 0) <= 0) {
        // Covered by k: trim the front.
        const over = (chunkSeq[k] + chunkLength[k] - seq) | 0;
        const cut = over < len ? over : len;
        seq = (seq + cut) | 0;
        skip += cut;
        len -= cut;
        continue;
      }
      const gap = k >= 0 ? (chunkSeq[k] - seq) | 0 : len;
      const n = gap < len ? gap : len;
      const got = fill(c, prev, seq, n, f, at, first, skip);
      queued += got;
      if (got < n) return queued;
      seq = (seq + n) | 0;
      skip += n;
      len -= n;
    }
    return queued;
  }

  function deliver(c: number): number {
    let edge = rcvNxt[c];
    let moved = 0;
    while (oooHead[c] >= 0) {
      const k = oooHead[c];
      const ahead = (chunkSeq[k] - edge) | 0;
      if (ahead > 0) break;
      const next = chunkNext[k];
      oooHead[c] = next;
      oooCount[c]--;
      if (next < 0) oooTail[c] = -1;
      const fresh = chunkLength[k] + ahead;
      if (fresh <= 0) {
        if (moves.entries > 0) moves.flush();
        chunks.give(k);
        continue;
      }
      // What came before it may still stand in frames: it must be ahead of this chunk in the chain.
      if (pfLen[c] > 0) receive.settle(c);
      chunkStart[k] -= ahead;
      chunkLength[k] = fresh;
      receive.adopt(c, k);
      edge = (edge + fresh) | 0;
      moved += fresh;
    }
    return moved;
  }

  return { insert, deliver };
}
