/** Every thread's counters and drops by name, as `flowring netstat --statistics` shows them. */
import { C_DROP, COUNTER_NAME, dropsByName } from '../rings/counters.ts';
import { readThreads } from './figures.ts';

export interface ThreadStatistics {
  name: string;
  role: string;
  worker: number;
  /** By name (rings/counters.ts); those that are 0 are left out. */
  counters: Record<string, number>;
  /** By reason (rings/drops.ts); those that are 0 are left out. */
  drops: Record<string, number>;
}

/** One consistent row a thread, main left out: it moves no frames. */
export function readStatistics(control: SharedArrayBuffer): ThreadStatistics[] {
  return readThreads(control)
    .filter((t) => t.role !== 'main')
    .map((t) => {
      const counters: Record<string, number> = {};
      for (let i = 0; i < C_DROP; i++) {
        const name = COUNTER_NAME[i];
        if (name !== undefined && t.counters[i] !== 0) counters[name] = Math.round(t.counters[i]!);
      }
      return { name: t.name, role: t.role, worker: t.worker, counters, drops: dropsByName(t.counters) };
    });
}
