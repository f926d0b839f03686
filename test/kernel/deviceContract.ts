/**
 * What every device port does with the kernel on its other side, by raw frames: one contract, run over each of them. A port's own
 * test brings how it is opened, and has what only that device does.
 */
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { spawnSync } from 'node:child_process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { attachDevice } from '../../src/ports/device.ts';
import { loadNative } from '../../src/ports/native.ts';
import type { PortHandle } from '../../src/ports/port.ts';
import { WORK_CSUM, WORK_CUT } from '../../src/rings/bursts.ts';
import { auditFrames } from '../../src/rings/frameTable.ts';
import * as L from '../../src/rings/layout.ts';
import { parseIpv4 } from '../../src/wire/ipv4.ts';
import { KERNEL_IP, missing, Namespace, STACK_IP } from './namespace.ts';
import { RawPeer } from './rawPeer.ts';
import { echo, transfer } from './rawTraffic.ts';

/** A port that is open, the kernel's address on the other side, and a peer that has been found by ARP. */
export interface OpenDevice {
  handle: PortHandle;
  peer: RawPeer;
  /** Every frame is home; detaches, closes, and the device's traces are gone. */
  end: () => void;
}

/** What the contract varies; the rest is the port's own. */
export interface ContractOptions {
  mtu?: number;
  frameBytes?: number;
  /** Without checksums and trains, as far as this port can refuse them. */
  plain?: boolean;
}

export interface DeviceUnderTest {
  open(options: ContractOptions): Promise<OpenDevice>;
  frames: number;
  /** The device has left no trace: checked after a close under the broker. */
  gone(): void;
}

export const ip = (...args: string[]): void => {
  const r = spawnSync('ip', args, { encoding: 'utf8' });
  if (r.status !== 0) throw new Error(`ip ${args.join(' ')}: ${r.stderr}`);
};

/** A port's peer over an open handle; `leave` removes what the device needed. */
export async function openDevice(handle: PortHandle, frames: number, leave: () => void): Promise<OpenDevice> {
  const a = handle.attachment;
  const port = attachDevice(a, loadNative()!);
  const peer = new RawPeer(port, [a.macHi, a.macLo], parseIpv4(STACK_IP)!, parseIpv4(KERNEL_IP)!);
  await echo(peer, Buffer.from('who is there'));
  return {
    handle,
    peer,
    end: () => {
      const audit = auditFrames(port.frames);
      assert.is(audit.free, frames, `frames lost: ${JSON.stringify(audit)}`);
      assert.is(port.available(), frames);
      port.detach();
      handle.close();
      leave();
    },
  };
}

function trafficTests({ open }: DeviceUnderTest): void {
  test('datagrams both ways with partial checksums, at an address of our own', async () => {
    const { peer, end, handle } = await open({});
    for (const n of [0, 1, 17, 18, 19, 1000, 1472]) await echo(peer, randomBytes(n));
    assert.ok(peer.seen.every((s) => (s.flags & L.F_BAD) === 0));
    assert.ok(
      peer.seen.every((s) => (s.flags & (L.F_CSUM_PARTIAL | L.F_CSUM_OK)) === (L.F_CSUM_PARTIAL | L.F_CSUM_OK)),
      'the kernel left the checksums to us',
    );
    assert.is((handle.attachment.macHi >>> 24) & 3, 2, 'locally administered, unicast');
    end();
  });

  test('trains of 64 KiB each way, segment boundaries kept', async () => {
    const { peer, end } = await open({});
    const largest = await transfer(peer, 1 << 20, 1448, 1460, 20001);
    assert.ok(largest > 40000, `largest frame from the kernel ${largest} bytes`);
    const trains = peer.seen.filter((s) => (s.flags & L.F_TRAIN) !== 0);
    assert.ok(trains.length > 0 && trains.every((s) => s.segs === Math.ceil((s.total - 54) / s.gso)), 'segment boundaries kept');
    end();
  });

  test('odd and small segment sizes: more segments than a train has links', async () => {
    const { peer, end } = await open({});
    for (const [i, mss] of [536, 1001, 88, 1460].entries()) {
      await transfer(peer, 200_000, mss, mss, 21000 + i);
      assert.ok(
        peer.seen.every((s) => s.segs <= L.TRAIN_LINKS_MAX && (s.flags & L.F_BAD) === 0),
        `mss ${mss}`,
      );
    }
    end();
  });

  test('without offloads what we send is finished here', async () => {
    const { peer, end, handle } = await open({ plain: true });
    assert.is(handle.attachment.caps.txChecksum, false);
    assert.is(handle.attachment.caps.txTrains, false);
    assert.match(handle.offloads.find((o) => o.name === 'tx-checksum')!.reason, /switched off/);
    peer.work = WORK_CSUM | WORK_CUT;
    await echo(peer, randomBytes(1000));
    await transfer(peer, 300_000, 1448, 1460, 22001);
    end();
  });

  test('jumbo frames and other MTUs', async () => {
    const { peer, end, handle } = await open({ mtu: 9000, frameBytes: 16384 });
    assert.is(handle.attachment.caps.mtu, 9000);
    await echo(peer, randomBytes(8900));
    await transfer(peer, 500_000, 8948, 8960, 23001);
    end();
  });
}

