/** What the dispatch question is asked with: a switch port with a dispatcher, and at its other end a wire with four workers' rings. */
import { createSwitch, type Switch } from '../src/ports/switch.ts';
import { attachSwitchPort, type SwitchPort } from '../src/ports/switchPort.ts';
import type { PortAttachment } from '../src/ports/port.ts';
import { formatControl, planControl, ThreadRecord } from '../src/rings/control.ts';
import { C_RX_PACKETS, Counters, dropsTotal } from '../src/rings/counters.ts';
import { Doorbell } from '../src/rings/doorbell.ts';
import { FrameTable } from '../src/rings/frameTable.ts';
import { D_DATA, D_FLAGS_GSO, D_FRAME, D_HASH, D_REGION_GEN, D_SEGS_VLAN, D_TOTAL, DESC_WORDS } from '../src/rings/layout.ts';
import { F_CSUM_OK, F_IPCSUM_OK, F_TX } from '../src/rings/layout.ts';
import { BrokerPort, createPortRings, planPortRings, type PortRingsPlan, WorkerPort } from '../src/rings/portRings.ts';
import { RETA_SIZE } from '../src/rings/layout.ts';
import { STEER_RETA, Steering } from '../src/rings/steering.ts';
import { ETHERTYPE_IPV4, LEN_ETHERNET, setEthernet } from '../src/wire/ethernet.ts';
import { LEN_IPV4, PROTO_TCP, setIpv4 } from '../src/wire/ipv4.ts';
import { createDispatcher, type Dispatcher } from '../src/workers/dispatcher.ts';

export const WORKERS = 4;
/** Bytes of a frame on the wire: Ethernet, IPv4, TCP, and ten of payload. */
export const BYTES = 64;
/** Words of `state`: what the other thread is to do, frames it has had back, frames that came wrong. */
export const S_JOB = 0;
export const S_HOME = 1;
export const S_WRONG = 2;
export const JOB_REST = 0;
/** Workers send frames home through the dispatcher. */
export const JOB_RETURN = 1;
/** Workers give frames back to the wire by themselves. */
export const JOB_ONE_WAY = 2;
export const JOB_MESSAGES = 3;

const FRAMES = 4096;
const FLOWS = 256;
const BURST = 16;
const PIECE = 32;
const TCP_AT = LEN_ETHERNET + LEN_IPV4;

/** What both threads have in common: structured-cloneable. */
export interface DispatchMemory {
  wire: PortAttachment;
  toHi: number;
  toLo: number;
  rings: SharedArrayBuffer;
  plan: PortRingsPlan;
  state: Int32Array;
}

export interface DispatchRig {
  memory: DispatchMemory;
  fabric: Switch;
  port: SwitchPort;
  dispatcher: Dispatcher;
  counters: Counters;
  steering: Steering;
  rings: readonly BrokerPort[];
  clock: Int32Array;
}

export function dispatchRig(): DispatchRig {
  const fabric = createSwitch({ ports: [{ name: 'wire' }, { name: 'port' }], framesPerPort: FRAMES });
  const { attachment } = fabric.handle(1);
  const cp = planControl(2 + WORKERS, WORKERS);
  const control = new SharedArrayBuffer(cp.bytes);
  formatControl(control, cp);
  Steering.format(control, cp.steeringAt, WORKERS, STEER_RETA);
  const steering = new Steering(control, cp.steeringAt);
  const port = attachSwitchPort(attachment);
  const sizes = { rx: 1024, tx: 256, grant: 256, redirect: 16 };
  const plan = planPortRings(WORKERS, port.frames.frames, sizes);
  const block = createPortRings(plan, port.frames.frames, sizes);
  const record = new ThreadRecord(control, 1);
  const counters = new Counters(control, record.countersAt);
  const rings = Array.from({ length: WORKERS }, (_, w) => new BrokerPort(block, plan, w));
  const dispatcher = createDispatcher({
    port,
    rings,
    bells: rings.map((_, w) => new Doorbell(record.words, new ThreadRecord(control, 2 + w).bellAt)),
    steering,
    counters,
    clock: record.clock(),
    random: () => 4,
    host: null,
    burst: BURST,
    overflow: 256,
  });
  const wire = fabric.handle(0).attachment;
  const state = new Int32Array(new SharedArrayBuffer(64));
  const memory = { wire, toHi: attachment.macHi, toLo: attachment.macLo, rings: block, plan, state };
  return { memory, fabric, port, dispatcher, counters, steering, rings, clock: record.clock() };
}

/** The other end: sends 64-byte TCP frames of 256 flows, is all four workers, and has its frames back. */
export class Wire {
  readonly port: SwitchPort;
  private readonly workers: readonly WorkerPort[];
  private readonly desc = new Int32Array(PIECE * DESC_WORDS);
  private readonly ids = new Int32Array(PIECE);
  /** Built and not yet sent, from the front of `desc`. */
  private waiting = 0;
  private flow = 0;
  sent = 0;
  home = 0;
  wrong = 0;

