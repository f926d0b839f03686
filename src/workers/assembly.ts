/** Puts the parts of a thread together from its plan: a dispatcher, a stack. */
import { attachPort, attachTxPort } from '../ports/attach.ts';
import type { Port } from '../ports/port.ts';
import { SharedArena } from '../rings/arena.ts';
import { LIFE_DEAD, T_LIFE, T_TID, ThreadRecord } from '../rings/control.ts';
import { C_PUBLISHES, C_RING_SLOTS, Counters } from '../rings/counters.ts';
import type { Doorbell } from '../rings/doorbell.ts';
import { FrameTable } from '../rings/frameTable.ts';
import { HostView } from '../rings/hostState.ts';
import { BrokerPort, WorkerPort } from '../rings/portRings.ts';
import type { QueueRings } from '../rings/queueRings.ts';
import { RingConsumer, RingProducer } from '../rings/spsc.ts';
import { Steering } from '../rings/steering.ts';
import type { Bursts } from '../stack/env.ts';
import type { Stack } from '../stack/sockets.ts';
import { createStack } from '../stack/stack.ts';
import { createTwinBursts } from '../wire/burst/twin.ts';
import { flowHash } from '../wire/flow.ts';
import { createDispatcher, type Dispatcher } from './dispatcher.ts';
import { systemRandom, type Thread, threadRecord } from './plan.ts';
import { createTransmitter, type Transmitter } from './transmitter.ts';
import { QueueLink } from './queueLink.ts';
import { TransmitterLink } from './transmitterLink.ts';

export interface BrokerParts {
  port: Port;
  counters: Counters;
  dispatcher: Dispatcher;
}

/** A worker's ends of its rings, over the frames of the port, or of its queue. */
export function workerPortOf(thread: Thread, worker: number): WorkerPort {
  const { plan } = thread;
  const port = plan.queueRings === null ? plan.port : plan.brokers[worker]!.port;
  return new WorkerPort(plan.rings, plan.ringsPlan, worker, new FrameTable(port.table, port.memory, port.host), plan.dispatcher === null);
}

/** This broker among those of the port's other queues. */
function queueLink(thread: Thread, rings: QueueRings, port: Port, own: WorkerPort, bells: readonly (Doorbell | null)[]): QueueLink {
  const { plan } = thread;
  const words = new Int32Array(plan.rings);
  return new QueueLink({
    queue: own.worker,
    port,
    rings,
    crossings: own.redirectOut,
    controls: own.worker === 0 ? plan.ringsPlan.control.slice(1).map((at) => new RingConsumer(words, at)) : [],
    bells,
    records: plan.workerThreads.map((_, w) => threadRecord(plan, w)),
    // A switch's ports know each other.
    sendsHome: port.kind !== 'switch',
  });
}

/** A port, or a queue of it, and its dispatcher, on the calling thread: of the worker that `own` belongs to, or a dispatcher's. */
export function assembleBroker(thread: Thread, own: WorkerPort | null): BrokerParts {
  const { plan } = thread;
  const beside = own === null ? -1 : own.worker;
  const broker = plan.brokers[own === null ? 0 : beside]!;
  const sender = plan.transmitter;
  const port = attachPort(broker.port, thread.native, sender === null);
  const shared = own === null ? null : plan.queueRings;
  const rings = plan.workerThreads.map((_, w) =>
    shared === null || w === beside ? new BrokerPort(plan.rings, plan.ringsPlan, w, w === beside) : null,
  );
  const bells = plan.workerBells.map((b, w) => (w === beside ? null : thread.bell(b)));
  const random = systemRandom();
  // The stack on this thread has counters of its own: the two do not add to one another's.
  const counters = own === null ? thread.counters : brokerCounters(thread, broker.record);
  const queue = shared === null ? null : queueLink(thread, shared, port, own!, bells);
  if (queue !== null && thread.record.get(T_LIFE) === LIFE_DEAD) queue.sendStrangersHome();
  const dispatcher = createDispatcher({
    port,
    rings,
    bells,
    steering: new Steering(plan.control, plan.steeringAt),
    counters,
    clock: thread.record.clock(),
    random,
    host:
      beside > 0
        ? null
        : {
            block: plan.control,
            at: plan.hostAt,
            address: plan.host.address,
            prefix: plan.host.prefix,
            gateway: plan.host.gateway,
            mtu: plan.host.mtu,
            macHi: broker.port.macHi,
            macLo: broker.port.macLo,
            statics: plan.host.statics,
            counters,
            frames: port.frames,
            random,
          },
    burst: plan.burst,
    overflow: plan.overflow,
    // Only the switch copies what it sends, when it floods.
    transmitter: sender === null ? null : new TransmitterLink(port, sender.rings, thread.bell(sender.bell), port.kind === 'switch'),
    queue,
  });
  return { port, dispatcher, counters };
}

