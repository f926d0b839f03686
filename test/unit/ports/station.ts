/** A broker of one switch port for tests: makes TCP frames with a numbered payload, and checks what arrives. */
import { attachSwitchPort } from '../../../src/ports/switchPort.ts';
import type { SwitchPort } from '../../../src/ports/switchPort.ts';
import type { PortAttachment } from '../../../src/ports/port.ts';
import {
  D_DATA,
  D_FLAGS_GSO,
  D_FRAME,
  D_HASH,
  D_OFFSETS,
  D_REGION_GEN,
  D_SEGS_VLAN,
  D_TOTAL,
  DESC_WORDS,
  F_CSUM_OK,
  F_CSUM_PARTIAL,
  F_IPCSUM_OK,
  F_PARSED,
  F_TCP,
  F_TRAIN,
  F_TX,
  OWNER_BROKER,
  OWNER_RING,
} from '../../../src/rings/layout.ts';
import { fold, pseudoSum4 } from '../../../src/wire/checksum.ts';
import { setEthernet } from '../../../src/wire/ethernet.ts';
import { PROTO_TCP, setIpv4 } from '../../../src/wire/ipv4.ts';

/** Ethernet, IPv4 and TCP without options. */
export const HEADERS = 54;

export interface Received {
  sequence: number;
  intact: boolean;
  flags: number;
  total: number;
  links: number;
}

export class Station {
  readonly port: SwitchPort;
  readonly macHi: number;
  readonly macLo: number;
  readonly desc = new Int32Array(64 * DESC_WORDS);
  private readonly one = new Int32Array(64);
  received = 0;

  constructor(a: PortAttachment) {
    this.port = attachSwitchPort(a);
    this.macHi = a.macHi;
    this.macLo = a.macLo;
  }

  /** The bytes of frame number `sequence`: payload byte i of it. */
  static byte(sequence: number, i: number): number {
    return ((Math.imul(sequence + 1, 0x9e3779b1) >>> 13) + i * 7) & 0xff;
  }

  /** Builds a frame of `payload` bytes at descriptor `d`, a train when gsoSize is given. False without frames. */
  build(d: number, toHi: number, toLo: number, sequence: number, payload: number, gsoSize = 0): boolean {
    const t = this.port.frames;
    const links = gsoSize > 0 ? Math.max(1, Math.ceil(payload / gsoSize)) : 1;
    if (this.port.alloc(this.one, 0, links) !== links) {
      // Fewer than asked for: all come back.
      return false;
    }
    const first = this.one[0]!;
    const eth = t.offset[first]! + t.headroom;
    setEthernet(t.view, eth, toHi, toLo, this.macHi, this.macLo, 0x0800);
    setIpv4(t.view, eth + 14, 40 + payload, sequence, PROTO_TCP, 0xc0000201 | 0, 0xc0000202 | 0);
    const tcp = eth + 34;
    for (let i = 0; i < 20; i++) t.view.setUint8(tcp + i, 0);
    t.view.setUint16(tcp, 4000);
    t.view.setUint16(tcp + 2, 80);
    t.view.setInt32(tcp + 4, sequence);
    t.view.setUint8(tcp + 12, 0x50);
    t.view.setUint8(tcp + 13, 0x10);
    t.view.setUint16(tcp + 16, fold(pseudoSum4(0xc0000201 | 0, 0xc0000202 | 0, PROTO_TCP, 20 + payload)));
    for (let k = 0; k < links; k++) {
      const f = this.one[k]!;
      const from = k * gsoSize;
      const bytes = links === 1 ? payload : Math.min(gsoSize, payload - from);
      const at = t.offset[f]! + t.headroom + HEADERS;
      for (let i = 0; i < bytes; i++) t.u8[at + i] = Station.byte(sequence, from + i);
      t.owner[f] = OWNER_RING;
      t.length[f] = k === 0 ? HEADERS + bytes : bytes;
      t.next[f] = k + 1 < links ? this.one[k + 1]! : -1;
    }
    const w = this.desc;
    w[d + D_FRAME] = first;
    w[d + D_DATA] = (t.headroom << 16) | t.length[first]!;
    w[d + D_TOTAL] = HEADERS + payload;
    w[d + D_REGION_GEN] = (t.region << 16) | t.generation[first]!;
    w[d + D_OFFSETS] = (34 << 16) | (14 << 8);
    w[d + D_FLAGS_GSO] = ((links > 1 ? gsoSize : 0) << 16) | F_CSUM_PARTIAL | F_TX | F_TCP | F_PARSED | (links > 1 ? F_TRAIN : 0);
    w[d + D_SEGS_VLAN] = links;
    w[d + D_HASH] = 7;
    return true;
  }

  /** Builds and sends one frame; 1 sent, 0 the receiver's ring is full (the frame came back), -1 no frames. */
  send(to: { macHi: number; macLo: number }, sequence: number, payload = 64, gsoSize = 0): number {
    if (!this.build(0, to.macHi, to.macLo, sequence, payload, gsoSize)) return -1;
    const n = this.port.txBurst(this.desc, 0, 1);
    if (n === 0) this.port.freeTrain(this.desc[D_FRAME]!);
    return n;
  }

  /** Receives up to `max` frames, checks them byte for byte, gives them back. */
  receive(max = 16): Received[] {
    const t = this.port.frames;
    const n = this.port.rxBurst(this.desc, 0, max);
    const out: Received[] = [];
    for (let i = 0; i < n; i++) {
      const d = i * DESC_WORDS;
      const data = this.desc[d + D_DATA]!;
      const first = this.desc[d + D_FRAME]!;
      const sequence = t.view.getInt32(t.offset[first]! + (data >>> 16) + 38);
      let intact = true;
      let links = 0;
      let position = 0;
      for (let f = first; f >= 0; f = t.next[f]!) {
        if (t.owner[f] !== (OWNER_BROKER | t.hostBits)) intact = false;
        const start = links === 0 ? (data >>> 16) + HEADERS : t.headroom + HEADERS;
        const bytes = links === 0 ? (data & 0xffff) - HEADERS : t.length[f]!;
        for (let k = 0; k < bytes; k++) if (t.u8[t.offset[f]! + start + k] !== Station.byte(sequence, position + k)) intact = false;
        position += bytes;
        links++;
      }
      if (position + HEADERS !== this.desc[d + D_TOTAL]!) intact = false;
      out.push({ sequence, intact, flags: this.desc[d + D_FLAGS_GSO]! & 0xffff, total: this.desc[d + D_TOTAL]!, links });
      this.port.freeTrain(first);
    }
    this.received += n;
    return out;
  }
}

export const VOUCHED = F_CSUM_OK | F_IPCSUM_OK;
/** Broadcast, as an address to send to. */
export const EVERYBODY = { macHi: -1, macLo: 0xffff };
