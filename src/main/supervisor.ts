/**
 * What becomes of a worker that dies: buried by its broker (workers/burial.ts), then another thread in its place, at once the
 * first time, later with growing pauses, and not for ever. And who is dead although its thread runs: a watchdog looks at
 * heartbeats. Policy only; threads and records are the runtime's (`SupervisedThreads`).
 */

/** A worker that has lived this long is healthy: its next death starts the pauses from the beginning. */
export const HEALTHY_MS = 10_000;
/** Pauses do not grow beyond this. */
export const BACKOFF_MAX_MS = 5_000;
/** Deaths older than this do not count any more. */
export const WINDOW_MS = 60_000;

export interface Supervision {
  /** False: the first death ends the run with the worker's own error. */
  restart: boolean;
  /** Milliseconds before the second restart in a row; each further pause is twice as long. */
  backoffMs: number;
  /** Deaths of all workers within WINDOW_MS that are forgiven. */
  restarts: number;
  /** Milliseconds without a breath, while awake, after which a worker counts as dead; 0: never. */
  watchdogMs: number;
}

/** Decides whether, and after which pause, a dead worker is replaced. Times are milliseconds of any steady clock. */
export class RestartPolicy {
  private readonly s: Supervision;
  private deaths: number[] = [];
  private readonly bornMs = new Map<number, number>();
  private readonly streak = new Map<number, number>();

  constructor(s: Supervision) {
    this.s = s;
  }

  born(worker: number, nowMs: number): void {
    this.bornMs.set(worker, nowMs);
  }

  /** Milliseconds to wait before another thread takes the place of `worker`, or -1: the run is over. */
  died(worker: number, nowMs: number): number {
    this.deaths = this.deaths.filter((t) => nowMs - t < WINDOW_MS);
    this.deaths.push(nowMs);
    if (!this.s.restart || this.deaths.length > this.s.restarts) return -1;
    const healthy = nowMs - (this.bornMs.get(worker) ?? nowMs) >= HEALTHY_MS;
    const before = healthy ? 0 : (this.streak.get(worker) ?? 0);
    this.streak.set(worker, before + 1);
    return before === 0 ? 0 : Math.min(BACKOFF_MAX_MS, this.s.backoffMs * 2 ** Math.min(before - 1, 30));
  }
}

/** What the watchdog sees of a worker: null when there is nothing to watch (it sleeps, starts, drains, or is gone). */
export type Pulse = (worker: number) => number | null;

/** Finds workers whose heartbeat stands still. */
export class Watchdog {
  private readonly limitMs: number;
  private readonly lookMs: number;
  private readonly last: (number | null)[];
  private readonly stillMs: number[];
  private lookedMs = -1;

  /** `lookMs`: how often `look` is called; a longer gap between two looks counts as no more than two, for then main did not run either. */
  constructor(workers: number, limitMs: number, lookMs: number) {
    this.limitMs = limitMs;
    this.lookMs = lookMs;
    this.last = new Array<number | null>(workers).fill(null);
    this.stillMs = new Array<number>(workers).fill(0);
  }

  /** The workers whose heartbeat has not moved for the limit. Each is told once. */
  look(nowMs: number, pulse: Pulse): number[] {
    const gap = this.lookedMs < 0 ? 0 : Math.min(nowMs - this.lookedMs, 2 * this.lookMs);
    this.lookedMs = nowMs;
    const stuck: number[] = [];
    for (let w = 0; w < this.last.length; w++) {
      const beat = pulse(w);
      if (beat === null || beat !== this.last[w]) {
        this.stillMs[w] = 0;
        this.last[w] = beat;
        continue;
      }
      this.stillMs[w] = this.stillMs[w]! + gap;
      if (this.stillMs[w]! < this.limitMs) continue;
      this.last[w] = null;
      this.stillMs[w] = 0;
      stuck.push(w);
    }
    return stuck;
  }
}

/** The runtime, as its supervisor sees it. */
export interface SupervisedThreads {
  /** Tells worker's broker that its thread has ended. `true`: it need not be waited for (the next thread buries its forerunner). */
  announce(worker: number): boolean;
  /** Starts a thread in the place of `worker`. */
  respawn(worker: number): void;
  /** Ends a worker's thread. */
  terminate(worker: number): void;
  pulse: Pulse;
  /** The run is over: a worker died of `error` and is not replaced. */
  giveUp(error: Error): void;
  /** A line for the user. */
  say(line: string): void;
}

