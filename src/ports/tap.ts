/**
 * Port `tap`: a TAP interface with virtio-net headers. The kernel is the peer; whole super-segments go both ways as trains,
 * L4 checksums stay partial while nothing leaves memory. Needs root (or CAP_NET_ADMIN, or an interface made for the user).
 *
 * The broker's thread and native code share one block (native/port.h): the stack of free frames and the drop counters.
 */
import { randomBytes } from 'node:crypto';
import { DROP_REASONS } from '../rings/drops.ts';
import { createFrameTable, FrameTable } from '../rings/frameTable.ts';
import { FRAME_BYTES_MAX, FRAME_BYTES_MIN, GENERATION_MASK, HEADROOM, OWNER_FREE, REGION_BYTES_MAX } from '../rings/layout.ts';
import { parseMac } from '../wire/ethernet.ts';
import { type AttachedPort, loadNative, type Native, nativeProblem, type OpenedPort } from './native.ts';
import type { Offload, Port, PortAttachment, PortCaps, PortHandle } from './port.ts';

export interface TapOptions {
  /**
   * Interface name, at most 15 bytes; empty for the first free tapN. It is attached to when it exists, else made, and a made
   * one goes away when the port closes.
   */
  name: string;
  /** Frames of the port's region, and bytes a frame (2,048 to 16,384, a multiple of 64). */
  frames: number;
  frameBytes: number;
  /** Bytes of IP datagram; a new interface gets it, an existing one keeps the smaller of the two. */
  mtu: number;
  /** Our address, "02:…"; a random locally administered one when left out. */
  mac?: string | undefined;
  /** Make a new interface multi-queue. An existing one is attached to either way. */
  multiQueue?: boolean | undefined;
  /** False: the virtio-net header stays, but the kernel finishes all it sends, and so does the stack. Default true. */
  offload?: boolean | undefined;
  /** Leave only checksums, or only trains, to the stack. Default: as `offload`. */
  checksum?: boolean | undefined;
  trains?: boolean | undefined;
}

interface TapOwn {
  handle: number;
  block: SharedArrayBuffer;
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
const TRAIN_BYTES_MAX = 65535 + 14;
const P_FREE = 0;
const P_DROPS = 16;
const P_STACK = 64;
const IFNAME_BYTES_MAX = 15;

function checkOptions(o: TapOptions): void {
  const refuse = (message: string): never => {
    throw new PortError('EINVAL', message);
  };
  const bytes = Buffer.byteLength(o.name);
  if (bytes > IFNAME_BYTES_MAX) refuse(`tap: interface name "${o.name}" has ${bytes} bytes, it may have ${IFNAME_BYTES_MAX}`);
  if (/[\s/:%]/.test(o.name) || o.name === '.' || o.name === '..')
    refuse(`tap: interface name "${o.name}" has a character that no interface name may have`);
  if (!(o.frames >= 64 && Number.isInteger(o.frames))) refuse(`tap:${o.name}: frames ${o.frames} is not an integer of at least 64`);
  if (!(o.frameBytes >= FRAME_BYTES_MIN && o.frameBytes <= FRAME_BYTES_MAX && o.frameBytes % 64 === 0))
    refuse(`tap:${o.name}: frameBytes ${o.frameBytes} is not a multiple of 64 in ${FRAME_BYTES_MIN}..${FRAME_BYTES_MAX}`);
  if (o.frames * o.frameBytes > REGION_BYTES_MAX)
    refuse(`tap:${o.name}: ${o.frames} frames of ${o.frameBytes} bytes exceed a region's ${REGION_BYTES_MAX} bytes`);
  const most = o.frameBytes - HEADROOM - LINK_HEADER;
  if (!(o.mtu >= 576 && o.mtu <= most))
    refuse(`tap:${o.name}: mtu ${o.mtu} is not in 576..${most}, what a frame of ${o.frameBytes} bytes holds; use larger frames`);
}

/** Our address: the one asked for, or a random locally administered one that is not the kernel's. */
function chooseMac(o: TapOptions, kernelMac: string): readonly [number, number] {
  const kernel = parseMac(kernelMac)!;
  if (o.mac !== undefined) {
    const mac = parseMac(o.mac);
    if (mac === null || ((mac[0] >>> 24) & 1) !== 0)
      throw new PortError('EINVAL', `tap:${o.name}: mac "${o.mac}" is no unicast address of the form 02:00:00:00:00:01`);
    if (mac[0] === kernel[0] && mac[1] === kernel[1])
      throw new PortError(
        'EADDRINUSE',
        `tap:${o.name}: mac ${o.mac} is the kernel's own on this interface; the two ends of a link need different ones`,
      );
    return mac;
  }
  for (;;) {
    const b = randomBytes(6);
    b[0] = (b[0]! & 0xfc) | 0x02;
    const hi = b.readInt32BE(0);
    const lo = b.readUInt16BE(4);
    if (hi !== kernel[0] || lo !== kernel[1]) return [hi, lo];
  }
}

function offloadsOf(o: TapOptions, opened: OpenedPort, caps: PortCaps): Offload[] {
  const off = opened.reason;
  const stackOr = (kernel: boolean): 'kernel' | 'stack' => (kernel ? 'kernel' : 'stack');
  const asked = (what: string, on: boolean): string => (on ? '' : off !== '' ? off : `switched off (${what})`);
  return [
    {
      name: 'rx-checksum',
      provider: opened.rxChecksum ? 'memory' : 'kernel',
      reason: opened.rxChecksum ? 'virtio-net NEEDS_CSUM: frames never left memory' : off,
    },
    { name: 'tx-checksum', provider: stackOr(caps.txChecksum), reason: asked('checksum: false', caps.txChecksum) },
    { name: 'gro', provider: stackOr(opened.tso), reason: opened.tso ? "the kernel's TSO: super-segments as trains" : off },
    { name: 'tso', provider: stackOr(caps.txTrains), reason: asked('trains: false', caps.txTrains) },
    { name: 'uso', provider: 'none', reason: 'datagram trains are not taken apart by this stack' },
    { name: 'tso6', provider: 'none', reason: 'no IPv6' },
    { name: 'rss', provider: 'stack', reason: 'one queue; the dispatcher hashes' },
    ...(opened.created || opened.mtu === o.mtu
      ? []
      : [
          {
            name: 'mtu',
            provider: 'kernel' as const,
            reason: `${o.name} exists with MTU ${opened.mtu}, which is kept; ${o.mtu} was asked for`,
          },
        ]),
  ];
}

/**
 * Opens `tap:NAME` in main. Never gives the kernel's side an address.
 * Throws PortError, or Error with `code` EPERM, EACCES, ENOENT, EBUSY, EINVAL …, whose text says what to do.
 */
export function openTap(o: TapOptions): PortHandle {
  checkOptions(o);
  const native = loadNative();
  if (native === null) throw new PortError('FLOWRING_NO_ADDON', `tap:${o.name} needs the native addon: ${nativeProblem()}`);
  const offload = o.offload ?? true;
  const checksum = o.checksum ?? offload;
  // A train that is cut by the kernel gets its checksums there too.
  const trains = (o.trains ?? offload) && checksum;
  const opened = native.openPort('tap', {
    name: o.name,
    multiQueue: o.multiQueue ?? false,
    offload: checksum || (o.trains ?? offload),
    mtu: o.mtu,
  });
  try {
    const [macHi, macLo] = chooseMac(o, opened.kernelMac);
    const region = native.createRegion({ bytes: o.frames * o.frameBytes, kind: 'anonymous' });
    const table = createFrameTable(region.id, o.frames, o.frameBytes);
    const block = new SharedArrayBuffer((P_STACK + o.frames) * 4);
    const words = new Int32Array(block);
    // The lowest frame on top: a quiet port keeps using the same few, which stay in the cache.
    for (let i = 0; i < o.frames; i++) words[P_STACK + i] = o.frames - 1 - i;
    words[P_FREE] = o.frames;
    const txTrains = trains && opened.tso;
    const caps: PortCaps = {
      txChecksum: checksum && opened.txChecksum,
      txTrains,
      txTrainBytesMax: txTrains ? TRAIN_BYTES_MAX : o.frameBytes - HEADROOM,
      mtu: opened.mtu,
      waitable: true,
    };
    const own: TapOwn = { handle: opened.handle, block };
    const attachment: PortAttachment = {
      kind: 'tap',
      name: `tap:${opened.name}`,
      macHi,
      macLo,
      caps,
      region: region.id,
      memory: region.memory,
      table,
      frameFirst: 0,
      frameCount: o.frames,
      own,
    };
    return { attachment, queues: [attachment], offloads: offloadsOf(o, opened, caps), close: () => native.closePort(opened.handle) };
  } catch (e) {
    native.closePort(opened.handle);
    throw e;
  }
}

class TapPort implements Port {
  readonly kind = 'tap';
  readonly caps: PortCaps;
  readonly frames: FrameTable;
  readonly drops: Int32Array;
  private readonly raw: AttachedPort;
  private readonly words: Int32Array;
  private readonly ids: readonly number[];
  private readonly native: Native;

