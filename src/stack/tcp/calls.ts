/**
 * The socket calls of sockets.ts over TCP. They run between the two halves of a breath: what they ask for is said when the
 * breath ends. No call throws; a wrong id is -EBADF.
 */
import { C_TCP_BYTES_OUT } from '../../rings/counters.ts';
import { STEER_TCP } from '../../rings/steering.ts';
import {
  EADDRINUSE,
  EADDRNOTAVAIL,
  EAGAIN,
  EALREADY,
  EBADF,
  ECONNABORTED,
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
} from '../sockets.ts';
import type { DatagramSource, SocketKind } from '../sockets.ts';
import type { AcceptQueues } from './accept.ts';
import type { Handshake } from './handshake.ts';
import type { Machine } from './machine.ts';
import type { Output } from './output.ts';
import type { ReceiveBuffer } from './receiveBuffer.ts';
import type { Reset } from './reset.ts';
import type { SendBuffer } from './sendBuffer.ts';
import type { SocketOptions } from './socketOptions.ts';
import { SourcePorts } from './sourcePorts.ts';
import {
  CAN_SEND,
  CLOSE_WAIT,
  CLOSED,
  ESTABLISHED,
  FIN_WAIT_1,
  FIN_WAIT_2,
  LAST_ACK,
  LISTEN,
  SYN_RCVD,
  SYN_SENT,
  TIME_WAIT,
} from './states.ts';
import {
  O_REUSEADDR,
  T_BOUND,
  T_CLAIMED,
  T_DEAD,
  T_EOF,
  T_FIN,
  T_FULL,
  T_LINGERING,
  T_NODELAY,
  T_OPEN,
  T_QUEUED,
  T_RDSHUT,
  T_USED,
} from './tcb.ts';
import { fillTcpInfo, type TcpInfo } from './tcpInfo.ts';

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

  constructor(m: Machine, parts: CallParts) {
    this.m = m;
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
  isOpen(s: number): boolean {
    return s >= 0 && s < this.flags.length && (this.flags[s] & T_OPEN) !== 0;
  }

  open(): number {
    const s = this.m.alloc();
    if (s >= 0) this.flags[s] |= T_OPEN | (this.m.config.nagle ? 0 : T_NODELAY);
    return s;
  }

  bind(s: number, ip: number, port: number): number {
    if (!this.isOpen(s)) return -EBADF;
    if (this.stateOf[s] !== CLOSED || (this.flags[s] & (T_BOUND | T_USED)) !== 0 || port < 0 || port > 65535) return -EINVAL;
    if (ip !== 0 && ip !== this.m.env.host.address()) return -EADDRNOTAVAIL;
    if (port !== 0) {
      if (this.m.boundTo[port] > 0 && !this.shareable(s, port)) return -EADDRINUSE;
      this.m.boundTo[port]++;
      this.flags[s] |= T_BOUND;
    }
    this.m.tcb.localIp[s] = ip | 0;
    this.m.tcb.ports[s] = port;
    return 0;
  }

  /**
   * SO_REUSEADDR as Linux has it: a port that nobody listens on may be bound once more when all who have it asked for that, or
   * only wait in TIME_WAIT. What came through a listener never stands in the way.
   */
  private shareable(s: number, port: number): boolean {
    const t = this.m.tcb;
    if ((t.options[s] & O_REUSEADDR) === 0 || this.m.listenerOf[port] !== 0) return false;
    for (let c = 0; c < t.connections; c++) {
      if ((this.flags[c] & T_BOUND) === 0 || (t.ports[c] & 0xffff) !== port) continue;
      if (this.stateOf[c] !== TIME_WAIT && (t.options[c] & O_REUSEADDR) === 0) return false;
    }
    return true;
  }

  listen(s: number, backlog: number): number {
    if (!this.isOpen(s)) return -EBADF;
    const t = this.m.tcb;
    const most = backlog < 1 ? 1 : backlog > BACKLOG_MAX ? BACKLOG_MAX : backlog | 0;
    if (this.stateOf[s] === LISTEN) {
      t.backlog[s] = most;
      return 0;
    }
    if (this.stateOf[s] !== CLOSED || (this.flags[s] & T_USED) !== 0) return -EINVAL;
    let port = t.ports[s];
    if (port === 0) {
      port = this.sourcePorts.free();
      if (port === 0) return -EADDRINUSE;
      this.m.boundTo[port]++;
      this.flags[s] |= T_BOUND;
      t.ports[s] = port;
    }
    if (this.m.listenerOf[port] !== 0) return -EADDRINUSE;
    t.backlog[s] = most;
    this.m.listenerOf[port] = s + 1;
    this.m.env.steering.serve(STEER_TCP, port, this.m.env.worker, true);
    this.flags[s] |= T_CLAIMED;
    this.m.enter(s, LISTEN);
    return 0;
  }

  accept(s: number): number {
    if (!this.isOpen(s)) return -EBADF;
    if (this.stateOf[s] !== LISTEN) return -EINVAL;
    return this.parts.queues.take(s);
  }

  connect(s: number, ip: number, port: number): number {
    if (!this.isOpen(s)) return -EBADF;
    const state = this.stateOf[s];
    if (state === SYN_SENT || state === SYN_RCVD) return -EALREADY;
    if (state === LISTEN) return -EOPNOTSUPP;
    if (state !== CLOSED || (this.flags[s] & T_USED) !== 0) return -EISCONN;
    if (port < 1 || port > 65535 || ip === 0) return -EADDRNOTAVAIL;
    if (this.m.draining || this.noPeer(ip)) return -ENETUNREACH;
    const local = this.m.tcb.localIp[s] || this.m.env.host.address();
    return (this.flags[s] & T_BOUND) !== 0 ? this.sourcePorts.bound(s, local, ip, port) : this.sourcePorts.any(s, local, ip, port);
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
    if (!this.isOpen(s)) return -EBADF;
    const have = this.rbLen[s] + this.pfLen[s];
    if (have === 0) return this.nothingToRead(s);
    const room = buffer.length - offset;
    const want = length < room ? length : room;
    if (want <= 0) return 0;
    const n = this.parts.receive.read(s, buffer, offset, want, peek);
    if (!peek && this.stateOf[s] !== CLOSED && (this.flags[s] & T_EOF) === 0 && this.parts.output.windowOpened(s)) this.m.ackNow(s);
    return n;
  }

  private nothingToRead(s: number): number {
    const error = this.errorOf[s];
    if (error !== 0) {
      this.errorOf[s] = 0;
      return -error;
    }
    if ((this.flags[s] & (T_EOF | T_RDSHUT)) !== 0) return 0;
    const state = this.stateOf[s];
    if (state === CLOSED && (this.flags[s] & T_USED) !== 0) return 0;
    return state === CLOSED || state === LISTEN ? -ENOTCONN : -EAGAIN;
  }

  // hot: per packet
  write(s: number, buffer: Uint8Array, offset: number, length: number): number {
    if (!this.isOpen(s)) return -EBADF;
    if (((1 << this.stateOf[s]) & CAN_SEND) === 0 || (this.flags[s] & T_FIN) !== 0) return this.cannotWrite(s);
    if (this.errorOf[s] !== 0) return this.cannotWrite(s);
    const given = buffer.length - offset;
    if (length > given) length = given;
    if (length <= 0) return 0;
    const room = this.m.tcb.sndBuf[s] - this.sbLen[s];
    const want = length < room ? length : room;
    const n = want > 0 ? this.parts.send.write(s, buffer, offset, want) : 0;
    if (n < length) {
      this.flags[s] |= T_FULL;
      // Nothing of this connection is out whose ACK could wake it: the chunk pool must.
      if (n < want) this.m.starve(s);
      if (n === 0) return -EAGAIN;
    }
    this.m.counted[C_TCP_BYTES_OUT] += n;
    this.m.wantOutput(s);
    return n;
  }

  private cannotWrite(s: number): number {
    const error = this.errorOf[s];
    if (error !== 0) {
      this.errorOf[s] = 0;
      return -error;
    }
    const state = this.stateOf[s];
    if (state === SYN_SENT || state === SYN_RCVD) return -EAGAIN;
    return (this.flags[s] & T_USED) !== 0 ? -EPIPE : -ENOTCONN;
  }

  close(s: number): number {
    if (!this.isOpen(s)) return -EBADF;
    const state = this.stateOf[s];
    if (state === LISTEN) return this.closeListener(s);
    const unread = this.rbLen[s] + this.pfLen[s] > 0;
    this.letGo(s);
    if (state === CLOSED || state === SYN_SENT) {
      this.m.free(s);
    } else if ((unread || this.m.tcb.lingerS[s] === 0) && state !== TIME_WAIT) {
      // RFC 1122 section 4.2.2.13: the peer must learn that data was lost. A linger of nothing asks for the same.
      this.parts.reset.cut(s);
      this.m.free(s);
    } else if (state === TIME_WAIT) {
      this.m.purgeReceive(s);
      this.m.letWait(s);
    } else {
      this.sayFin(s);
      if (this.stateOf[s] === FIN_WAIT_2) this.orphan(s);
      else if (this.m.tcb.lingerS[s] > 0) this.linger(s);
    }
    return 0;
  }

  /** Nobody waits in close(): the stack gives the rest so long, then RST. */
  private linger(s: number): void {
    this.flags[s] |= T_LINGERING;
    this.m.endIn(s, this.m.tcb.lingerS[s] * 1000);
  }

  /** The id is the application's no more. */
  private letGo(s: number): void {
    this.flags[s] &= ~T_OPEN;
    this.m.ready.quiet(s);
  }

  private orphan(s: number): void {
    this.m.endIn(s, this.m.config.finWait2Ms);
  }

  private closeListener(s: number): number {
    this.stopListening(s);
    this.letGo(s);
    this.m.free(s);
    return 0;
  }

  private stopListening(s: number): void {
    this.m.listenerOf[this.m.tcb.ports[s] & 0xffff] = 0;
    this.parts.queues.abandon(s);
  }

  /** A FIN after what is queued (RFC 9293 section 3.10.4), by state; nothing where one was said already. */
  private sayFin(s: number): void {
    const state = this.stateOf[s];
    if ((this.flags[s] & T_FIN) !== 0) return;
    // In SYN_RCVD our SYN may still be lost: the FIN waits for ESTABLISHED.
    if (state === ESTABLISHED) this.m.enter(s, FIN_WAIT_1);
    else if (state === CLOSE_WAIT) this.m.enter(s, LAST_ACK);
    else if (state !== SYN_RCVD) return;
    this.flags[s] |= T_FIN;
    this.m.wantOutput(s);
  }

  abort(s: number): number {
    if (!this.isOpen(s)) return -EBADF;
    const state = this.stateOf[s];
    if (state === LISTEN) return this.closeListener(s);
    this.letGo(s);
    if (state !== CLOSED && state !== SYN_SENT && state !== TIME_WAIT) this.parts.reset.cut(s);
    this.m.free(s);
    return 0;
  }

  shutdown(s: number, how: number): number {
    if (!this.isOpen(s)) return -EBADF;
    if (how !== SHUT_RD && how !== SHUT_WR && how !== SHUT_RDWR) return -EINVAL;
    const state = this.stateOf[s];
    if (state === CLOSED || state === LISTEN || state === SYN_SENT) return -ENOTCONN;
    if (how !== SHUT_WR) {
      this.flags[s] |= T_RDSHUT;
      this.m.notify(s, EPOLLIN | EPOLLRDHUP);
    }
    if (how !== SHUT_RD) {
      this.sayFin(s);
      if ((this.flags[s] & T_EOF) !== 0) this.m.notify(s, EPOLLHUP);
    }
    return 0;
  }

  readable(s: number): number {
    return this.isOpen(s) ? this.rbLen[s] + this.pfLen[s] : 0;
  }

  writable(s: number): number {
    if (!this.isOpen(s) || ((1 << this.stateOf[s]) & CAN_SEND) === 0 || (this.flags[s] & T_FIN) !== 0) return 0;
    const room = this.m.tcb.sndBuf[s] - this.sbLen[s];
    return room > 0 ? room : 0;
  }

  queued(s: number): number {
    return this.isOpen(s) ? this.sbLen[s] : 0;
  }

  takeError(s: number): number {
    if (!this.isOpen(s)) return 0;
    const t = this.m.tcb;
    let error = this.errorOf[s];
    // As Linux does: without a pending error SO_ERROR tells the soft one, once, unless something was acknowledged since.
    if (error === 0 && this.stateOf[s] !== CLOSED && t.softUna[s] === t.sndUna[s]) error = t.softError[s];
    t.softError[s] = 0;
    this.errorOf[s] = 0;
    return error;
  }

  state(s: number): number {
    return s >= 0 && s < this.stateOf.length ? this.stateOf[s] : CLOSED;
  }

  localAddress(s: number): number {
    return this.isOpen(s) ? this.m.tcb.localIp[s] : 0;
  }

  localPort(s: number): number {
    return this.isOpen(s) ? this.m.tcb.ports[s] & 0xffff : 0;
  }

  remoteAddress(s: number): number {
    return this.isOpen(s) ? this.m.tcb.remoteIp[s] : 0;
  }

  remotePort(s: number): number {
    return this.isOpen(s) ? this.m.tcb.ports[s] >>> 16 : 0;
  }

  setOption(s: number, level: number, option: number, value: number): number {
    return this.isOpen(s) ? this.parts.options.set(s, level, option, value) : -EBADF;
  }

  getOption(s: number, level: number, option: number): number {
    if (!this.isOpen(s)) return -EBADF;
    return level === SOL_SOCKET && option === SO_ERROR ? this.takeError(s) : this.parts.options.get(s, level, option);
  }

  info(s: number, into: TcpInfo): number {
    if (!this.isOpen(s)) return -EBADF;
    fillTcpInfo(this.m, s, into);
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
    const flags = this.flags[s];
    if ((flags & T_OPEN) === 0) return 0;
    const state = this.stateOf[s];
    if (state === LISTEN) return this.m.tcb.acceptCount[s] > 0 ? EPOLLIN : 0;
    let events = 0;
    if (this.rbLen[s] + this.pfLen[s] > 0 || (flags & (T_EOF | T_RDSHUT)) !== 0) events |= EPOLLIN;
    if ((flags & (T_EOF | T_RDSHUT)) !== 0) events |= EPOLLRDHUP;
    if (((1 << state) & CAN_SEND) !== 0 && (flags & (T_FULL | T_FIN)) === 0) events |= EPOLLOUT;
    if ((flags & (T_EOF | T_FIN)) === (T_EOF | T_FIN)) events |= EPOLLHUP;
    if (state === CLOSED && (flags & T_USED) !== 0) events |= EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLRDHUP;
    if (this.errorOf[s] !== 0) events |= EPOLLERR | EPOLLIN | EPOLLOUT;
    return events;
  }

  reap(s: number): void {
    this.m.reap(s);
  }

  inUse(): number {
    return this.m.inUse;
  }

  /** Writers that found no chunk may try again. */
  feedStarved(): void {
    while (this.m.starveHead >= 0 && this.m.chunks.plenty()) {
      const s = this.m.takeStarved();
      if (s < 0) return;
      this.flags[s] &= ~T_FULL;
      this.m.notify(s, EPOLLOUT);
    }
  }

  /**
   * Listeners stop, and what waits to be accepted is reset; connections go on. With `unserve` the port's steering changes at
   * once, so that new connections find other workers; without it connections of several workers that all stop stay theirs.
   */
  stopAllListening(unserve: boolean): void {
    this.m.draining = true;
    for (let s = 0; s < this.stateOf.length; s++) {
      if (this.stateOf[s] !== LISTEN || (this.flags[s] & T_DEAD) !== 0) continue;
      this.stopListening(s);
      if (unserve) {
        this.m.env.steering.serve(STEER_TCP, this.m.tcb.ports[s] & 0xffff, this.m.env.worker, false);
        this.flags[s] &= ~T_CLAIMED;
      }
      this.m.enter(s, CLOSED);
    }
  }

  /** Listeners stop, connections get a FIN; what nobody closes by itself is treated as an orphan. */
  drain(): void {
    this.stopAllListening(true);
    for (let s = 0; s < this.stateOf.length; s++) {
      const state = this.stateOf[s];
      if (state === CLOSED || (this.flags[s] & T_DEAD) !== 0) continue;
      if (state === SYN_SENT) {
        this.m.terminate(s, ECONNABORTED);
      } else {
        this.sayFin(s);
        if (this.m.tcb.lifeAt[s] === 0) this.orphan(s);
      }
    }
  }

  /** RST for everything that lives, all columns back. */
  destroy(): void {
    for (let s = 0; s < this.stateOf.length; s++) {
      const state = this.stateOf[s];
      if (state === CLOSED) {
        // Reset before anybody accepted it, it waits in its queue.
        if ((this.flags[s] & (T_OPEN | T_QUEUED)) !== 0) this.m.free(s);
        continue;
      }
      if (state === LISTEN) this.m.listenerOf[this.m.tcb.ports[s] & 0xffff] = 0;
      else if (state !== SYN_SENT && state !== TIME_WAIT) this.parts.reset.cut(s);
      this.m.free(s);
    }
  }
}
