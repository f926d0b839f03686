/**
 * Datagrams that the application has not taken: older ones in a chain of chunks, this breath's still in their frames.
 *
 *   chunkHead → [record | payload …][record | …] → chunk … chunkTail     then     frameHead → frame → … → frameTail
 *
 * A record is 16 bytes (payload length, sender's address, sender's port, 0); payload is padded to 16, so that a record never
 * straddles chunks and copies are aligned. A datagram read in the breath it came in is copied once; what is left in frames
 * when the breath ends moves to chunks, which were reserved when it was accepted. First in, first out: chunks go back to the
 * pool as they are passed, so a socket with nothing to read holds none.
 */
import * as counterIndex from '../../rings/counters.ts';
import * as dropReasons from '../../rings/drops.ts';
import * as socketsNumbers from '../sockets.ts';
import type { DatagramSource } from '../sockets.ts';
import type { Machine } from '../tcp/machine.ts';
import type { UserCopy } from '../tcp/userCopy.ts';
import * as tableNumbers from './table.ts';
import type { UdpTable } from './table.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { C_RX_BYTES_COPIED } = counterIndex;
const { DROP_NO_MEMORY, DROP_NONE, DROP_RECEIVE_BUFFER } = dropReasons;
const { MSG_PEEK, MSG_TRUNC } = socketsNumbers;
const { U_FRAMES } = tableNumbers;

const RECORD = 16;

/** What a datagram of `len` bytes counts for: an empty one is not free. */
const cost = (len: number): number => RECORD + ((len + 15) & ~15);

export class DatagramQueue {
  /** Chunks that unread datagrams hold. */
  held = 0;
  private readonly m: Machine;
  private readonly t: UdpTable;
  private readonly user: UserCopy;
  private readonly words: Int32Array;
  private readonly view: DataView;
  private readonly frameAt: Int32Array;
  private readonly linkNext: Int32Array;
  private readonly linkLength: Int32Array;
  private readonly chunkNext: Int32Array;
  private readonly base: number;
  private readonly chunkBytes: number;
  /** Sockets with datagrams in frames this breath. */
  private readonly list: Int32Array;
  private listed = 0;

  constructor(m: Machine, t: UdpTable, user: UserCopy) {
    const { frames } = m.env.port;
    this.m = m;
    this.t = t;
    this.user = user;
    this.words = m.env.arena.i32;
    this.view = frames.view;
    this.frameAt = frames.offset;
    this.linkNext = frames.next;
    this.linkLength = frames.length;
    this.chunkNext = m.chunks.next;
    this.base = m.chunks.base;
    this.chunkBytes = m.chunks.chunkBytes;
    this.list = new Int32Array(frames.frames);
  }

  // hot: per packet
  /**
   * Takes a datagram: `len` payload bytes from byte `at` of packet memory on, `first` of them in link 0 of `f`; the UDP
   * header stands before them. The frame is ours when this returns DROP_NONE.
   */
  put(u: number, f: number, at: number, first: number, len: number, src: number): number {
    const t = this.t;
    const m = this.m;
    const bytes = cost(len);
    // One datagram always fits, whatever its size: a buffer smaller than it would refuse it for ever.
    if (t.count[u] > 0 && t.bytes[u] + bytes > t.rcvbuf[u]) return DROP_RECEIVE_BUFFER;
    if (!m.chunks.reserveSpare(bytes)) return DROP_NO_MEMORY;
    m.pfNext[f] = -1;
    m.pfAt[f] = at;
    m.pfFirst[f] = first;
    m.pfSize[f] = len;
    m.pfSkip[f] = src;
    t.count[u]++;
    t.bytes[u] += bytes;
    if (t.frameHead[u] >= 0) {
      m.pfNext[t.frameTail[u]] = f;
    } else {
      t.frameHead[u] = f;
      if ((t.flags[u] & U_FRAMES) === 0) {
        t.flags[u] |= U_FRAMES;
        this.list[this.listed++] = u;
      }
    }
    t.frameTail[u] = f;
    return DROP_NONE;
  }

  // hot: per burst
  /** The breath ends: what stands in frames moves to chunks. The copies run, and frames go home, with TCP's (receiveBuffer.ts). */
  settleAll(): void {
    for (let i = 0; i < this.listed; i++) {
      const u = this.list[i];
      this.t.flags[u] &= ~U_FRAMES;
      for (let f = this.t.frameHead[u]; f >= 0; ) {
        const next = this.m.pfNext[f];
        this.store(u, f);
        f = next;
      }
      this.t.frameHead[u] = -1;
    }
    this.listed = 0;
  }

  // hot: per packet
  private store(u: number, f: number): void {
    const t = this.t;
    const m = this.m;
    const len = m.pfSize[f];
    const at = m.pfAt[f];
    if (t.chunkTail[u] < 0 || t.chunkTailOff[u] === this.chunkBytes) this.newTail(u);
    if (t.stored[u] === 0) {
      t.chunkHead[u] = t.chunkTail[u];
      t.chunkHeadOff[u] = t.chunkTailOff[u];
    }
    const w = (this.base + t.chunkTail[u] * this.chunkBytes + t.chunkTailOff[u]) >> 2;
    this.words[w] = len;
    this.words[w + 1] = m.pfSkip[f];
    this.words[w + 2] = this.view.getUint16(at - 8);
    this.words[w + 3] = 0;
    t.chunkTailOff[u] += RECORD;
    t.stored[u]++;
    const inFrame = at - this.frameAt[f];
    let link = f;
    let n = m.pfFirst[f];
    for (let left = len; left > 0; link = this.linkNext[link], n = this.linkLength[link]) {
      if (n > left) n = left;
      this.toChunks(u, this.frameAt[link] + inFrame, n);
      left -= n;
      if (left === 0) break;
    }
    this.pad(u, cost(len) - RECORD - len);
    m.moves.release(f);
  }