function brokerCounters(thread: Thread, index: number): Counters {
  const record = new ThreadRecord(thread.plan.control, index);
  record.set(T_TID, thread.record.get(T_TID));
  return new Counters(thread.plan.control, record.countersAt);
}

/** The port's sending half and its transmitter, on the calling thread. */
export function assembleTransmitter(thread: Thread): Transmitter {
  const { plan } = thread;
  const { rings } = plan.transmitter!;
  const words = new Int32Array(plan.rings);
  const own = new Int32Array(rings.block);
  return createTransmitter({
    port: attachTxPort(plan.brokers[0]!.port, thread.native),
    rings: [...plan.ringsPlan.tx.map((at) => new RingConsumer(words, at)), new RingConsumer(own, rings.host)],
    credit: new RingConsumer(own, rings.credit),
    sent: new RingProducer(own, rings.sent),
    broker: thread.bell(plan.brokers[0]!.bell),
    counters: thread.counters,
    clock: thread.record.clock(),
    burst: plan.burst,
  });
}

export interface StackParts {
  stack: Stack;
  host: HostView;
  /** Publishes rings towards other workers and rings whoever has something new. */
  flush: () => void;
}

/** Whom a worker rings: who takes frames home and gives credit, who sends, who has the host state; null when it is this thread. */
export interface StackBells {
  broker: Doorbell | null;
  sender: Doorbell | null;
  host: Doorbell | null;
}

/** A worker's stack. */
export function assembleStack(thread: Thread, workerPort: WorkerPort, bells: StackBells): StackParts {
  const { plan, native } = thread;
  const { worker, frames } = workerPort;
  const arena = new SharedArena(plan.arenas[worker]!);
  const bursts: Bursts =
    native !== null && plan.ids.packets >= 0
      ? native.createBursts(plan.ids.packets, plan.ids.table, plan.ids.arenas[worker]!)
      : createTwinBursts(frames, plan.arenas[worker]!);
  const host = new HostView(plan.control, plan.hostAt);
  const stack = createStack({
    worker,
    port: workerPort,
    arena,
    bursts,
    txWork: plan.txWork,
    txTrainBytesMax: plan.txTrainBytesMax,
    clock: thread.record.clock(),
    host,
    steering: new Steering(plan.control, plan.steeringAt),
    flowHash,
    counters: thread.counters,
    random: systemRandom(),
    config: plan.stack,
  });
  const others = plan.workerBells.map((b, w) => (w === worker ? null : thread.bell(b)));
  const v = thread.counters.v;
  let published = 0;

  // hot: per burst
  function flush(): void {
    const sent = workerPort.tx.flush();
    const said = workerPort.control.flush();
    workerPort.flush();
    if (sent && bells.sender !== null) bells.sender.ring();
    if (said && bells.host !== null) bells.host.ring();
    const p = workerPort.publishes();
    if (p !== published) {
      published = p;
      v[C_PUBLISHES] = p;
      v[C_RING_SLOTS] = workerPort.slots();
      if (bells.broker !== null) bells.broker.ring();
    }
    for (let w = 0; w < others.length; w++) {
      const bell = others[w];
      if (bell === null || bell === undefined) continue;
      workerPort.redirectIn[w]!.flush();
      if (workerPort.redirectOut[w]!.flush()) bell.ring();
    }
  }
  return { stack, host, flush };
}
