/**
 * The socket calls of sockets.ts over UDP. Calls on an id that is not open are -EBADF; nothing throws, and sending and
 * receiving allocate nothing. What a call means is Linux's udp(7), with mTCP's names above it.
 */
import * as steeringNumbers from '../../rings/steering.ts';
import type { StackEnv } from '../env.ts';
import type { Ready } from '../readyList.ts';
import * as socketsNumbers from '../sockets.ts';
import type { DatagramSource, SocketKind } from '../sockets.ts';
import * as statesNumbers from '../tcp/states.ts';
import type { UdpOutput } from './output.ts';
import { UdpPorts } from './ports.ts';
import type { DatagramQueue } from './queue.ts';
import * as tableNumbers from './table.ts';
import type { UdpTable } from './table.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { STEER_UDP } = steeringNumbers;
const {
  EADDRNOTAVAIL,
  EAGAIN,
  EBADF,
  EDESTADDRREQ,
  EINVAL,
  EMFILE,
  EMSGSIZE,
  ENOPROTOOPT,
  ENOTCONN,
  EOPNOTSUPP,
  EPIPE,
  EPOLLERR,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  EPOLLRDHUP,
  MSG_PEEK,
  MSG_TRUNC,
  SHUT_RD,
  SHUT_RDWR,
  SHUT_WR,
  SO_BROADCAST,
  SO_ERROR,
  SO_RCVBUF,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SO_SNDBUF,
  SO_TYPE,
  SOCK_DGRAM,
  SOL_SOCKET,
} = socketsNumbers;
const { CLOSED, ESTABLISHED } = statesNumbers;
const { U_BOUND, U_BROADCAST, U_CONNECTED, U_DEAD, U_FULL, U_IMPLICIT, U_LOCAL_BY_CONNECT, U_OPEN, U_RDSHUT, U_REUSE, U_WRSHUT } =
  tableNumbers;

const BUFFER_MIN = 256;

export class UdpSockets implements SocketKind {
  private readonly env: StackEnv;
  private readonly t: UdpTable;
  private readonly queue: DatagramQueue;
  private readonly output: UdpOutput;
  private readonly ready: Ready;
  private readonly ports: UdpPorts;
  private readonly firstId: number;
  private readonly flags: Int32Array;

  /** `firstId`: the id of socket 0 of the table. */
  constructor(env: StackEnv, t: UdpTable, queue: DatagramQueue, output: UdpOutput, ready: Ready, firstId: number) {
    this.env = env;
    this.t = t;
    this.queue = queue;
    this.output = output;
    this.ready = ready;
    this.ports = new UdpPorts(env, t);
    this.firstId = firstId;
    this.flags = t.flags;
  }

  // hot: per packet
  /** Table index of an open socket, or -1. */
  private index(s: number): number {
    const u = s - this.firstId;
    return u >= 0 && u < this.flags.length && (this.flags[u] & U_OPEN) !== 0 ? u : -1;
  }

  // hot: per packet
  isOpen(s: number): boolean {
    return this.index(s) >= 0;
  }

  open(): number {
    const { config } = this.env;
    const u = this.t.alloc(config.udpRcvbuf, config.udpSndbuf);
    if (u < 0) return -EMFILE;
    this.ready.begin(this.firstId + u);
    return this.firstId + u;
  }

  bind(s: number, ip: number, port: number): number {
    const u = this.index(s);
    if (u < 0) return -EBADF;
    if ((this.flags[u] & U_BOUND) !== 0 || port < 0 || port > 65535) return -EINVAL;
    if (ip !== 0 && ip !== this.env.host.address()) return -EADDRNOTAVAIL;
    const result = port === 0 ? this.ports.choose(u, 0, 0, 0) : this.ports.bind(u, ip, port);
    if (result === 0) this.t.localIp[u] = ip;
    return result;
  }

  listen(s: number): number {
    return this.index(s) < 0 ? -EBADF : -EOPNOTSUPP;
  }

  accept(s: number): number {
    return this.index(s) < 0 ? -EBADF : -EOPNOTSUPP;
  }

  /** Port 0 ends the association (as connect() with AF_UNSPEC does). A second connect replaces the first. */
  connect(s: number, ip: number, port: number): number {
    const u = this.index(s);
    if (u < 0) return -EBADF;
    if (port < 0 || port > 65535) return -EINVAL;
    if (port === 0) return this.disconnect(u);
    const reachable = this.output.reachable(u, ip);
    if (reachable < 0) return reachable;
    const local = this.env.host.address();
    if ((this.flags[u] & U_BOUND) === 0) {
      const result = this.ports.choose(u, local, ip, port);
      if (result < 0) return result;
    } else if (!this.ports.comesHome(u, local, ip, port) || this.ports.connectedTwice(u, ip, port)) {
      return -EADDRNOTAVAIL;
    }
    const t = this.t;
    if (t.localIp[u] === 0) {
      t.localIp[u] = local;
      this.flags[u] |= U_LOCAL_BY_CONNECT;
    }
    t.remoteIp[u] = ip;
    t.ports[u] = (port << 16) | (t.ports[u] & 0xffff);
    t.error[u] = 0;
    this.flags[u] |= U_CONNECTED;
    return 0;
  }

