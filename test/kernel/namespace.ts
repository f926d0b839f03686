/**
 * A network namespace of its own for a kernel test: programs run inside it, every one bounded in time, and nothing is left
 * behind, neither when a test throws nor when a run before this one was killed.
 *
 * Addresses are of 192.0.2.0/24 (RFC 5737, TEST-NET-1): .1 is the kernel's side of the TAP, .2 the stack's.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadNative, nativeProblem } from '../../src/ports/native.ts';

/** dist/test/kernel/ is three levels below the package. */
export const REPOSITORY = fileURLToPath(new URL('../../../', import.meta.url));
export const FLOWRING = join(REPOSITORY, 'bin/flowring.js');
export const KERNEL_IP = '192.0.2.1';
export const STACK_IP = '192.0.2.2';
const PREFIX = 'flowring-t';
const OUTPUT_CHARACTERS_MAX = 4 << 20;

/** What a program left behind. `code` is null when it was ended by `signal` or by its time bound. */
export interface Result {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  timedOut: boolean;
}

const onPath = (program: string): boolean =>
  `${process.env.PATH ?? ''}${delimiter}/usr/sbin${delimiter}/sbin`.split(delimiter).some((d) => d !== '' && existsSync(join(d, program)));

/** Everything these tests need that is not here, in words; empty when they can run. */
export function missing(programs: readonly string[]): string[] {
  const lacks = programs.filter((p) => !onPath(p)).map((p) => `no program ${p}`);
  if (process.getuid?.() !== 0) lacks.push('not root');
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch {
    lacks.push('no /dev/net/tun');
  }
  if (loadNative() === null) lacks.push(`no native addon (${nativeProblem()})`);
  if (lacks.length > 0) return lacks;
  const probe = `${PREFIX}${process.pid}-probe`;
  const made = spawnSync('ip', ['netns', 'add', probe], { encoding: 'utf8', timeout: 10_000 });
  if (made.status !== 0) return [`no network namespaces (${made.stderr.trim()})`];
  spawnSync('ip', ['netns', 'del', probe], { timeout: 10_000 });
  return [];
}

const living = new Set<ChildProcess>();
const namespaces = new Set<string>();
let cleaning = false;

function deleteNamespace(name: string): void {
  spawnSync('ip', ['netns', 'del', name], { stdio: 'ignore', timeout: 10_000 });
  namespaces.delete(name);
}

function cleanUp(): void {
  for (const child of living) child.kill('SIGKILL');
  for (const name of namespaces) deleteNamespace(name);
}

/** On exit, whatever the reason; and, for a run that was killed, at the next one's start (the name holds its pid). */
function cleanAtExit(): void {
  if (cleaning) return;
  cleaning = true;
  process.on('exit', cleanUp);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(1));
  const list = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8', timeout: 10_000 }).stdout ?? '';
  for (const [, name, pid] of list.matchAll(/^(flowring-t(\d+)-\S*)/gm)) if (!existsSync(`/proc/${pid}`)) deleteNamespace(name!);
}

/** A program that runs beside the test: a server, a capture. */
export class Daemon {
  readonly child: ChildProcess;
  private readonly name: string;
  private readonly ended: Promise<Result>;
  private result: Result | null = null;
  private readonly watchers = new Set<() => void>();
  stdout = '';
  stderr = '';

