/** Flows find their worker: a service that only some workers offer, and connections whose replies come home. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { resolveModule } from '../../src/main/cli/modulePath.ts';
import { loadConfig } from '../../src/main/config/load.ts';
import { openSwitch, runtimeOptions } from '../../src/main/open.ts';
import { reconcile } from '../../src/main/reconcile.ts';
import { Runtime } from '../../src/main/runtime.ts';
import { C_TCP_ACTIVE_OPENS, C_TCP_PASSIVE_OPENS } from '../../src/rings/counters.ts';

const program = new URL('../../../test/cli/programs/someListen.mjs', import.meta.url).href;

interface Outcome {
  accepted: number[];
  opened: number[];
  failed: number;
  verified: number;
  problems: string[];
}

/** Three server workers of which `serving` listen, and a client of two workers; 60 connections. */
async function exchange(serving: string, steering: string): Promise<Outcome> {
  const config = (address: string, workers: string) =>
    loadConfig({ flags: { address, workers, cpus: 'none' }, sets: [`steering=${steering}`, 'tcp.time-wait-ms=100', 'drain-ms=2000'] })
      .values;
  const s = config('198.18.0.1/24', '3');
  const c = config('198.18.0.2/24', '2');
  const fabric = openSwitch(s, ['server', 'client']);
  const server = new Runtime(runtimeOptions(s, fabric.handle(0), 's', [], null, 2));
  const client = new Runtime(runtimeOptions(c, fabric.handle(1), 'c', [], null, 2));
  const all = [client, server];
  try {
    await server.start({ url: program, args: [serving] });
    await client.start({ url: resolveModule('echo-client'), args: ['--connect', '198.18.0.1:7', '--connections', '60', '--count', '600'] });
    await client.finished();
  } finally {
    for (const r of all) await r.drain();
    for (const r of all) await r.quiet();
    await new Promise((done) => setTimeout(done, 50));
    for (const r of all) await r.stop();
    for (const r of all) r.release();
  }
  const figures = all.map((r) => r.figures());
  const problems = reconcile(figures);
  const audit = fabric.settle();
  if (audit.free !== audit.total) problems.push(`${audit.total - audit.free} frames did not come home`);
  const [cf, sf] = figures.map((f) => f.filter((t) => t.role === 'worker'));
  return {
    accepted: sf!.map((f) => f.counters[C_TCP_PASSIVE_OPENS]!),
    opened: cf!.map((f) => f.counters[C_TCP_ACTIVE_OPENS]!),
    failed: cf!.reduce((n, f) => n + f.failed, 0),
    verified: cf!.reduce((n, f) => n + f.bytesVerified, 0),
    problems,
  };
}

for (const steering of ['reta', 'modulo']) {
  test(`all workers listen: each gets its share, and a client of two workers hears every answer (${steering})`, async () => {
    const o = await exchange('0,1,2', steering);
    assert.equal(o.problems, []);
    assert.is(o.failed, 0);
    assert.is(o.verified, 600 * 64);
    assert.equal(o.opened, [30, 30]);
    assert.is(
      o.accepted.reduce((a, b) => a + b),
      60,
    );
    for (const n of o.accepted) assert.ok(n >= 4, `shares ${o.accepted}`);
  });
  test(`some workers listen: only they accept (${steering})`, async () => {
    const o = await exchange('1', steering);
    assert.equal(o.problems, []);
    assert.is(o.failed, 0);
    assert.equal(o.accepted, [0, 60, 0]);
    const two = await exchange('0,2', steering);
    assert.is(two.failed, 0);
    assert.is(two.accepted[1], 0);
    assert.is(two.accepted[0]! + two.accepted[2]!, 60);
    assert.ok(two.accepted[0]! >= 8 && two.accepted[2]! >= 8, `shares ${two.accepted}`);
  });
}

test.run();
