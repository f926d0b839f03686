// The check of a bench against its baseline: intervals of known values, what falls, what is no baseline.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BaselineError, check, type Finding, readBaseline } from '../../../bench/check.ts';
import { readDumps } from '../../../bench/counts.ts';
import type { Row } from '../../../bench/question.ts';
import type { Answer } from '../../../bench/report.ts';
import { pairedInterval, rowOf } from '../../../bench/statistics.ts';

const near = (a: number, b: number): void => assert.ok(Math.abs(a / b - 1) < 0.002, `${a} is not ${b}`);

test('the interval of paired ratios: known values', () => {
  // Logarithms of e, 1 and 1/e: mean 0, deviation 1, t of 2 degrees 4.303, so exp(±4.303 / √3).
  const [low, high] = pairedInterval([Math.E, 1, 1 / Math.E], [1, 1, 1])!;
  near(low, Math.exp(-4.303 / Math.sqrt(3)));
  near(high, Math.exp(4.303 / Math.sqrt(3)));
  assert.equal(pairedInterval([20, 40, 60], [10, 20, 30]), [2, 2]);
  // 40 pairs: beyond the table the normal distribution's 1.96.
  const ours = Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? Math.E : 1 / Math.E));
  near(
    pairedInterval(
      ours,
      ours.map(() => 1),
    )![1],
    Math.exp(1.96 * Math.sqrt(40 / 39 / 40)),
  );
});

test('pairs, not medians: a machine that drifts has a narrow interval, the same figures in another order a wide one', () => {
  const peer = [10, 20, 40, 80];
  const [low, high] = pairedInterval([21, 39, 82, 158], peer)!;
  assert.ok(low > 1.85 && high < 2.15, `${low} to ${high}`);
  const [low2, high2] = pairedInterval([158, 82, 39, 21], peer)!;
  assert.ok(low2 < 1 && high2 > 4, `${low2} to ${high2}`);
});

test('no interval of one round, nor of figures that are none', () => {
  assert.is(pairedInterval([2], [1]), null);
  assert.is(pairedInterval([2, 0], [1, 1]), null);
  assert.is(pairedInterval([2, 2], [1, 0]), null);
});

const environment = { compiler: 'g++ 12.2.0', libc: 'glibc 2.36' } as Answer['environment'];
const answer = (question: string, rows: Row[], skipped: Answer['skipped'] = []): Answer => ({ question, environment, rows, skipped });
const row = (unit: string, ours: readonly number[], peer: readonly number[]): Row =>
  rowOf({ case: 'echo 64', port: 'tap', unit, peerName: 'node' }, { ours, peer, oursCpu: [], peerCpu: [] });
const verdicts = (f: Finding[]): string[] => f.map((x) => x.verdict);
const baseline = (unit: string, ratio: number): Answer => answer('echo', [{ ...row(unit, [1, 1], [1, 1]), ratio }]);

test('more is better: a row falls when its whole interval lies below 0.85 of the baseline', () => {
  const now = answer('echo', [row('round trips/s', [168, 169, 170], [100, 100, 100])]);
  const high = now.rows[0]!.interval![1];
  assert.equal(verdicts(check(now, baseline('round trips/s', (high / 0.85) * 1.001))), ['fell']);
  assert.equal(verdicts(check(now, baseline('round trips/s', (high / 0.85) * 0.999))), ['held']);
  // Twice as good is no fall either.
  assert.equal(verdicts(check(now, baseline('round trips/s', 0.8))), ['held']);
  const [f] = check(now, baseline('round trips/s', 4));
  assert.is(f!.row, 'echo 64, tap');
  assert.match(f!.why, /ratio 1\.69 .*, baseline 4: at best 43 % of it/);
});

test('rounds that scatter fell nowhere: their interval reaches up to the bound', () => {
  const now = answer('echo', [row('round trips/s', [50, 100, 200], [100, 100, 100])]);
  assert.equal(verdicts(check(now, baseline('round trips/s', 2))), ['held']);
});

test('less is better where the unit is µs', () => {
  const now = answer('echo', [row('µs', [30, 30, 30.3], [100, 100, 100])]);
  const low = now.rows[0]!.interval![0];
  assert.equal(verdicts(check(now, baseline('µs', low * 0.85 * 0.999))), ['fell']);
  assert.equal(verdicts(check(now, baseline('µs', low * 0.85 * 1.001))), ['held']);
  assert.equal(verdicts(check(now, baseline('µs', 3))), ['held']);
});

