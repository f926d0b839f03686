/**
 * What travels between a stack worker, main, and the threads of the background pool. All of it is structured-cloneable; what
 * stands in a transfer list moves on at every hop.
 */

/** Asks main for a task, or no longer wants it. `id` is the worker's own count. */
export type BackgroundRequest =
  | { type: 'task'; id: number; url: string; name: string; data: unknown; transfer: ArrayBuffer[] }
  | { type: 'abort'; id: number };

/** An error as it crosses threads: structured clone would lose `code` and a class's own name. */
export interface CarriedError {
  name: string;
  message: string;
  stack: string;
  code: string | number | undefined;
}

/** How a task ended. `transfer`: buffers of `value` that move to the asker. */
export type BackgroundOutcome = { ok: true; value: unknown; transfer: ArrayBuffer[] } | { ok: false; error: CarriedError };

export type BackgroundReply = { id: number; outcome: BackgroundOutcome };

/** What Piscina hands a pool thread: the program's module and export, and its argument. */
export interface PoolTask {
  url: string;
  name: string;
  data: unknown;
}

/** What every pool thread is told once. */
export interface PoolThreadData {
  /** CPUs to stay on; empty: anywhere. */
  cpus: number[];
  /** The most this runtime's threads may be named, 15 bytes. */
  threadName: string;
}

export function carryError(thrown: unknown): CarriedError {
  if (typeof thrown !== 'object' || thrown === null)
    return { name: 'Error', message: String(thrown), stack: `Error: ${String(thrown)}\n    (thrown, but no Error)`, code: undefined };
  const e = thrown as Partial<CarriedError>;
  const code = typeof e.code === 'string' || typeof e.code === 'number' ? e.code : undefined;
  return { name: String(e.name ?? 'Error'), message: String(e.message ?? ''), stack: String(e.stack ?? ''), code };
}

/** The same error in the asker's thread, with the stack of where it was thrown. */
export function revivedError(carried: CarriedError): Error {
  const e = new Error(carried.message);
  const fields = { name: carried.name, stack: carried.stack, ...(carried.code === undefined ? {} : { code: carried.code }) };
  for (const [key, value] of Object.entries(fields)) Object.defineProperty(e, key, { value, writable: true, configurable: true });
  return e;
}
