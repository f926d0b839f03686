/** From a configuration to a runtime: opens the port it names and fills in what the runtime needs. */
import type { DeviceOptions } from '../ports/device.ts';
import { loadNative, nativeProblem } from '../ports/native.ts';
import { openPacket } from '../ports/packet.ts';
import type { PortHandle } from '../ports/port.ts';
import { createSwitch, type Switch } from '../ports/switch.ts';
import { openTap } from '../ports/tap.ts';
import { REGION_BYTES_MAX } from '../rings/layout.ts';
import { parseMac } from '../wire/ethernet.ts';
import { parseIpv4 } from '../wire/ipv4.ts';
import { parseCidr } from './config/address.ts';
import { ConfigError, PrivilegeError } from './config/configError.ts';
import { type ResolvedConfig, stackConfigOf } from './config/load.ts';
import { checkAddressOwnership, checkPrivileges } from './config/ownership.ts';
import type { Config } from './config/schema.ts';
import type { BackgroundOptions } from './background.ts';
import { backgroundCpus, cpuPlan, dispatcherThreads } from './cpus.ts';
import { Runtime, type RuntimeOptions } from './runtime.ts';
import type { HostPlan } from '../workers/plan.ts';

/** Queues the layout wants of its port: every worker its own, or one. */
const queuesOf = (c: Config): number => (c.layout === 'run-to-completion' ? c.workers : 1);

/** A switch whose ports have the configuration's frames, offloads and impairments, the first its MAC and as many queues as the layout wants; memory is the addon's where there is one. */
export function openSwitch(c: Config, names: readonly string[]): Switch {
  const native = loadNative();
  const queues = queuesOf(c);
  // Every queue has the configured frames: a port's share of the region is what it starts with.
  const ports = names.length - 1 + queues;
  const bytes = ports * c.frames * c.frameBytes;
  if (bytes > REGION_BYTES_MAX) {
    const most = Math.floor(REGION_BYTES_MAX / (ports * c.frameBytes));
    throw new ConfigError(`frames: ${ports} ports of ${c.frames} frames of ${c.frameBytes} bytes are more than 2 GiB; at most ${most}`);
  }
  return createSwitch({
    ports: names.map((name, i) => (i > 0 ? { name } : { name, queues, ...(c.mac === null ? {} : { mac: c.mac }) })),
    framesPerPort: c.frames,
    frameBytes: c.frameBytes,
    ringSlots: c.ringsRx,
    checksum: c.offloadTxChecksum !== 'off',
    trains: c.offloadTso !== 'off',
    mtu: c.mtu,
    impair: {
      seed: c.switchSeed,
      loss: c.switchLoss,
      delayUs: c.switchDelayUs,
      jitterUs: c.switchJitterUs,
      reorder: c.switchReorder,
      duplicate: c.switchDuplicate,
      corrupt: c.switchCorrupt,
      rateBps: c.switchRateBps,
    },
    ...(native === null ? {} : { memory: native.createRegion({ bytes, kind: 'anonymous' }).memory }),
  });
}

function openPort(c: Config): PortHandle {
  if (c.nic === 'switch') return openSwitch(c, ['switch0']).handle(0);
  if (loadNative() === null) throw new ConfigError(`nic: ${c.nic} needs the native addon: ${nativeProblem()}`);
  checkPrivileges(c);
  checkAddressOwnership(c);
  const [kind, name = ''] = c.nic.split(':') as [string, string?];
  const device: DeviceOptions = {
    name,
    frames: c.frames,
    frameBytes: c.frameBytes,
    mtu: c.mtu,
    mac: c.mac ?? undefined,
    checksum: c.offloadTxChecksum !== 'off',
    trains: c.offloadTso !== 'off',
  };
  try {
    return kind === 'packet'
      ? openPacket({ ...device, rxSlots: c.packetRxSlots, transmitRing: c.packetTransmitRing, queues: queuesOf(c) })
      : openTap({ ...device, queues: queuesOf(c) });
  } catch (error) {
    throw refusedPort(error as NodeJS.ErrnoException);
  }
}

