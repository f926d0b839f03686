/** A command that runs beside a test: what it says, and how it ends. Bounded, and ended with the test's process. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { BIN, ROOT } from './command.ts';

const SAYS_MS = 30_000;
const living = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of living) child.kill('SIGKILL');
});

export interface RunningOptions {
  /** Default: node with the options' `script`. */
  command?: string;
  /** What node runs; default bin/flowring.js. */
  script?: string;
  env?: Readonly<Record<string, string>>;
  /** It is killed then; default 60 s. */
  boundMs?: number;
  /** Called for each piece of output. */
  see?: (r: Running) => void;
}

export class Running {
  readonly child: ChildProcess;
  stdout = '';
  stderr = '';
  private readonly ending: Promise<number | null>;

  constructor(args: readonly string[], o: RunningOptions = {}) {
    const [command, first] = o.command !== undefined ? [o.command, []] : [process.execPath, [o.script ?? BIN]];
    const env = { ...process.env, NO_COLOR: '1', ...o.env };
    this.child = spawn(command, [...first, ...args], { cwd: ROOT, env, stdio: ['pipe', 'pipe', 'pipe'] });
    living.add(this.child);
    const bound = setTimeout(() => this.child.kill('SIGKILL'), o.boundMs ?? 60_000);
    for (const where of ['stdout', 'stderr'] as const)
      this.child[where]!.setEncoding('utf8').on('data', (text: string) => {
        this[where] += text;
        o.see?.(this);
      });
    // It may have ended.
    this.child.stdin!.on('error', () => {});
    this.ending = new Promise((resolve) => {
      this.child.on('close', (code, signal) => {
        clearTimeout(bound);
        living.delete(this.child);
        resolve(signal === null ? code : -1);
      });
    });
  }

  get pid(): number {
    return this.child.pid!;
  }

  get all(): string {
    return `stdout:\n${this.stdout}\nstderr:\n${this.stderr}`;
  }

  /** Resolves with the match when `pattern` stands in what was said; `again` is called twice a second meanwhile. */
  async says(pattern: RegExp, again = (): void => {}): Promise<RegExpExecArray> {
    const by = Date.now() + SAYS_MS;
    for (let looks = 1; ; looks++) {
      const found = pattern.exec(this.stdout) ?? pattern.exec(this.stderr);
      if (found !== null) return found;
      assert.ok(Date.now() < by && this.child.exitCode === null, `never said ${pattern}\n${this.all}`);
      await new Promise((done) => setTimeout(done, 20));
      if (looks % 25 === 0) again();
    }
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }

  /** One line to its stdin; what it said before is forgotten. */
  tell(line: string): void {
    this.stdout = '';
    this.child.stdin!.write(`${line}\n`);
  }

  /** Nanoseconds of CPU of all its threads. */
  cpuNs(): number {
    const tasks = `/proc/${this.pid}/task`;
    return readdirSync(tasks).reduce((ns, tid) => ns + Number(readFileSync(`${tasks}/${tid}/schedstat`, 'latin1').split(' ')[0]), 0);
  }

  /** Closes its stdin and resolves with its exit code; -1 when a signal ended it. */
  ends(): Promise<number | null> {
    this.child.stdin!.end();
    return this.ending;
  }
}

/** `flowring` with these arguments. */
export const start = (...args: string[]): Running => new Running(args);
