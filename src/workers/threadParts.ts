/** What both kinds of threads need: GC figures, and the sleep of a thread that polls a device. */
import { PerformanceObserver } from 'node:perf_hooks';
import type { Port } from '../ports/port.ts';
import { C_GC_COUNT, C_GC_NS } from '../rings/counters.ts';
import type { Doorbell } from '../rings/doorbell.ts';
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

/** poll(2) on the device and on an eventfd that becomes this thread's bell; null when the port cannot be waited for. */
export function pollWait(thread: Thread, port: Port, bell: Doorbell): ((ms: number) => void) | null {
  const native = thread.native;
  if (native === null || !port.caps.waitable) return null;
  const fd = native.eventfdOpen();
  bell.setEventfd(fd);
  return (ms) => port.wait(fd, ms);
}
