/**
 * A whole host (port, dispatcher, rings, stack) on the thread that calls it, on a switch with others: as many stacks as an experiment
 * wants in one thread, so that the time it takes is the time that all of them work.
 */
import { stackConfigOf } from '../src/main/config/load.ts';
import type { Config } from '../src/main/config/schema.ts';
import { createNativeBursts, loadNative } from '../src/ports/native.ts';
import type { Switch } from '../src/ports/switch.ts';
import { attachSwitchPort } from '../src/ports/switchPort.ts';
import { createArena, SharedArena } from '../src/rings/arena.ts';
import { WORK_CSUM, WORK_CUT } from '../src/rings/bursts.ts';
import { formatControl, planControl, ThreadRecord } from '../src/rings/control.ts';
import { Counters } from '../src/rings/counters.ts';
import { FrameTable } from '../src/rings/frameTable.ts';
import { HostView } from '../src/rings/hostState.ts';
import { BrokerPort, createPortRings, planPortRings, WorkerPort } from '../src/rings/portRings.ts';
import { STEER_RETA, Steering } from '../src/rings/steering.ts';
import { arenaBytes } from '../src/stack/arenaPlan.ts';
import type { Stack } from '../src/stack/sockets.ts';
import { assembleStack } from '../src/stack/stack.ts';
import type { Machine } from '../src/stack/tcp/machine.ts';
import { createTwinBursts } from '../src/wire/burst/twin.ts';
import { flowHash } from '../src/wire/flow.ts';
import { createDispatcher, type Dispatcher } from '../src/workers/dispatcher.ts';

const BROKER = 1;
const WORKER = 2;

export class InlineHost {
  readonly address: number;
  readonly stack: Stack;
  readonly machine: Machine;
  readonly counters: Counters;
  readonly brokerCounters: Counters;
  readonly arena: SharedArena;
  /** The program, between the halves of every breath; returns whether it did anything. */
  app: () => boolean = () => false;
  private readonly clocks: Int32Array[];
  private readonly port: ReturnType<typeof attachSwitchPort>;
  private readonly dispatcher: Dispatcher;
  private readonly workerPort: WorkerPort;

  /** Host `index` of the switch, with that address (int32); `random` gives 32 bits. */
  constructor(c: Config, sw: Switch, index: number, address: number, random: () => number) {
    const attachment = sw.handle(index).attachment;
    const config = stackConfigOf(c);
    const cp = planControl(WORKER + 1, 1);
    const control = new SharedArrayBuffer(cp.bytes);
    formatControl(control, cp);
    Steering.format(control, cp.steeringAt, 1, STEER_RETA);
    const frames = new FrameTable(attachment.table, attachment.memory);
    const sizes = { rx: c.ringsRx, tx: c.ringsTx, grant: c.ringsGrant, redirect: c.ringsRedirect };
    const plan = planPortRings(1, frames.frames, sizes);
    const rings = createPortRings(plan, frames.frames, sizes);
    const [broker, worker] = [new ThreadRecord(control, BROKER), new ThreadRecord(control, WORKER)];
    this.address = address;
    this.clocks = [broker.clock(), worker.clock()];
    this.setClock(performance.now());
    this.port = attachSwitchPort(attachment);
    this.brokerCounters = new Counters(control, broker.countersAt);
    this.counters = new Counters(control, worker.countersAt);
    const { macHi, macLo, caps } = attachment;
    this.dispatcher = createDispatcher({
      port: this.port,
      rings: [new BrokerPort(rings, plan, 0)],
      bells: [null],
      steering: new Steering(control, cp.steeringAt),
      counters: this.brokerCounters,
      clock: broker.clock(),
      random,
      host: {
        block: control,
        at: cp.hostAt,
        address,
        prefix: 24,
        gateway: 0,
        mtu: caps.mtu,
        macHi,
        macLo,
        statics: [],
        counters: this.brokerCounters,
        frames: this.port.frames,
        random,
      },
      burst: config.burst,
      overflow: c.ringsOverflow,
    });
    this.workerPort = new WorkerPort(rings, plan, 0, frames);
    this.arena = new SharedArena(createArena(arenaBytes(config)));
    const native = loadNative();
    const { stack, machine } = assembleStack({
      worker: 0,
      port: this.workerPort,
      arena: this.arena,
      bursts: native === null ? createTwinBursts(frames, this.arena.memory) : createNativeBursts(native, frames, this.arena.memory),
      txWork: (caps.txChecksum ? 0 : WORK_CSUM) | (caps.txTrains ? 0 : WORK_CUT),
      txTrainBytesMax: caps.txTrains ? caps.txTrainBytesMax : 65535,
      clock: worker.clock(),
      host: new HostView(control, cp.hostAt),
      steering: new Steering(control, cp.steeringAt),
      flowHash,
      counters: this.counters,
      random,
      config,
    });
    this.stack = stack;
    this.machine = machine;
  }

  setClock(ms: number): void {
    for (const c of this.clocks) {
      c[0] = (ms * 1000) | 0;
      c[1] = ms | 0;
    }
  }

  /** One breath of every part; how much moved. */
  breathe(): number {
    let n = this.dispatcher.pull() + this.stack.begin();
    if (this.app()) n++;
    n += this.stack.end();
    this.workerPort.flush();
    return n + this.dispatcher.push();
  }

  /** Ends the stack: connections reset, frames and credit given back. */
  end(): void {
    this.stack.destroy();
    this.workerPort.flush();
    this.workerPort.returnCredit();
    this.dispatcher.push();
    this.dispatcher.reclaim(0);
    this.dispatcher.push();
  }

  /** After `end` of all: takes home what others sent back. */
  bringHome(detach: boolean): void {
    if (detach) this.port.detach();
    this.port.tick(this.clocks[0]![0]!);
    this.port.flush();
  }
}
