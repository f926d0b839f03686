import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createSwitch, PEER_DEAD_US } from '../../../src/ports/switch.ts';
import type { Switch, SwitchConfig } from '../../../src/ports/switch.ts';
import { DROP_BAD_DESCRIPTOR, DROP_CLOSING, DROP_SWITCH, DROP_TX_DEVICE } from '../../../src/rings/drops.ts';
import { D_FLAGS_GSO, D_FRAME, D_REGION_GEN, F_CSUM_PARTIAL, F_MULTICAST, F_PARSED, F_TRAIN, F_TX } from '../../../src/rings/layout.ts';
import { Doorbell, SLEEP_WAIT } from '../../../src/rings/doorbell.ts';
import { SeededRandom } from '../../../src/ports/impairment.ts';
import { EVERYBODY, Station, VOUCHED } from './station.ts';

const seed = Number(process.env.SEED ?? Date.now() & 0x7fffffff);
console.log(`seed ${seed}`);

function make(ports: number, more: Partial<SwitchConfig> = {}): { sw: Switch; s: Station[] } {
  const sw = createSwitch({ ports: Array.from({ length: ports }, (_, i) => ({ name: `p${i}` })), framesPerPort: 256, ...more });
  return { sw, s: Array.from({ length: ports }, (_, i) => new Station(sw.handle(i).attachment)) };
}

/** Everything published, everything home: the audit must show the whole pool free. */
function quiet(sw: Switch, s: readonly Station[]): void {
  for (let round = 0; round < 3; round++)
    for (const x of s) {
      x.port.tick(0);
      x.port.flush();
    }
  assert.is(
    s.reduce((n, x) => n + x.port.held(), 0),
    0,
  );
  const a = sw.audit();
  assert.is(a.free, a.total, `free ${a.free} of ${a.total}`);
}

test('frames arrive in order, intact, vouched for, and go home', () => {
  const { sw, s } = make(2);
  let next = 0;
  for (let sent = 0; sent < 3000; ) {
    for (let i = 0; i < 16 && sent < 3000; i++) if (s[0]!.send(s[1]!, sent, 1 + (sent % 1400)) === 1) sent++;
    s[0]!.port.flush();
    for (const f of s[1]!.receive()) {
      assert.is(f.sequence, next++);
      assert.ok(f.intact);
      assert.is(f.flags & VOUCHED, VOUCHED);
      assert.is(f.flags & (F_PARSED | F_CSUM_PARTIAL), F_PARSED | F_CSUM_PARTIAL);
      assert.is(f.flags & F_TX, 0);
    }
    s[1]!.port.flush();
    s[0]!.port.tick(0);
  }
  while (s[1]!.receive().length > 0) next += 0;
  assert.ok(s[1]!.received === 3000);
  quiet(sw, s);
});

test('four ports at random: no loss, each pair in order', () => {
  const { sw, s } = make(4, { ringSlots: 64 });
  const random = new SeededRandom(seed);
  const sent = new Int32Array(16);
  const got = new Int32Array(16);
  const take = (me: number): void => {
    for (const f of s[me]!.receive(1 + random.below(20))) {
      const from = f.sequence >> 20;
      assert.is(f.sequence & 0xfffff, got[from * 4 + me]!++);
      assert.ok(f.intact);
    }
  };
  for (let step = 0; step < 20000; step++) {
    const me = random.below(4);
    const to = (me + 1 + random.below(3)) % 4;
    if (random.below(2) === 0) {
      if (s[me]!.send(s[to]!, (me << 20) | sent[me * 4 + to]!, random.below(200)) === 1) sent[me * 4 + to]!++;
    } else take(me);
    if (random.below(8) === 0) {
      s[me]!.port.tick(0);
      s[me]!.port.flush();
    }
  }
  for (let round = 0; round < 100; round++)
    for (let i = 0; i < 4; i++) {
      s[i]!.port.flush();
      take(i);
    }
  assert.equal([...got], [...sent]);
  assert.ok(sent.reduce((a, b) => a + b, 0) > 5000);
  for (const x of s)
    assert.is(
      x.port.drops.reduce((a, b) => a + b, 0),
      0,
    );
  quiet(sw, s);
});

test('a train changes hands whole: links, order, length', () => {
  const { sw, s } = make(2);
  for (let i = 0; i < 20; i++) {
    assert.is(s[0]!.send(s[1]!, i, 1448 * 40 + i * 31, 1448), 1);
    s[0]!.port.flush();
    const [f] = s[1]!.receive();
    assert.ok(f!.intact);
    assert.is(f!.links, i === 0 ? 40 : 41);
    assert.is(f!.flags & F_TRAIN, F_TRAIN);
    s[1]!.port.flush();
  }
  quiet(sw, s);
});