const counted = (ours: number, peer: number): Row => ({
  ...row('instructions/frame', [ours], [peer]),
  case: 'counts inspect 64',
  port: 'none',
  peerName: 'scalar',
});

test('a count rises by more than 5 %, on either side; a fall is none', () => {
  const then = answer('counts', [counted(400, 1000)]);
  for (const [ours, peer, verdict] of [
    [420, 1000, 'held'],
    [421, 1000, 'fell'],
    [400, 1051, 'fell'],
    [100, 100, 'held'],
  ] as const)
    assert.equal(verdicts(check(answer('counts', [counted(ours, peer)]), then)), [verdict], `${ours}, ${peer}`);
  assert.match(check(answer('counts', [counted(400, 2000)]), then)[0]!.why, /^scalar 2000, baseline 1000 \(100\.0 %\)$/);
});

test('counts of another compiler or C library are not compared, those of a minor release are', () => {
  const then = answer('counts', [counted(400, 1000)]);
  const now = (e: Partial<Answer['environment']>): Answer => ({
    ...answer('counts', [counted(800, 1000)]),
    environment: { ...environment, ...e },
  });
  assert.equal(verdicts(check(now({ compiler: 'g++ 12.4.0' }), then)), ['fell']);
  for (const e of [{ compiler: 'g++ 13.1.0' }, { compiler: 'clang 12.2.0' }, { compiler: null }, { libc: 'glibc 2.39' }])
    assert.equal(verdicts(check(now(e), then)), ['not compared'], JSON.stringify(e));
});

test('what one side lacks is said, with the reason where there is one', () => {
  const then = answer('echo', [row('round trips/s', [2, 2], [1, 1]), { ...row('µs', [2, 2], [1, 1]), case: 'echo 1' }]);
  const now = answer('echo', [{ ...then.rows[0]!, port: 'packet' }], [{ case: 'echo 64, tap', reason: 'no /dev/net/tun' }]);
  assert.equal(
    check(now, then).map((f) => [f.verdict, f.row, f.why]),
    [
      ['not compared', 'echo 64, tap', 'no /dev/net/tun'],
      ['not compared', 'echo 1, tap', 'not asked'],
      ['not compared', 'echo 64, packet', 'the baseline has no such row'],
    ],
  );
  const one = answer('echo', [row('round trips/s', [2], [1])]);
  assert.equal(verdicts(check(one, answer('echo', [then.rows[0]!]))), ['not compared']);
});

test('a baseline that is missing, cut off, of another question, without rows or figures', () => {
  const directory = mkdtempSync(join(tmpdir(), 'flowring-check-'));
  try {
    const whole = baseline('µs', 1);
    for (const [text, words] of [
      [JSON.stringify(whole).slice(0, -20), /echo\.json is no baseline: /],
      ['null', /not an answer to "echo"/],
      [JSON.stringify({ ...whole, question: 'udp' }), /not an answer to "echo"/],
      [JSON.stringify({ ...whole, environment: null }), /not an answer to "echo"/],
      [JSON.stringify({ ...whole, rows: [] }), /has no rows/],
      [JSON.stringify({ ...whole, rows: [{ ...whole.rows[0], ratio: 0 }] }), /row 0 has no case, port and figures/],
      [JSON.stringify({ ...whole, rows: [whole.rows[0], null] }), /row 1 has no/],
      [JSON.stringify({ ...whole, rows: [{ ...whole.rows[0], ours: '7' }] }), /row 0 has no/],
    ] as const) {
      writeFileSync(join(directory, 'echo.json'), text);
      assert.throws(
        () => readBaseline(directory, 'echo'),
        (e: Error) => e instanceof BaselineError && words.test(e.message),
        text,
      );
    }
    assert.throws(() => readBaseline(directory, 'short'), /short\.json is missing/);
    writeFileSync(join(directory, 'echo.json'), JSON.stringify(whole));
    assert.equal(readBaseline(directory, 'echo'), JSON.parse(JSON.stringify(whole)));
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('the dumps of callgrind: those on request, by name', () => {
  const dump = (trigger: string, total: number): string =>
    `version: 1\ndesc: Trigger: ${trigger}\n\nevents: Ir\nsummary: 1\n\ntotals: ${total}\n`;
  const totals = readDumps([dump('Client Request: inspect 64', 51096), dump('Program termination', 7), dump('Client Request: emit 64', 3)]);
  assert.equal(
    [...totals],
    [
      ['inspect 64', 51096],
      ['emit 64', 3],
    ],
  );
});

test.run();
