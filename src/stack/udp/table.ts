/**
 * UDP sockets are columns, as connections are (tcp/tcb.ts): one Int32Array a field, by socket index (id minus the first
 * UDP id), in one block of the arena. Sockets of one local port form a chain; a datagram goes to the best match on it:
 *
 *   connected to the sender  >  bound to the destination address  >  bound to any
 *
 * Several equal ones (SO_REUSEADDR, SO_REUSEPORT within a worker) share by flow hash.
 */
import * as layoutNumbers from '../../rings/layout.ts';
import type { Arena } from '../env.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { H_DATAGRAMS, H_UDP, HEADER_BYTES } = layoutNumbers;

// flags
/** The application holds the id. */
export const U_OPEN = 1 << 0;
export const U_CONNECTED = 1 << 1;
/** On the chain of its local port. */
export const U_BOUND = 1 << 2;
/** The local port was chosen by us and is this worker's alone. */
export const U_IMPLICIT = 1 << 3;
/** A send was refused: EPOLLOUT follows. */
export const U_FULL = 1 << 4;
export const U_RDSHUT = 1 << 5;
export const U_WRSHUT = 1 << 6;
/** SO_REUSEADDR or SO_REUSEPORT, SO_BROADCAST. */
export const U_REUSE = 1 << 7;
export const U_BROADCAST = 1 << 8;
/** On this breath's list of sockets whose datagrams stand in frames; on the list of those that wait to send. */
export const U_FRAMES = 1 << 9;
export const U_LISTED = 1 << 10;
/** Local address taken from connect(), not from bind(). */
export const U_LOCAL_BY_CONNECT = 1 << 11;
/** Freed, but its id stands on a ready list. */
export const U_DEAD = 1 << 12;

/** What outlives a socket: lists that hold its index. */
const U_KEPT = U_FRAMES | U_LISTED;

const COLUMNS = 24;

/**
 * Words from one column to the next: not the bare number of sockets, since with a power of two all columns of one socket would
 * fall into the same few cache sets. One extra line of 128 bytes spreads them.
 */
const columnStride = (sockets: number): number => ((sockets + 31) & ~31) + 32;

/** Arena words: the columns, and the chains' heads, one a port. */
export const udpTableWords = (sockets: number): number => COLUMNS * columnStride(sockets) + 65536;

export class UdpTable {
  readonly sockets: number;
  readonly flags: Int32Array;
  readonly localIp: Int32Array;
  readonly remoteIp: Int32Array;
  /** remote << 16 | local. */
  readonly ports: Int32Array;
  readonly error: Int32Array;
  readonly portNext: Int32Array;
  /** Most bytes that may wait unread, records and padding counted (queue.ts). */
  readonly rcvbuf: Int32Array;
  readonly sndbuf: Int32Array;
  // datagrams that wait: in chunks, then in frames
  readonly count: Int32Array;
  readonly bytes: Int32Array;
  readonly stored: Int32Array;
  readonly chunkHead: Int32Array;
  readonly chunkHeadOff: Int32Array;
  readonly chunkTail: Int32Array;
  readonly chunkTailOff: Int32Array;
  readonly frameHead: Int32Array;
  readonly frameTail: Int32Array;
  // sending
  readonly sentBytes: Int32Array;
  readonly sentBreath: Int32Array;
  readonly freeIds: Int32Array;
  inUse = 0;
  private readonly firstOf: Int32Array;
  private freeTop = 0;

  /** Takes its columns from the arena, empty, and notes in its header where they are. */
  constructor(arena: Arena, sockets: number);
  /** Over columns that another thread made and goes on changing: to be read only. */
  constructor(memory: SharedArrayBuffer);
  constructor(arena: Arena | SharedArrayBuffer, size = 0) {
    const made = !(arena instanceof SharedArrayBuffer);
    const memory = made ? arena.memory : arena;
    const header = new Int32Array(memory, 0, HEADER_BYTES >> 2);
    const sockets = made ? size : header[H_DATAGRAMS]!;
    const stride = columnStride(sockets);
    const at = made ? arena.take(udpTableWords(sockets)) : header[H_UDP]!;
    if (made) {
      arena.i32.fill(0, at, at + udpTableWords(sockets));
      header[H_DATAGRAMS] = sockets;
      header[H_UDP] = at;
    }
    let i = 0;
    const column = (): Int32Array => new Int32Array(memory, (at + stride * i++) * 4, sockets);
    this.sockets = sockets;
    this.flags = column();
    this.localIp = column();
    this.remoteIp = column();
    this.ports = column();
    this.error = column();
    this.portNext = column();
    this.rcvbuf = column();
    this.sndbuf = column();
    this.count = column();
    this.bytes = column();
    this.stored = column();
    this.chunkHead = column();
    this.chunkHeadOff = column();
    this.chunkTail = column();
    this.chunkTailOff = column();
    this.frameHead = column();
    this.frameTail = column();
    this.sentBytes = column();
    this.sentBreath = column();
    this.freeIds = column();
    if (i > COLUMNS) throw new RangeError(`UdpTable has ${i} columns, COLUMNS says ${COLUMNS}`);
    this.firstOf = new Int32Array(memory, (at + COLUMNS * stride) * 4, 65536);
    if (made) for (let u = sockets - 1; u >= 0; u--) this.freeIds[this.freeTop++] = u;
  }

