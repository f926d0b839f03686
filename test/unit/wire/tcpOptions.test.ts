// TCP options: the layouts in use, what breaks them, and random bytes against a plain reference.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseOptions, synOptionsBytes, TcpOptions, writeSynOptions, writeTimestamps } from '../../../src/wire/tcpOptions.ts';
import { bytesOf, exactView, goldenBytes, seededRandom } from './golden.ts';

const LINUX_SYN = '020405b40402080a00bc614e0000000001030307';

interface Seen {
  mss: number;
  windowScale: number;
  sackPermitted: boolean;
  timestamps: number[] | null;
  sack: number[];
}

function seen(o: TcpOptions): Seen {
  return {
    mss: o.mss,
    windowScale: o.windowScale,
    sackPermitted: o.sackPermitted,
    timestamps: o.hasTimestamp ? [o.tsVal, o.tsEcr] : null,
    sack: Array.from(o.sack.slice(0, 2 * o.sackCount)),
  };
}

const NOTHING: Seen = { mss: 0, windowScale: -1, sackPermitted: false, timestamps: null, sack: [] };
/** Parsed into this dirty scratch each time: nothing of the parse before may shine through. */
const scratch = new TcpOptions();

/** Parses option bytes in a header that ends exactly with the memory. */
function parse(options: Uint8Array): Seen {
  const header = new Uint8Array(20 + options.length);
  header.set(options, 20);
  parseOptions(exactView(header, 3), 3, header.length, scratch);
  return seen(scratch);
}

const parseHex = (hex: string): Seen => parse(bytesOf(hex));

test("Linux's SYN", () => {
  assert.equal(parseHex(LINUX_SYN), { ...NOTHING, mss: 1460, windowScale: 7, sackPermitted: true, timestamps: [12345678, 0] });
});

test('no options, and NOP NOP TS by the fast way equal to the slow one', () => {
  assert.equal(parseHex(''), NOTHING);
  const want = { ...NOTHING, timestamps: [-1, 0x01020304] };
  assert.equal(parseHex('0101080affffffff01020304'), want);
  assert.equal(parseHex('080affffffff010203040101'), want);
  assert.equal(parseHex('0101080affffffff0102030400000000'), want);
});

test('the golden data segment', () => {
  parseOptions(exactView(goldenBytes('tcpData')), 34, 32, scratch);
  assert.equal(seen(scratch), { ...NOTHING, timestamps: [12345682, 123456789] });
});

test('SACK: one to four blocks, other lengths are no SACK', () => {
  for (let n = 1; n <= 4; n++) {
    const edges = Array.from({ length: 2 * n }, (_, i) => 1000 * i - 2000);
    const bytes = new Uint8Array(2 + 8 * n + 2);
    const v = new DataView(bytes.buffer);
    bytes.set([1, 1, 5, 2 + 8 * n].slice(0, 4));
    for (let i = 0; i < edges.length; i++) v.setInt32(4 + 4 * i, edges[i]!);
    assert.equal(parse(bytes), { ...NOTHING, sack: edges });
  }
  assert.equal(parseHex('0502020405b40000'), { ...NOTHING, mss: 1460 });
  assert.equal(parseHex('050600000001020405b40000'), { ...NOTHING, mss: 1460 });
  assert.equal(parse(new Uint8Array(40).fill(0).map((_, i) => (i === 0 ? 5 : i === 1 ? 38 : 9))), NOTHING);
});

test('length 0, 1 or beyond the header ends the parse, what came before stands', () => {
  const before = { ...NOTHING, mss: 1460 };
  assert.equal(parseHex('020405b4080000000103030700000000'), before, 'length 0');
  assert.equal(parseHex('020405b4080100000103030700000000'), before, 'length 1');
  assert.equal(parseHex('020405b4030307fe'), { ...before, windowScale: 7 }, 'kind without length at the end');
  assert.equal(parseHex('020405b4080a0000'), before, 'overrun');
  assert.equal(parseHex('020405b40000000001030307'), before, 'end of list');
});

test('unknown kinds and known ones of a wrong length are skipped', () => {
  assert.equal(parseHex('fd04abcd020405b4'), { ...NOTHING, mss: 1460 }, 'experimental');
  assert.equal(parseHex('020305' + '020505b400' + '020405b4'), { ...NOTHING, mss: 1460 }, 'MSS of 3 and of 5');
  assert.equal(parseHex('0304070104030001020405b4'), { ...NOTHING, mss: 1460 }, 'window scale of 4, SACK permitted of 3');
  assert.equal(parseHex('080b00000001000000020001' + '020405b4'), { ...NOTHING, mss: 1460 }, 'timestamps of 11');
});