test('broadcast reaches everybody but the sender, marked, each with a frame of its own', () => {
  const { sw, s } = make(4);
  assert.is(s[2]!.send(EVERYBODY, 5, 300), 1);
  assert.is(s[2]!.send(EVERYBODY, 6, 3000, 1000), 1);
  s[2]!.port.flush();
  for (const i of [0, 1, 3]) {
    const [a, b] = s[i]!.receive();
    assert.ok(a!.intact && b!.intact);
    assert.is(a!.sequence, 5);
    assert.is(b!.links, 3);
    assert.is(a!.flags & F_MULTICAST, F_MULTICAST);
    s[i]!.port.flush();
  }
  assert.is(s[2]!.receive().length, 0);
  quiet(sw, s);
});

test('an unknown address is flooded, or dropped when flooding is off; our own address is dropped', () => {
  const a = make(3);
  assert.is(a.s[0]!.send({ macHi: 0x02aabbcc, macLo: 1 }, 1), 1);
  a.s[0]!.port.flush();
  for (const i of [1, 2]) {
    const [f] = a.s[i]!.receive();
    assert.is(f!.sequence, 1);
    assert.is(f!.flags & F_MULTICAST, 0);
    a.s[i]!.port.flush();
  }
  assert.is(a.s[0]!.send(a.s[0]!, 2), 1);
  assert.is(a.s[0]!.port.drops[DROP_SWITCH], 1);
  quiet(a.sw, a.s);
  const b = make(3, { flood: false });
  assert.is(b.s[0]!.send({ macHi: 0x02aabbcc, macLo: 1 }, 1), 1);
  assert.is(b.s[0]!.port.drops[DROP_SWITCH], 1);
  b.s[0]!.port.flush();
  assert.is(b.s[1]!.receive().length, 0);
  quiet(b.sw, b.s);
});

test('a flood without frames for copies still reaches the last receiver, and counts the others', () => {
  const { sw, s } = make(3, { framesPerPort: 2 });
  const ids = new Int32Array(1);
  assert.is(s[0]!.port.alloc(ids, 0, 1), 1);
  assert.is(s[0]!.send(EVERYBODY, 9), 1);
  assert.is(s[0]!.port.drops[DROP_SWITCH], 1);
  s[0]!.port.flush();
  assert.is(s[1]!.receive().length + s[2]!.receive().length, 1);
  s[0]!.port.frames.owner[ids[0]!] = 2;
  s[0]!.port.free(ids[0]!);
  for (const x of s) x.port.flush();
  quiet(sw, s);
});

test('a full ring stops the sender and loses nothing; it goes on when there is room', () => {
  const { sw, s } = make(2, { ringSlots: 16 });
  for (let i = 0; i < 16; i++) assert.is(s[0]!.send(s[1]!, i), 1);
  assert.is(s[0]!.send(s[1]!, 16), 0);
  s[0]!.port.flush();
  assert.ok(s[0]!.port.hasDeadline());
  assert.is(s[1]!.receive(1)[0]!.sequence, 0);
  s[1]!.port.flush();
  assert.ok(s[0]!.port.pending());
  s[0]!.port.tick(10);
  assert.is(s[0]!.port.hasDeadline(), false);
  assert.is(s[0]!.send(s[1]!, 16), 1);
  s[0]!.port.flush();
  let next = 1;
  for (let i = 0; i < 4; i++) for (const f of s[1]!.receive()) assert.is(f.sequence, next++);
  assert.is(next, 17);
  s[1]!.port.flush();
  quiet(sw, s);
});

test("a burst stops at the frame that finds no room: the rest stays the caller's", () => {
  const { sw, s } = make(3, { ringSlots: 4 });
  for (let i = 0; i < 8; i++) assert.ok(s[0]!.build(i * 8, s[1]!.macHi, s[1]!.macLo, i, 10));
  assert.is(s[0]!.port.txBurst(s[0]!.desc, 0, 8), 4);
  for (let i = 4; i < 8; i++) s[0]!.port.freeTrain(s[0]!.desc[i * 8 + D_FRAME]!);
  s[0]!.port.flush();
  assert.is(s[1]!.receive().length, 4);
  s[1]!.port.flush();
  quiet(sw, s);
});

