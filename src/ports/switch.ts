/**
 * The embedded default port: a switch in shared memory, no root, no device, no thread of its own (main's half; the
 * broker's half is switchPort.ts).
 *
 * One region and one frame table serve all its ports; every frame has a home port (a static partition) whose free list it
 * comes from and goes back to. Between every two ports stand two SPSC rings each way:
 *
 *     port a ── pair ring (descriptors) ──▶ port b      frames change hands without being copied
 *     port a ◀── home ring (frame ids) ──── port b      a's frames, done with at b
 *
 * The sender looks the destination MAC up and hands the descriptor over on its own thread. Broadcast, multicast and
 * unknown addresses are flooded: one receiver gets the frame, the others copies made from the sender's frames.
 * A full pair ring stops the sender (its frames stay in its workers' tx rings), until the receiver has taken nothing
 * for PEER_DEAD_US: then frames for it are dropped (DROP_SWITCH), so that a stopped peer never stalls the others.
 *
 * Switch block: header · per port 96 words: its bell (BELL_WORDS), its status line (SW_*), the bell of its sending half where that
 * is a thread of its own · the rings.
 */
import { BELL_EVENTFD, BELL_WORDS } from '../rings/doorbell.ts';
import { auditFrames, createFrameTable, FrameTable, markFree } from '../rings/frameTable.ts';
import type { FrameAudit } from '../rings/frameTable.ts';
import {
  D_FRAME,
  DESC_WORDS,
  FRAME_BYTES_MAX,
  FRAME_BYTES_MIN,
  KIND_RINGS,
  OWNER_FREE,
  REGION_BYTES_MAX,
  ringWords,
  writeHeader,
} from '../rings/layout.ts';
import { formatRing } from '../rings/spsc.ts';
import { drainRing } from '../rings/succession.ts';
import { formatMac, parseMac } from '../wire/ethernet.ts';
import { checkImpairment } from './impairment.ts';
import type { Impairment } from './impairment.ts';
import type { Offload, PortAttachment, PortCaps, PortHandle } from './port.ts';

export const SWITCH_PORTS_MAX = 24;
/** A receiver that has taken nothing for this long while its ring was full counts as dead, in microseconds. */
export const PEER_DEAD_US = 100_000;

/** Status line of a port, words from its base. */
export const SW_STATE = 0;
/** Not 0: less than half of the port's frames are at home and it sleeps; whoever sends frames home rings. */
export const SW_HUNGRY = 1;
/** + peer: not 0: this port found the pair ring to that peer full; the peer rings when it has taken some. */
export const SW_WANT_ROOM = 2;
/** Not 0: the sending half is a thread of its own, which sleeps on the sender's bell and wants to know about room. */
export const SW_SENDER_BELL = SW_WANT_ROOM + SWITCH_PORTS_MAX;

export const SW_NEW = 0;
export const SW_ATTACHED = 1;
/** Detached for good; senders drop what is for it and take back what still stands in its rings. */
export const SW_CLOSED = 2;

const PORT_WORDS = 2 * BELL_WORDS + 32;
const PORTS_AT = 32;

export const bellWord = (port: number): number => PORTS_AT + port * PORT_WORDS;
export const statusWord = (port: number): number => PORTS_AT + port * PORT_WORDS + BELL_WORDS;
export const senderBellWord = (port: number): number => PORTS_AT + port * PORT_WORDS + BELL_WORDS + 32;

export interface SwitchPortConfig {
  name: string;
  /** "02:…", default 02:66:6c:77:00:NN. */
  mac?: string;
  /** What happens to frames this port receives; default: the switch's. */
  impair?: Impairment;
  /** Queues, each with frames and rings of its own; senders pick one by the flow's hash. Default 1. */
  queues?: number;
}

export interface SwitchConfig {
  ports: readonly SwitchPortConfig[];
  /** Frames the free list of each port, or each queue of one, starts with. */
  framesPerPort: number;
  /** Bytes a frame, 2048..16384, a multiple of 64. Default 2048. */
  frameBytes?: number;
  /** Slots of a pair ring, a power of two. Default 1024. */
  ringSlots?: number;
  /** Region id of the packet memory. Default 0. */
  region?: number;
  /** Packet memory made elsewhere (huge pages), at least ports × framesPerPort × frameBytes. Default: a plain SharedArrayBuffer. */
  memory?: SharedArrayBuffer;
  /**
   * Memory vouches for checksums: the ports take F_CSUM_PARTIAL frames and deliver them as known good. Default true.
   * False: stacks complete every checksum, and receivers verify every one.
   */
  checksum?: boolean;
  /** The ports take trains. Default true. */
  trains?: boolean;
  /** IP datagram bytes. Default 1500. */
  mtu?: number;
  /** Unicast to a MAC address no port has goes to all ports; false: dropped (DROP_SWITCH). Default true. */
  flood?: boolean;
  impair?: Impairment;
}

/** A port's queues among the queues of all ports. */
export interface PortPlace {
  first: number;
  count: number;
}

