/**
 * What does a frame cost in the worker's two calls a breath, and what is native code worth there?
 *
 *   npm run bench -- bursts
 *
 * `inspect` verifies headers and checksum of each frame; `emit` gathers payload from the arena into each and completes its
 * checksum. Bursts of 16, payload 1448 and 64 bytes, all of it in cache. The reset of descriptors is part of every call.
 */
import { createNativeBursts, loadNative, nativeProblem } from '../src/ports/native.ts';
import { type Bursts, COPY_FROM_ARENA, WORK_CSUM } from '../src/rings/bursts.ts';
import { createFrameTable, FrameTable } from '../src/rings/frameTable.ts';
import * as L from '../src/rings/layout.ts';
import { fold, pseudoSum4, sum16 } from '../src/wire/checksum.ts';
import { createTwinBursts } from '../src/wire/burst/twin.ts';
import { ETHERTYPE_IPV4, LEN_ETHERNET, setEthernet } from '../src/wire/ethernet.ts';
import { LEN_IPV4, PROTO_TCP, setIpv4 } from '../src/wire/ipv4.ts';
import { ACK, LEN_TCP, OFF_CHECKSUM, OFF_DATA } from '../src/wire/tcp.ts';
import { micro } from './micro.ts';
import type { Question } from './question.ts';

const BURST = 16;
const FRAME_BYTES = 2048;
const HEADERS = LEN_ETHERNET + LEN_IPV4 + LEN_TCP;
const [FROM, TO] = [0x0a000001, 0x0a000002];
const DESC_AT = 64;
const SAVED_AT = 1024;
const COPY_AT = 2048;
const PAYLOAD_BYTE = 4096 * 4;
const ARENA_WORDS = 16384;

interface Rig {
  bursts: Bursts;
  /** One burst of each call, from the same descriptors every time. */
  inspect(): void;
  emit(): void;
  /** Flags of the burst's descriptors. */
  flags(): number[];
}

function writeFrame(v: DataView, at: number, payload: number): void {
  setEthernet(v, at, 0x02000000, 1, 0x02000000, 2, ETHERTYPE_IPV4);
  setIpv4(v, at + LEN_ETHERNET, LEN_IPV4 + LEN_TCP + payload, 1, PROTO_TCP, FROM, TO);
  const tcp = at + LEN_ETHERNET + LEN_IPV4;
  v.setInt32(tcp, (1000 << 16) | 80);
  v.setUint8(tcp + OFF_DATA, (LEN_TCP / 4) << 4);
  v.setUint8(tcp + OFF_DATA + 1, ACK);
  for (let i = 0; i < payload; i++) v.setUint8(tcp + LEN_TCP + i, i * 7);
  v.setUint16(tcp + OFF_CHECKSUM, 0);
  v.setUint16(tcp + OFF_CHECKSUM, ~fold(sum16(v, tcp, LEN_TCP + payload, pseudoSum4(FROM, TO, PROTO_TCP, LEN_TCP + payload))) & 0xffff);
}

