// What a bench prints, not how fast anything is: the object of --json, its rows, the exit codes, and the document made from it.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readWrk } from '../../bench/client.ts';
import { checkTally, type Tally } from '../../bench/load.ts';
import { type Answer, report } from '../../bench/report.ts';
import { median, rowOf } from '../../bench/statistics.ts';
import { type Target, targetSection } from '../../bench/targets.ts';
import { nativeProblem, loadNative } from '../../src/ports/native.ts';

const SCRIPT = fileURLToPath(new URL('../../../scripts/bench.mjs', import.meta.url));
const REPORT = fileURLToPath(new URL('../../bench/report.js', import.meta.url));
const ROW_KEYS = ['case', 'port', 'unit', 'ours', 'peer', 'peerName', 'ratio', 'ratioBest', 'cpuRatio', 'spread', 'interval'];

function bench(...args: string[]): { code: number | null; stdout: string; stderr: string; all: string } {
  const r = spawnSync(process.execPath, [SCRIPT, ...args], { encoding: 'utf8', timeout: 100_000 });
  return { code: r.status, stdout: r.stdout, stderr: r.stderr, all: `${r.stdout}${r.stderr}` };
}

function answerOf(stdout: string): Answer {
  const lines = stdout.trimEnd().split('\n');
  return JSON.parse(lines.at(-1)!) as Answer;
}

/** The contract of --json, whatever was asked. */
function checkAnswer(a: Answer, question: string, all: string): void {
  assert.equal(Object.keys(a), ['question', 'environment', 'rows', 'skipped', 'exhibits'], all);
  assert.is(a.question, question);
  for (const key of ['node', 'kernel', 'cpu', 'cpus', 'cores', 'governor', 'root', 'loadBefore', 'seconds', 'rounds'])
    assert.ok(key in a.environment, `environment has no ${key}`);
  for (const r of a.rows) {
    assert.equal(Object.keys(r), ROW_KEYS, all);
    for (const key of ['ours', 'peer', 'ratio', 'ratioBest'] as const)
      assert.ok(r[key] > 0 && Number.isFinite(r[key]), `${r.case}: ${key} ${r[key]}`);
    assert.ok(r.spread >= 0, r.case);
    if (r.interval !== null) assert.ok(r.interval[0] > 0 && r.interval[0] <= r.interval[1], `${r.case}: ${r.interval}`);
    assert.ok(r.cpuRatio === null || r.cpuRatio >= 0, r.case);
    assert.ok(Math.abs(r.ratio / (r.ours / r.peer) - 1) < 0.01, `${r.case}: ${r.ratio} is not ${r.ours} / ${r.peer}`);
  }
  for (const s of a.skipped) assert.ok(s.case !== '' && s.reason !== '', all);
}

test('no question: they are listed with what they ask', () => {
  const { code, stdout } = bench();
  assert.is(code, 0);
  for (const name of ['rings', 'wire', 'bursts', 'counts', 'dispatch', 'echo', 'short', 'bulk', 'http', 'udp'])
    assert.match(stdout, new RegExp(`^  ${name} +\\w`, 'm'));
});

test('what is not understood is told in a line, with exit code 2', () => {
  for (const [args, words] of [
    [['nothing'], /no question "nothing"; there are rings, /],
    [['echo', '--port', 'serial'], /--port serial: must be one of switch, tap, packet/],
    [['echo', '--seconds', '0'], /--seconds 0: must be a number from 0\.1 to 60/],
    [['echo', '--rounds', '1.5'], /--rounds 1\.5: must be a whole number/],
    [['echo', '--fast'], /--fast/],
    [['echo', '--set', 'mtu=1'], /mtu/],
  ] as const) {
    const { code, stdout, stderr } = bench(...args);
    assert.is(code, 2, args.join(' '));
    assert.is(stdout, '');
    assert.match(stderr, words);
    assert.is(stderr.trim().split('\n').length, 1, stderr);
  }
});