  private newTail(u: number): void {
    const t = this.t;
    const k = this.m.chunks.take();
    this.held++;
    if (t.chunkTail[u] >= 0) this.chunkNext[t.chunkTail[u]] = k;
    t.chunkTail[u] = k;
    t.chunkTailOff[u] = 0;
  }

  // hot: per packet
  private toChunks(u: number, src: number, n: number): void {
    const t = this.t;
    while (n > 0) {
      if (t.chunkTailOff[u] === this.chunkBytes) this.newTail(u);
      let part = this.chunkBytes - t.chunkTailOff[u];
      if (part > n) part = n;
      this.m.moves.add(this.base + t.chunkTail[u] * this.chunkBytes + t.chunkTailOff[u], src, part);
      t.chunkTailOff[u] += part;
      src += part;
      n -= part;
    }
  }

  /** Padding never crosses a chunk's end: payload starts 16-aligned, and chunks are whole multiples of 16. */
  private pad(u: number, n: number): void {
    this.t.chunkTailOff[u] += n;
  }

  // hot: per packet
  /** The first datagram's length, or -1 when there is none. */
  firstLength(u: number): number {
    const t = this.t;
    if (t.count[u] === 0) return -1;
    if (t.stored[u] === 0) return this.m.pfSize[t.frameHead[u]];
    return this.words[(this.base + t.chunkHead[u] * this.chunkBytes + t.chunkHeadOff[u]) >> 2];
  }

  // hot: per packet
  /** Takes (with MSG_PEEK: looks at) the first datagram; there is one. Returns as receiveFrom does. */
  take(u: number, buffer: Uint8Array, offset: number, length: number, flags: number, from: DatagramSource | null): number {
    const t = this.t;
    const m = this.m;
    const len = this.firstLength(u);
    const n = len < length ? len : length;
    const peek = (flags & MSG_PEEK) !== 0;
    this.user.begin(buffer);
    if (t.stored[u] > 0) {
      const w = (this.base + t.chunkHead[u] * this.chunkBytes + t.chunkHeadOff[u]) >> 2;
      if (from !== null) {
        from.address = this.words[w + 1];
        from.port = this.words[w + 2];
      }
      this.fromChunks(u, offset, n);
      if (!peek) this.passStored(u, cost(len));
    } else {
      const f = t.frameHead[u];
      if (from !== null) {
        from.address = m.pfSkip[f];
        from.port = this.view.getUint16(m.pfAt[f] - 8);
      }
      this.fromFrame(f, offset, n);
      if (!peek) {
        t.frameHead[u] = m.pfNext[f];
        m.env.port.freeTrain(f);
      }
    }
    if (!peek) {
      t.count[u]--;
      t.bytes[u] -= cost(len);
    }
    m.counted[C_RX_BYTES_COPIED] += n;
    return (flags & MSG_TRUNC) !== 0 ? len : n;
  }

  // hot: per packet
  private fromChunks(u: number, dst: number, n: number): void {
    let k = this.t.chunkHead[u];
    let off = this.t.chunkHeadOff[u] + RECORD;
    while (n > 0) {
      if (off === this.chunkBytes) {
        k = this.chunkNext[k];
        off = 0;
      }
      let part = this.chunkBytes - off;
      if (part > n) part = n;
      this.user.arenaToUser(dst, this.base + k * this.chunkBytes + off, part);
      dst += part;
      off += part;
      n -= part;
    }
    this.user.toUser();
  }

  // hot: per packet
  private fromFrame(f: number, dst: number, n: number): void {
    const inFrame = this.m.pfAt[f] - this.frameAt[f];
    let link = f;
    let part = this.m.pfFirst[f];
    while (n > 0) {
      if (part > n) part = n;
      this.user.frameToUser(dst, this.frameAt[link] + inFrame, part);
      dst += part;
      n -= part;
      if (n === 0) break;
      link = this.linkNext[link];
      part = this.linkLength[link];
    }
    this.user.toUser();
  }

  // hot: per packet
  /** The first stored record, `n` bytes with payload and padding, is done with. */
  private passStored(u: number, n: number): void {
    const t = this.t;
    t.stored[u]--;
    for (let left = n; left > 0; ) {
      const part = this.chunkBytes - t.chunkHeadOff[u];
      if (left < part) {
        t.chunkHeadOff[u] += left;
        break;
      }
      left -= part;
      this.dropHead(u);
    }
    if (t.stored[u] === 0 && t.chunkHead[u] >= 0) this.dropHead(u);
  }

  private dropHead(u: number): void {
    const t = this.t;
    const k = t.chunkHead[u];
    t.chunkHead[u] = this.chunkNext[k];
    t.chunkHeadOff[u] = 0;
    if (t.chunkHead[u] < 0) t.chunkTail[u] = -1;
    this.m.chunks.give(k);
    this.held--;
  }

  /** Everything unread is lost: the socket closes. */
  purge(u: number): void {
    const t = this.t;
    const m = this.m;
    while (t.chunkHead[u] >= 0) this.dropHead(u);
    for (let f = t.frameHead[u]; f >= 0; ) {
      const next = m.pfNext[f];
      m.env.port.freeTrain(f);
      f = next;
    }
    t.frameHead[u] = -1;
    t.count[u] = 0;
    t.bytes[u] = 0;
    t.stored[u] = 0;
  }
}
