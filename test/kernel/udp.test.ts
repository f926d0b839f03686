// The Linux kernel's UDP against ours, over a TAP or a veth in a namespace; kernel offloads at their defaults.
// test-timeout-seconds: 400
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Daemon, FLOWRING, missing, Namespace, REPOSITORY, type Result, STACK_IP } from './namespace.ts';
import { Files } from './transfers.ts';

const DEVICE = 'fru0';
const CLIENT = join(REPOSITORY, 'test/kernel/udpClient.py');
const COUNT = 100_000;
/** Sockets, and datagrams each has under way: less than the TAP's queue of 500 (or 1,000) takes at once. */
const SOCKETS = 8;
const WINDOW = 40;

interface Echoed {
  sent: number;
  received: number;
  wrong: number;
  again: number;
  missing: number;
}

interface Report {
  threads: { dropsByReason: Record<string, number> }[];
}

const note = (text: string): void => void process.stdout.write(`    ${text}\n`);

async function start(ns: Namespace, port: 'tap' | 'packet', layout: string, workers: number, ...settings: string[]): Promise<Daemon> {
  const far = `${DEVICE}s`;
  if (port === 'packet') ns.veth(DEVICE, far);
  const nic = port === 'packet' ? `packet:${far}` : `tap:${DEVICE}`;
  const flags = ['--nic', nic, '--address', `${STACK_IP}/24`, '--layout', layout, '--workers', String(workers)];
  const sets = settings.flatMap((s) => ['--set', s]);
  const program = ['run', 'udp-echo', ...flags, ...sets, '--', '--listen', '7'];
  const server = ns.start(200_000, process.execPath, FLOWRING, ...program);
  await server.until('line "listening"', (d) => d.stdout.includes(`listening ${STACK_IP}:7\n`), 20_000);
  if (port === 'tap') ns.tap(DEVICE, true);
  return server;
}

async function ended(server: Daemon): Promise<void> {
  const r = await server.stop('SIGINT', 15_000);
  assert.is(r.code, 0, `exit ${r.code ?? r.signal}: ${server.describe()}`);
  assert.not.match(r.stderr, /did not come home|failed|FAILED|while stopping|sums do not hold/, server.describe());
}

/** Frames dropped so far, by reason, over all threads. */
async function drops(ns: Namespace, server: Daemon): Promise<Record<string, number>> {
  const r = await ns.run(30_000, process.execPath, FLOWRING, 'top', '--once', '--json', '--pid', String(server.child.pid));
  assert.is(r.code, 0, r.stderr);
  const sum: Record<string, number> = {};
  for (const t of (JSON.parse(r.stdout) as Report).threads)
    for (const [reason, n] of Object.entries(t.dropsByReason)) sum[reason] = (sum[reason] ?? 0) + n;
  return sum;
}

function parsed(r: Result): Echoed {
  assert.is(r.code, 0, `${r.stdout}${r.stderr}`);
  return JSON.parse(r.stdout) as Echoed;
}

async function echo(ns: Namespace, count: number): Promise<Echoed> {
  return parsed(await ns.run(150_000, 'python3', CLIENT, STACK_IP, '7', String(count), String(SOCKETS), String(WINDOW)));
}

/** Nothing wrong, nothing twice, and every datagram that is missing is one that a counter names: ours, or the device's in the kernel. */
async function explained(ns: Namespace, server: Daemon, e: Echoed): Promise<void> {
  const [link] = JSON.parse(ns.ip('-s', '-j', 'link', 'show', DEVICE)) as {
    stats64: { rx: { dropped: number }; tx: { dropped: number } };
  }[];
  const d = { ...(await drops(ns, server)), kernelOut: link!.stats64.tx.dropped, kernelIn: link!.stats64.rx.dropped };
  note(`${e.received} of ${e.sent} echoed; drops ${JSON.stringify(d)}`);
  assert.equal([e.wrong, e.again, e.received + e.missing], [0, 0, e.sent], JSON.stringify(e));
  const counted = Object.values(d).reduce((a, b) => a + b, 0);
  assert.ok(e.missing <= counted, `${e.missing} missing, counted ${JSON.stringify(d)}`);
}

/** One datagram, sent and answered, or what the kernel says instead. */
async function ask(ns: Namespace, port: number): Promise<string> {
  const text = [
    'import socket, sys',
    's = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)',
    's.settimeout(5)',
    `s.connect(("${STACK_IP}", ${port}))`,
    'try:',
    '  s.send(b"hello")',
    '  print(s.recv(100).decode())',
    'except OSError as e:',
    '  print(type(e).__name__)',
  ].join('\n');
  const r = await ns.run(20_000, 'python3', '-c', text);
  assert.is(r.code, 0, r.stderr);
  return r.stdout.trim();
}

/** A UDP datagram and an echo request of 4000 bytes, which the kernel sends in fragments: ICMP type and code of the answers. */
async function askLong(ns: Namespace): Promise<unknown> {
  const text = [
    'import json, socket, struct, time',
    'raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)',
    'raw.settimeout(5)',
    'def answer():',
    '  while True:',
    '    b = raw.recv(2048)',
    '    if b[20] != 0: return [b[20], b[21], b[28 + 9], len(b)]',
    'udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)',
    `udp.connect(("${STACK_IP}", 7))`,
    'udp.send(b"x" * 4000)',
    'got = [answer()]',
    'body = struct.pack("!BBHHH", 8, 0, 0, 1, 1) + bytes(3992)',
    'sum = 0x0800 + 1 + 1',
    'body = body[:2] + struct.pack("!H", ~sum & 0xffff) + body[4:]',
    `raw.sendto(body, ("${STACK_IP}", 0))`,
    'got.append(answer())',
    'raw.settimeout(0.3)',
    'try: got.append(answer())',
    'except TimeoutError: pass',
    'print(json.dumps(got))',
  ].join('\n');
  const r = await ns.run(30_000, 'python3', '-c', text);
  assert.is(r.code, 0, r.stderr);
  return JSON.parse(r.stdout);
}

