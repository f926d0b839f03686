/**
 * One server and 16 clients, each with an address and a stack of its own, all on this thread, over one in-memory switch: connections
 * are made, all kept, used at random, and ended. What it takes is the time of both ends, and the memory of both is this process's.
 *
 *   node dist/bench/connectionsRig.js CONNECTIONS SECONDS ROUNDS WARM [KEY=VALUE…]
 *
 * Prints one line of JSON (`Census`). Exit code 1 when a byte was wrong, a connection failed, or not everything came home.
 */
import { randomBytes } from 'node:crypto';
import { EpollEvents, EpollTable } from '../src/api/epoll.ts';
import { loadConfig } from '../src/main/config/load.ts';
import { openSwitch } from '../src/main/open.ts';
import { C_RX_PACKETS } from '../src/rings/counters.ts';
import { EAGAIN, EINPROGRESS, EPOLLIN, EPOLLOUT, type Sockets } from '../src/stack/sockets.ts';
import { flowSlots } from '../src/stack/flowTable.ts';
import { readyWords } from '../src/stack/readyList.ts';
import { socketIds } from '../src/stack/socketIds.ts';
import { TCB_ROW } from '../src/stack/tcp/tcb.ts';
import { InlineHost } from './inlineHost.ts';

/** What the rig answers. Bytes are of both ends unless said otherwise; rates a second and times in ns are of processor time. */
export interface Census {
  connections: number;
  clients: number;
  /** Connections a second while each further tenth of them was made. */
  setup: number[];
  /** Resident bytes of the process before the first connection, with all of them, and bytes of its JavaScript heap. */
  residentBefore: number;
  residentAfter: number;
  heapBefore: number;
  heapAfter: number;
  /** Bytes of one end of one connection, by what holds them. */
  regions: Record<string, number>;
  /** Chunks in use while all are idle. */
  chunksHeld: number;
  /** By round: echoes a second, ns a packet received by either end, packets an echo. */
  echo: number[];
  nsPerPacket: number[];
  packetsPerEcho: number[];
  /** Seconds until the last connection had gone at both ends. */
  teardownSeconds: number;
}

const CLIENTS = 16;
const SERVER_PORTS = 4;
const FIRST_PORT = 7000;
const UNDER_WAY = 256;
const OPENING = 64;
const SIZE = 64;
const DECADES = 10;
const SLICE = 32;
const BASE = 0xc6120001 | 0;
const LISTENER = -1;

const [connections, seconds, rounds, warm] = process.argv.slice(2, 6).map(Number) as [number, number, number, number];
const sets = process.argv.slice(6);

/** Configuration of a host with room for `n` connections. */
const configOf = (n: number) =>
  loadConfig({
    code: { layout: 'inline', workers: 1, address: '198.18.0.1/24', tcpMaxConnections: Math.max(1024, n + 64), tcpTimeWaitMs: 100 },
    sets,
  }).values;

/** 32 bits, as the stack's own threads take them. */
function randomWords(): () => number {
  const pool = new Int32Array(new ArrayBuffer(16384));
  let left = 0;
  return () => {
    if (left === 0) {
      randomBytes(pool.byteLength).copy(new Uint8Array(pool.buffer));
      left = pool.length;
    }
    return pool[--left]!;
  };
}

