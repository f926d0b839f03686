/**
 * What a worker thread injects into the APIs: its stack and the loop that drives it. One per stack thread.
 */
import type { BackgroundLink } from './background.ts';
import type { Counters } from '../rings/counters.ts';
import type { HostView } from '../rings/hostState.ts';
import type { StackConfig } from '../stack/env.ts';
import type { Sockets } from '../stack/sockets.ts';

export interface WorkerContext {
  /** Worker id, 0..workers-1, and the CPU it is pinned to (-1 not pinned). */
  readonly worker: number;
  readonly workers: number;
  readonly cpu: number;
  readonly sockets: Sockets;
  readonly host: HostView;
  readonly counters: Counters;
  /** What the stack was made with. */
  readonly config: StackConfig;
  /** The configuration file of the run, absolute; null where there was none. */
  readonly configFile: string | null;
  /**
   * Driver-owned loop: `handler` is called once every full breath, between input and output. It must return quickly and
   * not block. Returns true when it has more to do at once (events left on its list): the next breath then follows
   * without rest. Replaces the previous handler; null removes it. A throw ends the worker.
   */
  setHandler(handler: (() => boolean | void) | null): void;
  /**
   * Parity mode, for `while (epollWait(…))`: ends the running breath (output, push) and begins the next one (pull, input,
   * timers). When that one is idle, rests up to `waitMs` (0 no rest, never longer than 100) or until the bell.
   * Between breaths it serves control: messages, logs, stop. Returns what the breath received.
   */
  turn(waitMs: number): number;
  /** Main asked this worker to stop or drain: epollWait returns -EINTR from then on. Signals that came are handled first. */
  interrupted(): boolean;
  /** Has `handler` called between breaths when the process gets `signal`, 1..31; null: no more. */
  onSignal(signal: number, handler: ((signal: number) => void) | null): void;
  /** Whether a signal's handler was called since the last time this was asked. */
  takeSignal(): boolean;
  /** Ends this worker from inside: listeners close, connections finish, the thread goes. */
  stop(): void;
  /**
   * Driver-owned loop: a call from outside a breath (a timer's or promise's callback) made work for the stack or the
   * handler; ends an asynchronous rest. Cheap when the driver is awake.
   */
  wake?(): void;
  /** The way to the background pool; absent where there is none. */
  readonly background?: BackgroundLink;
  /** [nowUs, nowMs] of the current breath. */
  readonly clock: Int32Array;
  /** Said by listen(): counted for the readiness line. */
  listening(address: number, port: number): void;
}

let current: WorkerContext | null = null;

/** Called once by the thread's entry point, before the user's module is imported. */
export function injectContext(context: WorkerContext | null): void {
  current = context;
}

/** This thread's context, or null in a thread without a stack. */
export function currentContext(): WorkerContext | null {
  return current;
}
