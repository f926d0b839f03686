/** The Linux kernel's own programs against our server, over a TAP or a veth in a namespace; kernel offloads at their defaults. */
import { existsSync, statSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Daemon, KERNEL_IP, missing, Namespace, STACK_IP } from './namespace.ts';
import {
  ab,
  BULK_BYTES,
  captured,
  download,
  drains,
  Files,
  framesFrom,
  KIB,
  ping,
  requests,
  type ServerOptions,
  startServer,
  upload,
  wellFormed,
  wrk,
} from './transfers.ts';

const DEVICE = 'frt0';
const TRAIN_BYTES = 32 * KIB;

interface Layout extends ServerOptions {
  name: string;
}

const LAYOUTS: readonly Layout[] = [
  { name: '1 worker, inline', layout: 'inline', workers: 1 },
  { name: '1 worker, dispatcher', layout: 'dispatcher', workers: 1 },
  { name: '2 workers, dispatcher', layout: 'dispatcher', workers: 2 },
  { name: '2 workers, dispatcher-rx-tx', layout: 'dispatcher-rx-tx', workers: 2 },
  { name: '3 workers, run-to-completion', layout: 'run-to-completion', workers: 3 },
  { name: '1 worker, dispatcher-rx-tx', layout: 'dispatcher-rx-tx', workers: 1 },
];

/** Each: what is done without, and for which sizes it must still be right. */
const WITHOUT: readonly Layout[] = [
  { name: 'checksum and cut in software', layout: 'dispatcher', workers: 1, settings: ['offload.tx-checksum=off', 'offload.tso=off'] },
  { name: 'no coalescing', layout: 'dispatcher', workers: 1, settings: ['offload.gro=off'] },
];

interface World {
  ns: Namespace;
  files: Files;
  server: Daemon;
}

const megabits = (bytesPerSecond: number): string => `${((bytesPerSecond * 8) / 1e6).toFixed(0)} Mbit/s`;
const note = (text: string): void => void process.stdout.write(`    ${text}\n`);

type Check = [name: string, run: (w: World) => Promise<void>];

const SMALL: readonly Check[] = [
  [
    'ping: 20 packets of 56 bytes, 20 of 1400',
    async ({ ns }) => {
      await ping(ns, 20, 56);
      await ping(ns, 20, 1400);
    },
  ],
  ['HEAD, ranges, 416, 404', ({ ns, files }) => requests(ns, files, 'small', KIB)],
  [
    '1 KB down and up, equal SHA-256',
    async ({ ns, files }) => {
      await download(ns, files, 'small');
      await upload(ns, files, 'small');
    },
  ],
];

const BULK: readonly Check[] = [
  ['100 MB down, equal SHA-256', async ({ ns, files }) => note(`down ${megabits(await download(ns, files, 'bulk'))}`)],
  ['100 MB up, equal SHA-256', async ({ ns, files }) => note(`up ${megabits(await upload(ns, files, 'bulk'))}`)],
];

const LOAD: readonly Check[] = [
  ['ab -n 20000 -c 100', async ({ ns }) => note(`${await ab(ns, 20_000, 100, false, 'small')} requests/s`)],
  ['ab -n 20000 -c 100 -k', async ({ ns }) => note(`${await ab(ns, 20_000, 100, true, 'small')} requests/s, kept alive`)],
  ['wrk -c64', async ({ ns }) => note(`${await wrk(ns, 64, 1, 'small')} requests/s`)],
];

const TRAINS: readonly Check[] = [
  [
    'trains of more than 32 KiB in each direction',
    async ({ ns, files }) => {
      const capture = await captured(ns, files, DEVICE, 128, async () => {
        await download(ns, files, 'medium');
        await upload(ns, files, 'medium');
      });
      const [ours, theirs] = [await framesFrom(ns, capture, STACK_IP, TRAIN_BYTES), await framesFrom(ns, capture, KERNEL_IP, TRAIN_BYTES)];
      note(`${ours} trains from us, ${theirs} towards us`);
      assert.ok(ours > 0, 'no frame of ours above 32 KiB on the device');
      assert.ok(theirs > 0, 'no frame towards us above 32 KiB on the device');
    },
  ],
];

const WELL_FORMED: readonly Check[] = [
  [
    'tshark finds nothing malformed, and every IPv4 header sums up',
    async ({ ns, files }) => {
      const capture = await captured(ns, files, DEVICE, 0, async () => {
        await download(ns, files, 'half');
        await upload(ns, files, 'half');
      });
      const frames = await wellFormed(ns, capture);
      assert.ok(frames > 20, `${frames} frames: too few to tell`);
    },
  ],
];

const CHECKSUMS: readonly Check[] = [
  [
    'without offloads every segment of ours has a checksum of its own, and none is larger than the MTU',
    async ({ ns, files }) => {
      const capture = await captured(ns, files, DEVICE, 0, () => download(ns, files, 'half'));
      assert.is(await framesFrom(ns, capture, STACK_IP, 1515), 0, 'a frame above the MTU');
      const fields = ['-T', 'fields', '-e', 'tcp.checksum.status'];
      const r = await ns.run(
        60_000,
        'tshark',
        '-n',
        '-r',
        capture,
        '-o',
        'tcp.check_checksum:TRUE',
        '-Y',
        `ip.src == ${STACK_IP}`,
        ...fields,
      );
      const status = r.stdout.trim().split('\n');
      assert.ok(status.length > 300, `${status.length} segments: too few to tell`);
      // 1 is "good" (wireshark's epan/proto.h, PROTO_CHECKSUM_E_GOOD).
      assert.equal([...new Set(status)], ['1']);
    },
  ],
];

const sleep = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

