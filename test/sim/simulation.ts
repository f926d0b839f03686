/**
 * Any number of complete hosts (port, dispatcher, host, rings, stacks, application) on one thread and on virtual time,
 * joined by the switch. Nothing is replaced but the clock and the random numbers: what runs here is what runs on threads.
 *
 * Hosts take turns, one breath each; a round in which anything moved costs `breathUs`. When nothing moves, the clock jumps
 * to the earliest deadline of any stack, host or delayed frame. A run is a pure function of its options.
 */
import { createNativeBursts } from '../../src/ports/native.ts';
import type { Native } from '../../src/ports/native.ts';
import { attachSwitchPort } from '../../src/ports/switchPort.ts';
import type { SwitchPort } from '../../src/ports/switchPort.ts';
import { createSwitch } from '../../src/ports/switch.ts';
import type { Switch } from '../../src/ports/switch.ts';
import { SeededRandom } from '../../src/ports/impairment.ts';
import type { Impairment } from '../../src/ports/impairment.ts';
import { createArena, SharedArena } from '../../src/rings/arena.ts';
import { WORK_CSUM, WORK_CUT } from '../../src/rings/bursts.ts';
import { formatControl, planControl, ThreadRecord } from '../../src/rings/control.ts';
import { Counters } from '../../src/rings/counters.ts';
import { FrameTable } from '../../src/rings/frameTable.ts';
import { HostView } from '../../src/rings/hostState.ts';
import { BrokerPort, createPortRings, planPortRings, WorkerPort } from '../../src/rings/portRings.ts';
import { STEER_RETA, Steering } from '../../src/rings/steering.ts';
import { arenaBytes } from '../../src/stack/arenaPlan.ts';
import type { StackConfig, StackEnv } from '../../src/stack/env.ts';
import type { Sockets, Stack } from '../../src/stack/sockets.ts';
import { createStack } from '../../src/stack/stack.ts';
import { createTwinBursts } from '../../src/wire/burst/twin.ts';
import { flowHash } from '../../src/wire/flow.ts';
import { createDispatcher } from '../../src/workers/dispatcher.ts';
import type { Dispatcher } from '../../src/workers/dispatcher.ts';

export interface SimulationOptions {
  seed: number;
  /** Default 2. */
  hosts?: number;
  /** Stacks a host runs. Default 1. */
  workers?: number;
  /** What every port does to what it receives; the seed is the simulation's. */
  impair?: Impairment;
  stack?: Partial<StackConfig>;
  framesPerPort?: number;
  ringSlots?: number;
  /** Ports vouch for checksums / take trains. Default true. */
  checksum?: boolean;
  trains?: boolean;
  /** The addon's bursts instead of their TypeScript twins. */
  native?: Native;
  /** Virtual microseconds a round of breaths costs. Default 5. */
  breathUs?: number;
  /** The clock never jumps further than this, in milliseconds: for applications that act by the clock. Default: no bound. */
  jumpMaxMs?: number;
  /** Virtual time of the start, in microseconds. Default: nowMs wraps after two seconds. */
  startUs?: number;
}

export const SIM_STACK: StackConfig = {
  maxConnections: 256,
  maxDatagrams: 16,
  udpRcvbuf: 65536,
  udpSndbuf: 65536,
  rcvbuf: 262144,
  sndbuf: 262144,
  chunkBytes: 2048,
  chunks: 2048,
  burst: 16,
  burstBytes: 65536,
  mss: 1460,
  timeWaitMs: 1000,
  rtoMinMs: 200,
  rtoInitialMs: 1000,
  rtoMaxMs: 60000,
  delayedAckMs: 40,
  synRetries: 8,
  retries: 15,
  finWait2Ms: 60000,
  idleTimeoutMs: 0,
  pipes: 4,
  pipeBytes: 10240,
  nagle: true,
  trainLinksMax: 44,
  coalesce: true,
  windowScale: 7,
  timestamps: true,
  sack: true,
};

const START_US = 2 ** 31 * 1000 - 2_000_000;
const DISPATCHER_RECORD = 1;
const FIRST_WORKER_RECORD = 2;

export interface SimWorker {
  readonly stack: Stack;
  readonly sockets: Sockets;
  readonly counters: Counters;
  readonly port: WorkerPort;
  readonly config: StackConfig;
}

function simWorker(parts: Omit<StackEnv, 'arena' | 'bursts' | 'flowHash'>, native: Native | undefined): SimWorker {
  const arena = new SharedArena(createArena(arenaBytes(parts.config)));
  const frames = parts.port.frames;
  const bursts = native === undefined ? createTwinBursts(frames, arena.memory) : createNativeBursts(native, frames, arena.memory);
  const stack = createStack({ ...parts, arena, bursts, flowHash });
  return { stack, sockets: stack.sockets, counters: parts.counters, port: parts.port, config: parts.config };
}

