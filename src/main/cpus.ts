/**
 * Which CPUs there are, which of them this process may use, and which thread goes where. Everything is a pure function of
 * small kernel files read through an injected reader, so that tests describe machines as maps.
 *
 * Files: /sys/devices/system/cpu/{online,isolated}, cpuN/topology/thread_siblings_list, /sys/devices/system/node/nodeN/cpulist,
 * /sys/class/net/NAME/device/numa_node, /proc/self/status (Cpus_allowed_list), /proc/self/cgroup and the cpuset it names.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { formatCpus, parseCpus } from './cpuList.ts';
import { ConfigError } from './config/configError.ts';

/** The text of a small file, or null when it cannot be read. */
export type ReadText = (path: string) => string | null;

export const readText: ReadText = (path) => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
};

export interface Machine {
  /** Ascending. */
  online: readonly number[];
  /** Where this process may run now (its affinity mask). */
  allowed: readonly number[];
  /** What it may be pinned to: the cgroup's cpuset, or where there is none its affinity and the isolated CPUs. */
  pinnable: readonly number[];
  /** Taken from the scheduler by isolcpus. */
  isolated: readonly number[];
  /** The affinity mask is smaller than the default one: somebody chose it (taskset). */
  narrowed: boolean;
  /** NUMA node by CPU; empty where the kernel does not say. */
  nodeOf: ReadonlyMap<number, number>;
  /** Place among its SMT siblings: 0 is the first of the core. */
  siblingRank: ReadonlyMap<number, number>;
}

function listOf(text: string | null): number[] | null {
  if (text === null) return null;
  const list = parseCpus(text);
  return typeof list === 'string' ? null : list;
}

/** The effective cpuset of this process's cgroup (v2, else v1), or null when none is readable. */
export function cgroupCpuset(read: ReadText): number[] | null {
  const lines = (read('/proc/self/cgroup') ?? '').split('\n').map((l) => /^(\d+):([^:]*):(.*)$/.exec(l));
  for (const m of lines) {
    if (m === null) continue;
    const v2 = m[1] === '0' && m[2] === '';
    if (!v2 && !m[2]!.split(',').includes('cpuset')) continue;
    const root = v2 ? '/sys/fs/cgroup' : '/sys/fs/cgroup/cpuset';
    const names = v2 ? ['cpuset.cpus.effective'] : ['cpuset.effective_cpus', 'cpuset.cpus'];
    // the file stands only where the controller is on, and a container may see less of the path than the kernel says
    for (let path = m[3] === '/' ? '' : m[3]!; ; path = path.slice(0, path.lastIndexOf('/'))) {
      for (const name of names) {
        const list = listOf(read(`${root}${path}/${name}`));
        if (list !== null && list.length > 0) return list;
      }
      if (path === '') break;
    }
  }
  return null;
}

export function readMachine(read: ReadText = readText): Machine {
  const cpu = '/sys/devices/system/cpu';
  const online = listOf(read(`${cpu}/online`)) ?? Array.from({ length: availableParallelism() }, (_, i) => i);
  const status = /^Cpus_allowed_list:\s*(\S+)/m.exec(read('/proc/self/status') ?? '');
  const isOnline = (c: number): boolean => online.includes(c);
  const allowed = (listOf(status?.[1] ?? null) ?? [...online]).filter(isOnline);
  const isolated = (listOf(read(`${cpu}/isolated`)) ?? []).filter(isOnline);
  const cpuset = cgroupCpuset(read);
  const pinnable = (cpuset ?? [...new Set([...allowed, ...isolated])]).filter(isOnline).sort((a, b) => a - b);
  const narrowed = (cpuset ?? online).some((c) => isOnline(c) && !allowed.includes(c) && !isolated.includes(c));
  const nodeOf = new Map<number, number>();
  for (const node of listOf(read('/sys/devices/system/node/online')) ?? [])
    for (const c of listOf(read(`/sys/devices/system/node/node${node}/cpulist`)) ?? []) nodeOf.set(c, node);
  const siblingRank = new Map<number, number>();
  for (const c of online) {
    const siblings = listOf(read(`${cpu}/cpu${c}/topology/thread_siblings_list`)) ?? [c];
    siblingRank.set(c, Math.max(0, siblings.indexOf(c)));
  }
  return { online, allowed, pinnable, isolated, narrowed, nodeOf, siblingRank };
}

/** The NUMA node of an interface, or -1. */
export function nicNode(nic: string, read: ReadText = readText): number {
  const name = nic.includes(':') ? nic.slice(nic.indexOf(':') + 1) : '';
  const node = name === '' ? NaN : Number.parseInt(read(`/sys/class/net/${name}/device/numa_node`) ?? '', 10);
  return Number.isInteger(node) ? node : -1;
}

