/**
 * Loads the addon; nothing else does. Every thread calls `loadNative()` for itself; the addon's tables are the process's.
 * Without an addon it returns null and `nativeProblem()` says why and what to do: the TypeScript bursts and the switch port
 * need none.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';
import { type Bursts, COPY_FROM_ARENA, COPY_TO_ARENA, COPY_WORDS, WORK_CSUM, WORK_CUT } from '../rings/bursts.ts';
import * as drops from '../rings/drops.ts';
import type { FrameTable } from '../rings/frameTable.ts';
import * as layout from '../rings/layout.ts';

export type RegionKind = 'anonymous' | 'hugepages' | 'file';

export interface RegionOptions {
  /** Rounded up to whole pages; at most 4 GiB - 4 KiB. */
  bytes: number;
  kind: RegionKind;
  /** Kind `file`: the file to make, e.g. /dev/shm/flowring-PID. Removed by releaseMemory, and at exit. */
  path?: string;
}

export interface Region {
  /** What bursts and ports call it; good in every thread. */
  id: number;
  memory: SharedArrayBuffer;
  /** Why the memory is not what was asked for; empty when it is. */
  note: string;
}

/** What opening a device port found out. */
export interface OpenedPort {
  handle: number;
  name: string;
  mtu: number;
  created: boolean;
  rxChecksum: boolean;
  txChecksum: boolean;
  tso: boolean;
  reason: string;
  kernelMac: string;
  /** Packet sockets: slots of the ring, and of one in a group the group, whether it spreads by the kernel's hash, and why. */
  slots: number;
  group: number;
  groupByHash: boolean;
  groupReason: string;
  /** Whether small frames leave through an AF_XDP ring, or why not. */
  transmitRing: boolean;
  transmitReason: string;
}

export interface OpenOptions {
  name: string;
  multiQueue: boolean;
  /** Queues the port shall have, and which of them this is. */
  queues: number;
  queue: number;
  offload: boolean;
  mtu: number;
  /** Packet sockets (ports/packet.ts, ports/bpf.ts). `group` -1 makes one. */
  rxSlots?: number;
  macHi?: number;
  macLo?: number;
  filter?: Int32Array;
  steer?: Int32Array;
  groupByHash?: boolean;
  group?: number;
  transmitRing?: boolean;
}

/** What an interface of the kernel is, and what it and its driver do with frames. */
export interface LinkFacts {
  mtu: number;
  mac: string;
  /** Set up by an administrator; has a carrier besides. */
  up: boolean;
  running: boolean;
  ethernet: boolean;
  loopback: boolean;
  rxChecksum: boolean;
  txChecksum: boolean;
  tso: boolean;
  gro: boolean;
  lro: boolean;
}

/** Halves of a device port (native/port.h). */
export const HALF_RX = 1;
export const HALF_TX = 2;
export const HALF_BOTH = 3;

/** The calling thread's sleep with its event loop free: see `Port.watch`. */
export interface Watch {
  /** `wake` is called once, from the event loop: when there is something, or after `ms` (at least 1). No call while armed. */
  arm(ms: number): void;
  /** `wake` is not called any more. */
  disarm(): void;
  /** For good; also done when the thread ends. */
  close(): void;
}

/** A device port attached in the calling thread. */
export interface AttachedPort {
  rxBurst(desc: Int32Array, at: number, max: number): number;
  txBurst(desc: Int32Array, at: number, n: number): number;
  /** 1 when the device is readable. */
  wait(bellFd: number, ms: number): number;
  /** Null when the device can only be waited for. Throws with an errno's name. */
  watch(bellFd: number, wake: () => void): Watch | null;
  detach(): void;
}

