/** Two forms of the same small work side by side, with tinybench: rows of port `none`. */
import { Bench } from 'tinybench';
import type { Plan, Sheet } from './question.ts';
import { rowOf } from './statistics.ts';

export interface MicroCase {
  name: string;
  /** What is counted, without "/s". */
  unit: string;
  /** How many of them one call does; a call should take microseconds at least, for the clock's sake. */
  perCall: number;
  ours(): void;
  peer(): void;
  peerName: string;
}

async function rate(name: string, work: () => void, perCall: number, seconds: number): Promise<number> {
  const bench = new Bench({ time: seconds * 1000, iterations: 3, warmup: false });
  bench.add(name, work);
  await bench.run();
  const result = bench.tasks[0]!.result as { state: string; latency?: { p50: number }; error?: Error };
  if (result.latency === undefined) throw result.error ?? new Error(`${name}: ${result.state}`);
  return (perCall * 1000) / result.latency.p50;
}

export async function micro(cases: readonly MicroCase[], plan: Plan, sheet: Sheet): Promise<void> {
  for (const c of cases)
    try {
      plan.say(`${c.name}: against ${c.peerName}`);
      if (plan.warmSeconds > 0) for (const work of [c.peer, c.ours]) await rate(c.name, work, c.perCall, plan.warmSeconds);
      const [ours, peer]: [number[], number[]] = [[], []];
      for (let i = 0; i < plan.rounds; i++) {
        ours.push(await rate(c.name, c.ours, c.perCall, plan.seconds));
        peer.push(await rate(c.name, c.peer, c.perCall, plan.seconds));
      }
      sheet.rows.push(
        rowOf({ case: c.name, port: 'none', unit: `${c.unit}/s`, peerName: c.peerName }, { ours, peer, oursCpu: [], peerCpu: [] }),
      );
    } catch (error) {
      plan.say(`${c.name}: FAILED: ${(error as Error).message}`);
      sheet.fail(c.name, (error as Error).message);
    }
}
