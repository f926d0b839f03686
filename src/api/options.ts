/**
 * Socket options and ioctl. Levels, names and numbers are Linux's (socket(7), tcp(7)); which kind of socket has which option
 * stands in stack/tcp/socketOptions.ts and stack/udp/calls.ts. An option that is not there is -ENOPROTOOPT: none is taken and
 * ignored.
 */
import { EBADF, ENOTSOCK, EINVAL, EOPNOTSUPP, SO_LINGER, SO_TYPE, SOL_SOCKET, SOL_TCP } from '../stack/sockets.ts';
import { TcpInfo } from '../stack/tcp/tcpInfo.ts';
import { isSocket } from './epoll.ts';
import type { Mctx } from './mctx.ts';

export {
  SO_ACCEPTCONN,
  SO_BROADCAST,
  SO_ERROR,
  SO_KEEPALIVE,
  SO_LINGER,
  SO_RCVBUF,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SO_SNDBUF,
  SO_TYPE,
  SOL_SOCKET,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
  TCP_MAXSEG,
  TCP_NODELAY,
  TCP_USER_TIMEOUT,
} from '../stack/sockets.ts';
export { TcpInfo } from '../stack/tcp/tcpInfo.ts';
export const TCP_INFO = 11;

/** Bytes that wait to be read; of a datagram socket, of its next datagram. The same as SIOCINQ. */
export const FIONREAD = 0x541b;
export const FIONBIO = 0x5421;
/** Bytes written that the peer has not acknowledged. */
export const SIOCOUTQ = 0x5411;

/** `struct linger`: whether close lingers, and for how many seconds at most, 0 to 65,535. */
export interface Linger {
  onoff: number;
  linger: number;
}

/**
 * Value of an option, 0 and more. SO_ERROR is the pending error as a positive errno, 0 for none, and clears it.
 *
 * Two options fill `into`, made once by the program, and return 0: TCP_INFO a `TcpInfo`, SO_LINGER a `Linger` (without it the
 * seconds, -1 when off). -EBADF, -ENOPROTOOPT, -ENOTSOCK (a pipe), -EINVAL (TCP_INFO without a TcpInfo).
 *
 * @example
 * const info = new TcpInfo();
 * if (getsockopt(mctx, s, IPPROTO_TCP, TCP_INFO, info) === 0) console.log(info.tcpi_rtt, 'µs');
 */
export function getsockopt(mctx: Mctx, s: number, level: number, option: number, into?: Linger | TcpInfo): number {
  const { sockets } = mctx;
  if (!isSocket(sockets, s)) return -EBADF;
  if (level === SOL_TCP && option === TCP_INFO) {
    const type = sockets.getOption(s, SOL_SOCKET, SO_TYPE);
    if (type < 0) return type;
    return into instanceof TcpInfo ? sockets.info(s, into) : -EINVAL;
  }
  const value = sockets.getOption(s, level, option);
  if (level !== SOL_SOCKET || option !== SO_LINGER || into === undefined || value < -1) return value;
  const linger = into as Linger;
  linger.onoff = value < 0 ? 0 : 1;
  linger.linger = value < 0 ? 0 : value;
  return 0;
}

/**
 * Sets an option to an integer; SO_LINGER also to a `Linger`. Buffer sizes are cut to what the configuration allows. 0, -EBADF,
 * -ENOPROTOOPT, -ENOTSOCK, -EINVAL (out of range, no integer), -EISCONN (TCP_MAXSEG of a connection).
 */
export function setsockopt(mctx: Mctx, s: number, level: number, option: number, value: number | Linger): number {
  if (!isSocket(mctx.sockets, s)) return -EBADF;
  let number = value;
  if (typeof number === 'object' && number !== null && level === SOL_SOCKET && option === SO_LINGER) {
    if (number.onoff !== 0 && number.linger < 0) return -EINVAL;
    number = number.onoff === 0 ? -1 : number.linger;
  }
  if (typeof number !== 'number' || (number | 0) !== number) return -EINVAL;
  return mctx.sockets.setOption(s, level, option, number);
}

/**
 * FIONREAD and SIOCOUTQ: so many bytes. FIONBIO with `value` not 0: 0, sockets are nonblocking; with 0: -EOPNOTSUPP, there is
 * no blocking mode. Other requests, and SIOCOUTQ of a pipe: -EINVAL. -EBADF.
 */
export function socketIoctl(mctx: Mctx, s: number, request: number, value = 1): number {
  const { sockets } = mctx;
  if (!isSocket(sockets, s)) return -EBADF;
  if (request === FIONREAD) return sockets.readable(s);
  if (request === SIOCOUTQ) return sockets.getOption(s, SOL_SOCKET, SO_TYPE) === -ENOTSOCK ? -EINVAL : sockets.queued(s);
  if (request !== FIONBIO) return -EINVAL;
  return value !== 0 ? 0 : -EOPNOTSUPP;
}
