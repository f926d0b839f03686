/** `flowring run <module|example> [-- args]`: one runtime, the module in every worker, until it ends or a signal drains it. */
import { existsSync, readdirSync } from 'node:fs';
import { isAbsolute, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { formatIpv4 } from '../../wire/ipv4.ts';
import { ConfigError } from '../config/configError.ts';
import type { ResolvedConfig } from '../config/load.ts';
import { openRuntime } from '../open.ts';
import { drainOnSignals } from './signals.ts';

export interface RunOptions {
  config: ResolvedConfig;
  /** Path of an ES module, or the name of an example. */
  module: string;
  args: string[];
}

const EXAMPLES = new URL('../../../../extras/examples/', import.meta.url);

function exampleNames(): string[] {
  try {
    return readdirSync(EXAMPLES).filter((f) => f.endsWith('.mjs')).map((f) => f.slice(0, -4));
  } catch {
    return [];
  }
}

/** The module's URL: a file, else an example of that name. ConfigError names both places looked at. */
export function moduleUrl(name: string): string {
  const path = isAbsolute(name) ? name : resolve(name);
  if (/\.[cm]?js$/.test(name) || name.includes('/')) {
    if (existsSync(path)) return pathToFileURL(path).href;
    throw new ConfigError(`run: no module ${path}; give a path, or one of the examples: ${exampleNames().join(', ')}`);
  }
  const example = new URL(`${name}.mjs`, EXAMPLES);
  if (existsSync(fileURLToPath(example))) return example.href;
  if (existsSync(path)) return pathToFileURL(path).href;
  throw new ConfigError(`run: neither a file nor an example is called "${name}"; the examples are ${exampleNames().join(', ')}`);
}

/** Runs to the end. Resolves to the exit code: 0, the highest code a worker's program set, or 1 when a worker failed. */
export async function runCommand(options: RunOptions): Promise<number> {
  const url = moduleUrl(options.module);
  const runtime = openRuntime(options.config, (line) => process.stderr.write(`flowring: ${line}\n`));
  runtime.onListening = (address, port) => process.stdout.write(`listening ${formatIpv4(address)}:${port}\n`);
  const signals = drainOnSignals(() => runtime.close());
  let code = 0;
  try {
    await runtime.start({ url, args: options.args });
    await runtime.finished();
  } catch (error) {
    if (!signals.draining()) {
      const e = error as NodeJS.ErrnoException;
      if (error instanceof ConfigError) throw error;
      process.stderr.write(`flowring: a worker failed: ${e.stack ?? String(error)}\n`);
      code = 1;
    }
  }
  await runtime.close().catch((error: Error) => {
    if (code === 0) process.stderr.write(`flowring: while stopping: ${error.message}\n`);
    code = 1;
  });
  signals.remove();
  const audit = runtime.audit();
  if (code === 0 && audit.free !== audit.total) {
    const { workers, ...rest } = audit;
    process.stderr.write(`flowring: ${audit.total - audit.free} of ${audit.total} frames did not come home: ${JSON.stringify({ ...rest, workers: [...workers] })}\n`);
    code = 1;
  }
  return Math.max(code, runtime.exitCode);
}
