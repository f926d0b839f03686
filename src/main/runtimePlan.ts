/** What a runtime's threads are given: all shared memory made and formatted, and where everything stands in it. */
import { loadNative } from '../ports/native.ts';
import { createArena } from '../rings/arena.ts';
import { WORK_CSUM, WORK_CUT } from '../rings/bursts.ts';
import {
  formatControl,
  planControl,
  ROLE_BROKER,
  ROLE_DISPATCHER,
  ROLE_MAIN,
  ROLE_WORKER,
  T_ROLE,
  T_TID,
  T_WORKER,
  ThreadRecord,
} from '../rings/control.ts';
import { FrameTable } from '../rings/frameTable.ts';
import { HostPublisher } from '../rings/hostState.ts';
import { createQueueRings } from '../rings/queueRings.ts';
import { createPortRings, planPortRings } from '../rings/portRings.ts';
import { STEER_MODULO, STEER_RETA, Steering } from '../rings/steering.ts';
import { createTransmitterRings } from '../rings/transmitterRings.ts';
import { arenaBytes } from '../stack/arenaPlan.ts';
import type { BellPlace, BrokerPlan, NativeIds, RuntimePlan, ThreadPlan, TransmitterPlan } from '../workers/plan.ts';
import { ConfigError } from './config/configError.ts';
import { dispatcherThreads } from './cpus.ts';
import type { RuntimeOptions } from './runtime.ts';

function controlBlock(bytes: number, path: string | null, ids: number[]): { block: SharedArrayBuffer; id: number } {
  const native = loadNative();
  if (native !== null && path !== null) {
    const region = native.createRegion({ bytes, kind: 'file', path });
    ids.push(region.id);
    return { block: region.memory, id: region.id };
  }
  const block = new SharedArrayBuffer(bytes);
  return { block, id: register(block, ids) };
}

function register(block: SharedArrayBuffer, ids: number[]): number {
  const native = loadNative();
  if (native === null) return -1;
  const id = native.registerMemory(new Uint8Array(block));
  ids.push(id);
  return id;
}

type Threads = Pick<RuntimePlan, 'dispatcher' | 'transmitter' | 'workerThreads' | 'brokers' | 'workerBells'>;

/** Records: main, the dispatchers, the workers, and last the brokers that run inside workers. */
function recordCount(o: RuntimeOptions): number {
  const front = dispatcherThreads(o.layout);
  return 1 + front + o.workers + (front === 0 ? o.workers : 0);
}

function planThreads(o: RuntimeOptions, control: SharedArrayBuffer, frames: number): Threads {
  const record = (i: number, name: string, role: number, worker: number): BellPlace => {
    const r = new ThreadRecord(control, i);
    r.setName(name);
    r.set(T_ROLE, role);
    r.set(T_WORKER, worker);
    if (role === ROLE_MAIN) r.set(T_TID, process.pid);
    return { block: control, at: r.bellAt };
  };
  let next = 0;
  record(next++, 'main', ROLE_MAIN, -1);
  let dispatcher: ThreadPlan | null = null;
  let transmitter: TransmitterPlan | null = null;
  const brokers: BrokerPlan[] = [];
  if (dispatcherThreads(o.layout) > 0) {
    const two = o.layout === 'dispatcher-rx-tx';
    const name = `${o.name}disp${two ? '-rx' : ''}`;
    dispatcher = { index: next++, name, cpus: o.dispatcherCpus };
    const bell = record(dispatcher.index, name, ROLE_DISPATCHER, -1);
    const port = o.port.attachment;
    brokers.push({ port, record: dispatcher.index, bell: port.bell ?? bell });
    if (two) {
      const index = next++;
      const own = record(index, `${o.name}disp-tx`, ROLE_DISPATCHER, -1);
      const rings = createTransmitterRings(frames);
      transmitter = { index, name: `${o.name}disp-tx`, cpus: o.transmitterCpus, bell: port.senderBell ?? own, rings };
    }
  }
  const workerThreads: ThreadPlan[] = [];
  const workerBells: BellPlace[] = [];
  for (let w = 0; w < o.workers; w++) {
    const name = `${o.name}work${w}`;
    workerThreads.push({ index: next++, name, cpus: o.workerCpus[w] ?? [] });
    workerBells.push(record(workerThreads[w]!.index, name, ROLE_WORKER, w));
  }
  if (dispatcher === null) {
    // A worker each, with the queue of its number.
    for (let w = 0; w < o.workers; w++) {
      const port = o.port.queues[w]!;
      record(next, `${o.name}broker${o.workers > 1 ? w : ''}`, ROLE_BROKER, w);
      // The worker's thread sleeps on its port's bell, if that has one.
      workerBells[w] = port.bell ?? workerBells[w]!;
      brokers.push({ port, record: next++, bell: workerBells[w]! });
    }
  }
  return { dispatcher, transmitter, workerThreads, brokers, workerBells };
}

