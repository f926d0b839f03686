/**
 * `flowring doctor`: can this machine run with these options? One line a check, ok, warn or fail, with the fix. The
 * checks read the machine through `Surroundings`, so that tests describe one; none of them changes anything.
 */
import { existsSync, readdirSync, statfsSync } from 'node:fs';
import { release } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import pc from 'picocolors';
import { maskOf, parseCidr } from '../config/address.ts';
import { formatIpv4 } from '../../wire/ipv4.ts';
import { ConfigError } from '../config/configError.ts';
import { type LoadOptions, loadConfig, stackConfigOf } from '../config/load.ts';
import { interfaceExists, type KernelAddress, kernelAddresses, kernelOwner, portRefusal } from '../config/ownership.ts';
import { arenaBytes } from '../../stack/arenaPlan.ts';
import type { LinkFacts } from '../../ports/native.ts';
import type { Config } from '../config/schema.ts';
import { formatCpus } from '../cpuList.ts';
import { cpuPlan, dispatcherThreads, type Machine, readMachine, type ReadText, readText } from '../cpus.ts';

export type Verdict = 'ok' | 'warn' | 'fail';

export interface Finding {
  verdict: Verdict;
  check: string;
  text: string;
  /** What to do; empty when ok. */
  fix: string;
}

export interface Surroundings {
  read: ReadText;
  machine: Machine;
  addresses: readonly KernelAddress[];
  /** Why the native addon cannot be used, or null when it can. */
  addonProblem: string | null;
  /** Is that because FLOWRING_NATIVE=0 says so? */
  addonOff: boolean;
  /** The command that builds it. */
  build: string;
  /** Is there such a command on the PATH? */
  has(command: string): boolean;
  nodeHeaders: boolean;
  node: string;
  kernel: string;
  /** Free bytes of /dev/shm, or null when it is absent. */
  shmFree: number | null;
  refusal(c: Pick<Config, 'nic'>): string | null;
  /** What an interface is; null when there is none, or no addon to ask with. */
  link(name: string): LinkFacts | null;
}

const ok = (check: string, text: string): Finding => ({ verdict: 'ok', check, text, fix: '' });
const warn = (check: string, text: string, fix: string): Finding => ({ verdict: 'warn', check, text, fix });
const fail = (check: string, text: string, fix: string): Finding => ({ verdict: 'fail', check, text, fix });
const mib = (bytes: number): string => `${Math.round(bytes / 1048576)} MiB`;

function node(s: Surroundings): Finding {
  const [major, minor] = s.node.split('.').map(Number) as [number, number];
  if (major > 20 || (major === 20 && minor >= 11)) return ok('node', s.node);
  return fail('node', `${s.node} is too old`, 'install Node 20.11 or newer');
}

function kernel(s: Surroundings, nic: string): Finding {
  const [major, minor] = s.kernel.split('.').map((n) => Number.parseInt(n, 10)) as [number, number];
  const since = (a: number, b: number): boolean => major > a || (major === a && minor >= b);
  // virtio-net headers in a packet socket's ring came with 4.6
  if (nic.startsWith('packet:') && !since(4, 6))
    return fail(
      'kernel',
      `Linux ${s.kernel}: packet sockets before 4.6 cannot say what a frame left undone`,
      'use a newer kernel, or --nic tap',
    );
  // multi-queue TAP and offloads of virtio-net headers came together in 3.8
  if (since(3, 8)) return ok('kernel', `Linux ${s.kernel}`);
  return (nic === 'switch' ? warn : fail)(
    'kernel',
    `Linux ${s.kernel}: TAP devices before 3.8 have no multiple queues`,
    'use a newer kernel, or --nic switch',
  );
}

