/**
 * What drives a stack, or a dispatcher, on its thread.
 *
 * A breath, in prose: read the clock; (inline: the dispatcher pulls); the stack begins: pull, input, timers; the
 * application's handler runs; the stack ends: output, push; bells ring; (inline: the dispatcher pushes); counters commit.
 * Breaths run back to back while there is work. Every 5 ms at most the event loop gets a turn, so that timers, promises,
 * messages and logs live. A look that finds nothing reads no clock; every 64th is a full breath. After `spins` empty
 * looks the thread rests with the bell armed: first in `Atomics.wait` (or poll(2) where it polls a device), and when it
 * has been quiet for a while in a watch on both (without the addon in `Atomics.waitAsync`), with the event loop free.
 */
import type { Watch } from '../ports/native.ts';
import * as doorbellNumbers from '../rings/doorbell.ts';
import type { Doorbell } from '../rings/doorbell.ts';
import * as controlNumbers from '../rings/control.ts';
import type { ThreadRecord } from '../rings/control.ts';
import * as counterIndex from '../rings/counters.ts';
import type { Counters } from '../rings/counters.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { SLEEP_ASYNC, SLEEP_POLL, SLEEP_WAIT } = doorbellNumbers;
const { CMD_RUN, T_COMMAND, T_HEARTBEAT } = controlNumbers;
const {
  C_BREATHS,
  C_BUSY_BREATHS,
  C_IDLE_NS,
  C_SLEEPS,
  C_STAGE_APP,
  C_STAGE_INPUT,
  C_STAGE_OUTPUT,
  C_STAGE_PULL,
  C_STAGE_PUSH,
  C_STAGE_REST,
} = counterIndex;

export type IdleMode = 'latency' | 'balanced' | 'powersave';

/** The parts of a breath. Each returns how much it moved; 0 everywhere is an idle breath. */
export interface Breath {
  /** Dispatcher's first half, or null where another thread has the port. */
  dispatcherPull: (() => number) | null;
  stackBegin: (() => number) | null;
  /** The application's turn; true when it has more to do at once. */
  handler: (() => boolean | void) | null;
  stackEnd: (() => number) | null;
  /** Publishes the stack's rings and rings whoever sleeps on them; before an inline dispatcher looks at them. */
  flush: (() => void) | null;
  dispatcherPush: (() => number) | null;
  /** Cheap: is there anything at all to do? The last look before sleeping too. */
  pending: () => boolean;
  /** Milliseconds to the next timer, 0 due, -1 none. */
  nextDeadlineMs: () => number;
  /** Sleeps in poll(2) on the device and the bell's eventfd; null where Atomics.wait serves. */
  wait: ((ms: number) => void) | null;
  /**
   * Makes the asynchronous sleep: a watch on the device, if any, and the bell's eventfd, which calls `wake` from the event
   * loop. Null, or null when called, where there is none: then a thread that has `wait` sleeps in that alone, another in
   * `Atomics.waitAsync`.
   */
  watch: ((wake: () => void) => Watch | null) | null;
}

export interface DriverEnv {
  record: ThreadRecord;
  counters: Counters;
  /** Counters of a dispatcher that runs on this thread beside the stack; committed together. */
  brokerCounters: Counters | null;
  bell: Doorbell;
  /** Writes [nowUs, nowMs] of this thread's record. */
  readClock: () => void;
  /** Monotonic nanoseconds as a double: once per sampled breath only. */
  nowNs: () => number;
  /** CPU time, context switches, current CPU: every 100 ms. */
  sample: () => void;
  /** Runs pending promise jobs from inside a synchronous loop; null where the runtime gives no way. */
  microtasks: (() => void) | null;
  /** Delivers waiting messages to the thread's listeners from inside a synchronous loop. */
  messages: (() => void) | null;
  idle: IdleMode;
  /** Empty looks before the first sleep. */
  spins: number;
  /** So many times the CPU's hint that this is a spin loop; null without the addon. */
  pause: ((n: number) => void) | null;
  /** No program waits for this thread's event loop: it sleeps synchronously, however long. */
  blocking: boolean;
  breath: Breath;
  /** Called when the command word is not CMD_RUN, between breaths. Returns true when the thread is done. */
  command: (command: number) => boolean;
  /** A throw of the application's handler or of the stack: the driver stops and hands it over. */
  failed: (error: unknown) => void;
}