function lifeTests({ open, frames, gone }: DeviceUnderTest): void {
  test('no free frame: frames stay with the kernel until there is one', async () => {
    const { peer, end } = await open({});
    const ids = new Int32Array(frames);
    const n = peer.port.alloc(ids, 0, frames);
    const socket = createSocket('udp4');
    socket.bind(0, KERNEL_IP);
    await once(socket, 'listening');
    let answer = '';
    socket.on('message', (m) => {
      answer = m.toString();
    });
    socket.send('later', 7, STACK_IP);
    await new Promise((r) => setTimeout(r, 20));
    assert.is(peer.poll(), 0);
    for (let i = 0; i < n; i++) peer.port.free(ids[i]!);
    await peer.run(() => answer === 'later');
    socket.close();
    end();
  });

  test('closed under its broker: bursts find nothing, nothing is attached again, the device is gone at once', async () => {
    const { peer, handle } = await open({});
    handle.close();
    handle.close();
    gone();
    assert.is(peer.poll(), 0);
    peer.port.wait(-1, 1);
    assert.is(peer.port.pending(), false);
    peer.port.detach();
    assert.is(peer.poll(), 0, 'detached');
    assert.throws(() => attachDevice(handle.attachment, loadNative()!), /attachPort: port \d+ is not open/);
  });

  test('waiting ends with a frame, the bell, or the time', async () => {
    const native = loadNative()!;
    const { peer, end } = await open({});
    const bell = native.eventfdOpen();
    const timed = (f: () => void): number => {
      const t = native.nowNs();
      f();
      return (native.nowNs() - t) / 1e6;
    };
    while (peer.poll() > 0 || peer.port.pending());
    assert.ok(timed(() => peer.port.wait(bell, 20)) >= 10 || peer.port.pending());
    native.eventfdWrite(bell);
    assert.ok(timed(() => peer.port.wait(bell, 2000)) < 1000);
    assert.is(native.eventfdWait(bell, 0), 0, 'the bell was taken');
    const socket = createSocket('udp4');
    socket.send('x', 7, STACK_IP, () => socket.close());
    await once(socket, 'close');
    assert.ok(timed(() => peer.port.wait(bell, 2000)) < 1000);
    assert.ok(peer.port.pending());
    peer.poll();
    native.eventfdClose(bell);
    end();
  });
}

/** The contract's tests. */
export function deviceContract(device: DeviceUnderTest): void {
  trafficTests(device);
  lifeTests(device);
}

/** That an opening is refused with this code and these words. */
export function refuses(open: () => PortHandle, code: string, text: RegExp): void {
  try {
    open().close();
    assert.unreachable('opened');
  } catch (e) {
    assert.is((e as { code?: string }).code, code, (e as Error).message);
    assert.match((e as Error).message, text);
  }
}

/** Runs `tests` in a network namespace of its own: this file again, inside; what it lacks is said. */
export async function inNamespace(self: string, tools: readonly string[], tests: () => void): Promise<void> {
  if (process.argv.includes('--inside')) {
    tests();
    test.run();
    return;
  }
  const lacks = missing([...tools]);
  if (lacks.length > 0) {
    console.log(`SKIP ${lacks.join(', ')}`);
    return;
  }
  const ns = new Namespace();
  const r = await ns.run(100_000, process.execPath, self, '--inside');
  process.stdout.write(r.stdout);
  process.stderr.write(r.stderr);
  process.exitCode = r.code ?? 1;
  ns.remove();
}