/** Makes the shared memory of a runtime. `nativeIds`: what the addon was told of, to be released with it. */
export function buildPlan(o: RuntimeOptions): { plan: RuntimePlan; nativeIds: number[] } {
  const queues = o.layout === 'run-to-completion' ? o.workers : 1;
  if (o.port.queues.length !== queues)
    throw new ConfigError(
      `layout: ${o.layout} with ${o.workers} workers needs ${queues} queues, ${o.port.attachment.name} has ${o.port.queues.length}`,
    );
  const nativeIds: number[] = [];
  const att = o.port.attachment;
  const cp = planControl(recordCount(o), o.workers);
  const { block: control, id: controlId } = controlBlock(cp.bytes, o.controlPath, nativeIds);
  formatControl(control, cp);
  Steering.format(control, cp.steeringAt, o.workers, o.steering === 'modulo' ? STEER_MODULO : STEER_RETA);
  // Before any thread runs: a worker may ask for its address before the dispatcher, who owns it from then on, is up.
  const { address, prefix, gateway, mtu } = o.host;
  new HostPublisher(control, cp.hostAt).setHost({ address, prefix, gateway, mtu, macHi: att.macHi, macLo: att.macLo, key: 0 });
  const pool = new FrameTable(att.table, att.memory).frames;
  const ringsPlan = planPortRings(o.workers, pool, o.rings);
  const arenas = Array.from({ length: o.workers }, () => createArena(arenaBytes(o.stack)));
  const ids: NativeIds = {
    control: controlId,
    table: register(att.table, nativeIds),
    packets: register(att.memory, nativeIds),
    arenas: arenas.map((a) => register(a, nativeIds)),
  };
  const plan: RuntimePlan = {
    ...planThreads(o, control, pool),
    layout: o.layout,
    control,
    steeringAt: cp.steeringAt,
    hostAt: cp.hostAt,
    queueRings:
      o.layout !== 'run-to-completion'
        ? null
        : createQueueRings(
            o.port.queues.map((q) => q.frameFirst),
            o.port.queues.map((q) => q.frameCount),
          ),
    rings: createPortRings(ringsPlan, pool, o.rings),
    ringsPlan,
    arenas,
    port: att,
    ids,
    host: o.host,
    stack: o.stack,
    txWork: (att.caps.txChecksum ? 0 : WORK_CSUM) | (att.caps.txTrains ? 0 : WORK_CUT),
    txTrainBytesMax: att.caps.txTrains ? att.caps.txTrainBytesMax : 65535,
    idle: o.idle,
    spins: o.spins,
    burst: o.burst,
    overflow: o.overflow,
    workers: o.workers,
    drainMs: o.drainMs,
    backgroundQueue: o.background.queue,
    stdout: o.stdout,
    configFile: o.configFile ?? null,
  };
  return { plan, nativeIds };
}