/** The event loop gets a turn at least this often while busy. */
const YIELD_MS = 5;
/** Empty looks between two full breaths. */
const LOOKS = 64;
/** One breath in this many is timed stage by stage. */
const SAMPLE = 64;
/** Longest sleep of a synchronous wait, so that control is never further away than this. */
const WAIT_MAX_MS = 100;
/** A synchronous wait of the driver's own loop blocks the event loop: keep it short, then go asynchronous. */
const WAIT_SYNC_MS = 2;
/** The same where a device has no watch, once it has been quiet for QUIET_MS, and for a second: a program's timers are late by so much at most. */
const WAIT_POLL_MS = 10;
const WAIT_POLL_LONG_MS = 25;
/** Quiet for this long: sleep asynchronously. */
const QUIET_MS = 10;
/** An asynchronous sleep's end, if nothing else ends it. */
const WAIT_ASYNC_MS = 1000;
/** Empty looks at full speed; from then on the CPU pauses between two, PAUSES times its hint. */
const EAGER_LOOKS = 32;
const PAUSES = 4;
const COMMIT_EVERY = 16;

export class Driver {
  private readonly env: DriverEnv;
  private readonly clock: Int32Array;
  private readonly v: Float64Array;
  private readonly watch: Watch | null;
  private breaths = 0;
  /** Nanoseconds at which the last turn before a timed one returned to the application; 0: not known. */
  private leftAt = 0;
  private empty = 0;
  /** The last breath moved something: another follows without a look. */
  private more = false;
  private uncommitted = 0;
  private lastBusyMs = 0;
  private lastSampleMs = 0;
  private done = false;
  /** The command word as `control` saw it last: one that came later must not be slept over. */
  private commandSeen = CMD_RUN;
  /** When the asynchronous sleep that still runs began, in nanoseconds; 0 for none. */
  private asleepSince = 0;
  /** True while a synchronous application loop (`turn`) owns the thread: the driver's own ticks stand back. */
  private nested = false;

  constructor(env: DriverEnv) {
    this.env = env;
    this.clock = env.record.clock();
    this.v = env.counters.v;
    this.watch = env.breath.watch === null ? null : env.breath.watch(this.wakened);
    env.readClock();
    this.lastBusyMs = this.clock[1]!;
    this.lastSampleMs = this.clock[1]!;
  }

  /** Starts the driver-owned loop. */
  start(): void {
    setImmediate(this.tick);
  }

  /** The end of an asynchronous sleep; nothing when an application's turn ended it before. */
  private readonly wakened = (): void => {
    if (this.asleepSince === 0) return;
    this.roused();
    this.tick();
  };

  private readonly tick = (): void => {
    if (this.done) return;
    try {
      this.loop();
    } catch (error) {
      this.done = true;
      this.env.failed(error);
    }
  };

  /** Breaths until idle or until the event loop is due, then a rest, then again through the event loop. */
  private loop(): void {
    const until = (this.clock[1]! + YIELD_MS) | 0;
    const { spins, idle, breath, pause } = this.env;
    for (;;) {
      if (this.control()) return;
      if (this.more || breath.pending() || this.empty % LOOKS === LOOKS - 1) {
        this.more = this.full(breath.handler) > 0;
        if (this.more) this.empty = 0;
        else this.empty++;
        if (((this.clock[1]! - until) | 0) >= 0) break;
      } else if (++this.empty >= spins && idle !== 'latency') {
        if (!this.rest()) return;
      } else if (pause !== null && this.empty > EAGER_LOOKS) pause(PAUSES);
    }
    setImmediate(this.tick);
  }

  /** Serves the command word. True when the thread is done. */
  private control(): boolean {
    const { record, command } = this.env;
    const c = record.words[record.at + T_COMMAND]!;
    this.commandSeen = c;
    if (c === CMD_RUN || !command(c)) return false;
    this.done = true;
    this.watch?.close();
    this.commit();
    return true;
  }

  // hot: per burst
  /** One full breath. Returns what moved. */
  private full(handler: (() => boolean | void) | null): number {
    const env = this.env;
    const breath = env.breath;
    const record = env.record;
    const b = ++this.breaths;
    env.readClock();
    if (b % SAMPLE === 0) return this.timed(handler);
    let n = 0;
    if (breath.dispatcherPull !== null) n += breath.dispatcherPull();
    if (breath.stackBegin !== null) n += breath.stackBegin();
    if (handler !== null && handler() === true) n++;
    if (breath.stackEnd !== null) n += breath.stackEnd();
    if (breath.flush !== null) breath.flush();
    if (breath.dispatcherPush !== null) n += breath.dispatcherPush();
    record.words[record.at + T_HEARTBEAT] = b;
    this.account(n);
    return n;
  }

