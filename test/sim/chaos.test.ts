/**
 * Many small simulations with everything drawn from the seed: links, buffers, stacks' options, and applications that read
 * slowly, write in odd pieces, half-close, leave without reading, abort, or knock at closed doors. Whatever happens, no
 * byte is wrong, well-behaved streams arrive whole, every connection ends, and every frame and sum is accounted for.
 *
 * SEED=n repeats one run; RUNS=n makes n of them.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeededRandom } from '../../src/ports/impairment.ts';
import type { Impairment } from '../../src/ports/impairment.ts';
import type { StackConfig } from '../../src/stack/env.ts';
import { ECONNREFUSED } from '../../src/stack/sockets.ts';
import { settleAccounts } from './ledger.ts';
import { simulate } from './simulation.ts';
import type { SimHost, Simulation } from './simulation.ts';
import { acceptAll, connectTo, listenOn, Stream } from './traffic.ts';

const RUNS = Number(process.env.RUNS ?? (process.env.SEED === undefined ? 60 : 1));
const first = Number(process.env.SEED ?? Date.now() & 0x7ffffff);
/** Processor time all runs together may take, milliseconds: on a slow machine there are fewer runs. */
const BUDGET_MS = 20_000;

const KINDS = ['stream', 'stream', 'stream', 'slow', 'pieces', 'abort', 'leave', 'refused'] as const;
/** A peer that vanished without a word (its RST was lost) is given up after this long. */
const PATIENCE_MS = 60_000;

interface Talk {
  kind: (typeof KINDS)[number];
  port: number;
  client: Stream;
  clientHost: number;
  clientWorker: number;
  server: Stream | null;
  up: number;
  down: number;
  /** Bytes received after which the client aborts or leaves. */
  until: number;
  gaveUpAt: number;
}

function pick<T>(r: SeededRandom, from: readonly T[]): T {
  return from[r.below(from.length)]!;
}

function drawLink(r: SeededRandom): Impairment {
  return {
    loss: pick(r, [0, 0, 0.01, 0.05]),
    duplicate: pick(r, [0, 0, 0.02]),
    corrupt: pick(r, [0, 0, 0, 0.005]),
    reorder: pick(r, [0, 0, 0.05]),
    reorderGap: 1 + r.below(8),
    delayUs: pick(r, [0, 50, 1000, 20000]),
    jitterUs: pick(r, [0, 0, 40]),
    rateBps: pick(r, [0, 0, 0, 50e6]),
  };
}

function drawStack(r: SeededRandom): Partial<StackConfig> {
  const buffer = pick(r, [4096, 16384, 65536, 262144]);
  const chunkBytes = pick(r, [2048, 4096]);
  return {
    rcvbuf: buffer,
    sndbuf: pick(r, [4096, 16384, 65536, 262144]),
    chunkBytes,
    burst: pick(r, [4, 16, 32]),
    mss: pick(r, [536, 1460]),
    nagle: r.below(2) === 0,
    timestamps: r.below(3) > 0,
    windowScale: pick(r, [0, 2, 7]),
    coalesce: r.below(2) === 0,
    delayedAckMs: pick(r, [1, 40, 100]),
    trainLinksMax: pick(r, [1, 4, 44]),
    timeWaitMs: 200,
    rtoMaxMs: 10_000,
    retries: 20,
    finWait2Ms: 5000,
    maxConnections: 128,
    chunks: 4096,
  };
}

function talkOf(net: Simulation, r: SeededRandom, k: number): Talk {
  const kind = pick(r, KINDS);
  const clientHost = r.below(net.hosts.length);
  const serverHost = (clientHost + 1 + r.below(net.hosts.length - 1)) % net.hosts.length;
  const size = (): number => pick(r, [0, 1, 64, 5000, 100_000, 400_000]);
  const port = 1000 + k;
  const up = size();
  const down = size();
  const client = net.host(clientHost);
  const clientWorker = r.below(client.workers.length);
  const server = net.host(serverHost);
  if (kind !== 'refused') serve(net, server, port, down, up, r, kind, k);
  const sockets = client.workers[clientWorker]!.sockets;
  const stream = new Stream(sockets, connectTo(sockets, server.address, port), up, down);
  habits(net, stream, kind, r);
  return { kind, port, client: stream, clientHost, clientWorker, server: null, up, down, until: r.below(down + 1), gaveUpAt: 0 };
}

const doors = new Map<
  number,
  { host: SimHost; worker: number; listener: number; port: number; down: number; up: number; kind: Talk['kind']; k: number }[]
>();

function serve(
  net: Simulation,
  host: SimHost,
  port: number,
  down: number,
  up: number,
  r: SeededRandom,
  kind: Talk['kind'],
  k: number,
): void {
  // In one worker only, or in all of them.
  const all = r.below(2) === 0;
  const one = r.below(host.workers.length);
  host.workers.forEach((w, i) => {
    if (!all && i !== one) return;
    const list = doors.get(net.options.seed) ?? [];
    list.push({ host, worker: i, listener: listenOn(w.sockets, port), port, down, up, kind, k });
    doors.set(net.options.seed, list);
  });
}

