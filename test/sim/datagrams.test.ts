/** UDP between whole hosts on virtual time: loss that every counter explains, services over several workers, replies that come home. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { C_DROP, C_REDIRECTED, C_UDP_IN_DATAGRAMS, C_UDP_NO_PORTS } from '../../src/rings/counters.ts';
import { DROP_IMPAIRMENT, DROP_L4_CHECKSUM } from '../../src/rings/drops.ts';
import { EAGAIN, ECONNREFUSED, SO_REUSEADDR, SOL_SOCKET } from '../../src/stack/sockets.ts';
import { settleAccounts } from './ledger.ts';
import { type Simulation, simulate, type SimWorker } from './simulation.ts';

const seed = Number(process.env.SEED ?? Date.now() & 0x7fffffff);
console.log(`seed ${seed}`);

const buffer = new Uint8Array(2048);
const from = { address: 0, port: 0 };

/** Bytes that say which datagram they are. */
function fill(number: number, length: number): Uint8Array {
  const b = new Uint8Array(length);
  const v = new DataView(b.buffer);
  v.setInt32(0, number);
  for (let i = 4; i < length; i++) b[i] = (number * 31 + i * 7) & 255;
  return b;
}

const sizeOf = (number: number): number => 4 + ((number * 131) % 1469);
const intact = (b: Uint8Array, n: number): boolean => Buffer.compare(b.subarray(0, n), fill(new DataView(b.buffer).getInt32(0), n)) === 0;

/** An echo service on port 7 in every worker of host 0. Returns how many datagrams each worker answered. */
function serve(net: Simulation): number[] {
  const answered = net.host(0).workers.map(() => 0);
  const sockets = net.host(0).workers.map((w) => {
    const s = w.sockets.openDatagram();
    assert.is(w.sockets.bind(s, 0, 7), 0);
    return s;
  });
  net.host(0).app = (w, i) => {
    let did = false;
    for (let n = w.sockets.receiveFrom(sockets[i]!, buffer, 0, 2048, 0, from); n >= 0; ) {
      did = true;
      answered[i]!++;
      w.sockets.sendTo(sockets[i]!, buffer, 0, n, from.address, from.port);
      n = w.sockets.receiveFrom(sockets[i]!, buffer, 0, 2048, 0, from);
    }
    return did;
  };
  return answered;
}

function closeAll(w: SimWorker): void {
  for (let s = 0; s < 1024; s++) if (w.sockets.isOpen(s)) w.sockets.close(s);
}

const sum = (net: Simulation, host: number, counter: number): number =>
  net.host(host).workers.reduce((n, w) => n + w.counters.v[counter]!, net.host(host).counters.v[counter]!);

test('a lossless link: every datagram comes back once, intact, whatever the workers', () => {
  for (const workers of [1, 3]) {
    const net = simulate({ seed, workers });
    const answered = serve(net);
    const sockets = net.host(1).workers.map((w) => Array.from({ length: 6 }, () => w.sockets.openDatagram()));
    const seen = new Set<number>();
    let sent = 0;
    const COUNT = 600;
    net.host(1).app = (w, i) => {
      let did = false;
      for (const s of sockets[i]!) {
        for (let n = w.sockets.receiveFrom(s, buffer, 0, 2048, 0, from); n >= 0; n = w.sockets.receiveFrom(s, buffer, 0, 2048, 0, from)) {
          assert.ok(intact(buffer, n));
          assert.equal(from, { address: net.host(0).address, port: 7 });
          const number = new DataView(buffer.buffer).getInt32(0);
          assert.not(seen.has(number), `datagram ${number} came twice`);
          seen.add(number);
          did = true;
        }
        // The first datagrams wait for the neighbour, who holds three: one at a time until it is known.
        if (sent < COUNT && (seen.size > 0 || sent === 0)) {
          const r = w.sockets.sendTo(s, fill(sent, sizeOf(sent)), 0, sizeOf(sent), net.host(0).address, 7);
          if (r !== -EAGAIN) {
            assert.is(r, sizeOf(sent));
            sent++;
            did = true;
          }
        }
      }
      return did;
    };
    net.runUntil(() => seen.size === COUNT, 20_000);
    assert.is(
      answered.reduce((a, b) => a + b, 0),
      COUNT,
    );
    if (workers > 1)
      assert.ok(
        answered.every((n) => n > 0),
        `shared out ${answered.join(' ')}`,
      );
    const ports = net.host(1).workers.flatMap((w, i) => sockets[i]!.map((s) => w.sockets.localPort(s)));
    const bound = ports.filter((p) => p !== 0);
    assert.is(new Set(bound).size, bound.length, 'no two sockets of the workers have the same port');
    for (const h of net.hosts) for (const w of h.workers) closeAll(w);
    settleAccounts(net);
  }
});

