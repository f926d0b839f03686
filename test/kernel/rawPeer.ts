/**
 * The least that can talk to the kernel over a port: answers ARP, echoes what it is told to, speaks one TCP connection without
 * retransmission. It tests the port and the bursts, not the stack: nothing of src/stack is used.
 */
import { createNativeBursts, loadNative } from '../../src/ports/native.ts';
import type { Port } from '../../src/ports/port.ts';
import type { Bursts } from '../../src/rings/bursts.ts';
import * as L from '../../src/rings/layout.ts';
import { fold, pseudoSum4 } from '../../src/wire/checksum.ts';
import { setEthernet } from '../../src/wire/ethernet.ts';
import { setIpv4 } from '../../src/wire/ipv4.ts';
import { ACK, FIN, PSH, SYN } from '../../src/wire/tcp.ts';

const BURST = 16;
const AT = 64;
const TX_AT = 2048;
const OUT_AT = 4096;

export class RawPeer {
  readonly port: Port;
  readonly bursts: Bursts;
  readonly words: Int32Array;
  private readonly arena: SharedArrayBuffer;
  private readonly ids = new Int32Array(64);
  private readonly macHi: number;
  private readonly macLo: number;
  private readonly ip: number;
  private readonly peerIp: number;
  private peerHi = 0;
  private peerLo = 0;
  private ident = 1;
  /** WORK_* bits to run before sending. */
  work = 0;
  /** Descriptors of good IPv4 frames as they came, and their flags and segment counts. */
  readonly seen: { flags: number; total: number; segs: number; gso: number; proto: number }[] = [];
  // TCP
  rcvNxt = 0;
  sndNxt = 0;
  sndUna = 0;
  state = 'closed';
  remotePort = 0;
  localPort = 0;
  doff = 20;
  readonly received: Buffer[] = [];

  constructor(port: Port, mac: readonly [number, number], ip: number, peerIp: number) {
    this.port = port;
    [this.macHi, this.macLo] = mac;
    this.ip = ip;
    this.peerIp = peerIp;
    this.arena = new SharedArrayBuffer(65536 * 4);
    this.words = new Int32Array(this.arena);
    this.bursts = createNativeBursts(loadNative()!, port.frames, this.arena);
  }

  /** One burst in, answers out. Returns how many frames came. */
  poll(): number {
    const n = this.port.rxBurst(this.words, AT, BURST);
    const kept = this.bursts.inspect(AT, n, 0);
    for (let i = 0; i < kept; i++) this.input(AT + i * L.DESC_WORDS);
    return n;
  }

  /** Polls and lets the event loop run, until `done` or `ms` passed. */
  async run(done: () => boolean, ms = 5000): Promise<void> {
    const end = Date.now() + ms;
    while (!done()) {
      if (Date.now() > end)
        throw new Error(`nothing after ${ms} ms: state ${this.state}, ${this.seen.length} frames seen, drops ${this.port.drops}`);
      if (this.poll() === 0) this.port.wait(-1, 1);
      await new Promise((r) => setImmediate(r));
    }
  }

  private freeAll(d: number): void {
    for (let f = this.words[d + L.D_FRAME]!; f !== -1; ) {
      const next = this.port.frames.next[f]!;
      this.port.free(f);
      f = next;
    }
  }

  private input(d: number): void {
    const w = this.words;
    const v = this.port.frames.view;
    const flags = w[d + L.D_FLAGS_GSO]! & 0xffff;
    const eth = this.port.frames.offset[w[d]!]! + (w[d + L.D_DATA]! >>> 16);
    const l4 = eth + (w[d + L.D_OFFSETS]! >>> 16);
    if ((flags & L.F_BAD) === 0 && v.getUint16(eth + 12) === 0x0806) this.arp(eth);
    else if ((flags & (L.F_TCP | L.F_UDP | L.F_ICMP | L.F_BAD)) !== 0 && v.getUint16(eth + 12) === 0x0800) {
      this.seen.push({
        flags,
        total: w[d + L.D_TOTAL]!,
        segs: w[d + L.D_SEGS_VLAN]! & 0xffff,
        gso: w[d + L.D_FLAGS_GSO]! >>> 16,
        proto: v.getUint8(eth + 23),
      });
      if ((flags & L.F_BAD) === 0 && (flags & L.F_UDP) !== 0) this.udpEcho(l4);
      if ((flags & L.F_BAD) === 0 && (flags & L.F_TCP) !== 0) this.tcp(d, eth, l4);
    }
    this.freeAll(d);
  }

