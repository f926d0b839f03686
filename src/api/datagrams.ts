/**
 * Datagrams: mTCP's `mudp_sendto` and `mudp_recvfrom`, under their BSD names. Nothing is kept and nothing is allocated: the
 * sender's address comes as an int32 in an object that the program makes once, and may be handed back as it is.
 */
import * as socketsNumbers from '../stack/sockets.ts';
import type { DatagramSource } from '../stack/sockets.ts';
import { addressOf, isPort } from './address.ts';
import type { SocketAddress } from './address.ts';
import * as callsNumbers from './calls.ts';
import { badRange } from './calls.ts';
import { badSocket } from './epoll.ts';
import type { Mctx } from './mctx.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { EBADF, EINVAL, EOPNOTSUPP, MSG_PEEK, MSG_TRUNC } = socketsNumbers;
const { MSG_DONTWAIT } = callsNumbers;

// hot: per burst
/**
 * Sends `buffer[offset … offset+length]` as one datagram, to `to` or (left out) to the peer of a connected socket. An unbound
 * socket gets a port of its own to which replies come back. Returns `length`, also 0: a datagram may be empty.
 * -EAGAIN when there is no frame or no room now (EPOLLOUT follows), -EMSGSIZE (nothing is fragmented), -EDESTADDRREQ,
 * -EACCES (broadcast without SO_BROADCAST), -ENETUNREACH, -EHOSTUNREACH, -EADDRNOTAVAIL (no port left), -EPIPE, -EINVAL,
 * -EBADF, or the socket's error once: -ECONNREFUSED when the peer's port is closed. `flags`: 0 or MSG_DONTWAIT.
 * @throws FlowringError EINVAL when the address is text and not an IPv4 address.
 *
 * @example
 * const from = { address: 0, port: 0 };
 * const n = recvfrom(mctx, s, buffer, 0, buffer.length, from);
 * if (n >= 0) sendto(mctx, s, buffer, 0, n, from);
 */
export function sendto(
  mctx: Mctx,
  s: number,
  buffer: Uint8Array,
  offset = 0,
  length: number = buffer.length - offset,
  to?: SocketAddress | null,
  flags = 0,
): number {
  if (badSocket(s)) return -EBADF;
  if (badRange(buffer, offset, length)) return -EINVAL;
  if ((flags & ~MSG_DONTWAIT) !== 0) return -EOPNOTSUPP;
  if (mctx.outside) mctx.wake();
  if (to === undefined || to === null) return mctx.sockets.sendTo(s, buffer, offset, length, 0, 0);
  if (!isPort(to.port) || to.port === 0) return -EINVAL;
  return mctx.sockets.sendTo(s, buffer, offset, length, addressOf(to.address), to.port);
}

// hot: per burst
/**
 * Takes one datagram: up to `length` bytes of it to `buffer[offset…]`, what does not fit is lost. `from` learns the sender,
 * address as int32 (`formatAddress` makes it text). Returns the bytes copied, 0 for an empty datagram; with MSG_TRUNC the
 * datagram's own length, whatever was copied; MSG_PEEK leaves it queued. -EAGAIN when none waits, -EBADF, -EINVAL,
 * -EOPNOTSUPP (other flags), or the socket's error once: -ECONNREFUSED, -EHOSTUNREACH …
 */
export function recvfrom(
  mctx: Mctx,
  s: number,
  buffer: Uint8Array,
  offset = 0,
  length: number = buffer.length - offset,
  from: DatagramSource | null = null,
  flags = 0,
): number {
  if (badSocket(s)) return -EBADF;
  if (badRange(buffer, offset, length)) return -EINVAL;
  if ((flags & ~(MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT)) !== 0) return -EOPNOTSUPP;
  if (mctx.outside) mctx.wake();
  return mctx.sockets.receiveFrom(s, buffer, offset, length, flags & ~MSG_DONTWAIT, from);
}
