/**
 * What ports over native devices (native/port.h) have in common: their options, our address, memory for each queue, and the
 * broker thread's side. A queue's thread and native code share one block: the stack of free frames and the drop counters.
 */
import { randomBytes } from 'node:crypto';
import { constants } from 'node:os';
import * as dropReasons from '../rings/drops.ts';
import { createFrameTable, FrameTable, markFree, sweepHost } from '../rings/frameTable.ts';
import * as layoutNumbers from '../rings/layout.ts';
import { formatMac, parseMac } from '../wire/ethernet.ts';
import * as nativeNumbers from './native.ts';
import { type AttachedPort, loadNative, type Native, nativeProblem, type Watch } from './native.ts';
import type { Port, PortAttachment, PortCaps, TxPort } from './port.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { DROP_DEVICE_RING, DROP_REASONS } = dropReasons;
const { FRAME_BYTES_MAX, FRAME_BYTES_MIN, HEADROOM, MAX_WORKERS, OWNER_BROKER, OWNER_FREE, OWNER_HOST_SHIFT, REGION_BYTES_MAX } =
  layoutNumbers;
const { HALF_BOTH, HALF_RX, HALF_TX } = nativeNumbers;

export interface DeviceOptions {
  /** Interface name, at most 15 bytes. */
  name: string;
  /** Frames of the port's region, and bytes a frame (2,048 to 16,384, a multiple of 64). */
  frames: number;
  frameBytes: number;
  /** Bytes of IP datagram. */
  mtu: number;
  /** Our address, "02:…"; a random locally administered one when left out. */
  mac?: string | undefined;
  /** Leave checksums, and trains, of what we send to the kernel. Default true. */
  checksum?: boolean | undefined;
  trains?: boolean | undefined;
}

/** What an attachment carries for native code: the queue's handle, and a block for each half. */
export interface DeviceOwn {
  handle: number;
  /** The receiving half's, or both halves'. */
  block: SharedArrayBuffer;
  /** The sending half's where a transmitter attaches it alone: its stack collects the frames that are sent. */
  txBlock: SharedArrayBuffer;
}

/** An error of opening or attaching a port: `code` is an errno name or FLOWRING_*, the message names value, place and fix. */
export class PortError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = 'PortError';
    this.code = code;
  }
}

/** Ethernet with a VLAN tag. */
const LINK_HEADER = 18;
/** The largest IP datagram behind its Ethernet header. */
export const TRAIN_BYTES_MAX = 65535 + 14;
// native/port.h
const P_FREE = 0;
const P_LINK = 3;
const P_HOST = 4;
const P_DROPS = 16;
const P_STACK = 64;
const IFNAME_BYTES_MAX = 15;

/** Throws PortError naming the value, and the place `kind:name`. */
export function checkOptions(kind: string, o: DeviceOptions): void {
  const at = `${kind}:${o.name}`;
  const refuse = (message: string): never => {
    throw new PortError('EINVAL', message);
  };
  const bytes = Buffer.byteLength(o.name);
  if (bytes > IFNAME_BYTES_MAX) refuse(`${kind}: interface name "${o.name}" has ${bytes} bytes, it may have ${IFNAME_BYTES_MAX}`);
  if (/[\s/:%]/.test(o.name) || o.name === '.' || o.name === '..')
    refuse(`${kind}: interface name "${o.name}" has a character that no interface name may have`);
  if (!(o.frames >= 64 && Number.isInteger(o.frames))) refuse(`${at}: frames ${o.frames} is not an integer of at least 64`);
  if (!(o.frameBytes >= FRAME_BYTES_MIN && o.frameBytes <= FRAME_BYTES_MAX && o.frameBytes % 64 === 0))
    refuse(`${at}: frameBytes ${o.frameBytes} is not a multiple of 64 in ${FRAME_BYTES_MIN}..${FRAME_BYTES_MAX}`);
  if (o.frames * o.frameBytes > REGION_BYTES_MAX)
    refuse(`${at}: ${o.frames} frames of ${o.frameBytes} bytes exceed a region's ${REGION_BYTES_MAX} bytes`);
  const most = o.frameBytes - HEADROOM - LINK_HEADER;
  if (!(o.mtu >= 576 && o.mtu <= most))
    refuse(`${at}: mtu ${o.mtu} is not in 576..${most}, what a frame of ${o.frameBytes} bytes holds; use larger frames`);
}

/** Throws PortError when `queues` queues cannot be, or cannot share the frames. */
export function checkQueues(kind: string, o: DeviceOptions, queues: number): void {
  if (!(queues >= 1 && queues <= MAX_WORKERS && Number.isInteger(queues)))
    throw new PortError('EINVAL', `${kind}:${o.name}: queues ${queues} is not an integer in 1..${MAX_WORKERS}`);
  if (Math.floor(o.frames / queues) < 64)
    throw new PortError('EINVAL', `${kind}:${o.name}: ${o.frames} frames give ${queues} queues less than 64 each`);
}

