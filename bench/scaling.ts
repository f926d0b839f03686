/**
 * What do more workers give, measured as far as the CPUs here go, and what would 4 to 64 cores give by what each stage costs?
 *
 *   npm run bench -- scaling
 */
import { availableParallelism } from 'node:os';
import { readMachine } from '../src/main/cpus.ts';
import { duel } from './duel.ts';
import { perSecond, type Load } from './load.ts';
import { type Exhibit, type Plan, type Question, Sheet } from './question.ts';
import { rings } from './rings.ts';
import { CORES, type Costs, LAYOUTS, modelled, type ScaledLayout, threadCosts, workersToFill } from './scalingModel.ts';
import { benchServer } from './server.ts';
import { type Counted, startSwitch, type SwitchServer } from './station.ts';

const LOADS: readonly { name: string; unit: string; load: Load }[] = [
  { name: 'echo 64', unit: 'round trips', load: { mode: 'echo', connections: 64, size: 64 } },
  { name: 'short 64', unit: 'connections', load: { mode: 'short', connections: 64, size: 64 } },
];
/** More are not tried, however many CPUs there are. */
const WORKERS_MAX = 16;
const STAGES = ['pull', 'input', 'app', 'output', 'push'] as const;
const CROSSING = 'rings 16, threads';

const threads = (workers: number, cpus: number): string => (workers + 1 > cpus ? `, ${workers + 1} threads on ${cpus} CPUs` : '');

/** A server of so many workers, a queue each, its threads from the first CPU on; the client keeps the last one as long as there are enough. */
async function start(workers: number, layout: string, plan: Plan): Promise<SwitchServer> {
  const { allowed } = readMachine();
  const cpus = Array.from({ length: workers }, (_, i) => allowed[i % allowed.length]!);
  const sets = [...plan.sets, `server:layout=${layout}`, `server:workers=${workers}`];
  const rig = await startSwitch(benchServer('echo').module, { cores: plan.cores, sets }, cpus);
  return { ...rig, name: `${layout === 'inline' ? 'layout inline' : `${workers} worker${workers === 1 ? '' : 's'}`}` };
}

/** Each number of workers beside one; one beside `inline`, which is the same with nobody to share with. */
async function measured(plan: Plan, sheet: Sheet): Promise<void> {
  const cpus = availableParallelism();
  for (let n = 1; n <= Math.min(cpus, WORKERS_MAX); n++) {
    const running: SwitchServer[] = [];
    try {
      running.push(await start(n, 'run-to-completion', plan));
      running.push(n === 1 ? await start(1, 'inline', plan) : await start(1, 'run-to-completion', plan));
      for (const { name, unit, load } of LOADS) {
        const title = `${name}, ${n} worker${n === 1 ? '' : 's'}${threads(n, cpus)}`;
        await duel({ name: title, load, measures: [perSecond(unit)] }, 'switch', running[0]!, running[1]!, plan, sheet);
      }
    } catch (error) {
      sheet.fail(`scaling, ${n} workers`, (error as Error).message);
    }
    for (const r of running) await r.stop().catch((error: Error) => sheet.fail(`scaling, ${n} workers`, error.message));
  }
}

/** Nanoseconds of a descriptor between two threads, as the rings question has it. */
async function crossingNs(plan: Plan): Promise<number> {
  const sheet = new Sheet();
  await rings.run({ ...plan, seconds: 0.2, rounds: 3, warmSeconds: 0.3, say: () => {} }, sheet);
  const row = sheet.rows.find((r) => r.case === CROSSING);
  if (row === undefined) throw new Error(`no figure for ${CROSSING}`);
  return 1e9 / row.ours;
}

const counter = (threadsOf: readonly Counted[], role: string, name: string): number =>
  threadsOf.filter((t) => t.role === role).reduce((sum, t) => sum + (t.counters[name] ?? 0), 0);

interface MeasuredCosts {
  costs: Costs;
  /** Operations a second while they were measured. */
  rate: number;
}

/** What the server's thread spends on an operation, by its own stage counters: layout `inline`, where one thread has all stages. */
async function costsOf(rig: SwitchServer, load: Load, crossing: number, plan: Plan): Promise<MeasuredCosts> {
  await rig.offer(load, 0, Math.max(plan.warmSeconds, 0.5));
  const before = await rig.figures();
  const t = await rig.offer(load, 0, plan.seconds);
  const after = await rig.figures();
  const perOperation = (role: string, name: string): number => (counter(after, role, name) - counter(before, role, name)) / t.total;
  const stage = (s: string): number => perOperation('worker', `stage${s[0]!.toUpperCase()}${s.slice(1)}Ns`);
  const [pull, input, app, output, push] = STAGES.map(stage) as [number, number, number, number, number];
  const [packetsIn, packetsOut] = [perOperation('worker', 'rxPackets'), perOperation('worker', 'txPackets')];
  if (!(packetsIn > 0 && packetsOut > 0 && input > 0)) throw new Error('the counters of the server tell nothing');
  return { costs: { pull, input, app, output, push, packetsIn, packetsOut, crossing }, rate: t.operations / t.seconds };
}