/** PortAttachment.own of a switch port: structured-cloneable. */
export interface SwitchOwn {
  block: SharedArrayBuffer;
  index: number;
  ports: number;
  framesPerPort: number;
  /** Two words a port: first 4 bytes, last 2. A queue is a port that shares its address with its siblings. */
  macs: Int32Array;
  /** By port: the first of its siblings, and how many there are, itself included. */
  siblings: PortPlace[];
  /** Word offsets of the rings, [from * ports + to]; -1 on the diagonal. */
  pair: number[];
  home: number[];
  vouch: boolean;
  flood: boolean;
  impair: Impairment;
}

export interface Switch {
  readonly block: SharedArrayBuffer;
  readonly memory: SharedArrayBuffer;
  readonly table: SharedArrayBuffer;
  readonly ports: number;
  handle(port: number): PortHandle;
  /** Counts all frames by owner; of one port's home frames when given. */
  audit(port?: number): FrameAudit;
  /**
   * Takes home what still stands in the rings, and returns the audit: at the very end, when every thread that had a port
   * has detached and ended. Every frame is then free, or was lost by somebody.
   */
  settle(): FrameAudit;
}

const pow2AtLeast = (n: number): number => 2 ** Math.ceil(Math.log2(Math.max(2, n)));

function refuse(what: string): never {
  throw new RangeError(`switch: ${what}`);
}

function checkConfig(c: SwitchConfig, frameBytes: number, ringSlots: number): void {
  const n = c.ports.reduce((sum, p) => sum + (p.queues ?? 1), 0);
  if (n < 1 || n > SWITCH_PORTS_MAX) refuse(`${n} ports, must be 1..${SWITCH_PORTS_MAX}`);
  if (!Number.isInteger(c.framesPerPort) || c.framesPerPort < 1) refuse(`framesPerPort ${c.framesPerPort} is not a positive integer`);
  if (!(frameBytes >= FRAME_BYTES_MIN && frameBytes <= FRAME_BYTES_MAX) || (frameBytes & 63) !== 0)
    refuse(`frameBytes ${frameBytes}, must be ${FRAME_BYTES_MIN}..${FRAME_BYTES_MAX} and a multiple of 64`);
  if (ringSlots < 2 || (ringSlots & (ringSlots - 1)) !== 0) refuse(`ringSlots ${ringSlots} is not a power of two`);
  const bytes = n * c.framesPerPort * frameBytes;
  if (bytes > REGION_BYTES_MAX)
    refuse(`${n} × ${c.framesPerPort} frames of ${frameBytes} bytes are ${bytes} bytes, a region has at most ${REGION_BYTES_MAX}`);
  if (c.memory !== undefined && c.memory.byteLength < bytes) refuse(`memory has ${c.memory.byteLength} bytes, ${bytes} are needed`);
}

/** Where each configured port's queues stand among all. */
function placePorts(c: SwitchConfig): PortPlace[] {
  let next = 0;
  return c.ports.map((p) => {
    const count = p.queues ?? 1;
    const first = next;
    next += count;
    return { first, count };
  });
}

function macTable(c: SwitchConfig): Int32Array {
  const macs = new Int32Array(c.ports.length * 2);
  const seen = new Set<string>();
  c.ports.forEach((p, i) => {
    const text = p.mac ?? `02:66:6c:77:00:${(i + 1).toString(16).padStart(2, '0')}`;
    const mac = parseMac(text);
    if (mac === null) refuse(`port ${p.name}: "${text}" is not a MAC address`);
    if (((mac[0] >>> 24) & 1) !== 0) refuse(`port ${p.name}: ${text} is a group address`);
    if (seen.has(formatMac(mac[0], mac[1]))) refuse(`port ${p.name}: ${text} is another port's`);
    seen.add(formatMac(mac[0], mac[1]));
    macs[i * 2] = mac[0];
    macs[i * 2 + 1] = mac[1];
  });
  return macs;
}

interface SwitchPlan {
  pair: number[];
  home: number[];
  words: number;
}

function planBlock(ports: number, ringSlots: number, homeSlots: number): SwitchPlan {
  let at = PORTS_AT + ports * PORT_WORDS;
  const place = (slots: number, words: number): number => {
    const here = at;
    at += ringWords(slots, words);
    return here;
  };
  const pair: number[] = [];
  const home: number[] = [];
  for (let from = 0; from < ports; from++) {
    for (let to = 0; to < ports; to++) {
      pair.push(from === to ? -1 : place(ringSlots, DESC_WORDS));
      home.push(from === to ? -1 : place(homeSlots, 1));
    }
  }
  return { pair, home, words: at };
}

