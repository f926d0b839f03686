/** What V8 says of deoptimisations (`--trace-deopt`), and which functions of ours run for each packet or burst. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Deopt {
  name: string;
  /** V8's address of the function, one an isolate, and its place in the bytecode: the same again is the same deoptimisation. */
  place: string;
  reason: string;
}

/** The bailouts of a piece of output, in order. */
export function readDeopts(output: string): Deopt[] {
  const line =
    /\[bailout \(kind: [\w-]+, reason: ([^)]+)\): begin\. deoptimizing \S+ <JSFunction ?(\S*) \(sfi = (\S+)\)>.*?bytecode offset (\d+)/g;
  return [...output.matchAll(line)].map(([, reason, name, sfi, offset]) => ({ name: name!, place: `${sfi}:${offset}`, reason: reason! }));
}

/**
 * A line that was never run before has no feedback, and optimised code stops there once: a timer's first firing, a window's first
 * closing. Everything else says that what the code was made for is not what comes.
 */
export const isFirstVisit = (d: Deopt): boolean => d.reason.startsWith('Insufficient type feedback');

/** Deoptimisations at a place that had one before with the same reason: optimised again, and wrong again. */
export function repeated(deopts: readonly Deopt[]): Deopt[] {
  const seen = new Set<string>();
  return deopts.filter((d) => {
    const key = `${d.place} ${d.reason}`;
    const again = seen.has(key);
    seen.add(key);
    return again;
  });
}

function sourcesUnder(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((e) =>
    e.isDirectory() ? sourcesUnder(join(directory, e.name)) : e.name.endsWith('.ts') ? [join(directory, e.name)] : [],
  );
}

/** Names of the functions in src that are tagged hot. */
export function hotFunctions(src: string): Set<string> {
  const names = new Set<string>();
  const tagged =
    /\/\/ hot: per (?:packet|burst)\n(?:\s*\/\*\*[\s\S]*?\*\/\n)?\s*(?:export )?(?:private |readonly |async |static )*(?:function |const )?(\w+)/g;
  for (const file of sourcesUnder(src)) for (const [, name] of readFileSync(file, 'utf8').matchAll(tagged)) names.add(name!);
  return names;
}