function rig(make: (frames: FrameTable, arena: SharedArrayBuffer) => Bursts, payload: number): Rig {
  const memory = new SharedArrayBuffer(2 * BURST * FRAME_BYTES);
  const frames = new FrameTable(createFrameTable(1, 2 * BURST, FRAME_BYTES), memory);
  const arena = new SharedArrayBuffer(ARENA_WORDS * 4);
  const w = new Int32Array(arena);
  const offsets = LEN_ETHERNET | (LEN_ETHERNET << 8) | ((LEN_ETHERNET + LEN_IPV4) << 16);
  const total = HEADERS + payload;
  for (let f = 0; f < 2 * BURST; f++) {
    frames.offset[f] = f * FRAME_BYTES;
    frames.length[f] = total;
    writeFrame(frames.view, f * FRAME_BYTES + L.HEADROOM, payload);
    const d = SAVED_AT + f * L.DESC_WORDS;
    const out = f >= BURST;
    w[d + L.D_FRAME] = f;
    w[d + L.D_DATA] = (L.HEADROOM << 16) | total;
    w[d + L.D_TOTAL] = total;
    w[d + L.D_REGION_GEN] = (1 << 16) | frames.generation[f]!;
    w[d + L.D_OFFSETS] = out ? offsets : 0;
    w[d + L.D_FLAGS_GSO] = out ? L.F_TX | L.F_PARSED | L.F_TCP | L.F_IPCSUM_OK | L.F_CSUM_PARTIAL : 0;
    w[d + L.D_SEGS_VLAN] = 1;
    if (!out) continue;
    const c = COPY_AT + (f - BURST) * 4;
    w[c] = f * FRAME_BYTES + L.HEADROOM + HEADERS;
    w[c + 1] = PAYLOAD_BYTE;
    w[c + 2] = payload;
    w[c + 3] = (COPY_FROM_ARENA << 16) | (f - BURST);
  }
  const bursts = make(frames, arena);
  const { view } = frames;
  const partial = fold(pseudoSum4(FROM, TO, PROTO_TCP, LEN_TCP + payload));
  const savedOut = SAVED_AT + BURST * L.DESC_WORDS;
  return {
    bursts,
    inspect: () => {
      w.copyWithin(DESC_AT, SAVED_AT, SAVED_AT + BURST * L.DESC_WORDS);
      bursts.inspect(DESC_AT, BURST, 0);
    },
    flags: () => Array.from({ length: BURST }, (_, i) => w[DESC_AT + i * L.DESC_WORDS + L.D_FLAGS_GSO]! & 0xffff),
    emit: () => {
      w.copyWithin(DESC_AT, savedOut, savedOut + BURST * L.DESC_WORDS);
      for (let f = BURST; f < 2 * BURST; f++)
        view.setUint16(f * FRAME_BYTES + L.HEADROOM + LEN_ETHERNET + LEN_IPV4 + OFF_CHECKSUM, partial);
      bursts.emit(DESC_AT, BURST, COPY_AT, BURST, WORK_CSUM, DESC_AT);
    },
  };
}

/** A bench of frames that are refused measures nothing. */
function check(r: Rig, what: string): void {
  for (const call of ['inspect', 'emit'] as const) {
    r[call]();
    if (r.flags().some((f) => (f & (L.F_BAD | L.F_CSUM_OK)) !== L.F_CSUM_OK)) throw new Error(`${what}: ${call} took a frame for bad`);
  }
  if (r.bursts.badEntries() !== 0) throw new Error(`${what}: ${r.bursts.badEntries()} entries refused`);
}

export const bursts: Question = {
  name: 'bursts',
  asks: 'frames a second through `inspect` and `emit`, the native bursts against their TypeScript twins',
  method:
    'Bursts of 16 frames of one connection, in cache. `inspect` verifies headers and checksum of each; `emit` gathers its payload and completes its checksum. Setting the descriptors back is part of both.',
  seconds: 0.4,
  rounds: 5,
  run: async (plan, sheet) => {
    const native = loadNative();
    for (const payload of [1448, 64]) {
      const names = { inspect: `bursts inspect ${payload}`, emit: `bursts emit ${payload}` };
      if (native === null) {
        for (const name of Object.values(names)) sheet.skip(name, `no native addon: ${nativeProblem()}`);
        continue;
      }
      const ours = rig((f, a) => createNativeBursts(native, f, a), payload);
      const twin = rig(createTwinBursts, payload);
      check(ours, 'native');
      check(twin, 'TypeScript');
      const cases = (['inspect', 'emit'] as const).map((call) => ({
        name: names[call],
        unit: 'frames',
        perCall: BURST,
        ours: ours[call],
        peer: twin[call],
        peerName: 'TypeScript twin',
      }));
      await micro(cases, plan, sheet);
    }
  },
};
