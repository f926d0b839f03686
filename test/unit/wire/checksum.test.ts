// The Internet checksum against the RFCs' own numbers, a byte-wise reference, and the golden frames.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { fold, pseudoSum4, sum16, update16 } from '../../../src/wire/checksum.ts';
import { LEN_ETHERNET } from '../../../src/wire/ethernet.ts';
import { parseIpv4, PROTO_TCP, PROTO_UDP, setIpv4 } from '../../../src/wire/ipv4.ts';
import { bytesOf, exactView, GOLDEN, type GoldenName, goldenBytes, seededRandom } from './golden.ts';

/** RFC 1071 as its section 1 says it: add 16-bit words with end-around carry, one byte at a time. */
function reference(bytes: Uint8Array): number {
  let s = 0;
  for (let i = 0; i < bytes.length; i++) {
    s += (i & 1) === 0 ? bytes[i]! << 8 : bytes[i]!;
    if (s > 0xffff) s -= 0xffff;
  }
  return s;
}

test('RFC 1071 section 3: the worked example', () => {
  const v = exactView(bytesOf('0001f203f4f5f6f7'));
  assert.is(sum16(v, 0, 8, 0), 0x2ddf0);
  assert.is(fold(sum16(v, 0, 8, 0)), 0xddf2);
});

test('RFC 1624 section 4: the worked example, whose result is +0 and not -0', () => {
  assert.is(update16(0xdd2f, 0x5555, 0x3285), 0x0000);
});

test('random bytes of every length and offset fold as the byte-wise reference', () => {
  const random = seededRandom('checksum');
  for (let round = 0; round < 4000; round++) {
    const at = random() & 15;
    const len = round < 300 ? round : (random() >>> 1) % 3000;
    const bytes = Uint8Array.from({ length: len }, () => random() & 255);
    const got = fold(sum16(exactView(bytes, at), at, len, 0));
    const want = reference(bytes);
    // 0 and 0xffff are the same number in one's complement; only all-zero data folds to 0.
    assert.is(got === 0 ? 0xffff : got, want === 0 ? 0xffff : want, `length ${len} offset ${at}`);
    if (bytes.some((b) => b !== 0)) assert.is.not(got, 0);
  }
});

test('the largest datagram, all ones, stays a small integer and folds to ones', () => {
  const len = 65515;
  const bytes = new Uint8Array(len).fill(0xff);
  const sum = sum16(exactView(bytes), 0, len, pseudoSum4(-1, -1, 255, len));
  assert.ok(sum < 2 ** 31);
  const pseudo = Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 255, 0, 255, len >> 8, len & 255);
  assert.is(fold(sum), reference(Uint8Array.of(...pseudo, ...bytes)));
});

test('an incremental update equals a computation anew, whatever word changes', () => {
  const random = seededRandom('update16');
  for (let round = 0; round < 20000; round++) {
    const bytes = Uint8Array.from({ length: 40 }, () => random() & 255);
    const v = exactView(bytes);
    const before = ~fold(sum16(v, 0, 40, 0)) & 0xffff;
    const at = ((random() >>> 1) % 20) * 2;
    const old = v.getUint16(at);
    const next = round % 7 === 0 ? ~old & 0xffff : random() & 0xffff;
    v.setUint16(at, next);
    assert.is(update16(before, old, next), ~fold(sum16(v, 0, 40, 0)) & 0xffff);
  }
});

test('every golden IPv4 header and L4 checksum is good', () => {
  const l4: readonly (readonly [GoldenName, number])[] = [
    ['tcpSyn', PROTO_TCP],
    ['tcpData', PROTO_TCP],
    ['udp', PROTO_UDP],
  ];
  for (const [name, proto] of l4) {
    const v = exactView(goldenBytes(name));
    assert.is(fold(sum16(v, LEN_ETHERNET, 20, 0)), 0xffff, name);
    const len = v.getUint16(LEN_ETHERNET + 2) - 20;
    const pseudo = pseudoSum4(v.getInt32(LEN_ETHERNET + 12), v.getInt32(LEN_ETHERNET + 16), proto, len);
    assert.is(fold(sum16(v, LEN_ETHERNET + 20, len, pseudo)), 0xffff, name);
  }
  for (const name of ['echoRequest', 'echoReply', 'unreachable', 'timeExceeded'] as const) {
    const v = exactView(goldenBytes(name));
    const len = v.getUint16(LEN_ETHERNET + 2) - 20;
    assert.is(fold(sum16(v, LEN_ETHERNET + 20, len, 0)), 0xffff, name);
  }
});

test('setIpv4 writes the golden header, checksum and all', () => {
  const bytes = goldenBytes('tcpSyn');
  const v = exactView(new Uint8Array(20));
  setIpv4(v, 0, bytes.length - LEN_ETHERNET, 0x1234, PROTO_TCP, parseIpv4('192.0.2.1')!, parseIpv4('192.0.2.2')!);
  const hex = Array.from(new Uint8Array(v.buffer), (b) => b.toString(16).padStart(2, '0')).join('');
  assert.is(hex, GOLDEN.tcpSyn.slice(28, 68));
});

test('setIpv4 is right for random fields, ident of more than 16 bits included', () => {
  const random = seededRandom('setIpv4');
  for (let round = 0; round < 5000; round++) {
    const v = exactView(new Uint8Array(20));
    const total = 20 + ((random() >>> 1) % 65516);
    const ident = random();
    setIpv4(v, 0, total, ident, random() & 255, random(), random());
    assert.is(fold(sum16(v, 0, 20, 0)), 0xffff);
    assert.is(v.getUint16(2), total);
    assert.is(v.getUint16(4), ident & 0xffff);
  }
});

test('one flipped bit in a golden datagram is never a good checksum', () => {
  for (const name of ['tcpSyn', 'tcpData', 'udp'] as const) {
    const bytes = goldenBytes(name);
    const proto = bytes[23]!;
    for (let bit = LEN_ETHERNET * 8; bit < bytes.length * 8; bit++) {
      const b = bytes.slice();
      b[bit >> 3]! ^= 128 >> (bit & 7);
      const v = exactView(b);
      const headerGood = fold(sum16(v, LEN_ETHERNET, 20, 0)) === 0xffff;
      const len = bytes.length - LEN_ETHERNET - 20;
      const pseudo = pseudoSum4(v.getInt32(LEN_ETHERNET + 12), v.getInt32(LEN_ETHERNET + 16), proto, len);
      assert.not(headerGood && fold(sum16(v, LEN_ETHERNET + 20, len, pseudo)) === 0xffff, `${name} bit ${bit}`);
    }
  }
});

test.run();
