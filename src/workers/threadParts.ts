/** What both kinds of threads need: GC figures, and the ways a thread sleeps. */
import { PerformanceObserver } from 'node:perf_hooks';
import type { Port } from '../ports/port.ts';
import { C_GC_COUNT, C_GC_NS } from '../rings/counters.ts';
import type { Doorbell } from '../rings/doorbell.ts';
import type { Breath } from './driver.ts';
import type { Thread } from './plan.ts';

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
