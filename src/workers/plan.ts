/**
 * What main posts to a thread: plain structured-cloneable data, shared blocks by reference. And the pieces every thread
 * entry makes of it.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { randomFillSync } from 'node:crypto';
import type { MessagePort } from 'node:worker_threads';
import { loadNative, type Native } from '../ports/native.ts';
import type { PortAttachment } from '../ports/port.ts';
import { C_CPU_NS, C_GC_COUNT, C_GC_NS, C_SWITCHES_INVOLUNTARY, C_SWITCHES_VOLUNTARY, Counters } from '../rings/counters.ts';
import { Doorbell } from '../rings/doorbell.ts';
import { T_CPU, T_TID, ThreadRecord } from '../rings/control.ts';
import type { PortRingsPlan } from '../rings/portRings.ts';
import type { QueueRings } from '../rings/queueRings.ts';
import type { TransmitterRings } from '../rings/transmitterRings.ts';
import type { StackConfig } from '../stack/env.ts';
import type { IdleMode } from './driver.ts';

/** Native ids of shared blocks (ports/native.ts); -1 where there is no addon. */
export interface NativeIds {
  control: number;
  table: number;
  packets: number;
  /** By worker. */
  arenas: number[];
}

/** Where a thread's bell stands: normally in its record of the control block, for a switch port in the switch's block. */
export interface BellPlace {
  block: SharedArrayBuffer;
  /** Word index. */
  at: number;
}

/** Ids of threads that are no workers, in messages and in WorkerData. */
export const DISPATCHER = -1;
export const TRANSMITTER = -2;

export interface HostPlan {
  address: number;
  prefix: number;
  gateway: number;
  mtu: number;
  /** Neighbours that never age: ip, MAC first 4 bytes, last 2. */
  statics: readonly (readonly [number, number, number])[];
}

/**
 * Who runs the dispatcher: the worker itself, a thread of its own, two that receive and send, or every worker for its own queue
 * of the port.
 */
export type Layout = 'inline' | 'dispatcher' | 'dispatcher-rx-tx' | 'run-to-completion';

export interface ThreadPlan {
  index: number;
  name: string;
  /** CPUs to pin to; empty: not pinned. */
  cpus: number[];
}

/** A broker: who owns the port, or one queue of it. Runs on the dispatcher's thread, or inside a worker. */
export interface BrokerPlan {
  port: PortAttachment;
  /** Thread record in which it counts: its own thread's, or beside a stack one that stands for no thread. */
  record: number;
  /** The bell of the thread it runs on. */
  bell: BellPlace;
}

/** The thread that sends for the broker (transmitter.ts). */
export interface TransmitterPlan extends ThreadPlan {
  bell: BellPlace;
  rings: TransmitterRings;
}

export interface RuntimePlan {
  layout: Layout;
  control: SharedArrayBuffer;
  steeringAt: number;
  hostAt: number;
  rings: SharedArrayBuffer;
  ringsPlan: PortRingsPlan;
  arenas: SharedArrayBuffer[];
  port: PortAttachment;
  ids: NativeIds;
  host: HostPlan;
  stack: StackConfig;
  /** Work the port leaves to the stack: WORK_* bits. */
  txWork: number;
  txTrainBytesMax: number;
  idle: IdleMode;
  spins: number;
  burst: number;
  overflow: number;
  workers: number;
  /** The dispatcher's thread; null where brokers run inside workers. */
  dispatcher: ThreadPlan | null;
  /** The thread that sends; null where the broker does. */
  transmitter: TransmitterPlan | null;
  workerThreads: ThreadPlan[];
  /** One, or one a worker. Broker 0 has the host state. */
  brokers: BrokerPlan[];
  /** What brokers of several queues share; null where there is one. */
  queueRings: QueueRings | null;
  /** By worker: where its thread sleeps. */
  workerBells: BellPlace[];
  /** Milliseconds a drain may take before connections are reset. */
  drainMs: number;
  /** Tasks a worker may have under way in the background pool. */
  backgroundQueue: number;
  /** Where the programs' stdout goes: 1, or 2 when main's stdout carries something else. */
  stdout: 1 | 2;
  /** The configuration file that was read, absolute, or null. */
  configFile: string | null;
}

/** Thread `id`: a worker's, DISPATCHER or TRANSMITTER. */
export const threadPlan = (plan: RuntimePlan, id: number): ThreadPlan =>
  (id === DISPATCHER ? plan.dispatcher : id === TRANSMITTER ? plan.transmitter : plan.workerThreads[id])!;

/** The bell it sleeps on. */
export const bellPlace = (plan: RuntimePlan, id: number): BellPlace =>
  id === DISPATCHER ? plan.brokers[0]!.bell : id === TRANSMITTER ? plan.transmitter!.bell : plan.workerBells[id]!;