test('loss, duplicates, reordering and flipped bits: what does not come is counted, what comes is intact', () => {
  const net = simulate({
    seed: seed + 1,
    workers: 2,
    checksum: false,
    impair: { loss: 0.05, duplicate: 0.03, reorder: 0.1, corrupt: 0.03, delayUs: 200, jitterUs: 300 },
  });
  const answered = serve(net);
  const w = net.host(1).workers[0]!;
  const s = w.sockets.openDatagram();
  const COUNT = 3000;
  const seen = new Map<number, number>();
  let sent = 0;
  net.host(1).app = (worker, i) => {
    if (i !== 0) return false;
    for (let n = w.sockets.receiveFrom(s, buffer, 0, 2048, 0, from); n >= 0; n = w.sockets.receiveFrom(s, buffer, 0, 2048, 0, from)) {
      assert.ok(intact(buffer, n), 'a datagram is whole and right, or it is not there');
      const number = new DataView(buffer.buffer).getInt32(0);
      seen.set(number, (seen.get(number) ?? 0) + 1);
    }
    const at = Math.floor(net.ms);
    if (sent >= COUNT || at < sent >> 2) return false;
    return worker.sockets.sendTo(s, fill(sent, sizeOf(sent)), 0, sizeOf(sent), net.host(0).address, 7) >= 0 && ++sent > 0;
  };
  net.runUntil(() => sent === COUNT, 60_000);
  net.run(3000);
  const impaired = sum(net, 0, C_DROP + DROP_IMPAIRMENT) + sum(net, 1, C_DROP + DROP_IMPAIRMENT);
  const corrupt = [0, 1].map((h) => sum(net, h, C_DROP + DROP_L4_CHECKSUM));
  assert.ok(impaired > 50 && corrupt[0]! > 10 && corrupt[1]! > 10, `impaired ${impaired}, corrupt ${corrupt.join(' ')}`);
  assert.ok(seen.size > COUNT * 0.7 && seen.size < COUNT, `${seen.size} of ${COUNT} came back`);
  assert.is(
    sum(net, 0, C_UDP_IN_DATAGRAMS),
    answered.reduce((a, b) => a + b, 0),
    'what was delivered was read',
  );
  assert.is(
    sum(net, 1, C_UDP_IN_DATAGRAMS),
    [...seen.values()].reduce((a, b) => a + b, 0),
  );
  for (const h of net.hosts) for (const x of h.workers) closeAll(x);
  settleAccounts(net);
});

test('three workers: replies to a socket that bound nothing come to its worker, whatever the flow hash', () => {
  const net = simulate({ seed: seed + 2, workers: 3 });
  serve(net);
  const peers = net.host(1).workers.map((w) => w.sockets.openDatagram());
  // Each worker asks a dozen ports of one host: the flows' hashes are everybody's.
  const asked = net.host(0).workers[0]!;
  const services = Array.from({ length: 12 }, (_, p) => {
    const s = asked.sockets.openDatagram();
    assert.is(asked.sockets.bind(s, 0, 100 + p), 0);
    return s;
  });
  const echo = net.host(0).app;
  net.host(0).app = (w, i) => {
    let did = echo(w, i);
    if (i !== 0) return did;
    for (const s of services)
      for (let n = w.sockets.receiveFrom(s, buffer, 0, 2048, 0, from); n >= 0; n = w.sockets.receiveFrom(s, buffer, 0, 2048, 0, from)) {
        did = true;
        w.sockets.sendTo(s, buffer, 0, n, from.address, from.port);
      }
    return did;
  };
  const replies = peers.map(() => new Set<number>());
  const next = peers.map(() => 0);
  net.host(1).app = (w, i) => {
    let did = false;
    for (
      let n = w.sockets.receiveFrom(peers[i]!, buffer, 0, 2048, 0, from);
      n >= 0;
      n = w.sockets.receiveFrom(peers[i]!, buffer, 0, 2048, 0, from)
    ) {
      replies[i]!.add(from.port);
      did = true;
    }
    // One asked at a time.
    if (next[i]! < 12 && replies[i]!.size === next[i]) {
      if (w.sockets.sendTo(peers[i]!, fill(i, 8), 0, 8, net.host(0).address, 100 + next[i]!) < 0) return did;
      next[i]!++;
      return true;
    }
    return did;
  };
  net.runUntil(() => replies.every((r) => r.size === 12), 20_000);
  for (const [i, w] of net.host(1).workers.entries()) assert.is(w.counters.v[C_UDP_IN_DATAGRAMS], 12, `worker ${i}`);
  assert.is(sum(net, 1, C_UDP_NO_PORTS), 0);
  for (const h of net.hosts) for (const w of h.workers) closeAll(w);
  settleAccounts(net);
});

