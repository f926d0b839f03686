/**
 * The examples over real stacks on virtual time: two hosts joined by the switch, the server driven by its handler, the
 * client by its own epollWait loop. What the fakes of the unit tests only promise, holds here: ready list, send buffers,
 * resets, and ids that are given out again.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { injectContext } from '../../src/api/context.ts';
import * as m from '../../src/api/mtcp.ts';
import type { Impairment } from '../../src/ports/impairment.ts';
import { C_REDIRECTED } from '../../src/rings/counters.ts';
import { outcomeOf, runProgram } from '../unit/examples/program.ts';
import { contextOf } from './contexts.ts';
import { Simulation } from './simulation.ts';

const SEED = Number(process.env.SEED ?? Date.now() & 0xffff);
console.log(`SEED=${SEED}`);

async function runPair(impair: Impairment | undefined, server: [string, ...string[]], client: [string, ...string[]]) {
  const sim = new Simulation({ seed: SEED, impair, breathUs: 20 });
  const [a, b] = [sim.host(0), sim.host(1)];
  const serving = contextOf(sim, a);
  const asking = contextOf(sim, b);
  await runProgram(server[0], serving, server.slice(1));
  // The client owns the loop: its own breath has no handler.
  const outcome = await outcomeOf(() => runProgram(client[0], asking, client.slice(1)));
  // Lost FINs are sent again, then TIME_WAIT
  sim.run(20_000);
  const left = [a.workers[0]!.sockets.inUse(), b.workers[0]!.sockets.inUse()];
  sim.end();
  return { ...outcome, left, v: b.workers[0]!.counters.v };
}

for (const [name, impair] of [
  ['a clean link', undefined],
  ['1 % loss with reordering and duplication', { loss: 0.01, reorder: 0.01, duplicate: 0.01 }],
] as [string, Impairment | undefined][]) {
  test(`echo: every byte verified over ${name}, and every connection gone afterwards`, async () => {
    for (const [size, count] of [
      [64, 300],
      [200_000, 12],
    ] as const) {
      const r = await runPair(
        impair,
        ['echo-server', '--quiet', '--listen', '7'],
        ['echo-client', '--connect', '192.0.2.1:7', '--connections', '6', '--size', String(size), '--count', String(count)],
      );
      assert.is(r.exitCode, 0, r.lines.join('\n'));
      assert.is(r.v[m.C_APP_OPERATIONS], count);
      assert.is(r.v[m.C_APP_BYTES_VERIFIED], size * count);
      assert.equal(r.left, [1, 0], 'the listener, and nothing');
    }
  });

  test(`http: files over ${name}, new connections and kept ones`, async () => {
    for (const keep of [[], ['--keep-alive']]) {
      const r = await runPair(
        impair,
        ['http-server', '--root', '.', '--listen', '80'],
        ['http-client', '--url', 'http://192.0.2.1/package.json', '--requests', '60', '--concurrency', '4', ...keep],
      );
      assert.is(r.exitCode, 0, r.lines.join('\n'));
      assert.is(r.v[m.C_APP_OPERATIONS], 60);
      assert.is(r.v[m.C_APP_CONNECTIONS], keep.length > 0 ? 4 : 60);
      assert.equal(r.left, [1, 0]);
    }
  });
}

test('epoll over the real ready list: closed and reused ids, DEL, moves between instances', () => {
  const sim = new Simulation({ seed: SEED });
  const serving = contextOf(sim, sim.host(0));
  const asking = contextOf(sim, sim.host(1));
  injectContext(serving);
  const server = m.createContext();
  const listener = m.socket(server, m.AF_INET, m.SOCK_STREAM, 0);
  assert.is(m.bind(server, listener, { port: 9 }), 0);
  assert.is(m.listen(server, listener, 16), 0);
  const ep = m.epollCreate(server);
  const other = m.epollCreate(server);
  const events = new m.EpollEvents(16);
  const look = (from = ep): string => {
    m.epollWait(server, from, events, 16, 5);
    return Array.from({ length: events.count }, (_, i) => `${events.socket[i]}:${events.events[i]}`).join(' ');
  };
  m.epollCtl(server, ep, m.EPOLL_CTL_ADD, listener, { events: m.EPOLLIN });
  assert.is(look(), '');
  injectContext(asking);
  const client = m.createContext();
  const s = m.socket(client, m.AF_INET, m.SOCK_STREAM, 0);
  assert.is(m.connect(client, s, { address: '192.0.2.1', port: 9 }), -m.EINPROGRESS);
  sim.run(50);
  assert.is(look(), `${listener}:1`);
  const c = m.accept(server, listener);
  assert.ok(c >= 0);
  assert.is(look(), '');
  const peer = { address: '', port: 0 };
  assert.is(m.getpeername(server, c, peer), 0);
  assert.is(peer.address, '192.0.2.2');
  assert.is(m.getsockname(server, c, peer), 0);
  assert.equal(peer, { address: '192.0.2.1', port: 9 });
  m.epollCtl(server, ep, m.EPOLL_CTL_ADD, c, { events: m.EPOLLIN | m.EPOLLET });
  assert.is(m.write(client, s, Buffer.from('abc')), 3);
  sim.run(20);
  assert.is(look(), `${c}:1`);
  assert.is(look(), '', 'edge-triggered: once');
  assert.is(m.epollCtl(server, ep, m.EPOLL_CTL_DEL, c), 0);
  assert.is(m.epollCtl(server, other, m.EPOLL_CTL_ADD, c, { events: m.EPOLLIN }), 0);
  assert.is(look(), '');
  assert.is(look(other), `${c}:1`);
  assert.is(m.socketIoctl(server, c, m.FIONREAD), 3);
  // Listed and closed: no event, the id is free only then, and its next life starts without an epoll
  assert.is(m.close(server, c), 0);
  assert.is(m.epollCtl(server, other, m.EPOLL_CTL_ADD, c, { events: m.EPOLLIN }), -m.EBADF);
  assert.is(look(other), '');
  sim.run(20);
  assert.is(m.read(client, s, new Uint8Array(4)), -m.ECONNRESET, 'closed with unread data');
  const again = m.socket(server, m.AF_INET, m.SOCK_STREAM, 0);
  assert.is(m.epollCtl(server, other, m.EPOLL_CTL_MOD, again, { events: m.EPOLLIN }), -m.ENOENT);
  assert.is(m.close(server, other), 0);
  injectContext(null);
  sim.end();
});

for (const receive of [false, true]) {
  test(`bulk, ${receive ? 'from' : 'to'} the server: every byte of every connection arrives, and both sides count the same`, async () => {
    for (const impair of [undefined, { loss: 0.005, reorder: 0.01 }]) {
      const sim = new Simulation({ seed: SEED, impair, breathUs: 20 });
      const [serving, asking] = [contextOf(sim, sim.host(0)), contextOf(sim, sim.host(1))];
      const server = await outcomeOf(() => runProgram('bulk-server', serving, receive ? ['--send'] : []));
      assert.is(server.lines.length, 1, server.lines.join('\n'));
      const args = ['--connect', '192.0.2.1:9999', '--connections', '5', '--bytes', '400001', ...(receive ? ['--receive'] : [])];
      const client = await outcomeOf(() => runProgram('bulk-client', asking, args));
      assert.is(client.exitCode, 0, client.lines.join('\n'));
      assert.match(client.lines[0]!, /5 connections, 0 failed, .* 2000005 bytes/);
      sim.run(20_000);
      const said = await outcomeOf(async () => serving.handlers.get(m.SIGINT)!(m.SIGINT));
      const v = (receive ? asking : serving).counters.v;
      assert.is(v[m.C_APP_BYTES_VERIFIED], 2_000_005);
      assert.is(v[m.C_APP_WRONG_BYTES], 0);
      assert.match(said.lines[0]!, receive ? /5 connections, 0 open/ : /5 connections, 0 open, .* 2000005 bytes received, 0 wrong/);
      assert.equal(
        [sim.host(0), sim.host(1)].map((h) => h.workers[0]!.sockets.inUse()),
        [1, 0],
      );
      sim.end();
    }
  });
}

test('bulk datagrams: what is missing is what was lost, sender by sender; nobody there is told', async () => {
  for (const loss of [0, 0.02]) {
    const sim = new Simulation({ seed: SEED, impair: { loss }, breathUs: 20 });
    const [serving, asking] = [contextOf(sim, sim.host(0)), contextOf(sim, sim.host(1))];
    await outcomeOf(() => runProgram('udp-bulk-server', serving, []));
    // Neighbours are known, whatever of that was lost on the way
    const probe = sim.host(1).workers[0]!.sockets;
    assert.is(probe.connect(probe.open(), sim.host(0).address, 1), -m.EINPROGRESS);
    sim.run(8000);
    const args = ['--sockets', '3', '--size', '200', '--count', '2000'];
    const client = await outcomeOf(() => runProgram('udp-bulk-client', asking, ['--connect', '192.0.2.1:9999', ...args]));
    assert.is(client.exitCode, 0, client.lines.join('\n'));
    assert.match(client.lines[0]!, /3 sockets, 6000 datagrams of 200 bytes/);
    sim.run(50);
    const said = (await outcomeOf(async () => serving.handlers.get(m.SIGTERM)!(m.SIGTERM))).lines[0]!;
    const [, came, missing] = /3 senders, (\d+) datagrams, .* (\d+) missing/.exec(said)!.map(Number);
    assert.is(came, serving.counters.v[m.C_APP_OPERATIONS], said);
    // The last of a sender's may be lost without a later one to show it
    assert.ok(came! + missing! <= 6000 && came! + missing! > 5950, said);
    assert.ok(loss === 0 ? came === 6000 : missing! > 30 && missing! < 300, said);
    const nobody = await outcomeOf(() =>
      runProgram('udp-bulk-client', contextOf(sim, sim.host(1)), ['--connect', '192.0.2.1:9998', '--seconds', '1']),
    );
    assert.is(nobody.exitCode, 1);
    assert.match(nobody.lines[0]!, /ECONNREFUSED/);
    sim.end();
  }
});

test('initRss: the workers divide the source ports among them, and connects from those come home', () => {
  const sim = new Simulation({ seed: SEED, workers: 3 });
  const [server, client] = [sim.host(0), sim.host(1)];
  const accepting = server.workers.map((w) => {
    const s = w.sockets.open();
    assert.is(w.sockets.bind(s, 0, 80), 0);
    assert.is(w.sockets.listen(s, 100), 0);
    return { w, s };
  });
  let prepared = 0;
  const opened: [number, number][] = [];
  for (const [index, w] of client.workers.entries()) {
    injectContext(contextOf(sim, client, index));
    const mctx = m.createContext();
    const n = m.initRss(mctx, m.INADDR_ANY, 1, server.address, 80);
    assert.ok(n > 8000, `${n} ports for worker ${index}`);
    prepared += n;
    assert.is(m.initRss(mctx, m.INADDR_ANY, 1, client.address, 80), -m.ENETUNREACH);
    for (let i = 0; i < 40; i++) {
      const s = m.socket(mctx, m.AF_INET, m.SOCK_STREAM, 0);
      assert.is(m.connect(mctx, s, { address: server.address, port: 80 }), -m.EINPROGRESS);
      opened.push([index, w.sockets.localPort(s)]);
    }
  }
  assert.is(prepared, 28232, 'every port of the range comes home to one of them');
  sim.run(200);
  assert.is(new Set(opened.map(([, port]) => port)).size, 120);
  let accepted = 0;
  for (const { w, s } of accepting) while (w.sockets.accept(s) >= 0) accepted++;
  assert.is(accepted, 120);
  for (const w of client.workers) assert.is(w.counters.v[C_REDIRECTED], 0, 'no segment went astray');
  sim.end();
});

test.run();