test('window scale above 14 is read as 14 (RFC 7323 section 2.3)', () => {
  assert.is(parseHex('0103030e').windowScale, 14);
  assert.is(parseHex('0103030f').windowScale, 14);
  assert.is(parseHex('010303ff').windowScale, 14);
  assert.is(parseHex('01030300').windowScale, 0);
});

test("every truncation of Linux's SYN keeps only options that are whole", () => {
  const bytes = bytesOf(LINUX_SYN);
  for (let n = 0; n <= bytes.length; n++) {
    const s = parse(bytes.slice(0, n));
    assert.is(s.mss, n >= 4 ? 1460 : 0, `mss at ${n}`);
    assert.is(s.sackPermitted, n >= 6, `SACK at ${n}`);
    assert.is(s.timestamps !== null, n >= 16, `timestamps at ${n}`);
    assert.is(s.windowScale, n >= 20 ? 7 : -1, `window scale at ${n}`);
  }
});

/** The rules, written as a list of options first. */
function reference(bytes: Uint8Array): Seen {
  const options: { kind: number; data: number[] }[] = [];
  for (let i = 0; i < bytes.length; ) {
    const kind = bytes[i]!;
    if (kind === 0) break;
    if (kind === 1) {
      i += 1;
      continue;
    }
    const len = bytes[i + 1];
    if (len === undefined || len < 2 || i + len > bytes.length) break;
    options.push({ kind, data: Array.from(bytes.slice(i + 2, i + len)) });
    i += len;
  }
  const out: Seen = { ...NOTHING };
  const word = (d: number[], i: number): number => (d[i]! << 24) | (d[i + 1]! << 16) | (d[i + 2]! << 8) | d[i + 3]!;
  for (const { kind, data } of options) {
    if (kind === 2 && data.length === 2) out.mss = data[0]! * 256 + data[1]!;
    if (kind === 3 && data.length === 1) out.windowScale = Math.min(14, data[0]!);
    if (kind === 4 && data.length === 0) out.sackPermitted = true;
    if (kind === 8 && data.length === 8) out.timestamps = [word(data, 0), word(data, 4)];
    if (kind === 5 && data.length >= 8 && data.length <= 32 && data.length % 8 === 0)
      out.sack = Array.from({ length: data.length / 4 }, (_, i) => word(data, 4 * i));
  }
  return out;
}

test('random option bytes parse as the reference says, and never past the header', () => {
  const random = seededRandom('tcpOptions');
  const kinds = [0, 1, 1, 1, 2, 3, 4, 5, 8, 8, 254];
  const lengths = [0, 1, 2, 3, 4, 10, 10, 18, 26, 34, 40];
  for (let round = 0; round < 40000; round++) {
    const bytes = new Uint8Array(4 * ((random() >>> 1) % 11));
    for (let i = 0; i < bytes.length; i++) {
      const r = random() >>> 1;
      bytes[i] = r % 3 === 0 ? kinds[(r >> 4) % kinds.length]! : r % 3 === 1 ? lengths[(r >> 4) % lengths.length]! : (r >> 4) & 255;
    }
    assert.equal(parse(bytes), reference(bytes), Array.from(bytes).join(' '));
  }
});

test('what is written is parsed back, for all sixteen choices, in words of four', () => {
  for (let mask = 0; mask < 16; mask++) {
    const o = new TcpOptions();
    if ((mask & 1) !== 0) o.mss = 65535;
    if ((mask & 2) !== 0) o.windowScale = mask % 15;
    o.sackPermitted = (mask & 4) !== 0;
    o.hasTimestamp = (mask & 8) !== 0;
    o.tsVal = -2;
    o.tsEcr = 7;
    const bytes = new Uint8Array(synOptionsBytes(o));
    assert.is(bytes.length % 4, 0);
    assert.is(writeSynOptions(exactViewOf(bytes), 0, o), bytes.length);
    assert.equal(parse(bytes), seen(o));
  }
});

function exactViewOf(bytes: Uint8Array<ArrayBuffer>): DataView {
  return new DataView(bytes.buffer, 0, bytes.length);
}

test("the writer's bytes for a full SYN are Linux's", () => {
  const o = new TcpOptions();
  parseOptions(exactView(goldenBytes('tcpSyn')), 34, 40, o);
  const bytes = new Uint8Array(20);
  writeSynOptions(exactViewOf(bytes), 0, o);
  assert.equal(bytes, bytesOf(LINUX_SYN));
  const ts = new Uint8Array(12);
  writeTimestamps(exactViewOf(ts), 0, -1, 0x01020304);
  assert.equal(ts, bytesOf('0101080affffffff01020304'));
});

test.run();
