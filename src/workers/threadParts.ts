/** What all kinds of threads need: GC figures, and the ways a thread sleeps; and the loop of those without a stack. */
import { PerformanceObserver } from 'node:perf_hooks';
import { parentPort } from 'node:worker_threads';
import type { Port } from '../ports/port.ts';
import { T_STATE, TS_FAILED, TS_RUNNING } from '../rings/control.ts';
import { C_GC_COUNT, C_GC_NS } from '../rings/counters.ts';
import type { Doorbell } from '../rings/doorbell.ts';
import { type Breath, Driver } from './driver.ts';
import type { Thread, ThreadMessage } from './plan.ts';

/**
 * Counts this isolate's garbage collections: natively where that can be (the thread's samples read them), else through
 * the event loop, which a program that never yields does not turn.
 */
export function observeGc(thread: Thread): void {
  if (thread.watchesGc) return;
  const v = thread.counters.v;
  new PerformanceObserver((list) => {
    for (const e of list.getEntries()) {
      v[C_GC_COUNT]!++;
      v[C_GC_NS]! += e.duration * 1e6;
    }
  }).observe({ entryTypes: ['gc'] });
}

/** What runs on a thread without a stack: a dispatcher, a transmitter. */
export interface Front {
  pull: () => number;
  push: () => number;
  pending: () => boolean;
  nextDeadlineMs: () => number;
}

/** Starts the loop of a thread without a stack, and tells main. `command` as in DriverEnv. */
export function driveFront(
  thread: Thread,
  id: number,
  bell: Doorbell,
  port: Port | null,
  front: Front,
  command: (c: number) => boolean,
): void {
  const driver = new Driver({
    record: thread.record,
    counters: thread.counters,
    brokerCounters: null,
    bell,
    readClock: thread.clockReader(),
    nowNs: thread.nowNs(),
    sample: () => thread.sample(),
    microtasks: null,
    messages: null,
    idle: thread.plan.idle,
    spins: thread.plan.spins,
    pause: thread.native?.pause ?? null,
    blocking: true,
    breath: {
      dispatcherPull: front.pull,
      stackBegin: null,
      handler: null,
      stackEnd: null,
      dispatcherPush: front.push,
      flush: null,
      pending: front.pending,
      nextDeadlineMs: front.nextDeadlineMs,
      ...threadSleep(thread, port, bell, true),
    },
    command,
    failed: (error) => {
      thread.record.set(T_STATE, TS_FAILED);
      throw error;
    },
  });
  // A listener keeps the event loop alive while the thread sleeps in Atomics.waitAsync.
  parentPort!.on('message', () => {});
  thread.record.set(T_STATE, TS_RUNNING);
  parentPort!.postMessage({ type: 'ready', worker: id } satisfies ThreadMessage);
  driver.start();
}

/** How a thread sleeps (driver.ts, `Breath`). */
export type Sleep = Pick<Breath, 'wait' | 'watch'>;

/**
 * poll(2), or a watch of the event loop, on the device, if there is one, and on an eventfd that becomes this thread's bell.
 * Without the addon both are null. `blocking`: no program waits for this thread's event loop, so no watch is needed.
 */
export function threadSleep(thread: Thread, port: Port | null, bell: Doorbell, blocking: boolean): Sleep {
  const native = thread.native;
  const device = port?.caps.waitable ? port : null;
  if (native === null || (device === null && blocking)) return { wait: null, watch: null };
  let fd = bell.eventfd();
  if (fd < 0) {
    fd = native.eventfdOpen();
    bell.setEventfd(fd);
  }
  if (device === null) return { wait: null, watch: (wake) => native.eventfdWatch(fd, wake) };
  return { wait: (ms) => device.wait(fd, ms), watch: blocking ? null : (wake) => device.watch?.(fd, wake) ?? null };
}
