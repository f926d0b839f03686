/**
 * Thread entry: one stack, the user's module beside it, and in layouts `inline` and `run-to-completion` the dispatcher of the port,
 * or of one of its queues, too.
 * The breath is the driver's (driver.ts): pull → input → timers → application → output → push → rest.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { injectContext, type WorkerContext } from '../api/context.ts';
import {
  CMD_DRAIN,
  CMD_RUN,
  CMD_STOP,
  LIFE_DEAD,
  T_COMMAND,
  T_EPOCH,
  T_LIFE,
  T_LISTENERS,
  T_STATE,
  T_UNSETTLED,
  TS_DRAINING,
  TS_FAILED,
  TS_QUIET,
  TS_RUNNING,
  TS_STOPPED,
} from '../rings/control.ts';
import type { Port } from '../ports/port.ts';
import { C_DROP, C_RX_PACKETS, C_TCP_IN_SEGS, type Counters } from '../rings/counters.ts';
import { DROP_CLOSING } from '../rings/drops.ts';
import { assembleBroker, assembleStack, workerPortOf } from './assembly.ts';
import { Estate } from './burial.ts';
import type { Dispatcher } from './dispatcher.ts';
import { type Breath, Driver } from './driver.ts';
import { importModule } from './importModule.ts';
import { installSyncOutput } from './output.ts';
import { WorkerSignals } from './signals.ts';
import { WorkerBackground } from './backgroundLink.ts';
import { bellPlace, DISPATCHER, Thread, type ThreadMessage, type WorkerData } from './plan.ts';
import { observeGc, threadSleep } from './threadParts.ts';

const { plan, worker, module, background: backgroundPort } = workerData as WorkerData;
const me = plan.workerThreads[worker]!;
/** This thread is the broker, too, of the port or of a queue. */
const brokers = plan.dispatcher === null;
const thread = new Thread(plan, me);
const { record, counters, native } = thread;
const clock = record.clock();
const post = (m: ThreadMessage): void => parentPort!.postMessage(m);
installSyncOutput(plan.stdout);
observeGc(thread);

const signals = new WorkerSignals(record, (signal) => post({ type: 'signal', worker, signal }));

let port: Port | null = null;
let dispatcher: Dispatcher | null = null;
let brokerCounters: Counters | null = null;
// In the place of a worker that died and was its own broker: its frames come home when its port is attached again.
const estate = brokers && record.get(T_LIFE) === LIFE_DEAD ? new Estate(plan, worker) : null;
const workerPort = workerPortOf(thread, worker);
if (brokers) ({ port, dispatcher, counters: brokerCounters } = assembleBroker(thread, workerPort));
if (estate !== null) estate.settle(counters, brokerCounters!, { dispatcher: dispatcher!, frames: port!.frames });
const bell = thread.bell(plan.workerBells[worker]!);
// What the dead was handing to the other queues is news to them.
if (estate !== null) for (const other of plan.workerBells) thread.bell(other).ring();
const { stack, host, flush } = assembleStack(thread, workerPort, {
  broker: brokers ? null : thread.bell(bellPlace(plan, DISPATCHER)),
  sender: plan.transmitter === null ? null : thread.bell(plan.transmitter.bell),
  // A dispatcher has the host state and is rung as the broker anyway.
  host: brokers && worker > 0 ? thread.bell(plan.brokers[0]!.bell) : null,
});

/** What this worker has asked of the background pool. */
const background = new WorkerBackground(backgroundPort!, plan.backgroundQueue);

/** A drain looks at least this often whether it is over. */
const DRAIN_LOOK_MS = 20;
/** Connections on which nothing has come for this long wait for a request: they may be closed. */
const SILENT_MS = 500;
/** A program that nobody has driven for this long after its import has probably forgotten to. */
const NO_LOOP_MS = 2000;
/** A program that was started again has listened by then; ports its forerunner had and it has not are given up. */
const RELISTEN_MS = 2000;

// Drain and stop --------------------------------------------------------------------------------------------------
/** This worker wants to end by itself (the program called stop). */
let ending = false;
let phase: 'running' | 'serving' | 'draining' | 'quiet' = 'running';
let drainBy = 0;
let reported = false;
/** Segments received when a drain last looked, and since when nothing has come. */
let segmentsSeen = 0;
let silentSince = 0;