  /** The same breath with the clock read between the stages; its times stand for SAMPLE breaths. */
  private timed(handler: (() => boolean | void) | null): number {
    const { breath, record, nowNs } = this.env;
    const v = this.v;
    let n = 0;
    let t = nowNs();
    let u = t;
    if (breath.dispatcherPull !== null) n += breath.dispatcherPull();
    u = nowNs();
    v[C_STAGE_PULL]! += (u - t) * SAMPLE;
    if (breath.stackBegin !== null) n += breath.stackBegin();
    t = nowNs();
    v[C_STAGE_INPUT]! += (t - u) * SAMPLE;
    if (handler !== null && handler() === true) n++;
    u = nowNs();
    v[C_STAGE_APP]! += (u - t) * SAMPLE;
    if (breath.stackEnd !== null) n += breath.stackEnd();
    t = nowNs();
    v[C_STAGE_OUTPUT]! += (t - u) * SAMPLE;
    if (breath.flush !== null) breath.flush();
    if (breath.dispatcherPush !== null) n += breath.dispatcherPush();
    v[C_STAGE_PUSH]! += (nowNs() - t) * SAMPLE;
    record.words[record.at + T_HEARTBEAT] = this.breaths;
    this.account(n);
    return n;
  }

  // hot: per burst
  private account(n: number): void {
    const v = this.v;
    v[C_BREATHS]!++;
    if (n > 0) {
      v[C_BUSY_BREATHS]!++;
      this.lastBusyMs = this.clock[1]!;
    }
    if (++this.uncommitted >= COMMIT_EVERY) this.commit();
    if (((this.clock[1]! - this.lastSampleMs) | 0) >= 100) {
      this.lastSampleMs = this.clock[1]!;
      this.env.sample();
    }
  }

  private commit(): void {
    this.uncommitted = 0;
    this.env.counters.commit();
    if (this.env.brokerCounters !== null) this.env.brokerCounters.commit();
  }

  /** Milliseconds this thread may sleep: until the next timer, at most `limit`. */
  private sleepMs(limit: number): number {
    const next = this.env.breath.nextDeadlineMs();
    return next < 0 || next > limit ? limit : next;
  }

  /**
   * Nothing to do: sleep, then go on through the event loop. True when a synchronous sleep ended with work: the breath that
   * looks at it comes first, and the event loop, which costs 15 to 30 µs of that work's time, after it (bench/idle.ts).
   */
  private rest(): boolean {
    const { bell, breath, spins, blocking } = this.env;
    this.env.readClock();
    let quiet = (this.clock[1]! - this.lastBusyMs) | 0;
    if (quiet < 0) {
      // Quiet for longer than the clock can tell.
      quiet = 0x3fffffff;
      this.lastBusyMs = (this.clock[1]! - quiet) | 0;
    }
    const long = quiet >= QUIET_MS || this.env.idle === 'powersave';
    const free = long && !blocking && (breath.wait === null || this.watch !== null);
    const ms = this.sleepMs(
      free ? WAIT_ASYNC_MS : blocking ? WAIT_MAX_MS : !long ? WAIT_SYNC_MS : quiet < 1000 ? WAIT_POLL_MS : WAIT_POLL_LONG_MS,
    );
    // One full breath follows. Where it has been quiet for long, it alone decides: idling is not spent on spinning again.
    this.empty = (long ? spins - (spins % LOOKS) : 0) + LOOKS - 1;
    if (ms === 0) {
      setImmediate(this.tick);
      return false;
    }
    if (!free) {
      this.sleep(ms);
      if (breath.pending()) return true;
      setImmediate(this.tick);
      return false;
    }
    const ticket = bell.prepare(this.watch !== null ? SLEEP_POLL : SLEEP_ASYNC);
    if (this.news()) {
      bell.awake();
      setImmediate(this.tick);
      return false;
    }
    this.commit();
    this.v[C_SLEEPS]!++;
    this.asleepSince = this.env.nowNs();
    if (this.watch !== null) this.watch.arm(ms);
    else void bell.waitAsync(ticket, ms).then(this.wakened);
    return false;
  }

  /** The last look, with the bell armed: work, or a command. */
  private news(): boolean {
    const { breath, record } = this.env;
    return breath.pending() || record.get(T_COMMAND) !== this.commandSeen;
  }

  /** Ends an asynchronous sleep, its watch aside: its time is idle time up to here, whoever notices first. */
  private roused(): void {
    if (this.asleepSince === 0) return;
    this.env.bell.awake();
    const slept = this.env.nowNs() - this.asleepSince;
    this.asleepSince = 0;
    this.v[C_IDLE_NS]! += slept;
    this.v[C_STAGE_REST]! += slept;
  }