test('a micro question: rows of port none, the answer on the last line', () => {
  const { code, stdout, all } = bench('bursts', '--json', '--seconds', '0.1', '--rounds', '2', '--warm', '0');
  assert.is(code, 0, all);
  const a = answerOf(stdout);
  checkAnswer(a, 'bursts', all);
  assert.is(a.rows.length + a.skipped.length, 4, all);
  assert.is(a.rows.length, loadNative() === null ? 0 : 4, `${nativeProblem()}: ${all}`);
  for (const r of a.rows) assert.equal([r.port, r.unit, r.cpuRatio, r.peerName], ['none', 'frames/s', null, 'TypeScript twin']);
});

test('the rings question crosses threads and compares every word', () => {
  const { code, stdout, all } = bench('rings', '--json', '--seconds', '0.1', '--rounds', '1', '--warm', '0');
  assert.is(code, 0, all);
  const a = answerOf(stdout);
  checkAnswer(a, 'rings', all);
  assert.equal(
    a.rows.map((r) => r.case),
    ['rings 16', 'rings 64', 'rings 16, threads', 'rings 64, threads'],
  );
});

test('the dispatch question: what comes out at the workers counts, and every frame comes home', () => {
  const { code, stdout, all } = bench('dispatch', '--json', '--seconds', '0.2', '--rounds', '1', '--warm', '0');
  assert.is(code, 0, all);
  const a = answerOf(stdout);
  checkAnswer(a, 'dispatch', all);
  assert.equal(
    a.rows.map((r) => [r.case, r.port]),
    [
      ['dispatch 4', 'switch'],
      ['dispatch 4, one way', 'switch'],
    ],
  );
  assert.equal(
    a.exhibits![0]!.rows.map((r) => r[0]),
    ['pull', 'hash', 'steer', 'push', 'recycle', 'all', 'across threads'],
  );
  for (const [stage, ns] of a.exhibits![0]!.rows) assert.ok(Number(ns) > 0, `${stage} ${ns}`);
});

test('echo over the switch: ours against node, who may be anybody', () => {
  const { code, stdout, all } = bench('echo', '--port', 'switch', '--json', '--seconds', '1', '--rounds', '1', '--warm', '0.5');
  assert.is(code, 0, all);
  const a = answerOf(stdout);
  checkAnswer(a, 'echo', all);
  assert.equal(
    a.rows.map((r) => [r.case, r.port, r.unit]),
    [
      ['echo 64', 'switch', 'round trips/s'],
      ['echo 1', 'switch', 'µs'],
      ['echo 1 p99', 'switch', 'µs'],
    ],
    all,
  );
  for (const r of a.rows) assert.match(r.peerName, /^node:net, /);
});

test('ratios: medians over medians, and over the best, which is the least where the unit is µs', () => {
  const about = { case: 'c', port: 'tap', unit: 'round trips/s', peerName: 'p' } as const;
  const rounds = { ours: [10, 30, 20], peer: [5, 4, 10], oursCpu: [2, 1, 3], peerCpu: [4, 4, 8] };
  const r = rowOf(about, rounds);
  assert.equal([r.ours, r.peer, r.ratio, r.ratioBest, r.cpuRatio, r.spread], [20, 5, 4, 2, 0.5, 0.5]);
  assert.is(rowOf({ ...about, unit: 'µs' }, rounds).ratioBest, 5);
  assert.is(rowOf(about, { ...rounds, peerCpu: [4, null, 8] }).cpuRatio, null);
  assert.is(median([4, 1, 3, 2]), 2.5);
});

const TALLY: Tally = { operations: 1, bytes: 1, total: 1, seconds: 1, p50: 1, p99: 1, wrong: 0, failed: 0, lost: 0 };

