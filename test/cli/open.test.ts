// The root export as a program in main uses it: open, run, finished, figures, postMessage, close.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ConfigError, open, type OpenRuntime } from '../../src/main/index.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const dir = mkdtempSync(join(tmpdir(), 'flowring-open-'));
test.after(() => rmSync(dir, { recursive: true, force: true }));

function program(name: string, body: string): string {
  const path = join(dir, name);
  writeFileSync(path, `import * as m from 'flowring/mtcp';\nimport { parentPort } from 'node:worker_threads';\n${body}\n`);
  return path;
}

const LISTENER = program(
  'listener.mjs',
  `const mctx = m.createContext();
const ep = m.epollCreate(mctx);
const s = m.socket(mctx, m.AF_INET, m.SOCK_STREAM);
m.bind(mctx, s, { port: 80 });
m.listen(mctx, s);
m.epollCtl(mctx, ep, m.EPOLL_CTL_ADD, s, { events: m.EPOLLIN });
m.run(mctx, ep, () => {});
parentPort.on('message', (code) => {
  process.exitCode = code === process.argv[2] ? 0 : 1;
  m.stop(mctx);
});`,
);

async function rejects(promise: Promise<unknown>, message: RegExp): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    assert.match((error as Error).message, message);
    return error as Error;
  }
  return assert.unreachable(`was to be refused: ${message}`) as never;
}

function allFree(runtime: OpenRuntime): void {
  const audit = runtime.audit();
  assert.is(audit.free, audit.total, JSON.stringify(audit));
}

test('the program of docs/main.md, beside the one of README.md, as a package of its own', () => {
  const block = (page: string, file: string): string => {
    const found = new RegExp(`\\x60\\x60\\x60js\\n// ${file}\\n([\\s\\S]*?)\\x60\\x60\\x60`).exec(readFileSync(join(ROOT, page), 'utf8'));
    assert.ok(found !== null, `${page} has no ${file}`);
    return found![1]!;
  };
  mkdirSync(join(dir, 'node_modules'));
  symlinkSync(ROOT, join(dir, 'node_modules/flowring'));
  writeFileSync(join(dir, 'main.mjs'), block('docs/main.md', 'main.mjs'));
  writeFileSync(join(dir, 'hello.mjs'), block('README.md', 'hello.mjs'));
  const r = spawnSync(process.execPath, ['main.mjs'], { cwd: dir, encoding: 'utf8', timeout: 60_000 });
  assert.is(r.status, 0, r.stderr);
  assert.match(r.stdout, /^listening 198\.18\.0\.1:80$/m);
  for (const name of ['main', 'disp', 'work0', 'work1']) assert.match(r.stdout, new RegExp(`^${name} `, 'm'));
});

for (const layout of ['dispatcher', 'inline'] as const)
  test(`${layout}: a program with its arguments, a message, figures, and its end`, async () => {
    const runtime = await open({ layout, workers: 1, rings: { rx: 2048 }, tcpNagle: false });
    const heard: [number, number][] = [];
    runtime.onListening((address, port) => heard.push([address, port]));
    await runtime.run(pathToFileURL(LISTENER), ['word']);
    assert.equal(heard, [[(198 << 24) | (18 << 16) | 1, 80]]);
    runtime.postMessage(0, 'word');
    await runtime.finished();
    const roles = runtime.figures().map((f) => f.role);
    assert.equal(roles, layout === 'inline' ? ['main', 'worker', 'broker'] : ['main', 'dispatcher', 'worker']);
    await runtime.close();
    await runtime.close();
    allFree(runtime);
  });

test('two runtimes of one process do not meet', async () => {
  const one = await open({ workers: 1 });
  const two = await open({ workers: 1 });
  await Promise.all([one.run(LISTENER, ['a']), two.run(LISTENER, ['b'])]);
  one.postMessage(0, 'a');
  await one.finished();
  await one.close();
  two.postMessage(0, 'b');
  await two.finished();
  await two.close();
  allFree(one);
  allFree(two);
});

test('a wrong configuration is a ConfigError', async () => {
  const error = await rejects(open({ workers: 99 }), /^code: workers: 99 is above 64/);
  assert.instance(error, ConfigError);
  assert.is((error as ConfigError).code, 'FLOWRING_CONFIG');
});

test('a failure is told once: by run or finished, not again by close', async () => {
  const absent = await open({ workers: 1 });
  await rejects(absent.run(join(dir, 'absent.mjs')), /Cannot find module/);
  await absent.close();
  const broken = await open({ workers: 1, supervise: 'fail' });
  // On a slow machine the throw comes before `run` has seen every thread up: then `run` tells.
  const ran = broken.run(program('broken.mjs', "setTimeout(() => { throw new Error('broke later'); }, 50);"));
  await rejects(
    ran.then(() => broken.finished()),
    /broke later/,
  );
  await broken.close();
  const unheard = await open({ workers: 1, supervise: 'fail' });
  await unheard.run(program('broken.mjs', "setTimeout(() => { throw new Error('nobody waited'); }, 1000);"));
  await new Promise((done) => setTimeout(done, 2500));
  await rejects(unheard.close(), /nobody waited/);
});

test('a runtime runs one program, and none after its end', async () => {
  const runtime = await open({ workers: 1 });
  await runtime.run(LISTENER);
  await rejects(runtime.run(LISTENER), /runs already/);
  await runtime.close();
  await rejects(runtime.run(LISTENER), /closed/);
});

test.run();