/**
 * Listeners close. A program whose handler runs goes on serving the connections it has; one that owned its loop has left it,
 * or ended by itself: its connections are closed at once.
 */
function beginDrain(): void {
  drainBy = (clock[1]! + plan.drainMs) | 0;
  silentSince = clock[1]!;
  record.set(T_STATE, TS_DRAINING);
  if (ending || breath.handler === null) closeConnections();
  else {
    phase = 'serving';
    stack.stopListening();
  }
}

function closeConnections(): void {
  phase = 'draining';
  stack.drain();
}

/** Nobody has anything under way: no data in any buffer, and no segment received for SILENT_MS; or the time is nearly over. */
function served(): boolean {
  const now = clock[1]!;
  if (counters.v[C_TCP_IN_SEGS]! !== segmentsSeen || stack.busy()) {
    segmentsSeen = counters.v[C_TCP_IN_SEGS]!;
    silentSince = now;
  }
  return ((now - silentSince) | 0) >= SILENT_MS || ((drainBy - now) | 0) < plan.drainMs >> 3;
}

/** The stack goes: connections left are reset, every frame and all credit go home. */
function becomeQuiet(): void {
  background.close();
  stack.destroy();
  flush();
  workerPort.returnCredit();
  breath.stackBegin = null;
  breath.stackEnd = null;
  breath.handler = null;
  phase = 'quiet';
  // Served: from here on only frames that come home keep this thread awake.
  ending = false;
  if (dispatcher !== null) {
    dispatcher.push();
    dispatcher.reclaim(worker);
  }
  flush();
  if (!reported && process.exitCode !== undefined && Number(process.exitCode) !== 0)
    post({ type: 'exitCode', worker, code: Number(process.exitCode) });
  reported = true;
  record.set(T_STATE, TS_QUIET);
  post({ type: 'quiet', worker });
}

/** A worker that drains later may still send frames of a flow on to this one, whose listener is gone: they go home. */
function discardRedirected(): void {
  const n = workerPort.discardRedirected();
  if (n === 0) return;
  counters.v[C_RX_PACKETS]! += n;
  counters.v[C_DROP + DROP_CLOSING]! += n;
  flush();
}

function leave(): void {
  discardRedirected();
  const gone = (): void => {
    if (port !== null) {
      port.flush();
      port.detach();
    }
    record.set(T_STATE, TS_STOPPED);
  };
  if (dispatcher === null) gone();
  else dispatcher.leave(counters, discardRedirected, gone);
  counters.commit();
  brokerCounters?.commit();
}

// An error ends the whole run, with its stack, through the thread's `error` event.
process.on('uncaughtExceptionMonitor', () => record.set(T_STATE, TS_FAILED));
// process.exit() in the program: what is open is reset and every frame goes home, as after a drain.
process.on('exit', () => {
  const state = record.get(T_STATE);
  if (state === TS_STOPPED || state === TS_FAILED) return;
  if (phase !== 'quiet') becomeQuiet();
  leave();
});

function command(c: number): boolean {
  signals.deliver();
  if (phase === 'running') beginDrain();
  const late = ((clock[1]! - drainBy) | 0) >= 0;
  // What a task brings back may be an answer that a connection waits for.
  const awaited = !ending && background.outstanding > 0;
  const over = c === CMD_STOP || late || (!awaited && stack.drained());
  if (phase === 'serving' && (ending || over || (!awaited && served()))) closeConnections();
  if (phase === 'draining' && over) becomeQuiet();
  if (phase === 'quiet') discardRedirected();
  if (c !== CMD_STOP || phase !== 'quiet') return false;
  leave();
  // Timers the program left behind must not hold the thread.
  setImmediate(() => process.exit());
  return true;
}

/**
 * In the place of a worker that died: what has come for it since waits until the program is there to listen again, so that
 * nobody is refused. A program may need the network to start: its first socket ends the waiting, as does its first turn.
 */
let forProgram = record.get(T_EPOCH) > 0 && module !== null;

function waiting(): boolean {
  if (forProgram && stack.sockets.inUse() > 0) forProgram = false;
  return forProgram;
}