/** What the kernel refuses, in use by another process for one, is the user's to mend; what has no errno is a fault of ours. */
function refusedPort(error: NodeJS.ErrnoException): Error {
  if (typeof error.code !== 'string' || !/^E[A-Z0-9]+$/.test(error.code)) return error;
  return error.code === 'EPERM' || error.code === 'EACCES'
    ? new PrivilegeError(`nic: ${error.message}`)
    : new ConfigError(`nic: ${error.message}`);
}

function hostPlan(c: Config, mtu: number): HostPlan {
  const { ip, prefix } = parseCidr(c.address)!;
  return {
    address: ip,
    prefix,
    gateway: c.gateway === null ? 0 : parseIpv4(c.gateway)!,
    mtu,
    statics: c.arpStatic.map((pair) => {
      const [address, mac] = pair.split('=') as [string, string];
      const [hi, lo] = parseMac(mac)!;
      return [parseIpv4(address)!, hi, lo] as const;
    }),
  };
}

function backgroundOptions(c: Config, pinned: readonly number[]): BackgroundOptions {
  return {
    threads: c.backgroundThreads,
    cpus: backgroundCpus(c.backgroundCpus, pinned),
    nice: c.backgroundNice,
    queue: c.backgroundQueue,
    idleMs: c.backgroundIdleMs,
  };
}

/** Options of a runtime over an open port. `cpus` by thread: dispatchers (inline has none), then workers; -1 not pinned. */
export function runtimeOptions(
  c: Config,
  port: PortHandle,
  name: string,
  cpus: readonly number[],
  controlPath: string | null,
  stdout: 1 | 2 = 1,
): RuntimeOptions {
  const front = dispatcherThreads(c.layout);
  // An interface that was there before us may carry less than was asked for.
  const mtu = Math.min(c.mtu, port.attachment.caps.mtu);
  const stack = stackConfigOf(c);
  const pin = (i: number): number[] => (cpus[i] === undefined || cpus[i]! < 0 ? [] : [cpus[i]!]);
  return {
    name,
    port,
    layout: c.layout,
    workers: c.workers,
    host: hostPlan(c, mtu),
    stack: { ...stack, mss: Math.min(stack.mss, mtu - 40) },
    steering: c.steering,
    idle: c.idle,
    spins: c.idleSpins,
    burst: c.burst,
    overflow: c.ringsOverflow,
    rings: { rx: c.ringsRx, tx: c.ringsTx, grant: c.ringsGrant, redirect: c.ringsRedirect },
    dispatcherCpus: front > 0 ? pin(0) : [],
    transmitterCpus: front > 1 ? pin(1) : [],
    workerCpus: Array.from({ length: c.workers }, (_, w) => pin(front + w)),
    drainMs: c.drainMs,
    supervision: {
      // Of a port that several brokers share, nobody takes over the queue of one that died.
      restart: c.supervise === 'restart',
      backoffMs: c.superviseBackoffMs,
      restarts: c.superviseRestarts,
      watchdogMs: c.superviseWatchdogMs,
    },
    controlPath,
    stdout,
    background: backgroundOptions(c, cpus),
  };
}

/** Where other processes find a runtime's counters; the suffix tells several runtimes of one process apart. */
export const controlPath = (suffix = ''): string => `/dev/shm/flowring-${process.pid}${suffix}`;

/** Opens the port and builds the runtime; nothing runs yet. Throws ConfigError. What was negotiated goes to `warn`, a line each. */
export function openRuntime(config: ResolvedConfig, warn: (line: string) => void, suffix = ''): Runtime {
  const c = config.values;
  const threads = c.workers + dispatcherThreads(c.layout);
  const plan = cpuPlan(c, threads);
  for (const w of plan.warnings) warn(w);
  const port = openPort(c);
  for (const o of port.offloads) warn(`${port.attachment.name}: ${o.name}: ${o.provider}${o.reason === '' ? '' : ` (${o.reason})`}`);
  try {
    return new Runtime({ ...runtimeOptions(c, port, '', plan.cpus, controlPath(suffix)), configFile: config.file });
  } catch (error) {
    port.close();
    throw error;
  }
}
