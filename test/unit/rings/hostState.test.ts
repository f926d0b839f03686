// The neighbour table: open addressing with deletions against a plain map, its bound, the route.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  HOST_STATE_BYTES,
  HostPublisher,
  HostView,
  HS_SEQ,
  NB_EMPTY,
  NB_INCOMPLETE,
  NB_REACHABLE,
  NB_STALE,
  NEIGHBOURS,
  neighbourSlot,
} from '../../../src/rings/hostState.ts';
import { parseIpv4 } from '../../../src/wire/ipv4.ts';
import { bits31, seedOf } from './threads.ts';

const ip = (text: string): number => parseIpv4(text)!;
const KEY = 12345;

function table(prefix = 24, gateway = '192.0.2.254'): { publisher: HostPublisher; view: HostView } {
  const block = new SharedArrayBuffer(HOST_STATE_BYTES);
  const publisher = new HostPublisher(block, 0);
  publisher.setHost({ address: ip('192.0.2.2'), prefix, gateway: ip(gateway), mtu: 1500, macHi: 0x02000000, macLo: 2, key: KEY });
  return { publisher, view: new HostView(block, 0) };
}

test('what is set is read', () => {
  const { view } = table();
  assert.equal([view.address(), view.prefix(), view.mtu(), view.ownMacHi(), view.ownMacLo()], [ip('192.0.2.2'), 24, 1500, 0x02000000, 2]);
});

test('next hop: on the link itself, else the gateway, 0 without one', () => {
  const { view } = table();
  assert.is(view.nextHop(ip('192.0.2.77')), ip('192.0.2.77'));
  assert.is(view.nextHop(ip('198.51.100.1')), ip('192.0.2.254'));
  assert.is(table(24, '0.0.0.0').view.nextHop(ip('198.51.100.1')), 0);
  assert.is(table(0).view.nextHop(ip('198.51.100.1')), ip('198.51.100.1'));
  assert.is(table(32).view.nextHop(ip('192.0.2.3')), ip('192.0.2.254'));
  assert.is(table(31).view.nextHop(ip('192.0.2.3')), ip('192.0.2.3'));
});

test('random puts and removes agree with a map, readers and writer alike, and every change moves the epoch', () => {
  const random = bits31(seedOf('hostState'));
  const { publisher, view } = table();
  const model = new Map<number, readonly [number, number, number]>();
  for (let step = 0; step < 40_000; step++) {
    const a = 0x0a000000 + (random() % 600);
    const epoch = view.epoch();
    if (random() % 3 === 0) {
      publisher.remove(a);
      assert.is(view.epoch() !== epoch, model.delete(a));
    } else {
      const entry = [random() % 2 === 0 ? NB_REACHABLE : NB_STALE, random() | 0, random() & 0xffff] as const;
      const k = publisher.put(a, ...entry);
      assert.ok(k >= 0 && k < NEIGHBOURS);
      assert.equal([publisher.ipAt(k), publisher.stateAt(k), publisher.macHiAt(k), publisher.macLoAt(k)], [a, ...entry]);
      assert.is.not(view.epoch(), epoch);
      model.set(a, entry);
    }
    assert.is(publisher.size(), model.size);
    const b = 0x0a000000 + (random() % 600);
    const want = model.get(b);
    assert.is(publisher.find(b) >= 0, want !== undefined);
    const state = view.mac(b);
    if (want === undefined) assert.is(state, NB_EMPTY);
    else assert.equal([state, view.macHi, view.macLo], [...want]);
  }
});

test('three quarters full and no further; known ones can still change, and removing makes room', () => {
  const { publisher } = table();
  const bound = (NEIGHBOURS * 3) / 4;
  for (let i = 0; i < bound; i++) assert.ok(publisher.put(i + 1, NB_REACHABLE, i, 0) >= 0);
  assert.is(publisher.put(bound + 1, NB_REACHABLE, 0, 0), -1);
  assert.ok(publisher.put(5, NB_STALE, 7, 7) >= 0);
  publisher.remove(9);
  assert.ok(publisher.put(bound + 1, NB_REACHABLE, 0, 0) >= 0);
  for (let i = 0; i < bound; i++) assert.is(publisher.find(i + 1) >= 0, i + 1 !== 9);
});

test('entries behind a deleted one are found; when the last of a chain goes, no deleted ones stay behind', () => {
  const { publisher, view } = table();
  const home = neighbourSlot(1, KEY);
  const chain: number[] = [];
  for (let a = 1; chain.length < 5; a++) if (neighbourSlot(a, KEY) === home) chain.push(a);
  for (const a of chain) publisher.put(a, NB_REACHABLE, a, 0);
  for (const a of chain.slice(0, 4)) publisher.remove(a);
  assert.is(view.mac(chain[4]!), NB_REACHABLE);
  publisher.remove(chain[4]!);
  for (let i = 0; i < 5; i++) assert.is(publisher.stateAt((home + i) & (NEIGHBOURS - 1)), NB_EMPTY);
  assert.is(publisher.size(), 0);
});

test('a writer stopped in the middle of a change is not waited for', () => {
  const block = new SharedArrayBuffer(HOST_STATE_BYTES);
  const publisher = new HostPublisher(block, 0);
  publisher.put(1, NB_REACHABLE, 5, 6);
  const view = new HostView(block, 0);
  const words = new Int32Array(block);
  Atomics.add(words, HS_SEQ, 1);
  assert.is(view.mac(1), NB_INCOMPLETE);
  Atomics.add(words, HS_SEQ, 1);
  assert.equal([view.mac(1), view.macHi, view.macLo], [NB_REACHABLE, 5, 6]);
});

test('a second publisher over the same block counts what is there', () => {
  const block = new SharedArrayBuffer(HOST_STATE_BYTES);
  const first = new HostPublisher(block, 0);
  for (let i = 1; i <= 100; i++) first.put(i, NB_REACHABLE, 0, 0);
  for (let i = 1; i <= 40; i++) first.remove(i);
  assert.is(new HostPublisher(block, 0).size(), 60);
});

test.run();
