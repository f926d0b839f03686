/**
 * A stack under test, read like a packet trace: `recv` puts a segment on its rx ring and runs a breath, `sends` says what
 * must come out of its tx ring next, `silent` that nothing does. The test plays the broker over real rings, on a virtual clock.
 *
 * Numbers are relative: the peer's sequence numbers to its SYN (0), ours to our SYN. Checksums of everything sent are
 * verified, and `end()` checks that every frame came home and that received = delivered + dropped.
 */
import * as assert from 'uvu/assert';
import { createArena, SharedArena } from '../../../src/rings/arena.ts';
import { WORK_CSUM } from '../../../src/rings/bursts.ts';
import { formatControl, planControl, ThreadRecord } from '../../../src/rings/control.ts';
import { C_DROP, C_RX_DELIVERED, C_RX_PACKETS, Counters, dropsByName, dropsTotal } from '../../../src/rings/counters.ts';
import { auditFrames, createFrameTable, FrameTable } from '../../../src/rings/frameTable.ts';
import { HostPublisher, HostView, NB_REACHABLE } from '../../../src/rings/hostState.ts';
import {
  D_DATA,
  D_FLAGS_GSO,
  D_FRAME,
  D_REGION_GEN,
  D_SEGS_VLAN,
  D_TOTAL,
  DESC_WORDS,
  F_TRAIN,
  HEADROOM,
  OWNER_BROKER,
  OWNER_FREE,
  OWNER_RING,
  OWNER_RING_OF,
} from '../../../src/rings/layout.ts';
import { BrokerPort, createPortRings, planPortRings, WorkerPort } from '../../../src/rings/portRings.ts';
import { STEER_RETA, Steering } from '../../../src/rings/steering.ts';
import { arenaBytes } from '../../../src/stack/arenaPlan.ts';
import type { StackConfig } from '../../../src/stack/env.ts';
import type { Sockets, Stack } from '../../../src/stack/sockets.ts';
import { assembleStack } from '../../../src/stack/stack.ts';
import { idOf, rowOf, TCB_ROW } from '../../../src/stack/tcp/tcb.ts';
import { setStateChecks } from '../../../src/stack/tcp/machine.ts';
import type { Machine } from '../../../src/stack/tcp/machine.ts';
import { createTwinBursts } from '../../../src/wire/burst/twin.ts';
import { fold, pseudoSum4, sum16 } from '../../../src/wire/checksum.ts';
import { flowHash } from '../../../src/wire/flow.ts';
import { setIpv4 } from '../../../src/wire/ipv4.ts';
import { ACK, FIN, PSH, RST, SYN } from '../../../src/wire/tcp.ts';

export { ACK, FIN, PSH, RST, SYN };
export const PEER = 0xc0000201 | 0;
export const OURS = 0xc0000202 | 0;
export const PEER_PORT = 40000;
export const PEER_ISS = 0x7fff_fff0 | 0;

export const CONFIG: StackConfig = {
  maxConnections: 64,
  maxDatagrams: 16,
  udpRcvbuf: 65536,
  udpSndbuf: 65536,
  rcvbuf: 65536,
  sndbuf: 65536,
  chunkBytes: 2048,
  chunks: 512,
  burst: 16,
  burstBytes: 65536,
  mss: 1460,
  timeWaitMs: 60000,
  rtoMinMs: 200,
  rtoInitialMs: 1000,
  rtoMaxMs: 60000,
  delayedAckMs: 40,
  synRetries: 5,
  retries: 8,
  finWait2Ms: 5000,
  idleTimeoutMs: 0,
  pipes: 4,
  pipeBytes: 10240,
  nagle: false,
  trainLinksMax: 1,
  coalesce: false,
  windowScale: 0,
  timestamps: false,
  sack: true,
};

export interface Segment {
  flags: number;
  seq: number;
  ack: number;
  win: number;
  len: number;
  data: Buffer;
  mss: number;
  ws: number;
  sackOk: boolean;
  /** SACK blocks, relative edges. */
  sack: readonly (readonly [number, number])[];
  ts: readonly [number, number] | null;
  /** Links, and the size of a segment where they hold several. */
  segs: number;
  size: number;
  port: number;
}

