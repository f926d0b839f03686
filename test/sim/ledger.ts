/** What must add up when a simulation is over: frames, drops, connections. */
import * as assert from 'uvu/assert';
import {
  C_DROP,
  C_HOST_DELIVERED,
  C_REDIRECTED,
  C_RX_DELIVERED,
  C_RX_PACKETS,
  C_TX_PACKETS,
  dropsByName,
} from '../../src/rings/counters.ts';
import { DROP_NO_NEIGHBOUR, DROP_NO_ROUTE, DROP_REASONS, DROP_SWITCH, DROP_TX_DEVICE } from '../../src/rings/drops.ts';
import type { Counters } from '../../src/rings/counters.ts';
import type { Simulation } from './simulation.ts';

const OUTGOING = new Set([DROP_TX_DEVICE, DROP_NO_NEIGHBOUR, DROP_NO_ROUTE, DROP_SWITCH]);

function receiveDrops(v: Float64Array): number {
  let n = 0;
  for (let r = 1; r < DROP_REASONS; r++) if (!OUTGOING.has(r)) n += v[C_DROP + r]!;
  return n;
}

/** received = delivered + Σ drops(reason) */
function reconciled(who: string, c: Counters): void {
  const v = c.v;
  assert.is(
    v[C_RX_PACKETS],
    v[C_RX_DELIVERED]! + receiveDrops(v),
    `${who}: received ${v[C_RX_PACKETS]}, delivered ${v[C_RX_DELIVERED]}, dropped ${JSON.stringify(dropsByName(v))}`,
  );
}

/** Ends the simulation and checks every sum. Connections must be gone already (listeners closed, TIME_WAIT over). */
export function settleAccounts(net: Simulation): void {
  // An announcement of the host may be on its way at any time: it arrives first.
  net.runUntil(() => net.hosts.every((h) => h.port.held() === 0 && h.dispatcher.inFlight() === 0), 10_000);
  const where = net.describe();
  for (const h of net.hosts) {
    for (const w of h.workers) assert.is(w.sockets.inUse(), 0, `connections left: ${where}`);
    assert.is(h.port.held(), 0, `frames under way: ${where}`);
    assert.is(h.dispatcher.inFlight(), 0, `frames in rings: ${where}`);
  }
  net.end();
  for (const h of net.hosts) {
    const name = `host ${h.index}`;
    reconciled(`${name} dispatcher`, h.counters);
    for (const [i, w] of h.workers.entries()) reconciled(`${name} worker ${i}`, w.counters);
    const handed = h.counters.v[C_RX_DELIVERED]! - h.counters.v[C_HOST_DELIVERED]!;
    const taken = h.workers.reduce((n, w) => n + w.counters.v[C_RX_PACKETS]! - w.counters.v[C_REDIRECTED]!, 0);
    assert.is(taken, handed, `${name}: the dispatcher handed over ${handed}, the workers received ${taken}`);
  }
  if (net.hosts.length === 2) {
    // Between two hosts every frame sent is received, once and for each duplicate.
    for (const [a, b] of [
      [0, 1],
      [1, 0],
    ] as const) {
      const from = net.host(a);
      const to = net.host(b);
      const sent = from.counters.v[C_TX_PACKETS]! - from.counters.v[C_DROP + DROP_SWITCH]! - from.counters.v[C_DROP + DROP_TX_DEVICE]!;
      const twice = to.port.link?.copies ?? 0;
      assert.is(
        to.counters.v[C_RX_PACKETS],
        sent + twice,
        `${sent} frames sent, ${twice} duplicated, ${to.counters.v[C_RX_PACKETS]} received`,
      );
    }
  }
  const audit = net.sw.audit();
  assert.is(audit.free, audit.total, `frames by owner at the end: ${JSON.stringify({ ...audit, workers: [...audit.workers] })}; ${where}`);
}
