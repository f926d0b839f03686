/**
 * Port `tap` against the kernel, by raw frames: the contract of device ports, what only a TAP does, and every refusal in words.
 * Runs itself again inside a network namespace of its own.
 */
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { attachDevice } from '../../src/ports/device.ts';
import { loadNative } from '../../src/ports/native.ts';
import type { PortHandle } from '../../src/ports/port.ts';
import { openTap, type TapOptions } from '../../src/ports/tap.ts';
import { WORK_CSUM, WORK_CUT } from '../../src/rings/bursts.ts';
import * as L from '../../src/rings/layout.ts';
import { type DeviceUnderTest, deviceContract, inNamespace, ip, type OpenDevice, openDevice, refuses } from './deviceContract.ts';
import { KERNEL_IP } from './namespace.ts';
import { transfer } from './rawTraffic.ts';

const OPTIONS: TapOptions = { name: 'frtap0', frames: 1024, frameBytes: 2048, mtu: 1500 };
const P_RX_RESCATTER = 2;

const interfaces = (): string[] => readdirSync('/sys/class/net');
const words = (handle: PortHandle): Int32Array => new Int32Array((handle.attachment.own as { block: SharedArrayBuffer }).block);

const device: DeviceUnderTest = {
  open: async ({ plain, ...options }) => open(plain ? { ...options, offload: false } : options),
  frames: OPTIONS.frames,
  gone: () => assert.not.ok(interfaces().includes(OPTIONS.name), `${OPTIONS.name} outlived its port`),
};

/** A port with the kernel's address on the other side. */
function open(options: Partial<TapOptions> = {}): Promise<OpenDevice> {
  const o = { ...OPTIONS, ...options };
  const handle = openTap(o);
  ip('address', 'add', `${KERNEL_IP}/24`, 'dev', o.name);
  return openDevice(handle, o.frames, device.gone);
}

function ownTests(): void {
  test('checksums and trains are the kernel’s; its address is not ours', async () => {
    const { end, handle } = await open();
    assert.equal(
      handle.offloads.filter((o) => ['rx-checksum', 'tx-checksum', 'tso', 'gro'].includes(o.name)).map((o) => o.provider),
      ['memory', 'kernel', 'kernel', 'kernel'],
    );
    const mac = readFileSync('/sys/class/net/frtap0/address', 'utf8').trim();
    assert.not.match(mac, new RegExp((handle.attachment.macHi >>> 0).toString(16).padStart(8, '0').match(/../g)!.join(':')));
    end();
  });

  test('most trains are read where they belong: the plan of where their links begin follows what comes', async () => {
    const { peer, end, handle } = await open();
    await transfer(peer, 1 << 20, 1448, 1460, 20001);
    const trains = peer.seen.filter((s) => (s.flags & L.F_TRAIN) !== 0);
    const moved = words(handle)[P_RX_RESCATTER]!;
    assert.ok(
      moved * 4 < trains.length + 16,
      `${moved} of ${trains.length} trains were read by a wrong plan: the prediction does not adapt`,
    );
    end();
  });

  test('without offloads the kernel finishes what it sends', async () => {
    const { peer, end } = await open({ offload: false });
    peer.work = WORK_CSUM | WORK_CUT;
    const largest = await transfer(peer, 300_000, 1448, 1460, 22001);
    assert.ok(largest <= 1514, `a frame of ${largest} bytes came`);
    assert.ok(peer.seen.every((s) => (s.flags & (L.F_BAD | L.F_CSUM_PARTIAL | L.F_TRAIN)) === 0));
    assert.ok(
      peer.seen.every((s) => (s.flags & L.F_CSUM_OK) !== 0),
      'every checksum was verified by inspect',
    );
    end();
  });

  test('the interface gets the MTU', async () => {
    const { end } = await open({ mtu: 9000, frameBytes: 16384 });
    assert.is(readFileSync('/sys/class/net/frtap0/mtu', 'utf8'), '9000\n');
    end();
  });
}

