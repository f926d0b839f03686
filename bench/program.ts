/** Programs that a bench starts: bounded, ended by their process id on every way out, their CPU time read from /proc. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** dist/bench/ is two levels below the package. */
export const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const OUTPUT_CHARACTERS_MAX = 1 << 22;
/** USER_HZ, which every Linux has at 100 for /proc (proc(5)). */
const TICKS_A_SECOND = 100;

export const hasProgram = (name: string): boolean =>
  `${process.env.PATH ?? ''}${delimiter}/usr/sbin${delimiter}/sbin`.split(delimiter).some((d) => d !== '' && existsSync(join(d, name)));

const living = new Set<ChildProcess>();
const cleaners = new Set<() => void>();
let watching = false;
/** A signal has come: programs are asked to end, none is started any more. */
let ending = false;
const LEAVE_MS = 5000;

/** Asks every program to end, so that ours give back what they hold, and leaves when they have, or after a while. */
function leave(code: number): void {
  if (ending) process.exit(code);
  ending = true;
  for (const child of living) child.kill('SIGTERM');
  const until = Date.now() + LEAVE_MS;
  setInterval(() => {
    if (living.size === 0 || Date.now() > until) process.exit(code);
  }, 20);
}

function watchEnd(): void {
  if (watching) return;
  watching = true;
  process.on('exit', () => {
    for (const child of living) child.kill('SIGKILL');
    for (const c of [...cleaners]) c();
  });
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)
    process.on(signal, () => leave(code));
}

/** Whether a signal has asked this process to end. */
export const isEnding = (): boolean => ending;

/** Runs on every way out of this process: when it ends, and on SIGINT, SIGTERM, SIGHUP. Returns how to take it back. */
export function onEnd(clean: () => void): () => void {
  watchEnd();
  cleaners.add(clean);
  return () => cleaners.delete(clean);
}

/** Seconds of CPU that a process, or one thread of it, has used; null when it is gone. */
export function cpuSeconds(pid: number, tid = -1): number | null {
  try {
    const text = readFileSync(tid < 0 ? `/proc/${pid}/stat` : `/proc/${pid}/task/${tid}/stat`, 'utf8');
    // The name in parentheses may hold anything: fields are counted from its end, utime and stime are the 14th and 15th.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND;
  } catch {
    return null;
  }
}

/** The same of all threads of a process, to the nanosecond: for one that does next to nothing. Threads that have ended are not in it. */
export function cpuNanoseconds(pid: number): number | null {
  try {
    const tasks = readdirSync(`/proc/${pid}/task`);
    return tasks.reduce((ns, tid) => ns + Number(readFileSync(`/proc/${pid}/task/${tid}/schedstat`, 'latin1').split(' ')[0]), 0);
  } catch {
    return null;
  }
}

/** `command` on one CPU; as it is where cpu is -1. The process that runs is the command's own: taskset replaces itself. */
export const pinned = (cpu: number, command: readonly string[]): string[] =>
  cpu < 0 ? [...command] : ['taskset', '-c', String(cpu), ...command];

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

export class Program {
  readonly name: string;
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  stdout = '';
  stderr = '';
  running = true;
  private readonly watchers = new Set<() => void>();

  /** Starts a command line; it is killed after `boundMs`. */
  constructor(command: readonly string[], boundMs: number) {
    watchEnd();
    if (ending) throw new Error('asked to end');
    this.name = command.join(' ');
    const env = { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' };
    const child = spawn(command[0]!, command.slice(1), { cwd: ROOT, stdio: ['pipe', 'pipe', 'pipe'], env });
    this.child = child;
    living.add(child);
    const bound = setTimeout(() => child.kill('SIGKILL'), boundMs);
    bound.unref();
    for (const where of ['stdout', 'stderr'] as const)
      child[where]!.setEncoding('utf8').on('data', (text: string) => {
        if (this[where].length < OUTPUT_CHARACTERS_MAX) this[where] += text;
        for (const w of [...this.watchers]) w();
      });
    child.stdin!.on('error', () => {});
    this.ended = new Promise((resolve) => {
      const end = (code: number | null): void => {
        clearTimeout(bound);
        living.delete(child);
        this.running = false;
        for (const w of [...this.watchers]) w();
        resolve(code);
      };
      child.on('error', (error) => {
        this.stderr += `${error.message}\n`;
        end(null);
      });
      child.on('close', end);
    });
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  /** Resolves with what `find` found in the output; rejects when the program ends first or the time is over. */
  until<T>(what: string, find: (p: Program) => T | null, ms: number): Promise<T> {
    return new Promise((resolve, reject) => {
      const done = (act: () => void): void => {
        clearTimeout(timer);
        this.watchers.delete(look);
        act();
      };
      const look = (): void => {
        const found = find(this);
        if (found !== null) done(() => resolve(found));
        else if (!this.running) done(() => reject(new Error(`ended (${this.child.exitCode}) before ${what}: ${this.lastWords()}`)));
      };
      const timer = setTimeout(() => done(() => reject(new Error(`no ${what} within ${ms} ms: ${this.lastWords()}`))), ms);
      this.watchers.add(look);
      look();
    });
  }

  /** The last line it said, for messages. */
  lastWords(): string {
    const lines = `${this.stdout}\n${this.stderr}`.split('\n').filter((l) => l.trim() !== '');
    return lines.at(-1) ?? this.name;
  }

  /** Asks it to end and waits; after `ms` it is killed. Resolves with its exit code, null when it was killed. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', ms = 10_000): Promise<number | null> {
    // A program that was asked before would take it as being forced.
    if (this.running && !ending) this.child.kill(signal);
    const force = setTimeout(() => this.child.kill('SIGKILL'), ms);
    const code = await this.ended;
    clearTimeout(force);
    return code;
  }
}

/** Runs a command to its end. */
export async function runProgram(command: readonly string[], boundMs: number): Promise<Ended> {
  const p = new Program(command, boundMs);
  p.child.stdin!.end();
  const code = await p.ended;
  return { code, stdout: p.stdout, stderr: p.stderr };
}

/** Runs a short command now. Throws with its own words when it fails. */
export function call(command: string, ...args: string[]): string {
  const r = spawnSync(command, args, { encoding: 'utf8', timeout: 15_000 });
  if (r.status !== 0) throw new Error(`${command} ${args.join(' ')}: ${(r.stderr ?? r.error?.message ?? '').trim()}`);
  return r.stdout;
}