function addon(s: Surroundings, tap: boolean): Finding[] {
  if (s.addonProblem === null) return [ok('addon', 'loaded')];
  const missing = [
    ['a C++ compiler', s.has('g++') || s.has('clang++') || s.has('c++'), 'g++'],
    ['make', s.has('make'), 'make'],
    ['python3', s.has('python3'), 'python3'],
  ].filter(([, has]) => has === false);
  const lacks = missing.map(([what]) => what).join(', ');
  const fix = missing.length > 0 ? `apt install ${missing.map(([, , pkg]) => pkg).join(' ')}, then ${s.build}` : s.build;
  // nothing is missing then
  if (s.addonOff) return [(tap ? fail : warn)('addon', s.addonProblem, 'unset FLOWRING_NATIVE')];
  const out = [(tap ? fail : warn)('addon', `${s.addonProblem}${tap ? '' : ' (the switch works without, only slower and unpinned)'}`, fix)];
  out.push(missing.length > 0 ? warn('compiler', `missing: ${lacks}`, fix) : ok('compiler', 'C++ compiler, make and python3 are there'));
  if (!s.nodeHeaders) out.push(ok('headers', 'none beside node; those of the npm package node-api-headers are used'));
  return out;
}

function privileges(s: Surroundings, c: Config): Finding {
  if (c.nic === 'switch') return ok('privileges', 'none needed for the switch');
  const why = s.refusal(c);
  if (why === null) return ok('privileges', `${c.nic} may be opened`);
  const [text, ...fix] = why.replace(/^nic: /, '').split('; ');
  return fail('privileges', text!, fix.join('; '));
}

function device(s: Surroundings, c: Config): Finding[] {
  const [kind, name = ''] = c.nic.split(':') as [string, string?];
  if (kind === 'packet') return packetDevice(s, c, name);
  if (name === '') return [ok('interface', 'the kernel picks a name')];
  return [interfaceExists(name, s.read) ? existingTap(s, c, name) : ok('interface', `${name} does not exist and is created`)];
}

/** IFF_MULTI_QUEUE (linux/if_tun.h). */
const TUN_MULTI_QUEUE = 0x100;

/** A TAP that is there: has it the queues that are wanted, and is it free? One that somebody has opened has carrier. */
function existingTap(s: Surroundings, c: Config, name: string): Finding {
  const queues = c.layout === 'run-to-completion' ? c.workers : 1;
  const flags = s.read(`/sys/class/net/${name}/tun_flags`);
  if (flags !== null && (Number.parseInt(flags, 16) & TUN_MULTI_QUEUE) === 0) {
    if (queues > 1)
      return fail(
        'interface',
        `${name} exists with one queue, ${queues} are needed`,
        `ip link del ${name}, then let it be made, or: ip tuntap add ${name} mode tap multi_queue`,
      );
    if (s.read(`/sys/class/net/${name}/carrier`)?.trim() === '1')
      return fail('interface', `another process holds ${name}`, 'end it, or take another name');
  }
  return ok('interface', `${name} exists and is attached to`);
}

/** An interface that stays the kernel's: what it carries, and what it and its driver do with frames. Why it may not be opened, `privileges` says. */
function packetDevice(s: Surroundings, c: Config, name: string): Finding[] {
  const l = s.link(name);
  if (l === null) return [];
  const out: Finding[] = [];
  if (l.loopback || !l.ethernet) out.push(fail('interface', `${name} carries no Ethernet`, 'name a NIC or a veth'));
  else if (!l.up) out.push(fail('interface', `${name} is down`, `ip link set ${name} up`));
  else if (!l.running) out.push(warn('interface', `${name} is up and has no carrier`, 'plug it in, or set its peer up'));
  else out.push(ok('interface', `${name} is up, MTU ${l.mtu}, and stays the kernel's, ${l.mac}`));
  if (l.mtu < c.mtu) out.push(warn('mtu', `${name} has MTU ${l.mtu}, which is used instead of ${c.mtu}`, `--set mtu=${l.mtu}`));
  const does = [
    ['rx-checksum', l.rxChecksum],
    ['tx-checksum', l.txChecksum],
    ['tso', l.tso],
    ['gro', l.gro],
  ] as const;
  const list = (on: boolean): string =>
    does
      .filter(([, has]) => has === on)
      .map(([what]) => what)
      .join(', ') || 'none';
  out.push(ok('offloads', `of ${name}: ${list(true)}; by the kernel or the stack: ${list(false)}`));
  if (l.lro) out.push(warn('lro', `${name} merges segments in a way that packet sockets drop`, `ethtool -K ${name} lro off gro on`));
  return out;
}

