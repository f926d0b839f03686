/**
 * `flowring/mtcp`: mTCP's API in a stack worker. Names are mTCP's in camelCase without the prefix, arguments
 * stand in its order, `mctx` first. Differences that hold for every call:
 *
 * - Results are >= 0, or a negated errno (`-EAGAIN`): no global errno, no exceptions on the data path.
 * - Sockets are nonblocking. Calls belong to the thread whose `mctx` they are given.
 * - Buffers are Uint8Arrays of the caller, with offset and length as numbers, and never kept after the call.
 *
 * Start here: mctx.ts (the context), calls.ts (sockets), epoll.ts (readiness), loop.ts (who runs the stack).
 */
export { formatAddress, INADDR_ANY, parseAddress } from './address.ts';
export type { SocketAddress } from './address.ts';
export {
  abort,
  accept,
  AF_INET,
  bind,
  close,
  connect,
  getpeername,
  getsockname,
  initRss,
  IPPROTO_TCP,
  IPPROTO_UDP,
  listen,
  MSG_DONTWAIT,
  MSG_PEEK,
  MSG_TRUNC,
  pipe,
  read,
  recv,
  setsockNonblock,
  shutdown,
  SOCK_DGRAM,
  SOCK_STREAM,
  socket,
  write,
} from './calls.ts';
export { getconf, init, setconf } from './configuration.ts';
export type { MtcpConf } from './configuration.ts';
export { recvfrom, sendto } from './datagrams.ts';
export { EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EpollEvents } from './epoll.ts';
export type { EpollEvent } from './epoll.ts';
export { EAFNOSUPPORT, EPROTONOSUPPORT, errnoMessage, errnoName, ESOCKTNOSUPPORT, FlowringError } from './errors.ts';
export { epollCreate, epollCtl, epollWait, nowMs, nowUs, run, stop } from './loop.ts';
export type { EventHandler } from './loop.ts';
export { coreAffinitize, createContext, destroyContext } from './mctx.ts';
export type { Mctx } from './mctx.ts';
export {
  FIONBIO,
  FIONREAD,
  getsockopt,
  setsockopt,
  SIOCOUTQ,
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
  socketIoctl,
  SOL_SOCKET,
  TCP_INFO,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
  TCP_MAXSEG,
  TCP_NODELAY,
  TCP_USER_TIMEOUT,
  TcpInfo,
} from './options.ts';
export type { Linger } from './options.ts';
export { registerSignal, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH } from './signals.ts';
export { IOV_MAX, readv, writev } from './vectors.ts';
export type { IoVector } from './vectors.ts';
export {
  C_APP_BYTES_VERIFIED,
  C_APP_CONNECTIONS,
  C_APP_FAILED,
  C_APP_OPERATIONS,
  C_APP_WRONG_BYTES,
} from '../rings/counters.ts';
export {
  EACCES,
  EADDRINUSE,
  EADDRNOTAVAIL,
  EAGAIN,
  EALREADY,
  EBADF,
  ECONNABORTED,
  ECONNREFUSED,
  ECONNRESET,
  EDESTADDRREQ,
  EEXIST,
  EHOSTUNREACH,
  EINPROGRESS,
  EINTR,
  EINVAL,
  EISCONN,
  EMFILE,
  EMSGSIZE,
  ENETUNREACH,
  ENOENT,
  ENOMEM,
  ENOPROTOOPT,
  ENOTCONN,
  ENOTSOCK,
  EOPNOTSUPP,
  EPERM,
  EPIPE,
  EPOLLERR,
  EPOLLET,
  EPOLLHUP,
  EPOLLIN,
  EPOLLONESHOT,
  EPOLLOUT,
  EPOLLPRI,
  EPOLLRDHUP,
  EPROTO,
  ETIMEDOUT,
  SHUT_RD,
  SHUT_RDWR,
  SHUT_WR,
} from '../stack/sockets.ts';
export type { DatagramSource } from '../stack/sockets.ts';
