/**
 * What do very many connections cost: to make, to keep, to use, to end?
 *
 *   npm run bench -- connections
 */
import { join } from 'node:path';
import type { Census } from './connectionsRig.ts';
import { pinned, ROOT, runProgram } from './program.ts';
import type { Plan, Question, Sheet } from './question.ts';
import { median } from './statistics.ts';

/** Connections of a run; the first is what the others are held against. */
const COUNTS = [100, 10_000, 100_000, 1_000_000] as const;
const RIG_BOUND_MS = 6 * 60_000;
const LINE_BYTES = 64;
/** What the model reads: a row's five lines, its table slot, its words of the ready list and of epoll. */
const LINES_ALONE = 8;

async function census(plan: Plan, n: number): Promise<Census> {
  const flags = ['--expose-gc', '--max-semi-space-size=64'];
  const rig = join(ROOT, 'dist/bench/connectionsRig.js');
  const command = [process.execPath, ...flags, rig, ...[n, plan.seconds, plan.rounds, plan.warmSeconds].map(String), ...plan.sets];
  const r = await runProgram(pinned(plan.cores.server, command), RIG_BOUND_MS);
  const line = /^(\{.*\})$/m.exec(r.stdout)?.[1];
  if (r.code !== 0 || line === undefined) throw new Error(`ended with ${r.code}: ${r.stderr.trim().split('\n').pop() ?? ''}`);
  return JSON.parse(line) as Census;
}

/** Nanoseconds of one load whose address is the value of the one before it, spread over `bytes`: a miss of whatever holds less. */
export function loadNs(bytes: number): number {
  const words = LINE_BYTES / 4;
  const lines = Math.max(64, Math.floor(bytes / LINE_BYTES));
  const memory = new Int32Array(lines * words);
  // One cycle through all lines in an order without a pattern (Sattolo).
  const order = new Int32Array(lines).map((_, i) => i);
  let x = 88172645;
  for (let i = lines - 1; i > 0; i--) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    const j = (x >>> 1) % i;
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  for (let i = 0; i < lines; i++) memory[order[i]! * words] = order[(i + 1) % lines]! * words;
  const chase = (n: number): number => {
    let at = 0;
    for (let i = 0; i < n; i++) at = memory[at]!;
    return at;
  };
  let sink = chase(500_000);
  const times = Array.from({ length: 5 }, () => {
    const from = performance.now();
    sink += chase(1_000_000);
    return performance.now() - from;
  });
  if (sink < 0) throw new Error('unreachable: addresses are not negative');
  return median(times);
}

const whole = (x: number): string => Math.round(x).toLocaleString('en-US');
const name = (c: Census): string => whole(c.connections);

function costs(all: readonly Census[]): string[][] {
  const base = median(all[0]!.nsPerPacket);
  return all.map((c) => {
    const many = c.connections >= 10_000;
    return [
      name(c),
      many ? whole(median(c.setup)) : '–',
      many ? (Math.min(...c.setup.slice(1)) / Math.max(...c.setup.slice(1))).toFixed(2) : '–',
      many ? whole((c.residentAfter - c.residentBefore) / c.connections / 2) : '–',
      whole(median(c.echo)),
      median(c.packetsPerEcho).toFixed(2),
      whole(median(c.nsPerPacket)),
      (median(c.nsPerPacket) / base).toFixed(2),
      many ? whole(c.connections / c.teardownSeconds) : '–',
      `${whole(c.residentAfter / 2 ** 20)} MiB`,
    ];
  });
}

/** By region, of the largest run. */
function memory(c: Census): string[][] {
  const parts = Object.entries(c.regions).map(([what, bytes]) => [what, bytes.toFixed(0)]);
  const sum = Object.values(c.regions).reduce((a, b) => a + b, 0);
  const heap = (c.heapAfter - c.heapBefore) / c.connections / 2;
  return [...parts, ['sum', sum.toFixed(0)], ['JavaScript heap, measured', heap.toFixed(1)]];
}

