/** The reference bursts: what `inspect` finds wrong, what it merges, and what `emit` makes of a train. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { COPY_FROM_ARENA, WORK_CSUM, WORK_CUT } from '../../../src/rings/bursts.ts';
import * as drops from '../../../src/rings/drops.ts';
import { createFrameTable, FrameTable } from '../../../src/rings/frameTable.ts';
import * as L from '../../../src/rings/layout.ts';
import { createTwinBursts } from '../../../src/wire/burst/twin.ts';
import { fold, pseudoSum4, sum16 } from '../../../src/wire/checksum.ts';
import { setIpv4 } from '../../../src/wire/ipv4.ts';
import { ACK, CWR, FIN, PSH, SYN } from '../../../src/wire/tcp.ts';

const AT = 64;
const OUT = 2048;
const A = 0xc0000201 | 0;
const B = 0xc0000202 | 0;

const frames = new FrameTable(createFrameTable(3, 80, 2048), new SharedArrayBuffer(80 * 2048));
const arena = new SharedArrayBuffer(1 << 18);
const w = new Int32Array(arena);
const bursts = createTwinBursts(frames, arena);
const v = frames.view;
const ethOf = (f: number): number => frames.offset[f]! + L.HEADROOM;
const flagsOf = (d: number): number => w[d + L.D_FLAGS_GSO]! & 0xffff;

function describe(d: number, f: number, len: number, flags = 0): void {
  frames.next[f] = -1;
  w.set([f, (L.HEADROOM << 16) | len, len, (3 << 16) | frames.generation[f]!, 0, flags, 1, 99], d);
}

interface Segment {
  seq: number;
  pay: number;
  flags?: number;
  ack?: number;
  window?: number;
  tsval?: number;
  port?: number;
}

/** TCP with timestamps, 66 bytes of headers, payload bytes of value `f`. */
function segment(i: number, f: number, s: Segment): number {
  const d = AT + i * L.DESC_WORDS;
  const tcp = ethOf(f) + 34;
  v.setInt32(ethOf(f), 0x02000000);
  v.setUint16(ethOf(f) + 12, 0x0800);
  setIpv4(v, ethOf(f) + 14, 52 + s.pay, f, 6, A, B);
  v.setInt32(tcp, ((s.port ?? 5000) << 16) | 80);
  v.setInt32(tcp + 4, s.seq);
  v.setInt32(tcp + 8, s.ack ?? 7);
  v.setUint8(tcp + 12, 0x80);
  v.setUint8(tcp + 13, s.flags ?? ACK);
  v.setUint16(tcp + 14, s.window ?? 500);
  v.setInt32(tcp + 16, 0);
  v.setInt32(tcp + 20, 0x0101080a);
  v.setInt32(tcp + 24, s.tsval ?? 1);
  v.setInt32(tcp + 28, 2);
  for (let k = 0; k < s.pay; k++) v.setUint8(tcp + 32 + k, f);
  v.setUint16(tcp + 16, ~fold(sum16(v, tcp, 32 + s.pay, pseudoSum4(A, B, 6, 32 + s.pay))) & 0xffff);
  describe(d, f, 66 + s.pay);
  return d;
}

function datagram(f: number, pay: number): number {
  const udp = ethOf(f) + 34;
  segment(0, f, { seq: 0, pay });
  setIpv4(v, ethOf(f) + 14, 28 + pay, f, 17, A, B);
  v.setUint16(udp + 4, 8 + pay);
  v.setUint16(udp + 6, 0);
  v.setUint16(udp + 6, ~fold(sum16(v, udp, 8 + pay, pseudoSum4(A, B, 17, 8 + pay))) & 0xffff);
  describe(AT, f, 42 + pay);
  return udp;
}

/** The header checksum again, after a test changed a field. */
function resumIp(f: number): void {
  const ip = ethOf(f) + 14;
  v.setUint16(ip + 10, 0);
  v.setUint16(ip + 10, ~fold(sum16(v, ip, (v.getUint8(ip) & 15) << 2, 0)) & 0xffff);
}