/** The addon, or PortError FLOWRING_NO_ADDON that says why there is none. */
export function nativeFor(port: string): Native {
  const native = loadNative();
  if (native === null) throw new PortError('FLOWRING_NO_ADDON', `${port} needs the native addon: ${nativeProblem()}`);
  return native;
}

/**
 * Our address: the one asked for, or a random locally administered one. With `taken`, the kernel's own on this interface, any
 * other. Throws PortError.
 */
export function chooseMac(kind: string, o: DeviceOptions, taken: readonly [number, number] | null): readonly [number, number] {
  const same = (mac: readonly [number, number]): boolean => taken !== null && mac[0] === taken[0] && mac[1] === taken[1];
  if (o.mac !== undefined) {
    const mac = parseMac(o.mac);
    if (mac === null || ((mac[0] >>> 24) & 1) !== 0)
      throw new PortError('EINVAL', `${kind}:${o.name}: mac "${o.mac}" is no unicast address of the form 02:00:00:00:00:01`);
    if (same(mac))
      throw new PortError(
        'EADDRINUSE',
        `${kind}:${o.name}: mac ${formatMac(mac[0], mac[1])} is the kernel's own on this interface; the two ends of a link need different ones`,
      );
    return mac;
  }
  for (;;) {
    const b = randomBytes(6);
    b[0] = (b[0]! & 0xfc) | 0x02;
    const mac: [number, number] = [b.readInt32BE(0), b.readUInt16BE(4)];
    if (!same(mac)) return mac;
  }
}

export interface QueueFacts {
  kind: string;
  name: string;
  mac: readonly [number, number];
  caps: PortCaps;
}

/** Region, frame table, and an attachment for each open queue; each starts with an equal share of the frames. */
export function makeQueues(native: Native, o: DeviceOptions, facts: QueueFacts, handles: readonly number[]): PortAttachment[] {
  const region = native.createRegion({ bytes: o.frames * o.frameBytes, kind: 'anonymous' });
  const table = createFrameTable(region.id, o.frames, o.frameBytes);
  const share = Math.floor(o.frames / handles.length);
  return handles.map((handle, q) => {
    const frameFirst = q * share;
    const frameCount = q === handles.length - 1 ? o.frames - frameFirst : share;
    // Room for all frames: what another queue received may come home here.
    const block = new SharedArrayBuffer((P_STACK + o.frames) * 4);
    const words = new Int32Array(block);
    // The lowest frame on top: a quiet queue keeps using the same few, which stay in the cache.
    for (let i = 0; i < frameCount; i++) words[P_STACK + i] = frameFirst + frameCount - 1 - i;
    words[P_FREE] = frameCount;
    words[P_HOST] = q << OWNER_HOST_SHIFT;
    return {
      kind: facts.kind,
      name: facts.name,
      macHi: facts.mac[0],
      macLo: facts.mac[1],
      caps: facts.caps,
      region: region.id,
      memory: region.memory,
      table,
      frameFirst,
      frameCount,
      host: q,
      own: { handle, block, txBlock: new SharedArrayBuffer((P_STACK + o.frames) * 4) } satisfies DeviceOwn,
    };
  });
}

interface Attached {
  raw: AttachedPort;
  /** Memory ids, released when it lets go. */
  ids: readonly number[];
  native: Native;
}

function attach(a: PortAttachment, native: Native, frames: FrameTable, block: SharedArrayBuffer, half: number): Attached {
  const ids = [frames.u8, new Uint8Array(a.table), new Uint8Array(block)].map((v) => native.registerMemory(v));
  return { raw: native.attachPort((a.own as DeviceOwn).handle, ids[0]!, ids[1]!, ids[2]!, half), ids, native };
}

function letGo(t: Attached): void {
  t.raw.detach();
  for (const id of t.ids) t.native.releaseMemory(id);
}

/** What native code last saw wrong with the interface of any queue, in words; empty when nothing is. */
export function linkTrouble(queues: readonly PortAttachment[]): string {
  for (const q of queues) {
    const { block, txBlock } = q.own as DeviceOwn;
    const seen = Atomics.load(new Int32Array(block), P_LINK) || Atomics.load(new Int32Array(txBlock), P_LINK);
    if (seen !== 0) return `${q.name}: the interface is ${seen === constants.errno.ENODEV ? 'gone' : 'down'}`;
  }
  return '';
}

class DevicePort implements Port {
  readonly kind: string;
  readonly caps: PortCaps;
  readonly frames: FrameTable;
  readonly drops: Int32Array;
  private readonly raw: AttachedPort;
  private readonly words: Int32Array;
  private readonly attached: Attached;

