/**
 * The control blocks of running processes, /dev/shm/flowring-PID (and -PID followed by a suffix where a process has several
 * runtimes), read without touching the data path; beside each the socket at which its runtime answers (questions.ts).
 */
import { closeSync, fstatSync, openSync, readdirSync, readFileSync, readSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from '../config/configError.ts';
import { HC_THREADS, T_COUNTERS, T_LISTENERS, THREAD_BYTES, ThreadRecord, THREADS_AT } from '../../rings/control.ts';
import { AbiError, checkHeader, H_BYTES, KIND_CONTROL } from '../../rings/layout.ts';
import { QUESTION_SUFFIX } from '../questions.ts';
import { readThreads, type ThreadFigures } from '../figures.ts';

export const CONTROL_DIRECTORY = '/dev/shm';
const NAME = /^flowring-(\d+)(?!\d)(.*)$/;

/** When a process began, in ms since the epoch, or null when it cannot be told. */
function startedMs(pid: number): number | null {
  try {
    // field 22, counted behind the command name, which may hold spaces and parentheses; USER_HZ is 100 on every Linux port node has
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const ticks = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
    const boot = Number(/^btime (\d+)/m.exec(readFileSync('/proc/stat', 'latin1'))?.[1]);
    return Number.isFinite(ticks + boot) ? boot * 1000 + ticks * 10 : null;
  } catch {
    return null;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (e) {
    return (e as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Has the file's process gone, perhaps with its id given to another since? */
function isStale(path: string, pid: number): boolean {
  if (!isAlive(pid)) return true;
  const began = startedMs(pid);
  // btime is rounded to a second
  return began !== null && statSync(path).mtimeMs + 2000 < began;
}

/** Control files by process, ascending; files of processes that are gone are removed. */
export function runningProcesses(directory = CONTROL_DIRECTORY): Map<number, string[]> {
  return filesOf(directory, false);
}

/** The sockets at which processes answer questions, likewise: there is one a runtime, with or without a control file. */
export function questionSockets(directory = CONTROL_DIRECTORY): Map<number, string[]> {
  return filesOf(directory, true);
}

function filesOf(directory: string, sockets: boolean): Map<number, string[]> {
  const found = new Map<number, string[]>();
  let names: string[] = [];
  try {
    names = readdirSync(directory).sort();
  } catch {
    return found;
  }
  for (const name of names) {
    const m = NAME.exec(name);
    if (m === null) continue;
    const pid = Number(m[1]);
    const path = join(directory, name);
    try {
      if (isStale(path, pid)) rmSync(path, { force: true });
      else if (name.endsWith(QUESTION_SUFFIX) === sockets) found.set(pid, [...(found.get(pid) ?? []), path]);
    } catch {
      // removed meanwhile, or another user's: not ours to read
    }
  }
  return new Map([...found].sort(([a], [b]) => a - b));
}

/** A commit takes microseconds, but its thread may be taken off the CPU within it: so many looks at once, then one a millisecond. */
const TRIES = 50;
const TRIES_MS = 200;
const pause = new Int32Array(new SharedArrayBuffer(4));

function readThreadRecord(fd: number, into: Uint8Array, at: number): void {
  const word = new Int32Array(1);
  const seqAt = at + T_COUNTERS * 4;
  const seq = (): number => {
    readSync(fd, word, 0, 4, seqAt);
    return word[0]!;
  };
  // the seqlock of the counters is looked at before and after
  for (let i = 0; i < TRIES + TRIES_MS; i++) {
    if (i >= TRIES) Atomics.wait(pause, 0, 0, 1);
    const before = seq();
    readSync(fd, into, at, THREAD_BYTES, at);
    if ((before & 1) === 0 && seq() === before) return;
  }
  // a writer that died within a commit leaves an odd word for ever: its last figures are shown as they are
  into.fill(0, seqAt, seqAt + 4);
}

export interface ObservedThread extends ThreadFigures {
  listeners: number;
}

/** One consistent row a thread. Throws ConfigError when the file is no control block of this version. */
export function readControlFile(path: string): ObservedThread[] {
  const fd = openSync(path, 'r');
  try {
    const head = new SharedArrayBuffer(THREADS_AT);
    const words = new Int32Array(head);
    const got = readSync(fd, new Uint8Array(head), 0, THREADS_AT, 0);
    const [claimed, size, threads] = [words[H_BYTES]!, fstatSync(fd).size, words[HC_THREADS]!];
    // this process takes the thread records only: the copy is smaller than the block, and says so
    words[H_BYTES] = THREADS_AT;
    checkHeader(head, KIND_CONTROL);
    const bytes = THREADS_AT + threads * THREAD_BYTES;
    if (got < THREADS_AT || claimed > size || threads < 1 || bytes > claimed)
      throw new ConfigError(`${path} is no control block: ${size} bytes for ${threads} threads and a claimed ${claimed}`);
    const block = new SharedArrayBuffer(bytes);
    const view = new Uint8Array(block);
    view.set(new Uint8Array(head));
    new Int32Array(block)[H_BYTES] = bytes;
    for (let t = 0; t < threads; t++) readThreadRecord(fd, view, THREADS_AT + t * THREAD_BYTES);
    return readThreads(block).map((f, t) => ({ ...f, listeners: new ThreadRecord(block, t).get(T_LISTENERS) }));
  } catch (e) {
    if (e instanceof AbiError) throw new ConfigError(`${path} is no control block of this version: ${e.message}`);
    throw e;
  } finally {
    closeSync(fd);
  }
}