function sharpTests(): void {
  test('descriptors that lie are dropped, counted, and lose no frame', async () => {
    const { peer, end } = await open();
    const { port, words: w } = peer;
    const ids = new Int32Array(4);
    port.alloc(ids, 0, 4);
    for (let i = 0; i < 4; i++) port.frames.owner[ids[i]!] = L.OWNER_BROKER;
    const gen = (f: number): number => (port.frames.region << 16) | port.frames.generation[f]!;
    // Too long for its frame; a train whose bytes do not sum; partial without offsets; a stale generation.
    w.set([ids[0]!, (190 << 16) | 2000, 2000, gen(ids[0]!), 0, 0, 1, 0], 1000);
    w.set([ids[1]!, (190 << 16) | 100, 5000, gen(ids[1]!), (34 << 16) | (14 << 8), (1448 << 16) | L.F_TRAIN, 4, 0], 1008);
    w.set([ids[2]!, (190 << 16) | 100, 100, gen(ids[2]!), 0, L.F_CSUM_PARTIAL, 1, 0], 1016);
    w.set([ids[3]!, (190 << 16) | 100, 100, gen(ids[3]!) ^ 1, 0, 0, 1, 0], 1024);
    assert.is(port.txBurst(w, 1000, 4), 4);
    assert.is(port.drops[1], 4);
    // What could not be believed at all is still the caller's.
    port.free(ids[0]!);
    port.free(ids[3]!);
    assert.is(port.txBurst(w, w.length - 4, 1), 0, 'descriptors outside the array');
    end();
  });
}

function lifeTests(): void {
  test('a broker thread that dies leaves the port free for the next', async () => {
    const handle = openTap(OPTIONS);
    const worker = new Worker(
      `import { parentPort, workerData } from 'node:worker_threads';
       const { attachDevice } = await import(workerData.device);
       const { loadNative } = await import(workerData.native);
       const port = attachDevice(workerData.attachment, loadNative());
       parentPort.postMessage(port.available());
       const d = new Int32Array(64);
       for (;;) port.rxBurst(d, 0, 8), port.wait(-1, 1);`,
      {
        eval: true,
        workerData: {
          attachment: handle.attachment,
          device: new URL('../../src/ports/device.js', import.meta.url).href,
          native: new URL('../../src/ports/native.js', import.meta.url).href,
        },
      },
    );
    assert.equal(await once(worker, 'message'), [OPTIONS.frames]);
    assert.throws(() => attachDevice(handle.attachment, loadNative()!), /is attached in another thread/);
    await worker.terminate();
    attachDevice(handle.attachment, loadNative()!).detach();
    handle.close();
    assert.not.ok(interfaces().includes('frtap0'));
  });

  test('without a name the first free tapN is made', () => {
    const first = openTap({ ...OPTIONS, name: '' });
    const second = openTap({ ...OPTIONS, name: '' });
    assert.equal(
      [first, second].map((h) => h.attachment.name),
      ['tap:tap0', 'tap:tap1'],
    );
    assert.ok(interfaces().includes('tap0') && interfaces().includes('tap1'));
    first.close();
    second.close();
    assert.not.ok(interfaces().includes('tap0') || interfaces().includes('tap1'));
  });

  test('an existing interface is attached to, multi-queue or not, and stays', async () => {
    for (const flags of [[], ['multi_queue']]) {
      ip('tuntap', 'add', 'dev', 'frtap1', 'mode', 'tap', ...flags);
      ip('link', 'set', 'frtap1', 'mtu', '1400');
      const handle = openTap({ ...OPTIONS, name: 'frtap1' });
      assert.is(handle.attachment.caps.mtu, 1400, 'an existing MTU is kept');
      assert.match(handle.offloads.find((o) => o.name === 'mtu')!.reason, /exists with MTU 1400/);
      handle.close();
      handle.close();
      assert.ok(interfaces().includes('frtap1'));
      ip('link', 'delete', 'frtap1');
    }
  });
}