const faults: [string, number, (tcp: number, ip: number) => void][] = [
  [
    'a stale generation',
    drops.DROP_BAD_DESCRIPTOR,
    () => {
      w[AT + L.D_REGION_GEN]! ^= 1;
    },
  ],
  [
    'another region',
    drops.DROP_BAD_DESCRIPTOR,
    () => {
      w[AT + L.D_REGION_GEN]! ^= 1 << 16;
    },
  ],
  [
    'a frame id out of range',
    drops.DROP_BAD_DESCRIPTOR,
    () => {
      w[AT] = 80;
    },
  ],
  [
    'data beyond the frame',
    drops.DROP_BAD_DESCRIPTOR,
    () => {
      w[AT + L.D_DATA] = (2000 << 16) | 166;
    },
  ],
  ['13 bytes', drops.DROP_TRUNCATED, () => describe(AT, 1, 13)],
  ['33 bytes', drops.DROP_TRUNCATED, () => describe(AT, 1, 33)],
  ['less than IP says', drops.DROP_TRUNCATED, () => describe(AT, 1, 165)],
  ['IP version 5', drops.DROP_IP_HEADER, (_, ip) => v.setUint8(ip, 0x55)],
  ['IP header of 16 bytes', drops.DROP_IP_HEADER, (_, ip) => v.setUint8(ip, 0x44)],
  ['a changed TTL', drops.DROP_IP_CHECKSUM, (_, ip) => v.setUint8(ip + 8, 63)],
  ['a changed byte', drops.DROP_L4_CHECKSUM, (tcp) => v.setUint8(tcp + 99, 77)],
  ['a changed last byte', drops.DROP_L4_CHECKSUM, (tcp) => v.setUint8(tcp + 131, 77)],
  ['TCP header of 16 bytes', drops.DROP_TCP_HEADER, (tcp) => v.setUint8(tcp + 12, 0x40)],
  [
    'TCP header beyond the segment',
    drops.DROP_TCP_HEADER,
    (tcp, ip) => {
      v.setUint16(ip + 2, 20 + 24);
      resumIp(1);
      describe(AT, 1, 58);
      v.setUint8(tcp + 12, 0x80);
    },
  ],
];

for (const [what, reason, spoil] of faults) {
  test(`inspect refuses ${what}: ${drops.DROP_NAME[reason]}`, () => {
    segment(0, 1, { seq: 1, pay: 100 });
    spoil(ethOf(1) + 34, ethOf(1) + 14);
    assert.is(bursts.inspect(AT, 1, 1), 1);
    assert.is(flagsOf(AT) & L.F_BAD, L.F_BAD);
    assert.is(w[AT + L.D_HASH], reason);
  });
}

test('inspect fills offsets and kind, trims padding, keeps the hash', () => {
  segment(0, 1, { seq: 1, pay: 0 });
  w[AT + L.D_DATA] = (L.HEADROOM << 16) | 80;
  w[AT + L.D_TOTAL] = 80;
  bursts.inspect(AT, 1, 1);
  assert.is(w[AT + L.D_OFFSETS], (34 << 16) | (14 << 8));
  assert.is(flagsOf(AT), L.F_PARSED | L.F_TCP | L.F_CSUM_OK | L.F_IPCSUM_OK);
  assert.is(w[AT + L.D_TOTAL], 66);
  assert.is(w[AT + L.D_HASH], 99);
});

test('UDP: a zero checksum is none, a short length is a bad header, a broken sum is found', () => {
  let udp = datagram(1, 31);
  bursts.inspect(AT, 1, 0);
  assert.is(flagsOf(AT) & (L.F_UDP | L.F_CSUM_OK | L.F_BAD), L.F_UDP | L.F_CSUM_OK);
  v.setUint16(udp + 6, 0);
  describe(AT, 1, 73);
  bursts.inspect(AT, 1, 0);
  assert.is(flagsOf(AT) & (L.F_UDP | L.F_CSUM_OK | L.F_BAD), L.F_UDP);
  udp = datagram(1, 31);
  v.setUint16(udp + 4, 7);
  bursts.inspect(AT, 1, 0);
  assert.is(w[AT + L.D_HASH], drops.DROP_UDP_HEADER);
  udp = datagram(1, 31);
  v.setUint8(udp + 38, 0);
  bursts.inspect(AT, 1, 0);
  assert.is(w[AT + L.D_HASH], drops.DROP_L4_CHECKSUM);
});

