/**
 * mTCP's socket calls. They check what the caller could have got wrong, then ask the stack. A result is never negative
 * unless it is a negated errno; nothing throws except bad address text, and nothing is allocated.
 */
import * as socketsNumbers from '../stack/sockets.ts';
import type { DatagramSource } from '../stack/sockets.ts';
import { addressOf, formatAddress, isPort } from './address.ts';
import type { SocketAddress } from './address.ts';
import * as epollNumbers from './epoll.ts';
import { badSocket, isSocket } from './epoll.ts';
import * as errorsNumbers from './errors.ts';
import type { Mctx } from './mctx.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const {
  EADDRNOTAVAIL,
  EBADF,
  EINVAL,
  EMFILE,
  ENOTCONN,
  EOPNOTSUPP,
  MSG_PEEK,
  MSG_TRUNC,
  SHUT_RD,
  SHUT_RDWR,
  SO_TYPE,
  SOCK_DGRAM,
  SOCK_STREAM,
  SOL_SOCKET,
} = socketsNumbers;
const { EPOLL_BASE } = epollNumbers;
const { EAFNOSUPPORT, EPROTONOSUPPORT, ESOCKTNOSUPPORT } = errorsNumbers;

export const AF_INET = 2;
export const IPPROTO_TCP = 6;
export const IPPROTO_UDP = 17;
export { MSG_PEEK, MSG_TRUNC, SOCK_DGRAM, SOCK_STREAM } from '../stack/sockets.ts';
/** No call here waits: accepted by `recv`, and nothing follows from it. */
export const MSG_DONTWAIT = 0x40;

/** Whether offset and length lie within the buffer and it is one. */
export function badRange(buffer: Uint8Array, offset: number, length: number): boolean {
  return (
    !(buffer instanceof Uint8Array) ||
    (offset | 0) !== offset ||
    (length | 0) !== length ||
    offset < 0 ||
    length < 0 ||
    offset + length > buffer.length
  );
}

/**
 * New socket, always nonblocking: SOCK_STREAM with 0 or IPPROTO_TCP, SOCK_DGRAM with 0 or IPPROTO_UDP. -EAFNOSUPPORT,
 * -ESOCKTNOSUPPORT, -EPROTONOSUPPORT for anything else; -EMFILE.
 */
export function socket(mctx: Mctx, domain: number, type: number, protocol = 0): number {
  if (domain !== AF_INET) return -EAFNOSUPPORT;
  if (type !== SOCK_STREAM && type !== SOCK_DGRAM) return -ESOCKTNOSUPPORT;
  if (protocol !== 0 && protocol !== (type === SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP)) return -EPROTONOSUPPORT;
  return type === SOCK_STREAM ? mctx.sockets.open() : mctx.sockets.openDatagram();
}

/** Sockets are nonblocking from the start; this only checks the id. 0 or -EBADF. */
export function setsockNonblock(mctx: Mctx, s: number): number {
  return isSocket(mctx.sockets, s) ? 0 : -EBADF;
}

/**
 * Local address and port of a socket. `address` left out or INADDR_ANY: every address of the stack; port 0: chosen by
 * connect or listen, for datagrams now. A UDP port that is named is served by every worker that binds it, as a TCP port by
 * every one that listens. -EBADF, -EINVAL, -EADDRINUSE, -EADDRNOTAVAIL.
 * @throws FlowringError EINVAL when the address is text and not an IPv4 address.
 */
export function bind(mctx: Mctx, s: number, local: SocketAddress): number {
  if (badSocket(s)) return -EBADF;
  if (!isPort(local.port)) return -EINVAL;
  const result = mctx.sockets.bind(s, addressOf(local.address), local.port);
  if (result === 0 && local.port !== 0 && isDatagram(mctx, s)) sayListening(mctx, s);
  return result;
}

const isDatagram = (mctx: Mctx, s: number): boolean => mctx.sockets.getOption(s, SOL_SOCKET, SO_TYPE) === SOCK_DGRAM;

/** For the readiness line: what this worker serves. */
function sayListening(mctx: Mctx, s: number): void {
  const ip = mctx.sockets.localAddress(s);
  mctx.context.listening(ip === 0 ? mctx.context.host.address() : ip, mctx.sockets.localPort(s));
}

/**
 * Makes a bound socket accept connections, up to `backlog` of them waiting (at least 1). Every worker that listens on a port
 * serves it: which one gets a connection is the flow hash's choice. -EBADF, -EINVAL, -EADDRINUSE, -EOPNOTSUPP (UDP).
 */
