// Runs the tests: every test/**/*.test.ts, compiled, as a process of its own with a time bound; one after the other,
// because many of them measure time or pin threads, but those under test/unit, which do not: two at a time.
//
//   npm test                         all of them
//   npm test -- unit/wire sim        those whose path contains one of the words
//   npm test -- -v                   with what they print
//   npm test -- --with-lint          and the linter as one more check
//   npm test -- --with-counts        and instruction counts of the native bursts against their baseline (bench/counts.ts)
//   npm test -- --with-runtimes      and a smoke run on other releases of Node (scripts/runtimes.mjs)
//
// A file that cannot run here prints `SKIP <reason>`, one line per skipped test, and exits 0. Under CI=true a skip fails.
// A file that runs nothing and skips nothing fails. A comment `// test-timeout-seconds: N` in a file moves its bound.
// A line `FAILED <file> "<test>": <message>` for each test that failed comes last of all, before the sum: a log that is cut in its
// middle still tells. The last line is `N passed, N failed`, followed by `, N skipped` when there are any.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { boundedRun, endRunning } from './boundedRun.mjs';
import { failures } from './failures.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** Order of the groups, and seconds one file may take. */
const GROUPS = { unit: 120, native: 180, sim: 240, kernel: 300, cli: 240 };
const COUNTS_SECONDS = 240;
/** Files of these groups may run beside one another: so many at a time. */
const AT_ONCE = { unit: Math.min(2, availableParallelism()) };
const RUNTIMES_SECONDS = 1500;
const CI = process.env.CI === 'true';

const args = process.argv.slice(2);
const verbose = args.includes('-v') || args.includes('--verbose');
const withLint = args.includes('--with-lint');
const withCounts = args.includes('--with-counts');
const withRuntimes = args.includes('--with-runtimes');
const words = args.filter((a) => !a.startsWith('-'));
const unknown = args.find((a) => a.startsWith('-') && !['-v', '--verbose', '--with-lint', '--with-counts', '--with-runtimes'].includes(a));
if (unknown !== undefined) {
  process.stderr.write(`test: unknown option ${unknown}; known are -v, --with-lint, --with-counts and --with-runtimes\n`);
  process.exit(2);
}

function testsUnder(directory, found = []) {
  for (const entry of readdirSync(join(ROOT, directory), { withFileTypes: true })) {
    const path = `${directory}/${entry.name}`;
    if (entry.isDirectory()) testsUnder(path, found);
    else if (entry.name.endsWith('.test.ts')) found.push(path);
  }
  return found.sort();
}

/** Sources decide, not dist: a compiled file whose source was removed must not run. */
function plan() {
  const present = readdirSync(join(ROOT, 'test'), { withFileTypes: true })
    .filter((e) => e.isDirectory())
    .map((e) => e.name);
  const order = [...Object.keys(GROUPS).filter((g) => present.includes(g)), ...present.filter((g) => !(g in GROUPS)).sort()];
  const chosen = (path) => words.length === 0 || words.some((w) => path.includes(w));
  return order.flatMap((group) =>
    testsUnder(`test/${group}`)
      .filter(chosen)
      .map((source) => ({ source, group })),
  );
}

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
]) {
  process.on(signal, () => {
    endRunning();
    process.exit(code);
  });
}

const runBounded = (command, commandArgs, seconds) =>
  boundedRun(command, commandArgs, {
    cwd: ROOT,
    env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' },
    seconds,
    echo: verbose ? process.stdout : null,
  });

const lastNumber = (text, label) => {
  const all = [...text.matchAll(new RegExp(`^\\s*${label}:\\s+(\\d+)\\s*$`, 'gm'))];
  return all.length === 0 ? 0 : Number(all.at(-1)[1]);
};

// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what it removes
const plain = (text) => text.replace(/\x1b\[[0-9;]*m/g, '');

/** What a finished test file amounts to: counts, and why it failed. */
function judge(result, bound) {
  const text = plain(result.output);
  const total = lastNumber(text, 'Total');
  const passed = lastNumber(text, 'Passed');
  const reasons = [...text.matchAll(/^SKIP (.+)$/gm)].map((m) => m[1]);
  const skipped = Math.max(reasons.length, lastNumber(text, 'Skipped'));
  let failed = Math.max(0, total - passed);
  let why = '';
  if (result.timedOut) why = `took longer than ${bound} s`;
  else if (result.signal !== null) why = `ended by ${result.signal}`;
  else if (result.code !== 0) why = `exit code ${result.code}`;
  else if (total === 0 && skipped === 0) why = 'ran no test and gave no reason (SKIP …)';
  if (why !== '' && failed === 0) failed = 1;
  return { passed, failed, skipped, reasons, why };
}

async function runTest({ source, group }) {
  const compiled = `dist/${source.replace(/\.ts$/, '.js')}`;
  if (!existsSync(join(ROOT, compiled)))
    return { passed: 0, failed: 1, skipped: 0, reasons: [], why: `${compiled} is missing`, output: '', seconds: 0 };
  const own = /^\/\/ test-timeout-seconds: (\d+)/m.exec(readFileSync(join(ROOT, source), 'utf8'));
  const bound = own === null ? (GROUPS[group] ?? 120) : Number(own[1]);
  const result = await runBounded(process.execPath, [compiled], bound);
  return { ...judge(result, bound), output: result.output, seconds: result.seconds };
}

async function runLint() {
  const r = await runBounded('npm', ['run', '--silent', 'lint'], 120);
  const failed = r.code === 0 ? 0 : 1;
  return {
    passed: 1 - failed,
    failed,
    skipped: 0,
    reasons: [],
    why: failed === 0 ? '' : `exit code ${r.code}`,
    output: r.output,
    seconds: r.seconds,
  };
}

/** Each count is a check. One that could not be compared is a skip: under CI=true that fails. */
async function runCounts() {
  const r = await runBounded(process.execPath, ['scripts/bench.mjs', 'counts', '--check'], COUNTS_SECONDS);
  const [, held = '0', fell = '0', none = '0'] = /^check: (\d+) held, (\d+) fell, (\d+) not compared$/m.exec(r.output) ?? [];
  const why = r.timedOut ? `took longer than ${COUNTS_SECONDS} s` : r.code === 0 ? '' : `exit code ${r.code}`;
  return {
    passed: Number(held),
    failed: why !== '' && fell === '0' ? 1 : Number(fell),
    skipped: Number(none),
    reasons: [...r.output.matchAll(/^not compared +(.+)$/gm)].map((m) => m[1]),
    why,
    output: r.output,
    seconds: r.seconds,
  };
}

/** Its checks count one by one. */
async function runRuntimes() {
  const r = await runBounded(process.execPath, ['scripts/runtimes.mjs'], RUNTIMES_SECONDS);
  const [, passed = '0', failed = '1'] = /(\d+) passed, (\d+) failed\s*$/.exec(r.output) ?? [];
  const why = r.timedOut ? `took longer than ${RUNTIMES_SECONDS} s` : r.code === 0 ? '' : `exit code ${r.code}`;
  return {
    passed: Number(passed),
    failed: why !== '' && failed === '0' ? 1 : Number(failed),
    skipped: 0,
    reasons: [],
    why,
    output: r.output,
    seconds: r.seconds,
  };
}

function report(name, r) {
  const mark = r.failed > 0 ? 'FAIL' : r.passed === 0 && r.skipped > 0 ? 'skip' : 'ok  ';
  const counts = `${r.passed} passed${r.failed > 0 ? `, ${r.failed} failed` : ''}${r.skipped > 0 ? `, ${r.skipped} skipped` : ''}`;
  process.stdout.write(`${mark} ${name.padEnd(44)} ${counts.padEnd(24)} ${r.seconds.toFixed(1)} s${r.why === '' ? '' : `  ${r.why}`}\n`);
  for (const reason of r.reasons) process.stdout.write(`     skipped: ${reason}\n`);
  if (r.failed > 0 && !verbose) process.stdout.write(`${r.output.trimEnd()}\n\n`);
}

const sum = { passed: 0, failed: 0, skipped: 0 };
const failed = [];
const add = (name, r) => {
  report(name, r);
  if (r.failed > 0) failed.push(...failures(name, r.why, plain(r.output)));
  sum.passed += r.passed;
  sum.failed += r.failed;
  sum.skipped += r.skipped;
};

/** Every file in its turn, a group's next ones already running beside it where they may; reported in order. */
async function runAll() {
  const running = [];
  for (let i = 0, next = 0; i < tests.length; i++) {
    const { group } = tests[i];
    for (; next < tests.length && tests[next].group === group && next < i + (AT_ONCE[group] ?? 1); next++)
      running[next] = runTest(tests[next]);
    add(tests[i].source.replace(/^test\/|\.test\.ts$/g, ''), await running[i]);
  }
}

const tests = plan();
if (tests.length === 0) process.stderr.write(`test: no test file matches ${words.join(' ')}\n`);
if (withLint) add('lint', await runLint());
await runAll();
if (withCounts) add('counts', await runCounts());
if (withRuntimes) add('runtimes', await runRuntimes());
if (CI && sum.skipped > 0) {
  process.stdout.write(`${sum.skipped} skipped: with CI=true every skip is a failure\n`);
  sum.failed += sum.skipped;
  sum.skipped = 0;
}
for (const line of failed) process.stdout.write(`${line}\n`);
process.stdout.write(`${sum.passed} passed, ${sum.failed} failed${sum.skipped > 0 ? `, ${sum.skipped} skipped` : ''}\n`);
process.exitCode = sum.failed > 0 || tests.length === 0 ? 1 : 0;