export interface Received {
  seq?: number;
  ack?: number;
  win?: number;
  data?: Uint8Array | string;
  len?: number;
  mss?: number;
  ws?: number;
  sackOk?: boolean;
  /** SACK blocks of our sequence numbers. */
  sack?: readonly (readonly [number, number])[];
  ts?: readonly [number, number];
  /** Peer's port and ours. */
  port?: number;
  to?: number;
  src?: number;
  dst?: number;
  options?: Uint8Array;
  /** Sequence numbers as they are, not relative. */
  absolute?: boolean;
  badChecksum?: boolean;
  multicast?: boolean;
}

export interface TraceOptions {
  config?: Partial<StackConfig>;
  workers?: number;
  frames?: number;
  frameBytes?: number;
  trainBytesMax?: number;
  neighbour?: boolean;
  /** Frames the worker is granted at most; default 64. */
  credit?: number;
  seed?: number;
}

export const name = (flags: number): string =>
  ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG'].filter((_, i) => (flags & (1 << i)) !== 0).join('|') || 'none';

const pattern = (from: number, n: number): Buffer =>
  Buffer.from(Array.from({ length: n }, (_, i) => (((from + i) * 7) ^ ((from + i) >> 8)) & 255));
export { pattern };

export class Trace {
  readonly stack: Stack;
  readonly machine: Machine;
  readonly sockets: Sockets;
  readonly counters: Counters;
  readonly clock: Int32Array;
  readonly broker: BrokerPort;
  readonly port: WorkerPort;
  readonly frames: FrameTable;
  readonly steering: Steering;
  readonly host: HostPublisher;
  readonly config: StackConfig;
  readonly control: SharedArrayBuffer;
  readonly arena: SharedArena;
  /** Runs between the halves of every breath. */
  app: () => void = () => {};
  readonly out: Segment[] = [];
  /** Frames sent that are no TCP, whole, checksums completed. */
  readonly others: Buffer[] = [];
  readonly ladder: string[] = [];
  /** ISS we chose, as the peer saw it. */
  iss = 0;
  listener = -1;
  localPort = 80;
  private readonly free: number[] = [];
  private readonly credit: number;
  private granted = 0;

  constructor(o: TraceOptions = {}) {
    setStateChecks(true);
    const workers = o.workers ?? 1;
    const count = o.frames ?? 256;
    this.config = { ...CONFIG, ...o.config };
    const cp = planControl(1 + workers, workers);
    this.control = new SharedArrayBuffer(cp.bytes);
    formatControl(this.control, cp);
    Steering.format(this.control, cp.steeringAt, workers, STEER_RETA);
    this.steering = new Steering(this.control, cp.steeringAt);
    this.host = new HostPublisher(this.control, cp.hostAt);
    this.host.setHost({ address: OURS, prefix: 24, gateway: 0, mtu: 1500, macHi: 0x02000000, macLo: 2, key: 99 });
    if (o.neighbour !== false) this.host.put(PEER, NB_REACHABLE, 0x02000000, 1);
    const record = new ThreadRecord(this.control, 1);
    this.counters = new Counters(this.control, record.countersAt);
    this.clock = record.clock();
    this.clock[0] = 5_000_000;
    this.clock[1] = 5_000;
    this.frames = new FrameTable(createFrameTable(0, count, o.frameBytes ?? 2048), new SharedArrayBuffer(count * (o.frameBytes ?? 2048)));
    const sizes = { rx: 64, tx: 256, grant: 256, redirect: 16 };
    const plan = planPortRings(workers, count, sizes);
    const rings = createPortRings(plan, count, sizes);
    this.broker = new BrokerPort(rings, plan, 0);
    this.port = new WorkerPort(rings, plan, 0, this.frames);
    for (let f = count - 1; f >= 0; f--) this.free.push(f);
    this.credit = o.credit ?? 64;
    let x = o.seed ?? 1234567;
    const arena = new SharedArena(createArena(arenaBytes(this.config)));
    this.arena = arena;
    const assembled = assembleStack({
      worker: 0,
      port: this.port,
      arena,
      bursts: createTwinBursts(this.frames, arena.memory),
      txWork: WORK_CSUM,
      txTrainBytesMax: o.trainBytesMax ?? 1514,
      clock: this.clock,
      host: new HostView(this.control, cp.hostAt),
      steering: this.steering,
      flowHash,
      counters: this.counters,
      random: () => {
        x = (Math.imul(x, 1103515245) + 12345) | 0;
        return x ^ (x >>> 15);
      },
      config: this.config,
    });
    this.stack = assembled.stack;
    this.machine = assembled.machine;
    this.sockets = this.stack.sockets;
    this.grant();
  }