  private disconnect(u: number): number {
    const t = this.t;
    if ((this.flags[u] & U_CONNECTED) === 0) return -ENOTCONN;
    if ((this.flags[u] & U_LOCAL_BY_CONNECT) !== 0) t.localIp[u] = 0;
    t.remoteIp[u] = 0;
    t.ports[u] &= 0xffff;
    this.flags[u] &= ~(U_CONNECTED | U_LOCAL_BY_CONNECT);
    return 0;
  }

  // hot: per packet
  read(s: number, buffer: Uint8Array, offset: number, length: number, peek: boolean): number {
    return this.receiveFrom(s, buffer, offset, length, peek ? MSG_PEEK : 0, null);
  }

  // hot: per packet
  write(s: number, buffer: Uint8Array, offset: number, length: number): number {
    return this.sendTo(s, buffer, offset, length, 0, 0);
  }

  // hot: per packet
  sendTo(s: number, buffer: Uint8Array, offset: number, length: number, ip: number, port: number): number {
    const u = this.index(s);
    if (u < 0) return -EBADF;
    const t = this.t;
    const given = buffer.length - offset;
    // A datagram is whole or not at all.
    if (length < 0 || length > given) return -EINVAL;
    if (t.error[u] !== 0) return -this.takeErrorOf(u);
    if ((this.flags[u] & U_WRSHUT) !== 0) return -EPIPE;
    if (port === 0) {
      if ((this.flags[u] & U_CONNECTED) === 0) return -EDESTADDRREQ;
      return this.output.send(u, buffer, offset, length, t.remoteIp[u], t.ports[u] >>> 16);
    }
    if (port < 0 || port > 65535) return -EINVAL;
    if ((this.flags[u] & U_BOUND) === 0) {
      // Before it takes a port it may fail for reasons of its own.
      if (length > this.output.payloadMax()) return -EMSGSIZE;
      const result = this.ports.choose(u, 0, 0, 0);
      if (result < 0) return result;
    }
    return this.output.send(u, buffer, offset, length, ip, port);
  }

  // hot: per packet
  receiveFrom(s: number, buffer: Uint8Array, offset: number, length: number, flags: number, from: DatagramSource | null): number {
    const u = this.index(s);
    if (u < 0) return -EBADF;
    if ((flags & ~(MSG_PEEK | MSG_TRUNC)) !== 0) return -EOPNOTSUPP;
    if (this.t.error[u] !== 0) return -this.takeErrorOf(u);
    if (this.t.count[u] === 0) return (this.flags[u] & U_RDSHUT) !== 0 ? 0 : -EAGAIN;
    const room = buffer.length - offset;
    const most = length < room ? length : room;
    return this.queue.take(u, buffer, offset, most < 0 ? 0 : most, flags, from);
  }

  private takeErrorOf(u: number): number {
    const error = this.t.error[u];
    this.t.error[u] = 0;
    return error;
  }

  close(s: number): number {
    const u = this.index(s);
    if (u < 0) return -EBADF;
    this.ports.release(u);
    this.queue.purge(u);
    this.t.close(u);
    if (this.ready.end(s)) this.reap(s);
    return 0;
  }

  abort(s: number): number {
    return this.close(s);
  }

  shutdown(s: number, how: number): number {
    const u = this.index(s);
    if (u < 0) return -EBADF;
    if (how !== SHUT_RD && how !== SHUT_WR && how !== SHUT_RDWR) return -EINVAL;
    if ((this.flags[u] & U_CONNECTED) === 0) return -ENOTCONN;
    if (how !== SHUT_WR) this.flags[u] |= U_RDSHUT;
    if (how !== SHUT_RD) this.flags[u] |= U_WRSHUT;
    this.ready.notify(s, this.levels(s));
    return 0;
  }

  /** Bytes of the first datagram that waits. */
  readable(s: number): number {
    const u = this.index(s);
    const n = u < 0 ? 0 : this.queue.firstLength(u);
    return n < 0 ? 0 : n;
  }

  writable(s: number): number {
    const u = this.index(s);
    return u < 0 || (this.flags[u] & (U_FULL | U_WRSHUT)) !== 0 ? 0 : this.output.payloadMax();
  }

  /** What was taken stands in frames already. */
  queued(): number {
    return 0;
  }

  takeError(s: number): number {
    const u = this.index(s);
    return u < 0 ? 0 : this.takeErrorOf(u);
  }