export function listen(mctx: Mctx, s: number, backlog = 4096): number {
  if (badSocket(s)) return -EBADF;
  if (!Number.isInteger(backlog) || backlog < 1) return -EINVAL;
  const result = mctx.sockets.listen(s, backlog);
  if (result < 0) return result;
  sayListening(mctx, s);
  return result;
}

// hot: per burst
/**
 * A connection that waits on listener `s`: its socket, or -EAGAIN, -EBADF, -EINVAL (not listening), -EOPNOTSUPP (UDP). `peer`, made once by the
 * program, learns who it is: the address as int32 (`formatAddress` makes it text), and the port.
 */
export function accept(mctx: Mctx, s: number, peer?: DatagramSource): number {
  if (badSocket(s)) return -EBADF;
  const c = mctx.sockets.accept(s);
  if (c >= 0 && peer !== undefined) {
    peer.address = mctx.sockets.remoteAddress(c);
    peer.port = mctx.sockets.remotePort(c);
  }
  return c;
}

/**
 * Begins to connect: -EINPROGRESS, then EPOLLOUT when it is made or EPOLLERR when it failed (SO_ERROR says why).
 * An unbound socket gets a source port whose flow comes back to this worker.
 * A UDP socket is connected at once, 0: it hears its peer only, learns of ICMP errors, and `write` and `read` work on it;
 * connecting again replaces the peer, port 0 ends it (-ENOTCONN when there was none). -EBADF, -EINVAL, -EADDRNOTAVAIL,
 * -ENETUNREACH, -EISCONN, -EALREADY, -EOPNOTSUPP (a listener).
 * @throws FlowringError EINVAL when the address is text and not an IPv4 address.
 */
export function connect(mctx: Mctx, s: number, remote: SocketAddress): number {
  if (badSocket(s)) return -EBADF;
  if (!isPort(remote.port)) return -EINVAL;
  if (remote.port === 0) return isDatagram(mctx, s) ? mctx.sockets.connect(s, 0, 0) : -EINVAL;
  const ip = addressOf(remote.address);
  if (mctx.outside) mctx.wake();
  return ip === 0 ? -EINVAL : mctx.sockets.connect(s, ip, remote.port);
}

/**
 * Prepares connects to daddr:dport: finds the source ports whose flows come back to this worker, so that `connect` picks
 * among them without searching. Not needed for that: an unprepared connect searches by itself. Returns how many there are,
 * which bounds the connections to there at a time. `saddrBase` is INADDR_ANY or the stack's address, `numAddr` 1: it has no
 * other (-EADDRNOTAVAIL). -EINVAL, -ENETUNREACH.
 * @throws FlowringError EINVAL when an address is text and not an IPv4 address.
 */
export function initRss(mctx: Mctx, saddrBase: string | number, numAddr: number, daddr: string | number, dport: number): number {
  const [from, to] = [addressOf(saddrBase), addressOf(daddr)];
  if (!isPort(dport) || dport === 0 || to === 0 || !Number.isInteger(numAddr) || numAddr < 1) return -EINVAL;
  if (numAddr !== 1 || (from !== 0 && from !== mctx.context.host.address())) return -EADDRNOTAVAIL;
  return mctx.sockets.prepareSources(to, dport);
}

// hot: per burst
/**
 * Copies what has arrived to `buffer[offset…]`, at most `length` bytes (the rest of the buffer when left out); of UDP one
 * datagram, which may be empty and whose rest is lost.
 * Returns how many; 0 at the end of the stream (and when `length` is 0); -EAGAIN when nothing waits; -EBADF, -EINVAL
 * (range), -ENOTCONN, or the connection's error once: -ECONNRESET, -ETIMEDOUT. The buffer is not kept.
 */
export function read(mctx: Mctx, s: number, buffer: Uint8Array, offset = 0, length = buffer.length - offset): number {
  if (badSocket(s)) return -EBADF;
  if (badRange(buffer, offset, length)) return -EINVAL;
  if (mctx.outside) mctx.wake();
  return mctx.sockets.read(s, buffer, offset, length, false);
}

// hot: per burst
/**
 * `read` with flags: MSG_PEEK leaves the bytes queued, MSG_DONTWAIT changes nothing, MSG_TRUNC (UDP) returns the datagram's
 * own length. Other flags: -EOPNOTSUPP.
 */