/** Misses of a packet by the model beside what was measured. */
function account(all: readonly Census[]): string[][] {
  const base = median(all[0]!.nsPerPacket);
  return all.slice(1).map((c) => {
    const footprint = 2 * c.connections * Object.values(c.regions).reduce((a, b) => a + b, 0);
    const ns = loadNs(Math.min(footprint, 2 ** 30));
    const more = median(c.nsPerPacket) - base;
    return [
      name(c),
      `${whole(footprint / 2 ** 20)} MiB`,
      ns.toFixed(0),
      whole(ns * LINES_ALONE),
      whole(more),
      (more / (ns * LINES_ALONE)).toFixed(2),
    ];
  });
}

function show(all: readonly Census[], sheet: Sheet): void {
  sheet.exhibits.push({
    title: 'By number of connections',
    text: [
      'Set-up is the median of ten tenths, *flat* the slowest tenth over the fastest without the first. Bytes are resident memory of the process that came with the connections, by connection and end: both ends are here, so a connection takes twice that. ns are the processor time of the one thread over packets received by either end, so both ends work in it, and in it the 17 stacks poll one another. 256 messages of 64 bytes are under way (64 where there are 100 connections); where connections are many each rests before its next message, so its last acknowledgment goes alone, delayed: more packets an echo.',
    ],
    head: [
      'connections',
      'set up a second',
      'flat',
      'bytes an end',
      'echoes/s',
      'packets an echo',
      'ns a packet',
      'to the first',
      'ended a second',
      'process',
    ],
    rows: costs(all),
  });
  const last = all[all.length - 1]!;
  if (last.connections < 10_000) return;
  sheet.exhibits.push({
    title: `Bytes of one end of an idle connection, of ${name(last)}`,
    text: [
      `Timers stand in the row, chunks are held from the first byte on: ${last.chunksHeld} of all stacks while all were idle. Tables are powers of two, so these are at their fullest just below one.`,
    ],
    head: ['what holds it', 'bytes'],
    rows: memory(last),
  });
  sheet.exhibits.push({
    title: 'Cache misses of a packet: a model',
    text: [
      `There are no hardware counters here. The model is ${LINES_ALONE} lines a packet that nothing else has brought in: five of the row (test/unit/stack/rowLines.test.ts counts them), one of the flow table, one of the ready list, one of epoll; each costs a load whose address depends on the one before, spread over as many bytes as both ends take together (at most 1 GiB). What is measured is the time more than with the first number of connections; below 1 is what looking ahead at a burst (tcp/touch.ts) and the processor overlap, above 1 other misses (timer lists, payload, pages) and work, as the delayed acknowledgments' timers.`,
    ],
    head: ['connections', 'bytes of both ends', 'ns a load', 'model, ns more', 'measured, ns more', 'measured over model'],
    rows: account(all),
  });
}

export const connections: Question = {
  name: 'connections',
  asks: 'what 100 to a million established connections cost: to make, to keep, to use one at random, to end',
  method:
    'One server and 16 clients, each with an address and a stack of its own, all inline on one thread over one switch; a process for each number of connections. All are made, 64 at a time; then messages go there and back over connections taken at random, every byte compared; then all are closed. Frames, chunks, timers and table slots must all be back at the end.',
  seconds: 2,
  rounds: 3,
  run: async (plan, sheet) => {
    const all: Census[] = [];
    if (!plan.ports.includes('switch')) {
      sheet.skip('connections', 'over the switch only: a million connections need both ends to be ours');
      return;
    }
    sheet.skip(
      'connections beside node:net',
      'its memory is the kernel’s for the most part, which no figure of the process shows, and a million connections are two million descriptors',
    );
    for (const n of COUNTS) {
      try {
        plan.say(`${whole(n)} connections`);
        all.push(await census(plan, n));
      } catch (error) {
        sheet.fail(`${whole(n)} connections`, (error as Error).message);
        if (all.length === 0) return;
      }
    }
    show(all, sheet);
  },
};