  private grant(): void {
    while (this.granted < this.credit && this.free.length > 0 && this.broker.grant.room(1) > 0) {
      const f = this.free.pop()!;
      this.frames.owner[f] = OWNER_RING;
      this.broker.grant.words[this.broker.grant.slot(0)] = f;
      this.broker.grant.put(1);
      this.granted++;
    }
    this.broker.flush();
  }

  /** A frame off the test's free list. */
  takeFrame(): number {
    const f = this.free.pop();
    if (f === undefined) throw new Error('the test has no frame left');
    this.frames.owner[f] = OWNER_BROKER;
    return f;
  }

  home(f: number): void {
    this.frames.generation[f] = (this.frames.generation[f]! + 1) & 0xffff;
    this.frames.owner[f] = OWNER_FREE;
    this.free.push(f);
  }

  /** Writes a segment into a frame and returns its descriptor. */
  build(flags: number, s: Received): Int32Array {
    const f = this.takeFrame();
    const v = this.frames.view;
    const eth = this.frames.offset[f]! + HEADROOM;
    const data = typeof s.data === 'string' ? Buffer.from(s.data) : (s.data ?? pattern((s.seq ?? 1) - 1, s.len ?? 0));
    const options = s.options ?? this.options(flags, s);
    const tcp = eth + 34;
    const size = 20 + options.length;
    v.setInt32(eth, s.multicast ? 0x01005e00 : 0x02000000);
    v.setUint16(eth + 4, 2);
    v.setInt32(eth + 6, 0x02000000);
    v.setUint16(eth + 10, 1);
    v.setUint16(eth + 12, 0x0800);
    const src = s.src ?? PEER;
    const dst = s.dst ?? OURS;
    setIpv4(v, eth + 14, 20 + size + data.length, 1, 6, src, dst);
    v.setUint16(tcp, s.port ?? PEER_PORT);
    v.setUint16(tcp + 2, s.to ?? this.localPort);
    v.setInt32(tcp + 4, (s.seq ?? 0) + (s.absolute ? 0 : PEER_ISS));
    v.setInt32(tcp + 8, (flags & ACK) !== 0 ? (s.ack ?? 0) + (s.absolute ? 0 : this.iss) : 0);
    v.setInt32(tcp + 12, (size << 26) | (flags << 16) | (s.win ?? 65535));
    v.setInt32(tcp + 16, 0);
    this.frames.u8.set(options, tcp + 20);
    this.frames.u8.set(data, tcp + size);
    let sum = ~fold(sum16(v, tcp, size + data.length, pseudoSum4(src, dst, 6, size + data.length))) & 0xffff;
    if (s.badChecksum) sum ^= 0x5555;
    v.setUint16(tcp + 16, sum);
    const total = 34 + size + data.length;
    const d = new Int32Array(DESC_WORDS);
    d[D_FRAME] = f;
    d[D_DATA] = (HEADROOM << 16) | total;
    d[D_TOTAL] = total;
    d[D_REGION_GEN] = this.frames.generation[f]! & 0xffff;
    d[D_SEGS_VLAN] = 1;
    this.frames.next[f] = -1;
    this.frames.length[f] = total;
    this.ladder.push(`  > ${name(flags)} seq ${s.seq ?? 0} ack ${s.ack ?? 0} len ${data.length} win ${s.win ?? 65535}`);
    return d;
  }