  constructor(command: string, args: readonly string[], boundMs: number) {
    this.name = args.join(' ');
    const env = { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' };
    const child = spawn(command, args, { cwd: REPOSITORY, stdio: ['ignore', 'pipe', 'pipe'], env });
    this.child = child;
    living.add(child);
    let timedOut = false;
    const bound = setTimeout(() => {
      timedOut = true;
      child.kill('SIGKILL');
    }, boundMs);
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      if (this.stdout.length < OUTPUT_CHARACTERS_MAX) this.stdout += text;
      this.look();
    });
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      if (this.stderr.length < OUTPUT_CHARACTERS_MAX) this.stderr += text;
      this.look();
    });
    this.ended = new Promise((resolve) => {
      const end = (code: number | null, signal: NodeJS.Signals | null): void => {
        clearTimeout(bound);
        living.delete(child);
        this.result ??= { code, signal, stdout: this.stdout, stderr: this.stderr, timedOut };
        this.look();
        resolve(this.result);
      };
      child.on('error', (error) => {
        this.stderr += error.message;
        end(null, null);
      });
      child.on('close', end);
    });
  }

  private look(): void {
    for (const w of this.watchers) w();
  }

  /** What it has printed so far, for messages. */
  describe(): string {
    return `${this.name}\n--- stdout\n${this.stdout.slice(-3000)}\n--- stderr\n${this.stderr.slice(-3000)}`;
  }

  /** Resolves once `test` holds of what was printed; throws when the program ends first or the time is over. */
  async until(what: string, test: (d: Daemon) => boolean, ms: number): Promise<void> {
    if (test(this)) return;
    await new Promise<void>((resolve, reject) => {
      const finish = (error: Error | null): void => {
        clearTimeout(timer);
        this.watchers.delete(watch);
        if (error === null) resolve();
        else reject(error);
      };
      const watch = (): void => {
        if (test(this)) finish(null);
        else if (this.result !== null)
          finish(new Error(`ended (${this.result.code ?? this.result.signal}) before ${what}: ${this.describe()}`));
      };
      const timer = setTimeout(() => finish(new Error(`no ${what} within ${ms} ms: ${this.describe()}`)), ms);
      this.watchers.add(watch);
      watch();
    });
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Waits for its end. */
  end(): Promise<Result> {
    return this.ended;
  }

  get running(): boolean {
    return this.result === null;
  }

  /** Sends `signal` and waits; after `ms` SIGKILL follows, which the result's `signal` shows. */
  async stop(signal: NodeJS.Signals = 'SIGINT', ms = 15_000): Promise<Result> {
    if (this.result === null) this.child.kill(signal);
    const force = setTimeout(() => this.child.kill('SIGKILL'), ms);
    const r = await this.ended;
    clearTimeout(force);
    return r;
  }
}

let made = 0;

export class Namespace {
  readonly name: string;

  constructor() {
    cleanAtExit();
    this.name = `${PREFIX}${process.pid}-${++made}`;
    const add = spawnSync('ip', ['netns', 'add', this.name], { encoding: 'utf8', timeout: 10_000 });
    if (add.status !== 0) throw new Error(`ip netns add ${this.name}: ${add.stderr}`);
    namespaces.add(this.name);
    this.ip('link', 'set', 'lo', 'up');
  }

  /** `ip ARGS` inside; throws when it fails. Returns its output. */
  ip(...args: string[]): string {
    const r = spawnSync('ip', ['-n', this.name, ...args], { encoding: 'utf8', timeout: 10_000 });
    if (r.status !== 0) throw new Error(`ip ${args.join(' ')}: ${r.stderr}`);
    return r.stdout;
  }

  /** Starts a program inside. It is killed after `boundMs`. The process id is the program's own: `ip` replaces itself by it. */
  start(boundMs: number, command: string, ...args: string[]): Daemon {
    return new Daemon('ip', ['netns', 'exec', this.name, command, ...args], boundMs);
  }

  /** Runs a program inside to its end. */
  run(boundMs: number, command: string, ...args: string[]): Promise<Result> {
    return this.start(boundMs, command, ...args).end();
  }

  /** The TAP with the kernel's address: made by us now, or, with `existing`, the one the stack has made. */
  tap(device: string, existing: boolean): void {
    if (!existing) this.ip('tuntap', 'add', 'dev', device, 'mode', 'tap', 'vnet_hdr');
    this.ip('address', 'add', `${KERNEL_IP}/24`, 'dev', device);
    this.ip('link', 'set', device, 'up');
  }

  /** A veth: `device` with the kernel's address, `far` for a packet socket of the stack's. */
  veth(device: string, far: string): void {
    this.ip('link', 'add', device, 'type', 'veth', 'peer', 'name', far);
    this.ip('address', 'add', `${KERNEL_IP}/24`, 'dev', device);
    for (const name of [device, far]) this.ip('link', 'set', name, 'up');
  }

  remove(): void {
    deleteNamespace(this.name);
  }
}
