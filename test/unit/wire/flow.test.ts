// The flow hash against published vectors and a bit-by-bit Toeplitz; classification against a plain reference.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DROP_ARP, DROP_IP_HEADER, DROP_NAME, DROP_TCP_HEADER, DROP_TRUNCATED, DROP_UDP_HEADER } from '../../../src/rings/drops.ts';
import { DROP_UNKNOWN_PROTOCOL, DROP_VLAN } from '../../../src/rings/drops.ts';
import { STEER_MODULO, STEER_TCP, STEER_UDP, STEERING_BYTES, Steering } from '../../../src/rings/steering.ts';
import {
  Classified,
  classify,
  FLOW_KEY,
  FLOW_TCP,
  FLOW_UDP,
  flowHash,
  KIND_ARP,
  KIND_DROP,
  KIND_ICMP,
  KIND_IPV4,
  KIND_TCP,
  KIND_UDP,
} from '../../../src/wire/flow.ts';
import { parseIpv4 } from '../../../src/wire/ipv4.ts';
import { exactView, GOLDEN_NAMES, type GoldenName, goldenBytes, seededRandom } from './golden.ts';

const A = parseIpv4('192.0.2.1')!;
const B = parseIpv4('192.0.2.2')!;
const CLIENT = parseIpv4('169.254.9.13')!;
const SERVER = parseIpv4('169.254.9.18')!;

/** Toeplitz as Microsoft's RSS describes it, over 12 bytes, with the full 40-byte key. */
function toeplitz(input: readonly number[]): number {
  const keyBit = (i: number): number => (FLOW_KEY[i >> 3]! >> (7 - (i & 7))) & 1;
  let hash = 0;
  for (let i = 0; i < input.length * 8; i++) {
    if (((input[i >> 3]! >> (7 - (i & 7))) & 1) === 0) continue;
    let window = 0;
    for (let b = 0; b < 32; b++) window = (window << 1) | keyBit(i + b);
    hash ^= window;
  }
  return hash;
}

function slowHash(src: number, dst: number, sport: number, dport: number): number {
  const seeded = (port: number): number[] => [((port + 66) >> 8) & 255, (port + 66) & 255];
  const bytes = (ip: number): number[] => [ip >>> 24, (ip >>> 16) & 255, (ip >>> 8) & 255, ip & 255];
  return toeplitz([...bytes(src), ...bytes(dst), ...seeded(sport), ...seeded(dport)]);
}

test('vectors: 169.254.9.13 with ports 5900 to 5906, to 169.254.9.18:9999', () => {
  const want = ['c2dfc2df', '6ae96ae9', '834c834c', '2b7a2b7a', 'd757d757', '7f617f61', '29412941'];
  want.forEach((hash, i) => {
    assert.is((flowHash(CLIENT, SERVER, 5900 + i, 9999) >>> 0).toString(16), hash);
    assert.is((flowHash(SERVER, CLIENT, 9999, 5900 + i) >>> 0).toString(16), hash);
  });
});

test('it is the Toeplitz hash bit for bit, symmetric, its halves equal, an int32', () => {
  const random = seededRandom('flowHash');
  for (let round = 0; round < 5000; round++) {
    const [s, d, sp, dp] = [random(), random(), random() & 0xffff, random() & 0xffff];
    const port = round % 5 === 0 ? 0xffff - (sp & 127) : sp;
    const h = flowHash(s, d, port, dp);
    assert.is(h, slowHash(s, d, port, dp));
    assert.is(h, flowHash(d, s, dp, port));
    assert.is(h | 0, h);
    assert.is(h >>> 16, h & 0xffff);
  }
});

