/**
 * Native bursts and their TypeScript twins on the same random input: every word of the arena and the frame table, every byte
 * of packet memory, every result must be equal, on good frames, spoilt frames, and descriptors that lie.
 * CASES= sets how many bursts of each kind; SEED= repeats a run.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createNativeBursts, loadNative, nativeProblem } from '../../src/ports/native.ts';
import { type Bursts, COPY_FROM_ARENA, COPY_NO_DESC, COPY_TO_ARENA, WORK_CSUM, WORK_CUT } from '../../src/rings/bursts.ts';
import { createFrameTable, FrameTable } from '../../src/rings/frameTable.ts';
import * as L from '../../src/rings/layout.ts';
import { createTwinBursts } from '../../src/wire/burst/twin.ts';
import { fold, pseudoSum4, sum16 } from '../../src/wire/checksum.ts';

const native = loadNative();
if (native === null) {
  console.log(`SKIP ${nativeProblem()}`);
  process.exit(0);
}

const SEED = Number(process.env.SEED ?? Date.now() & 0x7fffffff);
const CASES = Number(process.env.CASES ?? 3000);
console.log(`SEED=${SEED} CASES=${CASES}`);

let state = SEED | 0;
/** Uniform in 0..n-1 (mulberry32). */
function rnd(n: number): number {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) % n;
}
const chance = (percent: number): boolean => rnd(100) < percent;
const pick = <T>(list: readonly T[]): T => list[rnd(list.length)]!;

const FRAMES = 96;
const FRAME_BYTES = 2048;
const ARENA_WORDS = 32768;
const AT = 64;
const COPIES_AT = 4096;
const OUT = 8192;
const PAYLOAD_BYTE = 16384 * 4;
const REGION = 7;

interface Side {
  memory: SharedArrayBuffer;
  table: SharedArrayBuffer;
  arena: SharedArrayBuffer;
  frames: FrameTable;
  words: Int32Array;
  user: Uint8Array;
  bursts: Bursts;
}

function makeSide(make: (f: FrameTable, arena: SharedArrayBuffer) => Bursts): Side {
  const memory = new SharedArrayBuffer(FRAMES * FRAME_BYTES);
  const table = createFrameTable(REGION, FRAMES, FRAME_BYTES);
  const arena = new SharedArrayBuffer(ARENA_WORDS * 4);
  const frames = new FrameTable(table, memory);
  return { memory, table, arena, frames, words: new Int32Array(arena), user: new Uint8Array(65536), bursts: make(frames, arena) };
}

const a = makeSide((f, arena) => createTwinBursts(f, arena));
const b = makeSide((f, arena) => createNativeBursts(native, f, arena));

/** Entries side b refused in calls that side a did not make. */
let refused = 0;

/** What was written into side a goes to side b. */
function mirror(): void {
  new Uint8Array(b.memory).set(new Uint8Array(a.memory));
  new Uint8Array(b.table).set(new Uint8Array(a.table));
  new Uint8Array(b.arena).set(new Uint8Array(a.arena));
  b.user.set(a.user);
}

function same(what: string): void {
  for (const [name, x, y] of [
    ['packet memory', a.memory, b.memory],
    ['frame table', a.table, b.table],
    ['arena', a.arena, b.arena],
  ] as const) {
    if (Buffer.compare(Buffer.from(x), Buffer.from(y)) === 0) continue;
    const p = Buffer.from(x);
    const q = Buffer.from(y);
    const i = p.findIndex((v, k) => v !== q[k]);
    assert.unreachable(
      `${what}: ${name} differs at byte ${i} (word ${i >> 2}): twin ${p.readInt32LE(i & ~3)}, native ${q.readInt32LE(i & ~3)} (SEED=${SEED})`,
    );
  }
  assert.ok(Buffer.compare(a.user, b.user) === 0, `${what}: user buffer differs (SEED=${SEED})`);
  assert.is(b.bursts.badEntries() - refused, a.bursts.badEntries(), `${what}: refused entries`);
}

function reset(): void {
  const t = a.frames;
  for (let f = 0; f < FRAMES; f++) {
    t.next[f] = -1;
    t.length[f] = 0;
    t.generation[f] = rnd(0x10000);
    t.offset[f] = f * FRAME_BYTES;
  }
  for (let i = 0; i < ARENA_WORDS; i++) a.words[i] = 0;
}

