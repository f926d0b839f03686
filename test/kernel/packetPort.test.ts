/**
 * Port `packet` against the kernel, by raw frames over a veth at its default offloads, and against a second packet port at the
 * other end: checksums, 64 KiB trains, tags, a ring that overflows, a link that goes down and away, and every refusal in words.
 * Runs itself again inside a network namespace of its own.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadNative } from '../../src/ports/native.ts';
import { openPacket, type PacketOptions } from '../../src/ports/packet.ts';
import type { Port, PortHandle } from '../../src/ports/port.ts';
import { DROP_BAD_DESCRIPTOR, DROP_DEVICE_RING, DROP_TRUNCATED, DROP_TX_DEVICE } from '../../src/rings/drops.ts';
import { auditFrames } from '../../src/rings/frameTable.ts';
import * as L from '../../src/rings/layout.ts';
import { parseMac } from '../../src/wire/ethernet.ts';
import { udpFrame, Wire } from './wire.ts';
import { type DeviceUnderTest, deviceContract, inNamespace, ip, type OpenDevice, openDevice, refuses } from './deviceContract.ts';
import { KERNEL_IP, STACK_IP } from './namespace.ts';
import { echo, transfer } from './rawTraffic.ts';

const self = fileURLToPath(import.meta.url);
const OPTIONS: PacketOptions = { name: 'frv1', frames: 1024, frameBytes: 2048, mtu: 1500, rxSlots: 60 };

/** A veth: the kernel's address on frv0, frv1 for us. */
function veth(mtu = 1500): void {
  // A test that failed may have left one: the next has its own.
  spawnSync('ip', ['link', 'delete', 'frv0']);
  ip('link', 'add', 'frv0', 'mtu', String(mtu), 'type', 'veth', 'peer', 'name', 'frv1', 'mtu', String(mtu));
  ip('address', 'add', `${KERNEL_IP}/24`, 'dev', 'frv0');
  // No router solicitations and the like between the frames that are counted here.
  for (const name of ['frv0', 'frv1']) ip('link', 'set', name, 'addrgenmode', 'none', 'up');
}

const sockets = (): number => readFileSync('/proc/net/packet', 'utf8').trim().split('\n').length - 1;

const device: DeviceUnderTest = {
  open: async ({ plain, ...options }) => open(plain ? { ...options, checksum: false } : options),
  frames: OPTIONS.frames,
  gone: () => assert.is(sockets(), 0, 'a socket outlived its port'),
};

function open(options: Partial<PacketOptions> = {}): Promise<OpenDevice> {
  veth(options.mtu);
  const o = { ...OPTIONS, ...options };
  return openDevice(openPacket(o), o.frames, () => ip('link', 'delete', 'frv0'));
}