test('the first client port from 5900 on for each worker, 1 to 6 workers, steering: modulo', () => {
  const want = [
    [5900],
    [5902, 5900],
    [5900, 5904, 5906],
    [5902, 5901, 5903, 5900],
    [5903, 5907, 5906, 5901, 5900],
    [5902, 5904, 5910, 5900, 5908, 5906],
  ];
  for (let n = 1; n <= 6; n++) {
    const block = new SharedArrayBuffer(STEERING_BYTES);
    Steering.format(block, 0, n, STEER_MODULO);
    const steering = new Steering(block, 0);
    const first = new Array<number>(n).fill(0);
    for (let port = 5999; port >= 5900; port--) first[steering.byHash(flowHash(CLIENT, SERVER, port, 9999))] = port;
    assert.equal(first, want[n - 1]);
  }
});

test('source ports spread evenly: within 1 % for 2 to 8 workers', () => {
  for (let n = 2; n <= 8; n++) {
    const block = new SharedArrayBuffer(STEERING_BYTES);
    Steering.format(block, 0, n, STEER_MODULO);
    const steering = new Steering(block, 0);
    const count = new Array<number>(n).fill(0);
    for (let port = 1025; port < 65535; port++) count[steering.byHash(flowHash(CLIENT, SERVER, port, 9999))]!++;
    for (const c of count) assert.ok(Math.abs(c / (64510 / n) - 1) < 0.01, `${n} workers: ${count.join(' ')}`);
  }
});

const seen = new Classified();
function look(bytes: Uint8Array): Classified {
  classify(exactView(bytes, 7), 7, bytes.length, seen);
  return seen;
}

test('the steering tables have the numbers of the protocols here', () => {
  assert.equal([FLOW_TCP, FLOW_UDP], [STEER_TCP, STEER_UDP]);
});

const tcpHash = flowHash(A, B, 40000, 80);
const udpHash = flowHash(A, B, 5353, 53);
const addressHash = flowHash(A, B, 0, 0);

/** kind, hash, steering table, local port, SYN, fragment */
const WANT: Readonly<Record<GoldenName, readonly [number, number, number, number, boolean, boolean]>> = {
  arpRequest: [KIND_ARP, 0, FLOW_TCP, 0, false, false],
  arpReply: [KIND_ARP, 0, FLOW_TCP, 0, false, false],
  echoRequest: [KIND_ICMP, 0, FLOW_TCP, 0, false, false],
  echoReply: [KIND_ICMP, 0, FLOW_TCP, 0, false, false],
  tcpSyn: [KIND_TCP, tcpHash, FLOW_TCP, 80, true, false],
  tcpData: [KIND_TCP, tcpHash, FLOW_TCP, 80, false, false],
  udp: [KIND_UDP, udpHash, FLOW_UDP, 53, false, false],
  tcpVlan: [KIND_DROP, 0, FLOW_TCP, 0, false, false],
  tcpIpOptions: [KIND_TCP, tcpHash, FLOW_TCP, 80, true, false],
  udpFirstFragment: [KIND_UDP, addressHash, FLOW_UDP, 0, false, true],
  udpLastFragment: [KIND_UDP, addressHash, FLOW_UDP, 0, false, true],
  unreachable: [KIND_ICMP, tcpHash, FLOW_TCP, 80, false, false],
  timeExceeded: [KIND_ICMP, udpHash, FLOW_UDP, 53, false, false],
  igmp: [KIND_IPV4, 0, FLOW_TCP, 0, false, false],
  ipv6: [KIND_DROP, 0, FLOW_TCP, 0, false, false],
};

test('each golden frame is what it is', () => {
  for (const name of GOLDEN_NAMES) {
    const c = look(goldenBytes(name));
    assert.equal([c.kind, c.hash, c.steer, c.localPort, c.isSyn, c.isFragment], WANT[name], name);
    if (name === 'ipv6') assert.is(c.reason, DROP_UNKNOWN_PROTOCOL);
  }
});

test('an ICMP error goes where the flow it quotes goes, in either direction of steering', () => {
  const data = { ...look(goldenBytes('tcpData')) };
  const error = { ...look(goldenBytes('unreachable')) };
  assert.equal([error.hash, error.localPort, error.steer], [data.hash, data.localPort, data.steer]);
});