interface Flow {
  src: number;
  dst: number;
  ports: number;
  seq: number;
  ack: number;
  window: number;
  doff: number;
  options: number;
  mss: number;
  ident: number;
  vlan: boolean;
}

function newFlow(): Flow {
  return {
    src: 0xc0000201 | 0,
    dst: (0xc0000202 + rnd(3)) | 0,
    ports: ((1024 + rnd(3)) << 16) | 80,
    seq: rnd(0x7fffffff) << 1,
    ack: rnd(0x7fffffff),
    window: rnd(65536),
    doff: pick([20, 20, 32, 24, 60]),
    options: rnd(0x7fffffff),
    mss: pick([1, 2, 3, 64, 536, 1001, 1448]),
    ident: rnd(65536),
    vlan: chance(10),
  };
}

/** Writes Ethernet, maybe a tag, and IPv4 at `eth`; returns where L4 begins. */
function writeIp(eth: number, vlan: boolean, ihl: number, total: number, ident: number, proto: number, src: number, dst: number): number {
  const v = a.frames.view;
  v.setInt32(eth, 0x02000000 | (chance(3) ? 0x01000000 : 0));
  v.setUint16(eth + 4, 1);
  v.setInt32(eth + 6, 0x02000000);
  v.setUint16(eth + 10, 2);
  let ip = eth + 14;
  if (vlan) {
    v.setUint16(eth + 12, 0x8100);
    v.setUint16(eth + 14, 7);
    ip += 4;
  }
  v.setUint16(ip - 2, 0x0800);
  v.setUint8(ip, 0x40 | (ihl >> 2));
  v.setUint8(ip + 1, chance(3) ? 4 : 0);
  v.setUint16(ip + 2, total);
  v.setUint16(ip + 4, ident);
  v.setUint16(ip + 6, chance(3) ? pick([0x2000, 0x0010, 0x8000]) : 0x4000);
  v.setUint8(ip + 8, chance(2) ? 63 : 64);
  v.setUint8(ip + 9, proto);
  v.setUint16(ip + 10, 0);
  v.setInt32(ip + 12, src);
  v.setInt32(ip + 16, dst);
  for (let i = 20; i < ihl; i++) v.setUint8(ip + i, 1);
  v.setUint16(ip + 10, ~fold(sum16(v, ip, ihl, 0)) & 0xffff);
  return ip + ihl;
}

function describe(d: number, f: number, from: number, len: number, total: number, flags: number, gso: number, segs: number): void {
  const w = a.words;
  w[d] = f;
  w[d + 1] = (from << 16) | len;
  w[d + 2] = total;
  w[d + 3] = (REGION << 16) | a.frames.generation[f]!;
  w[d + 4] = rnd(0x7fffffff);
  w[d + 5] = (gso << 16) | flags;
  w[d + 6] = segs;
  w[d + 7] = rnd(0x7fffffff);
}

const headroom = (): number => (chance(85) ? L.HEADROOM : 120 + rnd(80));

/** The next segment of a flow, nearly always fit for merging. */
function writeSegment(d: number, f: number, flow: Flow): void {
  const v = a.frames.view;
  const from = chance(97) ? L.HEADROOM : headroom();
  const eth = a.frames.offset[f]! + from;
  const pay = chance(85) ? flow.mss : rnd(flow.mss + 1);
  const ihl = chance(96) ? 20 : 24;
  const l4len = flow.doff + pay;
  const tcp = writeIp(eth, flow.vlan, ihl, ihl + l4len, flow.ident, 6, flow.src, flow.dst);
  v.setInt32(tcp, flow.ports);
  v.setInt32(tcp + 4, chance(95) ? flow.seq : flow.seq + rnd(5) - 2);
  v.setInt32(tcp + 8, chance(97) ? flow.ack : flow.ack + 1);
  v.setUint8(tcp + 12, (flow.doff >> 2) << 4);
  v.setUint8(tcp + 13, chance(90) ? 0x10 : pick([0x18, 0x18, 0x11, 0x12, 0x14, 0x02, 0x90, 0x30]));
  v.setUint16(tcp + 14, chance(98) ? flow.window : flow.window ^ 1);
  v.setUint16(tcp + 16, 0);
  v.setUint16(tcp + 18, 0);
  for (let i = 20; i < flow.doff; i += 4) v.setInt32(tcp + i, chance(99) ? flow.options : rnd(9));
  for (let i = 0; i < pay; i++) v.setUint8(tcp + flow.doff + i, rnd(256));
  const partial = chance(10);
  const pseudo = pseudoSum4(flow.src, flow.dst, 6, l4len);
  v.setUint16(tcp + 16, partial ? fold(pseudo) : ~fold(sum16(v, tcp, l4len, pseudo)) & 0xffff);
  flow.seq = (flow.seq + pay) | 0;
  flow.ident = (flow.ident + 1) & 0xffff;
  const len = tcp + l4len - eth;
  // Short frames come padded, as Ethernet wants them.
  const padded = chance(50) && len < 60 ? 60 : len;
  describe(d, f, from, padded, padded, partial ? L.F_CSUM_OK | L.F_CSUM_PARTIAL : 0, 0, chance(95) ? 1 : 0);
}