type Row = [name: string, port: 'tap' | 'packet', layout: string, workers: number, settings: string[]];

const LAYOUTS: readonly Row[] = (['tap', 'packet'] as const).flatMap((port): Row[] => [
  [`${port}, inline`, port, 'inline', 1, []],
  [`${port}, dispatcher, 2 workers`, port, 'dispatcher', 2, []],
  [`${port}, dispatcher-rx-tx, 2 workers`, port, 'dispatcher-rx-tx', 2, []],
  [`${port}, run-to-completion, 2 workers`, port, 'run-to-completion', 2, []],
  [`${port}, dispatcher, checksums in software`, port, 'dispatcher', 1, ['offload.tx-checksum=off']],
]);

const lacks = missing(['ip', 'python3']);
const tests = suite('udp');
const names = [
  ...LAYOUTS.map(([name]) => `${COUNT} echoes: ${name}`),
  'a closed port is refused',
  'the sender of fragments is told',
  'a capture is clean',
];
if (lacks.length > 0) {
  for (const name of names) process.stdout.write(`SKIP ${name}: ${lacks.join(', ')}\n`);
} else {
  for (const [name, port, layout, workers, settings] of LAYOUTS)
    tests(`${COUNT} echoes: ${name}`, async () => {
      const ns = new Namespace();
      let server: Daemon | null = null;
      try {
        server = await start(ns, port, layout, workers, ...settings);
        // The kernel keeps few datagrams while it asks for our MAC, and counts those it loses nowhere that one could look.
        assert.is(await ask(ns, 7), 'hello');
        await explained(ns, server, await echo(ns, COUNT));
        await ended(server);
      } finally {
        await server?.stop('SIGKILL');
        ns.remove();
      }
    });

  tests('a closed port is refused, an open one is not', async () => {
    const ns = new Namespace();
    let server: Daemon | null = null;
    try {
      server = await start(ns, 'tap', 'dispatcher', 2);
      assert.equal([await ask(ns, 7), await ask(ns, 9), await ask(ns, 7)], ['hello', 'ConnectionRefusedError', 'hello']);
      await ended(server);
    } finally {
      await server?.stop('SIGKILL');
      ns.remove();
    }
  });

  tests('the sender of a datagram in fragments is told that nobody puts it together: once a datagram', async () => {
    const ns = new Namespace();
    let server: Daemon | null = null;
    try {
      server = await start(ns, 'tap', 'dispatcher', 2);
      assert.is(await ask(ns, 7), 'hello');
      // 576 bytes in all: the first fragment is quoted as far as it goes. Linux shows it to raw sockets, ping's among them.
      assert.equal(await askLong(ns), [
        [11, 1, 17, 576],
        [11, 1, 1, 576],
      ]);
      assert.is((await drops(ns, server)).fragment, 6);
      await ended(server);
    } finally {
      await server?.stop('SIGKILL');
      ns.remove();
    }
  });

  const noCapture = missing(['tshark']);
  if (noCapture.length > 0) process.stdout.write(`SKIP a capture is clean: ${noCapture.join(', ')}\n`);
  else
    tests('a capture is clean: lengths, checksums, no error', async () => {
      const ns = new Namespace();
      const files = new Files();
      let server: Daemon | null = null;
      try {
        server = await start(ns, 'tap', 'dispatcher', 2, 'offload.tx-checksum=off');
        const at = files.path('got', 'udp.pcapng');
        const tshark = ns.start(60_000, 'tshark', '-n', '-q', '-i', DEVICE, '-B', '64', '-f', 'udp or icmp', '-w', at);
        await tshark.until('capture', (d) => d.stderr.includes('Capturing on'), 15_000);
        await new Promise((done) => setTimeout(done, 500));
        const e = await echo(ns, 3000);
        await ask(ns, 9);
        await new Promise((done) => setTimeout(done, 300));
        await tshark.stop('SIGINT');
        assert.ok(readFileSync(at).length > 100_000);
        const filter = `ip.src == ${STACK_IP}`;
        const fields = [
          '-T',
          'fields',
          '-e',
          'udp.checksum.status',
          '-e',
          'icmp.checksum.status',
          '-e',
          '_ws.malformed',
          '-e',
          'icmp.type',
        ];
        const checks = ['-o', 'udp.check_checksum:TRUE', '-o', 'ip.check_checksum:TRUE'];
        const r = await ns.run(60_000, 'tshark', '-n', '-r', at, ...checks, '-Y', filter, ...fields);
        const lines = r.stdout.trimEnd().split('\n');
        const udp = lines.filter((line) => line.split('\t')[3] === '');
        const icmp = lines.filter((line) => line.split('\t')[3] !== '');
        assert.ok(udp.length >= e.received, `${udp.length} datagrams captured`);
        // 1 is "good" (wireshark's epan/proto.h, PROTO_CHECKSUM_E_GOOD). Of the ICMP error the quote's UDP checksum stands beside its own.
        assert.equal([...new Set(udp)], ['1\t\t\t'], 'every datagram of ours has a good checksum');
        assert.is(icmp.length, 1);
        assert.equal(icmp[0]!.split('\t').slice(1), ['1', '', '3']);
        await ended(server);
      } finally {
        await server?.stop('SIGKILL');
        ns.remove();
        files.remove();
      }
    });
  tests.run();
}
