/**
 * The surface of a stack that the APIs stand on (mtcp, later net and frames). A socket is a small non-negative integer, its
 * kind told by its range (socketIds.ts). Calls return a non-negative result, or a negative errno (errors.ts) and never
 * throw. Every call may be made on every kind; what makes no sense there answers its errno, as Linux's would.
 */

import type { TcpInfo } from './tcp/tcpInfo.ts';

// Event bits, mTCP's and Linux's values
export const EPOLLIN = 0x001;
export const EPOLLPRI = 0x002;
export const EPOLLOUT = 0x004;
export const EPOLLERR = 0x008;
export const EPOLLHUP = 0x010;
export const EPOLLRDHUP = 0x2000;
export const EPOLLONESHOT = 1 << 30;
export const EPOLLET = 1 << 31;

// errno values, Linux x86-64, returned negated
export const EPERM = 1;
export const EINTR = 4;
export const EBADF = 9;
export const EAGAIN = 11;
export const ENOMEM = 12;
export const EEXIST = 17;
export const EACCES = 13;
export const EINVAL = 22;
export const EMFILE = 24;
export const EPIPE = 32;
export const EPROTO = 71;
export const ENOTSOCK = 88;
export const EDESTADDRREQ = 89;
export const EMSGSIZE = 90;
export const ENOPROTOOPT = 92;
export const EOPNOTSUPP = 95;
export const EADDRINUSE = 98;
export const EADDRNOTAVAIL = 99;
export const ENETUNREACH = 101;
export const ECONNABORTED = 103;
export const ECONNRESET = 104;
export const EISCONN = 106;
export const ENOTCONN = 107;
export const ETIMEDOUT = 110;
export const ECONNREFUSED = 111;
export const EHOSTUNREACH = 113;
export const EALREADY = 114;
export const EINPROGRESS = 115;
export const ENOENT = 2;

// Flags of receiveFrom, Linux's values
export const MSG_PEEK = 0x02;
export const MSG_TRUNC = 0x20;

export const SHUT_RD = 0;
export const SHUT_WR = 1;
export const SHUT_RDWR = 2;

/**
 * The ready list of one consumer (an epoll instance, or net): sockets whose condition changed, intrusive, no allocation.
 * Consumer 0 is "nobody": events are recorded but nothing is listed.
 */
export interface ReadyList {
  /** New consumer id (1..63), or -EMFILE. */
  openConsumer(): number;
  closeConsumer(consumer: number): void;
  /** Routes a socket's events to a consumer (0: to nobody) and lists it at once if any level event holds. */
  route(socket: number, consumer: number): void;
  consumerOf(socket: number): number;
  /** First socket on the list, or -1. */
  first(consumer: number): number;
  /** The next one after `socket`, or -1. Fetch it before `unlink`. */
  after(socket: number): number;
  /** Takes `socket` off; `previous` is the one before it on the list or -1. Reaps it if it was freed meanwhile. */
  unlink(consumer: number, socket: number, previous: number): void;
  /** Conditions that hold now (level): EPOLLIN … */
  levels(socket: number): number;
  /** Conditions raised since the last takeEdges (edge), and clears them. A freed socket has none. */
  takeEdges(socket: number): number;
}

// Socket options, Linux's numbers
export const SOL_SOCKET = 1;
export const SO_REUSEADDR = 2;
export const SO_TYPE = 3;
export const SO_ERROR = 4;
export const SO_BROADCAST = 6;
export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_KEEPALIVE = 9;
export const SO_LINGER = 13;
export const SO_REUSEPORT = 15;
export const SO_ACCEPTCONN = 30;
export const SOL_TCP = 6;
export const TCP_NODELAY = 1;
export const TCP_MAXSEG = 2;
export const TCP_KEEPIDLE = 4;
export const TCP_KEEPINTVL = 5;
export const TCP_KEEPCNT = 6;
export const TCP_USER_TIMEOUT = 18;
/** What SO_TYPE says. */
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;

/** Who sent a datagram: filled by `receiveFrom`. Made once by the caller. */
export interface DatagramSource {
  /** int32, host order, and port. */
  address: number;
  port: number;
}