function writeDatagram(d: number, f: number): void {
  const v = a.frames.view;
  const from = headroom();
  const eth = a.frames.offset[f]! + from;
  const kind = rnd(4);
  const pay = rnd(1400);
  const ihl = chance(90) ? 20 : 20 + 4 * rnd(11);
  const src = (0xc0000203 + rnd(9)) | 0;
  const dst = 0xc0000201 | 0;
  const len = 8 + pay;
  const l4 = writeIp(eth, chance(10), ihl, ihl + len, rnd(65536), pick([1, 17, 17, 17, 47]), src, dst);
  const proto = v.getUint8(l4 - ihl + 9);
  for (let i = 0; i < len; i++) v.setUint8(l4 + i, rnd(256));
  if (proto === 17) {
    v.setUint16(l4 + 4, kind === 0 ? rnd(len + 3) : len);
    v.setUint16(l4 + 6, 0);
    if (kind !== 1) v.setUint16(l4 + 6, ~fold(sum16(v, l4, v.getUint16(l4 + 4), pseudoSum4(src, dst, 17, v.getUint16(l4 + 4)))) & 0xffff);
  } else if (proto === 1) {
    v.setUint16(l4 + 2, 0);
    v.setUint16(l4 + 2, ~fold(sum16(v, l4, len, 0)) & 0xffff);
  }
  const total = l4 + len - eth;
  describe(d, f, from, total, total, chance(10) ? L.F_CSUM_OK : 0, 0, 1);
}

/**
 * A TCP train over frames `first..`: returns the frames used. `ready`: word 4 and the flags filled, as a stack leaves them.
 * The payload stays where it is in memory (random bytes).
 */
function writeTrain(d: number, first: number, links: number, ready: boolean): number {
  const v = a.frames.view;
  const t = a.frames;
  const flow = newFlow();
  const from = L.HEADROOM;
  const ihl = chance(90) ? 20 : 28;
  const gso = flow.mss;
  const last = 1 + rnd(gso);
  const payload = links === 1 ? last : gso * (links - 1) + last;
  const l4len = flow.doff + payload;
  const eth = t.offset[first]! + from;
  const tcp = writeIp(eth, flow.vlan, ihl, (ihl + l4len) & 0xffff, flow.ident, 6, flow.src, flow.dst);
  v.setInt32(tcp, flow.ports);
  v.setInt32(tcp + 4, flow.seq);
  v.setInt32(tcp + 8, flow.ack);
  v.setUint8(tcp + 12, (flow.doff >> 2) << 4);
  v.setUint8(tcp + 13, pick([0x10, 0x18, 0x19, 0x98, 0x11]));
  v.setUint16(tcp + 14, flow.window);
  v.setUint16(tcp + 18, 0);
  for (let i = 20; i < flow.doff; i += 4) v.setInt32(tcp + i, flow.options);
  const hdr = tcp + flow.doff - eth;
  for (let k = 0; k < links; k++) {
    const len = k === links - 1 ? last : gso;
    t.next[first + k] = k === links - 1 ? -1 : first + k + 1;
    t.length[first + k] = k === 0 ? hdr + len : len;
    const pay = t.offset[first + k]! + from + hdr;
    for (let i = 0; i < len; i++) t.u8[pay + i] = rnd(256);
  }
  const pseudo = pseudoSum4(flow.src, flow.dst, 6, l4len);
  v.setUint16(tcp + 16, fold(pseudo));
  let flags = L.F_TRAIN | (ready ? L.F_CSUM_PARTIAL | L.F_TX | L.F_TCP : 0);
  if (!ready) {
    if (chance(50)) flags |= L.F_CSUM_PARTIAL | L.F_CSUM_OK;
    else if (chance(80)) completeTrain(first, tcp, eth + hdr, links);
  }
  describe(d, first, from, t.length[first]!, hdr + payload, flags, gso, links);
  if (ready) a.words[d + 4] = ((tcp - eth) << 16) | ((tcp - ihl - eth) << 8);
  return links;
}

