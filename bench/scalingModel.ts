/**
 * What more cores would give, from what each stage of the breath costs: a model, not a measurement. scaling.ts measures the costs.
 *
 * A thread does so many operations a second as fit into its time; threads run beside one another without slowing one another; flows
 * spread evenly; clients and the device always have more. So the slowest kind of thread decides, and the figures are upper bounds.
 */

/** Nanoseconds of the server an operation, by stage, and its packets. */
export interface Costs {
  pull: number;
  input: number;
  app: number;
  output: number;
  push: number;
  /** Frames in and out an operation; trains count as their descriptors. */
  packetsIn: number;
  packetsOut: number;
  /** A descriptor's way from one thread to another, in nanoseconds of either. */
  crossing: number;
}

export const LAYOUTS = ['dispatcher', 'dispatcher-rx-tx', 'run-to-completion'] as const;
export type ScaledLayout = (typeof LAYOUTS)[number];
export const CORES = [4, 8, 16, 32, 64] as const;
/** Of rings between threads: a slot holds eight words for a descriptor, one for an id. */
const ID_SHARE = 1 / 8;

const descriptors = (c: Costs): number => (c.packetsIn + c.packetsOut) * c.crossing;
/** Frames that go home, and empty ones granted. */
const ids = (c: Costs): number => (c.packetsIn + c.packetsOut) * c.crossing * ID_SHARE;

/** Nanoseconds an operation takes of the dispatchers (the busier one where there are two), and of a worker. */
export function threadCosts(layout: ScaledLayout, c: Costs): { dispatcher: number; worker: number } {
  const stack = c.input + c.app + c.output;
  if (layout === 'run-to-completion') return { dispatcher: 0, worker: c.pull + stack + c.push };
  const worker = stack + descriptors(c) + ids(c);
  if (layout === 'dispatcher') return { dispatcher: c.pull + c.push + descriptors(c) + ids(c), worker };
  // Who receives takes the frames home and grants as well; who sends gives sent frames back: an id for each.
  const receive = c.pull + c.packetsIn * c.crossing + ids(c) + c.packetsOut * c.crossing * ID_SHARE;
  const send = c.push + c.packetsOut * c.crossing * (1 + ID_SHARE);
  return { dispatcher: Math.max(receive, send), worker };
}

const DISPATCHERS: Readonly<Record<ScaledLayout, number>> = { dispatcher: 1, 'dispatcher-rx-tx': 2, 'run-to-completion': 0 };

export interface Modelled {
  perSecond: number;
  /** Whose time is used up. */
  limit: 'dispatcher' | 'workers';
}

/** Operations a second of a server with so many cores, a thread each. */
export function modelled(layout: ScaledLayout, c: Costs, cores: number): Modelled {
  const { dispatcher, worker } = threadCosts(layout, c);
  const workers = ((cores - DISPATCHERS[layout]) * 1e9) / worker;
  const front = dispatcher === 0 ? Number.POSITIVE_INFINITY : 1e9 / dispatcher;
  return front < workers ? { perSecond: front, limit: 'dispatcher' } : { perSecond: workers, limit: 'workers' };
}

/** Workers that fill the dispatcher; none where there is no dispatcher. */
export function workersToFill(layout: ScaledLayout, c: Costs): number | null {
  const { dispatcher, worker } = threadCosts(layout, c);
  return dispatcher === 0 ? null : Math.ceil(worker / dispatcher);
}