test('SYN with ACK, RST or FIN opens nothing; a SYN in a fragment is none', () => {
  for (const flags of [0x12, 0x06, 0x03, 0x00, 0x10]) {
    const b = goldenBytes('tcpSyn');
    b[47] = flags;
    assert.not(look(b).isSyn, `flags ${flags}`);
  }
  const ecn = goldenBytes('tcpSyn');
  ecn[47] = 0xc2;
  assert.ok(look(ecn).isSyn, 'SYN with ECE and CWR (RFC 3168)');
  const b = goldenBytes('tcpSyn');
  b[20] = 0x20;
  assert.equal([look(b).isSyn, look(b).hash, look(b).localPort], [false, addressHash, 0]);
});

test('VLAN: a priority tag is looked through, a frame of another network is dropped, whatever it carries', () => {
  const tagged = (name: GoldenName, tci: number): Uint8Array => {
    const b = goldenBytes(name);
    return Uint8Array.of(...b.slice(0, 12), 0x81, 0, tci >> 8, tci & 255, ...b.slice(12));
  };
  assert.is(look(tagged('arpRequest', 0xe000)).kind, KIND_ARP);
  assert.is(seen.l3, 7 + 18);
  assert.is(look(tagged('arpRequest', 7)).reason, DROP_VLAN);
  assert.is(look(tagged('udp', 0x2000)).hash, udpHash);
  assert.is(look(tagged('udp', 7)).reason, DROP_VLAN);
  assert.is(look(tagged('tcpSyn', 0x2fff)).reason, DROP_VLAN);
  assert.is(
    look(Uint8Array.of(...tagged('udp', 0).slice(0, 12), 0x81, 0, 0, 0, ...tagged('udp', 0).slice(12))).reason,
    DROP_UNKNOWN_PROTOCOL,
  );
});

test('header lengths that cannot be are refused by name', () => {
  const changed = (name: GoldenName, at: number, ...values: number[]): number => {
    const b = goldenBytes(name);
    b.set(values, at);
    const c = look(b);
    return c.kind === KIND_DROP ? c.reason : -1;
  };
  assert.is(changed('tcpSyn', 14, 0x65), DROP_IP_HEADER, 'version 6');
  assert.is(changed('tcpSyn', 14, 0x44), DROP_IP_HEADER, 'header of 16 bytes');
  assert.is(changed('tcpSyn', 16, 0, 19), DROP_IP_HEADER, 'total length below the header');
  assert.is(changed('igmp', 14, 0x4f), DROP_IP_HEADER, 'header of 60 bytes in a datagram of 28');
  assert.is(changed('tcpSyn', 16, 0, 39), DROP_TCP_HEADER, 'TCP of 19 bytes');
  assert.is(changed('udp', 16, 0, 27), DROP_UDP_HEADER, 'UDP of 7 bytes');
});

test('every truncation is dropped, or says the same as the whole frame and reads nothing past the end', () => {
  for (const name of GOLDEN_NAMES) {
    const bytes = goldenBytes(name);
    const whole = WANT[name];
    for (let n = 0; n < bytes.length; n++) {
      const c = look(bytes.slice(0, n));
      if (c.kind === KIND_DROP) {
        assert.ok(
          [DROP_TRUNCATED, DROP_ARP, DROP_UNKNOWN_PROTOCOL, DROP_VLAN].includes(c.reason),
          `${name} at ${n}: ${DROP_NAME[c.reason]}`,
        );
      } else {
        // An error whose quote is cut short goes by hash 0.
        const same = c.kind === whole[0] && (c.hash === whole[1] || (whole[0] === KIND_ICMP && c.hash === 0));
        assert.ok(same, `${name} at ${n}: kind ${c.kind} hash ${c.hash}`);
      }
    }
    // The least that is needed: Ethernet, IPv4 and the L4 header.
    if (name === 'tcpData') assert.is(look(bytes.slice(0, 54)).kind, KIND_TCP);
    if (name === 'tcpData') assert.is(look(bytes.slice(0, 53)).kind, KIND_DROP);
  }
});

