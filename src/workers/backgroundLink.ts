/**
 * A stack worker's way to the background pool in main: requests go out over a port of their own, answers settle promises on
 * this thread. Cold code: a task is worth a thread's while.
 */
import { pathToFileURL } from 'node:url';
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import type { BackgroundLink, BackgroundTask } from '../api/background.ts';
import { FlowringError } from '../api/errors.ts';
import { type BackgroundReply, type BackgroundRequest, revivedError } from './backgroundTask.ts';

interface Waiting {
  resolve(value: unknown): void;
  reject(error: unknown): void;
  /** Takes the abort listener off. */
  forget(): void;
}

/** The module's URL. Throws FlowringError EINVAL for what is neither a file: URL nor a path. */
export function moduleUrl(module: unknown): string {
  const url = module instanceof URL ? module.href : module;
  if (typeof url === 'string' && url !== '') {
    if (url.startsWith('file:')) return url;
    if (!/^[a-z][a-z0-9+.-]+:/i.test(url)) return pathToFileURL(url).href;
  }
  throw new FlowringError(
    'EINVAL',
    `background: module is ${String(module)}, must be a file: URL (new URL('./task.mjs', import.meta.url)) or a path`,
  );
}

export class WorkerBackground implements BackgroundLink {
  private readonly port: MessagePort;
  private readonly limit: number;
  private readonly waiting = new Map<number, Waiting>();
  private nextId = 1;
  private closed = false;

  /** `limit`: tasks this worker may have under way. */
  constructor(port: MessagePort, limit: number) {
    this.port = port;
    this.limit = limit;
    port.on('message', (reply: BackgroundReply) => this.settle(reply));
    port.unref();
  }

  room(): number {
    return this.limit - this.waiting.size;
  }

  /** Tasks under way. */
  get outstanding(): number {
    return this.waiting.size;
  }

  async run(task: BackgroundTask): Promise<unknown> {
    if (this.closed) throw new FlowringError('FLOWRING_CLOSED', 'background: this worker ends');
    const url = moduleUrl(task.module);
    const { signal, name = 'default' } = task;
    signal?.throwIfAborted();
    if (this.room() <= 0) {
      throw new FlowringError(
        'FLOWRING_BUSY',
        `background: this worker has ${this.limit} tasks under way (background.queue); ask backgroundRoom() first, or raise it`,
      );
    }
    const id = this.nextId++;
    const transfer = [...(task.transfer ?? [])];
    // Throws what cannot be cloned before anybody waits for it.
    this.post({ type: 'task', id, url, name, data: task.data, transfer }, transfer);
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.waiting.delete(id);
        this.post({ type: 'abort', id }, []);
        reject(signal!.reason);
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.waiting.set(id, { resolve, reject, forget: () => signal?.removeEventListener('abort', abort) });
    });
  }

  private post(request: BackgroundRequest, transfer: ArrayBuffer[]): void {
    this.port.postMessage(request, transfer);
  }

  private settle({ id, outcome }: BackgroundReply): void {
    const w = this.waiting.get(id);
    if (w === undefined) return;
    this.waiting.delete(id);
    w.forget();
    if (outcome.ok) w.resolve(outcome.value);
    else w.reject(revivedError(outcome.error));
  }

  /** Takes what has arrived, from inside a loop that does not turn the event loop. */
  receive(): void {
    for (let m = receiveMessageOnPort(this.port); m !== undefined; m = receiveMessageOnPort(this.port)) this.settle(m.message);
  }

  /** The worker ends: nothing more is asked, what is under way is aborted. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    for (const [id, w] of this.waiting) {
      this.post({ type: 'abort', id }, []);
      w.forget();
      w.reject(new FlowringError('FLOWRING_CLOSED', 'background: the worker ended before the task did'));
    }
    this.waiting.clear();
  }
}
