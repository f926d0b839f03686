/**
 * The background pool: threads for CPU-bound work, on CPUs that no stack runs on. Lives in main, is made by the first task.
 * Piscina keeps the threads and their queue; this file carries tasks, outcomes and aborts between it and the stack workers.
 */
import { fileURLToPath } from 'node:url';
import type { MessagePort } from 'node:worker_threads';
import type { Piscina } from 'piscina';
import type { BackgroundTask } from '../api/background.ts';
import { FlowringError } from '../api/errors.ts';
import { threadOptions } from './threadOptions.ts';
import { moduleUrl } from '../workers/backgroundLink.ts';
import {
  type BackgroundOutcome,
  type BackgroundReply,
  type BackgroundRequest,
  carryError,
  type PoolThreadData,
  revivedError,
} from '../workers/backgroundTask.ts';

export interface BackgroundOptions {
  threads: number;
  /** CPUs of the threads; empty: anywhere. */
  cpus: number[];
  /** Added to their niceness, 0..19. */
  nice: number;
  /** Tasks each asker (a worker, or main) may have under way. */
  queue: number;
  /** Milliseconds after which a thread without work ends. */
  idleMs: number;
}

export interface BackgroundFigures {
  /** Threads that exist now. */
  threads: number;
  /** Tasks that wait for a thread, and that have one. */
  queued: number;
  running: number;
  /** Since the start: tasks that returned, threw, were aborted. */
  done: number;
  failed: number;
  aborted: number;
}

const THREAD_FILE = new URL('../workers/backgroundThread.js', import.meta.url);

export class BackgroundPool {
  readonly options: BackgroundOptions;
  private pool: Promise<Piscina> | null = null;
  private made: Piscina | null = null;
  private closed = false;
  private mine = 0;
  private underWay = 0;
  private done = 0;
  private failed = 0;
  private aborted = 0;

  constructor(options: BackgroundOptions) {
    this.options = options;
  }

  private async start(): Promise<Piscina> {
    const { Piscina } = await import('piscina');
    const { threads, cpus, nice, idleMs } = this.options;
    const workerData: PoolThreadData = { cpus, threadName: 'background' };
    this.made = new Piscina({
      filename: fileURLToPath(THREAD_FILE),
      name: 'runTask',
      minThreads: 0,
      maxThreads: threads,
      idleTimeout: idleMs,
      niceIncrement: nice,
      // A thread's event loop turns between tasks: what a task left running goes on.
      atomics: 'disabled',
      ...threadOptions(),
      workerData,
    });
    return this.made;
  }

  /** Runs a task to its outcome; never rejects. */
  private async outcome(
    task: { url: string; name: string; data: unknown },
    transfer: ArrayBuffer[],
    signal?: AbortSignal,
  ): Promise<BackgroundOutcome> {
    this.underWay++;
    try {
      if (this.closed) throw new FlowringError('FLOWRING_CLOSED', 'background: the runtime is closed');
      this.pool ??= this.start();
      const pool = await this.pool;
      const options = signal === undefined ? { transferList: transfer } : { transferList: transfer, signal };
      const outcome = (await pool.run(task, options)) as BackgroundOutcome;
      if (outcome.ok) this.done++;
      else this.failed++;
      return outcome;
    } catch (error) {
      if (signal?.aborted === true || this.closed) this.aborted++;
      else this.failed++;
      return { ok: false, error: carryError(error) };
    } finally {
      this.underWay--;
    }
  }

  /**
   * Serves the tasks of one stack worker, which come and are answered over `port`. `ring` wakes the worker. When the port
   * closes, its thread has ended: what it asked for is aborted.
   */
  serve(port: MessagePort, ring: () => void): void {
    const open = new Map<number, AbortController>();
    port.on('message', (m: BackgroundRequest) => {
      if (m.type === 'abort') {
        open.get(m.id)?.abort();
        return;
      }
      const abort = new AbortController();
      open.set(m.id, abort);
      void this.outcome({ url: m.url, name: m.name, data: m.data }, m.transfer, abort.signal).then((outcome) => {
        open.delete(m.id);
        if (abort.signal.aborted) return;
        port.postMessage({ id: m.id, outcome } satisfies BackgroundReply, outcome.ok ? outcome.transfer : []);
        ring();
      });
    });
    port.on('close', () => {
      for (const a of open.values()) a.abort();
    });
    port.unref();
  }

  /** A task of main's own: resolves with its value, rejects as `background` of `flowring/background` does. */
  async run(task: BackgroundTask): Promise<unknown> {
    const { signal, name = 'default', data } = task;
    const url = moduleUrl(task.module);
    signal?.throwIfAborted();
    if (this.mine >= this.options.queue)
      throw new FlowringError(
        'FLOWRING_BUSY',
        `background: ${this.options.queue} tasks are under way (background.queue); wait for one, or raise it`,
      );
    this.mine++;
    const outcome = await this.outcome({ url, name, data }, [...(task.transfer ?? [])], signal).finally(() => this.mine--);
    if (outcome.ok) return outcome.value;
    signal?.throwIfAborted();
    throw revivedError(outcome.error);
  }

  figures(): BackgroundFigures {
    const { done, failed, aborted } = this;
    const queued = this.made?.queueSize ?? 0;
    return { threads: this.made?.threads.length ?? 0, queued, running: Math.max(0, this.underWay - queued), done, failed, aborted };
  }

  /** Ends every thread; tasks under way are aborted. Idempotent. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    const pool = await this.pool?.catch(() => null);
    await pool?.destroy();
  }
}
