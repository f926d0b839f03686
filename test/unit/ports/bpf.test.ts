// The classic BPF programs of packet sockets, run by an interpreter of a page: the queue of a frame is the worker its flow hash
// gives, and only what is for us is let in.
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as bpf from '../../../src/ports/bpf.ts';
import { Classified, classify } from '../../../src/wire/flow.ts';

const SEED = Number(process.env.SEED ?? Date.now() & 0x7fffffff);

/** Runs a program over `v` from byte `at` (the network or the link header); the value returned, unsigned. */
function interpret(program: Int32Array, v: DataView, at: number): number {
  const memory = new Int32Array(16);
  let a = 0;
  let x = 0;
  const load = (bytes: number, k: number): number => {
    if (k === bpf.AD_PROTOCOL) return v.getUint16(at - 2);
    if (at + k + bytes > v.byteLength) throw new RangeError('outside');
    return bytes === 4 ? v.getInt32(at + k) : bytes === 2 ? v.getUint16(at + k) : v.getUint8(at + k);
  };
  try {
    for (let pc = 0; pc < program.length / 2; pc++) {
      const word = program[2 * pc]!;
      const k = program[2 * pc + 1]!;
      const [jt, jf] = [(word >> 16) & 0xff, (word >>> 24) & 0xff];
      const steps: Record<number, () => void> = {
        [bpf.LD_W]: () => (a = load(4, k)),
        [bpf.LD_H]: () => (a = load(2, k)),
        [bpf.LD_B]: () => (a = load(1, k)),
        [bpf.LD_H_X]: () => (a = load(2, x + k)),
        [bpf.LD_MEM]: () => (a = memory[k]!),
        [bpf.LD_IMM]: () => (a = k),
        [bpf.LDX_MEM]: () => (x = memory[k]!),
        [bpf.LDX_IP_HEADER]: () => (x = (load(1, k) & 15) << 2),
        [bpf.ST]: () => (memory[k] = a),
        [bpf.ADD_K]: () => (a = (a + k) | 0),
        [bpf.AND_K]: () => (a &= k),
        [bpf.LSH_K]: () => (a <<= k),
        [bpf.RSH_K]: () => (a = (a >>> k) | 0),
        [bpf.XOR_K]: () => (a ^= k),
        [bpf.XOR_X]: () => (a ^= x),
        [bpf.OR_X]: () => (a |= x),
        [bpf.JEQ_K]: () => (pc += a === k ? jt : jf),
        [bpf.JSET_K]: () => (pc += (a & k) !== 0 ? jt : jf),
      };
      const code = word & 0xffff;
      if (code === bpf.RET_K) return k >>> 0;
      if (code === bpf.RET_A) return a >>> 0;
      assert.ok(steps[code], `no instruction ${code}`);
      steps[code]!();
    }
  } catch (e) {
    // A load outside the packet ends the program with 0.
    if (e instanceof RangeError) return 0;
    throw e;
  }
  return assert.unreachable('ran over its end') as never;
}

interface Flow {
  protocol: number;
  src: number;
  dst: number;
  sport: number;
  dport: number;
  options: number;
  fragment: number;
}

function frame(f: Flow): DataView {
  const v = new DataView(new ArrayBuffer(14 + 20 + 4 * f.options + 20));
  v.setUint16(12, 0x0800);
  v.setUint8(14, 0x45 + f.options);
  v.setUint16(16, 20 + 4 * f.options + 20);
  v.setUint16(20, f.fragment);
  v.setUint8(23, f.protocol);
  v.setInt32(26, f.src);
  v.setInt32(30, f.dst);
  const l4 = 34 + 4 * f.options;
  v.setUint16(l4, f.sport);
  v.setUint16(l4 + 2, f.dport);
  v.setUint16(l4 + 4, 20);
  return v;
}

test(`a frame's queue is its flow hash modulo queues, as classify has it (SEED=${SEED})`, () => {
  const program = bpf.steerProgram();
  const seen = new Classified();
  const int32 = fc.integer({ min: -0x80000000, max: 0x7fffffff });
  const port = fc.integer({ min: 0, max: 65535 });
  const flow = fc.record({
    protocol: fc.constantFrom(6, 17, 6, 17, 1, 47),
    src: int32,
    dst: int32,
    sport: port,
    dport: port,
    options: fc.integer({ min: 0, max: 10 }),
    // Nothing, "don't fragment", the first, the last
    fragment: fc.constantFrom(0, 0x4000, 0x4000, 0x2000, 0x0007),
  });
  let spread = 0;
  fc.assert(
    fc.property(flow, (f) => {
      const v = frame(f);
      classify(v, 0, v.byteLength, seen);
      const got = interpret(program, v, 14);
      assert.is(got, seen.hash >>> 0);
      spread |= 1 << (got % 3);
    }),
    { seed: SEED, numRuns: 2000 },
  );
  assert.is(spread, 7, 'all of three queues were seen');
});

test('both directions of a flow are one, and what is no IPv4 has queue 0', () => {
  const program = bpf.steerProgram();
  const there = { protocol: 6, src: 0x0a000001, dst: -0x3fffff00, sport: 40000, dport: 443, options: 0, fragment: 0x4000 };
  const back = { ...there, src: there.dst, dst: there.src, sport: there.dport, dport: there.sport };
  const hash = interpret(program, frame(there), 14);
  assert.is.not(hash, 0);
  assert.is(interpret(program, frame(back), 14), hash);
  const arp = frame(there);
  arp.setUint16(12, 0x0806);
  assert.is(interpret(program, arp, 14), 0);
  const short = new DataView(frame(there).buffer, 0, 30);
  assert.is(interpret(program, short, 14), 0, 'a datagram that ends early');
});

test('the filter lets in our address, broadcast and multicast, nothing else', () => {
  const filter = bpf.addressFilter(-0x7dfffffe, 0xbeef);
  const to = (hi: number, lo: number): number => {
    const v = new DataView(new ArrayBuffer(60));
    v.setInt32(0, hi);
    v.setUint16(4, lo);
    return interpret(filter, v, 0);
  };
  assert.is(to(-0x7dfffffe, 0xbeef), 0xffffffff);
  assert.is(to(-1, 0xffff), 0xffffffff);
  assert.is(to(0x01005e00, 1), 0xffffffff);
  assert.is(to(-0x7dfffffe, 0xbeee), 0);
  assert.is(to(-0x7dfffffd, 0xbeef), 0);
  assert.is(to(0x02000000, 0xffff), 0);
});

test.run();
