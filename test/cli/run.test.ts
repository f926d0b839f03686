// `flowring run`, `npm start` and `flowring top` as a user meets them: processes, lines, exit codes.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BIN } from './command.ts';
import { Running, start } from './running.ts';

const WAIT_MS = 30_000;
const scratch = mkdtempSync(join(tmpdir(), 'flowring-run-'));
test.after(() => rmSync(scratch, { recursive: true, force: true }));

const program = (name: string, body: string): string => {
  const path = join(scratch, name);
  writeFileSync(path, `import { createContext, stop } from 'flowring/mtcp';\nconst mctx = createContext();\n${body}\n`);
  return path;
};

for (const [signal, forced] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  test(`${signal} drains: one readiness line for all workers, exit code 0, nothing left behind`, async () => {
    const r = start('run', 'echo-server', '--workers', '2', '--', '--listen', '77');
    await r.says(/listening/);
    const pid = r.pid;
    r.signal(signal);
    assert.is(await r.ends(), 0, r.all);
    assert.equal(r.stdout.match(/^listening.*$/gm), ['listening 198.18.0.1:77']);
    assert.not(existsSync(`/dev/shm/flowring-${pid}`));
  });

  test(`a second ${signal} forces a program that does not end: ${forced}`, async () => {
    const r = start('run', program('busy.mjs', "setTimeout(() => { console.log('busy'); for (;;); }, 100);"), '--workers', '1');
    await r.says(/busy/);
    r.signal(signal);
    await r.says(/draining/);
    r.signal(signal);
    assert.is(await r.ends(), forced, r.all);
  });
}

test('what follows -- is the program own argv, in every worker; stop in all of them ends the run', async () => {
  const path = program('argv.mjs', 'console.log(`${mctx.worker}/${mctx.workers} ${JSON.stringify(process.argv.slice(2))}`);\nstop(mctx);');
  const r = start('run', path, '--workers', '2', '--', 'a', '--workers', '-x', 'b c');
  assert.is(await r.ends(), 0, r.all);
  assert.equal(r.stdout.trimEnd().split('\n').sort(), ['0/2 ["a","--workers","-x","b c"]', '1/2 ["a","--workers","-x","b c"]']);
});

test('an inline run needs one thread and behaves the same', async () => {
  const path = program('inline.mjs', "console.log('worker', mctx.worker, 'of', mctx.workers);\nstop(mctx);");
  const r = start('run', path, '--layout', 'inline');
  assert.is(await r.ends(), 0, r.all);
  assert.is(r.stdout, 'worker 0 of 1\n');
});

test('the exit code that a program sets is the exit code of the run', async () => {
  const path = program('code.mjs', 'if (mctx.worker === 1) process.exitCode = 3;\nstop(mctx);');
  const r = start('run', path, '--workers', '2');
  assert.is(await r.ends(), 3, r.all);
});

test('a program that throws ends the run with 1 and its own stack trace', async () => {
  const r = start('run', program('throws.mjs', "throw new Error('the program broke');"), '--workers', '2');
  assert.is(await r.ends(), 1, r.all);
  assert.match(r.stderr, /the program broke/);
  assert.match(r.stderr, /throws\.mjs/);
});

test('a program that misspells a name of ours is told which there are', async () => {
  const r = start('run', program('misspelt.mjs', "import 'flowring/mtpc';"), '--workers', '1');
  assert.is(await r.ends(), 1, r.all);
  assert.match(r.stderr, /there is no "flowring\/mtpc"; there are [^\n]*flowring\/mtcp[^\n]*; imported from file:\S*misspelt\.mjs/);
});

test('a program that does not parse ends the run with 1', async () => {
  const r = start('run', program('syntax.mjs', 'const = ;'), '--workers', '1');
  assert.is(await r.ends(), 1, r.all);
  assert.match(r.stderr, /a worker failed: \S*syntax\.mjs:3\nconst = ;\n/, 'its file and line');
  assert.match(r.stderr, /SyntaxError/);
  const importer = start('run', program('importer.mjs', "await 0;\nimport './syntax.mjs';"), '--workers', '1');
  assert.is(await importer.ends(), 1, importer.all);
  assert.match(importer.stderr, /SyntaxError[\s\S]*in a module that file:\S*importer\.mjs imports/);
});

