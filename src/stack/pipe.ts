/**
 * Pipes within a worker: a ring of bytes with two ids, the even one to read from, the odd one to write to. They make a
 * program's own events epoll events, as pipe(7) does. Semantics are Linux's:
 *
 *   write of at most PIPE_BUF bytes   all or -EAGAIN, never a part
 *   write of more                     what there is room for, -EAGAIN without room
 *   nobody can read any more          -EPIPE, and EPOLLERR at the end to write to
 *   read of an empty pipe             -EAGAIN, and 0 when nobody can write any more (EPOLLHUP)
 *   EPOLLOUT                          PIPE_BUF bytes fit, so that a write that was refused succeeds after it
 *
 * The bytes stand in the worker's arena; copies are those of read() and write() (tcp/userCopy.ts).
 */
import type { StackConfig, StackEnv } from './env.ts';
import type { Ready } from './readyList.ts';
import { Refusals } from './refusals.ts';
import * as socketsNumbers from './sockets.ts';
import type { UserCopy } from './tcp/userCopy.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { EAGAIN, EBADF, EMFILE, ENOTSOCK, EOPNOTSUPP, EPIPE, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, MSG_PEEK } = socketsNumbers;

/** Bytes that a write keeps together (POSIX; Linux's value). No pipe is smaller. */
export const PIPE_BUF = 4096;

// What is known of a pipe. One is free when nothing is.
const READER = 1;
const WRITER = 2;
/** The end is closed, but its id stands on a ready list still. */
const READER_LISTED = 4;
const WRITER_LISTED = 8;

/** Each pipe's bytes begin at a multiple of 8. */
const stride = (config: StackConfig): number => (config.pipeBytes + 7) & ~7;

/** Arena words of all pipes. */
export const pipeWords = (config: StackConfig): number => (config.pipes * stride(config)) >> 2;

export class Pipes extends Refusals {
  private readonly ready: Ready;
  private readonly user: UserCopy;
  /** Id of pipe 0's first end: even distance of an id from it is an end to read from. */
  private readonly first: number;
  private readonly bytes: number;
  private readonly stride: number;
  /** Arena byte of pipe 0. */
  private readonly base: number;
  // By pipe
  private readonly known: Int32Array;
  private readonly head: Int32Array;
  private readonly used: Int32Array;
  private readonly free: Int32Array;
  private freeTop: number;

  constructor(env: StackEnv, user: UserCopy, ready: Ready, first: number) {
    super();
    const { pipes, pipeBytes } = env.config;
    this.ready = ready;
    this.user = user;
    this.first = first;
    this.bytes = pipeBytes;
    this.stride = stride(env.config);
    this.base = env.arena.take(pipeWords(env.config)) * 4;
    this.known = new Int32Array(pipes);
    this.head = new Int32Array(pipes);
    this.used = new Int32Array(pipes);
    this.free = new Int32Array(pipes);
    for (let k = 0; k < pipes; k++) this.free[k] = pipes - 1 - k;
    this.freeTop = pipes;
  }

  /** A new pipe: the id to read from, the one to write to is the next; or -EMFILE. */
  open(): number {
    if (this.freeTop === 0) return -EMFILE;
    const k = this.free[--this.freeTop];
    this.known[k] = READER | WRITER;
    this.head[k] = 0;
    this.used[k] = 0;
    const s = this.first + 2 * k;
    this.ready.begin(s);
    this.ready.begin(s + 1);
    return s;
  }

  private bitOf(s: number): number {
    return ((s - this.first) & 1) === 0 ? READER : WRITER;
  }

  // hot: per packet
  override isOpen(s: number): boolean {
    const k = (s - this.first) >> 1;
    return k >= 0 && k < this.known.length && (this.known[k] & (((s - this.first) & 1) + 1)) !== 0;
  }

  // hot: per packet
  override read(s: number, buffer: Uint8Array, offset: number, length: number, peek: boolean): number {
    if (!this.isOpen(s) || ((s - this.first) & 1) !== 0) return -EBADF;
    const k = (s - this.first) >> 1;
    const room = buffer.length - offset;
    if (length > room) length = room;
    if (length <= 0) return 0;
    const have = this.used[k];
    if (have === 0) return (this.known[k] & WRITER) !== 0 ? -EAGAIN : 0;
    const n = length < have ? length : have;
    const at = this.head[k];
    const from = this.base + k * this.stride;
    const straight = this.bytes - at;
    this.user.begin(buffer);
    if (n <= straight) {
      this.user.arenaToUser(offset, from + at, n);
    } else {
      this.user.arenaToUser(offset, from + at, straight);
      this.user.arenaToUser(offset + straight, from, n - straight);
    }
    this.user.toUser();
    if (!peek) this.taken(k, n);
    return n;
  }

