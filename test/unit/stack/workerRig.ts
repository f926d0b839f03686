/** One worker's environment on a bench: real rings with the broker's ends in the test's hand, and a host state it writes. */
import { createArena, SharedArena } from '../../../src/rings/arena.ts';
import { COUNTERS_BYTES, Counters } from '../../../src/rings/counters.ts';
import { auditFrames, createFrameTable, type FrameAudit, FrameTable } from '../../../src/rings/frameTable.ts';
import { HOST_STATE_BYTES, HostPublisher, HostView } from '../../../src/rings/hostState.ts';
import { D_DATA, D_FRAME, D_REGION_GEN, D_SEGS_VLAN, D_TOTAL, DESC_WORDS, OWNER_FREE } from '../../../src/rings/layout.ts';
import { OWNER_RING, OWNER_WORKER } from '../../../src/rings/layout.ts';
import { BrokerPort, createPortRings, planPortRings, WorkerPort } from '../../../src/rings/portRings.ts';
import { STEER_RETA, STEERING_BYTES, Steering } from '../../../src/rings/steering.ts';
import type { StackEnv } from '../../../src/stack/env.ts';
import { createTwinBursts } from '../../../src/wire/burst/twin.ts';
import { parseMac } from '../../../src/wire/ethernet.ts';
import { flowHash } from '../../../src/wire/flow.ts';
import { parseIpv4 } from '../../../src/wire/ipv4.ts';

export const ip = (text: string): number => parseIpv4(text)!;
export const mac = (text: string): readonly [number, number] => parseMac(text)!;
export const OURS = '192.0.2.2';
export const OUR_MAC = '02:00:00:00:00:02';
export const GATEWAY = '192.0.2.254';
const FRAMES = 160;
export const CREDIT = 128;

export class WorkerRig {
  readonly env: StackEnv;
  readonly frames: FrameTable;
  readonly port: WorkerPort;
  readonly broker: BrokerPort;
  readonly publisher: HostPublisher;
  readonly counters: Counters;
  readonly clock = new Int32Array(2);
  private readonly arena: SharedArena;

  constructor(nowMs = 0) {
    this.clock[1] = nowMs;
    this.frames = new FrameTable(createFrameTable(0, FRAMES, 2048), new SharedArrayBuffer(FRAMES * 2048));
    const sizes = { rx: 64, tx: 64, grant: CREDIT, redirect: 64 };
    const plan = planPortRings(1, FRAMES, sizes);
    const rings = createPortRings(plan, FRAMES, sizes);
    this.port = new WorkerPort(rings, plan, 0, this.frames);
    this.broker = new BrokerPort(rings, plan, 0);
    this.counters = new Counters(new SharedArrayBuffer(COUNTERS_BYTES), 0);
    const host = new SharedArrayBuffer(HOST_STATE_BYTES);
    this.publisher = new HostPublisher(host, 0);
    const [macHi, macLo] = mac(OUR_MAC);
    this.publisher.setHost({ address: ip(OURS), prefix: 24, gateway: ip(GATEWAY), mtu: 1500, macHi, macLo, key: 99 });
    const steering = new SharedArrayBuffer(STEERING_BYTES);
    Steering.format(steering, 0, 1, STEER_RETA);
    this.arena = new SharedArena(createArena(1 << 20));
    this.env = {
      worker: 0,
      port: this.port,
      arena: this.arena,
      bursts: createTwinBursts(this.frames, this.arena.memory),
      txWork: 0,
      txTrainBytesMax: 2048 - 190,
      clock: this.clock,
      host: new HostView(host, 0),
      steering: new Steering(steering, 0),
      flowHash,
      counters: this.counters,
      random: () => 0x1234,
      config: {
        maxConnections: 16,
        maxDatagrams: 16,
        udpRcvbuf: 65536,
        udpSndbuf: 65536,
        rcvbuf: 65536,
        sndbuf: 65536,
        chunkBytes: 2048,
        chunks: 64,
        burst: 16,
        burstBytes: 65536,
        mss: 1460,
        timeWaitMs: 60000,
        rtoMinMs: 200,
        rtoInitialMs: 1000,
        rtoMaxMs: 120000,
        delayedAckMs: 40,
        synRetries: 6,
        retries: 15,
        finWait2Ms: 60000,
        idleTimeoutMs: 0,
        pipes: 4,
        pipeBytes: 10240,
        nagle: true,
        trainLinksMax: 1,
        coalesce: false,
        windowScale: 7,
        timestamps: true,
        sack: true,
      },
    };
    for (let f = 0; f < CREDIT; f++) this.grant(f);
  }

  grant(f: number): void {
    this.broker.grant.room(1);
    this.frames.owner[f] = OWNER_RING;
    this.broker.grant.words[this.broker.grant.slot(0)] = f;
    this.broker.grant.put(1);
    this.broker.flush();
  }

  /** Frames that came home since the last call. */
  home(): number[] {
    this.port.flush();
    const r = this.broker.recycle;
    const out: number[] = [];
    for (let n = r.ready(); n > 0; n = r.ready()) {
      const f = r.words[r.slot(0)]!;
      this.frames.owner[f] = OWNER_FREE;
      this.frames.generation[f]!++;
      out.push(f);
      r.take(1);
    }
    return out;
  }

  /** Control messages since the last call, as [op, ip] text-free pairs. */
  messages(): number[][] {
    this.port.flush();
    const c = this.broker.control;
    const out: number[][] = [];
    for (let n = c.ready(); n > 0; n = c.ready()) {
      const s = c.slot(0);
      out.push([c.words[s]!, c.words[s + 1]!]);
      c.take(1);
    }
    c.flush();
    return out;
  }

  /** Frames sent since the last call, as hex; they go to the free list. */
  sent(): string[] {
    this.port.flush();
    const tx = this.broker.tx;
    const out: string[] = [];
    for (let n = tx.ready(); n > 0; n = tx.ready()) {
      const s = tx.slot(0);
      const f = tx.words[s + D_FRAME]!;
      const at = this.frames.offset[f]! + (tx.words[s + D_DATA]! >>> 16);
      out.push(Buffer.from(this.frames.u8.slice(at, at + tx.words[s + D_TOTAL]!)).toString('hex'));
      this.frames.owner[f] = OWNER_FREE;
      tx.take(1);
    }
    this.broker.flush();
    return out;
  }

  /**
   * A received frame of these bytes, as the worker finds it: owned by the worker, its descriptor in the arena. Returns the
   * descriptor's word index. `f` is one of the frames that were never granted.
   */
  receive(bytes: Uint8Array, f = FRAMES - 1, headroom = this.frames.headroom): number {
    this.frames.u8.set(bytes, this.frames.offset[f]! + headroom);
    this.frames.owner[f] = OWNER_WORKER;
    this.frames.next[f] = -1;
    this.frames.length[f] = bytes.length;
    const at = this.arena.take(DESC_WORDS);
    const w = this.arena.i32;
    w[at + D_FRAME] = f;
    w[at + D_DATA] = (headroom << 16) | bytes.length;
    w[at + D_TOTAL] = bytes.length;
    w[at + D_REGION_GEN] = this.frames.generation[f]! & 0xffff;
    w[at + D_SEGS_VLAN] = 1;
    return at;
  }

  /** Every frame on the free list becomes credit again, but for those kept for receiving. */
  grantBack(): void {
    this.home();
    for (let f = 0; f < CREDIT; f++) if (this.frames.owner[f] === OWNER_FREE) this.grant(f);
  }

  audit(): FrameAudit {
    return auditFrames(this.frames);
  }
}
