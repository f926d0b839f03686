/** Real threads for the ring tests: one per module, its answer as a promise; pinning by taskset(1). */
import { spawnSync } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { parentPort, Worker, workerData } from 'node:worker_threads';

export interface Thread<T> {
  readonly done: Promise<T>;
}

/** Starts `module` (a URL) with `data`; `done` is what it passes to `answer`. Rejects when it throws or ends silently. */
export function startThread<T>(module: URL, data: unknown): Thread<T> {
  const worker = new Worker(module, { workerData: data });
  const done = new Promise<T>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new Error(`thread ended with ${code} and no answer`)));
  });
  return { done };
}

/** In a thread: what it was started with. */
export const given = <T>(): T => workerData as T;

/** In a thread: its answer. The thread ends when nothing keeps it. */
export function answer(value: unknown): void {
  parentPort!.postMessage(value);
}

/** Pins the calling thread to one CPU; -1 leaves it alone. Returns false where that cannot be done. */
export function pinThread(cpu: number): boolean {
  if (cpu < 0) return true;
  const tid = readlinkSync('/proc/thread-self').split('/').at(-1)!;
  return spawnSync('taskset', ['-p', '-c', String(cpu), tid]).status === 0;
}

const nap = new Int32Array(new SharedArrayBuffer(4));

/** Lets the other thread run: for loops that found nothing to do. */
export function yieldThread(): void {
  Atomics.wait(nap, 0, 0, 0.05);
}

/** Small seeded generator (xorshift32): 31 random bits a call. */
export function bits31(seed: number): () => number {
  let x = seed | 0 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 1;
  };
}

export function seedOf(name: string): number {
  const seed = Number(process.env.SEED ?? Date.now() % 0x7fffffff);
  process.stdout.write(`${name}: SEED=${seed}\n`);
  return seed;
}