// The breath ------------------------------------------------------------------------------------------------------
const breath: Breath = {
  dispatcherPull: dispatcher === null ? null : () => dispatcher!.pull(),
  stackBegin: () => {
    signals.deliver();
    return waiting() ? 0 : stack.begin();
  },
  handler: null,
  stackEnd: () => stack.end(),
  dispatcherPush: dispatcher === null ? null : () => dispatcher!.push(),
  flush,
  pending: () =>
    (phase === 'quiet' ? workerPort.redirected() : (!waiting() && stack.pending()) || signals.pending()) ||
    (dispatcher?.pending() ?? false) ||
    ending,
  nextDeadlineMs: () => {
    const a = phase === 'quiet' ? -1 : stack.nextDeadlineMs();
    const b = dispatcher === null ? -1 : dispatcher.nextDeadlineMs();
    const next = a < 0 ? b : b < 0 ? a : Math.min(a, b);
    return (phase === 'serving' || phase === 'draining') && (next < 0 || next > DRAIN_LOOK_MS) ? DRAIN_LOOK_MS : next;
  },
  ...threadSleep(thread, port, bell, false),
};

const driver = new Driver({
  record,
  counters,
  brokerCounters,
  bell,
  readClock: thread.clockReader(),
  nowNs: thread.nowNs(),
  sample: () => thread.sample(),
  microtasks: native?.microtasks ?? null,
  messages: () => {
    background.receive();
    for (;;) {
      const m = receiveMessageOnPort(parentPort!);
      if (m === undefined) return;
      parentPort!.emit('message', m.message);
    }
  },
  idle: plan.idle,
  spins: plan.spins,
  pause: native?.pause ?? null,
  blocking: false,
  breath,
  command,
  failed: (error) => {
    record.set(T_STATE, TS_FAILED);
    throw error;
  },
});

// What the APIs see -------------------------------------------------------------------------------------------------
let saidReady = false;
/** When the claims of a forerunner that are not its own by then are given up; a program that loops has no timers. */
let relistenBy = 0;
let settled = false;

function settleClaims(): void {
  if (settled || phase !== 'running') return;
  settled = true;
  stack.withdrawStaleClaims();
  record.set(T_UNSETTLED, 0);
}

function ready(): void {
  if (saidReady) return;
  saidReady = true;
  forProgram = false;
  if (record.get(T_EPOCH) > 0) {
    relistenBy = (clock[1]! + RELISTEN_MS) | 0;
    setTimeout(settleClaims, RELISTEN_MS).unref();
  }
  post({ type: 'ready', worker });
}

const context: WorkerContext = {
  worker,
  workers: plan.workers,
  cpu: me.cpus.length > 0 ? me.cpus[0]! : -1,
  sockets: stack.sockets,
  host,
  counters,
  config: plan.stack,
  configFile: plan.configFile,
  clock,
  setHandler: (handler) => {
    breath.handler = handler;
  },
  background,
  wake: () => bell.ring(),
  turn: (waitMs) => {
    ready();
    if (phase !== 'running') return 0;
    if (!settled && relistenBy !== 0 && ((clock[1]! - relistenBy) | 0) >= 0) settleClaims();
    return driver.turn(waitMs);
  },
  interrupted: () => {
    signals.deliver();
    return ending || record.get(T_COMMAND) !== CMD_RUN;
  },
  onSignal: (signal, handler) => signals.set(signal, handler),
  takeSignal: () => signals.take(),
  stop: () => {
    ending = true;
    record.set(T_COMMAND, CMD_DRAIN);
  },
  listening: (address, portNumber) => {
    record.set(T_LISTENERS, record.get(T_LISTENERS) + 1);
    post({ type: 'listening', worker, address, port: portNumber });
  },
};
injectContext(context);

/** Not an error: a program may wait for something first, or want no more than a stack that answers ping. */
function hintNoLoop(): void {
  if (phase !== 'running' || breath.handler !== null || driver.parity) return;
  process.stderr.write(
    'flowring: the program has no loop yet, so nothing serves its sockets: call run(mctx, ep, handler), or epollWait in a loop; stop(mctx) ends it\n',
  );
}

// A listener keeps the event loop alive while the thread sleeps in Atomics.waitAsync.
parentPort!.on('message', () => {});
dispatcher?.host?.start();
record.set(T_STATE, TS_RUNNING);
driver.start();
if (module !== null) {
  await importModule(module.url);
  if (worker === 0) setTimeout(hintNoLoop, NO_LOOP_MS).unref();
}
ready();