function ownTests(): void {
  test("an address that is not the kernel's; what was negotiated has its reason", async () => {
    const { end, handle } = await open();
    const [hi, lo] = parseMac(readFileSync('/sys/class/net/frv1/address', 'utf8').trim())!;
    assert.ok(hi !== handle.attachment.macHi || lo !== handle.attachment.macLo);
    for (const name of ['rx-checksum', 'tx-checksum', 'tso', 'gro', 'rss', 'address', 'ring'])
      assert.ok(handle.offloads.find((o) => o.name === name)!.reason !== '', name);
    end();
  });

  test('datagrams that a peer sends as one super-segment arrive one by one', async () => {
    const { peer, end } = await open();
    // SOL_UDP 17, UDP_SEGMENT 103 (linux: include/uapi/linux/udp.h); 20 bursts of 9 full datagrams and a short one
    const script = `import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('${KERNEL_IP}', 0))
s.settimeout(5)
s.setsockopt(17, 103, 1000)
for i in range(20):
    s.sendto(b''.join(bytes([i, k]) * 500 for k in range(9)) + bytes([i, 9]) * 7, ('${STACK_IP}', 7))
    for k in range(10):
        got = s.recv(2000)
        assert got == bytes([i, k]) * (7 if k == 9 else 500), (i, k, len(got))
print('all')`;
    peer.seen.length = 0;
    const python = spawn('python3', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    python.stdout.on('data', (text) => {
      said += text;
    });
    await peer.run(() => said !== '' || python.exitCode !== null, 20_000);
    assert.is(said, 'all\n');
    assert.is(peer.seen.filter((s) => s.total === 42 + 1000).length, 180);
    assert.is(peer.seen.filter((s) => s.total === 42 + 14).length, 20);
    assert.ok(peer.seen.every((s) => (s.flags & (L.F_BAD | L.F_TRAIN)) === 0));
    end();
  });

  test("an address that is the kernel's, or asked for", async () => {
    const own = await open({ mac: '02:00:00:00:be:ef' });
    assert.is(own.handle.attachment.macLo, 0xbeef);
    own.end();
    veth();
    const mac = readFileSync('/sys/class/net/frv1/address', 'utf8').trim();
    const shared = openPacket({ ...OPTIONS, mac });
    assert.match(shared.offloads.find((o) => o.name === 'address')!.reason, /is the kernel's too/);
    shared.close();
    ip('link', 'delete', 'frv0');
  });
}

/** Two packet ports, one at each end. */
function wires(
  options: Partial<PacketOptions> = {},
  sender: Partial<PacketOptions> = {},
  mtu = 1500,
): { from: Wire; to: Wire; end: () => void } {
  veth(mtu);
  ip('address', 'flush', 'dev', 'frv0');
  const from = new Wire(openPacket({ ...OPTIONS, ...sender, name: 'frv0' }));
  const to = new Wire(openPacket({ ...OPTIONS, ...options }));
  return {
    from,
    to,
    end: () => {
      for (const w of [from, to]) w.close();
      ip('link', 'delete', 'frv0');
    },
  };
}

function wireTests(): void {
  test('checksums that nobody vouches for are summed on the way out of the ring; wrong ones are left to be dropped', () => {
    const { from, to, end } = wires();
    spawnSync('ethtool', ['-K', 'frv1', 'rx', 'off']);
    const good = udpFrame(from, to, { payload: randomBytes(999) });
    const bad = Buffer.from(good);
    bad[60]! ^= 1;
    const none = udpFrame(from, to, { payload: randomBytes(10), checksum: false });
    from.send([good, bad, none, good]);
    const got = to.receive(4);
    assert.equal(
      got.map((g) => g.flags & (L.F_CSUM_OK | L.F_CSUM_PARTIAL)),
      [L.F_CSUM_OK, 0, 0, L.F_CSUM_OK],
    );
    assert.equal(
      got.map((g) => g.bytes.equals(g === got[1] ? bad : g === got[2] ? none : good)),
      [true, true, true, true],
    );
    end();
  });

  test('a VLAN tag that the kernel took out stands in the frame again', () => {
    const { from, to, end } = wires();
    const plain = udpFrame(from, to, { payload: Buffer.from('tagged') });
    const tag = Buffer.from([0x81, 0x00, 0x20, 0x07]);
    const tagged = Buffer.concat([plain.subarray(0, 12), tag, plain.subarray(12)]);
    from.send([tagged, plain]);
    const got = to.receive(2);
    assert.ok(got[0]!.bytes.equals(tagged), got[0]!.bytes.toString('hex'));
    assert.ok(got[1]!.bytes.equals(plain));
    end();
  });

  test('whole frames leave through the transmit ring of a veth, by sendmmsg where there is none', () => {
    const { from, to, end } = wires();
    const way = (w: Wire): string => w.handle.offloads.find((o) => o.name === 'send')!.reason;
    assert.match(way(from), /^AF_XDP transmit ring/);
    const other = new Wire(openPacket({ ...OPTIONS, name: 'frv0' }));
    const off = new Wire(openPacket({ ...OPTIONS, name: 'frv0', transmitRing: false }));
    assert.match(way(other), /^sendmmsg; .*AF_XDP bind refused: /, 'the queue has a ring already');
    assert.match(way(off), /^sendmmsg; .*switched off/);
    // More at a time than one call of the ring takes, more in all than it has memory.
    for (const w of [from, other, off])
      for (let round = 0; round < 30; round++) {
        const sent = Array.from({ length: 48 }, (_, i) => udpFrame(w, to, { payload: randomBytes(1 + ((round * 48 + i) % 1400)) }));
        w.send(sent);
        const got = to.receive(48);
        assert.is(got.length, 48);
        for (const [i, g] of got.entries()) assert.ok(g.bytes.equals(sent[i]!), `round ${round}, frame ${i}`);
      }
    for (const w of [other, off]) w.close();
    end();
  });

  test("frames for others are not let in: the kernel's own address, somebody's, but broadcast and multicast are", () => {
    const { from, to, end } = wires();
    const frame = udpFrame(from, to, { payload: Buffer.from('x') });
    const aimed = (mac: string): Buffer => Buffer.concat([Buffer.from(mac.replaceAll(':', ''), 'hex'), frame.subarray(6)]);
    const kernels = readFileSync('/sys/class/net/frv1/address', 'utf8').trim();
    from.send([aimed(kernels), aimed('02:11:22:33:44:55'), aimed('ff:ff:ff:ff:ff:ff'), aimed('01:00:5e:00:00:01'), frame]);
    assert.equal(
      to.receive(3).map((g) => g.bytes[0]),
      [0xff, 0x01, frame[0]],
    );
    assert.is(to.poll().length, 0);
    end();
  });

  test('a frame too long for a pool frame is dropped, and counted', () => {
    const { from, to, end } = wires({}, { frameBytes: 4096, mtu: 3000 }, 3000);
    from.send([udpFrame(from, to, { payload: randomBytes(2000) })]);
    from.send([udpFrame(from, to, { payload: Buffer.from('next') })]);
    assert.is(to.receive(1).length, 1);
    assert.is(to.port.drops[DROP_TRUNCATED], 1);
    end();
  });

  test('a ring that overflows: received and lost add up to what was sent', async () => {
    const { from, to, end } = wires({ rxSlots: 15 });
    const frame = udpFrame(from, to, { payload: Buffer.from('many') });
    from.send(Array.from({ length: 100 }, () => frame));
    const got = (await to.collect(100)).flat().length;
    assert.ok(got >= 15 && got < 100, `${got} of 100: one MiB of ring holds 15`);
    assert.is(got + to.port.drops[DROP_DEVICE_RING]!, 100);
    from.send([frame]);
    assert.is(to.receive(1).length, 1, 'and it goes on');
    end();
  });

  test('several queues: every flow comes to the queue of its hash, the rest to queue 0, frames of each queue its own', async () => {
    const { from, to, end } = wires({ queues: 3 });
    assert.match(to.handle.offloads.find((o) => o.name === 'rss')!.reason, /3 queues, PACKET_FANOUT_CBPF, by our flow hash/);
    assert.equal(
      to.handle.queues.map((q) => [q.frameFirst, q.frameCount]),
      [
        [0, 341],
        [341, 341],
        [682, 342],
      ],
    );
    const flows = Array.from({ length: 40 }, (_, i) => ({ source: 1000 + 7 * i, target: 80, payload: Buffer.from(`flow ${i}`) }));
    from.send(flows.map((f) => udpFrame(from, to, f)));
    const seen = await to.collect(flows.length);
    for (const [q, frames] of seen.entries())
      for (const f of frames) assert.is(f.modulo(3), q, `queue ${q}: ${f.bytes.toString('latin1', 42)}`);
    assert.is(seen.flat().length, flows.length);
    assert.ok(
      seen.every((frames) => frames.length > 0),
      `${seen.map((s) => s.length)}`,
    );
    const arp = Buffer.concat([Buffer.alloc(6, 0xff), Buffer.from([2, 0, 0, 0, 0, 9, 8, 6]), Buffer.alloc(46)]);
    from.send([arp, arp, arp]);
    assert.equal(
      (await to.collect(3)).map((frames) => frames.length),
      [3, 0, 0],
    );
    end();
  });

  test('descriptors that lie are dropped, counted, and hold nobody else up', () => {
    const { from, to, end } = wires();
    const { port, words: w } = from;
    const frame = udpFrame(from, to, { payload: Buffer.from('good') });
    const [first, lies, stale, last] = from.prepare([frame, frame, frame, frame]) as [number, number, number, number];
    w[8 + L.D_TOTAL] = 5000;
    w[16 + L.D_REGION_GEN]! ^= 1;
    assert.is(port.txBurst(w, 0, 4), 4);
    assert.is(port.drops[DROP_BAD_DESCRIPTOR], 2);
    assert.is(to.receive(2).length, 2);
    for (const f of [first, lies, last]) assert.is(port.frames.owner[f], L.OWNER_FREE);
    port.free(stale);
    end();
  });
}

function lifeTests(): void {
  const trouble = (handle: PortHandle, port: Port, text: RegExp): void => {
    for (let i = 0; i < 200 && !text.test(handle.trouble!()); i++) {
      port.pending();
      port.wait(-1, 5);
    }
    assert.match(handle.trouble!(), text);
  };

  test('the link goes down, comes back, and is removed: said, counted, nothing spins or throws', async () => {
    const { peer, handle } = await open();
    assert.is(handle.trouble!(), '');
    ip('link', 'set', 'frv1', 'down');
    trouble(handle, peer.port, /^packet:frv1: the interface is down$/);
    assert.is(peer.port.pending(), false);
    const native = loadNative()!;
    const t = native.nowNs();
    for (let i = 0; i < 5; i++) peer.port.wait(-1, 10);
    assert.ok(native.nowNs() - t > 40e6, 'a wait on a link that is down lasts');
    peer.finish();
    assert.is(peer.port.drops[DROP_TX_DEVICE], 1, 'what is sent meanwhile is dropped');
    ip('link', 'set', 'frv1', 'up');
    trouble(handle, peer.port, /^$/);
    await echo(peer, Buffer.from('back again'));
    ip('link', 'delete', 'frv0');
    trouble(handle, peer.port, /^packet:frv1: the interface is gone$/);
    peer.finish();
    assert.ok(peer.port.drops[DROP_TX_DEVICE]! >= 2);
    assert.is(peer.poll(), 0);
    assert.is(auditFrames(peer.port.frames).free, OPTIONS.frames);
    peer.port.detach();
    handle.close();
  });

  test('closed while its broker receives as fast as it can', async () => {
    veth();
    const handle = openPacket(OPTIONS);
    const from = new Wire(openPacket({ ...OPTIONS, name: 'frv0' }));
    /** What the worker has received, and whether it shall end. */
    const shared = new Int32Array(new SharedArrayBuffer(8));
    const worker = new Worker(
      `import { parentPort, workerData } from 'node:worker_threads';
       const { attachDevice } = await import(workerData.device);
       const { loadNative } = await import(workerData.native);
       const port = attachDevice(workerData.attachment, loadNative());
       const d = new Int32Array(64);
       parentPort.postMessage('ready');
       while (Atomics.load(workerData.shared, 1) === 0) {
         const n = port.rxBurst(d, 0, 8);
         for (let i = 0; i < n; i++) port.free(d[i * 8]);
         Atomics.add(workerData.shared, 0, n);
       }
       const after = port.rxBurst(d, 0, 8);
       port.detach();
       parentPort.postMessage(after);`,
      {
        eval: true,
        workerData: {
          shared,
          attachment: handle.attachment,
          device: new URL('../../src/ports/device.js', import.meta.url).href,
          native: new URL('../../src/ports/native.js', import.meta.url).href,
        },
      },
    );
    assert.equal(await once(worker, 'message'), ['ready']);
    const end = once(worker, 'message');
    const frame = udpFrame(from, { mac: [handle.attachment.macHi, handle.attachment.macLo] }, { payload: randomBytes(1400) });
    const flood = async (until: () => boolean): Promise<void> => {
      const by = Date.now() + 10_000;
      while (!until() && Date.now() < by) {
        for (let i = 0; i < 20; i++) from.send([frame, frame, frame, frame]);
        await new Promise((r) => setImmediate(r));
      }
    };
    await flood(() => Atomics.load(shared, 0) > 500);
    assert.ok(Atomics.load(shared, 0) > 500);
    handle.close();
    const received = Atomics.load(shared, 0);
    let more = 20;
    await flood(() => more-- === 0);
    Atomics.store(shared, 1, 1);
    assert.equal(await end, [0]);
    assert.ok(Atomics.load(shared, 0) - received < 100, 'it went on receiving');
    await worker.terminate();
    from.close();
    ip('link', 'delete', 'frv0');
  });
}

function refusalTests(): void {
  const refused = (what: Partial<PacketOptions>, code: string, text: RegExp): void =>
    refuses(() => openPacket({ ...OPTIONS, ...what }), code, text);

  test('refusals name value, place and fix', () => {
    refused({ name: '' }, 'EINVAL', /names no interface; say packet:NAME/);
    refused({ name: 'sixteen-bytes-xx' }, 'EINVAL', /"sixteen-bytes-xx" has 16 bytes, it may have 15/);
    refused({ name: 'frnone' }, 'ENODEV', /^packet:frnone: there is no such interface \(`ip link` lists them\)/);
    refused({ name: 'lo' }, 'EINVAL', /^packet:lo: is the loopback.*name a NIC or a veth/);
    refused({ rxSlots: 0 }, 'EINVAL', /rxSlots 0 is not an integer in 1\.\.15360/);
    refused({ queues: 65 }, 'EINVAL', /queues 65/);
    refused({ frames: 64, queues: 2 }, 'EINVAL', /64 frames/);
    refused({ mac: '01:00:00:00:00:01' }, 'EINVAL', /mac "01:00:00:00:00:01"/);
    ip('link', 'add', 'frv0', 'type', 'veth', 'peer', 'name', 'frv1');
    refused({}, 'ENETDOWN', /the interface is down \(ip link set frv1 up\)/);
    ip('link', 'delete', 'frv0');
    ip('tuntap', 'add', 'dev', 'frtun0', 'mode', 'tun');
    ip('link', 'set', 'frtun0', 'up');
    refused({ name: 'frtun0' }, 'EINVAL', /carries no Ethernet/);
    ip('link', 'delete', 'frtun0');
  });

  test('without privileges', () => {
    veth();
    // The addon is loaded as root: another user may not be able to read this checkout.
    const script = `import { openPacket } from ${JSON.stringify(new URL('../../src/ports/packet.js', import.meta.url).href)};
      import { loadNative } from ${JSON.stringify(new URL('../../src/ports/native.js', import.meta.url).href)};
      loadNative();
      process.setuid(65534);
      try { openPacket(${JSON.stringify(OPTIONS)}); console.log('opened'); } catch (e) { console.log(e.code, e.message); }`;
    const r = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8', timeout: 20000 });
    assert.match(r.stdout, /^EPERM packet:frv1: cannot open a packet socket \(run as root, or give the process CAP_NET_RAW\)/);
    ip('link', 'delete', 'frv0');
  });

  test('process.exit() takes our address out of the interface', () => {
    veth();
    const script = `import { openPacket } from ${JSON.stringify(new URL('../../src/ports/packet.js', import.meta.url).href)};
      openPacket(${JSON.stringify(OPTIONS)}); process.exit(5);`;
    assert.is(spawnSync(process.execPath, ['--input-type=module', '-e', script], { timeout: 20000 }).status, 5);
    assert.match(spawnSync('ip', ['-d', 'link', 'show', 'frv1'], { encoding: 'utf8' }).stdout, /promiscuity 0/);
    ip('link', 'delete', 'frv0');
  });
}

/** Again as root of a user namespace, who may not force buffer sizes: bulk both ways. */
function unprivilegedTest(): void {
  test('in a user namespace, without any privilege outside it', () => {
    const inside = ['-Urn', process.execPath, self, '--user-namespace'];
    const possible = spawnSync('unshare', ['-Urn', 'true'], { encoding: 'utf8' });
    if (possible.status !== 0) {
      console.log(`SKIP no user namespaces: ${possible.stderr.trim()}`);
      return;
    }
    const r = spawnSync('unshare', inside, { encoding: 'utf8', timeout: 60_000 });
    assert.is(r.status, 0, `${r.stdout}${r.stderr}`);
    assert.match(r.stdout, /Passed: +1$/m);
  });
}

if (process.argv.includes('--user-namespace')) {
  ip('link', 'set', 'lo', 'up');
  test('trains each way', async () => {
    const { peer, end } = await open();
    assert.ok((await transfer(peer, 1 << 20, 1448, 1460, 20001)) > 40000);
    end();
  });
  test.run();
} else {
  await inNamespace(self, ['ip', 'unshare', 'ethtool', 'python3'], () => {
    deviceContract(device);
    ownTests();
    wireTests();
    lifeTests();
    refusalTests();
    unprivilegedTest();
  });
}
