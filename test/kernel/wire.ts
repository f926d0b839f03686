/** One end of a link by a packet port: sends bytes as they are, and says what came, queue by queue. */
import { setTimeout as later } from 'node:timers/promises';
import { attachDevice } from '../../src/ports/device.ts';
import { loadNative } from '../../src/ports/native.ts';
import type { Port, PortHandle } from '../../src/ports/port.ts';
import { DROP_DEVICE_RING } from '../../src/rings/drops.ts';
import * as L from '../../src/rings/layout.ts';
import { hashModulo } from '../../src/rings/steering.ts';
import { fold, pseudoSum4, sum16 } from '../../src/wire/checksum.ts';
import { setEthernet } from '../../src/wire/ethernet.ts';
import { Classified, classify } from '../../src/wire/flow.ts';
import { parseIpv4, setIpv4 } from '../../src/wire/ipv4.ts';

export class Received {
  readonly bytes: Buffer;
  readonly flags: number;

  constructor(bytes: Buffer, flags: number) {
    this.bytes = bytes;
    this.flags = flags;
  }

  /** The queue of `n` that this flow belongs to. */
  modulo(n: number): number {
    const seen = new Classified();
    classify(new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length), 0, this.bytes.length, seen);
    return hashModulo(seen.hash, n);
  }
}

export class Wire {
  readonly handle: PortHandle;
  readonly queues: readonly Port[];
  readonly words = new Int32Array(256 * L.DESC_WORDS);
  readonly mac: readonly [number, number];
  private readonly ids = new Int32Array(256);

  constructor(handle: PortHandle) {
    this.handle = handle;
    this.queues = handle.queues.map((q) => attachDevice(q, loadNative()!));
    this.mac = [handle.attachment.macHi, handle.attachment.macLo];
  }

  get port(): Port {
    return this.queues[0]!;
  }

  /** Frames with these bytes, their descriptors at word 0; their ids. */
  prepare(all: readonly Buffer[]): number[] {
    const { port, words } = this;
    const t = port.frames;
    if (port.alloc(this.ids, 0, all.length) !== all.length) throw new Error('no free frame');
    return all.map((bytes, i) => {
      const f = this.ids[i]!;
      t.owner[f] = L.OWNER_BROKER;
      t.next[f] = -1;
      t.length[f] = bytes.length;
      t.u8.set(bytes, t.offset[f]! + t.headroom);
      const generation = (t.region << 16) | (t.generation[f]! & 0xffff);
      words.set([f, (t.headroom << 16) | bytes.length, bytes.length, generation, 14 << 8, L.F_TX, 1, 0], i * L.DESC_WORDS);
      return f;
    });
  }

  send(all: readonly Buffer[]): void {
    this.prepare(all);
    const sent = this.port.txBurst(this.words, 0, all.length);
    if (sent !== all.length) throw new Error(`sent ${sent} of ${all.length}`);
  }

  /** All that is there. */
  poll(queue = 0): Received[] {
    const port = this.queues[queue]!;
    const t = port.frames;
    const out: Received[] = [];
    for (let n = port.rxBurst(this.words, 0, 16); n > 0; n = port.rxBurst(this.words, 0, 16))
      for (let i = 0; i < n; i++) {
        const d = i * L.DESC_WORDS;
        const f = this.words[d]!;
        const at = t.offset[f]! + (this.words[d + L.D_DATA]! >>> 16);
        out.push(
          new Received(Buffer.from(t.u8.slice(at, at + (this.words[d + L.D_DATA]! & 0xffff))), this.words[d + L.D_FLAGS_GSO]! & 0xffff),
        );
        if (f < this.handle.queues[queue]!.frameFirst || f >= this.handle.queues[queue]!.frameFirst + this.handle.queues[queue]!.frameCount)
          throw new Error(`frame ${f} is not of queue ${queue}`);
        port.free(f);
      }
    return out;
  }

  /** `n` frames of queue 0; throws when they do not come within a second. */
  receive(n: number): Received[] {
    const out: Received[] = [];
    for (let i = 0; i < 200 && out.length < n; i++) {
      out.push(...this.poll());
      if (out.length < n) this.port.wait(-1, 5);
    }
    if (out.length !== n) throw new Error(`${out.length} frames came, not ${n}; drops ${this.port.drops}`);
    return out;
  }

  /** What comes to each queue until they are `n` in all, with what the ring lost, or a second has passed. */
  async collect(n: number): Promise<Received[][]> {
    const out: Received[][] = this.queues.map(() => []);
    const all = (): number => out.flat().length + this.queues.reduce((sum, q) => sum + q.drops[DROP_DEVICE_RING]!, 0);
    for (let i = 0; i < 100 && all() < n; i++) {
      await later(10);
      for (const [q, port] of this.queues.entries()) {
        out[q]!.push(...this.poll(q));
        port.pending();
      }
    }
    return out;
  }

  close(): void {
    for (const q of this.queues) q.detach();
    this.handle.close();
  }
}

export interface Datagram {
  payload: Uint8Array;
  source?: number;
  target?: number;
  /** False: the field is zero, none was made (RFC 768). */
  checksum?: boolean;
}

/** An UDP datagram in a frame of its own, finished. */
export function udpFrame(from: { mac: readonly [number, number] }, to: { mac: readonly [number, number] }, d: Datagram): Buffer {
  const [src, dst] = [parseIpv4('192.0.2.7')!, parseIpv4('192.0.2.9')!];
  const length = 8 + d.payload.length;
  const out = Buffer.alloc(34 + length);
  const v = new DataView(out.buffer, out.byteOffset, out.length);
  setEthernet(v, 0, to.mac[0], to.mac[1], from.mac[0], from.mac[1], 0x0800);
  setIpv4(v, 14, 20 + length, 1, 17, src, dst);
  v.setUint16(34, d.source ?? 4000);
  v.setUint16(36, d.target ?? 5000);
  v.setUint16(38, length);
  out.set(d.payload, 42);
  if (d.checksum !== false) v.setUint16(40, ~fold(pseudoSum4(src, dst, 17, length) + fold(sum16(v, 34, length, 0))) & 0xffff);
  return out;
}
