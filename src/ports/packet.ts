/**
 * Port `packet`: an AF_PACKET socket on an interface that the kernel keeps, a NIC or a veth. The stack is a second station
 * on it, with an address of its own. Frames come through a ring that the kernel writes, super-segments and checksums with
 * virtio-net headers as on a TAP, and leave by sendmmsg, or small ones of a veth through an AF_XDP ring. Needs CAP_NET_RAW in the
 * network namespace.
 *
 * Several queues are several sockets in one PACKET_FANOUT group.
 */
import { HEADROOM } from '../rings/layout.ts';
import { formatMac, parseMac } from '../wire/ethernet.ts';
import { addressFilter, steerProgram } from './bpf.ts';
import {
  checkOptions,
  checkQueues,
  chooseMac,
  type DeviceOptions,
  linkTrouble,
  makeQueues,
  nativeFor,
  PortError,
  TRAIN_BYTES_MAX,
} from './device.ts';
import type { LinkFacts, Native, OpenedPort } from './native.ts';
import type { Offload, PortCaps, PortHandle } from './port.ts';

/** `name`: an interface that exists and is up. `mtu`: the smaller of this and the interface's is used. */
export interface PacketOptions extends DeviceOptions {
  /** Slots of 68 KiB in each queue's receive ring, 1 to 15,360; rounded up to whole MiB, which hold 15. */
  rxSlots: number;
  /** Queues, each with a socket, a ring, and an equal share of the frames; default 1. */
  queues?: number | undefined;
  /** Send small frames through an AF_XDP ring where that is faster: on a veth. Default true. */
  transmitRing?: boolean | undefined;
}

const RX_SLOTS_MAX = 15360;
const OPEN_GROUP = -1;

function checkPacketOptions(o: PacketOptions): void {
  checkOptions('packet', o);
  checkQueues('packet', o, o.queues ?? 1);
  if (o.name === '') throw new PortError('EINVAL', 'packet: names no interface; say packet:NAME (`ip link` lists them)');
  if (!(Number.isInteger(o.rxSlots) && o.rxSlots >= 1 && o.rxSlots <= RX_SLOTS_MAX))
    throw new PortError('EINVAL', `packet:${o.name}: rxSlots ${o.rxSlots} is not an integer in 1..${RX_SLOTS_MAX}`);
}

/** Opens the queues in order; the first makes the group and says how it spreads. On an error those that are open are closed. */
function openQueues(native: Native, o: PacketOptions, mac: readonly [number, number]): OpenedPort[] {
  const queues = o.queues ?? 1;
  const common = {
    name: o.name,
    multiQueue: false,
    offload: true,
    mtu: o.mtu,
    rxSlots: o.rxSlots,
    macHi: mac[0],
    macLo: mac[1],
    filter: addressFilter(mac[0], mac[1]),
    steer: steerProgram(),
    transmitRing: o.transmitRing ?? true,
    queues,
  };
  const opened: OpenedPort[] = [];
  try {
    for (let q = 0; q < queues; q++) {
      const first = opened[0];
      const port = native.openPort('packet', {
        ...common,
        queue: q,
        group: first?.group ?? OPEN_GROUP,
        groupByHash: first?.groupByHash ?? false,
      });
      opened.push(port);
      if (queues > 1 && port.group < 0)
        throw new PortError('ENOTSUP', `packet:${o.name}: ${queues} queues need PACKET_FANOUT (${port.groupReason}); use one`);
    }
  } catch (e) {
    for (const p of opened) native.closePort(p.handle);
    throw e;
  }
  return opened;
}

function spreadOf(opened: readonly OpenedPort[]): Offload {
  const first = opened[0]!;
  if (opened.length === 1) return { name: 'rss', provider: 'stack', reason: 'one queue; the dispatcher hashes' };
  const how = first.groupByHash
    ? `PACKET_FANOUT_HASH, not by our flow hash: ${first.groupReason}; frames of another worker are handed on`
    : first.groupReason !== ''
      ? `all to queue 0: ${first.groupReason}`
      : 'PACKET_FANOUT_CBPF, by our flow hash';
  return { name: 'rss', provider: 'kernel', reason: `${opened.length} queues, ${how}` };
}

