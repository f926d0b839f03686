/**
 * `flowring/background`: CPU-bound work off the stacks' threads. A handler that compresses, hashes or renders for
 * milliseconds holds up every connection of its worker; `background` sends such work to a pool of threads on CPUs of their
 * own (`background.cpus`), and its promise is settled on this worker's own loop.
 *
 * The pool (Piscina) lives in main, one a runtime, and is made when the first task comes.
 *
 * @example
 * // in the program
 * const page = await background({ module: new URL('./compress.mjs', import.meta.url), data: text });
 * write(mctx, connection, page);
 *
 * // compress.mjs
 * import { gzipSync } from 'node:zlib';
 * import { transferred } from 'flowring/background';
 * export default (text) => {
 *   const packed = new Uint8Array(gzipSync(text));
 *   return transferred(packed, [packed.buffer]);
 * };
 */
import { currentContext } from './context.ts';
import { FlowringError } from './errors.ts';

export interface BackgroundTask {
  /** ES module that exports the function: a `file:` URL, or a path (relative to the working directory). */
  module: URL | string;
  /** Which export; `default` when left out. */
  name?: string;
  /** The function's one argument: anything structured-cloneable. SharedArrayBuffers are shared, the rest is copied. */
  data?: unknown;
  /** Buffers of `data` that move instead of being copied: they are empty here afterwards. */
  transfer?: readonly ArrayBuffer[];
  /** Aborts the task: one that waits is dropped, one that runs loses its thread. The promise rejects with the signal's reason. */
  signal?: AbortSignal;
}

/** What a worker's thread injects: the way to the pool. */
export interface BackgroundLink {
  run(task: BackgroundTask): Promise<unknown>;
  /** Tasks that would be taken now. */
  room(): number;
}

/** Marks a task's result whose buffers move to the asker. */
export const TRANSFERRED = Symbol.for('flowring.transferred');

export interface Transferred {
  readonly [TRANSFERRED]: true;
  readonly value: unknown;
  readonly transfer: readonly ArrayBuffer[];
}

/**
 * In a task's function: returns `value` with `transfer`'s buffers moved, not copied. They must not be used afterwards; a
 * Buffer from Node's pool shares its memory with others, copy it into a Uint8Array of its own first.
 */
export function transferred(value: unknown, transfer: readonly ArrayBuffer[]): Transferred {
  return { [TRANSFERRED]: true, value, transfer };
}

function link(call: string): BackgroundLink {
  const context = currentContext();
  if (context?.background === undefined) {
    throw new FlowringError(
      'FLOWRING_NO_STACK',
      `${call}: this thread has no stack; call it in a program that "flowring run" loads, or use background() of what open() gives`,
    );
  }
  return context.background;
}

/**
 * Runs a task in the pool and resolves with what its function returns.
 *
 * Rejects with the function's own error (name, message, stack, `code`); with the signal's reason; or with a FlowringError:
 * FLOWRING_BUSY when this worker has `background.queue` tasks under way (`backgroundRoom` asks before), FLOWRING_BACKGROUND
 * when the module has no such function, FLOWRING_CLOSED when the worker ends before the task does. What cannot be cloned
 * rejects with Node's DataCloneError.
 *
 * @throws FlowringError FLOWRING_NO_STACK outside a stack worker.
 */
export function background(task: BackgroundTask): Promise<unknown> {
  return link('background').run(task);
}

/**
 * How many more tasks this worker may have under way now, 0 to `background.queue`: a server that finds none answers
 * "busy", or leaves the request unread.
 */
export function backgroundRoom(): number {
  return link('backgroundRoom').room();
}
