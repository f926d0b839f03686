/**
 * How long do the slowest round trips take, and why?
 *
 *   npm run bench -- latency
 *   npm run bench -- latency --port switch
 */
import { p50, p99, p999, p9999, slowest, type Tally } from './load.ts';
import { group, matrix } from './matrix.ts';
import type { Plan, Question, Sheet } from './question.ts';
import { benchServer } from './server.ts';
import { startSwitch } from './station.ts';
import { explain, type Stall, tailExhibits, type Trip } from './tails.ts';
import { loadNative, nativeProblem } from '../src/ports/native.ts';

/** `quiet`: a thread stalls when it hears nothing for so many medians; with many connections something comes all the while. */
const LOADS = [
  { name: 'latency 1', load: { mode: 'echo', connections: 1, size: 64 }, quiet: 2.5 },
  { name: 'latency 64', load: { mode: 'echo', connections: 64, size: 64 }, quiet: 1 },
] as const;
/** A round trip is slow from so many medians on. */
const SLOW = 3;

interface ThreadStalls {
  stalls: Stall[];
  missed: number;
}
type ClientTrace = ThreadStalls & { trips: Trip[] };

/** A round of each load with both threads traced, over the switch, where both are ours. */
async function trace(plan: Plan, sheet: Sheet): Promise<void> {
  if (loadNative() === null) return sheet.skip('latency, traced', `no native addon: ${nativeProblem()}`);
  const rig = await startSwitch(benchServer('tracedEcho').module, plan);
  try {
    for (const { name, load, quiet } of LOADS) {
      const before = await rig.offer(load, 0, Math.max(plan.warmSeconds, 0.5));
      const slowUs = before.p50 * SLOW;
      const quietMs = (before.p50 * quiet) / 1000;
      await rig.tell({ server: { trace: 'begin', quietMs } });
      const t: Tally & { trace: ClientTrace } = await rig.offerMore({ ...load, slowMs: slowUs / 1000, quietMs }, 0.2, plan.seconds);
      const server = await rig.tell<ThreadStalls>({ server: { trace: 'end' } });
      const missed = t.trace.missed + server.missed;
      if (missed > 0) plan.say(`${name}: ${missed} stalls were too many to keep`);
      const explained = explain(t.trace.trips, { client: t.trace.stalls, server: server.stalls });
      // Of many connections every 16th round trip is timed (clients/work.mjs).
      const operations = Math.round(t.operations / (load.connections === 1 ? 1 : 16));
      sheet.exhibits.push(
        ...tailExhibits({
          title: `${name}, switch: slow round trips by cause`,
          operations,
          p50: t.p50,
          slowUs,
          seconds: plan.seconds,
          explained,
        }),
      );
    }
  } catch (error) {
    plan.say(`traced: FAILED: ${(error as Error).message}`);
    sheet.fail('latency, traced', (error as Error).message);
  } finally {
    await rig.stop().catch((error: Error) => sheet.fail('latency, traced', error.message));
  }
}

export const latency: Question = {
  name: 'latency',
  asks: 'the time of an echo of 64 bytes by percentiles, with one connection and with 64, and what the slow ones waited for',
  method:
    'As `echo`; over one connection every round trip is timed, over 64 every 16th on our and on node’s client, all on the C client. Percentiles are medians over the rounds, the maximum too. Then a round over the switch with both threads traced, where each slow round trip is put down to a cause.',
  seconds: 2,
  rounds: 3,
  run: async (plan, sheet) => {
    const measures = [p50, p99, p999, p9999, slowest];
    await matrix(
      [
        group(
          'echo',
          'node:net',
          LOADS.map(({ name, load }) => ({ name, load, measures })),
        ),
      ],
      plan,
      sheet,
    );
    if (plan.ports.includes('switch')) await trace(plan, sheet);
  },
};
