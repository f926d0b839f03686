/** Two sides doing the same work in turn: both warmed first, then A B A B, a round each. */
import { checkTally, type Load, type Measure, type Tally } from './load.ts';
import type { Plan, PortName, Sheet } from './question.ts';
import { rowOf } from './statistics.ts';

/** One side of a comparison: a server that runs, and how to put a load on it. */
export interface Side {
  readonly name: string;
  /** Offers the load for `seconds` and gives the client's numbers. Rejects when it cannot. */
  offer(load: Load, warmSeconds: number, seconds: number): Promise<Tally>;
  /** CPU seconds the server has used so far; null when that cannot be told. */
  cpuSeconds(): number | null;
}

interface Round {
  tally: Tally;
  /** Seconds of the server's CPU per operation. */
  cpu: number | null;
}

/** At the start of each round connections are made, windows open: not measured. */
const ROUND_WARM_SECONDS = 0.2;

async function round(side: Side, load: Load, warm: number, seconds: number): Promise<Round> {
  const before = side.cpuSeconds();
  const tally = await side.offer(load, warm, seconds).catch((error: Error) => {
    throw new Error(`${side.name}: ${error.message}`, { cause: error });
  });
  const after = side.cpuSeconds();
  try {
    checkTally(tally, load);
  } catch (error) {
    throw new Error(`${side.name}: ${(error as Error).message}`, { cause: error });
  }
  return { tally, cpu: before === null || after === null ? null : (after - before) / tally.total };
}

/** Lost datagrams of a round, in words; nothing where there were none. */
function lossesOf(ours: Round, peer: Round): string {
  const [a, b] = [ours.tally.lost, peer.tally.lost];
  return a + b === 0 ? '' : ` (lost: ${a} against ${b})`;
}

export interface Case {
  name: string;
  load: Load;
  /** The first one gives the case its name, further ones rows of their own. */
  measures: readonly Measure[];
}

/** Measures one case and writes its rows. What goes wrong is written to the sheet as a failure. */
export async function duel(c: Case, port: PortName, ours: Side, peer: Side, plan: Plan, sheet: Sheet): Promise<void> {
  const name = `${c.name}, ${port}`;
  try {
    if (plan.warmSeconds > 0) {
      plan.say(`${name}: warming`);
      for (const side of [peer, ours]) await round(side, c.load, 0, plan.warmSeconds);
    }
    const rounds = { ours: [] as Round[], peer: [] as Round[] };
    for (let i = 0; i < plan.rounds; i++) {
      rounds.ours.push(await round(ours, c.load, ROUND_WARM_SECONDS, plan.seconds));
      rounds.peer.push(await round(peer, c.load, ROUND_WARM_SECONDS, plan.seconds));
      const shown = [rounds.ours, rounds.peer].map((r) => c.measures[0]!.of(r[i]!.tally).toPrecision(4));
      plan.say(
        `${name}: round ${i + 1} of ${plan.rounds}: ${shown[0]} against ${shown[1]} ${c.measures[0]!.unit}${lossesOf(rounds.ours[i]!, rounds.peer[i]!)}`,
      );
    }
    for (const m of c.measures)
      sheet.rows.push(
        rowOf(
          { case: `${c.name}${m.suffix}`, port, unit: m.unit, peerName: peer.name },
          {
            ours: rounds.ours.map((r) => m.of(r.tally)),
            peer: rounds.peer.map((r) => m.of(r.tally)),
            oursCpu: rounds.ours.map((r) => r.cpu),
            peerCpu: rounds.peer.map((r) => r.cpu),
          },
        ),
      );
  } catch (error) {
    plan.say(`${name}: FAILED: ${(error as Error).message}`);
    sheet.fail(name, (error as Error).message);
  }
}
