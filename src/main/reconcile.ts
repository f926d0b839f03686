/**
 * What must add up when every thread has stopped: for each dispatcher and worker received = delivered + Σ drops(reason),
 * and what the dispatchers handed to workers is what the workers received.
 */
import { C_HOST_DELIVERED, C_REDIRECTED } from '../rings/counters.ts';
import { DROP_NAME, OUTGOING_DROPS } from '../rings/drops.ts';
import type { ThreadFigures } from './figures.ts';

const OUTGOING = new Set(OUTGOING_DROPS.map((reason) => DROP_NAME[reason]!));

function receiveDrops(f: ThreadFigures): number {
  let n = 0;
  for (const [reason, count] of Object.entries(f.dropsByReason)) if (!OUTGOING.has(reason)) n += count;
  return n;
}

/** One line for everything that does not add up; empty when all does. `runtimes`: figures of each runtime. */
export function reconcile(runtimes: readonly (readonly ThreadFigures[])[]): string[] {
  const problems: string[] = [];
  for (const threads of runtimes) {
    const dispatchers = threads.filter((f) => f.role === 'dispatcher' || f.role === 'broker');
    const workers = threads.filter((f) => f.role === 'worker');
    for (const f of [...dispatchers, ...workers]) {
      const sum = f.rxDelivered + receiveDrops(f);
      if (f.rxPackets !== sum)
        problems.push(`${f.name}: received ${f.rxPackets}, delivered ${f.rxDelivered}, dropped ${JSON.stringify(f.dropsByReason)}`);
    }
    const handed = dispatchers.reduce((n, f) => n + f.rxDelivered - f.counters[C_HOST_DELIVERED]!, 0);
    const taken = workers.reduce((n, f) => n + f.rxPackets, 0);
    const redirected = workers.reduce((n, f) => n + f.counters[C_REDIRECTED]!, 0);
    if (handed + redirected !== taken) {
      problems.push(
        `${workers[0]?.name ?? 'workers'}: the dispatcher handed over ${handed} frames (and ${redirected} were redirected), the workers received ${taken}`,
      );
    }
  }
  return problems;
}
