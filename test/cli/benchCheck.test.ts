// `bench --check` as a command: instruction counts of the native bursts held against baselines that are the same, lower, and spoilt.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { countsHarness } from '../../bench/counts.ts';
import { hasProgram } from '../../bench/program.ts';
import type { Answer } from '../../bench/report.ts';

const SCRIPT = fileURLToPath(new URL('../../../scripts/bench.mjs', import.meta.url));

function problem(): string | null {
  try {
    countsHarness();
  } catch (error) {
    return (error as Error).message;
  }
  return hasProgram('valgrind') ? null : 'no program valgrind';
}

function bench(args: string[], ci = 'false'): { code: number | null; stdout: string; all: string } {
  const env = { ...process.env, CI: ci };
  const r = spawnSync(process.execPath, [SCRIPT, ...args], { encoding: 'utf8', timeout: 100_000, env });
  return { code: r.status, stdout: r.stdout, all: `${r.stdout}${r.stderr}` };
}

const directory = mkdtempSync(join(tmpdir(), 'flowring-check-'));
const file = join(directory, 'counts.json');
const counts = (...more: string[]): string[] => ['counts', '--check', '--baseline', directory, ...more];
let answer: Answer;

test.after(() => rmSync(directory, { recursive: true }));

test('without a baseline, or with a spoilt one, nothing is measured and nothing held', () => {
  for (const [text, words] of [
    [null, /bench: no baseline: \S+counts\.json is missing/],
    ['{"question":"counts"', /bench: \S+counts\.json is no baseline: /],
    ['{"question":"counts","environment":{},"rows":[]}', /bench: \S+counts\.json is no baseline: it has no rows/],
  ] as const) {
    if (text !== null) writeFileSync(file, text);
    const { code, stdout, all } = bench(counts());
    assert.is(code, 1, all);
    assert.is(stdout, '');
    assert.match(all, words);
    assert.is(all.trim().split('\n').length, 1, all);
  }
  const { code, all } = bench(['--check', '--baseline', join(directory, 'nowhere')]);
  assert.is(code, 2, all);
});

const lacks = problem();
if (lacks !== null) process.stdout.write(`SKIP instruction counts: ${lacks}\n`);
else {
  test('counts are the same in every run, and hold against themselves', () => {
    const first = bench(['counts', '--json', '--out', directory]);
    assert.is(first.code, 0, first.all);
    answer = JSON.parse(readFileSync(file, 'utf8')) as Answer;
    assert.equal(answer.skipped, [], first.all);
    assert.ok(answer.rows.length >= 10, first.all);
    for (const r of answer.rows) assert.ok(r.ours > 1 && r.peer > 1 && r.unit === 'instructions/frame', JSON.stringify(r));
    const second = bench(counts(), 'true');
    assert.is(second.code, 0, second.all);
    assert.is([...second.stdout.matchAll(/^held .*\(0\.0 %\); .*\(0\.0 %\)$/gm)].length, answer.rows.length, second.all);
    assert.match(second.stdout, /^check: \d+ held, 0 fell, 0 not compared\n$/m);
  });

  test('a count more than 5 % above its baseline: exit code 1, which and by how much', () => {
    const rows = answer.rows.map((r, i) => (i === 3 ? { ...r, ours: r.ours / 1.06 } : r));
    writeFileSync(file, JSON.stringify({ ...answer, rows }));
    const { code, stdout, all } = bench(counts('--json'));
    assert.is(code, 1, all);
    assert.match(all, new RegExp(`^fell +${answer.rows[3]!.case}: avx2 .*, baseline .* \\(6\\.0 %\\)$`, 'm'));
    // The last line of stdout stays the answer's.
    assert.is((JSON.parse(stdout.trimEnd().split('\n').at(-1)!) as Answer).question, 'counts');
  });

  test('a baseline of another compiler: said, and no pass where CI must have compared', () => {
    writeFileSync(file, JSON.stringify({ ...answer, environment: { ...answer.environment, compiler: 'g++ 3.4.6' } }));
    for (const [ci, expected] of [
      ['false', 0],
      ['true', 1],
    ] as const) {
      const { code, all } = bench(counts(), ci);
      assert.is(code, expected, all);
      assert.match(all, /^not compared .* here, the baseline is of g\+\+ 3\.4\.6$/m);
    }
  });
}

test.run();
