/**
 * What do headers, checksums and the flow hash cost, and what is the house's form of them worth?
 *
 *   npm run bench -- wire
 */
import { flowHash, FLOW_KEY, PORT_SEED } from '../src/wire/flow.ts';
import { fold, sum16 } from '../src/wire/checksum.ts';
import { dst, PROTO_TCP, setIpv4, src, totalLength } from '../src/wire/ipv4.ts';
import { ACK, ack, dstPort, flags, seq, srcPort, window } from '../src/wire/tcp.ts';
import { micro, type MicroCase } from './micro.ts';
import type { Question } from './question.ts';

const FRAMES = 1024;
const FRAME_BYTES = 2048;
const IP = 14;
const TCP = 34;
const memory = new SharedArrayBuffer(FRAMES * FRAME_BYTES);
const view = new DataView(memory);
/** Where results go, so that no work can be left out. */
let kept = 0;

for (let f = 0; f < FRAMES; f++) {
  const at = f * FRAME_BYTES;
  setIpv4(view, at + IP, 1500, f, PROTO_TCP, 0x0a000001, 0x0a000002 + (f << 8));
  view.setInt32(at + TCP, (40000 << 16) | 80);
  view.setInt32(at + TCP + 4, f * 1448);
  view.setUint8(at + TCP + 13, ACK);
  for (let i = TCP + 20; i < 1514; i++) view.setUint8(at + i, i * 7 + f);
}

/** Header fields as an object a packet, over a view a packet. */
class Packet {
  readonly length: number;
  readonly src: number;
  readonly dst: number;
  readonly srcPort: number;
  readonly dstPort: number;
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  readonly window: number;

  constructor(buffer: SharedArrayBuffer, at: number) {
    const v = new DataView(buffer, at, FRAME_BYTES);
    this.length = v.getUint16(IP + 2);
    this.src = v.getUint32(IP + 12);
    this.dst = v.getUint32(IP + 16);
    this.srcPort = v.getUint16(TCP);
    this.dstPort = v.getUint16(TCP + 2);
    this.seq = v.getUint32(TCP + 4);
    this.ack = v.getUint32(TCP + 8);
    this.flags = v.getUint8(TCP + 13);
    this.window = v.getUint16(TCP + 14);
  }
}

function readAccessors(): void {
  for (let f = 0; f < FRAMES; f++) {
    const [ip, tcp] = [f * FRAME_BYTES + IP, f * FRAME_BYTES + TCP];
    kept ^= totalLength(view, ip) ^ src(view, ip) ^ dst(view, ip) ^ srcPort(view, tcp) ^ dstPort(view, tcp);
    kept ^= seq(view, tcp) ^ ack(view, tcp) ^ flags(view, tcp) ^ window(view, tcp);
  }
}

function readObjects(): void {
  for (let f = 0; f < FRAMES; f++) {
    const p = new Packet(memory, f * FRAME_BYTES);
    kept ^= p.length ^ p.src ^ p.dst ^ p.srcPort ^ p.dstPort ^ p.seq ^ p.ack ^ p.flags ^ p.window;
  }
}

function naiveSum(bytes: Uint8Array, at: number, n: number): number {
  let sum = 0;
  for (let i = 0; i < n; i += 2) {
    sum += (bytes[at + i]! << 8) | bytes[at + i + 1]!;
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

const bytes = new Uint8Array(memory);
const sums = (n: number): Pick<MicroCase, 'ours' | 'peer'> => ({
  ours: () => {
    for (let f = 0; f < 64; f++) kept ^= fold(sum16(view, f * FRAME_BYTES + TCP + 20, n, 0));
  },
  peer: () => {
    for (let f = 0; f < 64; f++) kept ^= naiveSum(bytes, f * FRAME_BYTES + TCP + 20, n);
  },
});

/** Toeplitz as it is defined: for every bit of the input that is set, the 32 key bits from there on. */
function toeplitzByBits(input: Uint8Array): number {
  let hash = 0;
  for (let bit = 0; bit < input.length * 8; bit++) {
    if (((input[bit >> 3]! >> (7 - (bit & 7))) & 1) === 0) continue;
    let key = 0;
    for (let b = bit; b < bit + 32; b++) key = (key << 1) | ((FLOW_KEY[b >> 3]! >> (7 - (b & 7))) & 1);
    hash ^= key;
  }
  return hash;
}

const tuple = new Uint8Array(12);
const tupleView = new DataView(tuple.buffer);
function naiveHash(from: number, to: number, fromPort: number, toPort: number): number {
  tupleView.setInt32(0, from);
  tupleView.setInt32(4, to);
  tupleView.setUint16(8, fromPort + PORT_SEED);
  tupleView.setUint16(10, toPort + PORT_SEED);
  return toeplitzByBits(tuple);
}

function check(): void {
  const [ip, tcp] = [IP + 5 * FRAME_BYTES, TCP + 5 * FRAME_BYTES];
  const p = new Packet(memory, 5 * FRAME_BYTES);
  if (p.seq !== seq(view, tcp) || p.dst !== dst(view, ip) >>> 0) throw new Error('the two readers disagree');
  const at = 5 * FRAME_BYTES + TCP + 20;
  if (fold(sum16(view, at, 1448, 0)) !== naiveSum(bytes, at, 1448)) throw new Error('the two sums disagree');
  for (const [a, b, c, d] of [
    [0x0a000001, -0x3fffff02, 40000, 80],
    [1, 2, 65535, 1],
  ] as const)
    if (flowHash(a, b, c, d) !== naiveHash(a, b, c, d)) throw new Error('the two hashes disagree');
}

function hashes(hash: (a: number, b: number, c: number, d: number) => number): () => void {
  return () => {
    for (let f = 0; f < FRAMES; f++) kept ^= hash(0x0a000001, 0x0a000002 + f, 1024 + f, 80);
  };
}

export const wire: Question = {
  name: 'wire',
  asks: 'headers read, checksums and flow hashes a second, against the naive form of each',
  method:
    'Header fields by functions of (view, offset) over one DataView of all frames, against an object and a view a packet; the sum of a payload by 16-bit words four at a time, against byte pairs with a carry each; the flow hash by one look-up, against Toeplitz bit by bit. Both forms are checked to agree first.',
  seconds: 0.4,
  rounds: 5,
  run: async (plan, sheet) => {
    check();
    const cases: MicroCase[] = [
      { name: 'wire headers', unit: 'packets', perCall: FRAMES, ours: readAccessors, peer: readObjects, peerName: 'an object a packet' },
      { name: 'wire checksum 1448', unit: 'packets', perCall: 64, ...sums(1448), peerName: 'byte pairs' },
      { name: 'wire checksum 64', unit: 'packets', perCall: 64, ...sums(64), peerName: 'byte pairs' },
      {
        name: 'wire flow hash',
        unit: 'hashes',
        perCall: FRAMES,
        ours: hashes(flowHash),
        peer: hashes(naiveHash),
        peerName: 'Toeplitz bit by bit',
      },
    ];
    await micro(cases, plan, sheet);
    if (kept === 0.5) throw new Error('unreachable: keeps the results');
  },
};
