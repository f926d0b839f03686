// `flowring demo`, as `npm start` runs it: the contract of its last line, what it is worth, and how it ends.
import { cpus } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadNative } from '../../src/ports/native.ts';
import { PackageCopy, REPOSITORY } from './packageCopy.ts';
import { Running } from './running.ts';

interface Run {
  code: number | null;
  stdout: string;
  stderr: string;
}

async function demo(
  args: readonly string[],
  o: { root?: string; env?: Record<string, string>; see?: (r: Running) => void } = {},
): Promise<Run> {
  const script = join(o.root ?? REPOSITORY, 'bin/flowring.js');
  const r = new Running(['demo', ...args], { script, env: o.env, see: o.see });
  const code = await r.ends();
  return { code, stdout: r.stdout, stderr: r.stderr };
}

interface Thread {
  name: string;
  role: string;
  tid: number;
  cpu: number;
  cpuSeconds: number;
  rxPackets: number;
  txPackets: number;
  gbps: number;
  ringHighWater: number;
  drops: number;
}

interface Summary {
  verified: boolean;
  seconds: number;
  threads: Thread[];
  totals: Record<string, number>;
}

const THREAD_KEYS = ['name', 'role', 'tid', 'cpu', 'cpuSeconds', 'rxPackets', 'txPackets', 'gbps', 'ringHighWater', 'drops'];
const NUMBERS = THREAD_KEYS.slice(2);
const TOTALS_KEYS = ['cpuSeconds', 'rxPackets', 'txPackets', 'gbps', 'drops', 'bytesVerified', 'connections', 'failed', 'wrongBytes'];

const said = (r: Run): string => `exit ${r.code}\n--- stdout\n${r.stdout.slice(-2000)}\n--- stderr\n${r.stderr.slice(-3000)}`;

/** The one line of stdout, as an object with exactly the promised keys and types. */
function summaryOf(r: Run): Summary {
  const lines = r.stdout.split('\n');
  assert.is(lines.length, 2, `with --json stdout is one line: ${said(r)}`);
  assert.is(lines[1], '', 'the line ends');
  const s = JSON.parse(lines[0]!) as Summary;
  assert.equal(Object.keys(s), ['verified', 'seconds', 'threads', 'totals']);
  assert.type(s.verified, 'boolean');
  assert.type(s.seconds, 'number');
  for (const t of s.threads) {
    assert.equal(Object.keys(t), THREAD_KEYS);
    for (const key of NUMBERS) assert.ok(Number.isFinite(t[key as 'tid']), `${t.name}: ${key} is ${t[key as 'tid']}`);
    assert.ok(['main', 'dispatcher', 'server', 'client'].includes(t.role), t.role);
  }
  assert.equal(Object.keys(s.totals).sort(), [...TOTALS_KEYS].sort());
  return s;
}

const sum = (threads: readonly Thread[], key: 'rxPackets' | 'txPackets' | 'drops' | 'gbps' | 'cpuSeconds'): number =>
  threads.reduce((n, t) => n + t[key], 0);

/** What every good end of the demo has. */
function good(r: Run, native: boolean): Summary {
  assert.is(r.code, 0, said(r));
  const s = summaryOf(r);
  const of = (role: string): Thread[] => s.threads.filter((t) => t.role === role);
  assert.is(s.verified, true);
  assert.is(of('main').length, 1);
  assert.is(of('dispatcher').length, 1);
  assert.ok(of('server').length >= 2, `${of('server').length} servers`);
  assert.ok(of('client').length >= 1);
  const tids = s.threads.map((t) => t.tid);
  assert.ok(
    tids.every((t) => t > 0),
    `tids ${tids.join(' ')}`,
  );
  assert.is(new Set(tids).size, tids.length, `tids ${tids.join(' ')}: two rows are one thread`);
  for (const t of [...of('dispatcher'), ...of('server'), ...of('client')]) {
    assert.ok(t.rxPackets > 0 && t.txPackets > 0 && t.gbps > 0, `${t.name} moved nothing: ${JSON.stringify(t)}`);
    if (native) assert.ok(t.cpu >= 0 && t.cpuSeconds > 0, `${t.name}: cpu ${t.cpu}, ${t.cpuSeconds} s`);
  }
  // Every row is one thread's CPU time: together they cannot have used more than there was.
  assert.ok(s.totals.cpuSeconds! <= (s.seconds + 1) * cpus().length, `${s.totals.cpuSeconds} CPU seconds in ${s.seconds} s`);
  assert.ok(s.totals.bytesVerified! > 0);
  assert.ok(s.totals.connections! > 0);
  assert.is(s.totals.failed, 0);
  assert.is(s.totals.wrongBytes, 0);
  for (const key of ['rxPackets', 'txPackets', 'drops'] as const) assert.is(s.totals[key], sum(s.threads, key), key);
  for (const key of ['gbps', 'cpuSeconds'] as const) assert.ok(Math.abs(s.totals[key]! - sum(s.threads, key)) < 0.01, key);
  return s;
}