function portHandle(
  config: SwitchConfig,
  port: number,
  shared: Omit<SwitchOwn, 'index' | 'impair'>,
  region: Pick<PortAttachment, 'region' | 'memory' | 'table'>,
  close: () => void,
): PortHandle {
  const { name, impair = config.impair ?? {} } = config.ports[port]!;
  checkImpairment(impair);
  const trains = config.trains ?? true;
  const caps: PortCaps = {
    txChecksum: shared.vouch,
    txTrains: trains,
    txTrainBytesMax: trains ? 65535 + 14 : (config.frameBytes ?? 2048),
    mtu: config.mtu ?? 1500,
    waitable: false,
  };
  const { first, count } = placePorts(config)[port]!;
  const queues = Array.from({ length: count }, (_, q): PortAttachment => {
    const index = first + q;
    return {
      kind: 'switch',
      name,
      macHi: shared.macs[index * 2]!,
      macLo: shared.macs[index * 2 + 1]!,
      caps,
      ...region,
      frameFirst: index * shared.framesPerPort,
      frameCount: shared.framesPerPort,
      host: index,
      bell: { block: shared.block, at: bellWord(index) },
      senderBell: { block: shared.block, at: senderBellWord(index) },
      own: { ...shared, index, impair } satisfies SwitchOwn,
    };
  });
  return { attachment: queues[0]!, queues, offloads: describeOffloads(caps, count), close };
}

/** Makes a switch: memory, rings and one handle a port. Main only. Throws RangeError for a configuration that cannot be. */
export function createSwitch(config: SwitchConfig): Switch {
  const places = placePorts(config);
  const n = places.reduce((sum, p) => sum + p.count, 0);
  const frameBytes = config.frameBytes ?? 2048;
  const ringSlots = config.ringSlots ?? 1024;
  checkConfig(config, frameBytes, ringSlots);
  const own = macTable(config);
  const per = config.framesPerPort;
  const memory = config.memory ?? new SharedArrayBuffer(n * per * frameBytes);
  const region = config.region ?? 0;
  const table = createFrameTable(region, n * per, frameBytes);
  // A home ring holds every frame of its home port, so that going home never fails.
  const homeSlots = pow2AtLeast(per);
  const plan = planBlock(n, ringSlots, homeSlots);
  const block = new SharedArrayBuffer(plan.words * 4);
  writeHeader(block, KIND_RINGS);
  const words = new Int32Array(block);
  for (let i = 0; i < n; i++) words[bellWord(i) + BELL_EVENTFD] = words[senderBellWord(i) + BELL_EVENTFD] = -1;
  for (const at of plan.pair) if (at >= 0) formatRing(words, at, ringSlots, DESC_WORDS);
  for (const at of plan.home) if (at >= 0) formatRing(words, at, homeSlots, 1);

  const shared = {
    block,
    ports: n,
    framesPerPort: per,
    macs: Int32Array.from(places.flatMap(({ count }, p) => Array.from({ length: count * 2 }, (_, i) => own[p * 2 + (i & 1)]!))),
    siblings: places.flatMap((place) => Array.from({ length: place.count }, () => place)),
    pair: plan.pair,
    home: plan.home,
    vouch: config.checksum ?? true,
    flood: config.flood ?? true,
  };
  const frames = new FrameTable(table, memory);
  const settle = (): FrameAudit => {
    settleRings(words, plan, frames);
    return auditFrames(frames);
  };
  // Who closes the last port of all takes home what its queues still had for one another.
  const close = (): void => {
    const inUse = shared.siblings.some((_, i) => Atomics.load(words, statusWord(i) + SW_STATE) === SW_ATTACHED);
    if (!inUse) settle();
  };
  const handles = config.ports.map((_, p) => portHandle(config, p, shared, { region, memory, table }, close));
  return {
    block,
    memory,
    table,
    ports: config.ports.length,
    handle: (i) => handles[i] ?? refuse(`no port ${i}, it has ${config.ports.length}`),
    audit: (i) => {
      if (i === undefined) return auditFrames(frames);
      const { first, count } = places[i]!;
      return auditFrames(frames, first * per, (first + count) * per);
    },
    settle,
  };
}

function settleRings(words: Int32Array, plan: SwitchPlan, frames: FrameTable): void {
  const home = (f: number): void => {
    if (f >= 0 && f < frames.frames && frames.owner[f] !== OWNER_FREE) markFree(frames, f);
  };
  const homeTrain = (first: number): void => {
    for (let f = first; f >= 0 && f < frames.frames; ) {
      const next = frames.next[f]!;
      home(f);
      f = next;
    }
  };
  for (const at of plan.pair) if (at >= 0) drainRing(words, at, (s) => homeTrain(words[s + D_FRAME]!));
  // A home ring carries single frames; what `next` says of them is of no meaning any more.
  for (const at of plan.home) if (at >= 0) drainRing(words, at, (s) => home(words[s]!));
}

function describeOffloads(caps: PortCaps, queues: number): Offload[] {
  const memory = (on: boolean, why: string) =>
    on ? { provider: 'memory' as const, reason: why } : { provider: 'stack' as const, reason: 'switched off by configuration' };
  return [
    { name: 'rx-checksum', ...memory(caps.txChecksum, 'frames never leave memory') },
    { name: 'tx-checksum', ...memory(caps.txChecksum, 'frames never leave memory') },
    { name: 'tso', ...memory(caps.txTrains, 'trains are handed over whole') },
    { name: 'gro', provider: 'stack', reason: caps.txTrains ? 'trains arrive whole' : '' },
    queues > 1
      ? { name: 'rss', provider: 'memory', reason: `${queues} queues; the sender hashes` }
      : { name: 'rss', provider: 'stack', reason: 'the dispatcher hashes' },
  ];
}
