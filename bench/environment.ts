/** What figures were measured on. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, release } from 'node:os';
import { loadNative } from '../src/ports/native.ts';
import { readMachine } from '../src/main/cpus.ts';
import type { Cores, Plan } from './question.ts';
import { hasProgram } from './program.ts';

export interface Environment {
  date: string;
  node: string;
  v8: string;
  kernel: string;
  cpu: string;
  /** CPUs this process may use. */
  cpus: number;
  /** Which of them the server and the client were pinned to; null: not pinned. */
  cores: Cores | null;
  governor: string;
  root: boolean;
  /** How ours ran. */
  ours: string;
  /** The native addon is there. */
  addon: boolean;
  /** C++ compiler and C library, "g++ 12.2.0" and "glibc 2.36": counts of instructions depend on both. Null: there is none. */
  compiler: string | null;
  libc: string | null;
  /** Of one minute, before the run. */
  loadBefore: number;
  seconds: number;
  rounds: number;
  /** Configuration of ours that was not the default, KEY=VALUE. */
  sets: readonly string[];
}

function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return null;
  }
}

/** First line that a program prints; null when it cannot be run. */
function said(command: string, args: readonly string[]): string | null {
  const r = spawnSync(command, args, { encoding: 'utf8', timeout: 10_000 });
  return r.status === 0 ? r.stdout.split('\n')[0]!.trim() : null;
}

/** The C++ compiler, as scripts/build-native.mjs chooses it. */
export const compilerCommand = (): string | null =>
  [process.env.CXX, 'g++', 'c++', 'clang++'].find((c) => c !== undefined && c !== '' && said(c, ['--version']) !== null) ?? null;

function compilerOf(): string | null {
  const command = compilerCommand();
  if (command === null) return null;
  const line = said(command, ['--version'])!;
  return `${/clang/i.test(line) ? 'clang' : 'g++'} ${/(\d+\.\d+(?:\.\d+)?)/.exec(line)?.[1] ?? '?'}`;
}

/** Two CPUs for server and client, the first two this process may use; -1 where there are no two or taskset is missing. */
export function chooseCores(): Cores {
  const { allowed } = readMachine();
  if (allowed.length < 2 || !hasProgram('taskset')) return { server: -1, client: -1 };
  return { server: allowed[0]!, client: allowed[1]! };
}

export function environmentOf(plan: Pick<Plan, 'cores' | 'seconds' | 'rounds' | 'sets'>): Environment {
  const { cores, seconds, rounds, sets } = plan;
  return {
    date: new Date().toISOString().slice(0, 10),
    node: process.versions.node,
    v8: process.versions.v8,
    kernel: release(),
    cpu: cpus()[0]?.model ?? 'unknown',
    cpus: availableParallelism(),
    cores: cores.server < 0 ? null : cores,
    governor: read('/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor') ?? 'unknown',
    root: process.getuid?.() === 0,
    ours: 'layout inline, 1 worker',
    addon: loadNative() !== null,
    compiler: compilerOf(),
    libc: said('getconf', ['GNU_LIBC_VERSION']),
    loadBefore: Number(read('/proc/loadavg')?.split(' ')[0] ?? 0),
    seconds,
    rounds,
    sets,
  };
}

/** The same for people, in lines that begin with `#`. */
export function describeEnvironment(e: Environment): string[] {
  const where = e.cores === null ? 'not pinned' : `server on CPU ${e.cores.server}, client on CPU ${e.cores.client}`;
  return [
    `# ${e.date}, node ${e.node} (V8 ${e.v8}), Linux ${e.kernel}, ${e.root ? 'root' : 'not root'}, ${e.addon ? 'native addon' : 'no native addon'}`,
    `# ${e.cpu}, ${e.cpus} usable CPUs, ${where}, governor ${e.governor}, load before ${e.loadBefore}`,
    `# ${e.rounds} round${e.rounds === 1 ? '' : 's'} of ${e.seconds} s a side, in turn; medians${e.sets.length === 0 ? '' : `; ours with ${e.sets.join(' ')}`}`,
  ];
}
