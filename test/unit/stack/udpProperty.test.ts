/**
 * Properties over random datagrams and calls: whatever bytes arrive, nothing throws; whatever is delivered is what was sent, in
 * order; frames, chunks and ports come back. Prints its seed and takes SEED=.
 */
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { C_DROP } from '../../../src/rings/counters.ts';
import { DROP_NO_MEMORY, DROP_RECEIVE_BUFFER } from '../../../src/rings/drops.ts';
import { datagram, framed, icmpAbout } from './datagrams.ts';
import { OURS, PEER, Trace } from './trace.ts';

const seed = Number(process.env.SEED ?? Date.now() & 0x7fffffff);
console.log(`seed ${seed}`);

const PORTS = [7, 8];

test('any bytes, in UDP, ICMP or no shape at all: nothing throws, every frame is counted and comes home', () => {
  const byte = fc.integer({ min: 0, max: 255 });
  const bytes = fc.uint8Array({ minLength: 14, maxLength: 120 });
  const mangled = fc
    .tuple(
      fc.uint8Array({ maxLength: 60 }),
      fc.array(fc.tuple(fc.integer({ min: 12, max: 101 }), byte), { maxLength: 4 }),
      fc.constantFrom(0, 1, 2),
    )
    .map(([data, changes, kind]) => {
      const quote = datagram({ src: OURS, dst: PEER, from: 7, to: 9, data }).subarray(14);
      const b =
        kind === 0 ? datagram({ data }) : kind === 1 ? icmpAbout(quote, 3, data.length & 15) : framed(Buffer.from(data), 17, PEER, OURS);
      for (const [at, x] of changes) if (at < b.length) b[at] = x;
      return Uint8Array.from(b);
    });
  // A port that vouches (checksums good) lets lies about lengths through to the stack itself.
  const flags = fc.constantFrom(0, 0, 1, 5);
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.oneof(bytes, mangled), flags), { maxLength: 40 }), (frames) => {
      const t = new Trace();
      const s = t.sockets.openDatagram();
      t.sockets.bind(s, 0, 7);
      t.sockets.connect(s, PEER, 9);
      const any = t.sockets.openDatagram();
      t.sockets.bind(any, 0, 8);
      const buffer = new Uint8Array(64);
      for (const [b, f] of frames) {
        t.queueBytes(b, f).breath();
        t.sockets.receiveFrom(s, buffer, 0, 64, 0, null);
        t.others.length = 0;
        t.out.length = 0;
      }
      t.end();
    }),
    { seed, numRuns: 150 },
  );
});

type Op =
  | { kind: 'arrive'; to: number; len: number }
  | { kind: 'receive'; socket: number; most: number; peek: boolean }
  | { kind: 'send'; socket: number; len: number }
  | { kind: 'reopen'; socket: number }
  | { kind: 'breath' };

const op: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('arrive' as const),
      to: fc.integer({ min: 0, max: 1 }),
      len: fc.integer({ min: 4, max: 1472 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('receive' as const),
      socket: fc.integer({ min: 0, max: 1 }),
      most: fc.constantFrom(2048, 2048, 100),
      peek: fc.constantFrom(false, false, true),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('send' as const),
      socket: fc.integer({ min: 0, max: 1 }),
      len: fc.integer({ min: 0, max: 1500 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reopen' as const), socket: fc.integer({ min: 0, max: 1 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('breath' as const) }) },
);

/** A model of what must be read: per socket the payloads accepted, in order. */
class Model {
  readonly t = new Trace({ frames: 512, config: { chunks: 48, chunkBytes: 512, udpRcvbuf: 8192, udpSndbuf: 4096 } });
  readonly sockets = PORTS.map((p) => this.open(p));
  readonly waiting: Buffer[][] = [[], []];
  private number = 0;
  private readonly buffer = Buffer.alloc(2048);

  private open(port: number): number {
    const s = this.t.sockets.openDatagram();
    assert.is(this.t.sockets.bind(s, 0, port), 0);
    return s;
  }

  private lost(): number {
    return this.t.counters.v[C_DROP + DROP_RECEIVE_BUFFER]! + this.t.counters.v[C_DROP + DROP_NO_MEMORY]!;
  }

  /** Operations between two breaths run while datagrams stand in frames. */
  run(ops: readonly Op[]): void {
    const { t } = this;
    let burst: { to: number; data: Buffer }[] = [];
    let pending: Op[] = [];
    const breathe = (): void => {
      const arrivals = burst;
      const calls = pending;
      burst = [];
      pending = [];
      for (const a of arrivals) t.queueBytes(datagram({ to: PORTS[a.to]!, data: a.data }));
      const before = this.lost();
      t.app = () => {
        const lost = this.lost() - before;
        // Which of them were refused the counters do not say: with none refused the order is known.
        if (lost === 0) for (const a of arrivals) this.waiting[a.to]!.push(a.data);
        else this.resync(arrivals.length - lost);
        for (const o of calls) this.call(o);
      };
      t.breath();
      t.app = () => {};
      t.others.length = 0;
    };
    for (const o of ops) {
      if (o.kind === 'arrive') {
        const data = Buffer.alloc(o.len, this.number & 255);
        data.writeInt32BE(this.number++);
        burst.push({ to: o.to, data });
      } else pending.push(o);
      if (o.kind === 'breath' || burst.length === 12) breathe();
    }
    breathe();
    for (const s of this.sockets) t.sockets.close(s);
    assert.is(t.machine.chunks.free, t.machine.chunks.chunks, 'chunks');
    t.end();
  }

  /** After a refusal the model starts again from empty sockets. */
  private resync(accepted: number): void {
    let n = 0;
    const had = this.waiting[0]!.length + this.waiting[1]!.length;
    for (const [i, s] of this.sockets.entries()) {
      for (; this.t.sockets.receiveFrom(s, this.buffer, 0, 2048, 0, null) >= 0; n++);
      this.waiting[i]!.length = 0;
    }
    assert.is(n, had + accepted, 'every datagram is delivered or counted');
  }

  private call(o: Op): void {
    const { t } = this;
    if (o.kind === 'receive') {
      const waiting = this.waiting[o.socket]!;
      const n = t.sockets.receiveFrom(this.sockets[o.socket]!, this.buffer, 0, o.most, o.peek ? 2 : 0, null);
      assert.is(n < 0, waiting.length === 0, `${n} with ${waiting.length} waiting`);
      if (n < 0) return;
      const first = waiting[0]!;
      assert.is(n, Math.min(o.most, first.length));
      assert.ok(this.buffer.subarray(0, n).equals(first.subarray(0, n)), 'the bytes that were sent');
      if (!o.peek) waiting.shift();
    } else if (o.kind === 'send') {
      t.sockets.sendTo(this.sockets[o.socket]!, this.buffer, 0, o.len, PEER, 9);
    } else if (o.kind === 'reopen') {
      assert.is(t.sockets.close(this.sockets[o.socket]!), 0);
      this.sockets[o.socket] = this.open(PORTS[o.socket]!);
      this.waiting[o.socket]!.length = 0;
    }
  }
}

test('sockets, a model beside them: delivered in order and intact, or counted; chunks and frames come home', () => {
  fc.assert(
    fc.property(fc.array(op, { maxLength: 120 }), (ops) => {
      new Model().run(ops);
    }),
    { seed, numRuns: 200 },
  );
});

test.run();
