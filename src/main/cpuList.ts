/** The kernel's cpulist syntax, as in cpuset(7): `0-3,8,10-14:2/4`. */

/** More than any kernel is built for (CONFIG_NR_CPUS is at most 8192). */
const CPUS_MAX = 8192;

/** The CPUs in the order written, duplicates left out; or why not, as text. An empty text is an empty list. */
export function parseCpus(text: string): number[] | string {
  const out: number[] = [];
  for (const part of text.trim().split(',')) {
    const item = part.trim();
    if (item === '') {
      if (text.trim() === '') break;
      return 'has an empty item';
    }
    // a-b:used/group takes the first `used` of every `group`
    const m = /^(\d+)(?:-(\d+)(?::(\d+)\/(\d+))?)?$/.exec(item);
    if (m === null) return `has "${item}", which is no CPU and no range`;
    const [first, last] = [Number(m[1]), Number(m[2] ?? m[1])];
    const [used, group] = [Number(m[3] ?? 1), Number(m[4] ?? 1)];
    if (last < first) return `has the range "${item}" backwards`;
    if (last >= CPUS_MAX) return `has "${item}": no machine has CPU ${last}`;
    if (used < 1 || group < used) return `has "${item}": the stride wants 1 ≤ used ≤ group`;
    for (let c = first; c <= last; c++) if ((c - first) % group < used && !out.includes(c)) out.push(c);
  }
  return out;
}

/** Cpulist text; ascending runs become ranges, the order is kept. */
export function formatCpus(cpus: readonly number[]): string {
  const parts: string[] = [];
  for (let i = 0; i < cpus.length; ) {
    let j = i;
    while (j + 1 < cpus.length && cpus[j + 1] === cpus[j]! + 1) j++;
    parts.push(j === i ? String(cpus[i]) : `${cpus[i]}-${cpus[j]}`);
    i = j + 1;
  }
  return parts.join(',');
}
