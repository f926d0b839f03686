/** Runs an example within a test: its options, its worker, and a query so that each import is a program of its own. */
import { injectContext } from '../../../src/api/context.ts';
import type { WorkerContext } from '../../../src/api/context.ts';

// dist/test/unit/examples/ is four levels below the repository
const EXAMPLES = new URL('../../../../extras/examples/', import.meta.url);
let imports = 0;

export async function runProgram(name: string, worker: WorkerContext, args: readonly string[]): Promise<void> {
  const before = process.argv;
  injectContext(worker);
  process.argv = [...before.slice(0, 2), ...args];
  try {
    await import(new URL(`${name}.mjs?${++imports}`, EXAMPLES).href);
  } finally {
    process.argv = before;
  }
}

/** A module of extras/examples/lib. */
// biome-ignore lint/suspicious/noExplicitAny: the examples are plain JavaScript
export const library = (name: string): Promise<any> => import(new URL(`lib/${name}.mjs`, EXAMPLES).href);

/** What the program says on the console, line by line, while `run` runs; and the exit code it leaves. */
export async function outcomeOf(run: () => Promise<void>): Promise<{ lines: string[]; exitCode: number }> {
  const lines: string[] = [];
  const { log, error } = console;
  const before = process.exitCode;
  process.exitCode = 0;
  console.log = (text: string) => void lines.push(...text.split('\n'));
  console.error = console.log;
  try {
    await run();
    return { lines, exitCode: Number(process.exitCode) };
  } finally {
    Object.assign(console, { log, error });
    process.exitCode = before;
  }
}
