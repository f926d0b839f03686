/** What a figure was measured on: the header of every bench. */
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, release } from 'node:os';

function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return null;
  }
}

/** Node, V8, kernel, CPU, governor and load, in lines that begin with `#`. */
export function environment(question: string): string {
  const governor = read('/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor') ?? 'unknown';
  return [
    `# ${question}`,
    `# node ${process.versions.node}, V8 ${process.versions.v8}, Linux ${release()}`,
    `# ${cpus()[0]?.model ?? 'unknown CPU'}, ${availableParallelism()} usable CPUs, governor ${governor}, load ${read('/proc/loadavg')?.split(' ')[0] ?? '?'}`,
  ].join('\n');
}

/** One line of a table. */
export const row = (cells: readonly string[]): string => cells.map((c, i) => (i === 0 ? c.padEnd(34) : c.padStart(14))).join('');