/** Classification written plainly over byte arrays, hashing bit by bit: [kind, hash, local port] or null when dropped. */
function reference(b: Uint8Array): readonly [number, number, number] | null {
  const u16 = (at: number): number => b[at]! * 256 + b[at + 1]!;
  const u32 = (at: number): number => (u16(at) * 65536 + u16(at + 2)) | 0;
  if (b.length < 14) return null;
  const tag = u16(12) === 0x8100;
  if (tag && (b.length < 18 || (u16(14) & 0xfff) !== 0)) return null;
  const type = u16(tag ? 16 : 12);
  const l3 = tag ? 18 : 14;
  if (type === 0x806) return b.length < l3 + 28 ? null : [KIND_ARP, 0, 0];
  if (type !== 0x800 || b.length < l3 + 20) return null;
  const ihl = (b[l3]! & 15) * 4;
  const total = u16(l3 + 2);
  if (b[l3]! >> 4 !== 4 || ihl < 20 || total < ihl || b.length < l3 + ihl) return null;
  const proto = b[l3 + 9]!;
  const kind = proto === 6 ? KIND_TCP : proto === 17 ? KIND_UDP : proto === 1 ? KIND_ICMP : KIND_IPV4;
  const flow = kind === KIND_TCP || kind === KIND_UDP;
  if ((u16(l3 + 6) & 0x3fff) !== 0) return [kind, flow ? slowHash(u32(l3 + 12), u32(l3 + 16), 0, 0) : 0, 0];
  const l4 = l3 + ihl;
  if (flow) {
    const need = kind === KIND_TCP ? 20 : 8;
    if (total - ihl < need || b.length < l4 + need) return null;
    return [kind, slowHash(u32(l3 + 12), u32(l3 + 16), u16(l4), u16(l4 + 2)), u16(l4 + 2)];
  }
  const end = Math.min(b.length, l3 + total);
  const q = l4 + 8;
  if (kind !== KIND_ICMP || end < q + 20 || ![3, 4, 5, 11, 12].includes(b[l4]!)) return [kind, 0, 0];
  const qihl = (b[q]! & 15) * 4;
  const qproto = b[q + 9]!;
  if (b[q]! >> 4 !== 4 || qihl < 20 || (qproto !== 6 && qproto !== 17)) return [kind, 0, 0];
  if ((u16(q + 6) & 0x3fff) !== 0) return [kind, slowHash(u32(q + 12), u32(q + 16), 0, 0), 0];
  if (end < q + qihl + 4) return [kind, 0, 0];
  return [kind, slowHash(u32(q + 12), u32(q + 16), u16(q + qihl), u16(q + qihl + 2)), u16(q + qihl)];
}

function same(bytes: Uint8Array, message: string): void {
  const want = reference(bytes);
  const c = look(bytes);
  if (want === null) assert.is(c.kind, KIND_DROP, message);
  else assert.equal([c.kind, c.hash, c.localPort], want, message);
  assert.is(c.kind === KIND_DROP ? c.reason !== 0 : true, true, message);
}

test('every single-bit flip of every golden frame is classified as the reference says', () => {
  for (const name of GOLDEN_NAMES) {
    const bytes = goldenBytes(name);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const b = bytes.slice();
      b[bit >> 3]! ^= 128 >> (bit & 7);
      same(b, `${name} bit ${bit}`);
    }
  }
});

test('random damage: flips, random bytes in the headers, any length', () => {
  const random = seededRandom('classify');
  for (let round = 0; round < 30000; round++) {
    const name = GOLDEN_NAMES[(random() >>> 1) % GOLDEN_NAMES.length]!;
    let b = goldenBytes(name);
    for (let i = (random() >>> 1) % 4; i >= 0; i--) b[(random() >>> 1) % b.length] = random() & 255;
    if (round % 3 === 0) b = b.slice(0, (random() >>> 1) % (b.length + 1));
    same(b, `${name} ${Array.from(b).join(' ')}`);
  }
});

test.run();
