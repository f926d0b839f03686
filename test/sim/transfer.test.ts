/**
 * Two or more complete hosts on virtual time over an impaired switch. Every run prints its seed and is repeated exactly
 * with SEED=.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Impairment } from '../../src/ports/impairment.ts';
import { C_DROP, C_RX_PACKETS, C_TCP_RETRANS_SEGS, C_TX_PACKETS } from '../../src/rings/counters.ts';
import { DROP_IMPAIRMENT, DROP_IP_CHECKSUM, DROP_L4_CHECKSUM, DROP_SWITCH } from '../../src/rings/drops.ts';
import { EHOSTUNREACH, EMFILE } from '../../src/stack/sockets.ts';
import { settleAccounts } from './ledger.ts';
import { simulate } from './simulation.ts';
import type { SimHost, Simulation } from './simulation.ts';
import { acceptAll, connectTo, listenOn, Stream } from './traffic.ts';
import { rest, transfer } from './transfer.ts';

const seed = Number(process.env.SEED ?? Date.now() & 0x7fffffff);
console.log(`seed ${seed}`);

const MB = 1_000_000;

function said(name: string, net: Simulation, bytes: number, seconds: number): void {
  const sum = (c: number): number => net.hosts.reduce((n, h) => n + h.workers.reduce((m, w) => m + w.counters.v[c]!, 0), 0);
  console.log(
    `  ${name}: ${((bytes * 8) / seconds / 1e6).toFixed(1)} Mbit/s virtual, ${sum(C_TCP_RETRANS_SEGS)} retransmitted, ${net.rounds} rounds`,
  );
}

const BAD: Impairment = { reorder: 0.02, reorderGap: 3, duplicate: 0.01, delayUs: 500, jitterUs: 100 };

for (const trains of [true, false]) {
  for (const loss of [0, 0.01, 0.1]) {
    test(`10 MB each way intact at ${loss * 100} % loss with reordering and duplication, ${trains ? 'trains' : 'single segments'}`, () => {
      const { net, seconds } = transfer({ seed, trains, stack: { trainLinksMax: 8 }, impair: { ...BAD, loss } }, 10 * MB);
      said(`loss ${loss} ${trains ? 'trains' : 'singles'}`, net, 20 * MB, seconds);
      if (loss > 0) assert.ok(net.hosts.some((h) => h.counters.v[C_DROP + DROP_IMPAIRMENT]! > 0));
      settleAccounts(net);
    });
  }
}

test('a clean link: 10 MB each way without one retransmission', () => {
  const { net, seconds } = transfer({ seed }, 10 * MB);
  said('clean', net, 20 * MB, seconds);
  for (const h of net.hosts) for (const w of h.workers) assert.is(w.counters.v[C_TCP_RETRANS_SEGS], 0);
  settleAccounts(net);
});

test('single segments and software checksums: 2 MB each way at 1 % loss', () => {
  const { net, seconds } = transfer({ seed, trains: false, checksum: false, impair: { ...BAD, loss: 0.01 } }, 2 * MB);
  said('no offload', net, 4 * MB, seconds);
  settleAccounts(net);
});

test('1 % of frames corrupted: 2 MB each way intact, bad checksums counted', () => {
  const { net } = transfer({ seed, trains: false, impair: { corrupt: 0.01, delayUs: 200 } }, 2 * MB);
  let bad = 0;
  for (const h of net.hosts) {
    for (const v of [h.counters.v, ...h.workers.map((w) => w.counters.v)])
      bad += v[C_DROP + DROP_L4_CHECKSUM]! + v[C_DROP + DROP_IP_CHECKSUM]!;
  }
  assert.ok(
    net.hosts.some((h) => h.workers.some((w) => w.counters.v[C_DROP + DROP_L4_CHECKSUM]! > 0)),
    `${bad} bad checksums`,
  );
  settleAccounts(net);
});

test('two workers a host, 24 connections, loss: each flow on its worker, all intact', () => {
  const { net } = transfer({ seed, workers: 2, impair: { ...BAD, loss: 0.01 } }, 200_000, 24);
  for (const h of net.hosts) for (const w of h.workers) assert.ok(w.counters.v[C_RX_PACKETS]! > 0, 'a worker without traffic');
  settleAccounts(net);
});

test('hardly any frames: credit runs out all the time, nothing is lost or stuck', () => {
  const { net } = transfer({ seed, framesPerPort: 160, impair: { ...BAD, loss: 0.005 } }, MB, 4);
  settleAccounts(net);
});

test('hardly any chunks: twelve connections share what would fill one buffer, both ways, nothing is lost or stuck', () => {
  for (const loss of [0, 0.01]) {
    const { net } = transfer({ seed, impair: { delayUs: 100, loss }, stack: { chunks: 32, trainLinksMax: 8 } }, 200_000, 12);
    settleAccounts(net);
  }
});

test('two workers and hardly any frames: credit is shared, neither starves', () => {
  const { net } = transfer({ seed, workers: 2, framesPerPort: 256, impair: { delayUs: 100 } }, MB, 8);
  settleAccounts(net);
});

test('a host that stands still for three seconds: its ring fills, the switch drops, others go on, then all arrives', () => {
  const net = simulate({ seed, hosts: 3, ringSlots: 4, trains: false, stack: { trainLinksMax: 1 } });
  const bytes = 2 * MB;
  const [a, b, c] = net.hosts as [SimHost, SimHost, SimHost];
  const streams: Stream[][] = [[], [], []];
  const listeners = [b, c].map((h) => listenOn(h.workers[0]!.sockets, 7));
  a.app = () => streams[0]!.map((e) => e.turn()).includes(true);
  [b, c].forEach((h, i) => {
    streams[0]!.push(new Stream(a.workers[0]!.sockets, connectTo(a.workers[0]!.sockets, h.address, 7), bytes, bytes));
    h.app = (w) => {
      const accepted = acceptAll(w.sockets, listeners[i]!, (s) => streams[1 + i]!.push(new Stream(w.sockets, s, bytes, bytes)));
      return streams[1 + i]!.map((e) => e.turn()).includes(true) || accepted;
    };
  });
  net.runUntil(() => streams[0]![0]!.received > 100_000, 10_000);
  assert.not.ok(streams[0]![0]!.done);
  b.frozen = true;
  net.run(3000);
  assert.ok(a.counters.v[C_DROP + DROP_SWITCH]! > 0, 'nothing was dropped for the host that stood still');
  assert.ok(streams[0]![1]!.done, 'the other host was held up');
  b.frozen = false;
  net.runUntil(() => streams.flat().length === 4 && streams.flat().every((e) => e.done), 60_000);
  for (const e of streams.flat()) assert.equal([e.error, e.wrong, e.received], [0, 0, bytes]);
  [b, c].forEach((h, i) => {
    h.workers[0]!.sockets.close(listeners[i]!);
  });
  rest(net);
  settleAccounts(net);
});

test('a 20 Mbit/s bottleneck with a 64 KiB queue: at least two thirds of it used, both ways', () => {
  const { net, seconds } = transfer(
    { seed, impair: { rateBps: 20e6, queueBytes: 65536, delayUs: 2000 }, stack: { trainLinksMax: 8 } },
    20 * MB,
  );
  const rate = (20 * MB * 8) / seconds / 1e6;
  console.log(`  bottleneck: ${rate.toFixed(1)} of 20 Mbit/s each way`);
  assert.ok(rate > 13.3, `${rate} Mbit/s`);
  settleAccounts(net);
});

test('600 short connections at 2 % loss: every one ends, ids and frames come home', () => {
  const net = simulate({
    seed,
    impair: { loss: 0.02, delayUs: 200, jitterUs: 50, reorder: 0.01, duplicate: 0.01 },
    stack: { timeWaitMs: 500 },
  });
  const [client, server] = [net.host(0), net.host(1)];
  const listener = listenOn(server.workers[0]!.sockets, 7);
  let begun = 0;
  let active: Stream[] = [];
  let served: Stream[] = [];
  let completed = 0;
  let failed = 0;
  let servedTotal = 0;
  const TOTAL = 600;
  const sweep = (list: Stream[], each: (e: Stream) => void): [Stream[], boolean] => {
    let moved = false;
    for (const e of list) if (e.turn()) moved = true;
    const left = list.filter((e) => !e.done);
    if (left.length !== list.length) for (const e of list) if (e.done) each(e);
    return [left, moved];
  };
  client.app = (w) => {
    let moved = false;
    while (active.length < 16 && begun < TOTAL) {
      const s = connectTo(w.sockets, server.address, 7);
      // No id is free: those in TIME_WAIT must end first.
      if (s === -EMFILE) break;
      begun++;
      active.push(new Stream(w.sockets, s, 64, 64));
      moved = true;
    }
    const [left, m] = sweep(active, (e) => {
      if (e.error === 0 && e.wrong === 0) completed++;
      else failed++;
    });
    active = left;
    return m || moved;
  };
  server.app = (w) => {
    const accepted = acceptAll(w.sockets, listener, (s) => served.push(new Stream(w.sockets, s, 64, 64)));
    const [left, m] = sweep(served, (e) => {
      servedTotal++;
      assert.is(e.wrong, 0);
    });
    served = left;
    return m || accepted;
  };
  net.runUntil(() => completed + failed === TOTAL && served.length === 0, 3_600_000);
  assert.is(failed, 0);
  assert.ok(servedTotal >= TOTAL);
  server.workers[0]!.sockets.close(listener);
  rest(net);
  settleAccounts(net);
});

test('three hosts, everyone to everyone, at 1 % loss', () => {
  const net = simulate({ seed, hosts: 3, impair: { ...BAD, loss: 0.01 } });
  const bytes = 300_000;
  const ends: Stream[][] = [[], [], []];
  const listeners = net.hosts.map((h) => listenOn(h.workers[0]!.sockets, 7));
  net.hosts.forEach((h, me) => {
    h.app = (w) => {
      let moved = acceptAll(w.sockets, listeners[me]!, (s) => ends[me]!.push(new Stream(w.sockets, s, bytes, bytes)));
      for (const e of ends[me]!) if (e.turn()) moved = true;
      return moved;
    };
    for (const other of net.hosts)
      if (other !== h) ends[me]!.push(new Stream(h.workers[0]!.sockets, connectTo(h.workers[0]!.sockets, other.address, 7), bytes, bytes));
  });
  net.runUntil(() => ends.flat().length === 12 && ends.flat().every((e) => e.done), 3_600_000);
  for (const e of ends.flat()) assert.equal([e.error, e.wrong, e.received], [0, 0, bytes]);
  net.hosts.forEach((h, i) => {
    h.workers[0]!.sockets.close(listeners[i]!);
  });
  rest(net);
  settleAccounts(net);
});

test('a host that is not there: EHOSTUNREACH, nothing left behind', () => {
  const net = simulate({ seed });
  const w = net.host(0).workers[0]!;
  const e = new Stream(w.sockets, connectTo(w.sockets, 0xc0000200 | 77 | 0, 7), 1, 1);
  net.host(0).app = () => e.turn();
  net.runUntil(() => e.done, 60_000);
  assert.is(e.error, EHOSTUNREACH);
  rest(net);
  settleAccounts(net);
});

test('the same seed is the same run, to the packet and the microsecond', () => {
  const trace = (): unknown[] => {
    const { net } = transfer({ seed, impair: { ...BAD, loss: 0.02, corrupt: 0.002 } }, 500_000);
    return [
      net.us,
      net.rounds,
      ...net.hosts.map((h) => [h.counters.v[C_TX_PACKETS], h.counters.v[C_RX_PACKETS], ...h.workers.map((w) => [...w.counters.v])]),
    ];
  };
  assert.equal(trace(), trace());
});

test.run();
