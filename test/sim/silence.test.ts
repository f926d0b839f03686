/** Connections on which nothing is said, between whole hosts on virtual time: who answers probes lives, who does not is given up. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ETIMEDOUT, SO_KEEPALIVE, SOL_SOCKET, SOL_TCP, TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL } from '../../src/stack/sockets.ts';
import type { Sockets } from '../../src/stack/sockets.ts';
import { CLOSED, ESTABLISHED } from '../../src/stack/tcp/states.ts';
import { TcpInfo } from '../../src/stack/tcp/tcpInfo.ts';
import { settleAccounts } from './ledger.ts';
import { simulate } from './simulation.ts';
import type { Simulation } from './simulation.ts';
import { acceptAll, connectTo, listenOn } from './traffic.ts';
import { rest } from './transfer.ts';

const seed = Number(process.env.SEED ?? Date.now() & 0x7fffffff);
console.log(`seed ${seed}`);

interface Pair {
  net: Simulation;
  ours: Sockets;
  theirs: Sockets;
  s: number;
  accepted: number;
}

function pair(idleTimeoutMs: number, loss = 0): Pair {
  const net = simulate({ seed, impair: { delayUs: 500, loss }, stack: { idleTimeoutMs } });
  const ours = net.host(0).workers[0]!.sockets;
  const theirs = net.host(1).workers[0]!.sockets;
  const listener = listenOn(theirs, 7);
  const p: Pair = { net, ours, theirs, s: connectTo(ours, net.host(1).address, 7), accepted: -1 };
  net.host(1).app = (w) =>
    acceptAll(w.sockets, listener, (c) => {
      p.accepted = c;
    });
  net.runUntil(() => p.accepted >= 0 && ours.state(p.s) === ESTABLISHED, 60_000);
  theirs.close(listener);
  return p;
}

const keep = (p: Pair): void => {
  for (const [level, option, value] of [
    [SOL_TCP, TCP_KEEPIDLE, 2],
    [SOL_TCP, TCP_KEEPINTVL, 1],
    [SOL_TCP, TCP_KEEPCNT, 5],
    [SOL_SOCKET, SO_KEEPALIVE, 1],
  ] as const)
    assert.is(p.ours.setOption(p.s, level, option, value), 0);
};

function end(p: Pair): void {
  if (p.ours.isOpen(p.s)) p.ours.abort(p.s);
  if (p.theirs.isOpen(p.accepted)) p.theirs.abort(p.accepted);
  rest(p.net);
  settleAccounts(p.net);
}

test('an hour of silence with keep-alive over a link that loses: both ends live, each probe is answered', () => {
  const p = pair(0, 0.01);
  keep(p);
  p.net.run(3_600_000);
  assert.equal([p.ours.state(p.s), p.theirs.state(p.accepted)], [ESTABLISHED, ESTABLISHED]);
  const info = new TcpInfo();
  p.ours.info(p.s, info);
  // A probe every two seconds, now and then one more.
  assert.ok(info.tcpi_segs_out > 1500 && info.tcpi_segs_out < 2500, `${info.tcpi_segs_out} segments out`);
  assert.ok(info.tcpi_last_ack_recv < 10_000);
  end(p);
});

test('a peer that is gone: ETIMEDOUT after the last probe, while without the option nobody notices', () => {
  const p = pair(0);
  keep(p);
  p.net.host(1).frozen = true;
  p.net.run(6_900);
  assert.is(p.ours.state(p.s), ESTABLISHED);
  p.net.run(300);
  assert.is(p.ours.state(p.s), CLOSED);
  assert.is(p.ours.takeError(p.s), ETIMEDOUT);
  p.net.host(1).frozen = false;
  p.net.run(1_000);
  // What waited for it was the reset, too.
  assert.is(p.theirs.state(p.accepted), CLOSED);
  end(p);
});

test('the idle timeout ends both ends of a silent connection', () => {
  const p = pair(30_000);
  p.net.run(29_900);
  assert.is(p.ours.state(p.s), ESTABLISHED);
  p.net.run(200);
  assert.equal([p.ours.state(p.s), p.theirs.state(p.accepted)], [CLOSED, CLOSED]);
  end(p);
});

test.run();