interface RawAddon {
  checkLayout(names: readonly string[], values: readonly number[]): void;
  createRegion(bytes: number, kind: string, path: string): { id: number; memory: SharedArrayBuffer } | null;
  /** Whether a registration keeps its SharedArrayBuffer alive by itself. */
  readonly pinsMemory: boolean;
  /** Gives `view`'s memory an id, good in every thread, until releaseMemory or the end of this thread; it stays alive as long. */
  registerMemory(view: Uint8Array): number;
  releaseMemory(id: number): boolean;
  regionCounts(): [number, number];
  createBursts(packetId: number, tableId: number, arenaId: number): Omit<Bursts, 'native'>;
  readonly checksumKind: string;
  checksum(id: number, offset: number, len: number, scalar: boolean): number;
  setAffinity(cpus: readonly number[]): void;
  getAffinity(): number[];
  setThreadName(name: string): void;
  gettid(): number;
  currentCpu(): number;
  /** CPU nanoseconds of this thread so far. */
  threadCpuNs(): number;
  /** Context switches of this thread so far: it slept; it was put off the CPU. */
  voluntarySwitches(): number;
  involuntarySwitches(): number;
  /** Counts this thread's garbage collections from now on; false when the addon was built without V8's headers. */
  watchGc(): boolean;
  /** Collections since watchGc, and nanoseconds in them. */
  gcCount(): number;
  gcNs(): number;
  clock(memoryId: number, byteOffset: number): void;
  nowNs(): number;
  pause(n: number): void;
  microtasks(): boolean;
  eventfdOpen(): number;
  eventfdWrite(fd: number): void;
  eventfdWait(fd: number, ms: number): number;
  eventfdClose(fd: number): void;
  /** The asynchronous sleep of a thread that has no device. */
  eventfdWatch(fd: number, wake: () => void): Watch;
  openPort(kind: string, options: OpenOptions): OpenedPort;
  /** `half`: HALF_RX, HALF_TX or both; each half once. */
  attachPort(handle: number, packetId: number, tableId: number, ownId: number, half: number): AttachedPort;
  closePort(handle: number): void;
  closeAll(): void;
  /** Null when this network namespace has no such interface. */
  linkFacts(name: string): LinkFacts | null;
}

/** The addon, checked against this build's layout. All calls are for the calling thread unless they name an id or handle. */
export interface Native extends Omit<RawAddon, 'createRegion' | 'createBursts' | 'checkLayout'> {
  /** Compares numbers with the addon's own. Throws (code FLOWRING_ABI) with both values when one differs. */
  checkLayout(numbers: readonly (readonly [string, number])[]): void;
  /**
   * Memory outside V8's heap. Post `memory` to workers; it is unmapped once, after its last holder is gone.
   * Throws Error with code EINVAL, ENOMEM, EACCES … naming size and kind.
   */
  createRegion(options: RegionOptions): Region;
  /** Bursts over memories by id, for the calling thread. Throws when an id or the frame table is wrong. */
  createBursts(packetId: number, tableId: number, arenaId: number): Bursts;
}

/** Every number the addon compares: the layout, and what bursts and ports use beside it. */
export const NATIVE_NUMBERS: readonly (readonly [string, number])[] = [
  ...layout.LAYOUT_NUMBERS,
  ['DESC_WORDS', layout.DESC_WORDS],
  ['H_FRAMES', layout.H_FRAMES],
  ['H_FRAME_BYTES', layout.H_FRAME_BYTES],
  ['H_REGION', layout.H_REGION],
  ['H_HEADROOM', layout.H_HEADROOM],
  ['KIND_FRAME_TABLE', layout.KIND_FRAME_TABLE],
  ['GENERATION_MASK', layout.GENERATION_MASK],
  ['DROP_BAD_DESCRIPTOR', drops.DROP_BAD_DESCRIPTOR],
  ['DROP_TRUNCATED', drops.DROP_TRUNCATED],
  ['DROP_IP_HEADER', drops.DROP_IP_HEADER],
  ['DROP_IP_CHECKSUM', drops.DROP_IP_CHECKSUM],
  ['DROP_L4_CHECKSUM', drops.DROP_L4_CHECKSUM],
  ['DROP_TCP_HEADER', drops.DROP_TCP_HEADER],
  ['DROP_UDP_HEADER', drops.DROP_UDP_HEADER],
  ['DROP_ICMP', drops.DROP_ICMP],
  ['DROP_NO_FRAME', drops.DROP_NO_FRAME],
  ['DROP_TX_DEVICE', drops.DROP_TX_DEVICE],
  ['DROP_DEVICE_RING', drops.DROP_DEVICE_RING],
  ['DROP_REASONS', drops.DROP_REASONS],
  ['WORK_CSUM', WORK_CSUM],
  ['WORK_CUT', WORK_CUT],
  ['COPY_WORDS', COPY_WORDS],
  ['COPY_TO_ARENA', COPY_TO_ARENA],
  ['COPY_FROM_ARENA', COPY_FROM_ARENA],
];

