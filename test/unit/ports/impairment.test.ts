import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createSwitch } from '../../../src/ports/switch.ts';
import type { Switch, SwitchConfig } from '../../../src/ports/switch.ts';
import { SeededRandom } from '../../../src/ports/impairment.ts';
import type { Impairment } from '../../../src/ports/impairment.ts';
import { BURST_ARENA_BYTES, inspectOne } from './verify.ts';
import { DROP_IMPAIRMENT, DROP_IP_CHECKSUM, DROP_L4_CHECKSUM, DROP_NAME } from '../../../src/rings/drops.ts';
import { F_BAD } from '../../../src/rings/layout.ts';
import { Station, VOUCHED } from './station.ts';

const seed = Number(process.env.SEED ?? 20261122);
console.log(`seed ${seed}`);

interface Run {
  sequences: number[];
  times: number[];
  dropped: number;
  stations: [Station, Station];
  sw: Switch;
  broken: number;
}

/** `frames` frames of 100 bytes, one every `everyUs`, from port 0 to the impaired port 1; then time runs until all is out. */
function run(impair: Impairment, frames: number, everyUs = 10, more: Partial<SwitchConfig> = {}, gso = 0, bytes = 46): Run {
  const sw = createSwitch({ ports: [{ name: 'a' }, { name: 'b', impair }], framesPerPort: 1024, ...more });
  const a = new Station(sw.handle(0).attachment);
  const b = new Station(sw.handle(1).attachment);
  const sequences: number[] = [];
  const times: number[] = [];
  let broken = 0;
  let now = 0x7fff0000;
  const step = (us: number): void => {
    now = (now + us) | 0;
    a.port.tick(now);
    b.port.tick(now);
    for (let again = true; again; ) {
      again = false;
      for (const f of b.receive(64)) {
        again = true;
        sequences.push(f.sequence);
        times.push(now);
        if (!f.intact) broken++;
      }
    }
    b.port.flush();
  };
  step(0);
  for (let i = 0; i < frames; i++) {
    assert.is(a.send(b, i, bytes, gso), 1);
    a.port.flush();
    step(everyUs);
  }
  for (let i = 0; i < 100000 && b.port.hasDeadline(); i++) step(Math.max(0, (b.port.deadlineUs() - now) | 0));
  a.port.tick(now);
  assert.is(b.port.held(), 0);
  const audit = sw.audit();
  assert.is(audit.free, audit.total, 'all frames home');
  const dropped = b.port.drops[DROP_IMPAIRMENT]!;
  return { sequences, times, dropped, stations: [a, b], sw, broken };
}

/** Whether `hits` of `n` trials at `p` is within five standard deviations. */
function likely(hits: number, n: number, p: number): boolean {
  return Math.abs(hits - n * p) <= 5 * Math.sqrt(n * p * (1 - p));
}

test('the generator: uniform, and the same for the same seed', () => {
  const a = new SeededRandom(seed);
  const b = new SeededRandom(seed);
  const buckets = new Int32Array(16);
  const bits = new Int32Array(32);
  for (let i = 0; i < 160000; i++) {
    const x = a.next();
    assert.is(b.next(), x);
    for (let k = 0; k < 32; k++) bits[k]! += (x >>> k) & 1;
    buckets[a.below(16)]!++;
    b.below(16);
  }
  for (const n of buckets) assert.ok(likely(n, 160000, 1 / 16), `bucket ${n}`);
  for (const n of bits) assert.ok(likely(n, 160000, 1 / 2), `bit ${n}`);
});

test('loss: the rate asked for, counted, reproducible to the frame', () => {
  for (const p of [0.01, 0.1, 0.5]) {
    const r = run({ seed, loss: p }, 10000);
    assert.ok(likely(r.dropped, 10000, p), `${r.dropped} lost at ${p}`);
    assert.is(r.sequences.length + r.dropped, 10000);
    assert.equal(run({ seed, loss: p }, 10000).sequences, r.sequences);
    assert.is.not(run({ seed: seed + 1, loss: p }, 10000).sequences.join(), r.sequences.join());
  }
  assert.is(run({ seed, loss: 1 }, 100).sequences.length, 0);
  assert.is(run({ seed, loss: 0, delayUs: 1 }, 100).dropped, 0);
});

