/**
 * The control block: one shared block a runtime, also visible in /dev/shm. Threads find their bell, state, clock and
 * counters here; the steering tables and the published host state stand behind the thread records.
 *
 * Header words 4..8: thread records · workers · byte offset of the steering tables · of the host state · total.
 *
 * Thread record (THREAD_BYTES from THREADS_AT + i * THREAD_BYTES), words:
 * | word   | meaning                                                     | writer |
 * |--------|-------------------------------------------------------------|--------|
 * | 0      | state TS_*                                                  | thread |
 * | 1      | command CMD_*                                               | main   |
 * | 2      | role ROLE_*                                                 | main   |
 * | 3      | worker id (or -1)                                           | main   |
 * | 4      | kernel thread id                                            | thread |
 * | 5      | CPU last run on, -1 unknown                                 | thread |
 * | 6      | heartbeat, bumped every full breath                         | thread |
 * | 7      | epoch, bumped when a worker is restarted                    | main   |
 * | 8      | nowUs  (microseconds, int32, wraps: differences < 30 min)   | thread |
 * | 9      | nowMs  (milliseconds, int32, wraps: differences < 24 days)  | thread |
 * | 10     | number of listening sockets                                 | thread |
 * | 11     | life LIFE_* of a worker                                     | main, its broker |
 * | 12     | deaths announced to this broker                             | main   |
 * | 13     | signals to hand to the program, bit n is signal n           | both   |
 * | 14     | not 0: its claims are its forerunner's, too, until its program has had time to listen again | who buried that, then thread |
 * | 16..31 | name, UTF-8, zero-padded (64 bytes)                         | main   |
 * | 32..63 | the doorbell (doorbell.ts)                                  | both   |
 * | 64..   | counters (counters.ts)                                      | thread |
 */
import { COUNTERS_BYTES } from './counters.ts';
import { BELL_WORDS } from './doorbell.ts';
import { HOST_STATE_BYTES } from './hostState.ts';
import { checkHeader, KIND_CONTROL, writeHeader } from './layout.ts';
import { STEERING_BYTES } from './steering.ts';

export const T_STATE = 0;
export const T_COMMAND = 1;
export const T_ROLE = 2;
export const T_WORKER = 3;
export const T_TID = 4;
export const T_CPU = 5;
export const T_HEARTBEAT = 6;
export const T_EPOCH = 7;
export const T_NOW_US = 8;
export const T_NOW_MS = 9;
export const T_LISTENERS = 10;
export const T_LIFE = 11;
export const T_DEATHS = 12;
export const T_SIGNALS = 13;
export const T_UNSETTLED = 14;
export const T_NAME = 16;
export const T_BELL = 32;
export const T_COUNTERS = T_BELL + BELL_WORDS;

export const TS_NEW = 0;
export const TS_STARTING = 1;
export const TS_RUNNING = 2;
export const TS_DRAINING = 3;
export const TS_STOPPED = 4;
export const TS_FAILED = 5;
/** The stack (or, for a dispatcher, every frame in flight) is gone; only the broker part still runs. */
export const TS_QUIET = 6;

/** A worker that has a thread, or had none yet. */
export const LIFE_ALIVE = 0;
/** Its thread has ended and what it held is not yet brought home. */
export const LIFE_DEAD = 1;
/** Everything it held is home: a new thread may take its place. */
export const LIFE_BURIED = 2;

export const CMD_RUN = 0;
/** Finish what is open, then stop. */
export const CMD_DRAIN = 1;
/** Stop at the next breath. */
export const CMD_STOP = 2;

export const ROLE_MAIN = 0;
export const ROLE_DISPATCHER = 1;
export const ROLE_WORKER = 2;
/** Not a thread: the record in which the dispatcher inside an inline worker counts. */
export const ROLE_BROKER = 3;
export const ROLE_NAME: readonly string[] = ['main', 'dispatcher', 'worker', 'broker'];

export const THREAD_BYTES = (T_COUNTERS * 4 + COUNTERS_BYTES + 127) & ~127;
export const THREADS_AT = 128;

export const HC_THREADS = 4;
export const HC_WORKERS = 5;
export const HC_STEERING = 6;
export const HC_HOST = 7;

export interface ControlPlan {
  threads: number;
  workers: number;
  steeringAt: number;
  hostAt: number;
  bytes: number;
}

/** Sizes of a control block for `threads` threads (main included) of which `workers` run stacks. */
export function planControl(threads: number, workers: number): ControlPlan {
  const steeringAt = THREADS_AT + threads * THREAD_BYTES;
  const hostAt = steeringAt + STEERING_BYTES;
  return { threads, workers, steeringAt, hostAt, bytes: (hostAt + HOST_STATE_BYTES + 4095) & ~4095 };
}

/** Formats a control block over `block` (zero-filled, plan.bytes long). Main only. */
export function formatControl(block: SharedArrayBuffer, plan: ControlPlan): void {
  const h = writeHeader(block, KIND_CONTROL);
  h[HC_THREADS] = plan.threads;
  h[HC_WORKERS] = plan.workers;
  h[HC_STEERING] = plan.steeringAt;
  h[HC_HOST] = plan.hostAt;
  const words = new Int32Array(block);
  for (let t = 0; t < plan.threads; t++) {
    const at = (THREADS_AT + t * THREAD_BYTES) >> 2;
    words[at + T_CPU] = -1;
    words[at + T_WORKER] = -1;
    words[at + T_BELL + 2] = -1;
  }
}

/** One thread's place in the control block. */
export class ThreadRecord {
  readonly block: SharedArrayBuffer;
  /** All words of the block; this thread's start at `at`. */
  readonly words: Int32Array;
  readonly at: number;

  constructor(block: SharedArrayBuffer, index: number) {
    checkHeader(block, KIND_CONTROL);
    this.block = block;
    this.words = new Int32Array(block, 0, block.byteLength >> 2);
    this.at = (THREADS_AT + index * THREAD_BYTES) >> 2;
  }

  get(word: number): number {
    return Atomics.load(this.words, this.at + word);
  }

  set(word: number, value: number): void {
    Atomics.store(this.words, this.at + word, value);
  }

  get bellAt(): number {
    return this.at + T_BELL;
  }

  get countersAt(): number {
    return (this.at + T_COUNTERS) * 4;
  }

  /** The two clocks as a view of two words: [nowUs, nowMs]. */
  clock(): Int32Array {
    return new Int32Array(this.block, (this.at + T_NOW_US) * 4, 2);
  }

  setName(name: string): void {
    const bytes = new Uint8Array(this.block, (this.at + T_NAME) * 4, 64);
    bytes.fill(0);
    bytes.set(new TextEncoder().encode(name).slice(0, 63));
  }

  name(): string {
    const bytes = new Uint8Array(new Uint8Array(this.block, (this.at + T_NAME) * 4, 64));
    return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
  }
}
