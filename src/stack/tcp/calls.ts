/**
 * The socket calls of sockets.ts over TCP. They run between the two halves of a breath: what they ask for is said when the
 * breath ends. No call throws; a wrong id is -EBADF.
 */
import * as counterIndex from '../../rings/counters.ts';
import * as steeringNumbers from '../../rings/steering.ts';
import * as socketsNumbers from '../sockets.ts';
import type { DatagramSource, SocketKind } from '../sockets.ts';
import type { AcceptQueues } from './accept.ts';
import type { Ending } from './ending.ts';
import type { Handshake } from './handshake.ts';
import type { Machine } from './machine.ts';
import type { Output } from './output.ts';
import type { ReceiveBuffer } from './receiveBuffer.ts';
import type { Reset } from './reset.ts';
import type { SendBuffer } from './sendBuffer.ts';
import type { SocketOptions } from './socketOptions.ts';
import { SourcePorts } from './sourcePorts.ts';
import * as statesNumbers from './states.ts';
import * as tcbNumbers from './tcb.ts';
import { idOf, rowOf } from './tcb.ts';
import { fillTcpInfo, type TcpInfo } from './tcpInfo.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { C_TCP_BYTES_OUT } = counterIndex;
const { STEER_TCP } = steeringNumbers;
const {
  EADDRINUSE,
  EADDRNOTAVAIL,
  EAGAIN,
  EALREADY,
  EBADF,
  EINVAL,
  EISCONN,
  ENETUNREACH,
  ENOTCONN,
  EOPNOTSUPP,
  EPIPE,
  EPOLLERR,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  EPOLLRDHUP,
  MSG_PEEK,
  SHUT_RD,
  SHUT_RDWR,
  SHUT_WR,
  SO_ERROR,
  SOL_SOCKET,
} = socketsNumbers;
const { CAN_SEND, CLOSED, FIN_WAIT_2, LISTEN, SYN_RCVD, SYN_SENT, TIME_WAIT } = statesNumbers;
const { O_REUSEADDR, T_BOUND, T_CLAIMED, T_EOF, T_FIN, T_FULL, T_NODELAY, T_OPEN, T_RDSHUT, T_USED, TCB_ROW } = tcbNumbers;

const BACKLOG_MAX = 65535;

export interface CallParts {
  handshake: Handshake;
  queues: AcceptQueues;
  reset: Reset;
  receive: ReceiveBuffer;
  send: SendBuffer;
  output: Output;
  options: SocketOptions;
}

export class TcpSockets implements SocketKind {
  private readonly m: Machine;
  private readonly parts: CallParts;
  private readonly stateOf: Int32Array;
  private readonly flags: Int32Array;
  private readonly rbLen: Int32Array;
  private readonly pfLen: Int32Array;
  private readonly sbLen: Int32Array;
  private readonly errorOf: Int32Array;
  private readonly sourcePorts: SourcePorts;
  private readonly ending: Ending;

  constructor(m: Machine, parts: CallParts, ending: Ending) {
    this.m = m;
    this.ending = ending;
    this.parts = parts;
    this.stateOf = m.tcb.state;
    this.flags = m.tcb.flags;
    this.rbLen = m.tcb.rbLen;
    this.pfLen = m.tcb.pfLen;
    this.sbLen = m.tcb.sbLen;
    this.errorOf = m.tcb.error;
    this.sourcePorts = new SourcePorts(m, parts.handshake);
  }

  // hot: per packet
  /** The row of the open socket `s`, or -1. */
  private row(s: number): number {
    if (s < 0 || s >= this.m.tcb.connections) return -1;
    const c = rowOf(s);
    return (this.flags[c] & T_OPEN) !== 0 ? c : -1;
  }

  // hot: per packet
  isOpen(s: number): boolean {
    return this.row(s) >= 0;
  }

  open(): number {
    const c = this.m.alloc();
    if (c < 0) return c;
    this.flags[c] |= T_OPEN | (this.m.config.nagle ? 0 : T_NODELAY);
    return idOf(c);
  }

  bind(s: number, ip: number, port: number): number {
    const c = this.row(s);
    if (c < 0) return -EBADF;
    if (this.stateOf[c] !== CLOSED || (this.flags[c] & (T_BOUND | T_USED)) !== 0 || port < 0 || port > 65535) return -EINVAL;
    if (ip !== 0 && ip !== this.m.env.host.address()) return -EADDRNOTAVAIL;
    if (port !== 0) {
      if (this.m.boundTo[port] > 0 && !this.shareable(c, port)) return -EADDRINUSE;
      this.m.boundTo[port]++;
      this.flags[c] |= T_BOUND;
    }
    this.m.tcb.localIp[c] = ip | 0;
    this.m.tcb.ports[c] = port;
    return 0;
  }

