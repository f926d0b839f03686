/**
 * A runtime: one port, its dispatcher, and the stack workers behind it. Lives in main, which makes all shared memory,
 * starts the threads, and takes them down in order: workers drain, dispatchers bring every frame home, then all stop.
 */
import { setFlagsFromString } from 'node:v8';
import { MessageChannel, Worker } from 'node:worker_threads';
import { loadNative } from '../ports/native.ts';
import type { PortHandle } from '../ports/port.ts';
import { CMD_DRAIN, CMD_RUN, CMD_STOP, ThreadRecord } from '../rings/control.ts';
import { T_COMMAND, T_CPU, T_SIGNALS, T_STATE, TS_FAILED, TS_QUIET, TS_STOPPED } from '../rings/control.ts';
import { C_CPU_NS, Counters } from '../rings/counters.ts';
import { BELL_EVENTFD, type Doorbell } from '../rings/doorbell.ts';
import { auditFrames, type FrameAudit, FrameTable } from '../rings/frameTable.ts';
import type { RingSizes } from '../rings/portRings.ts';
import type { StackConfig } from '../stack/env.ts';
import type { IdleMode } from '../workers/driver.ts';
import {
  bellAt,
  bellPlace,
  DISPATCHER,
  type HostPlan,
  type Layout,
  type ModulePlan,
  readSchedstat,
  type RuntimePlan,
  type ThreadMessage,
  threadPlan,
  threadRecord,
  TRANSMITTER,
  type WorkerData,
} from '../workers/plan.ts';
import { type BackgroundOptions, BackgroundPool } from './background.ts';
import { dispatcherThreads } from './cpus.ts';
import { buildPlan } from './runtimePlan.ts';
import { readThreads, type ThreadFigures } from './figures.ts';
import { QUESTION_SUFFIX, Questions } from './questions.ts';
import { listSockets } from './socketList.ts';
import { readStatistics } from './statistics.ts';
import { locateSyntaxError } from './syntaxPlace.ts';
import { Supervisor, type Supervision } from './supervisor.ts';
import { WorkerLives } from './workerLives.ts';
import { threadOptions } from './threadOptions.ts';

export interface RuntimeOptions {
  /** Prefix of thread names, at most 6 characters. */
  name: string;
  port: PortHandle;
  layout: Layout;
  workers: number;
  host: HostPlan;
  stack: StackConfig;
  steering: 'reta' | 'modulo';
  idle: IdleMode;
  spins: number;
  burst: number;
  overflow: number;
  rings: RingSizes;
  /** CPUs of the dispatcher's thread and of the one that sends, where there are such, and of each worker; empty lists are not pinned. */
  dispatcherCpus: number[];
  transmitterCpus: number[];
  workerCpus: number[][];
  drainMs: number;
  /** File the control block is mapped from (needs the addon), for `flowring top`; null: plain shared memory. */
  controlPath: string | null;
  /** Descriptor the programs' stdout goes to. */
  stdout: 1 | 2;
  /** The configuration file behind these options, absolute, if there was one. */
  configFile?: string | null;
  supervision: Supervision;
  background: BackgroundOptions;
}

/** V8 young generation, MiB a semi-space: the garbage of the event-loop turns of minutes fits. */
const SEMI_SPACE_MIB = 64;
let youngGenerationSized = false;

function sizeYoungGeneration(): void {
  if (youngGenerationSized) return;
  youngGenerationSized = true;
  setFlagsFromString(`--min-semi-space-size=${SEMI_SPACE_MIB}`);
  setFlagsFromString(`--max-semi-space-size=${SEMI_SPACE_MIB}`);
}

/** How often main looks at its threads' states when no message came, and how often while they end. */
const LOOK_MS = 500;
const CLOSING_LOOK_MS = 5;

/** A program may throw anything, null too. What is no Error has no stack of its own, and ours would point at the wrong place. */
function asError(thrown: unknown): Error {
  if (typeof thrown === 'object' && thrown !== null) return thrown as Error;
  const text = typeof thrown === 'string' ? thrown : `${String(thrown)} was thrown, which is no Error and has no stack`;
  return Object.assign(new Error(text), { stack: text });
}

