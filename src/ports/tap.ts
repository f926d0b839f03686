/**
 * Port `tap`: a TAP interface with virtio-net headers. The kernel is the peer; whole super-segments go both ways as trains,
 * L4 checksums stay partial while nothing leaves memory. Needs root (or CAP_NET_ADMIN, or an interface made for the user).
 */
import { HEADROOM } from '../rings/layout.ts';
import { parseMac } from '../wire/ethernet.ts';
import { checkOptions, chooseMac, type DeviceOptions, makeQueues, nativeFor, TRAIN_BYTES_MAX } from './device.ts';
import type { OpenedPort } from './native.ts';
import type { Offload, PortCaps, PortHandle } from './port.ts';

/**
 * `name`: empty for the first free tapN. The interface is attached to when it exists, else made, and a made one goes away when
 * the port closes. `mtu`: a new interface gets it, an existing one keeps the smaller of the two.
 */
export interface TapOptions extends DeviceOptions {
  /** Make a new interface multi-queue. An existing one is attached to either way. */
  multiQueue?: boolean | undefined;
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
    { name: 'rss', provider: 'stack', reason: 'one queue; the dispatcher hashes' },
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
  const native = nativeFor(`tap:${o.name}`);
  const offload = o.offload ?? true;
  const checksum = o.checksum ?? offload;
  // A train that is cut by the kernel gets its checksums there too.
  const trains = (o.trains ?? offload) && checksum;
  const opened = native.openPort('tap', {
    name: o.name,
    multiQueue: o.multiQueue ?? false,
    offload: checksum || (o.trains ?? offload),
    mtu: o.mtu,
  });
  try {
    const mac = chooseMac('tap', o, parseMac(opened.kernelMac));
    const txTrains = trains && opened.tso;
    const caps: PortCaps = {
      txChecksum: checksum && opened.txChecksum,
      txTrains,
      txTrainBytesMax: txTrains ? TRAIN_BYTES_MAX : o.frameBytes - HEADROOM,
      mtu: opened.mtu,
      waitable: true,
    };
    const queues = makeQueues(native, o, { kind: 'tap', name: `tap:${opened.name}`, mac, caps }, [opened.handle]);
    return { attachment: queues[0]!, queues, offloads: offloadsOf(o, opened, caps), close: () => native.closePort(opened.handle) };
  } catch (e) {
    native.closePort(opened.handle);
    throw e;
  }
}
