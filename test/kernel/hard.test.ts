// Hard cases against the kernel's TCP: shut windows both ways, half close, single bytes, loss, and more short connections than there are ids.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fileURLToPath } from 'node:url';
import { type Daemon, FLOWRING, KERNEL_IP, missing, Namespace, STACK_IP } from './namespace.ts';
import { ab, Files, KIB } from './transfers.ts';

const DEVICE = 'frt3';
const CLIENT = fileURLToPath(new URL('./kernelClient.js', import.meta.url));
const SERVER = fileURLToPath(new URL('./kernelServer.js', import.meta.url));
const SHORT_CLIENT = fileURLToPath(new URL('./shortClient.js', import.meta.url));
const NIC = ['--nic', `tap:${DEVICE}`, '--address', `${STACK_IP}/24`, '--layout', 'dispatcher', '--workers', '1'];

interface Said {
  equal: boolean;
  back: number;
  stalled: number;
  ms: number;
}

async function client(ns: Namespace, server: Daemon, bytes: number, piece: number, pauseMs: number): Promise<Said> {
  const r = await ns.run(90_000, process.execPath, CLIENT, STACK_IP, '7', String(bytes), String(piece), String(pauseMs));
  assert.is(r.code, 0, `${r.stdout}${r.stderr}${server.describe()}`);
  return JSON.parse(r.stdout) as Said;
}

/** Drops this share of what passes the device, each way. */
function lose(ns: Namespace, percent: number): Promise<unknown> {
  const chain = (name: string, hook: string): string =>
    `add chain netdev loss ${name} { type filter hook ${hook} device "${DEVICE}" priority 0; }\n` +
    `add rule netdev loss ${name} numgen random mod 100 < ${percent} drop\n`;
  return ns
    .run(10_000, 'sh', '-c', `echo '${`add table netdev loss\n${chain('in', 'ingress')}${chain('out', 'egress')}`}' | nft -f -`)
    .then((r) => {
      assert.is(r.code, 0, r.stderr);
    });
}

type Check = [name: string, run: (ns: Namespace, server: Daemon) => Promise<void>];

const CHECKS: readonly Check[] = [
  [
    'a peer that does not read for 3 s: both windows shut, then all 16 MB are intact and its half close is answered',
    async (ns, server) => {
      const said = await client(ns, server, 16_000_000, 65536, 3000);
      assert.ok(said.stalled < 16_000_000, 'everything fitted into buffers: no window was shut');
      assert.ok(said.ms >= 3000 && said.ms < 30_000, `${said.ms} ms`);
    },
  ],
  [
    '20000 single bytes',
    async (ns, server) => {
      assert.is((await client(ns, server, 20_000, 1, 0)).back, 20_000);
    },
  ],
  [
    'single bytes to a peer that does not read',
    async (ns, server) => {
      assert.is((await client(ns, server, 20_000, 1, 1500)).back, 20_000);
    },
  ],
  [
    '2 % loss each way, 10 MB there and back',
    async (ns, server) => {
      await lose(ns, 2);
      try {
        const said = await client(ns, server, 10_000_000, 65536, 0);
        process.stdout.write(`    ${((said.back * 8) / said.ms / 1000).toFixed(1)} Mbit/s each way\n`);
      } finally {
        await ns.run(10_000, 'nft', 'delete', 'table', 'netdev', 'loss');
      }
    },
  ],
];

const SHORT: readonly Check[] = [
  [
    '6000 short connections that our client closes first, with 512 ids: none fails',
    async (ns) => {
      const server = ns.start(60_000, process.execPath, SERVER, 'echo', '7');
      await server.until('"ready"', (d) => d.stdout.includes('ready\n'), 10_000);
      const args = [...NIC, '--set', 'tcp.max-connections=512', '--', KERNEL_IP, '7', '6000', '20'];
      const run = ns.start(50_000, process.execPath, FLOWRING, 'run', SHORT_CLIENT, ...args);
      const r = await run.end();
      await server.stop('SIGTERM');
      assert.is(r.code, 0, run.describe());
      assert.match(r.stdout, /"done":6000,"failed":\[\]/);
    },
  ],
  [
    'ab -n 6000 -c 20 without keep-alive against a server with 512 ids: none fails',
    async (ns) => {
      const files = new Files();
      files.make('small', KIB);
      const args = [...NIC, '--set', 'tcp.max-connections=512', '--', '--listen', '80', '--root', files.path('www', '')];
      const server = ns.start(60_000, process.execPath, FLOWRING, 'run', 'http-server', ...args);
      try {
        await server.until('line "listening"', (d) => d.stdout.includes(`listening ${STACK_IP}:80\n`), 20_000);
        await ab(ns, 6000, 20, false, 'small');
      } finally {
        await server.stop('SIGINT');
        files.remove();
      }
    },
  ],
];

const lacks = missing(['ip', 'nft', 'ab']);
const tests = suite('hard');
if (lacks.length > 0) {
  for (const [name] of [...CHECKS, ...SHORT]) process.stdout.write(`SKIP ${name}: ${lacks.join(', ')}\n`);
} else {
  let ns: Namespace;
  let server: Daemon | null = null;
  tests.before(async () => {
    ns = new Namespace();
    ns.tap(DEVICE, false);
    server = ns.start(200_000, process.execPath, FLOWRING, 'run', 'echo-server', ...NIC, '--', '--listen', '7');
    await server.until('line "listening"', (d) => d.stdout.includes(`listening ${STACK_IP}:7\n`), 20_000);
  });
  tests.after(async () => {
    await server?.stop('SIGKILL');
    ns.remove();
  });
  for (const [name, run] of CHECKS) tests(name, () => run(ns, server!));
  tests('drains: every frame home', async () => {
    const r = await server!.stop('SIGINT', 15_000);
    assert.is(r.code, 0, server!.describe());
    assert.not.match(r.stderr, /did not come home|failed|FAILED|sums do not hold/, server!.describe());
  });
  for (const [name, run] of SHORT) tests(name, () => run(ns, server!));
  tests.run();
}