test('a round with a wrong answer, a failed connection, lost datagrams or nothing done does not count', () => {
  const load = { mode: 'udp', connections: 64, size: 64 } as const;
  checkTally(TALLY, load);
  checkTally({ ...TALLY, total: 1000, lost: 64 }, load);
  assert.throws(() => checkTally({ ...TALLY, wrong: 1 }, load), /1 wrong answers/);
  assert.throws(() => checkTally({ ...TALLY, failed: 2 }, load), /2 failed connections/);
  assert.throws(() => checkTally({ ...TALLY, total: 0 }, load), /nothing was done/);
  assert.throws(() => checkTally({ ...TALLY, total: 100, lost: 65 }, load), /65 of 165 datagrams/);
});

test('what wrk prints is read, its errors too', () => {
  const text = `Running 2s test @ http://192.0.2.2:7000/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.01ms    2.00ms  30.00ms   95.00%
    Req/Sec    61.00k     5.00k   70.00k    70.00%
  Latency Distribution
     50%  812.00us
     75%    1.00ms
     90%    1.50ms
     99%    9.50ms
  123456 requests in 2.10s, 17.66MB read
  Socket errors: connect 1, read 2, write 0, timeout 4
  Non-2xx or 3xx responses: 3
Requests/sec:  58788.57
`;
  const t = readWrk(text);
  assert.equal([t.operations, t.seconds, t.p50, t.p99, t.failed, t.wrong], [123456, 2.1, 812, 9500, 7, 3]);
  assert.throws(() => readWrk('unable to connect to 192.0.2.2:7000 Connection refused\n'), /unable to connect/);
});

const ENVIRONMENT: Answer['environment'] = {
  date: '2026-01-02',
  node: '20.20.2',
  v8: '11.3',
  kernel: '6.1',
  cpu: 'A CPU',
  cpus: 2,
  cores: { server: 0, client: 1 },
  governor: 'performance',
  root: true,
  ours: 'layout inline, 1 worker',
  addon: true,
  compiler: 'g++ 12.2.0',
  libc: 'glibc 2.36',
  loadBefore: 0.1,
  seconds: 2,
  rounds: 5,
  sets: [],
};

const FIXTURE: Answer = {
  question: 'echo',
  environment: ENVIRONMENT,
  rows: [
    {
      case: 'echo 64',
      port: 'tap',
      unit: 'round trips/s',
      ours: 200000,
      peer: 100000,
      peerName: 'node:net',
      ratio: 2,
      ratioBest: 1.9,
      cpuRatio: 0.5,
      spread: 0.02,
      interval: null,
    },
    {
      case: 'echo 8',
      port: 'tap',
      unit: 'round trips/s',
      ours: 70000,
      peer: 100000,
      peerName: 'node:net',
      ratio: 0.7,
      ratioBest: 0.6,
      cpuRatio: 1.4,
      spread: 0.02,
      interval: null,
    },
    {
      case: 'echo 1',
      port: 'switch',
      unit: 'µs',
      ours: 30,
      peer: 20,
      peerName: 'node:net',
      ratio: 1.5,
      ratioBest: 1.6,
      cpuRatio: null,
      spread: 0.1,
      interval: null,
    },
    {
      case: 'echo 2',
      port: 'packet',
      unit: 'round trips/s',
      ours: 97,
      peer: 100,
      peerName: 'node:net',
      ratio: 0.97,
      ratioBest: 0.95,
      cpuRatio: 1,
      spread: 0.05,
      interval: null,
    },
  ],
  skipped: [{ case: 'echo 64, packet', reason: 'no such port' }],
};