test('the two directions of a link do not lose in step', () => {
  const lost = (to: number): string => {
    const sw = createSwitch({ ports: [{ name: 'a' }, { name: 'b' }], framesPerPort: 64, impair: { seed, loss: 0.5 } });
    const s = [new Station(sw.handle(0).attachment), new Station(sw.handle(1).attachment)];
    const got: number[] = [];
    for (let i = 0; i < 200; i++) {
      s[1 - to]!.send(s[to]!, i);
      s[1 - to]!.port.flush();
      for (const f of s[to]!.receive()) got.push(f.sequence);
      s[to]!.port.flush();
      s[1 - to]!.port.tick(0);
    }
    return got.join();
  };
  assert.is.not(lost(0), lost(1));
});

test("duplication: the rate asked for, intact, also of trains; copies come from the receiver's frames and go home", () => {
  const r = run({ seed, duplicate: 0.1 }, 5000);
  assert.ok(likely(r.sequences.length - 5000, 5000, 0.1), `${r.sequences.length - 5000} duplicates`);
  assert.is(r.broken, 0);
  assert.is(new Set(r.sequences).size, 5000);
  assert.equal(run({ seed, duplicate: 0.1 }, 5000).sequences, r.sequences);
  const trains = run({ seed, duplicate: 0.3 }, 300, 10, {}, 500, 3333);
  assert.ok(likely(trains.sequences.length - 300, 300, 0.3));
  assert.is(trains.broken, 0);
});

test('reordering: frames come late by at most the gap, or the hold time; none is lost', () => {
  const r = run({ seed, reorder: 0.1, reorderGap: 3 }, 5000);
  assert.is(r.sequences.length, 5000);
  assert.is(new Set(r.sequences).size, 5000);
  let late = 0;
  let highest = -1;
  r.sequences.forEach((s, position) => {
    if (s < highest) late++;
    else highest = s;
    // Held for at most 3 later frames, while others may be held in front of it.
    assert.ok(Math.abs(position - s) <= 12, `frame ${s} at ${position}`);
  });
  assert.ok(late > 300 && late < 600, `${late} late`);
  assert.equal(run({ seed, reorder: 0.1, reorderGap: 3 }, 5000).sequences, r.sequences);
  // Alone on the wire, the hold time lets it go.
  const alone = run({ seed, reorder: 1, reorderHoldUs: 700 }, 1);
  assert.equal(alone.sequences, [0]);
  assert.is((alone.times[0]! - 0x7fff0000) | 0, 10 + 700);
});

test('delay and jitter: each frame within its bounds, order kept', () => {
  const r = run({ seed, delayUs: 2000, jitterUs: 500 }, 2000, 100);
  assert.equal(
    r.sequences,
    Array.from({ length: 2000 }, (_, i) => i),
  );
  let least = 1e9;
  let most = 0;
  r.times.forEach((t, i) => {
    // Frame i was sent when the clock stood i steps on, and was taken in at the end of its own step.
    const took = (t - 0x7fff0000 - (i + 1) * 100) | 0;
    least = Math.min(least, took);
    most = Math.max(most, took);
  });
  // What is due between two steps is seen at the next one.
  assert.ok(least >= 1500 && most <= 2600, `${least}..${most}`);
  // Keeping order, a short delay behind a long one is stretched: the low end is rarely reached.
  assert.ok(least < 1900 && most > 2300, `${least}..${most}`);
  const fixed = run({ seed, delayUs: 5000 }, 50, 20000);
  fixed.times.forEach((t, i) => {
    assert.is((t - 0x7fff0000 - (i + 1) * 20000) | 0, i < 49 ? 20000 : 5000);
  });
});