test('a service that one worker of three has: its datagrams find it, a closed port is refused to the socket that asked', () => {
  const net = simulate({ seed: seed + 3, workers: 3 });
  const server = net.host(0).workers[2]!;
  const s = server.sockets.openDatagram();
  assert.is(server.sockets.bind(s, 0, 53), 0);
  net.host(0).app = (w, i) => {
    if (i !== 2) return false;
    const n = w.sockets.receiveFrom(s, buffer, 0, 2048, 0, from);
    return n >= 0 && w.sockets.sendTo(s, buffer, 0, n, from.address, from.port) >= 0;
  };
  const clients = net.host(1).workers.flatMap((w) =>
    [53, 54].map((port) => {
      const c = w.sockets.openDatagram();
      assert.is(w.sockets.connect(c, net.host(0).address, port), 0);
      return { w, c, port, sent: false, got: 0 };
    }),
  );
  net.host(1).app = (w) => {
    let did = false;
    for (const x of clients) {
      if (x.w !== w || x.got !== 0) continue;
      if (!x.sent) {
        x.sent = w.sockets.write(x.c, fill(x.port, 64), 0, 64) === 64;
        did = true;
      }
      const n = w.sockets.read(x.c, buffer, 0, 2048, false);
      if (n !== -EAGAIN) x.got = n;
    }
    return did;
  };
  net.runUntil(() => clients.every((x) => x.got !== 0), 20_000);
  for (const x of clients) assert.is(x.got, x.port === 53 ? 64 : -ECONNREFUSED, `port ${x.port}`);
  assert.is(server.counters.v[C_UDP_IN_DATAGRAMS], 3);
  assert.is(sum(net, 0, C_UDP_NO_PORTS), 3);
  for (const h of net.hosts) for (const w of h.workers) closeAll(w);
  settleAccounts(net);
});

test("a second worker joins a service: the first one's connected sockets still hear their peers", () => {
  const net = simulate({ seed: seed + 4, workers: 2 });
  const [w0, w1] = net.host(0).workers as [SimWorker, SimWorker];
  const client = net.host(1).workers[0]!;
  net.run(20);
  const reused = (w: SimWorker): number => {
    const s = w.sockets.openDatagram();
    w.sockets.setOption(s, SOL_SOCKET, SO_REUSEADDR, 1);
    assert.is(w.sockets.bind(s, 0, 7), 0);
    return s;
  };
  // Ports of its own choice: those that the stack picks hash to worker 0 here as they do there.
  const peers = Array.from({ length: 12 }, (_, i) => {
    const c = client.sockets.openDatagram();
    assert.is(client.sockets.bind(c, 0, 20_000 + i), 0);
    assert.is(client.sockets.connect(c, net.host(0).address, 7), 0);
    return c;
  });
  const sessions = peers.map((c) => {
    const s = reused(w0);
    assert.is(w0.sockets.connect(s, net.host(1).address, client.sockets.localPort(c)), 0, 'alone on the port: everything comes here');
    return s;
  });
  // Its socket hears one peer only, so that of the flows that are its own by hash now none is for it.
  const joined = reused(w1);
  for (let port = 1; w1.sockets.connect(joined, net.host(1).address, port) !== 0; port++) assert.ok(port < 100);
  for (const c of peers) {
    assert.is(client.sockets.write(c, fill(1, 8), 0, 8), 8);
    net.run(20);
  }
  assert.is(sessions.filter((s) => w0.sockets.read(s, buffer, 0, 2048, false) === 8).length, 12);
  const redirected = w1.counters.v[C_REDIRECTED]!;
  assert.ok(redirected > 0 && redirected < 12, `${redirected} of 12 were redirected`);
  for (const h of net.hosts) for (const w of h.workers) closeAll(w);
  settleAccounts(net);
});

test.run();