  private options(flags: number, s: Received): Uint8Array {
    const o: number[] = [];
    const word = (x: number): number[] => [x >>> 24, (x >>> 16) & 255, (x >>> 8) & 255, x & 255];
    if (s.mss !== undefined || (flags & SYN) !== 0) o.push(2, 4, (s.mss ?? 1460) >> 8, (s.mss ?? 1460) & 255);
    if (s.sackOk) o.push(1, 1, 4, 2);
    if (s.ws !== undefined) o.push(1, 3, 3, s.ws);
    if (s.ts !== undefined) o.push(1, 1, 8, 10, ...word(s.ts[0]), ...word(s.ts[1]));
    if (s.sack !== undefined) {
      const n = s.absolute ? 0 : this.iss;
      o.push(1, 1, 5, 2 + s.sack.length * 8, ...s.sack.flatMap(([l, r]) => [...word(l + n), ...word(r + n)]));
    }
    return Uint8Array.from(o);
  }

  /** Puts a ready descriptor on the rx ring. */
  put(d: Int32Array): void {
    this.frames.owner[d[D_FRAME]!] = OWNER_RING;
    const s = this.broker.rx.slot(0);
    this.broker.rx.room(1);
    for (let i = 0; i < DESC_WORDS; i++) this.broker.rx.words[s + i] = d[i]!;
    this.broker.rx.put(1);
    this.broker.flush();
  }

  queue(flags: number, s: Received = {}): this {
    this.put(this.build(flags, s));
    return this;
  }

  recv(flags: number, s: Received = {}): this {
    this.queue(flags, s);
    return this.breath();
  }

  breath(): this {
    this.grant();
    this.stack.begin();
    this.app();
    this.stack.end();
    this.port.flush();
    this.harvest();
    return this;
  }

  /** What the broker would do: take what was sent, take frames home. */
  private harvest(): void {
    const { tx, recycle } = this.broker;
    for (let n = tx.readyNow(); n > 0; n--) {
      const at = tx.slot(0);
      const f = tx.words[at + D_FRAME]!;
      if (this.protocol(at) === 6) this.out.push(this.parse(at));
      else this.others.push(this.whole(at));
      for (let g = f; g >= 0; ) {
        assert.is(this.frames.owner[g], OWNER_RING_OF, 'a frame in the tx ring belongs to the worker’s rings');
        const next = this.frames.next[g]!;
        this.granted--;
        this.home(g);
        g = next;
      }
      tx.take(1);
    }
    for (let n = recycle.readyNow(); n > 0; n--) {
      this.home(recycle.words[recycle.slot(0)]!);
      recycle.take(1);
    }
    this.broker.flush();
  }

  private protocol(at: number): number {
    const w = this.broker.tx.words;
    return this.frames.u8[this.frames.offset[w[at + D_FRAME]!]! + (w[at + D_DATA]! >>> 16) + 23]!;
  }

  private whole(at: number): Buffer {
    const w = this.broker.tx.words;
    const eth = this.frames.offset[w[at + D_FRAME]!]! + (w[at + D_DATA]! >>> 16);
    assert.is(w[at + D_TOTAL], w[at + D_DATA]! & 0xffff, 'one frame');
    return Buffer.from(this.frames.u8.slice(eth, eth + w[at + D_TOTAL]!));
  }

  /** Puts a frame of these bytes on the rx ring. */
  queueBytes(bytes: Uint8Array, flags = 0): this {
    const f = this.takeFrame();
    this.frames.u8.set(bytes, this.frames.offset[f]! + HEADROOM);
    this.frames.next[f] = -1;
    this.frames.length[f] = bytes.length;
    const d = new Int32Array(DESC_WORDS);
    d[D_FRAME] = f;
    d[D_DATA] = (HEADROOM << 16) | bytes.length;
    d[D_TOTAL] = bytes.length;
    d[D_REGION_GEN] = this.frames.generation[f]! & 0xffff;
    d[D_FLAGS_GSO] = flags;
    d[D_SEGS_VLAN] = 1;
    this.put(d);
    return this;
  }