  /** As Linux shows UDP sockets: ESTABLISHED when connected, else CLOSED. */
  state(s: number): number {
    const u = this.index(s);
    return u >= 0 && (this.flags[u] & U_CONNECTED) !== 0 ? ESTABLISHED : CLOSED;
  }

  localAddress(s: number): number {
    const u = this.index(s);
    return u < 0 ? 0 : this.t.localIp[u];
  }

  localPort(s: number): number {
    const u = this.index(s);
    return u < 0 ? 0 : this.t.ports[u] & 0xffff;
  }

  remoteAddress(s: number): number {
    const u = this.index(s);
    return u < 0 ? 0 : this.t.remoteIp[u];
  }

  remotePort(s: number): number {
    const u = this.index(s);
    return u < 0 ? 0 : this.t.ports[u] >>> 16;
  }

  setOption(s: number, level: number, option: number, value: number): number {
    const u = this.index(s);
    if (u < 0) return -EBADF;
    if (level !== SOL_SOCKET) return -ENOPROTOOPT;
    const { config } = this.env;
    if (option === SO_REUSEADDR || option === SO_REUSEPORT) this.flag(u, U_REUSE, value);
    else if (option === SO_BROADCAST) this.flag(u, U_BROADCAST, value);
    // As in Linux the configuration is the most that can be had, and asking for more is no error.
    else if (option === SO_RCVBUF) this.t.rcvbuf[u] = within(value, config.udpRcvbuf);
    else if (option === SO_SNDBUF) this.t.sndbuf[u] = within(value, config.udpSndbuf);
    else return -ENOPROTOOPT;
    return 0;
  }

  private flag(u: number, bit: number, value: number): void {
    if (value !== 0) this.flags[u] |= bit;
    else this.flags[u] &= ~bit;
  }

  getOption(s: number, level: number, option: number): number {
    const u = this.index(s);
    if (u < 0) return -EBADF;
    if (level !== SOL_SOCKET) return -ENOPROTOOPT;
    if (option === SO_ERROR) return this.takeErrorOf(u);
    if (option === SO_TYPE) return SOCK_DGRAM;
    if (option === SO_REUSEADDR || option === SO_REUSEPORT) return (this.flags[u] & U_REUSE) !== 0 ? 1 : 0;
    if (option === SO_BROADCAST) return (this.flags[u] & U_BROADCAST) !== 0 ? 1 : 0;
    if (option === SO_RCVBUF) return this.t.rcvbuf[u];
    return option === SO_SNDBUF ? this.t.sndbuf[u] : -ENOPROTOOPT;
  }

  // hot: per packet
  levels(s: number): number {
    const u = this.index(s);
    if (u < 0) return 0;
    const flags = this.flags[u];
    let events = 0;
    if (this.t.count[u] > 0) events |= EPOLLIN;
    if ((flags & U_RDSHUT) !== 0) events |= EPOLLIN | EPOLLRDHUP;
    if ((flags & U_FULL) === 0) events |= EPOLLOUT;
    if ((flags & (U_RDSHUT | U_WRSHUT)) === (U_RDSHUT | U_WRSHUT)) events |= EPOLLHUP;
    if (this.t.error[u] !== 0) events |= EPOLLERR | EPOLLIN | EPOLLOUT;
    return events;
  }

  reap(s: number): void {
    if ((this.flags[s - this.firstId] & U_DEAD) !== 0) this.t.giveBack(s - this.firstId);
  }

  /** Whether any socket has the local port. */
  bound(port: number): boolean {
    return this.t.first(port) >= 0;
  }

  inUse(): number {
    return this.t.inUse;
  }

  // The stack's side ------------------------------------------------------------------------------------------------
  /** An ICMP error about a datagram of ours (RFC 1122 section 4.1.3.3). Returns whether a connected socket sent it. */
  failed(remoteIp: number, localIp: number, ports: number, errno: number): boolean {
    const u = this.t.connected(remoteIp, localIp, ports);
    if (u < 0) return false;
    if (errno === EMSGSIZE) return true;
    this.t.error[u] = errno;
    this.ready.notify(this.firstId + u, EPOLLERR | EPOLLIN | EPOLLOUT);
    return true;
  }

  /** Other workers get what comes for the ports that were bound; sockets stay as they are. */
  stopServing(): void {
    for (let u = 0; u < this.flags.length; u++) {
      if ((this.flags[u] & (U_BOUND | U_IMPLICIT)) !== U_BOUND) continue;
      this.env.steering.serve(STEER_UDP, this.t.ports[u] & 0xffff, this.env.worker, false);
    }
  }

  destroy(): void {
    for (let u = 0; u < this.flags.length; u++) if ((this.flags[u] & U_OPEN) !== 0) this.close(this.firstId + u);
  }
}

const within = (value: number, most: number): number => (value < BUFFER_MIN ? BUFFER_MIN : value > most ? most : value);
