/** A host alone on a bench: frames of its own, a clock in the test's hand, everything it sends written down. */
import { COUNTERS_BYTES, Counters } from '../../../src/rings/counters.ts';
import { createFrameTable, FrameTable } from '../../../src/rings/frameTable.ts';
import { HOST_STATE_BYTES, HostView } from '../../../src/rings/hostState.ts';
import { createHost, type Host, type HostOptions } from '../../../src/stack/host.ts';
import { parseMac } from '../../../src/wire/ethernet.ts';
import { parseIpv4 } from '../../../src/wire/ipv4.ts';

export const ip = (text: string): number => parseIpv4(text)!;
export const mac = (text: string): readonly [number, number] => parseMac(text)!;

/** The host under test: 192.0.2.2/24, 02:00:00:00:00:02, as the golden frames have it. */
export const OURS = '192.0.2.2';
export const OUR_MAC = '02:00:00:00:00:02';
export const PEER = '192.0.2.1';
export const PEER_MAC = '02:00:00:00:00:01';
const FRAMES = 8;

export interface Sent {
  hex: string;
  atMs: number;
}

export class HostRig {
  readonly host: Host;
  readonly view: HostView;
  readonly counters: Counters;
  readonly sent: Sent[] = [];
  /** takeFrame gives -1 while set. */
  starved = false;
  nowMs: number;
  private readonly frames: FrameTable;
  private readonly free: number[] = [];
  readonly block: SharedArrayBuffer;

  constructor(nowMs: number, options: Partial<HostOptions> = {}, tick = true) {
    this.nowMs = nowMs | 0;
    this.block = options.block ?? new SharedArrayBuffer(HOST_STATE_BYTES);
    this.frames = new FrameTable(createFrameTable(0, FRAMES, 2048), new SharedArrayBuffer(FRAMES * 2048));
    for (let f = 0; f < FRAMES; f++) this.free.push(f);
    this.counters = new Counters(new SharedArrayBuffer(COUNTERS_BYTES), 0);
    const [macHi, macLo] = mac(OUR_MAC);
    this.host = createHost({
      block: this.block,
      at: 0,
      address: ip(OURS),
      prefix: 24,
      gateway: 0,
      mtu: 1500,
      macHi,
      macLo,
      statics: [],
      counters: this.counters,
      frames: this.frames,
      random: () => 0x5eed,
      takeFrame: () => (this.starved ? -1 : (this.free.pop() ?? -1)),
      send: (f, lengthBytes) => {
        const at = this.frames.offset[f]! + this.frames.headroom;
        this.sent.push({ hex: Buffer.from(this.frames.u8.slice(at, at + lengthBytes)).toString('hex'), atMs: this.nowMs });
        this.free.push(f);
      },
      ...options,
    });
    this.view = new HostView(this.block, 0);
    if (tick) this.host.tick(this.nowMs);
  }

  /** Time passes, in steps; ticks after each. */
  pass(ms: number, stepMs = 10): void {
    for (let left = ms; left > 0; left -= stepMs) {
      this.nowMs = (this.nowMs + Math.min(left, stepMs)) | 0;
      this.host.tick(this.nowMs);
    }
  }

  /** Puts a frame at the very end of the memory, so that a read past it throws; returns where its Ethernet header is. */
  place(bytes: Uint8Array): number {
    const at = this.frames.u8.length - bytes.length;
    this.frames.u8.set(bytes, at);
    return at;
  }

  /** A frame arrives. */
  hear(bytes: Uint8Array): number {
    return this.host.input(this.place(bytes), bytes.length);
  }

  /** Frames sent since the last call. */
  take(): string[] {
    return this.sent.splice(0).map((s) => s.hex);
  }

  /** Frames not lying in the pool: must be 0 whenever the host is not running. */
  get missing(): number {
    return FRAMES - this.free.length;
  }

  /** State and MAC of a neighbour as workers see it. */
  sees(address: string): readonly [number, number, number] {
    const state = this.view.mac(ip(address));
    return [state, this.view.macHi, this.view.macLo];
  }
}

const hexMac = (text: string): string => text.replaceAll(':', '');
const hexIp = (text: string): string => (ip(text) >>> 0).toString(16).padStart(8, '0');
export const BROADCAST = 'ff:ff:ff:ff:ff:ff';
export const NOBODY = '00:00:00:00:00:00';

/** An ARP frame, written out (RFC 826). */
export function arpHex(oper: number, to: string, sha: string, spa: string, tha: string, tpa: string): string {
  return `${hexMac(to)}${hexMac(sha)}0806000108000604000${oper}${hexMac(sha)}${hexIp(spa)}${hexMac(tha)}${hexIp(tpa)}`;
}

export const requestHex = (sha: string, spa: string, tpa: string): string => arpHex(1, BROADCAST, sha, spa, NOBODY, tpa);
export const replyHex = (sha: string, spa: string, tha: string, tpa: string): string => arpHex(2, tha, sha, spa, tha, tpa);