/** The CPUs `auto` takes, best first, and how many of them are meant for this alone (isolated). */
export function autoCpus(machine: Machine, node: number): { cpus: number[]; isolated: number } {
  const { allowed, pinnable, isolated, online, narrowed } = machine;
  // the scheduler's default mask leaves isolated CPUs out; a mask that somebody chose leaves them out on purpose
  const alone = isolated.filter((c) => pinnable.includes(c) && (!narrowed || allowed.includes(c)));
  const rank = (c: number): number =>
    (alone.includes(c) ? 0 : 1e6) + (node < 0 || machine.nodeOf.get(c) === node ? 0 : 1e5) + (machine.siblingRank.get(c) ?? 0) * 1e4;
  const pool = [...new Set([...alone, ...allowed.filter((c) => pinnable.includes(c))])];
  const cpus = pool.sort((a, b) => rank(a) - rank(b) || a - b);
  return { cpus: cpus.length > 0 ? cpus : [...online], isolated: alone.length };
}

/** Refuses CPUs that do not exist or that the cpuset excludes. `place` is where the list was written. */
export function checkCpus(cpus: readonly number[], machine: Machine, place: string, key = 'cpus'): void {
  if (cpus.length === 0) throw new ConfigError(`${key}: the list is empty; name at least one CPU, or auto`, place);
  const absent = cpus.filter((c) => !machine.online.includes(c));
  if (absent.length > 0) {
    const has = formatCpus(machine.online);
    throw new ConfigError(`${key}: CPU ${formatCpus(absent)} does not exist or is offline; this machine has ${has}`, place);
  }
  const barred = cpus.filter((c) => !machine.pinnable.includes(c));
  if (barred.length > 0) {
    const may = formatCpus(machine.pinnable);
    throw new ConfigError(
      `${key}: CPU ${formatCpus(barred)} is not allowed to this process (cpuset or affinity); it may use ${may}`,
      place,
    );
  }
}

/** Threads of a layout that are neither main nor workers: they take the first CPUs. */
export const dispatcherThreads = (layout: string): number => (layout === 'dispatcher' ? 1 : layout === 'dispatcher-rx-tx' ? 2 : 0);

/** How many stack workers `workers: auto` means. */
export function autoWorkers(cpus: string, layout: string, machine: Machine, max: number): number {
  if (layout === 'inline') return 1;
  const listed = listOf(cpus);
  const auto = autoCpus(machine, -1);
  const usable = listed !== null && listed.length > 0 ? listed.length : auto.isolated >= 2 ? auto.isolated : auto.cpus.length;
  return Math.min(max, Math.max(1, usable - dispatcherThreads(layout)));
}

/**
 * CPUs of the background pool: those of `list`, or for `auto` the ones that no pinned thread stands on, and every usable one
 * where none is left. Empty: not pinned. Throws ConfigError as `cpuPlan` does.
 */
export function backgroundCpus(list: string, pinned: readonly number[], machine: Machine = readMachine()): number[] {
  if (list === 'none') return [];
  if (list !== 'auto') {
    const listed = parseCpus(list);
    if (typeof listed === 'string') throw new ConfigError(`background.cpus: "${list}" ${listed}`);
    checkCpus(listed, machine, '', 'background.cpus');
    return listed;
  }
  const usable = machine.allowed.filter((c) => machine.pinnable.includes(c) && !machine.isolated.includes(c));
  const left = usable.filter((c) => !pinned.includes(c));
  return left.length > 0 ? left : usable;
}

export interface CpuPlan {
  /** CPU by thread, in the order dispatchers, workers, further threads; -1 is not pinned. */
  cpus: readonly number[];
  /** Lines for stderr. */
  warnings: readonly string[];
}

/**
 * Places `threads` pinned threads (dispatchers first, then the workers; main is not one of them) on the CPUs of
 * `config.cpus`. More threads than CPUs share them round robin, with a warning. Throws ConfigError for a CPU that does not
 * exist or may not be used.
 */
export function cpuPlan(
  config: { readonly cpus: string; readonly nic: string },
  threads: number,
  machine: Machine = readMachine(),
  read: ReadText = readText,
): CpuPlan {
  if (config.cpus === 'none') return { cpus: Array.from({ length: threads }, () => -1), warnings: [] };
  const listed = config.cpus === 'auto' ? null : parseCpus(config.cpus);
  if (typeof listed === 'string') throw new ConfigError(`cpus: "${config.cpus}" ${listed}`);
  if (listed !== null) checkCpus(listed, machine, '');
  const pool = listed ?? autoCpus(machine, nicNode(config.nic, read)).cpus;
  const cpus = Array.from({ length: threads }, (_, i) => pool[i % pool.length]!);
  const warnings =
    threads > pool.length
      ? [
          `${threads} threads on ${pool.length} CPU${pool.length === 1 ? '' : 's'} (${formatCpus(pool)}): they take turns, so figures are not those of one core a thread`,
        ]
      : [];
  return { cpus, warnings };
}