  /** Blocks this thread until the bell, the device, or `ms`. */
  private sleep(ms: number): void {
    const { bell, breath, nowNs } = this.env;
    const ticket = bell.prepare(breath.wait !== null ? SLEEP_POLL : SLEEP_WAIT);
    if (this.news()) {
      bell.awake();
      return;
    }
    this.commit();
    this.v[C_SLEEPS]!++;
    const before = nowNs();
    if (breath.wait !== null) breath.wait(ms);
    else bell.wait(ticket, ms);
    bell.awake();
    const slept = nowNs() - before;
    this.v[C_IDLE_NS]! += slept;
    this.v[C_STAGE_REST]! += slept;
  }

  /**
   * Parity mode, `while (epollWait(…))`: ends the breath the application is in, serves control, begins the next one; when
   * that was idle, rests up to `waitMs` (at most 100) and begins again. Returns what was received.
   */
  turn(waitMs: number): number {
    const n = this.turnOnce(waitMs);
    // The next turn is a timed one: what passes until then is the application's.
    if ((this.breaths + 1) % SAMPLE === 0) this.leftAt = this.env.nowNs();
    return n;
  }

  private turnOnce(waitMs: number): number {
    const { breath, record, microtasks, messages, spins, idle, pause } = this.env;
    if (this.asleepSince !== 0) {
      this.watch?.disarm();
      this.roused();
      // For the day the application leaves its loop.
      setImmediate(this.tick);
    }
    this.nested = true;
    const b = ++this.breaths;
    const timed = b % SAMPLE === 0;
    const sent = timed ? this.endTimed() : this.endHalf();
    record.words[record.at + T_HEARTBEAT] = b;
    if (b % LOOKS === 0 || waitMs > 0) {
      if (microtasks !== null) microtasks();
      if (messages !== null) messages();
    }
    let n = timed ? this.beginTimed() : this.beginHalf();
    this.account(n + sent);
    if (n > 0 || waitMs <= 0) return n;
    for (let looks = 0; looks < spins || idle === 'latency'; looks++) {
      if (breath.pending()) return this.beginHalf();
      if (pause !== null && looks > EAGER_LOOKS) pause(PAUSES);
      if (looks % LOOKS === LOOKS - 1 && record.words[record.at + T_COMMAND] !== CMD_RUN) return 0;
      if (looks % (LOOKS * 64) === LOOKS * 64 - 1) {
        this.env.readClock();
        if (breath.nextDeadlineMs() === 0 || idle === 'latency') return this.beginHalf();
      }
    }
    this.env.readClock();
    const ms = this.sleepMs(waitMs < WAIT_MAX_MS ? waitMs : WAIT_MAX_MS);
    if (ms > 0) this.sleep(ms);
    n = this.beginHalf();
    return n;
  }

  // hot: per burst
  private endHalf(): number {
    const breath = this.env.breath;
    let n = 0;
    if (breath.stackEnd !== null) n += breath.stackEnd();
    if (breath.flush !== null) breath.flush();
    if (breath.dispatcherPush !== null) n += breath.dispatcherPush();
    return n;
  }

  /** The halves of a turn with the clock read between the stages, as `timed` does for a whole breath. */
  private endTimed(): number {
    const { breath, nowNs } = this.env;
    const v = this.v;
    const t0 = nowNs();
    if (this.leftAt !== 0) v[C_STAGE_APP]! += (t0 - this.leftAt) * SAMPLE;
    this.leftAt = 0;
    let n = 0;
    if (breath.stackEnd !== null) n += breath.stackEnd();
    const t1 = nowNs();
    if (breath.flush !== null) breath.flush();
    if (breath.dispatcherPush !== null) n += breath.dispatcherPush();
    v[C_STAGE_OUTPUT]! += (t1 - t0) * SAMPLE;
    v[C_STAGE_PUSH]! += (nowNs() - t1) * SAMPLE;
    return n;
  }

  private beginTimed(): number {
    const { breath, nowNs, readClock } = this.env;
    const v = this.v;
    readClock();
    const t0 = nowNs();
    let n = 0;
    if (breath.dispatcherPull !== null) n += breath.dispatcherPull();
    const t1 = nowNs();
    if (breath.stackBegin !== null) n += breath.stackBegin();
    v[C_STAGE_PULL]! += (t1 - t0) * SAMPLE;
    v[C_STAGE_INPUT]! += (nowNs() - t1) * SAMPLE;
    return n;
  }

  // hot: per burst
  private beginHalf(): number {
    const breath = this.env.breath;
    this.env.readClock();
    let n = 0;
    if (breath.dispatcherPull !== null) n += breath.dispatcherPull();
    if (breath.stackBegin !== null) n += breath.stackBegin();
    return n;
  }

  /** Whether a `turn` loop has ever run on this thread. */
  get parity(): boolean {
    return this.nested;
  }
}