test('a vouched checksum is not looked at; a fragment is named and left alone', () => {
  segment(0, 1, { seq: 1, pay: 10 });
  v.setUint16(ethOf(1) + 50, 0x1234);
  w[AT + L.D_FLAGS_GSO] = L.F_CSUM_OK | L.F_CSUM_PARTIAL;
  bursts.inspect(AT, 1, 0);
  assert.is(flagsOf(AT) & L.F_BAD, 0);
  segment(0, 1, { seq: 1, pay: 10 });
  v.setUint16(ethOf(1) + 20, 0x2000);
  resumIp(1);
  bursts.inspect(AT, 1, 0);
  assert.is(flagsOf(AT) & (L.F_FRAGMENT | L.F_TCP | L.F_BAD), L.F_FRAGMENT);
});

test('three segments of one flow become a train; the shorter last one ends it', () => {
  for (const [i, pay] of [100, 100, 60, 60].entries()) segment(i, i + 1, { seq: 1000 + i * 100 - (i === 3 ? 40 : 0), pay });
  assert.is(bursts.inspect(AT, 4, 1), 2);
  assert.is(flagsOf(AT) & (L.F_TRAIN | L.F_CSUM_OK), L.F_TRAIN | L.F_CSUM_OK);
  assert.is(w[AT + L.D_TOTAL], 66 + 260);
  assert.is(w[AT + L.D_DATA]! & 0xffff, 166);
  assert.is(w[AT + L.D_FLAGS_GSO]! >>> 16, 100);
  assert.is(w[AT + L.D_SEGS_VLAN], 3);
  assert.equal([frames.next[1], frames.next[2], frames.next[3]], [2, 3, -1]);
  assert.equal([frames.length[1], frames.length[2], frames.length[3]], [166, 100, 60]);
  const ip = ethOf(1) + 14;
  assert.is(v.getUint16(ip + 2), 52 + 260);
  assert.is(fold(sum16(v, ip, 20, 0)), 0xffff, 'header checksum follows the length');
  assert.is(w[AT + 8 + L.D_FRAME], 4, 'what follows a short one starts anew');
});

test('interleaved flows merge; PSH ends a train and is kept', () => {
  segment(0, 1, { seq: 0, pay: 50 });
  segment(1, 2, { seq: 0, pay: 70, port: 6000 });
  segment(2, 3, { seq: 50, pay: 50, flags: ACK | PSH });
  segment(3, 4, { seq: 70, pay: 70, port: 6000 });
  segment(4, 5, { seq: 100, pay: 50 });
  assert.is(bursts.inspect(AT, 5, 1), 3);
  assert.equal(
    [0, 1, 2].map((i) => w[AT + i * 8 + L.D_SEGS_VLAN]),
    [2, 2, 1],
  );
  assert.is(v.getUint8(ethOf(1) + 47), ACK | PSH);
});

const second: [string, Segment][] = [
  ['a gap', { seq: 101, pay: 100 }],
  ['a repeated segment', { seq: 0, pay: 100 }],
  ['another ack', { seq: 100, pay: 100, ack: 8 }],
  ['another window', { seq: 100, pay: 100, window: 501 }],
  ['another timestamp', { seq: 100, pay: 100, tsval: 2 }],
  ['FIN', { seq: 100, pay: 100, flags: ACK | FIN }],
  ['SYN', { seq: 100, pay: 100, flags: ACK | SYN }],
  ['CWR', { seq: 100, pay: 100, flags: ACK | CWR }],
  ['a longer one', { seq: 100, pay: 101 }],
  ['no payload', { seq: 100, pay: 0 }],
];
for (const [what, s] of second) {
  test(`not merged: ${what}`, () => {
    segment(0, 1, { seq: 0, pay: 100 });
    segment(1, 2, s);
    // What would have continued the first must not overtake the one between.
    segment(2, 3, { seq: 100, pay: 100 });
    const left = bursts.inspect(AT, 3, 1);
    assert.is(w[AT + L.D_SEGS_VLAN], 1);
    assert.is(w[AT + 8 + L.D_FRAME], 2);
    assert.ok(left >= 2);
  });
}