function address(s: Surroundings, c: Config): Finding[] {
  if (c.nic === 'switch') return [ok('address', `${c.address}, in memory only`)];
  const { ip, prefix } = parseCidr(c.address)!;
  const owner = kernelOwner(c, s.addresses);
  if (owner !== undefined) {
    const where = owner.iface === '' ? '' : ` on ${owner.iface}`;
    return [
      fail(
        'address',
        `the kernel owns ${formatIpv4(ip)}${where} and would answer its connections with RST`,
        'give the stack another address of the link with --address',
      ),
    ];
  }
  const out = [ok('address', `${c.address} is not the kernel's`)];
  if (c.nic.startsWith('packet:'))
    return [...out, ok('route', `stations on ${c.nic.slice(7)}'s link reach it; programs of this kernel do not, through that interface`)];
  const name = c.nic.startsWith('tap:') ? c.nic.slice(4) : '';
  const onLink = (a: KernelAddress): boolean => ((a.ip ^ ip) & maskOf(prefix)) === 0 && a.iface !== '';
  const elsewhere = s.addresses.find((a) => onLink(a) && a.iface !== name);
  const here = s.addresses.find((a) => onLink(a) && a.iface === name);
  if (elsewhere !== undefined)
    out.push(
      warn(
        'route',
        `the kernel has ${formatIpv4(elsewhere.ip)}/${elsewhere.prefix} of the same link on ${elsewhere.iface} and sends replies there`,
        'use another network, or a network namespace',
      ),
    );
  else if (here === undefined) {
    const peer = formatIpv4((ip & maskOf(prefix)) + ((ip & ~maskOf(prefix)) === 1 ? 2 : 1));
    out.push(
      warn(
        'route',
        'the kernel has no address on this link, so its own programs cannot reach the stack',
        `ip addr add ${peer}/${prefix} dev ${name === '' ? 'the TAP' : name}, once it is up`,
      ),
    );
  } else out.push(ok('route', `the kernel's side is ${formatIpv4(here.ip)}`));
  return out;
}

function cpus(s: Surroundings, c: Config): Finding[] {
  const threads = c.workers + dispatcherThreads(c.layout);
  const plan = cpuPlan(c, threads, s.machine, s.read);
  const pinned = c.cpus === 'none' ? 'not pinned' : `on CPU ${plan.cpus.join(', ')}`;
  const text = `${threads} thread${threads === 1 ? '' : 's'} ${pinned}; online ${formatCpus(s.machine.online)}`;
  const out = [plan.warnings.length === 0 ? ok('cpus', text) : warn('cpus', plan.warnings[0]!, 'fewer --workers, or more --cpus')];
  const governor = s.read(`/sys/devices/system/cpu/cpu${Math.max(0, plan.cpus[0] ?? 0)}/cpufreq/scaling_governor`)?.trim();
  if (governor !== undefined && governor !== 'performance' && governor !== '')
    out.push(warn('governor', `CPU frequency governor is ${governor}`, 'cpupower frequency-set -g performance'));
  const [quota, period] = (s.read('/sys/fs/cgroup/cpu.max') ?? '').trim().split(' ');
  if (period !== undefined && quota !== 'max' && Number(quota) / Number(period) < threads)
    out.push(
      warn(
        'quota',
        `this cgroup may use ${(Number(quota) / Number(period)).toFixed(1)} CPUs, for ${threads} threads`,
        'raise the CPU limit of the container, or fewer --workers',
      ),
    );
  return out;
}

/** native/ports/packet.cc */
const PACKET_SLOTS_A_MIB = 15;

