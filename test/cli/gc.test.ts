// Ten seconds of echo over the switch, after three of warm-up: no garbage collection in any isolate that moves frames, and no
// index published more often than every 16 slots or at the end of a breath.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { C_BREATHS, C_GC_COUNT, C_GC_NS, C_PUBLISHES, C_RING_SLOTS } from '../../src/rings/counters.ts';
import { PUBLISH_EVERY } from '../../src/rings/layout.ts';
import { loadConfig } from '../../src/main/config/load.ts';
import type { ThreadFigures } from '../../src/main/figures.ts';
import { openSwitch, runtimeOptions } from '../../src/main/open.ts';
import { Runtime } from '../../src/main/runtime.ts';
import { loadNative, nativeProblem } from '../../src/ports/native.ts';
import { EchoNetwork, movers } from './echoNetwork.ts';

const FROM_S = 3;
const TO_S = 13;
/** Rings between a broker and one worker: rx, tx, recycle, grant, control. */
const RINGS = 5;
const WORKERS = 2;

const sleep = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));
const look = (net: EchoNetwork): ThreadFigures[] => net.all.flatMap((r) => movers(r.figures()));

const net = new EchoNetwork({ workers: WORKERS, clients: 1, connections: 16, size: 256, seconds: TO_S + 1 });
let before: ThreadFigures[] = [];
let after: ThreadFigures[] = [];
let end: ThreadFigures[] = [];

/** By thread, what happened between the two looks. */
const table = (): string =>
  after
    .map((a, i) => {
      const of = (c: number): number => a.counters[c]! - before[i]!.counters[c]!;
      const gc = `${of(C_GC_COUNT)} collections in ${(of(C_GC_NS) / 1e6).toFixed(2)} ms (${a.counters[C_GC_COUNT]} since its start)`;
      return `    ${a.name.padEnd(10)} ${gc}; ${of(C_PUBLISHES)} publishes, ${of(C_RING_SLOTS)} slots, ${of(C_BREATHS)} breaths, ${a.rxPackets - before[i]!.rxPackets} frames in`;
    })
    .join('\n');

test.before(async () => {
  await net.start();
  const started = performance.now();
  const until = (s: number): Promise<void> => sleep(s * 1000 - (performance.now() - started));
  await until(FROM_S);
  before = look(net);
  await until(TO_S);
  after = look(net);
  await net.finish();
  end = look(net);
  process.stdout.write(`${table()}\n`);
});

test('there was traffic all the while', () => {
  for (const [i, a] of after.entries()) {
    if (a.role === 'broker') continue;
    assert.ok(a.rxPackets - before[i]!.rxPackets > 10_000, `${a.name}: ${a.rxPackets - before[i]!.rxPackets} frames in ten seconds`);
  }
});

// Without the addon the clock is performance.now(), which makes a number a breath.
if (loadNative() === null) process.stdout.write(`SKIP no garbage collection in seconds 3 to 13: no native addon (${nativeProblem()})\n`);
else {
  test('no garbage collection in seconds 3 to 13', () => {
    for (const [i, a] of after.entries()) {
      // A broker inside a worker is not an isolate of its own.
      if (a.role === 'broker') continue;
      const n = a.counters[C_GC_COUNT]! - before[i]!.counters[C_GC_COUNT]!;
      assert.is(n, 0, `${a.name}:\n${table()}`);
    }
  });
}

test('an index is published at most once per 16 slots or breath', () => {
  for (const a of end) {
    const rings = RINGS * (a.role === 'dispatcher' ? WORKERS : 1);
    // The broker inside an inline worker breathes with it.
    const breaths =
      a.role === 'broker'
        ? end.find((f) => f.tid !== -1 && f.name === a.name.replace('broker', 'work0'))!.counters[C_BREATHS]!
        : a.counters[C_BREATHS]!;
    const [publishes, slots] = [a.counters[C_PUBLISHES]!, a.counters[C_RING_SLOTS]!];
    assert.ok(publishes > 0, `${a.name} counts no publishes`);
    assert.ok(slots > 0, `${a.name} counts no ring slots`);
    const bound = slots / PUBLISH_EVERY + (breaths + 1) * rings;
    assert.ok(publishes <= bound, `${a.name}: ${publishes} publishes for ${slots} slots and ${breaths} breaths of ${rings} rings`);
  }
});

test('publishing is shared by many slots: fewer publishes than slots under load', () => {
  const d = end.find((f) => f.role === 'dispatcher')!;
  assert.ok(
    d.counters[C_PUBLISHES]! < d.counters[C_RING_SLOTS]!,
    `${d.counters[C_PUBLISHES]} publishes, ${d.counters[C_RING_SLOTS]} slots`,
  );
});

test('a program that makes garbage is found out: the counter is alive', async () => {
  const config = loadConfig({ flags: { layout: 'inline', workers: '1', address: '198.18.0.9/24' } });
  const fabric = openSwitch(config.values, ['lonely']);
  const runtime = new Runtime(runtimeOptions(config.values, fabric.handle(0), 'gc-', [], null));
  try {
    await runtime.start({ url: new URL('./garbage.js', import.meta.url).href, args: [] });
    let seen = 0;
    for (let i = 0; i < 100 && seen === 0; i++) {
      await sleep(100);
      seen = runtime.figures().find((f) => f.role === 'worker')!.counters[C_GC_COUNT]!;
    }
    assert.ok(seen > 0, 'no collection was counted in ten seconds of garbage');
  } finally {
    await runtime.close();
  }
});

test.run();