  /**
   * SO_REUSEADDR as Linux has it: a port that nobody listens on may be bound once more when all who have it asked for that, or
   * only wait in TIME_WAIT. What came through a listener never stands in the way.
   */
  private shareable(c: number, port: number): boolean {
    const t = this.m.tcb;
    if ((t.options[c] & O_REUSEADDR) === 0 || this.m.listenerOf[port] !== 0) return false;
    for (let k = 0; k < t.end; k += TCB_ROW) {
      if ((this.flags[k] & T_BOUND) === 0 || (t.ports[k] & 0xffff) !== port) continue;
      if (this.stateOf[k] !== TIME_WAIT && (t.options[k] & O_REUSEADDR) === 0) return false;
    }
    return true;
  }

  listen(s: number, backlog: number): number {
    const c = this.row(s);
    if (c < 0) return -EBADF;
    const t = this.m.tcb;
    const most = backlog < 1 ? 1 : backlog > BACKLOG_MAX ? BACKLOG_MAX : backlog | 0;
    if (this.stateOf[c] === LISTEN) {
      t.backlog[c] = most;
      return 0;
    }
    if (this.stateOf[c] !== CLOSED || (this.flags[c] & T_USED) !== 0) return -EINVAL;
    let port = t.ports[c];
    if (port === 0) {
      port = this.sourcePorts.free();
      if (port === 0) return -EADDRINUSE;
      this.m.boundTo[port]++;
      this.flags[c] |= T_BOUND;
      t.ports[c] = port;
    }
    if (this.m.listenerOf[port] !== 0) return -EADDRINUSE;
    t.backlog[c] = most;
    this.m.listenerOf[port] = c + 1;
    this.m.env.steering.serve(STEER_TCP, port, this.m.env.worker, true);
    this.flags[c] |= T_CLAIMED;
    this.m.enter(c, LISTEN);
    return 0;
  }

  accept(s: number): number {
    const c = this.row(s);
    if (c < 0) return -EBADF;
    if (this.stateOf[c] !== LISTEN) return -EINVAL;
    const made = this.parts.queues.take(c);
    return made < 0 ? made : idOf(made);
  }

  connect(s: number, ip: number, port: number): number {
    const c = this.row(s);
    if (c < 0) return -EBADF;
    const state = this.stateOf[c];
    if (state === SYN_SENT || state === SYN_RCVD) return -EALREADY;
    if (state === LISTEN) return -EOPNOTSUPP;
    if (state !== CLOSED || (this.flags[c] & T_USED) !== 0) return -EISCONN;
    if (port < 1 || port > 65535 || ip === 0) return -EADDRNOTAVAIL;
    if (this.m.draining || this.noPeer(ip)) return -ENETUNREACH;
    const local = this.m.tcb.localIp[c] || this.m.env.host.address();
    return (this.flags[c] & T_BOUND) !== 0 ? this.sourcePorts.bound(c, local, ip, port) : this.sourcePorts.any(c, local, ip, port);
  }

  prepareSources(ip: number, port: number): number {
    return this.noPeer(ip) ? -ENETUNREACH : this.sourcePorts.prepare(this.m.env.host.address(), ip, port);
  }

  /** Without a route; broadcast and multicast; and ourselves: a connection to there would never leave the stack. */
  private noPeer(ip: number): boolean {
    const { host } = this.m.env;
    return host.nextHop(ip) === 0 || ip >>> 28 >= 14 || ip === host.address();
  }

  // hot: per packet
  read(s: number, buffer: Uint8Array, offset: number, length: number, peek: boolean): number {
    const c = this.row(s);
    if (c < 0) return -EBADF;
    const have = this.rbLen[c] + this.pfLen[c];
    if (have === 0) return this.nothingToRead(c);
    const room = buffer.length - offset;
    const want = length < room ? length : room;
    if (want <= 0) return 0;
    const n = this.parts.receive.read(c, buffer, offset, want, peek);
    if (!peek && this.stateOf[c] !== CLOSED && (this.flags[c] & T_EOF) === 0 && this.parts.output.windowOpened(c)) this.m.ackNow(c);
    return n;
  }

