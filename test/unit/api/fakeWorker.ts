/**
 * A scripted worker for the API's tests: sockets whose conditions the test sets by hand, the ready list as its contract
 * says (freed sockets stay listed until unlinked), and a driver whose turns run the test's script.
 */
import { CONFIG } from '../stack/trace.ts';
import type { WorkerContext } from '../../../src/api/context.ts';
import { injectContext } from '../../../src/api/context.ts';
import { COUNTERS_BYTES, Counters } from '../../../src/rings/counters.ts';
import { HOST_STATE_BYTES, HostPublisher, HostView } from '../../../src/rings/hostState.ts';
import type { DatagramSource, ReadyList, Sockets } from '../../../src/stack/sockets.ts';
import {
  EAGAIN,
  EBADF,
  EINPROGRESS,
  EINVAL,
  EMFILE,
  ENOPROTOOPT,
  EPOLLIN,
  EPOLLOUT,
  MSG_PEEK,
  SO_ERROR,
  SO_TYPE,
  SOCK_STREAM,
  SOL_SOCKET,
  SOL_TCP,
  TCP_NODELAY,
} from '../../../src/stack/sockets.ts';

export interface FakeSocket {
  open: boolean;
  ip: number;
  port: number;
  peerIp: number;
  peerPort: number;
  inbox: number[];
  eof: boolean;
  outbox: number[];
  room: number;
  extra: number;
  error: number;
  noDelay: boolean;
  backlog: number;
  accepts: number[];
  down: number;
  joined: boolean;
}

/** FIFO list by consumer, in plain arrays: slow and obviously right. */
export class FakeReady implements ReadyList {
  readonly lists = new Map<number, number[]>();
  readonly consumer = new Map<number, number>();
  readonly edges = new Map<number, number>();
  readonly listedOn = new Map<number, number>();
  levelsOf: (s: number) => number = () => 0;
  freed: (s: number) => boolean = () => false;
  reap: (s: number) => void = () => {};

  openConsumer(): number {
    for (let c = 1; c < 64; c++) {
      if (this.lists.has(c)) continue;
      this.lists.set(c, []);
      return c;
    }
    return -EMFILE;
  }

  closeConsumer(c: number): void {
    for (const s of this.lists.get(c) ?? []) this.listedOn.delete(s);
    this.lists.delete(c);
    for (const [s, owner] of this.consumer) if (owner === c) this.consumer.delete(s);
  }

  route(s: number, c: number): void {
    const on = this.listedOn.get(s);
    if (on !== undefined && on !== c) {
      this.lists.get(on)!.splice(this.lists.get(on)!.indexOf(s), 1);
      this.listedOn.delete(s);
    }
    this.consumer.set(s, c);
    if (this.levelsOf(s) !== 0) this.list(s);
  }

  consumerOf(s: number): number {
    return this.consumer.get(s) ?? 0;
  }

  first(c: number): number {
    return this.lists.get(c)?.[0] ?? -1;
  }

  after(s: number): number {
    const list = this.lists.get(this.listedOn.get(s)!)!;
    return list[list.indexOf(s) + 1] ?? -1;
  }

  unlink(c: number, s: number, previous: number): void {
    const list = this.lists.get(c)!;
    const at = list.indexOf(s);
    if (at < 0 || (list[at - 1] ?? -1) !== previous) throw new Error(`unlink(${c}, ${s}, ${previous}): list is ${list.join(' ')}`);
    list.splice(at, 1);
    this.listedOn.delete(s);
    if (this.freed(s)) this.reap(s);
  }

  levels(s: number): number {
    return this.levelsOf(s);
  }

  takeEdges(s: number): number {
    const e = this.edges.get(s) ?? 0;
    this.edges.set(s, 0);
    return e;
  }

  raise(s: number, bits: number): void {
    this.edges.set(s, (this.edges.get(s) ?? 0) | bits);
    this.list(s);
  }

  private list(s: number): void {
    const c = this.consumerOf(s);
    if (c === 0 || this.listedOn.has(s)) return;
    this.lists.get(c)!.push(s);
    this.listedOn.set(s, c);
  }
}

export class FakeSockets implements Sockets {
  readonly ready = new FakeReady();
  readonly all: FakeSocket[] = [];
  readonly calls: string[] = [];

  constructor() {
    this.ready.levelsOf = (s) => this.levels(s);
    this.ready.freed = (s) => this.all[s]?.open === false;
  }