test('a receiver that takes nothing for 100 ms counts as dead: its frames are dropped, others get theirs', () => {
  const { sw, s } = make(3, { ringSlots: 8 });
  s[0]!.port.tick(0x7fffff00);
  for (let i = 0; i < 8; i++) s[0]!.send(s[1]!, i);
  assert.is(s[0]!.send(s[1]!, 8), 0);
  s[0]!.port.tick((0x7fffff00 + PEER_DEAD_US - 1) | 0);
  assert.is(s[0]!.send(s[1]!, 8), 0);
  assert.is(s[0]!.port.deadlineUs(), (0x7fffff00 + PEER_DEAD_US) | 0);
  s[0]!.port.tick((0x7fffff00 + PEER_DEAD_US) | 0);
  assert.is(s[0]!.send(s[1]!, 8), 1);
  assert.is(s[0]!.port.drops[DROP_SWITCH], 1);
  assert.is(s[0]!.port.hasDeadline(), false);
  assert.is(s[0]!.send(s[2]!, 9), 1);
  s[0]!.port.flush();
  assert.is(s[2]!.receive()[0]!.sequence, 9);
  // It comes back to life.
  assert.is(s[1]!.receive().length, 8);
  s[1]!.port.flush();
  s[2]!.port.flush();
  assert.is(s[0]!.send(s[1]!, 10), 1);
  s[0]!.port.flush();
  assert.is(s[1]!.receive()[0]!.sequence, 10);
  s[1]!.port.flush();
  quiet(sw, s);
});

test('a detached port: what it held goes home, what was under way to it comes back, later frames are dropped', () => {
  const { sw, s } = make(2);
  for (let i = 0; i < 20; i++) s[0]!.send(s[1]!, i);
  s[0]!.port.flush();
  for (let i = 20; i < 30; i++) s[0]!.send(s[1]!, i);
  s[1]!.port.detach();
  const taken = s[1]!.port.drops[DROP_CLOSING]!;
  assert.ok(taken >= 20);
  s[0]!.port.tick(1);
  assert.is(taken + s[0]!.port.drops[DROP_SWITCH]!, 30);
  assert.is(s[0]!.send(s[1]!, 99), 1);
  assert.is(taken + s[0]!.port.drops[DROP_SWITCH]!, 31);
  s[0]!.port.tick(2);
  assert.is(sw.audit().free, 512);
  s[0]!.port.detach();
  assert.is(sw.settle().free, 512);
  assert.throws(() => new Station(sw.handle(1).attachment), /detached/);
});

test('settle takes home what threads left in the rings', () => {
  const { sw, s } = make(2);
  for (let i = 0; i < 20; i++) s[0]!.send(s[1]!, i, 3000, 1448);
  s[0]!.port.flush();
  s[1]!.receive(5);
  s[1]!.port.flush();
  assert.is.not(sw.audit().free, 512);
  assert.is(sw.settle().free, 512);
});

test('descriptors that lie are dropped and counted; a stale one frees nothing', () => {
  const { sw, s } = make(2);
  const p = s[0]!.port;
  assert.ok(s[0]!.build(0, s[1]!.macHi, s[1]!.macLo, 0, 10));
  const f = s[0]!.desc[D_FRAME]!;
  s[0]!.desc[D_FRAME] = 99999;
  assert.is(p.txBurst(s[0]!.desc, 0, 1), 1);
  s[0]!.desc[D_FRAME] = f;
  s[0]!.desc[D_REGION_GEN] = s[0]!.desc[D_REGION_GEN]! ^ 1;
  assert.is(p.txBurst(s[0]!.desc, 0, 1), 1);
  s[0]!.desc[D_REGION_GEN] = s[0]!.desc[D_REGION_GEN]! ^ 1;
  assert.is(p.drops[DROP_TX_DEVICE], 2);
  // Data beyond the frame, and a train whose chain never ends, are found by the receiver or the sender.
  s[0]!.desc[1] = (2000 << 16) | 100;
  assert.is(p.txBurst(s[0]!.desc, 0, 1), 1);
  p.flush();
  assert.is(s[1]!.receive().length, 0);
  assert.is(s[1]!.port.drops[DROP_BAD_DESCRIPTOR], 1);
  assert.ok(s[0]!.build(0, s[1]!.macHi, s[1]!.macLo, 0, 100, 50));
  const g = s[0]!.desc[D_FRAME]!;
  const second = p.frames.next[g]!;
  p.frames.next[second] = g;
  assert.is(p.txBurst(s[0]!.desc, 0, 1), 1);
  assert.is(p.drops[DROP_TX_DEVICE], 3);
  p.frames.next[second] = -1;
  p.freeTrain(g);
  p.free(g);
  assert.is(p.drops[DROP_BAD_DESCRIPTOR], 1, 'a frame freed twice is counted');
  s[1]!.port.flush();
  quiet(sw, s);
});

