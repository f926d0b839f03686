/** Clients on the kernel's stack: bench/clients/load.c, compiled on first use, wrk and ab where they are installed. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import type { Load, Tally } from './load.ts';
import { ROOT, runProgram } from './program.ts';

const SOURCE = join(ROOT, 'bench/clients/load.c');
/** What a client may take beside its round: starting, connecting, a sink's last word. */
const GRACE_MS = 20_000;

/** Path of the compiled client, in build/, named by its source. Throws with the compiler's words. */
export function kernelClient(): string {
  const name = createHash('sha256').update(readFileSync(SOURCE)).digest('hex').slice(0, 16);
  const directory = join(ROOT, 'build/bench');
  const path = join(directory, `load-${name}`);
  if (existsSync(path)) return path;
  mkdirSync(directory, { recursive: true });
  const made = `${path}.${process.pid}`;
  const r = spawnSync('cc', ['-O2', '-o', made, SOURCE], { encoding: 'utf8', timeout: 60_000 });
  if (r.error !== undefined) throw new Error('no C compiler: the kernel client needs cc');
  if (r.status !== 0) throw new Error(`cc: ${r.stderr.trim()}`);
  renameSync(made, path);
  return path;
}

/** Why there is no kernel client, or null. */
export function clientProblem(): string | null {
  try {
    kernelClient();
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Where a client finds its server, and what is put in front of its command line: namespace, CPU. */
export interface Target {
  address: string;
  port: number;
  prefix(command: readonly string[]): string[];
}

export async function runLoad(target: Target, load: Load, warmSeconds: number, seconds: number): Promise<Tally> {
  const { mode, connections, size } = load;
  const udp = mode === 'udp';
  const args = [mode, target.address, target.port, udp ? 1 : connections, size, warmSeconds, seconds, udp ? connections : 1];
  const r = await runProgram(target.prefix([kernelClient(), ...args.map(String)]), (warmSeconds + seconds) * 1000 + GRACE_MS);
  const line = r.stdout.trim().split('\n').at(-1) ?? '';
  if (r.code !== 0 || line === '') throw new Error(`the client ended with ${r.code}: ${r.stderr.trim().split('\n').at(-1)}`);
  return JSON.parse(line) as Tally;
}

const UNITS: Readonly<Record<string, number>> = { us: 1, ms: 1e3, s: 1e6, m: 6e7 };
const microseconds = (text: string, label: string): number => {
  const [, value, unit] = new RegExp(`^\\s*${label}\\s+([0-9.]+)(us|ms|s|m)\\s*$`, 'm').exec(text) ?? [];
  return value === undefined ? 0 : Number(value) * UNITS[unit!]!;
};

/** What wrk printed, as a tally. Answers other than 2xx are wrong ones, its socket errors failed connections. */
export function readWrk(text: string): Tally {
  const [, requests, time, unit] = /^\s*(\d+) requests in ([0-9.]+)(us|ms|s|m),/m.exec(text) ?? [];
  if (requests === undefined) throw new Error(`wrk: ${text.trim().split('\n').at(-1)}`);
  const errors = /^\s*Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/m.exec(text)?.slice(1).map(Number) ?? [];
  return {
    operations: Number(requests),
    bytes: 0,
    total: Number(requests),
    seconds: (Number(time) * UNITS[unit!]!) / 1e6,
    p50: microseconds(text, '50%'),
    p99: microseconds(text, '99%'),
    wrong: Number(/^\s*Non-2xx or 3xx responses: (\d+)/m.exec(text)?.[1] ?? 0),
    failed: errors.reduce((a, b) => a + b, 0),
    lost: 0,
  };
}

/** wrk with one thread. It takes whole seconds, and has no warm-up of its own. */
export async function runWrk(target: Target, load: Load, seconds: number): Promise<Tally> {
  const whole = Math.max(1, Math.round(seconds));
  const close = load.mode === 'http-close' ? ['-H', 'Connection: close'] : [];
  const url = `http://${target.address}:${target.port}/`;
  const command = ['wrk', '-t1', `-c${load.connections}`, `-d${whole}s`, '--latency', ...close, url];
  const r = await runProgram(target.prefix(command), whole * 1000 + GRACE_MS);
  if (r.code !== 0) throw new Error(`wrk ended with ${r.code}: ${r.stderr.trim()}`);
  return readWrk(r.stdout);
}

/** What ab printed, as a tally. A body of another length is one of its failed requests. */
export function readAb(text: string): Tally {
  const field = (name: string): number => Number(new RegExp(`^${name}:\\s+([0-9.]+)`, 'm').exec(text)?.[1] ?? Number.NaN);
  const [requests, seconds, failed] = [field('Complete requests'), field('Time taken for tests'), field('Failed requests')];
  if (Number.isNaN(requests + seconds + failed)) throw new Error(`ab: ${text.trim().split('\n').at(-1)}`);
  const percentile = (p: number): number => Number(new RegExp(`^\\s*${p}%\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0) * 1000;
  const wrong = field('Non-2xx responses');
  const [p50, p99] = [percentile(50), percentile(99)];
  return { operations: requests, bytes: 0, total: requests, seconds, p50, p99, wrong: Number.isNaN(wrong) ? 0 : wrong, failed, lost: 0 };
}

/** ab for whole seconds. */
export async function runAb(target: Target, load: Load, seconds: number): Promise<Tally> {
  const whole = String(Math.max(1, Math.round(seconds)));
  const kept = load.mode === 'http' ? ['-k'] : [];
  const url = `http://${target.address}:${target.port}/`;
  const command = ['ab', '-q', ...kept, '-c', String(load.connections), '-t', whole, '-n', '100000000', url];
  const r = await runProgram(target.prefix(command), Number(whole) * 1000 + GRACE_MS);
  if (r.code !== 0) throw new Error(`ab ended with ${r.code}: ${r.stderr.trim().split('\n').at(-1)}`);
  return readAb(r.stdout);
}