test('a train stops at TRAIN_LINKS_MAX links', () => {
  for (let i = 0; i < 70; i++) segment(i, i + 1, { seq: i * 20, pay: 20 });
  assert.is(bursts.inspect(AT, 70, 1), 2);
  assert.equal([w[AT + L.D_SEGS_VLAN], w[AT + 8 + L.D_SEGS_VLAN]], [L.TRAIN_LINKS_MAX, 6]);
});

test('emit gathers, cuts and sums: sequence, identification, flags and checksums of each segment', () => {
  const text = Buffer.from('every good boy deserves fudge');
  new Uint8Array(arena).set(text, 0x20000);
  segment(0, 1, { seq: 0x7ffffffe, pay: 10, flags: ACK | PSH | FIN | CWR });
  const ip = ethOf(1) + 14;
  v.setUint16(ip + 2, 52 + 29);
  v.setUint16(ip + 4, 0xffff);
  for (const [k, len] of [10, 10, 9].entries()) {
    frames.next[k + 1] = k === 2 ? -1 : k + 2;
    frames.length[k + 1] = k === 0 ? 76 : len;
    w.set([ethOf(k + 1) + 66, 0x20000 + k * 10, len, COPY_FROM_ARENA << 16], 1024 + k * 4);
  }
  w.set(
    [
      1,
      (L.HEADROOM << 16) | 76,
      66 + 29,
      (3 << 16) | frames.generation[1]!,
      (34 << 16) | (14 << 8),
      (10 << 16) | L.F_TRAIN | L.F_TCP | L.F_CSUM_PARTIAL,
      3,
      5,
    ],
    AT,
  );
  assert.is(bursts.emit(AT, 1, 1024, 3, WORK_CSUM | WORK_CUT, OUT), 3);
  let read = '';
  for (let k = 0; k < 3; k++) {
    const d = OUT + k * 8;
    const len = k === 2 ? 9 : 10;
    const eth = ethOf(k + 1);
    const tcp = eth + 34;
    assert.equal([w[d], w[d + L.D_TOTAL], w[d + L.D_SEGS_VLAN], w[d + L.D_HASH]], [k + 1, 66 + len, 1, 5]);
    assert.is(flagsOf(d), L.F_TCP | L.F_CSUM_OK);
    assert.is(frames.next[k + 1], -1);
    assert.is(v.getUint16(eth + 16), 52 + len);
    assert.is(v.getUint16(eth + 18), (0xffff + k) & 0xffff);
    assert.is(fold(sum16(v, eth + 14, 20, 0)), 0xffff);
    assert.is(v.getInt32(tcp + 4), (0x7ffffffe + k * 10) | 0);
    assert.is(v.getUint8(tcp + 13), ACK | (k === 0 ? CWR : 0) | (k === 2 ? PSH | FIN : 0));
    assert.is(fold(sum16(v, tcp, 32 + len, pseudoSum4(A, B, 6, 32 + len))), 0xffff);
    read += Buffer.from(frames.u8.slice(tcp + 32, tcp + 32 + len)).toString();
  }
  assert.is(read, text.toString());
});

test('emit: a UDP sum of zero is sent as ones (RFC 768)', () => {
  const udp = datagram(1, 4);
  v.setUint16(udp + 6, fold(pseudoSum4(A, B, 17, 12)));
  v.setInt32(udp + 8, 0);
  // The payload that makes the whole sum ones.
  v.setUint16(udp + 8, ~fold(sum16(v, udp, 12, 0)) & 0xffff);
  w[AT + L.D_FLAGS_GSO] = L.F_CSUM_PARTIAL;
  w[AT + L.D_OFFSETS] = (34 << 16) | (14 << 8);
  assert.is(bursts.emit(AT, 1, 0, 0, WORK_CSUM, AT), 1);
  assert.is(v.getUint16(udp + 6), 0xffff);
  assert.is(flagsOf(AT), L.F_CSUM_OK);
});

test.run();
