/**
 * The two ways to drive a worker: `run`, where the driver owns the loop and calls a handler, and `while (epollWait(…))`,
 * mTCP's own shape, where the application owns it and every wait turns the driver.
 */
import { EBADF, EINTR, EINVAL } from '../stack/sockets.ts';
import { EpollEvents } from './epoll.ts';
import type { EpollEvent } from './epoll.ts';
import type { Mctx } from './mctx.ts';

/** A wait within the stack lasts at most this long, so that control messages and signals are served. */
const TURN_MS_MAX = 100;
/** Events a handler gets per breath unless it asks for another number. */
const RUN_EVENTS = 1024;

/** New epoll instance: its id, or -EMFILE (63 a worker), -EINVAL. `size` is a hint, as in Linux; at least 1. */
export function epollCreate(mctx: Mctx, size = 1024): number {
  if (!Number.isInteger(size) || size < 1) return -EINVAL;
  return mctx.epolls.create();
}

/**
 * EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL of socket `s`. EPOLLERR and EPOLLHUP are always watched. ADD and MOD report
 * conditions that already hold. A socket is in one epoll instance at a time. The event object is not kept.
 * 0, -EBADF, -EEXIST, -ENOENT, -EINVAL.
 */
export function epollCtl(mctx: Mctx, ep: number, op: number, s: number, event?: EpollEvent): number {
  if (mctx.outside) mctx.wake();
  return mctx.epolls.control(ep, op, s, event);
}

/**
 * Runs at least one breath of the stack, then waits until an event is there or `timeoutMs` is over: 0 does not wait,
 * -1 waits for an event or an interrupt. Returns how many events stand in `events`, 0 after the timeout, -EINTR when the
 * worker was asked to stop (leave the loop) or a handler of `registerSignal` was called while it waited, -EBADF, -EINVAL.
 * Resolution 1 ms.
 * Inside a handler of `run` it only looks, whatever the timeout.
 *
 * @example
 * const events = new EpollEvents(256);
 * let n = 0;
 * while ((n = epollWait(mctx, ep, events, 256, -1)) >= 0) {
 *   for (let i = 0; i < n; i++) serve(events.socket[i], events.events[i]);
 * }
 */
export function epollWait(mctx: Mctx, ep: number, events: EpollEvents, maxevents: number, timeoutMs: number): number {
  const epolls = mctx.epolls;
  const consumer = epolls.consumerOf(ep);
  if (consumer < 0) return -EBADF;
  if ((maxevents | 0) !== maxevents || maxevents < 1 || maxevents > events.max || (timeoutMs | 0) !== timeoutMs || timeoutMs < -1) {
    return -EINVAL;
  }
  if (mctx.inHandler) return epolls.collect(consumer, events, maxevents);
  const context = mctx.context;
  events.count = 0;
  if (context.interrupted()) return -EINTR;
  // A handler that ran before the wait began interrupts nothing.
  context.takeSignal();
  context.turn(0);
  let n = epolls.collect(consumer, events, maxevents);
  const since = context.clock[1]!;
  let left = timeoutMs < 0 ? TURN_MS_MAX : timeoutMs;
  while (n === 0 && left > 0) {
    if (context.interrupted() || context.takeSignal()) return -EINTR;
    context.turn(left < TURN_MS_MAX ? left : TURN_MS_MAX);
    n = epolls.collect(consumer, events, maxevents);
    if (timeoutMs > 0) left = timeoutMs - ((context.clock[1]! - since) | 0);
  }
  return n === 0 && context.interrupted() ? -EINTR : n;
}

/** Called with the events of one breath, `n` of them in `events`. Must return soon: the stack runs on the same thread. */
export type EventHandler = (events: EpollEvents, n: number) => void;

/**
 * Lets the driver own the loop: it calls `handler` between input and output of each breath that has events, and runs the
 * event loop when idle, so that timers, promises and console work. Returns at once. One handler a worker, the last one
 * counts; closing `ep` ends the calls. 0, -EBADF, -EINVAL.
 *
 * @param maxEvents Events per call at most; what is left is reported in the next breath.
 *
 * @example
 * const buffer = new Uint8Array(16384);
 * run(mctx, ep, (events, n) => {
 *   for (let i = 0; i < n; i++) console.log(read(mctx, events.socket[i], buffer), 'bytes');
 * });
 */
export function run(mctx: Mctx, ep: number, handler: EventHandler, maxEvents = RUN_EVENTS): number {
  const epolls = mctx.epolls;
  const consumer = epolls.consumerOf(ep);
  if (consumer < 0) return -EBADF;
  if (typeof handler !== 'function' || !Number.isInteger(maxEvents) || maxEvents < 1) return -EINVAL;
  const events = new EpollEvents(maxEvents);
  const ready = mctx.sockets.ready;
  const generation = epolls.generation(consumer);
  mctx.outside = true;
  mctx.context.setHandler(() => {
    if (epolls.generation(consumer) !== generation) {
      mctx.context.setHandler(null);
      return false;
    }
    const n = epolls.collect(consumer, events, maxEvents);
    if (n > 0) {
      mctx.outside = false;
      mctx.inHandler = true;
      try {
        handler(events, n);
      } finally {
        mctx.inHandler = false;
        mctx.outside = true;
      }
    }
    // What is still listed is looked at again at once: level-triggered conditions, and events beyond maxEvents.
    return ready.first(consumer) >= 0;
  });
  mctx.wake();
  return 0;
}

/**
 * Ends the application in this worker, in either loop: a handler of `run` is not called again, listeners close,
 * connections finish (queued data, then FIN), then the worker goes. `process.exitCode`, set before, becomes the run's
 * exit code. When every worker has ended, so does `flowring run`.
 */
export function stop(mctx: Mctx): void {
  mctx.outside = false;
  mctx.context.setHandler(null);
  mctx.context.stop();
}

/**
 * Microseconds and milliseconds of the running breath, int32 that wrap: subtract with `| 0`. The differences hold up to
 * 30 minutes and 24 days. They cost nothing and allocate nothing, unlike `performance.now()`.
 *
 * @example
 * const sent = nowUs(mctx);
 * // …
 * const tookUs = (nowUs(mctx) - sent) | 0;
 */
export function nowUs(mctx: Mctx): number {
  return mctx.context.clock[0]!;
}

export function nowMs(mctx: Mctx): number {
  return mctx.context.clock[1]!;
}