export class SimHost {
  readonly index: number;
  /** 192.0.2.(index + 1) */
  readonly address: number;
  readonly port: SwitchPort;
  readonly dispatcher: Dispatcher;
  readonly counters: Counters;
  readonly workers: readonly SimWorker[];
  /** The application, once a breath and worker, between input and output. Returns whether it did anything. */
  app: (worker: SimWorker, index: number) => boolean = () => false;
  /** Stands still: no breath, no timers, as a thread that the system does not run. */
  frozen = false;
  private readonly clocks: Int32Array[];

  constructor(o: SimulationOptions, sw: Switch, index: number, random: SeededRandom) {
    const attachment = sw.handle(index).attachment;
    const count = o.workers ?? 1;
    const config = { ...SIM_STACK, ...o.stack };
    const cp = planControl(FIRST_WORKER_RECORD + count, count);
    const control = new SharedArrayBuffer(cp.bytes);
    formatControl(control, cp);
    Steering.format(control, cp.steeringAt, count, STEER_RETA);
    const frames = new FrameTable(attachment.table, attachment.memory);
    const sizes = { rx: 256, tx: 256, grant: 256, redirect: 64 };
    const ringsPlan = planPortRings(count, frames.frames, sizes);
    const rings = createPortRings(ringsPlan, frames.frames, sizes);
    const own = (): (() => number) => {
      const r = new SeededRandom(random.next());
      return () => r.next();
    };
    const record = new ThreadRecord(control, DISPATCHER_RECORD);
    this.index = index;
    this.address = 0xc0000200 | (index + 1) | 0;
    this.port = attachSwitchPort(attachment);
    this.counters = new Counters(control, record.countersAt);
    this.clocks = [record.clock()];
    this.dispatcher = createDispatcher({
      port: this.port,
      rings: Array.from({ length: count }, (_, w) => new BrokerPort(rings, ringsPlan, w)),
      bells: Array.from({ length: count }, () => null),
      steering: new Steering(control, cp.steeringAt),
      counters: this.counters,
      clock: record.clock(),
      random: own(),
      host: {
        block: control,
        at: cp.hostAt,
        address: this.address,
        prefix: 24,
        gateway: 0,
        mtu: attachment.caps.mtu,
        macHi: attachment.macHi,
        macLo: attachment.macLo,
        statics: [],
        counters: this.counters,
        frames: this.port.frames,
        random: own(),
      },
      burst: config.burst,
      overflow: 1024,
    });
    this.workers = Array.from({ length: count }, (_, w): SimWorker => {
      const r = new ThreadRecord(control, FIRST_WORKER_RECORD + w);
      this.clocks.push(r.clock());
      this.setClock(o.startUs ?? START_US);
      return simWorker(
        {
          worker: w,
          port: new WorkerPort(rings, ringsPlan, w, frames),
          txWork: (attachment.caps.txChecksum ? 0 : WORK_CSUM) | (attachment.caps.txTrains ? 0 : WORK_CUT),
          txTrainBytesMax: attachment.caps.txTrains ? attachment.caps.txTrainBytesMax : 65535,
          clock: r.clock(),
          host: new HostView(control, cp.hostAt),
          steering: new Steering(control, cp.steeringAt),
          counters: new Counters(control, r.countersAt),
          random: own(),
          config,
        },
        o.native,
      );
    });
  }

  setClock(us: number): void {
    for (const c of this.clocks) {
      c[0] = us | 0;
      c[1] = Math.floor(us / 1000) | 0;
    }
  }

  /** One breath of every part; how much moved. */
  breathe(): number {
    if (this.frozen) return 0;
    let n = this.dispatcher.pull();
    this.workers.forEach((w, i) => {
      n += w.stack.begin();
      if (this.app(w, i)) n++;
      n += w.stack.end();
      this.flush(w);
    });
    n += this.dispatcher.push();
    return n;
  }

  private flush(w: SimWorker): void {
    w.port.flush();
    for (const r of w.port.redirectIn) r?.flush();
    for (const r of w.port.redirectOut) r?.flush();
  }

  pending(): boolean {
    return !this.frozen && (this.dispatcher.pending() || this.workers.some((w) => w.stack.pending()));
  }

  /** Milliseconds until a stack or the host has something to do, -1 never. The port is asked in microseconds. */
  nextDeadlineMs(): number {
    let least = this.dispatcher.host!.nextDeadlineMs(this.clocks[0]![1]!);
    for (const w of this.workers) {
      const ms = w.stack.nextDeadlineMs();
      if (ms >= 0 && (least < 0 || ms < least)) least = ms;
    }
    return least;
  }