let loaded: Native | null | undefined;
let problem = '';

/** The package's directory: the nearest one above this file with a package.json (dist has none). */
function packageRoot(): string {
  let dir = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(dir, 'package.json')) && dirname(dir) !== dir) dir = dirname(dir);
  return dir;
}

function wrap(raw: RawAddon): Native {
  // Where the addon cannot pin memory (built without V8's headers), this thread keeps what it registered.
  const held = new Map<number, Uint8Array>();
  return {
    ...raw,
    registerMemory(view) {
      const id = raw.registerMemory(view);
      if (!raw.pinsMemory) held.set(id, view);
      return id;
    },
    releaseMemory(id) {
      held.delete(id);
      return raw.releaseMemory(id);
    },
    checkLayout: (numbers) =>
      raw.checkLayout(
        numbers.map((n) => n[0]),
        numbers.map((n) => n[1]),
      ),
    createRegion(options) {
      const region = raw.createRegion(options.bytes, options.kind, options.path ?? '');
      if (region !== null) return { ...region, note: '' };
      // This runtime cannot wrap foreign memory and the addon was built without V8's headers: V8's own memory, then.
      const memory = new SharedArrayBuffer((options.bytes + 4095) & ~4095);
      const id = this.registerMemory(new Uint8Array(memory));
      return {
        id,
        memory,
        note: `${options.kind} memory is not available: the addon was built without node's headers, and node ${process.version} has no node_api_create_external_sharedarraybuffer`,
      };
    },
    createBursts: (packetId, tableId, arenaId) => Object.assign(raw.createBursts(packetId, tableId, arenaId), { native: true }),
  };
}

/** What builds the addon, as typed from the current directory: in a checkout, or in a package below node_modules. */
export function buildCommand(): string {
  const script = join(packageRoot(), 'scripts', 'build-native.mjs');
  const near = relative(process.cwd(), script);
  return `node ${near.startsWith('..') ? script : near}`;
}

function load(): Native | null {
  if (process.env.FLOWRING_NATIVE === '0') {
    problem = 'switched off by FLOWRING_NATIVE=0';
    return null;
  }
  const path = join(packageRoot(), 'build', 'Release', 'flowring.node');
  if (!existsSync(path)) {
    problem = `${path} is not built; run \`${buildCommand()}\` (needs a C++ compiler and python3)`;
    return null;
  }
  try {
    const native = wrap(createRequire(import.meta.url)(path) as RawAddon);
    native.checkLayout(NATIVE_NUMBERS);
    if (isMainThread) process.on('exit', native.closeAll);
    return native;
  } catch (e) {
    problem = `${path} cannot be used: ${(e as Error).message}; run \`node scripts/build-native.mjs --force\``;
    return null;
  }
}

/** The addon, or null (`nativeProblem()`). Loaded once a thread. FLOWRING_NATIVE=0 in the environment switches it off. */
export function loadNative(): Native | null {
  if (loaded === undefined) loaded = load();
  return loaded;
}

/** Why there is no addon, and the fix. Empty when there is one. */
export function nativeProblem(): string {
  loadNative();
  return problem;
}

/**
 * Native bursts over a region's frames and a worker's arena, for the calling thread. The memories are registered until the
 * thread ends.
 */
export function createNativeBursts(native: Native, frames: FrameTable, arenaMemory: SharedArrayBuffer): Bursts {
  return native.createBursts(
    native.registerMemory(frames.u8),
    native.registerMemory(new Uint8Array(frames.offset.buffer)),
    native.registerMemory(new Uint8Array(arenaMemory)),
  );
}
