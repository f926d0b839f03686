/** Streams both ways between two simulated hosts, until every byte has arrived and every connection is gone. */
import * as assert from 'uvu/assert';
import { simulate } from './simulation.ts';
import type { Simulation, SimulationOptions } from './simulation.ts';
import { acceptAll, connectTo, listenOn, Stream } from './traffic.ts';

/** Streams between host 0 (client) and host 1 (server), `bytes` each way on each of `connections`. */
export function transfer(
  o: SimulationOptions,
  bytes: number,
  connections = 1,
  maxMs = 3_600_000,
): { net: Simulation; seconds: number; ends: Stream[] } {
  const net = simulate(o);
  const ends: Stream[] = [];
  const server = net.host(1);
  const client = net.host(0);
  const listeners = server.workers.map((w) => listenOn(w.sockets, 7));
  const byWorker = [client, server].map((h) => h.workers.map((): Stream[] => []));
  server.app = (w, i) => {
    let moved = acceptAll(w.sockets, listeners[i]!, (s) => {
      const e = new Stream(w.sockets, s, bytes, bytes);
      byWorker[1]![i]!.push(e);
      ends.push(e);
    });
    for (const e of byWorker[1]![i]!) if (e.turn()) moved = true;
    return moved;
  };
  client.app = (_, i) => {
    let moved = false;
    for (const e of byWorker[0]![i]!) if (e.turn()) moved = true;
    return moved;
  };
  for (let k = 0; k < connections; k++) {
    const i = k % client.workers.length;
    const w = client.workers[i]!;
    const e = new Stream(w.sockets, connectTo(w.sockets, server.address, 7), bytes, bytes);
    byWorker[0]![i]!.push(e);
    ends.push(e);
  }
  net.runUntil(() => ends.length === 2 * connections && ends.every((e) => e.done), maxMs);
  const seconds = net.ms / 1000;
  for (const e of ends) {
    assert.is(e.error, 0, `a stream ended with errno ${e.error}: ${net.describe()}`);
    assert.is(e.wrong, 0, `wrong bytes: ${net.describe()}`);
    assert.is(e.received, bytes);
  }
  server.workers.forEach((w, i) => {
    w.sockets.close(listeners[i]!);
  });
  rest(net);
  return { net, seconds, ends };
}

/** Until every connection is gone and nothing is under way. */
export function rest(net: Simulation): void {
  net.runUntil(() => net.hosts.every((h) => h.workers.every((w) => w.sockets.inUse() === 0)), 600_000);
  net.run(200);
}