  private levels(s: number): number {
    const f = this.all[s];
    if (f === undefined || !f.open) return 0;
    return f.extra | (f.inbox.length > 0 || f.eof || f.accepts.length > 0 ? EPOLLIN : 0) | (f.room > 0 ? EPOLLOUT : 0);
  }

  /** A connected socket with an empty inbox and `room` bytes of send buffer. */
  connected(room = 0): number {
    const s = this.open();
    Object.assign(this.all[s]!, { ip: 0xc0000201 | 0, port: 80, peerIp: 0xc0000202 | 0, peerPort: 40000, room });
    return s;
  }

  arrive(s: number, ...bytes: number[]): void {
    this.receive(s, bytes);
  }

  receive(s: number, bytes: ArrayLike<number>): void {
    const { inbox } = this.all[s]!;
    for (let i = 0; i < bytes.length; i++) inbox.push(bytes[i]!);
    this.ready.raise(s, EPOLLIN);
  }

  set(s: number, change: Partial<FakeSocket>, raised: number): void {
    Object.assign(this.all[s]!, change);
    this.ready.raise(s, raised);
  }

  private live(s: number): FakeSocket | undefined {
    return this.all[s]?.open ? this.all[s] : undefined;
  }

  open(): number {
    const fresh: FakeSocket = {
      open: true,
      ip: 0,
      port: 0,
      peerIp: 0,
      peerPort: 0,
      inbox: [],
      eof: false,
      outbox: [],
      room: 0,
      extra: 0,
      error: 0,
      noDelay: false,
      backlog: 0,
      accepts: [],
      down: -1,
      joined: false,
    };
    this.all.push(fresh);
    return this.all.length - 1;
  }

  prepareSources(ip: number, port: number): number {
    this.calls.push(`prepareSources ${ip} ${port}`);
    return 7;
  }

  openPipe(): number {
    return -EMFILE;
  }

  openDatagram(): number {
    return this.open();
  }

  bind(s: number, ip: number, port: number): number {
    const f = this.live(s);
    if (f === undefined) return -EBADF;
    f.ip = ip;
    f.port = port;
    return 0;
  }

  listen(s: number, backlog: number): number {
    const f = this.live(s);
    if (f === undefined) return -EBADF;
    f.backlog = backlog;
    return 0;
  }

  accept(s: number): number {
    const f = this.live(s);
    return f === undefined ? -EBADF : (f.accepts.shift() ?? -EAGAIN);
  }

  connect(s: number, ip: number, port: number): number {
    const f = this.live(s);
    if (f === undefined) return -EBADF;
    f.peerIp = ip;
    f.peerPort = port;
    return -EINPROGRESS;
  }

  read(s: number, buffer: Uint8Array, offset: number, length: number, peek: boolean): number {
    const f = this.live(s);
    if (f === undefined) return -EBADF;
    if (f.inbox.length === 0) return f.eof ? 0 : -EAGAIN;
    const taken = f.inbox.slice(0, length);
    buffer.set(taken, offset);
    if (!peek) f.inbox.splice(0, taken.length);
    return taken.length;
  }

  write(s: number, buffer: Uint8Array, offset: number, length: number): number {
    const f = this.live(s);
    if (f === undefined) return -EBADF;
    const n = Math.min(length, f.room);
    if (n === 0 && length > 0) return -EAGAIN;
    for (let i = 0; i < n; i++) f.outbox.push(buffer[offset + i]!);
    f.room -= n;
    return n;
  }

  close(s: number): number {
    const f = this.live(s);
    if (f === undefined) return -EBADF;
    f.open = false;
    this.ready.edges.set(s, 0);
    this.calls.push(`close ${s}`);
    return 0;
  }

  abort(s: number): number {
    const f = this.live(s);
    if (f === undefined) return -EBADF;
    f.open = false;
    this.calls.push(`abort ${s}`);
    return 0;
  }

  shutdown(s: number, how: number): number {
    const f = this.live(s);
    if (f === undefined) return -EBADF;
    if (how < 0 || how > 2) return -EINVAL;
    f.down = how;
    return 0;
  }

  readable(s: number): number {
    return this.live(s)?.inbox.length ?? 0;
  }

  writable(s: number): number {
    return this.live(s)?.room ?? 0;
  }

  queued(s: number): number {
    return this.live(s)?.outbox.length ?? 0;
  }