  private take(): number {
    if (this.port.alloc(this.ids, 0, 1) !== 1) throw new Error('no free frame');
    const f = this.ids[0]!;
    this.port.frames.owner[f] = L.OWNER_BROKER;
    this.port.frames.next[f] = -1;
    return f;
  }

  private send(f: number, linear: number, total: number, l4: number, flags: number, gso: number, segs: number): void {
    const w = this.words;
    const t = this.port.frames;
    t.length[f] = linear;
    w.set(
      [
        f,
        (L.HEADROOM << 16) | linear,
        total,
        (t.region << 16) | (t.generation[f]! & 0xffff),
        (l4 << 16) | (14 << 8),
        (gso << 16) | flags,
        segs,
        0,
      ],
      TX_AT,
    );
    const n = this.bursts.emit(TX_AT, 1, 0, 0, this.work, OUT_AT);
    const sent = this.port.txBurst(w, OUT_AT, n);
    if (sent !== n) throw new Error(`sent ${sent} of ${n}`);
  }

  private arp(eth: number): void {
    const v = this.port.frames.view;
    if (v.getUint16(eth + 20) !== 1 || v.getInt32(eth + 38) !== this.ip) return;
    this.peerHi = v.getInt32(eth + 22);
    this.peerLo = v.getUint16(eth + 26);
    const f = this.take();
    const to = this.port.frames.offset[f]! + L.HEADROOM;
    this.port.frames.u8.copyWithin(to, eth, eth + 42);
    setEthernet(v, to, this.peerHi, this.peerLo, this.macHi, this.macLo, 0x0806);
    v.setUint16(to + 20, 2);
    v.setInt32(to + 22, this.macHi);
    v.setUint16(to + 26, this.macLo);
    v.setInt32(to + 28, this.ip);
    v.setInt32(to + 32, this.peerHi);
    v.setUint16(to + 36, this.peerLo);
    v.setInt32(to + 38, this.peerIp);
    this.send(f, 42, 42, 0, 0, 0, 1);
  }

  private udpEcho(l4: number): void {
    const t = this.port.frames;
    const v = t.view;
    const len = v.getUint16(l4 + 4);
    const f = this.take();
    const eth = t.offset[f]! + L.HEADROOM;
    setEthernet(v, eth, this.peerHi, this.peerLo, this.macHi, this.macLo, 0x0800);
    setIpv4(v, eth + 14, 20 + len, this.ident++, 17, this.ip, this.peerIp);
    t.u8.copyWithin(eth + 34, l4, l4 + len);
    v.setUint16(eth + 34, v.getUint16(l4 + 2));
    v.setUint16(eth + 36, v.getUint16(l4));
    v.setUint16(eth + 40, fold(pseudoSum4(this.ip, this.peerIp, 17, len)));
    this.send(f, 34 + len, 34 + len, 34, L.F_CSUM_PARTIAL | L.F_UDP, 0, 1);
  }

  /** Opens a connection to the kernel. `mss` is what we say we take. */
  connect(localPort: number, remotePort: number, mss: number): void {
    this.localPort = localPort;
    this.remotePort = remotePort;
    this.sndNxt = 1000;
    this.state = 'syn-sent';
    this.received.length = 0;
    // The kernel knows us by now or asks; we take its address from its question.
    this.segment(SYN, new Uint8Array(0), mss, 1460);
    this.sndNxt++;
  }