const ns = (x: number): string => x.toFixed(0);
const kilo = (x: number): string => `${(x / 1000).toPrecision(3)} k`;
const mega = (x: number): string => (x >= 1e6 ? `${(x / 1e6).toPrecision(3)} M` : kilo(x));

/** The costs as they were measured, and what one core of them would do beside what it did. */
function costExhibit(all: readonly (MeasuredCosts & { name: string })[]): Exhibit {
  return {
    title: 'Measured: what a stage costs',
    text: [
      'Nanoseconds of the server’s thread an operation, from one breath in 64 that is timed stage by stage (docs/threads.md has the stages), layout `inline`, one client on the other CPU. `pull` and `push` are what a dispatcher does in other layouts. Breaths that found little are in it, and so is whatever interrupted a timed one. *By its costs* is what a core would do that did nothing else; *measured* what it did, in a closed loop with a client that is busy, too.',
      `A descriptor’s way from one thread to another took ${ns(all[0]!.costs.crossing)} ns (\`${CROSSING}\`).`,
    ],
    head: ['work', ...STAGES.map((s) => `${s} ns`), 'sum ns', 'frames in', 'frames out', 'by its costs', 'measured'],
    rows: all.map(({ name, costs, rate }) => {
      const sum = STAGES.reduce((a, s) => a + costs[s], 0);
      const frames = [costs.packetsIn, costs.packetsOut].map((x) => x.toFixed(2));
      return [name, ...STAGES.map((s) => ns(costs[s])), ns(sum), ...frames, `${kilo(1e9 / sum)}/s`, `${kilo(rate)}/s`];
    }),
  };
}

function modelExhibit(name: string, unit: string, costs: Costs): Exhibit {
  const line = (layout: ScaledLayout): string[] => {
    const { dispatcher, worker } = threadCosts(layout, costs);
    const cells = CORES.map((n) => {
      const m = modelled(layout, costs, n);
      return `${mega(m.perSecond)}${m.limit === 'dispatcher' ? ' *' : ''}`;
    });
    return [layout, dispatcher === 0 ? '–' : ns(dispatcher), ns(worker), ...cells, String(workersToFill(layout, costs) ?? '–')];
  };
  return {
    title: `Model: ${name}, ${unit} a second`,
    text: ['An asterisk: the dispatcher’s time is used up, more workers give nothing.'],
    head: ['layout', 'dispatcher ns', 'worker ns', ...CORES.map((n) => `${n} cores`), 'workers that fill the dispatcher'],
    rows: LAYOUTS.map(line),
  };
}

async function model(plan: Plan, sheet: Sheet): Promise<void> {
  let rig: SwitchServer | null = null;
  try {
    const crossing = await crossingNs(plan);
    rig = await start(1, 'inline', plan);
    const all: (MeasuredCosts & { name: string; unit: string })[] = [];
    for (const { name, unit, load } of LOADS) all.push({ name, unit, ...(await costsOf(rig, load, crossing, plan)) });
    sheet.exhibits.push(costExhibit(all), ...all.map(({ name, unit, costs }) => modelExhibit(name, unit, costs)));
  } catch (error) {
    plan.say(`model: FAILED: ${(error as Error).message}`);
    sheet.fail('scaling, stage costs', (error as Error).message);
  } finally {
    await rig?.stop().catch((error: Error) => sheet.fail('scaling, stage costs', error.message));
  }
}

export const scaling: Question = {
  name: 'scaling',
  asks: 'what more workers give on the CPUs there are, and, as a model from the cost of each stage, on 4 to 64 cores',
  method:
    'Over the switch, layout `run-to-completion`, 1 to as many workers as there are usable CPUs, one client worker: each number of workers in turn with one worker, and one worker with layout `inline`. Where there are more threads than CPUs the row says so, and shows what sharing costs, not what scaling gives. The model and its assumptions are in [scaling.md](scaling.md).',
  seconds: 2,
  rounds: 3,
  run: async (plan, sheet) => {
    if (!plan.ports.includes('switch')) return sheet.skip('scaling', 'it is asked over the switch only');
    await measured(plan, sheet);
    await model(plan, sheet);
  },
};