/** Sums a train byte by byte, the slowest and plainest way. */
function completeTrain(first: number, tcp: number, pay: number, links: number): void {
  const t = a.frames;
  const bytes: number[] = [];
  for (let i = tcp; i < pay; i++) bytes.push(t.u8[i]!);
  for (let f = first, k = 0; k < links; k++, f++) {
    const at = k === 0 ? pay : t.offset[f]! + (pay - t.offset[first]!);
    const len = k === 0 ? t.length[f]! - (pay - t.offset[first]! - L.HEADROOM) : t.length[f]!;
    for (let i = 0; i < len; i++) bytes.push(t.u8[at + i]!);
  }
  const v = new DataView(Uint8Array.from(bytes).buffer);
  t.view.setUint16(tcp + 16, ~fold(sum16(v, 0, bytes.length, 0)) & 0xffff);
}

/** Lies: one bit of one word of a descriptor, a byte of a frame, or a column. */
function spoil(n: number): void {
  const t = a.frames;
  const f = rnd(FRAMES);
  const kind = rnd(6);
  if (kind === 0) a.words[AT + rnd(n) * 8 + rnd(7)]! ^= 1 << rnd(32);
  else if (kind === 1) t.u8[t.offset[f]! + L.HEADROOM + rnd(70)]! ^= 1 << rnd(8);
  else if (kind === 2) t.next[f] = pick([-2, FRAMES, f, 0, rnd(FRAMES), -1]);
  else if (kind === 3) t.length[f] = pick([0, -1, 0x7fffffff, FRAME_BYTES, rnd(3000)]);
  else if (kind === 4) t.offset[f] = pick([-1, FRAMES * FRAME_BYTES - 10, 0x7fffffff]);
  else a.words[AT + rnd(n) * 8 + 1] = (rnd(2100) << 16) | rnd(2100);
}

function randomBurst(): number {
  reset();
  const n = 1 + rnd(24);
  const flows = Array.from({ length: 1 + rnd(3) }, newFlow);
  let frame = 0;
  for (let i = 0; i < n; i++) {
    const d = AT + i * 8;
    const what = rnd(100);
    if (what < 70) writeSegment(d, frame++, pick(flows));
    else if (what < 90) writeDatagram(d, frame++);
    else if (what < 95) frame += writeTrain(d, frame, 1 + rnd(Math.min(3, FRAMES - frame - 24)), false);
    else {
      const len = rnd(100);
      a.frames.view.setUint16(a.frames.offset[frame]! + L.HEADROOM + 12, pick([0x0806, 0x86dd, 0x8100, 0x0800]));
      describe(d, frame++, L.HEADROOM, len, len, 0, 0, 1);
    }
  }
  return n;
}

test('inspect: frames as they come, and spoilt ones', () => {
  let merged = 0;
  let bad = 0;
  let kept = 0;
  for (let c = 0; c < CASES; c++) {
    const n = randomBurst();
    if (chance(40)) for (let k = 1 + rnd(3); k > 0; k--) spoil(n);
    mirror();
    const coalesce = chance(80) ? 1 : 0;
    const x = a.bursts.inspect(AT, n, coalesce);
    const y = b.bursts.inspect(AT, n, coalesce);
    assert.is(y, x, `case ${c}: descriptors left (SEED=${SEED})`);
    same(`inspect case ${c}`);
    merged += n - x;
    for (let i = 0; i < x; i++)
      if ((a.words[AT + i * 8 + 5]! & L.F_BAD) !== 0) bad++;
      else kept++;
  }
  // The input must exercise both outcomes, or equality says little.
  assert.ok(merged > CASES / 2, `only ${merged} merged`);
  assert.ok(bad > CASES / 4, `only ${bad} bad`);
  assert.ok(kept > CASES * 4, `only ${kept} kept`);
});