/** What main and it say to one another. */
export const threadRecord = (plan: RuntimePlan, id: number): ThreadRecord => new ThreadRecord(plan.control, threadPlan(plan, id).index);

/** A bell that the calling thread rings or sleeps on. */
export function bellAt(place: BellPlace, native: Native | null): Doorbell {
  const words = new Int32Array(place.block, 0, place.block.byteLength >> 2);
  return new Doorbell(words, place.at, native === null ? undefined : (fd) => native.eventfdWrite(fd));
}

/** The module a worker imports, and its `process.argv.slice(2)`; null: a stack without a program (tests drive it). */
export interface ModulePlan {
  url: string;
  args: string[];
}

export interface WorkerData {
  plan: RuntimePlan;
  /** Worker id, DISPATCHER or TRANSMITTER. */
  worker: number;
  module: ModulePlan | null;
  /** A stack worker's way to the background pool. */
  background: MessagePort | null;
}

/** Messages a thread posts to main. */
export type ThreadMessage =
  | { type: 'listening'; worker: number; address: number; port: number }
  | { type: 'ready'; worker: number }
  | { type: 'quiet'; worker: number }
  /** A dead worker's broker: what it held is home. */
  | { type: 'buried'; worker: number }
  | { type: 'signal'; worker: number; signal: number }
  | { type: 'error'; worker: number; message: string; stack: string; code: string }
  | { type: 'exitCode'; worker: number; code: number };

/** A thread's own affairs: record, bell, counters, clock, samples. */
export class Thread {
  readonly record: ThreadRecord;
  readonly counters: Counters;
  readonly native: Native | null;
  readonly plan: RuntimePlan;
  readonly me: ThreadPlan;
  /** Whether the addon counts garbage collections of this thread. */
  readonly watchesGc: boolean;
  private readonly clockView: Int32Array;
  private readonly clockByte: number;

  constructor(plan: RuntimePlan, me: ThreadPlan) {
    this.plan = plan;
    this.me = me;
    this.native = loadNative();
    this.record = new ThreadRecord(plan.control, me.index);
    this.counters = new Counters(plan.control, this.record.countersAt);
    this.clockView = this.record.clock();
    this.clockByte = this.clockView.byteOffset;
    if (this.native !== null) {
      this.native.setThreadName(me.name.slice(0, 15));
      if (me.cpus.length > 0) this.native.setAffinity(me.cpus);
    }
    this.watchesGc = this.native?.watchGc() ?? false;
    this.record.set(T_TID, this.native?.gettid() ?? tidFromProc());
    this.sample();
  }

  /** A bell this thread rings or sleeps on. */
  bell(place: BellPlace): Doorbell {
    return bellAt(place, this.native);
  }

  /** The function that refreshes [nowUs, nowMs]; native writes them without allocating. */
  clockReader(): () => void {
    const { native, plan, clockView, clockByte } = this;
    if (native !== null && plan.ids.control >= 0) {
      const id = plan.ids.control;
      return () => native.clock(id, clockByte);
    }
    // Allocates a number a call: only without the addon.
    return () => {
      const us = performance.now() * 1000;
      clockView[0] = us | 0;
      clockView[1] = (us / 1000) | 0;
    };
  }

  nowNs(): () => number {
    const native = this.native;
    return native !== null ? () => native.nowNs() : () => performance.now() * 1e6;
  }

  /** CPU time, context switches, CPU last run on. */
  sample(): void {
    const v = this.counters.v;
    const n = this.native;
    if (n !== null) {
      v[C_CPU_NS] = n.threadCpuNs();
      v[C_SWITCHES_VOLUNTARY] = n.voluntarySwitches();
      v[C_SWITCHES_INVOLUNTARY] = n.involuntarySwitches();
      this.record.set(T_CPU, n.currentCpu());
      if (this.watchesGc) {
        v[C_GC_COUNT] = n.gcCount();
        v[C_GC_NS] = n.gcNs();
      }
      return;
    }
    const now = performance.now();
    if (now - this.lastProc < 1000) return;
    this.lastProc = now;
    const s = readSchedstat();
    if (s >= 0) v[C_CPU_NS] = s;
  }

  private lastProc = -1e9;
}

function tidFromProc(): number {
  try {
    return Number(readlinkSync('/proc/thread-self').split('/').pop());
  } catch {
    return -1;
  }
}

/** Nanoseconds of CPU of the calling thread, from /proc; -1 where there is none. */
export function readSchedstat(): number {
  try {
    return Number(readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ')[0]);
  } catch {
    return -1;
  }
}

/** 32 random bits a call, from the system's generator in blocks, so that nothing is allocated per call. */
export function systemRandom(): () => number {
  const pool = new Int32Array(1024);
  let left = 0;
  return () => {
    if (left === 0) {
      randomFillSync(pool);
      left = pool.length;
    }
    return pool[--left]!;
  };
}