interface Death {
  /** Milliseconds of the steady clock at which it may be replaced. */
  at: number;
  buried: boolean;
}

/** Why a worker died, in words, and its own error if it had one. */
export interface Cause {
  reason: string;
  error: Error | null;
}

export class Supervisor {
  /** Workers that died, and that serve again, since the start. */
  deaths = 0;
  restarts = 0;
  private readonly s: Supervision;
  private readonly threads: SupervisedThreads;
  private readonly names: readonly string[];
  private readonly policy: RestartPolicy;
  private readonly dead = new Map<number, Death>();
  /** Restarted and not yet ready. */
  private readonly starting = new Set<number>();
  private readonly timers = new Set<NodeJS.Timeout>();
  private watch: NodeJS.Timeout | null = null;
  /** Workers that main ended, and why. */
  private readonly sentenced = new Map<number, string>();
  private ended = false;

  constructor(s: Supervision, names: readonly string[], threads: SupervisedThreads) {
    this.s = s;
    this.names = names;
    this.threads = threads;
    this.policy = new RestartPolicy(s);
  }

  /** Every worker is up: from here on they are watched. */
  begin(): void {
    const now = performance.now();
    for (let w = 0; w < this.names.length; w++) this.policy.born(w, now);
    if (this.s.watchdogMs === 0 || this.ended) return;
    const lookMs = Math.max(10, Math.min(1000, this.s.watchdogMs / 4));
    const dog = new Watchdog(this.names.length, this.s.watchdogMs, lookMs);
    this.watch = setInterval(() => {
      for (const w of dog.look(performance.now(), this.threads.pulse))
        this.end(w, `its loop has not turned for ${this.s.watchdogMs} ms (supervise.watchdog-ms)`);
    }, lookMs);
    this.watch.unref();
  }

  /** The run ends: nobody is replaced any more. */
  stop(): void {
    this.ended = true;
    if (this.watch !== null) clearInterval(this.watch);
    for (const t of this.timers) clearTimeout(t);
    this.timers.clear();
  }

  /** Ends a worker's thread; what follows is as with any other death. */
  end(worker: number, reason: string): void {
    if (this.sentenced.has(worker) || this.dead.has(worker)) return;
    this.sentenced.set(worker, reason);
    this.threads.terminate(worker);
  }

  /** Whether main itself ended that worker's thread. */
  ends(worker: number): boolean {
    return this.sentenced.has(worker);
  }

  /** A worker's thread has ended unasked. */
  died(worker: number, cause: Cause): void {
    const reason = this.sentenced.get(worker) ?? cause.reason;
    this.sentenced.delete(worker);
    this.starting.delete(worker);
    this.deaths++;
    const buried = this.threads.announce(worker);
    if (this.ended) return;
    const error = cause.error ?? new Error(`thread ${this.names[worker]} ended: ${reason}`);
    const waitMs = this.policy.died(worker, performance.now());
    if (waitMs < 0) {
      if (this.s.restart)
        this.threads.say(`${this.names[worker]} died: ${reason}; more than ${this.s.restarts} deaths a minute (supervise.restarts)`);
      this.threads.giveUp(error);
      return;
    }
    const stack = cause.error?.stack === undefined ? '' : `\n${cause.error.stack}`;
    this.threads.say(`${this.names[worker]} died: ${reason}; starting it again${waitMs > 0 ? ` in ${waitMs} ms` : ''}${stack}`);
    this.dead.set(worker, { at: performance.now() + waitMs, buried });
    this.replace(worker);
  }

  /** Everything a dead worker held is home. */
  buried(worker: number): void {
    const death = this.dead.get(worker);
    if (death === undefined) return;
    death.buried = true;
    this.replace(worker);
  }

  /** A worker's program has been imported, or turns its loop. */
  ready(worker: number): void {
    if (!this.starting.delete(worker)) return;
    this.restarts++;
    this.threads.say(`${this.names[worker]} serves again`);
  }

  private replace(worker: number): void {
    const death = this.dead.get(worker);
    if (death === undefined || !death.buried || this.ended) return;
    const waitMs = death.at - performance.now();
    if (waitMs > 0) {
      const t = setTimeout(() => {
        this.timers.delete(t);
        this.replace(worker);
      }, waitMs);
      this.timers.add(t);
      return;
    }
    this.dead.delete(worker);
    this.starting.add(worker);
    this.policy.born(worker, performance.now());
    this.threads.respawn(worker);
  }
}