/** Milliseconds of processor time of this process: it never waits, so on a processor of its own they are the clock's. */
function worked(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** A host and one epoll instance of its program. */
class Station {
  readonly host: InlineHost;
  readonly sockets: Sockets;
  readonly events = new EpollEvents(256);
  private readonly epolls: EpollTable;
  private readonly ep: number;
  private readonly consumer: number;

  constructor(host: InlineHost) {
    this.host = host;
    this.sockets = host.stack.sockets;
    this.epolls = new EpollTable(this.sockets);
    this.ep = this.epolls.create();
    this.consumer = this.epolls.consumerOf(this.ep);
  }

  watch(operation: number, s: number, events: number, data: number): void {
    const result = this.epolls.control(this.ep, operation, s, { events, data });
    if (result < 0) throw new Error(`epollCtl: ${result}`);
  }

  collect(): number {
    return this.epolls.collect(this.consumer, this.events, this.events.max);
  }
}

class Rig {
  readonly server: Station;
  readonly clients: Station[];
  private readonly sw: ReturnType<typeof openSwitch>;
  private readonly hosts: InlineHost[];
  private readonly message = Buffer.alloc(SIZE);
  private readonly buffer = Buffer.alloc(65536);
  /** By client: the sockets that are up, and how many. */
  private readonly up: Int32Array[];
  private readonly ups = new Int32Array(CLIENTS);
  private readonly busy: Uint8Array[];
  private opening = 0;
  private begun = 0;
  private made = 0;
  accepted = 0;
  echoes = 0;
  private asking = false;
  private random = 0x2545f491;

  constructor() {
    const each = Math.ceil(connections / CLIENTS);
    const [large, small] = [configOf(connections), configOf(each)];
    this.sw = openSwitch(
      small,
      Array.from({ length: CLIENTS + 1 }, (_, i) => `host${i}`),
    );
    const bits = randomWords();
    this.hosts = Array.from({ length: CLIENTS + 1 }, (_, i) => new InlineHost(i === 0 ? large : small, this.sw, i, (BASE + i) | 0, bits));
    const [server, ...clients] = this.hosts.map((h) => new Station(h));
    this.server = server!;
    this.clients = clients;
    this.up = clients.map(() => new Int32Array(each + 64));
    this.busy = clients.map(() => new Uint8Array(Math.max(1024, each + 64)));
    for (let i = 0; i < SERVER_PORTS; i++) this.listen(FIRST_PORT + i);
    this.server.host.app = () => this.serve();
    clients.forEach((c, i) => {
      c.host.app = () => this.ask(c, i);
    });
  }

  private listen(port: number): void {
    const { sockets } = this.server;
    const l = sockets.open();
    if (sockets.bind(l, 0, port) !== 0 || sockets.listen(l, 4096) !== 0) throw new Error(`listen on ${port}`);
    this.server.watch(1, l, EPOLLIN, LISTENER);
  }

  private serve(): boolean {
    const { sockets, events } = this.server;
    const n = this.server.collect();
    for (let i = 0; i < n; i++) {
      const s = events.socket[i]!;
      if (events.data[i] === LISTENER) {
        for (let c = sockets.accept(s); c >= 0; c = sockets.accept(s)) {
          this.accepted++;
          this.server.watch(1, c, EPOLLIN, c);
        }
        continue;
      }
      const got = sockets.read(s, this.buffer, 0, this.buffer.length, false);
      if (got > 0) {
        if (sockets.write(s, this.buffer, 0, got) !== got) throw new Error('a send buffer is full');
      } else if (got !== -EAGAIN) {
        sockets.close(s);
        this.accepted--;
      }
    }
    return n > 0;
  }

  private next(n: number): number {
    this.random ^= this.random << 13;
    this.random ^= this.random >>> 17;
    this.random ^= this.random << 5;
    return (this.random & 0x7fffffff) % n;
  }

  private ask(c: Station, k: number): boolean {
    let did = this.connect(c, k);
    const { sockets, events } = c;
    const n = c.collect();
    for (let i = 0; i < n; i++) {
      const s = events.socket[i]!;
      if (events.data[i]! < 0) {
        if (sockets.takeError(s) !== 0) throw new Error('a connection was not made');
        this.up[k]![this.ups[k]!++] = s;
        this.made++;
        this.opening--;
        c.watch(3, s, EPOLLIN, s);
        continue;
      }
      const got = sockets.read(s, this.buffer, 0, this.buffer.length, false);
      if (got === -EAGAIN) continue;
      if (got !== SIZE || this.buffer.compare(this.message, 0, SIZE, 0, SIZE) !== 0) throw new Error(`a wrong answer: ${got}`);
      this.busy[k]![s] = 0;
      this.echoes++;
      did = true;
      if (this.asking) this.request();
    }
    return did || n > 0;
  }

  /** Begins connections of client `k` until enough of all clients are under way. */
  private connect(c: Station, k: number): boolean {
    let did = false;
    while (this.opening < OPENING && this.begun < this.wanted && this.begun % CLIENTS === k) {
      const s = c.sockets.open();
      const port = FIRST_PORT + (Math.floor(this.begun / CLIENTS) % SERVER_PORTS);
      const result = s < 0 ? s : c.sockets.connect(s, this.server.host.address, port);
      if (result !== -EINPROGRESS) throw new Error(`connect: ${result}`);
      c.watch(1, s, EPOLLIN | EPOLLOUT, -1 - s);
      this.begun++;
      this.opening++;
      did = true;
    }
    return did;
  }

  private wanted = 0;

  /** A message on a connection taken at random. */
  private request(): void {
    for (;;) {
      const k = this.next(CLIENTS);
      if (this.ups[k] === 0) continue;
      const s = this.up[k]![this.next(this.ups[k]!)]!;
      if (this.busy[k]![s] !== 0) continue;
      this.busy[k]![s] = 1;
      if (this.clients[k]!.sockets.write(s, this.message, 0, SIZE) !== SIZE) throw new Error('a send buffer is full');
      return;
    }
  }

  /** One breath of every host. */
  private turn(): void {
    const now = performance.now();
    for (const h of this.hosts) h.setClock(now);
    for (const h of this.hosts) h.breathe();
  }

  run(until: () => boolean, limitMs: number): void {
    const limit = performance.now() + limitMs;
    while (!until()) {
      for (let i = 0; i < SLICE; i++) this.turn();
      if (performance.now() > limit) throw new Error(`not done after ${limitMs} ms: ${this.made} made, ${this.accepted} accepted`);
    }
  }

  /** Makes connections until there are `n`; returns how many a second. */
  grow(n: number): number {
    const [before, from] = [this.made, worked()];
    this.wanted = n;
    this.run(() => this.made === n && this.accepted === n, 200_000);
    return (n - before) / ((worked() - from) / 1000);
  }

  packets(): number {
    return this.hosts.reduce((n, h) => n + h.counters.v[C_RX_PACKETS]!, 0);
  }

  begin(): void {
    this.message.fill(0x5a);
    for (let i = 0; i < SIZE; i++) this.message[i] = (i * 7) & 255;
    this.asking = true;
    for (let i = 0; i < Math.min(UNDER_WAY, Math.floor(connections * 0.64)); i++) this.request();
  }

  /** [echoes a second, ns a packet, packets an echo] */
  measure(ms: number): [number, number, number] {
    const [echoes, packets, from] = [this.echoes, this.packets(), worked()];
    this.run(() => worked() - from >= ms, 20 * ms + 60_000);
    const took = worked() - from;
    const [e, p] = [this.echoes - echoes, this.packets() - packets];
    if (e === 0) throw new Error('nothing came back');
    return [(e / took) * 1000, (took * 1e6) / p, p / e];
  }

  /** The last answers come, then the delayed acknowledgments. */
  settle(): void {
    this.asking = false;
    const from = performance.now();
    this.run(() => performance.now() - from > 300, 60_000);
  }

  chunksHeld(): number {
    return this.hosts.reduce((n, h) => n + h.machine.chunks.chunks - h.machine.chunks.free, 0);
  }

  /** Clients close all; returns when nobody has a connection any more, TIME_WAIT included. */
  close(): void {
    for (let k = 0; k < CLIENTS; k++) {
      const { sockets } = this.clients[k]!;
      for (let i = 0; i < this.ups[k]!; i++) {
        sockets.close(this.up[k]![i]!);
        // Not all FINs of a million in one breath: as a program does that closes while it serves.
        if (i % 64 === 63) this.turn();
      }
    }
    this.run(() => this.server.sockets.inUse() === SERVER_PORTS && this.clients.every((c) => c.sockets.inUse() === 0), 120_000);
  }

  /** What did not come home, by name. */
  audit(): string[] {
    const wrong: string[] = [];
    this.hosts.forEach((h, i) => {
      const m = h.machine;
      if (m.flows.used !== 0) wrong.push(`host ${i}: ${m.flows.used} connections in the table`);
      if (m.chunks.free !== m.chunks.chunks) wrong.push(`host ${i}: ${m.chunks.chunks - m.chunks.free} chunks`);
      if (m.wheel.count !== 0) wrong.push(`host ${i}: ${m.wheel.count} timers`);
    });
    for (const h of this.hosts) h.end();
    for (let i = 0; i < 3; i++) for (const h of this.hosts) h.bringHome(false);
    for (const h of this.hosts) h.bringHome(true);
    for (let i = 0; i < 3; i++) for (const h of this.hosts) h.bringHome(false);
    const frames = this.sw.settle();
    if (frames.free !== frames.total) wrong.push(`${frames.total - frames.free} of ${frames.total} frames`);
    return wrong;
  }
}

/** Bytes of one end of a connection, from the sizes of what holds it. */
function regions(n: number): Record<string, number> {
  const ids = socketIds(loadIds(n)).total;
  const epoll = 16 * 2 ** Math.ceil(Math.log2(Math.max(1024, n)));
  return {
    row: TCB_ROW * 4,
    'flow table': (flowSlots(n + 64) * 8) / n,
    'ready list': (readyWords(ids) * 4) / n,
    epoll: epoll / n,
    timers: 0,
    chunks: 0,
  };
}

const loadIds = (n: number) => ({ maxConnections: n, maxDatagrams: 0, pipes: 0 }) as Parameters<typeof socketIds>[0];

function main(): void {
  const rig = new Rig();
  const memory = () => {
    (globalThis as { gc?: () => void }).gc?.();
    return process.memoryUsage();
  };
  // Code is there and compiled, and what is shared between connections exists.
  rig.grow(Math.min(OPENING, connections));
  const before = memory();
  const setup: number[] = [];
  for (let d = 1; d <= DECADES; d++) setup.push(rig.grow(Math.max(OPENING, Math.floor((connections * d) / DECADES))));
  rig.settle();
  const after = memory();
  const chunksHeld = rig.chunksHeld();
  rig.begin();
  rig.measure(Math.max(100, warm * 1000));
  const rounded: [number, number, number][] = [];
  for (let i = 0; i < rounds; i++) rounded.push(rig.measure(seconds * 1000));
  rig.settle();
  const from = worked();
  rig.close();
  const teardownSeconds = (worked() - from) / 1000;
  const wrong = rig.audit();
  const census: Census = {
    connections,
    clients: CLIENTS,
    setup,
    residentBefore: before.rss,
    residentAfter: after.rss,
    heapBefore: before.heapUsed,
    heapAfter: after.heapUsed,
    regions: regions(connections),
    chunksHeld,
    echo: rounded.map((r) => r[0]),
    nsPerPacket: rounded.map((r) => r[1]),
    packetsPerEcho: rounded.map((r) => r[2]),
    teardownSeconds,
  };
  process.stdout.write(`${JSON.stringify(census)}\n`);
  for (const w of wrong) process.stderr.write(`connections: did not come home: ${w}\n`);
  process.exitCode = wrong.length > 0 ? 1 : 0;
}

main();
