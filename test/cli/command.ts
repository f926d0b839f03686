/** Runs bin/flowring.js as a person would, for the tests of the command line. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The package: dist/test/cli/ is three levels below it. */
export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
export const BIN = fileURLToPath(new URL('../../../bin/flowring.js', import.meta.url));

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** `prefix` is put in front of the command (setpriv, unshare …). Bounded: 60 s. */
export function flowring(args: readonly string[], prefix: readonly string[] = []): Ended {
  const [command, ...rest] = [...prefix, process.execPath, BIN, ...args] as [string, ...string[]];
  const r = spawnSync(command, rest, { encoding: 'utf8', timeout: 60_000, env: { ...process.env, NO_COLOR: '1' } });
  if (r.error !== undefined) throw r.error;
  return { code: r.status, stdout: r.stdout, stderr: r.stderr };
}

/** Can this command be run at all here? */
export const works = (command: string, args: readonly string[]): boolean => spawnSync(command, args, { stdio: 'ignore' }).status === 0;