  // hot: per packet
  private taken(k: number, n: number): void {
    const before = this.bytes - this.used[k];
    const at = this.head[k] + n;
    this.head[k] = at >= this.bytes ? at - this.bytes : at;
    this.used[k] -= n;
    if (before < PIPE_BUF && before + n >= PIPE_BUF && (this.known[k] & WRITER) !== 0) {
      this.ready.notify(this.first + 2 * k + 1, EPOLLOUT);
    }
  }

  // hot: per packet
  override write(s: number, buffer: Uint8Array, offset: number, length: number): number {
    if (!this.isOpen(s) || ((s - this.first) & 1) === 0) return -EBADF;
    const k = (s - this.first) >> 1;
    const given = buffer.length - offset;
    if (length > given) length = given;
    if (length <= 0) return 0;
    if ((this.known[k] & READER) === 0) return -EPIPE;
    const room = this.bytes - this.used[k];
    if (length > room) {
      if (length <= PIPE_BUF || room === 0) return -EAGAIN;
      length = room;
    }
    let at = this.head[k] + this.used[k];
    if (at >= this.bytes) at -= this.bytes;
    const to = this.base + k * this.stride;
    const straight = this.bytes - at;
    this.user.begin(buffer);
    if (length <= straight) {
      this.user.userToArena(to + at, offset, length);
    } else {
      this.user.userToArena(to + at, offset, straight);
      this.user.userToArena(to, offset + straight, length - straight);
    }
    this.user.fromUser();
    this.used[k] += length;
    this.ready.notify(s - 1, EPOLLIN);
    return length;
  }

  override close(s: number): number {
    if (!this.isOpen(s)) return -EBADF;
    const k = (s - this.first) >> 1;
    const end = this.bitOf(s);
    this.known[k] &= ~end;
    if (!this.ready.end(s)) this.known[k] |= end === READER ? READER_LISTED : WRITER_LISTED;
    if (end === WRITER && (this.known[k] & READER) !== 0) this.ready.notify(s - 1, EPOLLHUP);
    if (end === READER && (this.known[k] & WRITER) !== 0) this.ready.notify(s + 1, EPOLLERR | EPOLLOUT);
    this.giveBack(k);
    return 0;
  }

  override reap(s: number): void {
    const k = (s - this.first) >> 1;
    this.known[k] &= this.bitOf(s) === READER ? ~READER_LISTED : ~WRITER_LISTED;
    this.giveBack(k);
  }

  private giveBack(k: number): void {
    if (this.known[k] === 0) this.free[this.freeTop++] = k;
  }

  // hot: per packet
  override levels(s: number): number {
    if (!this.isOpen(s)) return 0;
    const k = (s - this.first) >> 1;
    const known = this.known[k];
    if (((s - this.first) & 1) === 0) return (this.used[k] > 0 ? EPOLLIN : 0) | ((known & WRITER) === 0 ? EPOLLHUP : 0);
    return (this.bytes - this.used[k] >= PIPE_BUF ? EPOLLOUT : 0) | ((known & READER) === 0 ? EPOLLERR : 0);
  }

  /** Bytes in the pipe, at either end. */
  override readable(s: number): number {
    return this.isOpen(s) ? this.used[(s - this.first) >> 1] : 0;
  }

  /** Bytes that fit, at the end to write to. */
  override writable(s: number): number {
    const k = (s - this.first) >> 1;
    return this.isOpen(s) && this.bitOf(s) === WRITER && (this.known[k] & READER) !== 0 ? this.bytes - this.used[k] : 0;
  }

  override queued(s: number): number {
    return this.readable(s);
  }

  /** What recv() asks with its flags; Linux has it for sockets only. */
  override receiveFrom(s: number, buffer: Uint8Array, offset: number, length: number, flags: number): number {
    if ((flags & ~MSG_PEEK) !== 0) return this.isOpen(s) ? -EOPNOTSUPP : -EBADF;
    return this.read(s, buffer, offset, length, (flags & MSG_PEEK) !== 0);
  }

  protected override refuse(s: number): number {
    return this.isOpen(s) ? -ENOTSOCK : -EBADF;
  }
}