  /** Sends `data` as one train of `gso`-byte segments, or one segment. */
  write(data: Uint8Array, gso: number): void {
    this.segment(ACK | PSH, data, 0, gso);
    this.sndNxt = (this.sndNxt + data.length) | 0;
  }

  finish(): void {
    this.segment(ACK | FIN, new Uint8Array(0), 0, 1460);
    this.sndNxt = (this.sndNxt + 1) | 0;
  }

  private segment(flags: number, data: Uint8Array, mss: number, gso: number): void {
    const t = this.port.frames;
    const v = t.view;
    const options = mss > 0 ? 8 : 0;
    const hdr = 54 + options;
    const first = this.take();
    const eth = t.offset[first]! + L.HEADROOM;
    setEthernet(v, eth, this.peerHi, this.peerLo, this.macHi, this.macLo, 0x0800);
    setIpv4(v, eth + 14, 40 + options + data.length, this.ident++, 6, this.ip, this.peerIp);
    const tcp = eth + 34;
    v.setUint16(tcp, this.localPort);
    v.setUint16(tcp + 2, this.remotePort);
    v.setInt32(tcp + 4, this.sndNxt);
    v.setInt32(tcp + 8, this.rcvNxt);
    v.setUint8(tcp + 12, ((20 + options) >> 2) << 4);
    v.setUint8(tcp + 13, flags);
    v.setUint16(tcp + 14, 65535);
    v.setUint16(tcp + 18, 0);
    if (mss > 0) {
      v.setInt32(tcp + 20, 0x02040000 | mss);
      // No operation, window scale 7.
      v.setInt32(tcp + 24, 0x01030307);
    }
    v.setUint16(tcp + 16, fold(pseudoSum4(this.ip, this.peerIp, 6, 20 + options + data.length)));
    let segs = 0;
    let last = first;
    let linear = hdr;
    for (let done = 0; done < data.length || segs === 0; segs++) {
      const part = data.subarray(done, done + gso);
      const f = segs === 0 ? first : this.take();
      t.u8.set(part, t.offset[f]! + L.HEADROOM + hdr);
      if (segs === 0) linear = hdr + part.length;
      else {
        t.next[last] = f;
        t.length[f] = part.length;
      }
      last = f;
      done += part.length;
    }
    const train = segs > 1 ? L.F_TRAIN : 0;
    this.send(first, linear, hdr + data.length, 34, L.F_CSUM_PARTIAL | L.F_TCP | train, segs > 1 ? gso : 0, segs);
  }

  private tcp(d: number, eth: number, l4: number): void {
    const w = this.words;
    const t = this.port.frames;
    const v = t.view;
    if (v.getUint16(l4 + 2) !== this.localPort) return;
    const flags = v.getUint8(l4 + 13);
    const doff = (v.getUint8(l4 + 12) >> 4) << 2;
    if ((flags & 4) !== 0) this.state = 'reset';
    if ((flags & SYN) !== 0) {
      this.rcvNxt = (v.getInt32(l4 + 4) + 1) | 0;
      this.sndUna = v.getInt32(l4 + 8);
      this.state = 'open';
      this.segment(ACK, new Uint8Array(0), 0, 1460);
      return;
    }
    this.sndUna = v.getInt32(l4 + 8);
    const hdr = l4 - eth + doff;
    const length = w[d + L.D_TOTAL]! - hdr;
    const fin = (flags & FIN) !== 0 ? 1 : 0;
    if (length === 0 && fin === 0) return;
    if (v.getInt32(l4 + 4) === this.rcvNxt) {
      for (let f = w[d]!; f !== -1; f = t.next[f]!) {
        const n = f === w[d]! ? (w[d + L.D_DATA]! & 0xffff) - hdr : t.length[f]!;
        const at = t.offset[f]! + (w[d + L.D_DATA]! >>> 16) + hdr;
        this.received.push(Buffer.from(t.u8.slice(at, at + n)));
      }
      this.rcvNxt = (this.rcvNxt + length + fin) | 0;
      if (fin === 1) this.state = 'finished';
    }
    this.segment(ACK, new Uint8Array(0), 0, 1460);
  }
}
