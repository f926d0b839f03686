/**
 * 100,000 connections in one stack, both ends on virtual time: made, kept, used, ended. What they hold is counted by the stacks' own
 * account, so nothing here depends on the machine.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { C_TCP_PREDICTED } from '../../src/rings/counters.ts';
import { EpollEvents, EpollTable } from '../../src/api/epoll.ts';
import { arenaBytes } from '../../src/stack/arenaPlan.ts';
import { EINPROGRESS, EMFILE, EPOLLIN, EPOLLOUT, type Sockets } from '../../src/stack/sockets.ts';
import { settleAccounts } from './ledger.ts';
import { SIM_STACK, simulate } from './simulation.ts';

const seed = Number(process.env.SEED ?? Date.now() & 0x7fffffff);
console.log(`seed ${seed}`);

const COUNT = 100_000;
const PORTS = 4;
const FIRST_PORT = 7000;
const OPENING = 128;
const SIZE = 64;
const LISTENER = -1;

/** A program's epoll. */
class Watcher {
  readonly events = new EpollEvents(256);
  private readonly table: EpollTable;
  private readonly ep: number;

  constructor(sockets: Sockets) {
    this.table = new EpollTable(sockets);
    this.ep = this.table.create();
  }

  watch(operation: number, s: number, events: number, data: number): void {
    assert.is(this.table.control(this.ep, operation, s, { events, data }), 0);
  }

  collect(): number {
    return this.table.collect(this.table.consumerOf(this.ep), this.events, this.events.max);
  }
}

test(`${COUNT} connections are made, idle, used and ended; everything is back where it was`, () => {
  // Room for all of them and the listeners: one more is refused.
  const net = simulate({ seed, breathUs: 50, stack: { maxConnections: COUNT + PORTS, timeWaitMs: 500, chunks: 4096 } });
  const [client, server] = [net.host(0), net.host(1)];
  const [here, there] = [client.workers[0]!, server.workers[0]!];
  const [mine, its] = [new Watcher(here.sockets), new Watcher(there.sockets)];
  const buffer = new Uint8Array(4096);
  const message = new Uint8Array(SIZE).map((_, i) => i * 7);
  let [accepted, closed, begun, opening, answers] = [0, 0, 0, 0, 0];
  const up: number[] = [];
  const listeners: number[] = [];
  for (let i = 0; i < PORTS; i++) {
    const l = there.sockets.open();
    assert.is(there.sockets.bind(l, 0, FIRST_PORT + i), 0);
    assert.is(there.sockets.listen(l, 1024), 0);
    its.watch(1, l, EPOLLIN, LISTENER);
    listeners.push(l);
  }
  server.app = () => {
    const n = its.collect();
    for (let i = 0; i < n; i++) {
      const s = its.events.socket[i]!;
      if (its.events.data[i] === LISTENER) {
        for (let c = there.sockets.accept(s); c >= 0; c = there.sockets.accept(s)) {
          accepted++;
          its.watch(1, c, EPOLLIN, c);
        }
        continue;
      }
      const got = there.sockets.read(s, buffer, 0, buffer.length, false);
      if (got > 0) assert.is(there.sockets.write(s, buffer, 0, got), got);
      else if (got === 0) {
        there.sockets.close(s);
        closed++;
      }
    }
    return n > 0;
  };
  client.app = () => {
    while (begun < COUNT && opening < OPENING) {
      const s = here.sockets.open();
      assert.is(here.sockets.connect(s, server.address, FIRST_PORT + (begun % PORTS)), -EINPROGRESS);
      mine.watch(1, s, EPOLLIN | EPOLLOUT, LISTENER);
      begun++;
      opening++;
    }
    const n = mine.collect();
    for (let i = 0; i < n; i++) {
      const s = mine.events.socket[i]!;
      if (mine.events.data[i] === LISTENER) {
        assert.is(here.sockets.takeError(s), 0);
        up.push(s);
        opening--;
        mine.watch(3, s, EPOLLIN, s);
        continue;
      }
      assert.is(here.sockets.read(s, buffer, 0, buffer.length, false), SIZE);
      for (let k = 0; k < SIZE; k++) assert.is(buffer[k], message[k]);
      answers++;
    }
    return n > 0;
  };

  net.runUntil(() => accepted === COUNT && up.length === COUNT, 600_000);
  assert.is(there.sockets.inUse(), COUNT + PORTS);
  assert.is(there.sockets.open(), -EMFILE, 'the table is full');
  net.run(1000);
  assert.not(here.stack.busy() || there.stack.busy(), 'an idle connection holds no chunk');
  assert.is(there.stack.nextDeadlineMs(), -1, 'nor a timer');

  // One of each fifty, so many at a time that bursts are of different connections.
  const predicted = there.counters.v[C_TCP_PREDICTED]!;
  const asked = up.filter((_, i) => i % 50 === seed % 50);
  for (let i = 0; i < asked.length; i += 100) {
    for (const s of asked.slice(i, i + 100)) assert.is(here.sockets.write(s, message, 0, SIZE), SIZE);
    net.runUntil(() => answers >= Math.min(i + 100, asked.length), 60_000);
  }
  assert.ok(there.counters.v[C_TCP_PREDICTED]! - predicted >= asked.length, 'all requests were taken by prediction');

  for (let i = 0; i < COUNT; i += 100) {
    for (const s of up.slice(i, i + 100)) assert.is(here.sockets.close(s), 0);
    net.runUntil(() => closed >= i + 100, 60_000);
  }
  net.runUntil(() => here.sockets.inUse() === 0 && there.sockets.inUse() === PORTS, 60_000);
  assert.not(here.stack.busy() || there.stack.busy());
  listeners.push(there.sockets.open());
  for (const s of listeners) assert.is(there.sockets.close(s), 0, 'and there is room again');
  settleAccounts(net);
});

test('what a connection costs by the plan: at most 512 bytes, tables as full as they get', () => {
  const bytes = (maxConnections: number): number => arenaBytes({ ...SIM_STACK, maxConnections });
  // 2^20 connections in a table of 2^21 slots, and a million in the same.
  for (const n of [1_000_000, 2 ** 20]) assert.ok((bytes(n) - bytes(16)) / n <= 512, `${(bytes(n) - bytes(16)) / n} bytes`);
});

test.run();
