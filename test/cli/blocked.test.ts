/**
 * A handler that blocks for 2 s, at a fixed offered load: the other workers' deliveries stay as they are and they drop nothing;
 * what waits for the blocked worker is bounded, and what does not find a place is counted. Five runs, each beside one without.
 *
 * The load is a number of datagrams, offered at a pace: on a starved machine a run takes longer, but offers the same.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadConfig } from '../../src/main/config/load.ts';
import { openSwitch, runtimeOptions } from '../../src/main/open.ts';
import { reconcile } from '../../src/main/reconcile.ts';
import { Runtime } from '../../src/main/runtime.ts';
import { C_DROP } from '../../src/rings/counters.ts';
import { DROP_RING_FULL_DATA } from '../../src/rings/drops.ts';
import { RING_HEAD, RING_TAIL } from '../../src/rings/layout.ts';

const program = new URL('../../../test/cli/programs/blocked.mjs', import.meta.url).href;
const WORKERS = 3;
const FLOWS = 24;
const PAIRS = 5;
const TICKS = 220;
const EACH = 1;
const FRAMES = 4096;
/** Frames that may wait for a stalled worker: half of all by the number of workers. */
const SHARE = Math.floor(FRAMES / (2 * WORKERS));
/** What may come within the millisecond after which it counts as stalled, generously. */
const MARGIN = 64;
const BLOCKED = 1;
// Words shared with the programs
const W_DELIVERED = 0;
const W_DONE = 64;
const W_OWNERS = 65;

interface Run {
  /** By worker, within this run. */
  delivered: number[];
  ringFull: number;
  /** Of everything but the ring's data class, in all of the server. */
  otherDrops: number;
  /** Most descriptors seen in the blocked worker's ring. */
  most: number;
}

const words = new Int32Array(new SharedArrayBuffer(1024));

/** Waits for the client to say that it is done; `look` meanwhile. */
async function done(look = (): void => {}): Promise<void> {
  for (let i = 0; i < 3000 && Atomics.load(words, W_DONE) === 0; i++) {
    await sleep(10);
    look();
  }
  assert.is(Atomics.exchange(words, W_DONE, 0), 1, 'the client did not finish');
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1]!;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

/** Nothing has been delivered for a while: whoever was blocked has caught up. */
async function quiet(): Promise<void> {
  const all = (): number => sum(Array.from({ length: WORKERS }, (_, w) => Atomics.load(words, W_DELIVERED + w)));
  for (let last = -1, same = 0; same < 30; ) {
    await sleep(10);
    same = all() === last ? same + 1 : 0;
    last = all();
  }
}

async function oneRun(server: Runtime, client: Runtime, blocked: number): Promise<Run> {
  const drops = (): [number, number] => {
    const all = server.figures();
    const full = all.reduce((n, t) => n + t.counters[C_DROP + DROP_RING_FULL_DATA]!, 0);
    return [full, all.reduce((n, t) => n + t.drops, 0) - full];
  };
  const at = (w: number): number => Atomics.load(words, W_DELIVERED + w);
  const delivered = Array.from({ length: WORKERS }, (_, w) => -at(w));
  const [full, other] = drops();
  client.postMessage(0, { ticks: TICKS, each: EACH, blocked });
  const ring = new Int32Array(server.plan.rings);
  const base = server.plan.ringsPlan.rx[BLOCKED]!;
  let most = 0;
  const used = (): number => (Atomics.load(ring, base + RING_TAIL) - Atomics.load(ring, base + RING_HEAD)) | 0;
  await done(() => {
    most = Math.max(most, used());
  });
  // The counters of threads that sleep are committed.
  await quiet();
  const [fullNow, otherNow] = drops();
  return { delivered: delivered.map((d, w) => d + at(w)), ringFull: fullNow - full, otherDrops: otherNow - other, most };
}

test('a handler that blocks for 2 s costs the other workers nothing', async () => {
  const sets = [`frames=${FRAMES}`];
  const s = loadConfig({ flags: { address: '198.18.0.1/24', workers: String(WORKERS), cpus: 'none' }, sets }).values;
  const c = loadConfig({ flags: { address: '198.18.0.2/24', workers: '1', layout: 'inline', cpus: 'none' }, sets }).values;
  const fabric = openSwitch(s, ['server', 'client']);
  const server = new Runtime(runtimeOptions(s, fabric.handle(0), 's', [], null, 2));
  const client = new Runtime(runtimeOptions(c, fabric.handle(1), 'c', [], null, 2));
  const all = [client, server];
  try {
    await server.start({ url: program, args: ['server'] });
    for (let w = 0; w < WORKERS; w++) server.postMessage(w, { block: words.buffer });
    await client.start({ url: program, args: ['client', String(FLOWS)] });
    client.postMessage(0, { block: words.buffer });
    await done();
    const flows = Array.from({ length: WORKERS }, () => 0);
    for (let f = 0; f < FLOWS; f++) flows[words[W_OWNERS + f]!]!++;
    assert.ok(
      flows.every((n) => n > 0),
      `each worker has a flow: ${flows}`,
    );
    const offered = flows.map((n) => n * TICKS * EACH);

    const ratios: number[] = [];
    const lost: number[] = [];
    for (let pair = 0; pair < PAIRS; pair++) {
      const [plain, run] = [await oneRun(server, client, -1), await oneRun(server, client, BLOCKED)];
      for (const r of [plain, run]) {
        assert.is(r.otherDrops, 0);
        assert.is(sum(r.delivered) + r.ringFull, sum(offered), 'offered = delivered + dropped');
      }
      const others = (r: Run): number => sum(r.delivered) - r.delivered[BLOCKED]!;
      ratios.push(others(run) / others(plain));
      // On a machine so busy that a worker gets no CPU for half a second, that one is stalled, too.
      lost.push(sum(offered) - offered[BLOCKED]! - others(run));
      assert.ok(run.ringFull > 0, 'the load is more than what may wait');
      assert.ok(run.most <= SHARE + MARGIN, `${run.most} waited for the blocked worker, its share is ${SHARE}`);
    }
    assert.ok(Math.abs(median(ratios) - 1) <= 0.02, `deliveries of the others, blocked / not: ${ratios}`);
    assert.is(median(lost), 0, `dropped of what was for the others: ${lost}`);
  } finally {
    for (const r of all) await r.drain();
    for (const r of all) await r.quiet();
    await sleep(50);
    for (const r of all) await r.stop();
    for (const r of all) r.release();
  }
  assert.equal(reconcile(all.map((r) => r.figures())), []);
  const audit = fabric.settle();
  assert.is(audit.free, audit.total, 'every frame came home');
});

test.run();