  constructor(a: PortAttachment, native: Native) {
    const own = a.own as TapOwn;
    this.native = native;
    this.caps = a.caps;
    this.frames = new FrameTable(a.table, a.memory);
    this.words = new Int32Array(own.block);
    this.drops = new Int32Array(own.block, P_DROPS * 4, DROP_REASONS);
    const ids = [this.frames.u8, new Uint8Array(a.table), new Uint8Array(own.block)].map((v) => native.registerMemory(v));
    this.ids = ids;
    this.raw = native.attachPort(own.handle, ids[0]!, ids[1]!, ids[2]!);
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
    for (let i = 0; i < n; i++) into[at + i] = words[P_STACK + free - 1 - i]!;
    words[P_FREE] = free - n;
    return n;
  }

  // hot: per packet
  free(frameId: number): void {
    const t = this.frames;
    const words = this.words;
    const free = words[P_FREE]!;
    t.generation[frameId] = (t.generation[frameId]! + 1) & GENERATION_MASK;
    t.next[frameId] = -1;
    t.owner[frameId] = OWNER_FREE;
    words[P_STACK + free] = frameId;
    words[P_FREE] = free + 1;
  }

  available(): number {
    return this.words[P_FREE]!;
  }

  /** A TAP has no work but frames: what is written is gone, and comes home in the same call. */
  tick(_nowUs: number): void {}

  hasDeadline(): boolean {
    return false;
  }

  deadlineUs(): number {
    return 0;
  }

  /** Nothing is held back: every burst ends in the kernel. */
  flush(): void {}

  pending(): boolean {
    return this.raw.wait(-1, 0) === 1;
  }

  wait(bellFd: number, ms: number): void {
    this.raw.wait(bellFd, ms);
  }

  held(): number {
    return 0;
  }

  detach(): void {
    this.raw.detach();
    for (const id of this.ids) this.native.releaseMemory(id);
  }
}

/** The broker thread's side. Throws Error (code EINVAL) when the port is closed or attached elsewhere. */
export function attachTap(attachment: PortAttachment, native: Native): Port {
  return new TapPort(attachment, native);
}