  constructor(a: PortAttachment, native: Native, sends: boolean) {
    const { block } = a.own as DeviceOwn;
    this.kind = a.kind;
    this.caps = a.caps;
    this.frames = new FrameTable(a.table, a.memory, a.host);
    this.words = new Int32Array(block);
    this.drops = new Int32Array(block, P_DROPS * 4, DROP_REASONS);
    this.attached = attach(a, native, this.frames, block, sends ? HALF_BOTH : HALF_RX);
    this.raw = this.attached.raw;
    this.inherit();
  }

  /**
   * The broker before this one may have died at any instant: a frame on the stack that is not free was being taken or brought
   * home; it, and whatever else was in that broker's hands, comes home now. The first broker finds nothing to do.
   */
  private inherit(): void {
    const { words, frames } = this;
    let n = 0;
    for (let i = 0; i < words[P_FREE]!; i++) {
      const f = words[P_STACK + i]!;
      if (frames.owner[f] === OWNER_FREE) words[P_STACK + n++] = f;
    }
    words[P_FREE] = n;
    sweepHost(frames, (f) => this.free(f));
  }

  // hot: per burst
  rxBurst(desc: Int32Array, at: number, max: number): number {
    return this.raw.rxBurst(desc, at, max);
  }

  // hot: per burst
  txBurst(desc: Int32Array, at: number, n: number): number {
    return n === 0 ? 0 : this.raw.txBurst(desc, at, n);
  }

  // hot: per burst
  alloc(into: Int32Array, at: number, max: number): number {
    const words = this.words;
    const free = words[P_FREE]!;
    const n = max < free ? max : free;
    const owner = this.frames.owner;
    const mine = OWNER_BROKER | this.frames.hostBits;
    // Ours before they leave the stack, and on the stack before they are free: no instant in which a frame is free and on no list.
    for (let i = 0; i < n; i++) {
      const f = words[P_STACK + free - 1 - i]!;
      owner[f] = mine;
      into[at + i] = f;
    }
    words[P_FREE] = free - n;
    return n;
  }

  // hot: per packet
  free(frameId: number): void {
    const words = this.words;
    const free = words[P_FREE]!;
    words[P_STACK + free] = frameId;
    words[P_FREE] = free + 1;
    markFree(this.frames, frameId);
  }

  available(): number {
    return this.words[P_FREE]!;
  }

  /** Nothing to do but frames: what is sent is gone, and comes home in the same call. */
  tick(_nowUs: number): void {}

  hasDeadline(): boolean {
    return false;
  }

  deadlineUs(): number {
    return 0;
  }

  /** Nothing is held back: every burst ends in the kernel. */
  flush(): void {}

  /** The last look also finds out what the device lost: that is news to be counted before the thread sleeps. */
  pending(): boolean {
    return this.raw.wait(-1, 0) === 1 || this.drops[DROP_DEVICE_RING] !== 0;
  }

  wait(bellFd: number, ms: number): void {
    this.raw.wait(bellFd, ms);
  }

  watch(bellFd: number, wake: () => void): Watch | null {
    return this.raw.watch(bellFd, wake);
  }

  held(): number {
    return 0;
  }

  detach(): void {
    letGo(this.attached);
  }
}

class DeviceTxPort implements TxPort {
  readonly frames: FrameTable;
  readonly drops: Int32Array;
  private readonly words: Int32Array;
  private readonly attached: Attached;

  constructor(a: PortAttachment, native: Native) {
    const { txBlock } = a.own as DeviceOwn;
    this.frames = new FrameTable(a.table, a.memory, a.host);
    this.words = new Int32Array(txBlock);
    this.drops = new Int32Array(txBlock, P_DROPS * 4, DROP_REASONS);
    this.attached = attach(a, native, this.frames, txBlock, HALF_TX);
  }

  // hot: per burst
  txBurst(desc: Int32Array, at: number, n: number): number {
    return n === 0 ? 0 : this.attached.raw.txBurst(desc, at, n);
  }

  // hot: per burst
  /** Native code has put them on this half's stack: marked free, but on no list of the broker's until it has them. */
  sent(into: Int32Array, at: number, max: number): number {
    const words = this.words;
    const free = words[P_FREE]!;
    const n = max < free ? max : free;
    for (let i = 0; i < n; i++) into[at + i] = words[P_STACK + free - 1 - i]!;
    words[P_FREE] = free - n;
    return n;
  }

  /** The device takes every frame away by itself: nothing is copied. */
  wants(): number {
    return 0;
  }

  lend(_frameId: number): void {}

  tick(_nowUs: number): void {}

  flush(): void {}

  pending(): boolean {
    return false;
  }

  detach(): void {
    letGo(this.attached);
  }
}

/**
 * The broker thread's side, without the sending half when `sends` is false. Throws Error (code EINVAL) when the port is closed or
 * attached elsewhere.
 */
export function attachDevice(attachment: PortAttachment, native: Native, sends = true): Port {
  return new DevicePort(attachment, native, sends);
}

/** The sending half alone. Throws as attachDevice does. */
export function attachDeviceTx(attachment: PortAttachment, native: Native): TxPort {
  return new DeviceTxPort(attachment, native);
}