  private parse(at: number): Segment {
    const w = this.broker.tx.words;
    const v = this.frames.view;
    const f = w[at + D_FRAME]!;
    const linear = w[at + D_DATA]! & 0xffff;
    const eth = this.frames.offset[f]! + (w[at + D_DATA]! >>> 16);
    const tcp = eth + 34;
    const size = (v.getUint8(tcp + 12) >> 4) << 2;
    const parts = [Buffer.from(this.frames.u8.slice(tcp + size, eth + linear))];
    const inFrame = tcp + size - this.frames.offset[f]!;
    if ((w[at + D_FLAGS_GSO]! & F_TRAIN) !== 0)
      for (let g = this.frames.next[f]!; g >= 0; g = this.frames.next[g]!) {
        const pay = this.frames.offset[g]! + inFrame;
        parts.push(Buffer.from(this.frames.u8.slice(pay, pay + this.frames.length[g]!)));
      }
    const data = Buffer.concat(parts);
    assert.is(w[at + D_TOTAL], 34 + size + data.length, 'total length of the descriptor');
    assert.is(v.getUint16(eth + 16), 20 + size + data.length, 'IPv4 total length');
    const whole = Buffer.concat([Buffer.from(this.frames.u8.slice(tcp, tcp + size)), data]);
    const wv = new DataView(whole.buffer, whole.byteOffset, whole.length);
    assert.is(
      fold(sum16(wv, 0, whole.length, pseudoSum4(v.getInt32(eth + 26), v.getInt32(eth + 30), 6, whole.length))),
      0xffff,
      'TCP checksum',
    );
    assert.is(fold(sum16(v, eth + 14, 20, 0)), 0xffff, 'IPv4 checksum');
    const flags = v.getUint8(tcp + 13);
    if ((flags & SYN) !== 0) this.iss = v.getInt32(tcp + 4);
    const s: Segment = {
      flags,
      seq: (v.getInt32(tcp + 4) - this.iss) | 0,
      ack: (flags & ACK) !== 0 ? (v.getInt32(tcp + 8) - PEER_ISS) | 0 : 0,
      win: v.getUint16(tcp + 14),
      len: data.length,
      data,
      mss: 0,
      ws: -1,
      sackOk: false,
      sack: [],
      ts: null,
      segs: w[at + D_SEGS_VLAN]! & 0xffff,
      size: w[at + D_SEGS_VLAN]! >>> 16,
      port: v.getUint16(tcp + 2),
    };
    this.localPort = v.getUint16(tcp);
    for (let o = tcp + 20; o < tcp + size; ) {
      const kind = v.getUint8(o);
      if (kind === 0) break;
      if (kind === 1) {
        o++;
        continue;
      }
      if (kind === 2) s.mss = v.getUint16(o + 2);
      if (kind === 3) s.ws = v.getUint8(o + 2);
      if (kind === 4) s.sackOk = true;
      if (kind === 5) {
        const edge = (i: number): number => (v.getInt32(o + 2 + i * 4) - PEER_ISS) | 0;
        s.sack = Array.from({ length: (v.getUint8(o + 1) - 2) >> 3 }, (_, i) => [edge(i * 2), edge(i * 2 + 1)] as const);
      }
      if (kind === 8) s.ts = [v.getInt32(o + 2), v.getInt32(o + 6)];
      o += v.getUint8(o + 1);
    }
    this.ladder.push(`${' '.repeat(40)}< ${name(flags)} seq ${s.seq} ack ${s.ack} len ${s.len} win ${s.win} at ${this.clock[1]} ms`);
    return s;
  }