test('emit: gathered, summed and cut, with every kind of work', () => {
  let cuts = 0;
  for (let c = 0; c < CASES; c++) {
    reset();
    const n = 1 + rnd(6);
    let frame = 0;
    for (let i = 0; i < n; i++) {
      const links = 1 + rnd(12);
      frame += writeTrain(AT + i * 8, frame, links, true);
      if (links === 1) a.words[AT + i * 8 + 5]! &= ~L.F_TRAIN;
    }
    for (let i = 0; i < 8192; i++) a.words[(PAYLOAD_BYTE >> 2) + i] = rnd(0x7fffffff);
    const copies = writeGather(n);
    const lies = chance(25);
    if (lies) {
      for (let k = 1 + rnd(3); k > 0; k--) spoil(n);
      if (chance(30)) a.words[COPIES_AT + rnd(copies) * 4 + rnd(4)]! ^= 1 << rnd(32);
    }
    const work = rnd(4);
    if (lies) {
      // Lies make frames overlap, and then a sum made while copying differs from one made later. First the native side alone
      // with sums fused, which must survive; then both without.
      mirror();
      b.bursts.emit(AT, n, COPIES_AT, copies, work, OUT);
      for (let k = 0; k < copies; k++) a.words[COPIES_AT + k * 4 + 3]! |= COPY_NO_DESC;
      refused = b.bursts.badEntries() - a.bursts.badEntries();
    }
    mirror();
    const outAt = (work & WORK_CUT) !== 0 ? OUT : pick([AT, OUT]);
    const x = a.bursts.emit(AT, n, COPIES_AT, copies, work, outAt);
    const y = b.bursts.emit(AT, n, COPIES_AT, copies, work, outAt);
    assert.is(y, x, `case ${c}: descriptors out (SEED=${SEED})`);
    same(`emit case ${c} work ${work}`);
    if (!lies && work === (WORK_CUT | WORK_CSUM)) for (let i = 0; i < x; i++) cuts += verifyCut(OUT + i * 8);
  }
  assert.ok(cuts > CASES, `only ${cuts} segments cut and verified`);
});

/** Payload of every descriptor from the arena, in pieces, some of it out of order and some left where it is. */
function writeGather(n: number): number {
  const w = a.words;
  const t = a.frames;
  let copies = 0;
  let source = PAYLOAD_BYTE + rnd(8);
  for (let i = 0; i < n; i++) {
    const d = AT + i * 8;
    const l4 = w[d + 4]! >>> 16;
    const from = w[d + 1]! >>> 16;
    const eth = t.offset[w[d]!]! + from;
    const hdr = l4 + ((t.u8[eth + l4 + 12]! >> 4) << 2);
    const index = chance(95) ? i : pick([COPY_NO_DESC, rnd(8)]);
    for (let f = w[d]!; f !== -1; f = t.next[f]!) {
      const len = f === w[d]! ? (w[d + 1]! & 0xffff) - hdr : t.length[f]!;
      const pay = t.offset[f]! + from + hdr;
      if (chance(5)) continue;
      for (let done = 0; done < len && copies < 900; ) {
        const piece = chance(70) ? len - done : 1 + rnd(len - done);
        w.set([pay + done, source, piece, (COPY_FROM_ARENA << 16) | index], COPIES_AT + copies++ * 4);
        source += piece;
        if (source > ARENA_WORDS * 4 - 4096) source = PAYLOAD_BYTE + rnd(8);
        done += piece;
      }
    }
  }
  if (copies > 1 && chance(20)) {
    const p = COPIES_AT + rnd(copies) * 4;
    const q = COPIES_AT + rnd(copies) * 4;
    for (let k = 0; k < 4; k++) [w[p + k], w[q + k]] = [w[q + k]!, w[p + k]!];
  }
  return copies === 0 ? (w.set([0, PAYLOAD_BYTE, 1, (COPY_FROM_ARENA << 16) | COPY_NO_DESC], COPIES_AT) ?? 1) : copies;
}

