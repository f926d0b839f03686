/**
 * All sockets of a worker as one: every call goes to the kind that the id belongs to (socketIds.ts), TCP first because it is
 * asked most. An id of no kind answers -EBADF to everything.
 */
import * as socketsNumbers from './sockets.ts';
import type { DatagramSource, ReadyList, SocketKind, Sockets } from './sockets.ts';
import type { Pipes } from './pipe.ts';
import { Refusals } from './refusals.ts';
import type { SocketIds } from './socketIds.ts';
import type { TcpSockets } from './tcp/calls.ts';
import type { TcpInfo } from './tcp/tcpInfo.ts';
import type { UdpSockets } from './udp/calls.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { EBADF, ENOPROTOOPT } = socketsNumbers;

/** Where an id that is none ends up. */
class NoSocket extends Refusals {
  protected override refuse(): number {
    return -EBADF;
  }
}

export class SocketTable implements Sockets {
  readonly ready: ReadyList;
  private readonly tcp: TcpSockets;
  private readonly udp: UdpSockets;
  private readonly pipes: Pipes;
  private readonly tcpEnd: number;
  private readonly udpEnd: number;
  private readonly end: number;
  private readonly none = new NoSocket();

  constructor(ids: SocketIds, ready: ReadyList, tcp: TcpSockets, udp: UdpSockets, pipes: Pipes) {
    this.ready = ready;
    this.tcp = tcp;
    this.udp = udp;
    this.pipes = pipes;
    this.tcpEnd = ids.tcpEnd;
    this.udpEnd = ids.udpEnd;
    this.end = ids.total;
  }

  // hot: per packet
  private of(s: number): SocketKind {
    if (s < this.tcpEnd) return this.tcp;
    if (s < this.udpEnd) return this.udp;
    if (s < this.end) return this.pipes;
    return this.none;
  }

  open(): number {
    return this.tcp.open();
  }

  openPipe(): number {
    return this.pipes.open();
  }

  prepareSources(ip: number, port: number): number {
    return this.tcp.prepareSources(ip, port);
  }

  openDatagram(): number {
    return this.udp.open();
  }

  inUse(): number {
    return this.tcp.inUse() + this.udp.inUse();
  }

  info(s: number, into: TcpInfo): number {
    if (s < this.tcpEnd) return this.tcp.info(s, into);
    return this.isOpen(s) ? -ENOPROTOOPT : -EBADF;
  }

  isOpen(s: number): boolean {
    return this.of(s).isOpen(s);
  }

  bind(s: number, ip: number, port: number): number {
    return this.of(s).bind(s, ip, port);
  }

  listen(s: number, backlog: number): number {
    return this.of(s).listen(s, backlog);
  }

  accept(s: number): number {
    return this.of(s).accept(s);
  }

  connect(s: number, ip: number, port: number): number {
    return this.of(s).connect(s, ip, port);
  }

  // hot: per packet
  read(s: number, buffer: Uint8Array, offset: number, length: number, peek: boolean): number {
    return this.of(s).read(s, buffer, offset, length, peek);
  }

  // hot: per packet
  write(s: number, buffer: Uint8Array, offset: number, length: number): number {
    return this.of(s).write(s, buffer, offset, length);
  }

  // hot: per packet
  sendTo(s: number, buffer: Uint8Array, offset: number, length: number, ip: number, port: number): number {
    return this.of(s).sendTo(s, buffer, offset, length, ip, port);
  }

  // hot: per packet
  receiveFrom(s: number, buffer: Uint8Array, offset: number, length: number, flags: number, from: DatagramSource | null): number {
    return this.of(s).receiveFrom(s, buffer, offset, length, flags, from);
  }

  close(s: number): number {
    return this.of(s).close(s);
  }

  abort(s: number): number {
    return this.of(s).abort(s);
  }

  shutdown(s: number, how: number): number {
    return this.of(s).shutdown(s, how);
  }

  readable(s: number): number {
    return this.of(s).readable(s);
  }

  writable(s: number): number {
    return this.of(s).writable(s);
  }

  queued(s: number): number {
    return this.of(s).queued(s);
  }

  takeError(s: number): number {
    return this.of(s).takeError(s);
  }

  state(s: number): number {
    return this.of(s).state(s);
  }

  localAddress(s: number): number {
    return this.of(s).localAddress(s);
  }

  localPort(s: number): number {
    return this.of(s).localPort(s);
  }

  remoteAddress(s: number): number {
    return this.of(s).remoteAddress(s);
  }

  remotePort(s: number): number {
    return this.of(s).remotePort(s);
  }

  setOption(s: number, level: number, option: number, value: number): number {
    return this.of(s).setOption(s, level, option, value);
  }

  getOption(s: number, level: number, option: number): number {
    return this.of(s).getOption(s, level, option);
  }
}