function refusalTests(): void {
  const refused = (what: Partial<TapOptions>, code: string, text: RegExp): void =>
    refuses(() => openTap({ ...OPTIONS, ...what }), code, text);

  test('refusals name value, place and fix', () => {
    refused({ name: 'sixteen-bytes-xx' }, 'EINVAL', /"sixteen-bytes-xx" has 16 bytes, it may have 15/);
    refused({ name: 'a/b' }, 'EINVAL', /"a\/b" has a character/);
    refused({ mtu: 9000 }, 'EINVAL', /mtu 9000 is not in 576\.\.1840, what a frame of 2048 bytes holds/);
    refused({ frameBytes: 2000 }, 'EINVAL', /frameBytes 2000/);
    refused({ frames: 1 }, 'EINVAL', /frames 1 /);
    refused({ mac: '01:00:00:00:00:01' }, 'EINVAL', /mac "01:00:00:00:00:01"/);
    refused({ name: 'lo' }, 'EINVAL', /TUNSETIFF refused \('lo' exists and is no TAP/);
    const first = openTap(OPTIONS);
    refused({}, 'EBUSY', /another process holds this interface/);
    const kernelMac = readFileSync('/sys/class/net/frtap0/address', 'utf8').trim();
    first.close();
    assert.not.ok(interfaces().includes('frtap0'));
    ip('tuntap', 'add', 'dev', 'frtap2', 'mode', 'tap');
    ip('link', 'set', 'frtap2', 'address', kernelMac);
    refused({ name: 'frtap2', mac: kernelMac }, 'EADDRINUSE', /the kernel's own on this interface/);
    ip('link', 'delete', 'frtap2');
    ip('tuntap', 'add', 'dev', 'frtun0', 'mode', 'tun');
    refused({ name: 'frtun0' }, 'EINVAL', /'frtun0' exists and is no TAP/);
    ip('link', 'delete', 'frtun0');
  });

  test('without privileges, and without /dev/net/tun', () => {
    // The addon is loaded as root: another user may not be able to read this checkout.
    const script = `import { openTap } from ${JSON.stringify(new URL('../../src/ports/tap.js', import.meta.url).href)};
      import { loadNative } from ${JSON.stringify(new URL('../../src/ports/native.js', import.meta.url).href)};
      loadNative();
      if (process.argv[1] === 'user') process.setuid(65534);
      try { openTap(${JSON.stringify(OPTIONS)}); console.log('opened'); } catch (e) { console.log(e.code, e.message); }`;
    const run = (...command: string[]): string => spawnSync(command[0]!, command.slice(1), { encoding: 'utf8', timeout: 20000 }).stdout;
    assert.match(
      run(process.execPath, '--input-type=module', '-e', script, 'user'),
      /^(EACCES|EPERM) tap:frtap0: .*(run as root|CAP_NET_ADMIN)/,
    );
    const hidden = run(
      'unshare',
      '-m',
      'sh',
      '-c',
      'mount -t tmpfs none /dev/net && exec "$@"',
      'sh',
      process.execPath,
      '--input-type=module',
      '-e',
      script,
      'root',
    );
    assert.match(hidden, /^ENOENT tap:frtap0: \/dev\/net\/tun is not there \(modprobe tun/);
  });

  test('process.exit() closes the interface', () => {
    const script = `import { openTap } from ${JSON.stringify(new URL('../../src/ports/tap.js', import.meta.url).href)};
      openTap(${JSON.stringify({ ...OPTIONS, name: 'frtap3' })}); process.exit(5);`;
    assert.is(spawnSync(process.execPath, ['--input-type=module', '-e', script], { timeout: 20000 }).status, 5);
    assert.not.ok(interfaces().includes('frtap3'));
  });
}

await inNamespace(fileURLToPath(import.meta.url), ['ip', 'unshare'], () => {
  deviceContract(device);
  ownTests();
  sharpTests();
  lifeTests();
  refusalTests();
});