/** A segment that came out of a cut must pass a plain check of its own. */
function verifyCut(d: number): number {
  const w = a.words;
  const t = a.frames;
  if ((w[d + 5]! & (L.F_BAD | L.F_CSUM_OK)) !== L.F_CSUM_OK) return 0;
  const eth = t.offset[w[d]!]! + (w[d + 1]! >>> 16);
  const l3 = (w[d + 4]! >> 8) & 0xff;
  const l4 = w[d + 4]! >>> 16;
  const len = w[d + 2]! - l4;
  if (t.view.getUint8(eth + l3) >> 4 !== 4 || t.view.getUint8(eth + l3 + 9) !== 6) return 0;
  assert.is(fold(sum16(t.view, eth + l4, len, pseudoSum4(t.view.getInt32(eth + l3 + 12), t.view.getInt32(eth + l3 + 16), 6, len))), 0xffff);
  assert.is(w[d + 5]! & L.F_TRAIN, 0);
  return 1;
}

test('copies: within packet memory, arena and user buffers, lies included', () => {
  for (let c = 0; c < CASES; c++) {
    const n = 1 + rnd(8);
    for (let i = 0; i < 64; i++) a.words[(PAYLOAD_BYTE >> 2) + rnd(8192)] = rnd(0x7fffffff);
    for (let i = 0; i < n; i++) {
      const kind = rnd(4);
      const far = kind & COPY_TO_ARENA ? PAYLOAD_BYTE : 0;
      const bound = (): number => (chance(96) ? rnd(40000) : pick([-1, 0x7fffffff, FRAMES * FRAME_BYTES - 3, 65535]));
      const len = chance(96) ? pick([0, 1, 47, 48, 49, 63, 64, 65, rnd(3000)]) : pick([-1, 0x7fffffff, 1 << 17]);
      a.words.set([far + bound(), (kind & COPY_FROM_ARENA ? PAYLOAD_BYTE : 0) + bound(), len, kind << 16], COPIES_AT + i * 4);
    }
    const call = rnd(3);
    // Lists that do not lie in the arena are refused whole.
    const count = chance(97) ? n : pick([-1, 0x7fffffff, ARENA_WORDS]);
    mirror();
    for (const s of [a, b]) {
      if (call === 0) s.bursts.copy(COPIES_AT, count);
      else if (call === 1) s.bursts.toUser(s.user, COPIES_AT, count);
      else s.bursts.fromUser(s.user, COPIES_AT, count);
    }
    same(`copy case ${c} call ${call}`);
  }
  assert.ok(a.bursts.badEntries() > 0);
});

test('descriptor lists outside the arena are refused whole', () => {
  mirror();
  const before = a.bursts.badEntries();
  for (const [at, n] of [
    [-8, 1],
    [ARENA_WORDS - 7, 1],
    [0, -1],
    [0, ARENA_WORDS],
    [0x7fffffff, 1],
  ] as const) {
    assert.is(a.bursts.inspect(at, n, 1), 0);
    assert.is(b.bursts.inspect(at, n, 1), 0);
    assert.is(a.bursts.emit(at, n, 0, 0, 3, 0), 0);
    assert.is(b.bursts.emit(at, n, 0, 0, 3, 0), 0);
  }
  same('lists');
  assert.is(a.bursts.badEntries() - before, 10);
});

test('checksum: vector and scalar code agree with the plain sum at every length and misalignment', () => {
  const bytes = new SharedArrayBuffer(4096);
  const view = new DataView(bytes);
  const id = native.registerMemory(new Uint8Array(bytes));
  for (let c = 0; c < 20000; c++) {
    if (c % 100 === 0) for (let i = 0; i < 4096; i += 4) view.setInt32(i, chance(20) ? pick([0, -1]) : rnd(0x7fffffff) << 1);
    const off = rnd(64);
    const len = chance(50) ? rnd(200) : rnd(4000);
    const want = fold(sum16(view, off, len, 0));
    assert.is(native.checksum(id, off, len, false), want, `${native.checksumKind} at ${off} length ${len} (SEED=${SEED})`);
    assert.is(native.checksum(id, off, len, true), want, `scalar at ${off} length ${len} (SEED=${SEED})`);
  }
  assert.is(native.checksum(id, 4095, 2, false), -1);
  assert.ok(native.releaseMemory(id));
  assert.not.ok(native.releaseMemory(id));
});

test.run();
