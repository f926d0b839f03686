/** What main writes when a worker's thread has ended, and before another takes its place: its record, its broker's, its arena. */
import { attachPort } from '../ports/attach.ts';
import { loadNative } from '../ports/native.ts';
import { reformatArena } from '../rings/arena.ts';
import {
  CMD_RUN,
  LIFE_ALIVE,
  LIFE_DEAD,
  T_COMMAND,
  T_DEATHS,
  T_EPOCH,
  T_HEARTBEAT,
  T_LIFE,
  T_STATE,
  ThreadRecord,
  TS_FAILED,
  TS_RUNNING,
  TS_STARTING,
} from '../rings/control.ts';
import { Counters } from '../rings/counters.ts';
import type { Doorbell } from '../rings/doorbell.ts';
import { Estate } from '../workers/burial.ts';
import { DISPATCHER, type RuntimePlan } from '../workers/plan.ts';

export class WorkerLives {
  private readonly plan: RuntimePlan;
  private readonly records: ReadonlyMap<number, ThreadRecord>;
  private readonly bellOf: (id: number) => Doorbell;

  /** `records` and `bellOf`: by worker, and of the dispatcher. */
  constructor(plan: RuntimePlan, records: ReadonlyMap<number, ThreadRecord>, bellOf: (id: number) => Doorbell) {
    this.plan = plan;
    this.records = records;
    this.bellOf = bellOf;
  }

  private record(id: number): ThreadRecord {
    return this.records.get(id)!;
  }

  /**
   * A worker's thread has ended. A broker beside the workers is told to bury it and says when it has: false. True: nobody is to
   * be waited for, the next thread buries its forerunner.
   */
  announce(worker: number): boolean {
    const record = this.record(worker);
    record.set(T_STATE, TS_FAILED);
    Atomics.add(record.words, record.at + T_EPOCH, 1);
    record.set(T_LIFE, LIFE_DEAD);
    return !this.tellBroker();
  }

  private tellBroker(): boolean {
    if (this.plan.dispatcher === null) return false;
    const broker = this.record(DISPATCHER);
    Atomics.add(broker.words, broker.at + T_DEATHS, 1);
    this.bellOf(DISPATCHER).ring();
    return true;
  }

  /** Another thread takes the place of a worker that is buried. */
  revive(worker: number): void {
    const record = this.record(worker);
    record.set(T_STATE, TS_STARTING);
    record.set(T_COMMAND, CMD_RUN);
    this.bellOf(worker).awake();
    if (this.plan.dispatcher === null) return;
    reformatArena(this.plan.arenas[worker]!);
    record.set(T_LIFE, LIFE_ALIVE);
    this.tellBroker();
  }

  /** A worker's heartbeat, null while it does not run; one that sleeps is woken, so that it beats. */
  pulse(worker: number): number | null {
    const record = this.record(worker);
    if (record.get(T_STATE) !== TS_RUNNING) return null;
    this.bellOf(worker).ring();
    return record.get(T_HEARTBEAT);
  }

  /** At the very end: workers that were their own brokers, died, and have no successors. Their frames come home here. */
  settle(): void {
    const { plan } = this;
    if (plan.dispatcher !== null) return;
    const dead = plan.workerThreads.map((_, w) => w).filter((w) => this.record(w).get(T_LIFE) === LIFE_DEAD);
    const books = (record: ThreadRecord): Counters => new Counters(plan.control, record.countersAt);
    // All rings are whole before any is emptied.
    for (const [w, estate] of dead.map((w) => [w, new Estate(plan, w)] as const)) {
      const broker = plan.brokers[w]!;
      const port = attachPort(broker.port, loadNative());
      estate.clear(port);
      estate.settle(books(this.record(w)), books(new ThreadRecord(plan.control, broker.record)), null);
      port.flush();
      port.detach();
    }
  }
}
