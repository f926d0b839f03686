// The benches run, say what they measured on, and give a figure for each line; the figures themselves are nobody's test.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const SCRIPT = fileURLToPath(new URL('../../../scripts/bench.mjs', import.meta.url));

function bench(name: string): { code: number | null; lines: string[]; all: string } {
  const env = { ...process.env, BENCH_MS: '5', BENCH_RUNS: '1', BENCH_SLOTS: '20000' };
  const r = spawnSync(process.execPath, [SCRIPT, name], { encoding: 'utf8', timeout: 60_000, env });
  return { code: r.status, lines: r.stdout.split('\n'), all: `${r.stdout}${r.stderr}` };
}

for (const [name, rows] of [
  ['bursts', /^(inspect|emit) (1448|64) B, TypeScript +\d+\.\d +\d+\.\d$/],
  ['rings', /^bursts of (1|16|64) +\d+\.\d +\d+\.\d +\d+\.\d$/],
] as const)
  test(name, () => {
    const { code, lines, all } = bench(name);
    assert.is(code, 0, all);
    assert.ok(
      lines.some((l) => l.startsWith(`# node ${process.versions.node}`)),
      all,
    );
    assert.is(lines.filter((l) => rows.test(l)).length, name === 'bursts' ? 4 : 3, all);
  });

test('a bench that is not there is named', () => {
  const { code, all } = bench('nothing');
  assert.is(code, 2);
  assert.match(all, /no bench "nothing"; there are bursts, rings/);
});

test.run();