export class Runtime {
  readonly options: RuntimeOptions;
  readonly plan: RuntimePlan;
  private readonly threads = new Map<number, Worker>();
  /** By thread id, as `threads`. */
  private readonly records: ReadonlyMap<number, ThreadRecord>;
  private readonly listeners: { worker: number; address: number; port: number }[] = [];
  private readonly ready = new Set<number>();
  private readonly waiters = new Set<() => void>();
  private failure: Error | null = null;
  private readonly exited = new Set<number>();
  /** Workers whose present thread has said that its program is there. */
  private readonly serving = new Set<number>();
  /** What a worker's thread threw, until it has ended. */
  private readonly thrown = new Map<number, Error>();
  private readonly lives: WorkerLives;
  private readonly supervisor: Supervisor;
  private module: ModulePlan | null = null;
  private closing: Promise<void> | null = null;
  /** Threads have been asked to end: from here on one that goes is expected to. */
  private stopping = false;
  /** A worker's program ended its thread by itself (process.exit). */
  private left = false;
  private readonly nativeIds: number[];
  private questions: Questions | null = null;
  private readonly mainRecord: ThreadRecord;
  private readonly mainCounters: Counters;
  /** Threads for CPU-bound work, on CPUs of their own. */
  readonly background: BackgroundPool;
  /** Highest exit code a program asked for. */
  exitCode = 0;
  /** Called with the number of each signal a program asks for: whoever owns the process listens and calls `signal`. */
  onSignalAsked: ((signal: number) => void) | null = null;
  /** Called for each address:port once every worker is ready, then as they come. */
  onListening: ((address: number, port: number) => void) | null = null;
  /** Called with what is wrong with the port's device, once when it begins and, with an empty text, when it is over. */
  onTrouble: ((text: string) => void) | null = null;
  private trouble = '';

  constructor(options: RuntimeOptions) {
    this.options = options;
    this.background = new BackgroundPool(options.background);
    const { plan, nativeIds } = buildPlan(options);
    this.plan = plan;
    this.nativeIds = nativeIds;
    this.mainRecord = new ThreadRecord(plan.control, 0);
    this.mainCounters = new Counters(plan.control, this.mainRecord.countersAt);
    const ids = [...this.fronts(), ...plan.workerThreads.keys()];
    this.records = new Map(ids.map((id) => [id, threadRecord(plan, id)]));
    this.lives = new WorkerLives(plan, this.records, (id) => this.bellOf(id));
    this.supervisor = new Supervisor(
      options.supervision,
      plan.workerThreads.map((t) => t.name),
      {
        announce: (worker) => this.lives.announce(worker),
        respawn: (worker) => this.respawn(worker),
        terminate: (worker) => void this.threads.get(worker)?.terminate(),
        pulse: (worker) => (this.stopping || !this.serving.has(worker) ? null : this.lives.pulse(worker)),
        giveUp: (error) => {
          this.failure ??= error;
          this.left = true;
          this.wake();
        },
        say: (line) => void process.stderr.write(`flowring: ${line}\n`),
      },
    );
  }

  /**
   * Starts the threads; every worker imports `module`. Resolves when all are up and the module has been imported, or when
   * the runtime is told to stop before that.
   */
  async start(module: ModulePlan | null): Promise<void> {
    if (this.stopping) return;
    sizeYoungGeneration();
    const { plan } = this;
    this.module = module;
    this.questions = this.answer();
    for (const id of this.fronts()) this.spawn(id === DISPATCHER ? 'dispatcherThread.js' : 'transmitterThread.js', id, null);
    for (let w = 0; w < plan.workers; w++) this.spawn('stackWorker.js', w, module);
    try {
      await this.until(() => this.stopping || this.isReady());
    } catch (error) {
      throw await locateSyntaxError(error as Error, module?.url ?? '');
    }
    if (!this.stopping) this.supervisor.begin();
    const said = new Set<string>();
    for (const l of this.listeners) {
      const key = `${l.address}:${l.port}`;
      if (!said.has(key)) this.onListening?.(l.address, l.port);
      said.add(key);
    }
  }

