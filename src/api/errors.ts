/**
 * Errors of the APIs. Calls on sockets answer with a negative errno and never throw; `FlowringError` is for what no
 * running program should meet: a call outside a stack worker, an address that is none.
 */
import * as sockets from '../stack/sockets.ts';

// errno values that only the API layer returns; the others are the stack's (stack/sockets.ts)
export const EPROTONOSUPPORT = 93;
export const ESOCKTNOSUPPORT = 94;
export const EAFNOSUPPORT = 97;

/** Number, name and meaning of every errno that a call may return, Linux x86-64's numbers. */
const ERRNO: readonly (readonly [number, string, string])[] = [
  [sockets.EPERM, 'EPERM', 'operation not permitted'],
  [sockets.ENOENT, 'ENOENT', 'not found'],
  [sockets.EINTR, 'EINTR', 'interrupted: the worker was asked to stop'],
  [sockets.EBADF, 'EBADF', 'no such socket'],
  [sockets.EAGAIN, 'EAGAIN', 'nothing to do now, try again on the next event'],
  [sockets.ENOMEM, 'ENOMEM', 'out of buffers'],
  [sockets.EACCES, 'EACCES', 'a broadcast needs SO_BROADCAST'],
  [sockets.EEXIST, 'EEXIST', 'is there already'],
  [sockets.EINVAL, 'EINVAL', 'invalid argument'],
  [sockets.EMFILE, 'EMFILE', 'no socket left, raise tcp.max-connections or udp.max-sockets'],
  [sockets.EPIPE, 'EPIPE', 'the sending side is closed'],
  [sockets.EPROTO, 'EPROTO', 'the peer found the header wrong'],
  [sockets.ENOTSOCK, 'ENOTSOCK', 'a pipe is no socket'],
  [sockets.EDESTADDRREQ, 'EDESTADDRREQ', 'no destination given, and the socket is not connected'],
  [sockets.EMSGSIZE, 'EMSGSIZE', 'datagram larger than the link carries'],
  [sockets.ENOPROTOOPT, 'ENOPROTOOPT', 'unknown socket option'],
  [EPROTONOSUPPORT, 'EPROTONOSUPPORT', 'unknown protocol'],
  [ESOCKTNOSUPPORT, 'ESOCKTNOSUPPORT', 'unknown socket type'],
  [sockets.EOPNOTSUPP, 'EOPNOTSUPP', 'operation not supported'],
  [EAFNOSUPPORT, 'EAFNOSUPPORT', 'unknown address family'],
  [sockets.EADDRINUSE, 'EADDRINUSE', 'address in use'],
  [sockets.EADDRNOTAVAIL, 'EADDRNOTAVAIL', 'address or port not available'],
  [sockets.ENETUNREACH, 'ENETUNREACH', 'no route'],
  [sockets.ECONNABORTED, 'ECONNABORTED', 'connection aborted'],
  [sockets.ECONNRESET, 'ECONNRESET', 'connection reset by peer'],
  [sockets.EISCONN, 'EISCONN', 'is connected'],
  [sockets.ENOTCONN, 'ENOTCONN', 'is not connected'],
  [sockets.ETIMEDOUT, 'ETIMEDOUT', 'timed out'],
  [sockets.ECONNREFUSED, 'ECONNREFUSED', 'connection refused'],
  [sockets.EHOSTUNREACH, 'EHOSTUNREACH', 'no route to host'],
  [sockets.EALREADY, 'EALREADY', 'already connecting'],
  [sockets.EINPROGRESS, 'EINPROGRESS', 'connecting'],
];

const NAME = new Map(ERRNO.map(([n, name]) => [n, name]));
const MEANING = new Map(ERRNO.map(([n, , meaning]) => [n, meaning]));

/**
 * Name of an errno, of either sign: `errnoName(-11)` is `'EAGAIN'`, 0 is `'OK'`, an unknown one `'E<number>'`.
 *
 * @example
 * const n = read(mctx, s, buffer);
 * if (n < 0 && n !== -EAGAIN) console.error(errnoName(n));
 */
export function errnoName(errno: number): string {
  const n = Math.abs(errno);
  return n === 0 ? 'OK' : (NAME.get(n) ?? `E${n}`);
}

/** What it means, in words: `errnoMessage(-104)` is `'ECONNRESET: connection reset by peer'`. */
export function errnoMessage(errno: number): string {
  const meaning = MEANING.get(Math.abs(errno));
  return meaning === undefined ? errnoName(errno) : `${errnoName(errno)}: ${meaning}`;
}

/** Thrown by the APIs' cold calls only. `code` is an errno name, or one of flowring's own with the prefix `FLOWRING_`. */
export class FlowringError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = 'FlowringError';
    this.code = code;
  }
}
