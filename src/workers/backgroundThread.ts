/**
 * What a thread of the background pool runs: the program's function, off the stacks' CPUs. No stack lives here. Piscina
 * loads this file and calls `runTask` for each task.
 */
import { workerData } from 'node:worker_threads';
import { move, transferableSymbol, valueSymbol } from 'piscina';
import { loadNative } from '../ports/native.ts';
import { TRANSFERRED, type Transferred } from '../api/background.ts';
import { type BackgroundOutcome, carryError, type PoolTask, type PoolThreadData } from './backgroundTask.ts';
import { installResolver } from './resolver.ts';

installResolver();
place();

/** On the pool's own CPUs, under a name that `top -H` shows. Without the addon the scheduler decides. */
function place(): void {
  const given = workerData as PoolThreadData;
  const native = loadNative();
  if (native === null) return;
  native.setThreadName(given.threadName);
  if (given.cpus.length > 0) native.setAffinity(given.cpus);
}

async function call(task: PoolTask): Promise<BackgroundOutcome> {
  const program = (await import(task.url)) as Record<string, unknown>;
  const f = program[task.name];
  if (typeof f !== 'function') {
    const has = Object.keys(program).filter((k) => typeof program[k] === 'function');
    throw Object.assign(
      new TypeError(
        `background: ${task.url} exports no function "${task.name}"; it exports ${has.length === 0 ? 'none' : has.map((k) => `"${k}"`).join(', ')}`,
      ),
      { code: 'FLOWRING_BACKGROUND' },
    );
  }
  const value: unknown = await f(task.data);
  if (typeof value === 'object' && value !== null && TRANSFERRED in value) {
    const t = value as Transferred;
    return { ok: true, value: t.value, transfer: [...t.transfer] };
  }
  return { ok: true, value, transfer: [] };
}

/** Throws DataCloneError for a value that cannot be posted. Bytes and primitives can, and are not copied to find out. */
function checkCloneable(value: unknown): void {
  if (
    typeof value === 'function' ||
    typeof value === 'symbol' ||
    (typeof value === 'object' && value !== null && !ArrayBuffer.isView(value))
  )
    structuredClone(value);
}

/** Runs one task. Whatever the program throws, or returns that cannot be cloned, is an outcome, not a failure of the thread. */
export async function runTask(task: PoolTask): Promise<unknown> {
  let outcome: BackgroundOutcome;
  try {
    outcome = await call(task);
    if (outcome.ok && outcome.transfer.length === 0) checkCloneable(outcome.value);
  } catch (error) {
    outcome = { ok: false, error: carryError(error) };
  }
  if (!outcome.ok || outcome.transfer.length === 0) return outcome;
  // A list, where the type says one: Piscina joins it to its own.
  const moved = { [transferableSymbol]: outcome.transfer, [valueSymbol]: outcome };
  return move(moved as unknown as Parameters<typeof move>[0]);
}