  private spawn(file: string, worker: number, module: ModulePlan | null): void {
    // A worker asks the background pool over a port of its own; a dispatcher has nothing to ask.
    const { port1, port2 } = new MessageChannel();
    const asks = worker >= 0;
    const data: WorkerData = { plan: this.plan, worker, module, background: asks ? port2 : null };
    const me = threadPlan(this.plan, worker);
    const t = new Worker(new URL(`../workers/${file}`, import.meta.url), {
      workerData: data,
      transferList: asks ? [port2] : [],
      argv: module?.args ?? [],
      ...threadOptions(),
      name: me.name,
    });
    if (asks) this.background.serve(port1, () => this.bellOf(worker).ring());
    t.on('message', (m: ThreadMessage) => this.message(m));
    t.on('error', (error) => {
      if (worker >= 0) this.thrown.set(worker, asError(error));
      // A program that never came up ends the run.
      if (worker < 0 || this.stopping || !this.ready.has(worker)) this.failure ??= asError(error);
      this.wake();
    });
    t.on('exit', (code) => this.threadEnded(worker, me.name, code));
    this.threads.set(worker, t);
  }

  private threadEnded(worker: number, name: string, code: number): void {
    this.exited.add(worker);
    this.serving.delete(worker);
    // process.exit() in a program: the thread's exit handler has put its stack in order.
    const inOrder = worker >= 0 && this.record(worker).get(T_STATE) === TS_STOPPED;
    if (worker >= 0 && !inOrder) this.workerDied(worker, name, code);
    else if (!this.stopping) {
      if (inOrder) this.exitCode = Math.max(this.exitCode, code);
      else this.failure ??= new Error(`thread ${name} ended unasked, exit code ${code}`);
      this.left = true;
    }
    if (this.stopping || this.left) this.ready.add(worker);
    this.wake();
  }

  /** A worker whose program never came up ends the run; any other is the supervisor's. */
  private workerDied(worker: number, name: string, code: number): void {
    const error = this.thrown.get(worker) ?? null;
    this.thrown.delete(worker);
    if (!this.stopping && !this.ready.has(worker) && !this.supervisor.ends(worker)) {
      this.lives.announce(worker);
      this.failure ??= error ?? new Error(`thread ${name} ended unasked, exit code ${code}`);
      this.left = true;
      return;
    }
    const reason = error === null ? `its thread ended with code ${code}` : error.message.split('\n')[0]!;
    this.supervisor.died(worker, { reason, error });
  }

  private respawn(worker: number): void {
    this.exited.delete(worker);
    this.lives.revive(worker);
    this.spawn('stackWorker.js', worker, this.module);
  }

  /**
   * Ends a worker's thread at once, as a crash would: its connections are reset, another thread takes its place. Resolves when
   * the thread has ended.
   */
  async kill(worker: number): Promise<void> {
    const t = this.threads.get(worker);
    if (worker < 0 || t === undefined) throw new RangeError(`no worker ${worker}: this runtime has ${this.plan.workers}`);
    this.supervisor.end(worker, 'it was killed');
    if (!this.exited.has(worker)) await t.terminate();
  }

  /** Workers that have died, and those that serve again, since the start. */
  get supervised(): { deaths: number; restarts: number } {
    return { deaths: this.supervisor.deaths, restarts: this.supervisor.restarts };
  }

  private message(m: ThreadMessage): void {
    if (m.type === 'listening') {
      const known = this.listeners.some((l) => l.address === m.address && l.port === m.port);
      const again = this.listeners.some((l) => l.address === m.address && l.port === m.port && l.worker === m.worker);
      if (!again) this.listeners.push(m);
      if (!known && this.isReady()) this.onListening?.(m.address, m.port);
    } else if (m.type === 'ready') {
      this.ready.add(m.worker);
      this.serving.add(m.worker);
      this.supervisor.ready(m.worker);
    } else if (m.type === 'buried') this.supervisor.buried(m.worker);
    else if (m.type === 'signal') this.onSignalAsked?.(m.signal);
    else if (m.type === 'quiet') this.wake();
    else if (m.type === 'exitCode') this.exitCode = Math.max(this.exitCode, m.code);
    else this.failure ??= Object.assign(new Error(m.message), { stack: m.stack, code: m.code });
    this.wake();
  }

  private isReady(): boolean {
    return this.ready.size >= this.plan.workers + dispatcherThreads(this.plan.layout);
  }

  private wake(): void {
    for (const w of [...this.waiters]) w();
  }

