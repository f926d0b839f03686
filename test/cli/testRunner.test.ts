// scripts/test.mjs over small trees: what it counts, what it calls a failure, and its last line.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const REPOSITORY = fileURLToPath(new URL('../../../', import.meta.url));

const uvu = (...bodies: string[]): string =>
  `import { test } from 'uvu';\n${bodies.map((b, i) => `test('t${i}', () => { ${b} });\n`).join('')}test.run();\n`;

function copyRunner(root: string): void {
  mkdirSync(join(root, 'scripts'));
  for (const file of ['scripts/test.mjs', 'scripts/boundedRun.mjs', 'scripts/failures.mjs'])
    copyFileSync(join(REPOSITORY, file), join(root, file));
}

/** Runs the runner over test files given as group/name -> text. */
function runTests(files: Record<string, string>, args: string[] = [], env: Record<string, string> = {}) {
  const root = mkdtempSync(join(tmpdir(), 'flowring-runner-'));
  try {
    mkdirSync(join(root, 'test'));
    copyRunner(root);
    symlinkSync(join(REPOSITORY, 'node_modules'), join(root, 'node_modules'));
    writeFileSync(join(root, 'package.json'), '{ "type": "module" }\n');
    for (const [name, text] of Object.entries(files)) {
      for (const path of [`test/${name}.test.ts`, `dist/test/${name}.test.js`]) {
        mkdirSync(join(root, dirname(path)), { recursive: true });
        writeFileSync(join(root, path), text);
      }
    }
    const r = spawnSync(process.execPath, [join(root, 'scripts/test.mjs'), ...args], {
      encoding: 'utf8',
      env: { ...process.env, CI: '', ...env },
      timeout: 60_000,
    });
    return { status: r.status, out: r.stdout, last: r.stdout.trimEnd().split('\n').at(-1) };
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

test('sums what passed over files, groups in order', () => {
  const r = runTests({ 'sim/b': uvu(''), 'unit/a': uvu('', ''), 'cli/c': uvu('') });
  assert.is(r.last, '4 passed, 0 failed');
  assert.is(r.status, 0);
  assert.equal(
    r.out.match(/^ok {3}\S+/gm)!.map((l) => l.slice(5)),
    ['unit/a', 'sim/b', 'cli/c'],
  );
});

test('what failed is said again at the very end, a line each: tests, crashes, and what inner runs said', () => {
  const r = runTests({
    'unit/a': uvu('', "throw new Error('broken here');", 'throw new Error("and there");'),
    'unit/b': uvu(''),
    'unit/c': "console.error('tells');\nprocess.exit(3);\n",
    'cli/d': `console.log('FAILED node 1 tests unit/x "t": it broke');\n${uvu('')}process.on('exit', () => { process.exitCode = 1; });\n`,
  });
  const lines = r.out.trimEnd().split('\n');
  assert.equal(lines.slice(-5), [
    'FAILED unit/a "t1": broken here',
    'FAILED unit/a "t2": and there',
    'FAILED unit/c: exit code 3: tells',
    'FAILED cli/d node 1 tests unit/x "t": it broke',
    '3 passed, 4 failed',
  ]);
});

test('files of test/unit run two at a time, others alone; all are reported in order', () => {
  const slow = (ms: number): string =>
    `import { appendFileSync } from 'node:fs';\nconst log = new URL('../../../log', import.meta.url);\n` +
    `appendFileSync(log, '+');\nawait new Promise((d) => setTimeout(d, ${ms}));\nappendFileSync(log, '-');\n${uvu('')}`;
  const read = "import { readFileSync } from 'node:fs';\nconsole.log(readFileSync(new URL('../../../log', import.meta.url), 'utf8'));\n";
  const files = (group: string): Record<string, string> => ({
    [`${group}/a`]: slow(1500),
    [`${group}/b`]: slow(100),
    'zz/last': read + uvu(''),
  });
  const both = runTests(files('unit'), ['-v']);
  assert.equal(
    both.out.match(/^ok {3}\S+/gm)!.map((l) => l.slice(5)),
    ['unit/a', 'unit/b', 'zz/last'],
  );
  if (availableParallelism() > 1) assert.match(both.out, /^\+\+--$/m);
  assert.match(runTests(files('cli'), ['-v']).out, /^\+-\+-$/m);
});

test('a failing test is counted, shown, and ends in exit 1', () => {
  const r = runTests({ 'unit/a': uvu('', "throw new Error('broken here');") });
  assert.is(r.last, '1 passed, 1 failed');
  assert.is(r.status, 1);
  assert.match(r.out, /broken here/);
});

test('what passes is not shown, unless asked for', () => {
  const file = { 'unit/a': uvu("console.log('chatter');") };
  assert.not.match(runTests(file).out, /chatter/);
  assert.match(runTests(file, ['-v']).out, /chatter/);
});

test('a skip carries its reason, and fails under CI=true', () => {
  const file = { 'kernel/a': "console.log('SKIP needs root');\nconsole.log('SKIP needs curl');\n" };
  const free = runTests(file);
  assert.is(free.last, '0 passed, 0 failed, 2 skipped');
  assert.is(free.status, 0);
  assert.match(free.out, /skipped: needs root/);
  const ci = runTests(file, [], { CI: 'true' });
  assert.is(ci.last, '0 passed, 2 failed');
  assert.is(ci.status, 1);
});

test('a file that runs nothing and skips nothing fails', () => {
  const r = runTests({ 'unit/a': 'export {};\n' });
  assert.is(r.last, '0 passed, 1 failed');
  assert.is(r.status, 1);
});

test('a crash before or after the tests fails, whatever passed', () => {
  assert.is(runTests({ 'unit/a': "throw new Error('early');\n" }).last, '0 passed, 1 failed');
  assert.is(runTests({ 'unit/a': `${uvu('')}process.on('exit', () => { process.exitCode = 3; });\n` }).last, '1 passed, 1 failed');
});

test('a file that hangs is ended at its bound, with what it started', () => {
  const child = "import { spawn } from 'node:child_process';\nspawn('sleep', ['50'], { stdio: 'inherit' });\n";
  const started = Date.now();
  const r = runTests({ 'unit/a': `// test-timeout-seconds: 1\n${child}setInterval(() => {}, 1000);\n` });
  assert.is(r.last, '0 passed, 1 failed');
  assert.match(r.out, /took longer than 1 s/);
  assert.ok(Date.now() - started < 20_000);
});

test('a process that a test left behind does not hold the runner', () => {
  const child = "import { spawn } from 'node:child_process';\nspawn('sleep', ['50'], { stdio: 'inherit' }).unref();\n";
  const started = Date.now();
  assert.is(runTests({ 'unit/a': `${child}${uvu('')}` }).last, '1 passed, 0 failed');
  assert.ok(Date.now() - started < 20_000);
});

test('words choose files, and a word that matches nothing fails', () => {
  const files = { 'unit/a': uvu(''), 'unit/b': uvu('', '') };
  assert.is(runTests(files, ['unit/b']).last, '2 passed, 0 failed');
  const none = runTests(files, ['nothing']);
  assert.is(none.status, 1);
  assert.is(runTests(files, ['--frobnicate']).status, 2);
});

test('a source without its compiled file fails', () => {
  const root = mkdtempSync(join(tmpdir(), 'flowring-runner-'));
  try {
    mkdirSync(join(root, 'test/unit'), { recursive: true });
    copyRunner(root);
    writeFileSync(join(root, 'test/unit/a.test.ts'), '');
    const missing = spawnSync(process.execPath, [join(root, 'scripts/test.mjs')], { encoding: 'utf8', env: { ...process.env, CI: '' } });
    assert.is(missing.status, 1);
    assert.match(missing.stdout, /a\.test\.js is missing/);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});

test.run();