/** The calls on one socket: what every kind answers, and what the composite over all kinds (socketTable.ts) hands on. */
export interface SocketCalls {
  /** Whether the application holds this id. */
  isOpen(s: number): boolean;
  /** ip 0 = any of ours; port 0 = chosen at connect or listen. -EADDRINUSE, -EADDRNOTAVAIL, -EINVAL. */
  bind(s: number, ip: number, port: number): number;
  /** -EADDRINUSE, -EINVAL. Publishes this worker as a server of the port in the steering table. */
  listen(s: number, backlog: number): number;
  /** A connection from the accept queue (its columns live, state ≥ ESTABLISHED or already closed by the peer), or -EAGAIN. */
  accept(s: number): number;
  /** UDP: 0 at once; port 0 ends the association. TCP begins to connect: -EINPROGRESS normally. Picks a source port whose hash comes home. -EADDRNOTAVAIL, -ENETUNREACH, -EISCONN, -EALREADY. */
  connect(s: number, ip: number, port: number): number;
  /**
   * Copies up to `length` bytes to `buffer[offset…]`. 0 at end of stream (or length 0), -EAGAIN, -ENOTCONN, or the pending
   * error once (-ECONNRESET, -ETIMEDOUT …). The bytes are there when it returns; the buffer is not kept. `peek` leaves them queued.
   */
  read(s: number, buffer: Uint8Array, offset: number, length: number, peek: boolean): number;
  /** Accepts up to `length` bytes into the send buffer; short writes happen. -EAGAIN, -EPIPE, -ENOTCONN, pending error. */
  write(s: number, buffer: Uint8Array, offset: number, length: number): number;
  /**
   * Graceful: queued data, then FIN. Unread data or linger 0: RST. With a linger of n seconds it returns at once too, and
   * the stack resets what is not acknowledged by then. The id is invalid afterwards.
   */
  close(s: number): number;
  /** RST now. The id is invalid afterwards. */
  abort(s: number): number;
  shutdown(s: number, how: number): number;
  /** Bytes that read would return now. */
  readable(s: number): number;
  /** Bytes that write would take now. */
  writable(s: number): number;
  /** Bytes written that the peer has not acknowledged; of a datagram socket 0, of a pipe what is in it. */
  queued(s: number): number;
  /** Returns and clears SO_ERROR (positive errno, 0 none). */
  takeError(s: number): number;
  /** RFC 9293 state number (tcp/states.ts). */
  state(s: number): number;
  localAddress(s: number): number;
  localPort(s: number): number;
  remoteAddress(s: number): number;
  remotePort(s: number): number;
  /** Sets a socket option of a level, by Linux's numbers. 0, -EBADF, -ENOPROTOOPT, -EINVAL. */
  setOption(s: number, level: number, option: number, value: number): number;
  /** The value of an option, or -EBADF, -ENOPROTOOPT. */
  getOption(s: number, level: number, option: number): number;
  /**
   * Sends `buffer[offset … offset+length]` as one datagram to ip:port, or with port 0 to where the socket is connected.
   * Returns `length`; -EAGAIN (EPOLLOUT follows), -EMSGSIZE, -EDESTADDRREQ, pending error. The buffer is the caller's again
   * when it returns. On a stream it is `write`.
   */
  sendTo(s: number, buffer: Uint8Array, offset: number, length: number, ip: number, port: number): number;
  /**
   * Takes one datagram: copies at most `length` bytes of it, the rest is lost. `from` (if not null) learns the sender.
   * Returns the bytes copied, with MSG_TRUNC in `flags` the datagram's whole length; MSG_PEEK leaves it queued. A datagram
   * may be empty: 0. -EAGAIN when none waits, pending error. On a stream it is `read`, and `from` stays as it is.
   */
  receiveFrom(s: number, buffer: Uint8Array, offset: number, length: number, flags: number, from: DatagramSource | null): number;
}

/** One kind of sockets: its calls, and what the ready list asks. */
export interface SocketKind extends SocketCalls {
  /** Conditions that hold now; none when the application does not hold the id. */
  levels(s: number): number;
  /** A freed id stands on no ready list any more. */
  reap(s: number): void;
}

/** All sockets of a worker. */
export interface Sockets extends SocketCalls {
  /** New unbound TCP socket, or -EMFILE. */
  open(): number;
  /** New pipe: the id of its end to read from, the next one is the end to write to; or -EMFILE. */
  openPipe(): number;
  /**
   * Finds the local ports from which connections to ip:port come home to this worker, and keeps them for `connect`. How many;
   * -ENETUNREACH.
   */
  prepareSources(ip: number, port: number): number;
  /** New unbound UDP socket, or -EMFILE. */
  openDatagram(): number;
  /** Fills `into` with the state of a TCP socket (TCP_INFO). 0, -EBADF, -ENOPROTOOPT (no TCP socket). */
  info(s: number, into: TcpInfo): number;
  /** Connections not yet CLOSED, TIME_WAIT included, listeners, and UDP sockets. */
  inUse(): number;
  readonly ready: ReadyList;
}

/** One core's stack, as its driver sees it. */
export interface Stack {
  readonly sockets: Sockets;
  /**
   * First half of a breath: pull, input, timers. Returns how much happened (frames plus timers), 0 when idle.
   * The clock must have been refreshed.
   */
  begin(): number;
  /** Second half: data that outlives the breath moves to chunks, output, push. Returns frames sent. */
  end(): number;
  /** Whether frames wait in rings or output is pending: the last look before sleeping. */
  pending(): boolean;
  /** Milliseconds until the next timer, 0 when due, -1 when none. */
  nextDeadlineMs(): number;
  /** Stops listening; connections go on, and the port's frames keep coming here. */
  stopListening(): void;
  /** Whether any connection holds data that was not sent, not acknowledged or not read. */
  busy(): boolean;
  /** Stops listening, closes every connection (FIN); `drained()` says when all are gone. */
  drain(): void;
  drained(): boolean;
  /** In the place of a stack that died: ports that it served and this one does not are other workers' from now on. */
  withdrawStaleClaims(): void;
  /** RSTs what is left, returns every frame and all credit. */
  destroy(): void;
}