function memory(s: Surroundings, c: Config): Finding[] {
  const ring = c.nic.startsWith('packet:') ? Math.ceil(c.packetRxSlots / PACKET_SLOTS_A_MIB) * 1048576 : 0;
  const need = ring + c.frames * c.frameBytes + c.workers * arenaBytes(stackConfigOf(c));
  const info = s.read('/proc/meminfo') ?? '';
  const kib = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(info)?.[1] ?? Number.NaN);
  const free = kib('MemAvailable') * 1024;
  const text = `${mib(need)} for frames, connections and buffers`;
  const out = [need > free ? warn('memory', `${text}, ${mib(free)} available`, 'lower frames, chunks or workers') : ok('memory', text)];
  const huge = kib('HugePages_Total');
  const thp = /\[(\w+)\]/.exec(s.read('/sys/kernel/mm/transparent_hugepage/enabled') ?? '')?.[1] ?? 'absent';
  out.push(ok('hugepages', `${Number.isNaN(huge) ? 0 : huge} reserved, transparent ${thp}; the switch and TAP devices need none`));
  if (s.shmFree === null) out.push(warn('shm', '/dev/shm is absent: flowring top will see nothing', 'mount a tmpfs there'));
  else if (s.shmFree < 16 * 1048576) out.push(warn('shm', `/dev/shm has ${mib(s.shmFree)} left`, 'in a container raise --shm-size'));
  else out.push(ok('shm', `/dev/shm has ${mib(s.shmFree)} left, for flowring top`));
  return out;
}

/** All checks. A configuration that does not load is the finding; what does not depend on it is still looked at. */
export function diagnose(load: LoadOptions, s: Surroundings): Finding[] {
  let config: Config | null = null;
  const findings: Finding[] = [node(s)];
  try {
    const resolved = loadConfig({ ...load, machine: s.machine });
    config = resolved.values;
    findings.push(ok('config', 'valid'), ...resolved.warnings.map((w) => warn('config', w, 'remove it')));
  } catch (e) {
    if (!(e instanceof ConfigError)) throw e;
    const [text, ...fix] = e.message.split('; ');
    findings.push(fail('config', text!, fix.join('; ')));
  }
  const nic = config === null ? 'switch' : config.nic;
  findings.push(kernel(s, nic), ...addon(s, nic !== 'switch'));
  if (config === null) return findings;
  findings.push(privileges(s, config));
  if (nic !== 'switch') findings.push(...device(s, config));
  return [...findings, ...address(s, config), ...cpus(s, config), ...memory(s, config)];
}

function onPath(command: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((d) => d !== '' && existsSync(join(d, command)));
}

function shmFree(): number | null {
  try {
    readdirSync('/dev/shm');
    const fs = statfsSync('/dev/shm');
    return fs.bavail * fs.bsize;
  } catch {
    return null;
  }
}

async function surroundings(): Promise<Surroundings> {
  const { buildCommand, loadNative, nativeProblem } = await import('../../ports/native.ts');
  return {
    read: readText,
    machine: readMachine(),
    addresses: kernelAddresses(),
    addonProblem: loadNative() === null ? nativeProblem() : null,
    addonOff: process.env.FLOWRING_NATIVE === '0',
    build: buildCommand(),
    has: onPath,
    nodeHeaders: existsSync(join(dirname(process.execPath), '../include/node/node_api.h')),
    node: process.versions.node,
    kernel: release(),
    shmFree: shmFree(),
    refusal: portRefusal,
    link: (name) => loadNative()?.linkFacts(name) ?? null,
  };
}

const PAINT: Readonly<Record<Verdict, (text: string) => string>> = { ok: pc.green, warn: pc.yellow, fail: pc.red };

export function formatFinding(f: Finding): string {
  const fix = f.fix === '' ? '' : `; fix: ${f.fix}`;
  return `${PAINT[f.verdict](f.verdict.padEnd(4))} ${f.check.padEnd(10)} ${f.text}${fix}`;
}

/** Exit code 0 when nothing fails, else 1. */
export async function doctorCommand(options: { load: LoadOptions; json: boolean }): Promise<number> {
  const findings = diagnose(options.load, await surroundings());
  const canRun = findings.every((f) => f.verdict !== 'fail');
  const text = options.json ? JSON.stringify({ canRun, findings }) : findings.map(formatFinding).join('\n');
  process.stdout.write(`${text}\n`);
  return canRun ? 0 : 1;
}
