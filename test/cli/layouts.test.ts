// Every layout, end to end over the switch: all bytes verified, the books of every thread add up, every frame comes home.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { resolveModule } from '../../src/main/cli/modulePath.ts';
import { open } from '../../src/main/index.ts';
import { reconcile } from '../../src/main/reconcile.ts';
import { C_APP_BYTES_VERIFIED, C_ARP_TX } from '../../src/rings/counters.ts';
import { RING_TAIL } from '../../src/rings/layout.ts';
import { EchoNetwork } from './echoNetwork.ts';

interface Case {
  name: string;
  layout: string;
  workers: number;
  /** Roles of the server's threads. */
  roles: readonly string[];
  sets?: readonly string[];
}

const CASES: readonly Case[] = [
  { name: 'dispatcher-rx-tx', layout: 'dispatcher-rx-tx', workers: 2, roles: ['main', 'dispatcher', 'dispatcher', 'worker', 'worker'] },
  {
    name: 'dispatcher-rx-tx, lossy, few frames',
    layout: 'dispatcher-rx-tx',
    workers: 1,
    roles: ['main', 'dispatcher', 'dispatcher', 'worker'],
    sets: ['switch.loss=0.01', 'switch.duplicate=0.01', 'frames=2048', 'rings.grant=256', 'rings.rx=256', 'rings.tx=64'],
  },
  {
    name: 'run-to-completion',
    layout: 'run-to-completion',
    workers: 3,
    roles: ['main', 'worker', 'worker', 'worker', 'broker', 'broker', 'broker'],
  },
  {
    name: 'run-to-completion, lossy, small rings',
    layout: 'run-to-completion',
    workers: 2,
    roles: ['main', 'worker', 'worker', 'broker', 'broker'],
    sets: ['switch.loss=0.01', 'switch.reorder=0.02', 'frames=2048', 'rings.grant=256', 'rings.rx=256', 'rings.redirect=16'],
  },
];

for (const c of CASES)
  test(`${c.name}: all bytes verified, received = delivered + drops, every frame home`, async () => {
    const { layout, workers: count, sets = [] } = c;
    const net = new EchoNetwork({ layout, workers: count, clients: 2, connections: 16, size: 1024, seconds: 1, sets });
    try {
      await net.start();
      await net.finish();
    } catch (error) {
      await net.abandon();
      throw error;
    }
    const server = net.server.figures();
    assert.equal(
      server.map((f) => f.role),
      c.roles,
    );
    const clients = net.clients.flatMap((r) => r.figures());
    const verified = clients.reduce((n, f) => n + f.counters[C_APP_BYTES_VERIFIED]!, 0);
    assert.ok(verified > 0, 'nothing was verified');
    assert.is(
      clients.reduce((n, f) => n + f.wrongBytes + f.failed, 0),
      0,
    );
    assert.equal(reconcile([server, ...net.clients.map((r) => r.figures())]), []);
    const audit = net.fabric.settle();
    assert.is(audit.free, audit.total, JSON.stringify(audit));
    // Each thread does its own part, and one the host's.
    const workers = server.filter((f) => f.role === 'worker');
    for (const f of workers) assert.ok(f.rxPackets > 0 && f.txPackets > 0, `${f.name} did nothing`);
    assert.is(server.filter((f) => f.counters[C_ARP_TX]! > 0).length, 1, 'one thread speaks ARP');
    const { plan } = net.server;
    if (layout === 'dispatcher-rx-tx') {
      const [rx, tx] = server.filter((f) => f.role === 'dispatcher');
      assert.equal([rx!.txPackets, tx!.rxPackets], [0, 0], 'receiving and sending are apart');
      assert.ok(rx!.rxPackets > 0 && tx!.txPackets > 0);
      assert.is.not(rx!.tid, tx!.tid);
      const sent = plan.ringsPlan.tx.reduce((n, at) => n + new Int32Array(plan.rings)[at + RING_TAIL]!, 0);
      assert.ok(tx!.txPackets >= sent, `${sent} frames in tx rings, ${tx!.txPackets} sent`);
    } else {
      for (const f of server.filter((b) => b.role === 'broker')) assert.ok(f.rxPackets > 0, `${f.name} received nothing`);
      assert.equal(
        plan.brokers.map((b) => b.port.frameFirst),
        plan.brokers.map((_, q) => q * plan.port.frameCount),
      );
    }
  });

for (const layout of ['dispatcher-rx-tx', 'run-to-completion'] as const)
  test(`${layout}: a runtime nobody talks to starts, stops and loses no frame`, async () => {
    const runtime = await open({ layout, workers: 2 });
    await runtime.run(resolveModule('echo-server'), ['--listen', '7']);
    await runtime.close();
    const audit = runtime.audit();
    assert.is(audit.free, audit.total, JSON.stringify(audit));
  });

test.run();
