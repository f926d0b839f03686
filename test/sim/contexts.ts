/** The APIs over simulated hosts. */
import type { WorkerContext } from '../../src/api/context.ts';
import type { HostView } from '../../src/rings/hostState.ts';
import type { SimHost, Simulation } from './simulation.ts';

/** One worker of a simulated host, as its thread would inject it. */
export type SimContext = WorkerContext & { ended: boolean; handlers: Map<number, (signal: number) => void> };

export function contextOf(sim: Simulation, host: SimHost, index = 0): SimContext {
  const worker = host.workers[index]!;
  const clock = new Int32Array([sim.us | 0, Math.floor(sim.us / 1000) | 0]);
  const context = {
    worker: index,
    workers: host.workers.length,
    cpu: -1,
    sockets: worker.sockets,
    host: { address: () => host.address } as HostView,
    counters: worker.counters,
    config: worker.config,
    configFile: null,
    clock,
    ended: false,
    setHandler: (handler: (() => boolean | void) | null) => {
      host.app = handler === null ? () => false : () => handler() === true;
    },
    turn: (waitMs: number) => {
      const moved = sim.step();
      if (!moved && waitMs > 0) sim.run(1);
      clock[0] = sim.us | 0;
      clock[1] = Math.floor(sim.us / 1000) | 0;
      return moved ? 1 : 0;
    },
    interrupted: () => context.ended,
    handlers: new Map<number, (signal: number) => void>(),
    onSignal: (signal: number, handler: ((signal: number) => void) | null) => {
      if (handler === null) context.handlers.delete(signal);
      else context.handlers.set(signal, handler);
    },
    takeSignal: () => false,
    stop: () => {
      context.ended = true;
      worker.stack.drain();
    },
    listening: () => {},
  };
  return context;
}