test('a program that throws what is no Error ends the run with 1', async () => {
  const r = start('run', program('null.mjs', 'throw null;'), '--workers', '1');
  assert.is(await r.ends(), 1, r.all);
  assert.match(r.stderr, /a worker failed: null was thrown/);
});

test('a program that forgot its loop is told', async () => {
  const r = start('run', program('noLoop.mjs', "console.log('imported');"), '--workers', '1');
  await r.says(/flowring: the program has no loop yet.*run\(mctx, ep, handler\)/);
  r.signal('SIGINT');
  assert.is(await r.ends(), 0, r.all);
});

test('promises, timers and console work beside the stack', async () => {
  const path = program(
    'loop.mjs',
    "await new Promise((done) => setTimeout(done, 20));\nconsole.log('timer');\nconsole.error('to stderr');\nsetTimeout(() => stop(mctx), 20);",
  );
  const r = start('run', path, '--workers', '1');
  assert.is(await r.ends(), 0, r.all);
  assert.is(r.stdout, 'timer\n');
  assert.match(r.stderr, /^to stderr$/m);
});

const COLUMNS: Readonly<Record<string, string>> = {
  name: 'string',
  role: 'string',
  tid: 'number',
  cpu: 'number',
  cpuSeconds: 'number',
  rxPackets: 'number',
  txPackets: 'number',
  gbps: 'number',
  ringHighWater: 'number',
  drops: 'number',
};

test('npm start passes its options on, and its last line is the whole object', async () => {
  const r = new Running(['start', '--', '--seconds', '1', '--json'], { command: 'npm' });
  assert.is(await r.ends(), 0, r.all);
  const s = JSON.parse(r.stdout.trimEnd().split('\n').at(-1)!) as { verified: boolean; totals: Record<string, number> };
  assert.is(s.verified, true);
  assert.ok(s.totals.bytesVerified! > 10_000, r.stdout);
  assert.not.match(r.stdout.replace(/^> .*$/gm, '').trim(), /\n./, 'more than the object on stdout');
});

/** `top --once`, without waiting for stdin or a terminal. */
const top = (...args: string[]) => spawnSync(process.execPath, [BIN, 'top', '--once', ...args], { encoding: 'utf8', timeout: WAIT_MS });

test('top --once --json reads a running process; several must be named', async () => {
  const a = start('run', 'echo-server', '--workers', '2', '--', '--listen', '77');
  await a.says(/listening/);
  if (!existsSync(`/dev/shm/flowring-${a.pid}`)) {
    console.log('\nSKIP top of a running process: no native addon, so nothing is published');
  } else {
    const one = top('--json', '--pid', String(a.pid));
    assert.is(one.status, 0, one.stderr);
    const report = JSON.parse(one.stdout) as { pid: number; threads: (Record<string, unknown> & { stages: Record<string, number> })[] };
    assert.is(report.pid, a.pid);
    assert.equal(report.threads.map((t) => t.role).sort(), ['dispatcher', 'main', 'server', 'server']);
    for (const t of report.threads) {
      for (const [column, type] of Object.entries(COLUMNS)) assert.type(t[column], type as 'string', column);
      assert.ok((t.tid as number) > 0);
      for (const ns of Object.values(t.stages)) assert.type(ns, 'number');
    }
    const b = start('run', 'echo-server', '--workers', '1', '--', '--listen', '77');
    await b.says(/listening/);
    const several = top('--json');
    assert.is(several.status, 2);
    assert.is(several.stderr.trimEnd().split('\n').length, 1);
    for (const r of [a, b]) assert.match(several.stderr, new RegExp(`\\b${r.pid}\\b`));
    b.signal('SIGTERM');
    assert.is(await b.ends(), 0, b.all);
  }
  a.signal('SIGTERM');
  assert.is(await a.ends(), 0, a.all);
});

test.run();