  /** Resolves at the next message of a thread, or after `ms`. */
  private news(ms: number): Promise<void> {
    return new Promise((done) => {
      const over = (): void => {
        clearTimeout(timer);
        this.waiters.delete(over);
        done();
      };
      const timer = setTimeout(over, ms);
      this.waiters.add(over);
    });
  }

  /**
   * Resolves when `condition` holds; rejects with a thread's error, unless `heedless`. Looked at on every message, and beside that often only
   * where the end is near: what lasts as long as the program shall cost nothing.
   */
  private async until(condition: () => boolean, limitMs = Number.POSITIVE_INFINITY, heedless = false): Promise<boolean> {
    const by = performance.now() + limitMs;
    while (!condition()) {
      if (this.failure !== null && !heedless) throw this.failure;
      if (performance.now() >= by) return false;
      await this.news(limitMs === Number.POSITIVE_INFINITY ? LOOK_MS : CLOSING_LOOK_MS);
      const trouble = this.options.port.trouble?.() ?? '';
      if (trouble !== this.trouble) this.onTrouble?.(trouble);
      this.trouble = trouble;
    }
    return true;
  }

  /** Posts a message to a worker's `parentPort` listeners. */
  postMessage(worker: number, value: unknown): void {
    const t = worker < 0 ? undefined : this.threads.get(worker);
    if (t === undefined) throw new RangeError(`no worker ${worker}: this runtime has ${this.plan.workers}`);
    t.postMessage(value);
    this.bellOf(worker).ring();
  }

  /** Has the programs' handlers of `signal`, 1..31, called in every worker. */
  signal(signal: number): void {
    for (let w = 0; w < this.plan.workers; w++) {
      const r = this.record(w);
      Atomics.or(r.words, r.at + T_SIGNALS, 1 << signal);
      this.bellOf(w).ring();
    }
  }

  private record(id: number): ThreadRecord {
    return this.records.get(id)!;
  }

  private bellOf(worker: number): Doorbell {
    return bellAt(bellPlace(this.plan, worker), loadNative());
  }

  private command(worker: number, c: number): void {
    this.record(worker).set(T_COMMAND, c);
    this.bellOf(worker).ring();
  }

  private allWorkers(test: (state: number, worker: number) => boolean): boolean {
    for (let w = 0; w < this.plan.workers; w++) if (!test(this.record(w).get(T_STATE), w)) return false;
    return true;
  }

  /** Resolves when every worker has ended by itself (its program called stop), or one called process.exit; rejects when one failed. */
  async finished(): Promise<void> {
    await this.until(
      () => this.closing !== null || this.left || this.neverStarted() || this.allWorkers((s) => s === TS_QUIET || s === TS_STOPPED),
    );
    if (this.closing === null && this.failure !== null) throw this.failure;
  }

  private neverStarted(): boolean {
    return this.stopping && this.threads.size === 0;
  }

  /** Phase 1: listeners close, connections finish (up to drainMs, then RST), stacks give every frame back. */
  async drain(): Promise<void> {
    this.stopping = true;
    this.supervisor.stop();
    this.wake();
    if (this.neverStarted()) return;
    for (let w = 0; w < this.plan.workers; w++) if (this.record(w).get(T_COMMAND) === CMD_RUN) this.command(w, CMD_DRAIN);
    await this.until(() => this.allWorkers((s, w) => s === TS_QUIET || s === TS_STOPPED || this.exited.has(w)), this.plan.drainMs + 2000);
  }

  /** Threads that are no workers, in the order in which they are started and taken down: each lives on what the one before sends. */
  private fronts(): number[] {
    const { dispatcher, transmitter } = this.plan;
    return [...(transmitter === null ? [] : [TRANSMITTER]), ...(dispatcher === null ? [] : [DISPATCHER])];
  }

  /** Phase 2: what is to be sent is sent, the dispatcher empties its rings; it goes on taking frames home until `stop`. */
  async quiet(): Promise<boolean> {
    if (this.neverStarted()) return true;
    for (const id of this.fronts()) {
      this.command(id, CMD_DRAIN);
      const done = (): boolean => this.record(id).get(T_STATE) === TS_QUIET || this.exited.has(id);
      if (!(await this.until(done, 5000).catch(() => false))) return false;
    }
    return true;
  }

