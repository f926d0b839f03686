/**
 * mTCP's per-core context: the worker's stack as an application sees it. One per thread.
 */
import type { Counters } from '../rings/counters.ts';
import { EINVAL } from '../stack/sockets.ts';
import type { Sockets } from '../stack/sockets.ts';
import { formatAddress } from './address.ts';
import { currentContext } from './context.ts';
import type { WorkerContext } from './context.ts';
import { EpollTable } from './epoll.ts';
import { FlowringError } from './errors.ts';

/** Made by `createContext`. Every call takes it first. */
export class Mctx {
  /** This worker's id, 0..workers-1, and how many workers run the module. */
  readonly worker: number;
  readonly workers: number;
  /** CPU the worker is pinned to, -1 when it is not. */
  readonly cpu: number;
  /** This thread's counters: `mctx.counters.v[C_APP_OPERATIONS]++` shows up in `flowring top` and in the run's totals. */
  readonly counters: Counters;
  /** The stack and the instances behind the calls; not part of the API. */
  readonly sockets: Sockets;
  readonly epolls: EpollTable;
  readonly context: WorkerContext;
  /** Whether the code running now was called by the driver's loop (`run`): a wait must not turn the loop then. */
  inHandler = false;
  /** Whether the driver owns the loop and the code running now was not called by it: a timer's or promise's callback. */
  outside = false;

  constructor(context: WorkerContext) {
    this.context = context;
    this.worker = context.worker;
    this.workers = context.workers;
    this.cpu = context.cpu;
    this.counters = context.counters;
    this.sockets = context.sockets;
    this.epolls = new EpollTable(context.sockets);
  }

  /** Ends the driver's rest, if it rests: called where `outside` code made work. */
  wake(): void {
    if (this.context.wake !== undefined) this.context.wake();
  }

  /** The stack's own IPv4 address, as text. */
  get address(): string {
    return formatAddress(this.context.host.address());
  }
}

let mine: Mctx | null = null;

/** The thread's context; throws FLOWRING_NO_STACK, naming `call`, where there is none. */
export function workerContext(call: string): WorkerContext {
  const context = currentContext();
  if (context === null) {
    throw new FlowringError(
      'FLOWRING_NO_STACK',
      `${call}: this thread has no stack; start the module with "flowring run <module>", which loads it in every stack worker`,
    );
  }
  return context;
}

const isMine = (context: WorkerContext, cpu: number): boolean => cpu === context.worker || (context.cpu >= 0 && cpu === context.cpu);

/**
 * The context of this worker; the same object each time. mTCP's `mtcp_create_context`, except that the stack's thread
 * is the one that calls.
 *
 * @param cpu CPU or worker id it must be for; left out: this one.
 * @throws FlowringError FLOWRING_NO_STACK outside a stack worker, EINVAL when `cpu` is another worker's.
 *
 * @example
 * import { createContext, epollCreate, run } from 'flowring/mtcp';
 * const mctx = createContext();
 * const ep = epollCreate(mctx, 1024);
 * run(mctx, ep, (events, n) => console.log(n, 'events on worker', mctx.worker));
 */
export function createContext(cpu?: number): Mctx {
  const context = workerContext('createContext');
  if (cpu !== undefined && !isMine(context, cpu)) {
    throw new FlowringError(
      'EINVAL',
      `createContext(${cpu}): this is worker ${context.worker}${context.cpu >= 0 ? ` on CPU ${context.cpu}` : ''}; ` +
        'every worker runs the module and makes its own context, call createContext() without a number',
    );
  }
  if (mine === null || mine.context !== context) mine = new Mctx(context);
  return mine;
}

/**
 * Ends the application in this worker and gives its epoll instances back; as `stop`, and mTCP's `mtcp_destroy_context`.
 * Connections still open finish: queued data, then FIN.
 */
export function destroyContext(mctx: Mctx): number {
  mctx.epolls.closeAll();
  mctx.outside = false;
  mctx.context.setHandler(null);
  mctx.context.stop();
  if (mine === mctx) mine = null;
  return 0;
}

/**
 * 0 when `cpu` is this worker's CPU or id, else -EINVAL. Pinning itself is configuration (`--cpus`): a program cannot move
 * the stack's thread, but one ported from mTCP can keep its check.
 *
 * @throws FlowringError FLOWRING_NO_STACK outside a stack worker.
 */
export function coreAffinitize(cpu: number): number {
  return isMine(workerContext('coreAffinitize'), cpu) ? 0 : -EINVAL;
}