  constructor(m: DispatchMemory) {
    this.port = attachSwitchPort(m.wire);
    const frames = new FrameTable(m.wire.table, m.wire.memory);
    this.workers = Array.from({ length: WORKERS }, (_, w) => new WorkerPort(m.rings, m.plan, w, frames));
    const { view, offset, headroom } = this.port.frames;
    for (let f = m.wire.frameFirst; f < m.wire.frameFirst + m.wire.frameCount; f++) {
      const eth = offset[f]! + headroom;
      setEthernet(view, eth, m.toHi, m.toLo, m.wire.macHi, m.wire.macLo, ETHERTYPE_IPV4);
      setIpv4(view, eth + LEN_ETHERNET, BYTES - LEN_ETHERNET, 1, PROTO_TCP, 0xc6120009 | 0, 0xc6120001 | 0);
      view.setInt32(eth + TCP_AT + 12, 0x50100000);
    }
    for (let d = 0; d < this.desc.length; d += DESC_WORDS) {
      this.desc[d + D_DATA] = (headroom << 16) | BYTES;
      this.desc[d + D_TOTAL] = BYTES;
      this.desc[d + D_FLAGS_GSO] = F_TX | F_CSUM_OK | F_IPCSUM_OK;
      this.desc[d + D_SEGS_VLAN] = 1;
    }
  }

  /** Sends a piece, each frame with ports written anew, so that its line really comes from this CPU. Returns how many left. */
  send(): number {
    const { port, desc, ids, waiting } = this;
    const { view, offset, generation, next, length, headroom, region } = port.frames;
    const n = port.alloc(ids, 0, PIECE - waiting);
    for (let i = 0; i < n; i++) {
      const f = ids[i]!;
      const d = (waiting + i) * DESC_WORDS;
      this.flow = (this.flow + 1) & (FLOWS - 1);
      view.setInt32(offset[f]! + headroom + TCP_AT, ((10_000 + this.flow) << 16) | 7000);
      next[f] = -1;
      length[f] = BYTES;
      desc[d + D_FRAME] = f;
      desc[d + D_REGION_GEN] = (region << 16) | generation[f]!;
    }
    const have = waiting + n;
    const sent = have === 0 ? 0 : port.txBurst(desc, 0, have);
    if (sent > 0 && sent < have)
      for (let i = sent; i < have; i++) {
        desc[(i - sent) * DESC_WORDS + D_FRAME] = desc[i * DESC_WORDS + D_FRAME]!;
        desc[(i - sent) * DESC_WORDS + D_REGION_GEN] = desc[i * DESC_WORDS + D_REGION_GEN]!;
      }
    this.waiting = have - sent;
    this.sent += sent;
    port.flush();
    return sent;
  }

  /** Takes what came for each worker, and lets the frames go: `through` the dispatcher, or at once. Returns how many came. */
  take(through: boolean): number {
    const { port, workers } = this;
    let came = 0;
    for (let w = 0; w < WORKERS; w++) {
      const { rx } = workers[w]!;
      const n = rx.ready();
      for (let i = 0; i < n; i++) {
        const s = rx.slot(i);
        const f = rx.words[s + D_FRAME]!;
        // The table is even: the worker is the hash's lowest bits.
        if ((rx.words[s + D_HASH]! & (RETA_SIZE - 1) & (WORKERS - 1)) !== w || rx.words[s + D_TOTAL] !== BYTES) this.wrong++;
        if (through) workers[w]!.freeFrame(f);
        else port.free(f);
      }
      if (n > 0) rx.take(n);
      workers[w]!.flush();
      came += n;
    }
    this.home += came;
    return came;
  }

  /** Time for the port: closed peers, frames that came home. */
  tick(nowUs: number): void {
    this.port.tick(nowUs);
  }

  /** Frames handed back unsent; then the port is let go. */
  close(): void {
    for (let i = 0; i < this.waiting; i++) this.port.free(this.desc[i * DESC_WORDS + D_FRAME]!);
    this.waiting = 0;
    for (const w of this.workers) w.returnCredit();
    this.port.flush();
  }
}

/** One breath of a dispatcher as the driver does it. Returns frames received. */
export function breathe(r: DispatchRig): number {
  const v = r.counters.v;
  const before = v[C_RX_PACKETS]!;
  r.clock[0] = (performance.now() * 1000) | 0;
  r.dispatcher.pull();
  r.dispatcher.push();
  return v[C_RX_PACKETS]! - before;
}

export const droppedBy = (r: DispatchRig): number => dropsTotal(r.counters.v);
