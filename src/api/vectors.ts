/**
 * readv and writev: one call, several buffers. The vector is an array the program makes once; nothing is allocated here,
 * except a worker's scratch for datagrams when the first of them is scattered.
 */
import * as socketsNumbers from '../stack/sockets.ts';
import * as pipeNumbers from '../stack/pipe.ts';
import { badRange } from './calls.ts';
import { isSocket } from './epoll.ts';
import type { Mctx } from './mctx.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { EAGAIN, EBADF, EINVAL, EMSGSIZE, ENOTSOCK, SO_TYPE, SOCK_DGRAM, SOL_SOCKET } = socketsNumbers;
const { PIPE_BUF } = pipeNumbers;

/** One piece of a vector: `length` bytes of `buffer` from `offset` on. */
export interface IoVector {
  buffer: Uint8Array;
  offset: number;
  length: number;
}

/** Most pieces a call takes, Linux's IOV_MAX. */
export const IOV_MAX = 1024;
/** The largest payload of a UDP datagram over IPv4. */
const DATAGRAM_MAX = 65507;

let scratch = new Uint8Array(0);

function scratchBytes(): Uint8Array {
  if (scratch.length === 0) scratch = new Uint8Array(DATAGRAM_MAX);
  return scratch;
}

// hot: per burst
/** Bytes of the first `count` pieces, or -EINVAL when one is no piece or all are more than an int32 holds. */
function totalOf(vector: readonly IoVector[], count: number): number {
  if (!Array.isArray(vector) || (count | 0) !== count || count < 0 || count > vector.length || count > IOV_MAX) return -EINVAL;
  let total = 0;
  for (let i = 0; i < count; i++) {
    const piece = vector[i];
    if (piece === undefined || piece === null || badRange(piece.buffer, piece.offset, piece.length)) return -EINVAL;
    total += piece.length;
  }
  return total > 0x7fffffff ? -EINVAL : total;
}

// hot: per burst
/**
 * Reads into the first `count` pieces of `vector`, filling each before the next. Returns how many bytes, which may end in
 * the middle of a piece; 0 at the end of the stream; a datagram is scattered over the pieces and what does not fit is lost.
 * -EAGAIN, -EBADF, -EINVAL (a piece outside its buffer, more than IOV_MAX of them), and read's other errors.
 *
 * @example
 * const parts = [{ buffer: head, offset: 0, length: 16 }, { buffer: body, offset: 0, length: 4096 }];
 * const n = readv(mctx, s, parts);
 */
export function readv(mctx: Mctx, s: number, vector: readonly IoVector[], count: number = vector.length): number {
  const sockets = mctx.sockets;
  if (!isSocket(sockets, s)) return -EBADF;
  const total = totalOf(vector, count);
  if (total <= 0) return total;
  if (mctx.outside) mctx.wake();
  if (sockets.getOption(s, SOL_SOCKET, SO_TYPE) === SOCK_DGRAM) return scatter(mctx, s, vector, count, total);
  let done = 0;
  for (let i = 0; i < count; i++) {
    const piece = vector[i]!;
    if (piece.length === 0) continue;
    // What waits behind the bytes, the end or an error, is the next call's: reading would take it.
    if (done > 0 && sockets.readable(s) === 0) return done;
    const n = sockets.read(s, piece.buffer, piece.offset, piece.length, false);
    if (n <= 0) return done > 0 ? done : n;
    done += n;
    if (n < piece.length) return done;
  }
  return done;
}

// hot: per burst
/** One datagram over the pieces. */
function scatter(mctx: Mctx, s: number, vector: readonly IoVector[], count: number, total: number): number {
  const bytes = scratchBytes();
  const n = mctx.sockets.read(s, bytes, 0, total < DATAGRAM_MAX ? total : DATAGRAM_MAX, false);
  let at = 0;
  for (let i = 0; i < count && at < n; i++) {
    const piece = vector[i]!;
    for (let k = 0; k < piece.length && at < n; k++) piece.buffer[piece.offset + k] = bytes[at++]!;
  }
  return n;
}

// hot: per burst
/**
 * Writes the first `count` pieces of `vector`, one after the other. Returns how many bytes were taken, which may end in the
 * middle of a piece; on a datagram socket they are one datagram, to a pipe at most PIPE_BUF bytes go whole or not at all.
 * -EAGAIN, -EBADF, -EINVAL (a piece outside its buffer, more than IOV_MAX of them), -EMSGSIZE, and write's other errors.
 */
export function writev(mctx: Mctx, s: number, vector: readonly IoVector[], count: number = vector.length): number {
  const sockets = mctx.sockets;
  if (!isSocket(sockets, s)) return -EBADF;
  const total = totalOf(vector, count);
  if (total < 0) return total;
  if (mctx.outside) mctx.wake();
  const type = sockets.getOption(s, SOL_SOCKET, SO_TYPE);
  if (type === SOCK_DGRAM) return gather(mctx, s, vector, count, total);
  if (type === -ENOTSOCK && total <= PIPE_BUF) {
    const room = sockets.writable(s);
    if (room > 0 && room < total) return -EAGAIN;
  }
  let done = 0;
  for (let i = 0; i < count; i++) {
    const piece = vector[i]!;
    if (piece.length === 0) continue;
    const n = sockets.write(s, piece.buffer, piece.offset, piece.length);
    if (n < 0) return done > 0 ? done : n;
    done += n;
    if (n < piece.length) return done;
  }
  return done;
}

// hot: per burst
/** One datagram of the pieces; an empty one when they are empty. */
function gather(mctx: Mctx, s: number, vector: readonly IoVector[], count: number, total: number): number {
  if (total > DATAGRAM_MAX) return -EMSGSIZE;
  const bytes = scratchBytes();
  let at = 0;
  for (let i = 0; i < count; i++) {
    const piece = vector[i]!;
    for (let k = 0; k < piece.length; k++) bytes[at++] = piece.buffer[piece.offset + k]!;
  }
  return mctx.sockets.write(s, bytes, 0, total);
}