export function recv(mctx: Mctx, s: number, buffer: Uint8Array, flags = 0, offset = 0, length = buffer.length - offset): number {
  if (badSocket(s)) return -EBADF;
  if (badRange(buffer, offset, length)) return -EINVAL;
  if ((flags & ~(MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC)) !== 0) return -EOPNOTSUPP;
  if (mctx.outside) mctx.wake();
  return mctx.sockets.receiveFrom(s, buffer, offset, length, flags & ~MSG_DONTWAIT, null);
}

// hot: per burst
/**
 * Queues bytes of `buffer[offset…]` for sending, at most `length`. Returns how many were taken, which may be fewer;
 * -EAGAIN when none (EPOLLOUT follows when there is room); -EBADF, -EINVAL, -EPIPE, -ENOTCONN, the connection's error once.
 * The bytes are copied: the buffer is free again when it returns.
 */
export function write(mctx: Mctx, s: number, buffer: Uint8Array, offset = 0, length = buffer.length - offset): number {
  if (badSocket(s)) return -EBADF;
  if (badRange(buffer, offset, length)) return -EINVAL;
  if (mctx.outside) mctx.wake();
  return mctx.sockets.write(s, buffer, offset, length);
}

/**
 * Closes a socket or an epoll instance. A connection sends what is queued, then FIN; with unread data, RST (RFC 2525
 * section 2.17). The id is invalid afterwards and may be given out again. 0 or -EBADF.
 */
export function close(mctx: Mctx, s: number): number {
  if (s >= EPOLL_BASE) return mctx.epolls.close(s);
  if (mctx.outside) mctx.wake();
  return badSocket(s) ? -EBADF : mctx.sockets.close(s);
}

/**
 * New pipe: `ids[0]` to read from, `ids[1]` to write to, both for read, write, readv, writev, epoll and close. It holds
 * `pipe-bytes` (10,240 as mTCP's); semantics are Linux's (stack/pipe.ts). 0, -EMFILE (`pipes` a worker), -EINVAL.
 */
export function pipe(mctx: Mctx, ids: Int32Array | number[]): number {
  if (!(Array.isArray(ids) || ids instanceof Int32Array) || (ids instanceof Int32Array && ids.length < 2)) return -EINVAL;
  const s = mctx.sockets.openPipe();
  if (s < 0) return -EMFILE;
  ids[0] = s;
  ids[1] = s + 1;
  return 0;
}

/** Closes a connection by RST, queued data is lost. 0 or -EBADF. */
export function abort(mctx: Mctx, s: number): number {
  if (mctx.outside) mctx.wake();
  return badSocket(s) ? -EBADF : mctx.sockets.abort(s);
}

/** Ends one direction or both: SHUT_RD, SHUT_WR (FIN after queued data), SHUT_RDWR. 0, -EBADF, -EINVAL, -ENOTCONN. */
export function shutdown(mctx: Mctx, s: number, how: number): number {
  if (badSocket(s)) return -EBADF;
  if (!Number.isInteger(how) || how < SHUT_RD || how > SHUT_RDWR) return -EINVAL;
  if (mctx.outside) mctx.wake();
  return mctx.sockets.shutdown(s, how);
}

/** Fills `into` with the socket's own address ('0.0.0.0' when bound to any) and port. 0, -EBADF, -ENOTSOCK. */
export function getsockname(mctx: Mctx, s: number, into: SocketAddress): number {
  if (!isSocket(mctx.sockets, s)) return -EBADF;
  const type = mctx.sockets.getOption(s, SOL_SOCKET, SO_TYPE);
  if (type < 0) return type;
  into.address = formatAddress(mctx.sockets.localAddress(s));
  into.port = mctx.sockets.localPort(s);
  return 0;
}

/** Fills `into` with the peer's address and port. 0, -EBADF, -ENOTCONN, -ENOTSOCK. */
export function getpeername(mctx: Mctx, s: number, into: SocketAddress): number {
  if (!isSocket(mctx.sockets, s)) return -EBADF;
  const type = mctx.sockets.getOption(s, SOL_SOCKET, SO_TYPE);
  if (type < 0) return type;
  const port = mctx.sockets.remotePort(s);
  if (port === 0) return -ENOTCONN;
  into.address = formatAddress(mctx.sockets.remoteAddress(s));
  into.port = port;
  return 0;
}
