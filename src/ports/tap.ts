/**
 * Port `tap`: a TAP interface with virtio-net headers. The kernel is the peer; whole super-segments go both ways as trains,
 * L4 checksums stay partial while nothing leaves memory. Needs root (or CAP_NET_ADMIN, or an interface made for the user).
 * With several queues each is a file descriptor of its own, and the kernel picks the queue: the one from which the flow was last
 * sent to, else one by a hash of its own (linux: drivers/net/tun.c, tun_automq_select_queue).
 */
import { HEADROOM } from '../rings/layout.ts';
import { parseMac } from '../wire/ethernet.ts';
import { checkOptions, checkQueues, chooseMac, type DeviceOptions, linkTrouble, makeQueues, nativeFor, TRAIN_BYTES_MAX } from './device.ts';
import type { OpenedPort } from './native.ts';
import type { Offload, PortCaps, PortHandle } from './port.ts';

/**
 * `name`: empty for the first free tapN. The interface is attached to when it exists, else made, and a made one goes away when
 * the port closes. `mtu`: a new interface gets it, an existing one keeps the smaller of the two.
 */
export interface TapOptions extends DeviceOptions {
  /** Make a new interface multi-queue. An existing one is attached to either way. */
  multiQueue?: boolean | undefined;
  /** Queues, each with an equal share of the frames; default 1. More than one needs a multi-queue interface, new or existing. */
  queues?: number | undefined;
  /** False: the virtio-net header stays, but the kernel finishes all it sends, and so does the stack. Default true. */
  offload?: boolean | undefined;
}

function offloadsOf(o: TapOptions, opened: OpenedPort, caps: PortCaps): Offload[] {
  const off = opened.reason;
  const stackOr = (kernel: boolean): 'kernel' | 'stack' => (kernel ? 'kernel' : 'stack');
  const asked = (what: string, on: boolean): string => (on ? '' : off !== '' ? off : `switched off (${what})`);
  return [
    {
      name: 'rx-checksum',
      provider: opened.rxChecksum ? 'memory' : 'kernel',
      reason: opened.rxChecksum ? 'virtio-net NEEDS_CSUM: frames never left memory' : off,
    },
    { name: 'tx-checksum', provider: stackOr(caps.txChecksum), reason: asked('checksum: false', caps.txChecksum) },
    { name: 'gro', provider: stackOr(opened.tso), reason: opened.tso ? "the kernel's TSO: super-segments as trains" : off },
    { name: 'tso', provider: stackOr(caps.txTrains), reason: asked('trains: false', caps.txTrains) },
    { name: 'uso', provider: 'none', reason: 'datagram trains are not taken apart by this stack' },
    { name: 'tso6', provider: 'none', reason: 'no IPv6' },
    (o.queues ?? 1) > 1
      ? {
          name: 'rss',
          provider: 'kernel',
          reason: `${o.queues} queues; a flow comes to the one that sends to it, workers hand over what is not theirs`,
        }
      : { name: 'rss', provider: 'stack', reason: 'one queue; the dispatcher hashes' },
    ...(opened.created || opened.mtu === o.mtu
      ? []
      : [
          {
            name: 'mtu',
            provider: 'kernel' as const,
            reason: `${o.name} exists with MTU ${opened.mtu}, which is kept; ${o.mtu} was asked for`,
          },
        ]),
  ];
}

/**
 * Opens `tap:NAME` in main. Never gives the kernel's side an address.
 * Throws PortError, or Error with `code` EPERM, EACCES, ENOENT, EBUSY, EINVAL …, whose text says what to do.
 */
export function openTap(o: TapOptions): PortHandle {
  checkOptions('tap', o);
  checkQueues('tap', o, o.queues ?? 1);
  const native = nativeFor(`tap:${o.name}`);
  const offload = o.offload ?? true;
  const checksum = o.checksum ?? offload;
  // A train that is cut by the kernel gets its checksums there too.
  const trains = (o.trains ?? offload) && checksum;
  const count = o.queues ?? 1;
  const open = (name: string, queue: number): OpenedPort =>
    native.openPort('tap', {
      name,
      multiQueue: o.multiQueue ?? false,
      queues: count,
      queue,
      offload: checksum || (o.trains ?? offload),
      mtu: o.mtu,
    });
  const opened = [open(o.name, 0)];
  const close = (): void => {
    for (const p of opened) native.closePort(p.handle);
  };
  try {
    const facts = opened[0]!;
    // The kernel names the interface when nobody did.
    for (let q = 1; q < count; q++) opened.push(open(facts.name, q));
    const mac = chooseMac('tap', o, parseMac(facts.kernelMac));
    const txTrains = trains && facts.tso;
    const caps: PortCaps = {
      txChecksum: checksum && facts.txChecksum,
      txTrains,
      txTrainBytesMax: txTrains ? TRAIN_BYTES_MAX : o.frameBytes - HEADROOM,
      mtu: facts.mtu,
      waitable: true,
    };
    const queues = makeQueues(
      native,
      o,
      { kind: 'tap', name: `tap:${facts.name}`, mac, caps },
      opened.map((p) => p.handle),
    );
    return { attachment: queues[0]!, queues, offloads: offloadsOf(o, facts, caps), trouble: () => linkTrouble(queues), close };
  } catch (e) {
    close();
    throw e;
  }
}
