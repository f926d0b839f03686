// How a program's end, wanted or not, ends the run, in every layout.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { start } from './running.ts';

const scratch = mkdtempSync(join(tmpdir(), 'flowring-endings-'));
test.after(() => rmSync(scratch, { recursive: true, force: true }));

const program = (name: string, body: string): string => {
  const path = join(scratch, name);
  writeFileSync(path, `import { createContext } from 'flowring/mtcp';\nconst mctx = createContext();\n${body}\n`);
  return path;
};

for (const [layout, workers] of [
  ['inline', '1'],
  ['dispatcher', '2'],
  ['dispatcher-rx-tx', '2'],
  ['run-to-completion', '2'],
] as const) {
  const flags = ['--layout', layout, '--workers', workers];

  test(`${layout}: process.exit in a program ends the run with its code, at once and with every frame home`, async () => {
    for (const body of ['process.exit(3);', 'setTimeout(() => process.exit(3), 50);']) {
      const r = start('run', program('exits.mjs', body), ...flags);
      assert.is(await r.ends(), 3, r.all);
      assert.not.match(r.stderr, /come home|failed/);
    }
  });

  test(`${layout}: an error or a rejection long after the start ends the run with 1 and the program's own stack trace`, async () => {
    for (const body of ["throw new Error('broke later');", "Promise.reject(new Error('broke later'));"]) {
      const path = program('later.mjs', `setTimeout(() => { ${body} }, 50);`);
      const r = start('run', path, '--set', 'supervise=fail', ...flags);
      assert.is(await r.ends(), 1, r.all);
      assert.match(r.stderr, /broke later\n.*later\.mjs/);
    }
  });

  test(`${layout}: a signal ends a program that is not yet imported`, async () => {
    const body = "console.log('waits');\nsetInterval(() => {}, 1000);\nawait new Promise(() => {});";
    const r = start('run', program('waits.mjs', body), ...flags);
    await r.says(/waits/);
    r.signal('SIGINT');
    assert.is(await r.ends(), 0, r.all);
  });
}

for (const layout of ['dispatcher', 'dispatcher-rx-tx', 'inline', 'run-to-completion'])
  test(`${layout}: process.exit in a handler, with a connection half open`, async () => {
    const options = ['--layout', layout, '--workers', '1'];
    const body = `const ep = epollCreate(mctx);
const s = socket(mctx, AF_INET, SOCK_STREAM);
connect(mctx, s, { address: '198.18.0.77', port: 9 });
epollCtl(mctx, ep, EPOLL_CTL_ADD, s, { events: EPOLLOUT });
run(mctx, ep, () => process.exit(5));`;
    const names = 'AF_INET, EPOLL_CTL_ADD, EPOLLOUT, SOCK_STREAM, connect, epollCreate, epollCtl, run, socket';
    const path = program('exitLater.mjs', `import { ${names} } from 'flowring/mtcp';\n${body}`);
    const late = start('run', path, ...options);
    assert.is(await late.ends(), 5, late.all);
    assert.not.match(late.stderr, /come home|do not hold|failed/);
  });

test.run();