  private nothingToRead(c: number): number {
    const error = this.errorOf[c];
    if (error !== 0) {
      this.errorOf[c] = 0;
      return -error;
    }
    if ((this.flags[c] & (T_EOF | T_RDSHUT)) !== 0) return 0;
    const state = this.stateOf[c];
    if (state === CLOSED && (this.flags[c] & T_USED) !== 0) return 0;
    return state === CLOSED || state === LISTEN ? -ENOTCONN : -EAGAIN;
  }

  // hot: per packet
  write(s: number, buffer: Uint8Array, offset: number, length: number): number {
    const c = this.row(s);
    if (c < 0) return -EBADF;
    if (((1 << this.stateOf[c]) & CAN_SEND) === 0 || (this.flags[c] & T_FIN) !== 0) return this.cannotWrite(c);
    if (this.errorOf[c] !== 0) return this.cannotWrite(c);
    const given = buffer.length - offset;
    if (length > given) length = given;
    if (length <= 0) return 0;
    const room = this.m.tcb.sndBuf[c] - this.sbLen[c];
    const want = length < room ? length : room;
    const n = want > 0 ? this.parts.send.write(c, buffer, offset, want) : 0;
    if (n < length) {
      this.flags[c] |= T_FULL;
      // Nothing of this connection is out whose ACK could wake it: the chunk pool must.
      if (n < want) this.m.starve(c);
      if (n === 0) return -EAGAIN;
    }
    this.m.counted[C_TCP_BYTES_OUT] += n;
    this.m.wantOutput(c);
    return n;
  }

  private cannotWrite(c: number): number {
    const error = this.errorOf[c];
    if (error !== 0) {
      this.errorOf[c] = 0;
      return -error;
    }
    const state = this.stateOf[c];
    if (state === SYN_SENT || state === SYN_RCVD) return -EAGAIN;
    return (this.flags[c] & T_USED) !== 0 ? -EPIPE : -ENOTCONN;
  }

  close(s: number): number {
    const c = this.row(s);
    if (c < 0) return -EBADF;
    const state = this.stateOf[c];
    if (state === LISTEN) return this.closeListener(c);
    const unread = this.rbLen[c] + this.pfLen[c] > 0;
    this.letGo(c);
    if (state === CLOSED || state === SYN_SENT) {
      this.m.free(c);
    } else if ((unread || this.m.tcb.lingerS[c] === 0) && state !== TIME_WAIT) {
      // RFC 1122 section 4.2.2.13: the peer must learn that data was lost. A linger of nothing asks for the same.
      this.parts.reset.cut(c);
      this.m.free(c);
    } else if (state === TIME_WAIT) {
      this.m.purgeReceive(c);
      this.m.letWait(c);
    } else {
      this.ending.sayFin(c);
      if (this.stateOf[c] === FIN_WAIT_2) this.ending.orphan(c);
      else if (this.m.tcb.lingerS[c] > 0) this.ending.linger(c);
    }
    return 0;
  }

  /** The id is the application's no more. */
  private letGo(c: number): void {
    this.flags[c] &= ~T_OPEN;
    this.m.ready.quiet(idOf(c));
  }

  private closeListener(c: number): number {
    this.ending.stopListening(c);
    this.letGo(c);
    this.m.free(c);
    return 0;
  }

  abort(s: number): number {
    const c = this.row(s);
    if (c < 0) return -EBADF;
    const state = this.stateOf[c];
    if (state === LISTEN) return this.closeListener(c);
    this.letGo(c);
    if (state !== CLOSED && state !== SYN_SENT && state !== TIME_WAIT) this.parts.reset.cut(c);
    this.m.free(c);
    return 0;
  }

  shutdown(s: number, how: number): number {
    const c = this.row(s);
    if (c < 0) return -EBADF;
    if (how !== SHUT_RD && how !== SHUT_WR && how !== SHUT_RDWR) return -EINVAL;
    const state = this.stateOf[c];
    if (state === CLOSED || state === LISTEN || state === SYN_SENT) return -ENOTCONN;
    if (how !== SHUT_WR) {
      this.flags[c] |= T_RDSHUT;
      this.m.notify(c, EPOLLIN | EPOLLRDHUP);
    }
    if (how !== SHUT_RD) {
      this.ending.sayFin(c);
      if ((this.flags[c] & T_EOF) !== 0) this.m.notify(c, EPOLLHUP);
    }
    return 0;
  }

  readable(s: number): number {
    const c = this.row(s);
    return c >= 0 ? this.rbLen[c] + this.pfLen[c] : 0;
  }

