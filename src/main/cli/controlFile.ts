/**
 * The control blocks of running processes, /dev/shm/flowring-PID (and -PID followed by a suffix where a process has several
 * runtimes), read without touching the data path.
 */
import { closeSync, openSync, readdirSync, readFileSync, readSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from '../config/configError.ts';
import { HC_THREADS, T_COUNTERS, THREAD_BYTES, THREADS_AT } from '../../rings/control.ts';
import { AbiError, HEADER_BYTES, checkHeader, KIND_CONTROL } from '../../rings/layout.ts';
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
      else found.set(pid, [...(found.get(pid) ?? []), path]);
    } catch {
      // removed meanwhile, or another user's: not ours to read
    }
  }
  return new Map([...found].sort(([a], [b]) => a - b));
}

/** Reads again while the thread commits; its counters' seqlock is looked at before and after. */
const TRIES = 200;

function readThreadRecord(fd: number, into: Uint8Array, at: number): void {
  const word = new Int32Array(1);
  const seqAt = at + T_COUNTERS * 4;
  const seq = (): number => {
    readSync(fd, word, 0, 4, seqAt);
    return word[0]!;
  };
  for (let i = 0; i < TRIES; i++) {
    const before = seq();
    readSync(fd, into, at, THREAD_BYTES, at);
    if ((before & 1) === 0 && seq() === before) return;
  }
  // a writer that died within a commit leaves an odd word for ever: its last figures are shown as they are
  new DataView(into.buffer, into.byteOffset).setInt32(seqAt, 0, true);
}

/** One consistent row a thread. Throws ConfigError when the file is no control block of this version. */
export function readControlFile(path: string): ThreadFigures[] {
  const fd = openSync(path, 'r');
  try {
    const head = new SharedArrayBuffer(THREADS_AT);
    if (readSync(fd, new Uint8Array(head), 0, THREADS_AT, 0) < HEADER_BYTES) throw new ConfigError(`${path} is no control block: it is too short`);
    const threads = new Int32Array(head)[HC_THREADS]!;
    const bytes = THREADS_AT + threads * THREAD_BYTES;
    const block = new SharedArrayBuffer(Math.min(Math.max(bytes, THREADS_AT), 16 * 1048576));
    const view = new Uint8Array(block);
    view.set(new Uint8Array(head));
    checkHeader(block, KIND_CONTROL);
    if (bytes !== block.byteLength) throw new ConfigError(`${path} is no control block: it claims ${threads} threads`);
    for (let t = 0; t < threads; t++) readThreadRecord(fd, view, THREADS_AT + t * THREAD_BYTES);
    return readThreads(block);
  } catch (e) {
    if (e instanceof AbiError) throw new ConfigError(`${path} is of another version of flowring: ${e.message}`);
    throw e;
  } finally {
    closeSync(fd);
  }
}