const MEDIUM_BYTES = 20_000_000;

interface Download {
  curl: Daemon;
  file: string;
}

/** Downloads that last a while, all under way: none has got everything. */
async function slowly(w: World, count: number, bytesPerSecond: string): Promise<Download[]> {
  const all = Array.from({ length: count }, (_, i): Download => {
    const file = w.files.path('got', `slow${i}`);
    const args = ['-sS', '--noproxy', '*', '--fail', '--limit-rate', bytesPerSecond, '-o', file, `http://${STACK_IP}/medium`];
    return { curl: w.ns.start(30_000, 'curl', ...args), file };
  });
  for (let i = 0; i < 250 && !all.every((d) => existsSync(d.file) && statSync(d.file).size > 0); i++) await sleep(20);
  for (const d of all) {
    const got = statSync(d.file).size;
    assert.ok(got > 0 && got < MEDIUM_BYTES / 2, `${got} bytes: too early or too late to tell`);
  }
  return all;
}

const DRAIN: readonly Check[] = [
  [
    'SIGINT: what is under way finishes whole, on every worker; exit 0, every frame home',
    async (w) => {
      const downloads = await slowly(w, 4, '8M');
      w.server.signal('SIGINT');
      await w.server.until('"draining"', (d) => d.stderr.includes('draining'), 5_000);
      await sleep(200);
      const late = await w.ns.run(5_000, 'curl', '-sS', '--noproxy', '*', '--max-time', '1', `http://${STACK_IP}/small`);
      assert.is.not(late.code, 0, 'a server that drains took a new connection');
      for (const [i, d] of downloads.entries()) {
        const r = await d.curl.end();
        assert.is(r.code, 0, `curl: ${r.stderr}`);
        await w.files.equal('got', `slow${i}`, 'medium');
      }
      const end = await Promise.race([w.server.end(), sleep(10_000).then(() => null)]);
      assert.is(end?.code, 0, w.server.describe());
      assert.not.match(w.server.stderr, /did not come home|failed|FAILED|while stopping|sums do not hold/, w.server.describe());
    },
  ],
];

const FORCE: readonly Check[] = [
  [
    'a second SIGINT forces: exit 130',
    async (w) => {
      const [download] = await slowly(w, 1, '100k');
      w.server.signal('SIGINT');
      await w.server.until('"draining"', (d) => d.stderr.includes('draining'), 5_000);
      await sleep(300);
      assert.ok(w.server.running, `a drain with a download under way ended at once: ${w.server.describe()}`);
      w.server.signal('SIGINT');
      const end = await Promise.race([w.server.end(), sleep(5_000).then(() => null)]);
      assert.is(end?.code, 130, w.server.describe());
      await download!.curl.stop('SIGKILL');
    },
  ],
];

const QUIET_END: readonly Check[] = [['SIGINT drains: exit 0, no complaint', ({ server }) => drains(server)]];

/** Every layout's row: what is checked over either kind of link. */
const ROW = [...SMALL, ...BULK, ...LOAD, ...TRAINS, ...WELL_FORMED];

const PLANS: Readonly<Record<'tap' | 'packet', readonly [Layout, readonly Check[]][]>> = {
  tap: [
    [LAYOUTS[0]!, [...ROW, ...QUIET_END]],
    [LAYOUTS[1]!, [...ROW, ...QUIET_END]],
    [LAYOUTS[2]!, [...ROW, ...DRAIN]],
    [LAYOUTS[3]!, [...BULK, ...LOAD, ...QUIET_END]],
    [LAYOUTS[4]!, [...SMALL, ...BULK, ...LOAD, ...QUIET_END]],
    [LAYOUTS[5]!, [...BULK, ...LOAD, ...QUIET_END]],
    [WITHOUT[0]!, [...BULK, ...CHECKSUMS, ...FORCE]],
    [WITHOUT[1]!, [...BULK, ...QUIET_END]],
  ],
  packet: [
    [LAYOUTS[0]!, [...ROW, ...QUIET_END]],
    [LAYOUTS[1]!, [...BULK, ...LOAD, ...QUIET_END]],
    [LAYOUTS[2]!, [...ROW, ...DRAIN]],
    [LAYOUTS[3]!, [...BULK, ...LOAD, ...QUIET_END]],
    [LAYOUTS[4]!, [...BULK, ...LOAD, ...QUIET_END]],
    [LAYOUTS[5]!, [...BULK, ...LOAD, ...QUIET_END]],
    [WITHOUT[0]!, [...CHECKSUMS, ...QUIET_END]],
  ],
};

/** Runs the matrix over one kind of link, the kernel at its default offloads. */
export function interop(port: 'tap' | 'packet'): void {
  const plan = PLANS[port];
  const lacks = missing(['ip', 'ping', 'curl', 'ab', 'wrk', 'tshark']);
  if (lacks.length > 0) {
    for (const [layout, checks] of plan)
      for (const [name] of checks) process.stdout.write(`SKIP ${port}, ${layout.name}: ${name}: ${lacks.join(', ')}\n`);
    return;
  }
  const files = new Files();
  files.make('small', KIB);
  files.make('half', 512 * KIB);
  files.make('medium', MEDIUM_BYTES);
  files.make('bulk', BULK_BYTES);
  for (const [layout, checks] of plan) {
    const tests = suite(`${port}, ${layout.name}`);
    const w = { files } as World;
    tests.before(async () => {
      w.ns = new Namespace();
      w.server = await startServer(w.ns, files, DEVICE, { ...layout, port });
    });
    tests.after(async () => {
      await w.server?.stop('SIGKILL');
      w.ns?.remove();
    });
    for (const [name, run] of checks) tests(name, () => run(w));
    tests.run();
  }
}