  /** Ends the stacks: connections reset, all frames and credit given back. */
  end(): void {
    for (const w of this.workers) {
      w.stack.destroy();
      this.flush(w);
      w.port.returnCredit();
    }
    this.dispatcher.push();
    for (let w = 0; w < this.workers.length; w++) this.dispatcher.reclaim(w);
    this.dispatcher.push();
  }
}

export class SimulationStuck extends Error {}

export class Simulation {
  readonly options: SimulationOptions;
  readonly sw: Switch;
  readonly hosts: readonly SimHost[];
  /** Virtual microseconds. */
  us: number;
  rounds = 0;
  private ended = false;

  constructor(o: SimulationOptions) {
    const n = o.hosts ?? 2;
    this.options = o;
    this.us = o.startUs ?? START_US;
    const random = new SeededRandom(o.seed);
    this.sw = createSwitch({
      ports: Array.from({ length: n }, (_, i) => ({ name: `host${i}` })),
      framesPerPort: o.framesPerPort ?? 2048,
      ringSlots: o.ringSlots ?? 1024,
      checksum: o.checksum ?? true,
      trains: o.trains ?? true,
      impair: { ...o.impair, seed: random.next() },
    });
    this.hosts = Array.from({ length: n }, (_, i) => new SimHost(o, this.sw, i, random));
    for (const h of this.hosts) h.setClock(this.us);
    for (const h of this.hosts) h.dispatcher.host!.start();
  }

  host(i: number): SimHost {
    return this.hosts[i]!;
  }

  /** Virtual milliseconds since the start. */
  get ms(): number {
    return (this.us - (this.options.startUs ?? START_US)) / 1000;
  }

  /** One round. Returns whether anything moved. */
  step(): boolean {
    let moved = 0;
    for (const h of this.hosts) h.setClock(this.us);
    for (const h of this.hosts) moved += h.breathe();
    this.rounds++;
    if (moved > 0 || this.hosts.some((h) => h.pending())) {
      this.us += this.options.breathUs ?? 5;
      return true;
    }
    return false;
  }

  /** Jumps to the next deadline, at least a microsecond; false when nobody has one. */
  private jump(): boolean {
    let least = (this.options.jumpMaxMs ?? Number.POSITIVE_INFINITY) * 1000;
    for (const h of this.hosts) {
      if (h.frozen) continue;
      const ms = h.nextDeadlineMs();
      // A deadline of the millisecond clock is due when that clock has turned.
      if (ms >= 0) least = Math.min(least, Math.max(1, ms) * 1000 - (this.us % 1000));
      if (h.port.hasDeadline()) least = Math.min(least, Math.max(1, (h.port.deadlineUs() - (this.us | 0)) | 0));
    }
    if (least === Number.POSITIVE_INFINITY) return false;
    this.us += least;
    return true;
  }

  /**
   * Runs until `done()`, looked at after every round. Throws SimulationStuck, with seed and state, after `maxMs` virtual
   * milliseconds or when nobody has anything to do any more.
   */
  runUntil(done: () => boolean, maxMs: number): void {
    const limit = this.us + maxMs * 1000;
    while (!done()) {
      if (!this.step() && !done() && !this.jump()) throw new SimulationStuck(`nothing left to do: ${this.describe()}`);
      if (this.us > limit) throw new SimulationStuck(`not done after ${maxMs} virtual ms: ${this.describe()}`);
    }
  }

  /** Lets `ms` virtual milliseconds pass. */
  run(ms: number): void {
    const limit = this.us + ms * 1000;
    while (this.us < limit) if (!this.step() && !this.jump()) this.us = limit;
  }

  describe(): string {
    const stacks = this.hosts.map((h) =>
      h.workers
        .map((w) => `${w.sockets.inUse()} sockets, next timer ${w.stack.nextDeadlineMs()} ms, pending ${w.stack.pending()}`)
        .join(' | '),
    );
    return `seed ${this.options.seed}, ${this.ms} virtual ms, ${this.rounds} rounds; ${stacks.join(' || ')}`;
  }

  /** Ends all hosts and lets every frame come home. */
  end(): void {
    if (this.ended) return;
    this.ended = true;
    // Frames under way when the stacks end are nobody's any more: the dispatchers still count and drop them.
    for (const h of this.hosts) h.end();
    this.bringHome();
    for (const h of this.hosts) h.port.detach();
    this.bringHome();
  }

  private bringHome(): void {
    for (let round = 0; round < 3; round++) {
      for (const h of this.hosts) {
        h.port.tick(this.us | 0);
        h.port.flush();
      }
    }
  }
}

export function simulate(o: SimulationOptions): Simulation {
  return new Simulation(o);
}