/** How an end reads and writes, by kind. */
function habits(net: Simulation, s: Stream, kind: Talk['kind'], r: SeededRandom): void {
  if (kind === 'slow') {
    let next = 0;
    s.readMost = () => {
      if (net.ms < next) return 0;
      next = net.ms + 1 + r.below(20);
      return 1 + r.below(30_000);
    };
  } else if (kind === 'pieces') {
    s.writeMost = () => (r.below(4) === 0 ? 0 : 1 + r.below(3000));
    s.readMost = () => 1 + r.below(5000);
  }
}

function drive(net: Simulation, talks: Talk[], r: SeededRandom): void {
  for (const h of net.hosts) {
    h.app = (w, index) => {
      let moved = false;
      for (const d of doors.get(net.options.seed) ?? []) {
        if (d.host !== h || d.worker !== index) continue;
        const t = talks[d.k]!;
        const accepted = acceptAll(w.sockets, d.listener, (s) => {
          assert.is(t.server, null, 'one connect, two connections');
          t.server = new Stream(w.sockets, s, d.down, d.up);
          habits(net, t.server, d.kind, r);
        });
        if (accepted) moved = true;
        if (t.server !== null && t.server.sockets === w.sockets && t.server.turn()) moved = true;
      }
      for (const t of talks) {
        if (t.clientHost !== h.index || t.clientWorker !== index || t.client.done) continue;
        if (t.client.turn()) moved = true;
        if (t.client.received >= t.until && t.client.connected) {
          if (t.kind === 'abort') t.client.abort();
          else if (t.kind === 'leave') t.client.leave();
        }
      }
      return moved;
    };
  }
}

/** Both ends are done; one that was left alone is given up after a while. */
function over(net: Simulation, t: Talk): boolean {
  if (!t.client.done) return false;
  if (t.server === null || t.server.done) return true;
  if (t.kind === 'abort' || t.kind === 'leave') {
    if (t.gaveUpAt === 0) t.gaveUpAt = net.ms + PATIENCE_MS;
    else if (net.ms > t.gaveUpAt) t.server.abort();
  }
  return false;
}

function describeTalk(t: Talk): string {
  const end = (s: Stream | null): string =>
    s === null
      ? 'never accepted'
      : `${s.done ? 'done' : `state ${s.sockets.state(s.socket)}`} sent ${s.sent} received ${s.received} readable ${s.done ? 0 : s.sockets.readable(s.socket)} error ${s.error}`;
  return `${t.kind} port ${t.port}, ${t.up} up ${t.down} down; client (host ${t.clientHost} worker ${t.clientWorker}) ${end(t.client)}; server ${end(t.server)}`;
}

function chaos(seed: number): void {
  const r = new SeededRandom(seed);
  const net = simulate({
    seed,
    hosts: 2 + r.below(2),
    workers: 1 + r.below(2),
    impair: drawLink(r),
    stack: drawStack(r),
    framesPerPort: pick(r, [256, 512, 2048]),
    checksum: r.below(3) > 0,
    trains: r.below(3) > 0,
    jumpMaxMs: 5,
  });
  const talks: Talk[] = [];
  const count = 1 + r.below(12);
  for (let k = 0; k < count; k++) talks.push(talkOf(net, r, k));
  drive(net, talks, r);
  try {
    net.runUntil(() => talks.every((t) => over(net, t)), 600_000);
  } catch (error) {
    for (const t of talks) if (!over(net, t)) console.log(`  open: ${describeTalk(t)}`);
    throw error;
  }
  for (const t of talks) {
    const what = `${t.kind} ${t.up} up ${t.down} down: ${net.describe()}`;
    assert.is(t.client.wrong + (t.kind === 'abort' || t.kind === 'leave' ? 0 : (t.server?.wrong ?? 0)), 0, `wrong bytes, ${what}`);
    if (t.kind === 'refused') assert.is(t.client.error, ECONNREFUSED, what);
    else if (t.kind !== 'abort' && t.kind !== 'leave') {
      assert.equal([t.client.error, t.server?.error], [0, 0], what);
      assert.equal([t.client.received, t.server?.received], [t.down, t.up], what);
    }
  }
  for (const d of doors.get(seed) ?? []) d.host.workers[d.worker]!.sockets.close(d.listener);
  doors.delete(seed);
  net.runUntil(() => net.hosts.every((h) => h.workers.every((w) => w.sockets.inUse() === 0)), 1_200_000);
  net.run(500);
  settleAccounts(net);
}

test(`${RUNS} runs from seed ${first}`, () => {
  console.log(`seeds ${first}…${first + RUNS - 1}`);
  const began = performance.now();
  let runs = 0;
  for (; runs < RUNS && performance.now() - began < BUDGET_MS; runs++) {
    try {
      chaos(first + runs);
    } catch (error) {
      console.log(`repeat with SEED=${first + runs}`);
      throw error;
    }
  }
  console.log(`  ${runs} runs`);
  assert.ok(runs > 0);
});

test.run();