function offloadsOf(
  o: PacketOptions,
  opened: readonly OpenedPort[],
  caps: PortCaps,
  link: LinkFacts,
  mac: readonly [number, number],
): Offload[] {
  const first = opened[0]!;
  const kernels = parseMac(link.mac);
  const shared = kernels !== null && kernels[0] === mac[0] && kernels[1] === mac[1];
  const cut = (it: string, by: boolean): string =>
    `virtio-net header; ${by ? `${o.name} ${it}` : `the kernel ${it} before ${o.name} has it`}`;
  const lro = link.lro ? `; LRO is on, whose segments the kernel drops here: ethtool -K ${o.name} lro off` : '';
  return [
    {
      name: 'rx-checksum',
      provider: link.rxChecksum ? 'device' : 'stack',
      reason: `NEEDS_CSUM frames never left memory; of the rest ${link.rxChecksum ? `${o.name} vouches for what it verified` : 'nobody vouches for any'}, else the copy out of the ring sums`,
    },
    caps.txChecksum
      ? { name: 'tx-checksum', provider: link.txChecksum ? 'device' : 'kernel', reason: cut('completes checksums', link.txChecksum) }
      : { name: 'tx-checksum', provider: 'stack', reason: 'switched off (checksum: false)' },
    { name: 'gro', provider: 'kernel', reason: `${link.gro ? "the interface's GRO and " : ''}the peer's TSO arrive as trains${lro}` },
    caps.txTrains
      ? { name: 'tso', provider: link.tso ? 'device' : 'kernel', reason: cut('cuts trains', link.tso) }
      : { name: 'tso', provider: 'stack', reason: `switched off (${o.trains === false ? 'trains' : 'checksum'}: false)` },
    { name: 'uso', provider: 'stack', reason: "a peer's datagram trains are taken apart on the way out of the ring; none are sent" },
    { name: 'tso6', provider: 'none', reason: 'no IPv6' },
    spreadOf(opened),
    {
      name: 'send',
      provider: 'kernel',
      reason: first.transmitRing
        ? `AF_XDP transmit ring for frames up to 2048 bytes, their checksums completed here; trains by sendmmsg`
        : `sendmmsg; AF_XDP transmit ring: ${first.transmitReason}`,
    },
    {
      name: 'address',
      provider: 'kernel',
      reason: shared
        ? `${formatMac(mac[0], mac[1])} is the kernel's too: it sees our frames and must not forward them`
        : `${formatMac(mac[0], mac[1])} beside the kernel's ${link.mac}${first.reason === '' ? '' : `, in promiscuous mode: ${first.reason}`}`,
    },
    { name: 'ring', provider: 'kernel', reason: `${first.slots} slots a queue; beyond them frames are lost, deviceRing` },
    ...(first.mtu === o.mtu
      ? []
      : [{ name: 'mtu', provider: 'kernel' as const, reason: `${o.name} has MTU ${first.mtu}; ${o.mtu} was asked for` }]),
  ];
}

/**
 * Opens `packet:NAME` in main. The interface and its addresses stay the kernel's; ours must be none of them.
 * Throws PortError, or Error with `code` ENODEV, ENETDOWN, EPERM, EINVAL, ENOMEM …, whose text says what to do.
 */
export function openPacket(o: PacketOptions): PortHandle {
  checkPacketOptions(o);
  const native = nativeFor(`packet:${o.name}`);
  const mac = chooseMac('packet', o, null);
  const opened = openQueues(native, o, mac);
  const close = (): void => {
    for (const p of opened) native.closePort(p.handle);
  };
  try {
    const checksum = o.checksum ?? true;
    // A train that is cut behind us gets its checksums there too.
    const txTrains = (o.trains ?? true) && checksum;
    const caps: PortCaps = {
      txChecksum: checksum,
      txTrains,
      txTrainBytesMax: txTrains ? TRAIN_BYTES_MAX : o.frameBytes - HEADROOM,
      mtu: opened[0]!.mtu,
      waitable: true,
    };
    const link = native.linkFacts(o.name);
    if (link === null) throw new PortError('ENODEV', `packet:${o.name}: the interface went away while it was opened`);
    const queues = makeQueues(
      native,
      o,
      { kind: 'packet', name: `packet:${o.name}`, mac, caps },
      opened.map((p) => p.handle),
    );
    return {
      attachment: queues[0]!,
      queues,
      offloads: offloadsOf(o, opened, caps, link, mac),
      trouble: () => linkTrouble(queues),
      close,
    };
  } catch (e) {
    close();
    throw e;
  }
}
