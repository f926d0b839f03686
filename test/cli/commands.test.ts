// What the commands print and how they end when nothing is wrong, and top against processes that are really there.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CONTROL_DIRECTORY } from '../../src/main/cli/controlFile.ts';
import { allSpecs } from '../../src/main/config/schema.ts';
import { formatControl, planControl, ROLE_MAIN, T_ROLE, T_TID, ThreadRecord } from '../../src/rings/control.ts';
import { C_RX_PACKETS, Counters } from '../../src/rings/counters.ts';
import { BIN, flowring } from './command.ts';

const dir = mkdtempSync(join(tmpdir(), 'flowring-cli-'));
test.after(() => rmSync(dir, { recursive: true, force: true }));

test('--version, --help, and help on stderr with exit 2 when there is no command', () => {
  const version = flowring(['--version']);
  assert.is(version.code, 0);
  assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/);
  const help = flowring(['run', '--help']);
  assert.is(help.code, 0);
  for (const spec of allSpecs()) assert.ok(help.stdout.includes(spec.flag === undefined ? `  ${spec.key} ` : spec.flag), spec.key);
  const none = flowring([]);
  assert.is(none.code, 2);
  assert.is(none.stdout, '');
});

test('the demo has as many servers as the layout has room for, and prints the configuration they run with', () => {
  for (const [layout, workers] of [
    ['inline', 1],
    ['dispatcher', 2],
    ['run-to-completion', 2],
  ] as const) {
    const r = flowring(['demo', '--layout', layout, '--print-config']);
    assert.is(r.code, 0, r.stderr);
    assert.match(r.stdout, new RegExp(`^workers = ${workers} +# demo$`, 'm'));
    assert.match(r.stdout, /^address = 198\.18\.0\.1\/24 +# demo$/m);
  }
});

test("an example's options: what is missing or wrong is said in the last line, with the form it should have", () => {
  const wrong: [string[], RegExp][] = [
    [['echo-client'], /--connect is missing: say ADDRESS:PORT, as --connect 192\.0\.2\.1:7$/],
    [['bulk-client', '--', '--connect', '9999'], /--connect 9999: has no address; say ADDRESS:PORT, as --connect 192\.0\.2\.1:9999$/],
    [['echo-server', '--', '--listen', '70000'], /--listen 70000: must be a port, or ADDRESS:PORT/],
    [['echo-server', '--', '--lisen', '7'], /Unknown option '--lisen'\. Usage: echo-server /],
  ];
  for (const [args, line] of wrong) {
    const r = flowring(['run', ...args]);
    assert.is(r.code, 2, r.stderr);
    assert.match(r.stderr.trimEnd().split('\n').at(-1)!, line);
  }
});

test('--print-config: every key with its origin, over file, options and --set; as text and as JSON', () => {
  const path = join(dir, 'flowring.json');
  writeFileSync(path, '{\n  "tcp": { "rcvbuf": "64K" },\n  "burst": 8\n}\n');
  const args = ['run', '--print-config', '--config', path, '--workers', '2', '--set', 'burst=4', '--set', 'tcp.nagle=off'];
  const text = flowring(args);
  assert.is(text.code, 0, text.stderr);
  assert.is(text.stderr, '');
  assert.match(text.stdout, new RegExp(`^tcp\\.rcvbuf = 65536 +# ${path.replace(/[.]/g, '\\.')}:2$`, 'm'));
  assert.match(text.stdout, /^workers = 2 +# --workers$/m);
  assert.match(text.stdout, /^burst = 4 +# --set$/m);
  assert.match(text.stdout, /^tcp\.nagle = false +# --set$/m);
  assert.match(text.stdout, /^mtu = 1500 +# default$/m);
  const saved = join(dir, 'saved.conf');
  writeFileSync(saved, text.stdout);
  const again = flowring(['run', '--print-config', '--json', '--config', saved]);
  assert.is(again.code, 0, again.stderr);
  const values = JSON.parse(again.stdout) as Record<string, { value: unknown; origin: string }>;
  assert.is(values.burst!.value, 4);
  assert.is(values['tcp.rcvbuf']!.value, 65536);
  assert.match(values.burst!.origin, /saved\.conf:\d+$/);
});

test('a configuration in code, and an mTCP file with its notes on stderr', () => {
  const code = join(dir, 'flowring.config.mjs');
  writeFileSync(code, 'export const config = { workers: 3, tcp: { nagle: false } };\n');
  const fromCode = flowring(['run', '--print-config', '--config', code]);
  assert.match(fromCode.stdout, /^workers = 3 +# .*flowring\.config\.mjs$/m);
  const conf = join(dir, 'mtcp.conf');
  writeFileSync(conf, 'io = netmap\nnum_cores = 2\n');
  const fromConf = flowring(['run', '--print-config', '--config', conf]);
  assert.is(fromConf.code, 0);
  assert.match(fromConf.stderr, /mtcp\.conf:1: io ignored: /);
  assert.match(fromConf.stdout, /^workers = 2 +# .*mtcp\.conf:2 \(num_cores\)$/m);
});

test('doctor: 0 when the options can run, 1 when not, the reason in a line with its fix', () => {
  const fine = flowring(['doctor']);
  assert.is(fine.code, 0, fine.stdout + fine.stderr);
  assert.match(fine.stdout, /^ok +config +valid$/m);
  const wrong = flowring(['doctor', '--cpus', '8000']);
  assert.is(wrong.code, 1);
  assert.match(wrong.stdout, /^fail config +--cpus: CPU 8000 does not exist or is offline; fix: /m);
  const json = flowring(['doctor', '--json', '--set', 'rings.rx=3']);
  assert.is(json.code, 1);
  const object = JSON.parse(json.stdout) as { canRun: boolean; findings: { verdict: string; check: string }[] };
  assert.is(object.canRun, false);
  assert.ok(object.findings.some((f) => f.check === 'config' && f.verdict === 'fail'));
});

test('a reader that leaves early is no error', () => {
  const r = spawnSync('sh', ['-c', `"${process.execPath}" "${BIN}" run --help | head -1`], { encoding: 'utf8', timeout: 60_000 });
  assert.match(r.stdout, /^Usage: flowring run/);
  assert.is(r.stderr, '');
});

/** A control block as a runtime leaves it in /dev/shm, for process `pid`. */
function publish(pid: number): string {
  const plan = planControl(1, 0);
  const block = new SharedArrayBuffer(plan.bytes);
  formatControl(block, plan);
  const record = new ThreadRecord(block, 0);
  record.setName('main');
  record.set(T_ROLE, ROLE_MAIN);
  record.set(T_TID, pid);
  const counters = new Counters(block, record.countersAt);
  counters.v[C_RX_PACKETS] = 42;
  counters.commit();
  const path = join(CONTROL_DIRECTORY, `flowring-${pid}`);
  writeFileSync(path, Buffer.from(new Uint8Array(block)));
  return path;
}

if (!existsSync(CONTROL_DIRECTORY)) process.stdout.write(`SKIP top: ${CONTROL_DIRECTORY} is absent\n`);
else
  test('top: --once --json of one process, several must be told apart, one that has gone is cleaned away', async () => {
    const sleepers = [0, 1].map(() => spawn(process.execPath, ['-e', 'setTimeout(() => {}, 60000)'], { stdio: 'ignore' }));
    const paths: string[] = [];
    try {
      await Promise.all(sleepers.map((s) => new Promise((done) => s.once('spawn', done))));
      const [a, b] = sleepers.map((s) => s.pid!) as [number, number];
      paths.push(publish(a), publish(b));
      const several = flowring(['top', '--once', '--json']);
      assert.is(several.code, 2);
      assert.match(several.stderr, /^flowring: several processes run flowring: [^\n]+; name one, as: flowring top \d+\n$/);
      for (const pid of [a, b]) assert.match(several.stderr, new RegExp(`\\b${pid}\\b`));
      const one = flowring(['top', '--once', '--json', String(a), '--interval', '0.2']);
      assert.is(one.code, 0, one.stderr);
      const report = JSON.parse(one.stdout.trimEnd()) as {
        pid: number;
        seconds: number;
        threads: Record<string, unknown>[];
        totals: { rxPackets: number };
      };
      assert.is(report.pid, a);
      assert.ok(report.seconds >= 0.19 && report.seconds < 5, String(report.seconds));
      assert.is(report.totals.rxPackets, 42);
      for (const key of ['name', 'role', 'tid', 'cpu', 'cpuSeconds', 'rxPackets', 'txPackets', 'gbps', 'ringHighWater', 'drops', 'stages'])
        assert.ok(key in report.threads[0]!, key);
      assert.is(report.threads[0]!.tid, a);
      const table = flowring(['top', '--once', '--pid', String(b), '--interval', '0.1']);
      assert.is(table.code, 0, table.stderr);
      const gone = sleepers[1]!;
      const exited = new Promise((done) => gone.once('exit', done));
      gone.kill('SIGKILL');
      await exited;
      const after = flowring(['top', '--once', '--json', '--pid', String(b)]);
      assert.is(after.code, 2);
      assert.match(after.stderr, new RegExp(`process ${b} runs no flowring`));
      assert.not(existsSync(paths[1]!));
    } finally {
      for (const s of sleepers) s.kill('SIGKILL');
      for (const p of paths) rmSync(p, { force: true });
    }
  });

test.run();