test('rate: bits per second after the burst, the queue bounded', () => {
  // 100 bytes a frame at 8 Mbit/s is 100 us; they are sent every 10 us.
  const r = run({ seed, rateBps: 8_000_000, queueBytes: 10_000, burstBytes: 1000 }, 2000);
  const span = (r.times[r.times.length - 1]! - r.times[0]!) | 0;
  const rate = ((r.sequences.length - 1) * 100 * 8) / span;
  assert.ok(rate > 7.5 && rate < 8.6, `${rate} Mbit/s`);
  assert.ok(r.dropped > 0);
  assert.is(r.sequences.length + r.dropped, 2000);
  assert.is(r.stations[1].port.link!.overflows, r.dropped);
  // Under the rate nothing waits and nothing is lost.
  const slow = run({ seed, rateBps: 8_000_000, queueBytes: 10_000, burstBytes: 1000 }, 200, 120);
  assert.is(slow.dropped, 0);
  slow.times.forEach((t, i) => {
    assert.is((t - 0x7fff0000) | 0, (i + 1) * 120);
  });
});

test('corruption: exactly one bit, the vouching gone, and inspect finds all but what no checksum covers', () => {
  for (const [frames, gso, bytes] of [
    [1500, 0, 120],
    [300, 333, 2500],
  ] as const) {
    const sw = createSwitch({ ports: [{ name: 'a' }, { name: 'b', impair: { seed, corrupt: 1 } }], framesPerPort: 64 });
    const a = new Station(sw.handle(0).attachment);
    const b = new Station(sw.handle(1).attachment);
    const arena = new SharedArrayBuffer(BURST_ARENA_BYTES);
    const reasons = new Map<number, number>();
    let unseen = 0;
    for (let i = 0; i < frames; i++) {
      a.send(b, i, bytes, gso);
      a.port.flush();
      assert.is(b.port.rxBurst(b.desc, 0, 8), 1);
      assert.is(b.desc[5]! & VOUCHED, 0);
      const first = b.desc[0]!;
      const reason = inspectOne(b.port.frames, arena, b.desc);
      if (reason === 0) {
        // Not covered by any checksum: the Ethernet header (14 bytes; its type makes it another protocol).
        unseen++;
      } else reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
      b.port.freeTrain(first);
      b.port.flush();
      a.port.tick(0);
    }
    const total = 54 + bytes;
    assert.ok(likely(unseen, frames, 14 / total), `${unseen} unseen of ${frames}`);
    assert.ok(reasons.get(DROP_L4_CHECKSUM)! > frames * 0.4, JSON.stringify([...reasons].map(([r, n]) => [DROP_NAME[r], n])));
    assert.ok((reasons.get(DROP_IP_CHECKSUM) ?? 0) + unseen > 0);
    assert.is(sw.audit().free, 128);
  }
  // The same frames, not corrupted, pass (so that the test above cannot pass for another reason).
  const sw = createSwitch({ ports: [{ name: 'a' }, { name: 'b' }], framesPerPort: 64, checksum: false });
  const a = new Station(sw.handle(0).attachment);
  const b = new Station(sw.handle(1).attachment);
  const arena = new SharedArrayBuffer(BURST_ARENA_BYTES);
  for (const [gso, bytes] of [
    [0, 120],
    [333, 2500],
    [0, 121],
    [335, 2501],
  ] as const) {
    a.send(b, 1, bytes, gso);
    a.port.flush();
    assert.is(b.port.rxBurst(b.desc, 0, 8), 1);
    const first = b.desc[0]!;
    assert.is(inspectOne(b.port.frames, arena, b.desc), 0);
    assert.is(b.desc[5]! & F_BAD, 0);
    b.port.freeTrain(first);
    b.port.flush();
    a.port.tick(0);
  }
});

test('everything at once: reproducible to the frame and the microsecond, nothing leaks', () => {
  const all: Impairment = {
    seed,
    loss: 0.05,
    duplicate: 0.05,
    corrupt: 0.02,
    reorder: 0.1,
    delayUs: 300,
    jitterUs: 200,
    rateBps: 100_000_000,
  };
  const x = run(all, 5000);
  const y = run(all, 5000);
  assert.equal(y.sequences, x.sequences);
  assert.equal(y.times, x.times);
  const link = x.stations[1].port.link!;
  assert.is(x.sequences.length, 5000 - x.dropped + link.duplicate.hits);
});

test.run();