test('a descriptor kept after its frame went home is recognised', () => {
  const { sw, s } = make(2);
  assert.ok(s[0]!.build(0, s[1]!.macHi, s[1]!.macLo, 0, 10));
  const kept = s[0]!.desc.slice(0, 8);
  assert.is(s[0]!.port.txBurst(s[0]!.desc, 0, 1), 1);
  s[0]!.port.flush();
  assert.is(s[1]!.receive().length, 1);
  s[1]!.port.flush();
  s[0]!.port.tick(0);
  assert.is(s[0]!.port.txBurst(kept, 0, 1), 1);
  assert.is(s[0]!.port.drops[DROP_TX_DEVICE], 1);
  s[0]!.port.flush();
  assert.is(s[1]!.receive().length, 0);
  quiet(sw, s);
});

test('without vouching, partial checksums are completed and every flag of trust is gone', () => {
  const { sw, s } = make(2, { checksum: false });
  assert.is(s[0]!.port.caps.txChecksum, false);
  assert.is(s[0]!.send(s[1]!, 3, 99), 1);
  s[0]!.port.flush();
  const [f] = s[1]!.receive();
  assert.is(f!.flags & ~F_TRAIN, 0);
  s[1]!.port.flush();
  quiet(sw, s);
});

test('flush rings the sleeper that got something, and nobody else', () => {
  const { sw, s } = make(3);
  const bells = [0, 1, 2].map((i) => new Int32Array(sw.block, sw.handle(i).attachment.bell!.at * 4, 3));
  for (const b of bells) new Doorbell(b, 0).prepare(SLEEP_WAIT);
  s[0]!.send(s[1]!, 1);
  s[0]!.port.flush();
  assert.equal(
    bells.map((b) => b[1]),
    [0, 1, 0],
  );
  s[0]!.port.flush();
  assert.equal(
    bells.map((b) => b[1]),
    [0, 1, 0],
  );
  // Frames going home ring only who is short of frames.
  s[1]!.receive();
  s[1]!.port.flush();
  assert.equal(
    bells.map((b) => b[1]),
    [0, 1, 0],
  );
  const all = new Int32Array(300);
  assert.ok(s[0]!.port.alloc(all, 0, 300) === 256);
  assert.is(s[0]!.port.pending(), false);
  s[0]!.port.frames.owner[all[0]!] = 2;
  const ids = s[0]!.port.frames;
  // One of them is at port 1 and comes home.
  ids.owner[all[1]!] = 3;
  s[1]!.port.free(all[1]!);
  s[1]!.port.flush();
  assert.equal(
    bells.map((b) => b[1]),
    [1, 1, 0],
  );
});

test('configurations that cannot be are refused by name', () => {
  const c = (more: Partial<SwitchConfig>) => () => createSwitch({ ports: [{ name: 'a' }], framesPerPort: 16, ...more });
  assert.throws(c({ ports: [] }), /0 ports/);
  assert.throws(c({ framesPerPort: 0 }), /framesPerPort 0/);
  assert.throws(c({ frameBytes: 1000 }), /frameBytes 1000/);
  assert.throws(c({ ringSlots: 100 }), /ringSlots 100 is not a power of two/);
  assert.throws(c({ ports: [{ name: 'a', mac: 'x' }] }), /"x" is not a MAC/);
  assert.throws(c({ ports: [{ name: 'a', mac: '01:00:00:00:00:01' }] }), /group address/);
  assert.throws(
    c({
      ports: [
        { name: 'a', mac: '02:00:00:00:00:01' },
        { name: 'b', mac: '02:00:00:00:00:01' },
      ],
    }),
    /another port/,
  );
  assert.throws(c({ framesPerPort: 2 ** 21 }), /at most/);
  assert.throws(c({ memory: new SharedArrayBuffer(64) }), /memory has 64 bytes/);
  assert.throws(c({ impair: { loss: 2 } }), /loss is 2/);
  assert.throws(c({ impair: { delayUs: -1 } }), /delayUs is -1/);
  assert.is(D_FLAGS_GSO, 5);
});

test.run();