  /** Phase 3: threads end; a thread that does not is terminated. The port stays open for the audit; `close()` closes it. */
  async stop(): Promise<void> {
    this.stopping = true;
    if (this.neverStarted()) return;
    const { workers } = this.plan;
    for (let w = 0; w < workers; w++) this.command(w, CMD_STOP);
    const gone = (): boolean => [...this.exited].filter((id) => id >= 0).length >= workers;
    // A program that neither waits nor returns gets a second; threads of ours that only wait for a CPU get longer.
    await this.until(gone, 1000, true);
    if (!gone() && this.allWorkers((s) => s === TS_QUIET || s === TS_STOPPED)) await this.until(gone, 9000, true);
    const left = [...this.threads].filter(([id]) => id >= 0 && !this.exited.has(id));
    await Promise.all(left.map(([, t]) => t.terminate()));
    // The dispatcher goes last: it takes home what the others sent when they left, and what the dead held.
    for (const id of this.fronts()) {
      this.command(id, CMD_STOP);
      await this.until(() => this.exited.has(id), 9000, true);
      if (!this.exited.has(id)) await this.threads.get(id)?.terminate();
    }
    this.lives.settle();
  }

  /** All three phases, then the port is closed. Idempotent; later calls wait for the first. */
  close(): Promise<void> {
    this.closing ??= (async () => {
      this.wake();
      try {
        await this.drain();
        await this.quiet();
      } finally {
        await this.stop();
        await this.background.close();
        this.release();
      }
    })();
    return this.closing;
  }

  /** Closes the device and forgets native registrations. Only when no thread runs any more. */
  release(): void {
    this.questions?.close();
    this.options.port.close();
    const native = loadNative();
    if (native === null) return;
    for (const bell of [...this.plan.brokers.map((b) => b.bell), ...this.plan.workerBells]) {
      const fd = Atomics.exchange(new Int32Array(bell.block), bell.at + BELL_EVENTFD, -1);
      native.eventfdClose(fd);
    }
    for (const id of this.nativeIds.splice(0)) native.releaseMemory(id);
  }

  /** Whoever may read the control file may ask, too (`flowring netstat`). */
  private answer(): Questions | null {
    const { plan } = this;
    if (this.options.controlPath === null) return null;
    return new Questions(this.options.controlPath + QUESTION_SUFFIX, {
      netstat: (q) => {
        const filter = { tcp: q.tcp !== false, udp: q.udp !== false, listening: q.listening === true };
        return plan.workerThreads.flatMap((t, w) =>
          listSockets(plan.arenas[w]!, { worker: w, thread: t.name, nowMs: this.workerNowMs(w) }, filter),
        );
      },
      statistics: () => readStatistics(plan.control),
    });
  }

  /** A worker's clock now: it sleeps, but with the addon all threads' clocks are one. Without, as of its last breath. */
  private workerNowMs(worker: number): number {
    const native = loadNative();
    if (native === null) return this.record(worker).clock()[1]!;
    const clock = this.mainRecord.clock();
    native.clock(this.plan.ids.control, clock.byteOffset);
    return clock[1]!;
  }

  /** Frames by owner. At the very end, with all threads gone, every frame is free. */
  audit(): FrameAudit {
    const { table, memory, frameFirst } = this.plan.port;
    // The queues of a port stand one behind the other.
    const frames = this.options.port.queues.reduce((n, q) => n + q.frameCount, 0);
    return auditFrames(new FrameTable(table, memory), frameFirst, frameFirst + frames);
  }

  /** One consistent row of figures a thread. */
  figures(): ThreadFigures[] {
    const native = loadNative();
    const cpuNs = native !== null ? native.threadCpuNs() : readSchedstat();
    if (cpuNs >= 0) this.mainCounters.v[C_CPU_NS] = cpuNs;
    if (native !== null) this.mainRecord.set(T_CPU, native.currentCpu());
    this.mainCounters.commit();
    return readThreads(this.plan.control);
  }

  get listening(): readonly { worker: number; address: number; port: number }[] {
    return this.listeners;
  }

  failed(): Error | null {
    return this.failure;
  }

  anyFailed(): boolean {
    return this.failure !== null || !this.allWorkers((s) => s !== TS_FAILED);
  }
}