  /** The next segment sent has these flags (PSH aside unless asked) and fields. */
  sends(flags: number, want: Partial<Segment> = {}): Segment {
    const s = this.out.shift();
    const where = (): string => `\n${this.ladder.slice(-24).join('\n')}`;
    if (s === undefined) throw new Error(`nothing was sent, ${name(flags)} expected${where()}`);
    const got = (flags & PSH) === 0 ? s.flags & ~PSH : s.flags;
    if (got !== flags) throw new Error(`${name(s.flags)} was sent, ${name(flags)} expected${where()}`);
    for (const [k, x] of Object.entries(want)) assert.equal(s[k as keyof Segment], x, `${k} of ${name(s.flags)}${where()}`);
    return s;
  }

  silent(): this {
    if (this.out.length > 0)
      throw new Error(`${name(this.out[0]!.flags)} was sent, silence expected\n${this.ladder.slice(-24).join('\n')}`);
    return this;
  }

  /** Lets `ms` pass, one breath a millisecond at which something is due. */
  pass(ms: number): this {
    const end = (this.clock[1]! + ms) | 0;
    while (this.clock[1] !== end) {
      const left = (end - this.clock[1]!) | 0;
      const next = this.stack.nextDeadlineMs();
      const step = next < 0 || next > left ? left : Math.max(1, next);
      this.clock[1] = (this.clock[1]! + step) | 0;
      this.clock[0] = (this.clock[0]! + step * 1000) | 0;
      this.breath();
    }
    return this;
  }

  listen(backlog = 16): this {
    this.listener = this.sockets.open();
    assert.is(this.sockets.bind(this.listener, 0, 80), 0);
    assert.is(this.sockets.listen(this.listener, backlog), 0);
    return this;
  }

  /** Id of the first socket in `state`, -1 when there is none. */
  inState(state: number): number {
    const { tcb } = this.machine;
    for (let c = 0; c < tcb.end; c += TCB_ROW) if (tcb.state[c] === state) return idOf(c);
    return -1;
  }

  /** The row of socket `s`: what its fields are indexed by. */
  row(s: number): number {
    return rowOf(s);
  }

  /** Three-way handshake from the peer; returns the accepted socket. */
  accepted(syn: Received = {}, ackWin = syn.win ?? 65535): number {
    if (this.listener < 0) this.listen();
    this.recv(SYN, syn);
    this.sends(SYN | ACK, { ack: 1 });
    const ts = syn.ts === undefined ? {} : { ts: [syn.ts[0] + 1, 0] as const };
    this.recv(ACK, { seq: 1, ack: 1, win: ackWin, ...(syn.port === undefined ? {} : { port: syn.port }), ...ts });
    const s = this.sockets.accept(this.listener);
    assert.ok(s >= 0, `accept: ${s}`);
    return s;
  }

  read(s: number, most = 65536): Buffer {
    const b = Buffer.alloc(most);
    const n = this.sockets.read(s, b, 0, most, false);
    if (n < 0) throw new Error(`read: errno ${-n}`);
    return b.subarray(0, n);
  }

  write(s: number, data: Uint8Array | string): number {
    const b = typeof data === 'string' ? Buffer.from(data) : data;
    return this.sockets.write(s, b, 0, b.length);
  }

  drops(): Record<string, number> {
    return dropsByName(this.counters.v);
  }

  drop(reason: number): number {
    return this.counters.v[C_DROP + reason]!;
  }

  /** Destroys the stack: every frame must come home, every received frame be accounted for. */
  end(): void {
    const v = this.counters.v;
    assert.is(v[C_RX_PACKETS], v[C_RX_DELIVERED]! + dropsTotal(v), `received = delivered + drops ${JSON.stringify(this.drops())}`);
    this.stack.destroy();
    this.port.flush();
    this.harvest();
    const audit = auditFrames(this.frames);
    assert.is(audit.free, audit.total, `frames at the end: ${JSON.stringify({ ...audit, workers: [...audit.workers] })}`);
    assert.is(this.sockets.inUse(), 0, 'sockets at the end');
  }
}

/** One test body over its own stack, ended and audited. */
export const trace =
  (o: TraceOptions, body: (t: Trace) => void): (() => void) =>
  () => {
    const t = new Trace(o);
    body(t);
    t.end();
  };