  writable(s: number): number {
    const c = this.row(s);
    if (c < 0 || ((1 << this.stateOf[c]) & CAN_SEND) === 0 || (this.flags[c] & T_FIN) !== 0) return 0;
    const room = this.m.tcb.sndBuf[c] - this.sbLen[c];
    return room > 0 ? room : 0;
  }

  queued(s: number): number {
    return this.field(s, this.sbLen);
  }

  /** What a column says of an open socket, else 0. */
  private field(s: number, column: Int32Array): number {
    const c = this.row(s);
    return c >= 0 ? column[c] : 0;
  }

  takeError(s: number): number {
    const c = this.row(s);
    if (c < 0) return 0;
    const t = this.m.tcb;
    let error = this.errorOf[c];
    // As Linux does: without a pending error SO_ERROR tells the soft one, once, unless something was acknowledged since.
    if (error === 0 && this.stateOf[c] !== CLOSED && t.softUna[c] === t.sndUna[c]) error = t.softError[c];
    t.softError[c] = 0;
    this.errorOf[c] = 0;
    return error;
  }

  state(s: number): number {
    return s >= 0 && s < this.m.tcb.connections ? this.stateOf[rowOf(s)] : CLOSED;
  }

  localAddress(s: number): number {
    return this.field(s, this.m.tcb.localIp);
  }

  localPort(s: number): number {
    return this.field(s, this.m.tcb.ports) & 0xffff;
  }

  remoteAddress(s: number): number {
    return this.field(s, this.m.tcb.remoteIp);
  }

  remotePort(s: number): number {
    return this.field(s, this.m.tcb.ports) >>> 16;
  }

  setOption(s: number, level: number, option: number, value: number): number {
    const c = this.row(s);
    return c < 0 ? -EBADF : this.parts.options.set(c, level, option, value);
  }

  getOption(s: number, level: number, option: number): number {
    const c = this.row(s);
    if (c < 0) return -EBADF;
    return level === SOL_SOCKET && option === SO_ERROR ? this.takeError(s) : this.parts.options.get(c, level, option);
  }

  info(s: number, into: TcpInfo): number {
    const c = this.row(s);
    if (c < 0) return -EBADF;
    fillTcpInfo(this.m, c, into);
    return 0;
  }

  /** A stream takes no address: Linux ignores it, and so do we. */
  sendTo(s: number, buffer: Uint8Array, offset: number, length: number): number {
    return this.write(s, buffer, offset, length);
  }

  /** A stream's bytes have no sender of their own: `from` stays as it is, as Linux leaves it. */
  receiveFrom(s: number, buffer: Uint8Array, offset: number, length: number, flags: number, _from: DatagramSource | null): number {
    if ((flags & ~MSG_PEEK) !== 0) return -EOPNOTSUPP;
    return this.read(s, buffer, offset, length, (flags & MSG_PEEK) !== 0);
  }

  // hot: per packet
  levels(s: number): number {
    const c = rowOf(s);
    const flags = this.flags[c];
    if ((flags & T_OPEN) === 0) return 0;
    const state = this.stateOf[c];
    if (state === LISTEN) return this.m.tcb.acceptCount[c] > 0 ? EPOLLIN : 0;
    let events = 0;
    if (this.rbLen[c] + this.pfLen[c] > 0 || (flags & (T_EOF | T_RDSHUT)) !== 0) events |= EPOLLIN;
    if ((flags & (T_EOF | T_RDSHUT)) !== 0) events |= EPOLLRDHUP;
    if (((1 << state) & CAN_SEND) !== 0 && (flags & (T_FULL | T_FIN)) === 0) events |= EPOLLOUT;
    if ((flags & (T_EOF | T_FIN)) === (T_EOF | T_FIN)) events |= EPOLLHUP;
    if (state === CLOSED && (flags & T_USED) !== 0) events |= EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLRDHUP;
    if (this.errorOf[c] !== 0) events |= EPOLLERR | EPOLLIN | EPOLLOUT;
    return events;
  }

  reap(s: number): void {
    this.m.reap(rowOf(s));
  }

  inUse(): number {
    return this.m.inUse;
  }

  /** Writers that found no chunk may try again. */
  feedStarved(): void {
    while (this.m.starveHead >= 0 && this.m.chunks.plenty()) {
      const c = this.m.takeStarved();
      if (c < 0) return;
      this.flags[c] &= ~T_FULL;
      this.m.notify(c, EPOLLOUT);
    }
  }
}