test('the document: every row, losses stated, what was skipped and why', () => {
  const text = report([FIXTURE], [{ name: 'echo', asks: 'messages there and back', method: 'With care.' }]);
  assert.match(text, /^# Benchmarks/);
  const losses = text.slice(text.indexOf('## What is lost'), text.indexOf('## echo'));
  assert.match(losses, /- echo 8 over tap: 0\.70 of node:net\./);
  assert.match(losses, /- echo 1 over switch: 1\.50 times the time of node:net\./);
  assert.match(losses, /- echo 8 over tap: 1\.40 times the CPU of node:net\./);
  assert.not.match(losses, /echo 64 over|echo 2 over/);
  assert.match(text, /\| echo 64 \| tap \| round trips\/s \| 200,000 \| 100,000 \| 2\.00 \| 1\.90 \| 0\.50 \| 2 % \| won \| node:net \|/);
  assert.match(text, /\| echo 8 \|.*\| \*\*lost\*\* \|/);
  assert.match(text, /\| echo 2 \|.*\| level \|/);
  assert.match(text, /- echo 64, packet: no such port/);
  assert.match(text, /A CPU, 2 usable CPUs \(server on CPU 0, client on CPU 1\)/);
});

test('targets: reached, missed by how much, not measured; a profile below them', () => {
  const of = (name: string, ports: Target['ports'], least: number, stretch: number, figure: Target['figure'] = 'ratio'): Target => ({
    case: name,
    ports,
    figure,
    least,
    stretch,
    mtcp: null,
  });
  const targets = [
    of('echo 64', ['tap', 'packet'], 2.5, 3),
    of('echo 64', ['tap'], 1.5, 1.9),
    of('echo 8', ['tap'], 0.5, 0.9),
    of('echo 1', ['switch'], 0.6, 0.4),
    of('echo 64', ['tap'], 0.28, 0.2, 'cpuRatio'),
    of('bulk 1', ['tap', 'packet'], 1, 1.4),
  ];
  const lines = targetSection([FIXTURE], [{ name: 'echo-64-tap', text: 'Copies: 31 %.' }], targets).filter((l) =>
    /^\| (echo|bulk)/.test(l),
  );
  assert.equal(lines, [
    '| echo 64 | tap | ratio | 2.00 | 2.5 | 3 | – | **missed**: 80 % of it |',
    '| echo 64 | tap | ratio | 2.00 | 1.5 | 1.9 | – | reached, the stretch too |',
    '| echo 8 | tap | ratio | 0.70 | 0.5 | 0.9 | – | reached |',
    '| echo 1 | switch | ratio | 1.50 | 0.6 | 0.4 | – | **missed**: 2.50 times it |',
    '| echo 64 | tap | CPU | 0.50 | 0.28 | 0.2 | – | **missed**: 1.79 times it |',
    '| bulk 1 | tap, packet | ratio | – | 1 | 1.4 | – | not measured |',
  ]);
  const text = report([FIXTURE], [], [{ name: 'echo-64-tap', text: 'Copies: 31 %.' }]);
  assert.match(text, /### Where the time goes\n\n#### echo 64 tap\n\nCopies: 31 %\.\n/);
  assert.not.match(report([FIXTURE], []), /Where the time goes/);
});

test('an exhibit of an answer is a table of the document', () => {
  const exhibits = [{ title: 'The slowest', text: ['First.', 'Second.'], head: ['µs', 'why'], rows: [['31', 'preempted']] }];
  const text = report([{ ...FIXTURE, exhibits }], []);
  assert.match(text, /### The slowest\n\nFirst\.\n\nSecond\.\n\n\| µs \| why \|\n\|---\|---:\|\n\| 31 \| preempted \|\n/);
});

test('the generator makes the same document from files', () => {
  const directory = mkdtempSync(join(tmpdir(), 'flowring-bench-'));
  try {
    const file = join(directory, 'echo.json');
    writeFileSync(file, JSON.stringify(FIXTURE));
    const r = spawnSync(process.execPath, [REPORT, file], { encoding: 'utf8', timeout: 30_000 });
    assert.is(r.status, 0, r.stderr);
    assert.match(r.stdout, /- echo 8 over tap: 0\.70 of node:net\./);
    assert.is(readFileSync(file, 'utf8'), JSON.stringify(FIXTURE));
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test.run();