  /** A fresh socket, open and unbound, or -1. */
  alloc(rcvbuf: number, sndbuf: number): number {
    if (this.freeTop === 0) return -1;
    const u = this.freeIds[--this.freeTop];
    this.inUse++;
    this.flags[u] = (this.flags[u] & U_KEPT) | U_OPEN;
    this.localIp[u] = 0;
    this.remoteIp[u] = 0;
    this.ports[u] = 0;
    this.error[u] = 0;
    this.rcvbuf[u] = rcvbuf;
    this.sndbuf[u] = sndbuf;
    this.count[u] = 0;
    this.bytes[u] = 0;
    this.stored[u] = 0;
    this.chunkHead[u] = -1;
    this.chunkTail[u] = -1;
    this.frameHead[u] = -1;
    this.sentBytes[u] = 0;
    return u;
  }

  /** Nobody holds the socket any more; `giveBack` follows when no list holds it either. */
  close(u: number): void {
    this.inUse--;
    this.flags[u] = (this.flags[u] & U_KEPT) | U_DEAD;
  }

  giveBack(u: number): void {
    this.flags[u] &= U_KEPT;
    this.freeIds[this.freeTop++] = u;
  }

  /** First socket bound to a local port, or -1; the others follow by `portNext`, minus 1. */
  first(port: number): number {
    return this.firstOf[port] - 1;
  }

  bind(u: number, port: number): void {
    this.ports[u] = (this.ports[u] & ~0xffff) | port;
    this.flags[u] |= U_BOUND;
    this.portNext[u] = this.firstOf[port];
    this.firstOf[port] = u + 1;
  }

  /** Takes `u` off its port's chain. Returns whether it was the last one there. */
  unbind(u: number): boolean {
    const port = this.ports[u] & 0xffff;
    let before = -1;
    for (let x = this.first(port); x >= 0 && x !== u; x = this.portNext[x] - 1) before = x;
    if (before < 0) this.firstOf[port] = this.portNext[u];
    else this.portNext[before] = this.portNext[u];
    this.flags[u] &= ~U_BOUND;
    return this.firstOf[port] === 0;
  }

  // hot: per packet
  /** The socket for a datagram from src:ports>>>16 to dst:ports&0xffff, or -1. `hash` decides between equal ones. */
  find(src: number, dst: number, ports: number, hash: number): number {
    let best = -1;
    let most = 0;
    let equal = 0;
    for (let u = this.firstOf[ports & 0xffff] - 1; u >= 0; u = this.portNext[u] - 1) {
      const score = this.score(u, src, dst, ports);
      if (score > most) {
        most = score;
        best = u;
        equal = 1;
      } else if (score !== 0 && score === most) {
        equal++;
      }
    }
    return equal > 1 ? this.nth(src, dst, ports, most, ((hash & 0xffff) % equal) | 0) : best;
  }

  // hot: per packet
  private nth(src: number, dst: number, ports: number, score: number, n: number): number {
    let u = this.firstOf[ports & 0xffff] - 1;
    for (; ; u = this.portNext[u] - 1) if (this.score(u, src, dst, ports) === score && n-- === 0) return u;
  }

  // hot: per packet
  private score(u: number, src: number, dst: number, ports: number): number {
    const local = this.localIp[u];
    if (local !== 0 && local !== dst) return 0;
    if ((this.flags[u] & U_CONNECTED) === 0) return local !== 0 ? 2 : 1;
    return this.remoteIp[u] === src && this.ports[u] === ports ? 4 : 0;
  }

  /** The connected socket of a flow of ours, for an ICMP error about it, or -1. */
  connected(remoteIp: number, localIp: number, ports: number): number {
    for (let u = this.first(ports & 0xffff); u >= 0; u = this.portNext[u] - 1) if (this.score(u, remoteIp, localIp, ports) === 4) return u;
    return -1;
  }
}
