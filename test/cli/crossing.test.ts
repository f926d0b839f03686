// Every frame between the switch and a server's stack crosses the dispatcher's thread and a worker's rings: counted in the
// shared ring indices themselves, which only the thread at each end writes.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { reconcile } from '../../src/main/reconcile.ts';
import {
  C_APP_BYTES_VERIFIED,
  C_ARP_TX,
  C_HOST_DELIVERED,
  C_TCP_BYTES_IN,
  C_TCP_BYTES_OUT,
  C_TCP_RETRANS_SEGS,
} from '../../src/rings/counters.ts';
import { RING_HEAD, RING_TAIL } from '../../src/rings/layout.ts';
import type { ThreadFigures } from '../../src/main/figures.ts';
import { EchoNetwork } from './echoNetwork.ts';

const OPTIONS = { workers: 2, clients: 2, connections: 16, size: 1024, seconds: 1 };

const total = (list: readonly ThreadFigures[], of: (f: ThreadFigures) => number): number => list.reduce((n, f) => n + of(f), 0);

async function run(sets: readonly string[]): Promise<EchoNetwork> {
  const net = new EchoNetwork({ ...OPTIONS, sets });
  try {
    await net.start();
    await net.finish();
  } catch (error) {
    await net.abandon();
    throw error;
  }
  return net;
}

function crossed(net: EchoNetwork): void {
  const { plan } = net.server;
  const words = new Int32Array(plan.rings);
  const index = (at: number, word: number): number => words[at + word]! >>> 0;
  const threads = net.server.figures();
  const dispatcher = threads.find((f) => f.role === 'dispatcher')!;
  const workers = threads.filter((f) => f.role === 'worker');
  const clients = net.clients.flatMap((c) => c.figures().filter((f) => f.role === 'worker'));

  const tids = [dispatcher, ...workers, ...clients].map((f) => f.tid);
  assert.is(new Set([process.pid, ...tids]).size, tids.length + 1, `thread ids ${tids.join(' ')}, main ${process.pid}`);

  for (const f of workers) {
    const { worker: w, name } = f;
    const [rx, tx] = [plan.ringsPlan.rx[w]!, plan.ringsPlan.tx[w]!];
    assert.ok(f.rxPackets > 0, `${name} received nothing`);
    assert.is(f.rxPackets, index(rx, RING_TAIL), `${name}: frames received that its rx ring has not seen`);
    assert.is(index(rx, RING_HEAD), index(rx, RING_TAIL), `${name}: rx ring not empty`);
    assert.is(f.txPackets, index(tx, RING_TAIL), `${name}: frames sent that its tx ring has not seen`);
    assert.is(index(tx, RING_HEAD), index(tx, RING_TAIL), `${name}: tx ring not empty`);
  }
  const received = total(workers, (f) => f.rxPackets);
  assert.is(
    dispatcher.rxPackets,
    received + dispatcher.counters[C_HOST_DELIVERED]! + dispatcher.drops,
    'dispatcher: received is not handed over + ARP + dropped',
  );
  assert.is(
    dispatcher.txPackets,
    total(workers, (f) => f.txPackets) + dispatcher.counters[C_ARP_TX]!,
    "dispatcher: sent is not the workers' and ARP",
  );

  const verified = total(clients, (f) => f.counters[C_APP_BYTES_VERIFIED]!);
  assert.ok(verified > 100_000, `${verified} bytes verified`);
  assert.is(
    total(workers, (f) => f.counters[C_TCP_BYTES_OUT]!),
    total(clients, (f) => f.counters[C_TCP_BYTES_IN]!),
    'bytes written by servers and read by clients',
  );
  assert.is(
    total(workers, (f) => f.counters[C_TCP_BYTES_IN]!),
    total(clients, (f) => f.counters[C_TCP_BYTES_OUT]!),
    'bytes written by clients and read by servers',
  );
  assert.ok(verified <= total(clients, (f) => f.counters[C_TCP_BYTES_IN]!));
}

function addsUp(net: EchoNetwork): void {
  const ends = net.all.map((r) => r.figures());
  assert.equal(reconcile(ends), []);
  const audit = net.fabric.settle();
  assert.is(audit.free, audit.total, `frames not home: ${JSON.stringify(audit)}`);
}

test('every frame is counted by both ends of a ring, on threads of their own', async () => {
  const net = await run([]);
  crossed(net);
  addsUp(net);
  const threads = net.all.flatMap((r) => r.figures());
  const retransmitted = total(threads, (f) => f.counters[C_TCP_RETRANS_SEGS]!);
  for (const f of threads) {
    const { unacceptable = 0, closing = 0, ...others } = f.dropsByReason;
    assert.equal(others, {}, `${f.name}: drops on a switch without impairments`);
    // A machine short of CPUs makes timers fire early: the duplicates are refused, and nothing else is.
    assert.ok(
      unacceptable + closing <= retransmitted,
      `${f.name}: ${unacceptable + closing} duplicates of ${retransmitted} retransmissions`,
    );
  }
});

test('the same with steering by modulo and small rings', async () => {
  const net = await run(['steering=modulo', 'rings.rx=64', 'rings.tx=64', 'rings.grant=64']);
  crossed(net);
  addsUp(net);
});

test('under loss, duplication, reordering and corruption sums still hold, and no wrong byte comes through', async () => {
  const net = await run([
    'switch.loss=1%',
    'switch.duplicate=1%',
    'switch.reorder=1%',
    'switch.corrupt=1%',
    'offload.tx-checksum=off',
    'offload.tso=off',
  ]);
  addsUp(net);
  const clients = net.clients.flatMap((c) => c.figures().filter((f) => f.role === 'worker'));
  assert.is(
    total(clients, (f) => f.wrongBytes),
    0,
  );
  assert.is(
    total(clients, (f) => f.failed),
    0,
  );
  assert.ok(total(clients, (f) => f.bytesVerified) > 0);
  const reasons = new Set(net.all.flatMap((r) => r.figures()).flatMap((f) => Object.keys(f.dropsByReason)));
  assert.ok(reasons.has('impairment'), [...reasons].join(' '));
  assert.ok(reasons.has('l4Checksum') || reasons.has('ipChecksum'), `no flipped bit was noticed: ${[...reasons].join(' ')}`);
});

test.run();
