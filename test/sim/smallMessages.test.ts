/**
 * Requests and replies smaller than a segment, one at a time, over a lossy link: nothing follows a lost one that would bring
 * duplicates, so the retransmission timer alone repairs it, and Nagle's rule must not hold the repair back.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { C_TCP_RETRANS_SEGS, C_TCP_RTO_FIRED } from '../../src/rings/counters.ts';
import type { Sockets } from '../../src/stack/sockets.ts';
import { settleAccounts } from './ledger.ts';
import { simulate } from './simulation.ts';
import { acceptAll, connectTo, listenOn } from './traffic.ts';

const seed = Number(process.env.SEED ?? Date.now() & 0x7fffffff);
console.log(`seed ${seed}`);

const buffer = new Uint8Array(4096);

/** Echoes whatever is there, and closes after the peer. */
function echo(sockets: Sockets, open: Set<number>, s: number): boolean {
  const n = sockets.read(s, buffer, 0, buffer.length, false);
  if (n < 0) return false;
  if (n > 0) assert.is(sockets.write(s, buffer, 0, n), n);
  else {
    sockets.close(s);
    open.delete(s);
  }
  return true;
}

/** `messages` of `bytes`, the next one when the last has come back whole. */
function conversation(loss: number, nagle: boolean, bytes: number, messages: number): void {
  const net = simulate({ seed, impair: { loss }, stack: { nagle } });
  const [client, server] = [net.host(0), net.host(1)];
  const listener = listenOn(server.workers[0]!.sockets, 7);
  const accepted = new Set<number>();
  server.app = (w) => {
    let moved = acceptAll(w.sockets, listener, (s) => accepted.add(s));
    for (const s of accepted) if (echo(w.sockets, accepted, s)) moved = true;
    return moved;
  };
  const message = new Uint8Array(bytes).map((_, i) => i * 7);
  const s = connectTo(client.workers[0]!.sockets, server.address, 7);
  let begun = 0;
  let back = bytes;
  client.app = (w) => {
    if (back === bytes) {
      if (begun === messages || w.sockets.write(s, message, 0, bytes) !== bytes) return false;
      begun++;
      back = 0;
      return true;
    }
    const n = w.sockets.read(s, buffer, 0, buffer.length, false);
    if (n <= 0) return false;
    for (let i = 0; i < n; i++) assert.is(buffer[i], message[back + i], `message ${begun}, byte ${back + i}`);
    back += n;
    return true;
  };
  net.runUntil(() => begun === messages && back === bytes, 3_600_000);
  const total = (c: number): number => [client, server].reduce((n, h) => n + h.workers[0]!.counters.v[c]!, 0);
  assert.ok(total(C_TCP_RTO_FIRED) > 0, 'no timer fired: the link lost nothing');
  // A timer that fires sends something: every expiry is a retransmission.
  assert.ok(
    total(C_TCP_RETRANS_SEGS) >= total(C_TCP_RTO_FIRED),
    `${total(C_TCP_RTO_FIRED)} expiries, ${total(C_TCP_RETRANS_SEGS)} retransmissions`,
  );
  client.app = () => false;
  client.workers[0]!.sockets.close(s);
  server.workers[0]!.sockets.close(listener);
  net.runUntil(() => [client, server].every((h) => h.workers[0]!.sockets.inUse() === 0), 300_000);
  settleAccounts(net);
}

for (const nagle of [true, false]) {
  test(`300 messages of 200 bytes over 5 % loss, Nagle ${nagle ? 'on' : 'off'}`, () => conversation(0.05, nagle, 200, 300));
  test(`200 messages of 2000 bytes over 10 % loss, Nagle ${nagle ? 'on' : 'off'}`, () => conversation(0.1, nagle, 2000, 200));
}

test.run();