  takeError(s: number): number {
    const f = this.all[s]!;
    const e = f.error;
    f.error = 0;
    return e;
  }

  state(): number {
    return 0;
  }

  localAddress(s: number): number {
    return this.all[s]!.ip;
  }

  localPort(s: number): number {
    return this.all[s]!.port;
  }

  remoteAddress(s: number): number {
    return this.all[s]!.peerIp;
  }

  remotePort(s: number): number {
    return this.all[s]!.peerPort;
  }

  info(): number {
    return -ENOPROTOOPT;
  }

  isOpen(s: number): boolean {
    return this.live(s) !== undefined;
  }

  setOption(s: number, level: number, option: number, value: number): number {
    if (level !== SOL_TCP || option !== TCP_NODELAY) return -ENOPROTOOPT;
    this.all[s]!.noDelay = value !== 0;
    return 0;
  }

  getOption(s: number, level: number, option: number): number {
    if (level === SOL_SOCKET && option === SO_ERROR) return this.takeError(s);
    if (level === SOL_SOCKET && option === SO_TYPE) return SOCK_STREAM;
    if (level !== SOL_TCP || option !== TCP_NODELAY) return -ENOPROTOOPT;
    return this.all[s]!.noDelay ? 1 : 0;
  }

  sendTo(s: number, buffer: Uint8Array, offset: number, length: number, ip: number, port: number): number {
    this.calls.push(`sendTo ${s} ${ip} ${port}`);
    return this.write(s, buffer, offset, length);
  }

  receiveFrom(s: number, buffer: Uint8Array, offset: number, length: number, flags: number, from: DatagramSource | null): number {
    if (from !== null) {
      from.address = this.all[s]!.peerIp;
      from.port = this.all[s]!.peerPort;
    }
    return this.read(s, buffer, offset, length, (flags & MSG_PEEK) !== 0);
  }

  inUse(): number {
    return this.all.filter((f) => f.open).length;
  }
}

export class FakeWorker implements WorkerContext {
  readonly worker: number;
  readonly workers = 4;
  readonly cpu: number;
  readonly sockets = new FakeSockets();
  readonly host: HostView;
  readonly counters = new Counters(new SharedArrayBuffer(COUNTERS_BYTES), 0);
  readonly clock = new Int32Array(2);
  readonly listened: string[] = [];
  /** waitMs of each turn, in order. */
  readonly turns: number[] = [];
  /** What happens in the next turns; a turn that rests lets its whole waitMs pass when its step returns nothing. */
  readonly script: (() => void)[] = [];
  handler: (() => boolean | void) | null = null;
  asked = false;
  readonly handlers = new Map<number, (signal: number) => void>();
  signalled = false;
  readonly config = CONFIG;
  configFile: string | null = null;
  stopped = 0;
  woken = 0;

  constructor(worker = 0, cpu = -1) {
    this.worker = worker;
    this.cpu = cpu;
    const block = new SharedArrayBuffer(HOST_STATE_BYTES);
    new HostPublisher(block, 0).setHost({ address: 0xc0000201 | 0, prefix: 24, gateway: 0, mtu: 1500, macHi: 0, macLo: 0, key: 1 });
    this.host = new HostView(block, 0);
    injectContext(this);
  }

  setHandler(handler: (() => boolean | void) | null): void {
    this.handler = handler;
  }

  turn(waitMs: number): number {
    this.turns.push(waitMs);
    const step = this.script.shift();
    if (step === undefined) this.clock[1] = (this.clock[1]! + waitMs) | 0;
    else step();
    return step === undefined ? 0 : 1;
  }

  interrupted(): boolean {
    return this.asked;
  }

  onSignal(signal: number, handler: ((signal: number) => void) | null): void {
    if (handler === null) this.handlers.delete(signal);
    else this.handlers.set(signal, handler);
  }

  takeSignal(): boolean {
    const came = this.signalled;
    this.signalled = false;
    return came;
  }

  /** What the worker does between breaths when a signal came. */
  signal(n: number): void {
    this.handlers.get(n)?.(n);
    this.signalled = this.handlers.has(n);
  }

  stop(): void {
    this.stopped++;
    this.asked = true;
  }

  wake(): void {
    this.woken++;
  }

  listening(address: number, port: number): void {
    this.listened.push(`${address >>> 0}:${port}`);
  }
}