test('two seconds: exit 0, the promised object, threads that all worked, sums that hold', async () => {
  const r = await demo(['--seconds', '2', '--json']);
  const s = good(r, loadNative() !== null);
  assert.ok(s.seconds >= 1.9 && s.seconds < 8, `${s.seconds} s`);
  const dispatcher = s.threads.find((t) => t.role === 'dispatcher')!;
  const servers = s.threads.filter((t) => t.role === 'server');
  // The rows are read while the last ARP and ACK frames are under way; exactness is the crossing test's.
  // Each publishes its counters every 16 breaths, of 16 frames.
  const between = dispatcher.rxPackets - sum(servers, 'rxPackets') - dispatcher.drops;
  assert.ok(
    Math.abs(between) <= 64 + (1 + servers.length) * 16 * 16,
    `the dispatcher received ${dispatcher.rxPackets}, the servers ${sum(servers, 'rxPackets')}`,
  );
  assert.ok(s.totals.bytesVerified! > 1e6, `${s.totals.bytesVerified} bytes in two seconds`);
  assert.match(r.stderr, /listening 198\.18\.0\.1:7/);
  process.stdout.write(
    `    ${((s.totals.bytesVerified! * 16) / s.seconds / 1e9).toFixed(2)} Gbit/s of echo, ${s.totals.connections} connections\n`,
  );
});

test('without --json people get the figures on stdout, and no object', async () => {
  const r = await demo(['--seconds', '1']);
  assert.is(r.code, 0, said(r));
  assert.match(r.stdout, /srv-disp/);
  assert.not.match(r.stdout, /^\{/m);
});

test('one wrong byte ends in exit 1 and is counted', async () => {
  const copy = new PackageCopy();
  try {
    // An echo server that changes the first byte of the hundredth piece it sends back.
    copy.replace(
      'extras/examples/echo-server.mjs',
      'const sent = mtcp.write(mctx, s, buffer, 0, n);',
      'if (++pieces === 100) buffer[0] ^= 1;\n  const sent = mtcp.write(mctx, s, buffer, 0, n);',
    );
    copy.replace('extras/examples/echo-server.mjs', 'const buffer =', 'let pieces = 0;\nconst buffer =');
    const r = await demo(['--seconds', '1', '--json'], { root: copy.root });
    assert.is(r.code, 1, said(r));
    const s = summaryOf(r);
    assert.is(s.verified, false);
    assert.ok(s.totals.wrongBytes! >= 1 && s.totals.wrongBytes! <= 2, `two workers, one byte each: ${s.totals.wrongBytes}`);
    assert.match(r.stderr, /FAILED: .*wrong byte/);
  } finally {
    copy.remove();
  }
});

test('SIGINT while it runs: it drains, sums up what was done, exit 0', async () => {
  let asked = false;
  const started = Date.now();
  const r = await demo(['--seconds', '40', '--json'], {
    see: (d) => {
      if (asked || !/srv-disp.*pkt\/s/.test(d.stderr)) return;
      asked = true;
      d.signal('SIGINT');
    },
  });
  assert.ok(asked, `no figures were seen: ${said(r)}`);
  assert.ok(Date.now() - started < 30_000, 'it did not end early');
  good(r, loadNative() !== null);
});

test('without the addon it works the same', async () => {
  const r = await demo(['--seconds', '1', '--json'], { env: { FLOWRING_NATIVE: '0' } });
  good(r, false);
});

test.run();
