// The background pool: tasks of stack workers and of main, how they end, and that a stack beside them stays quick.
// test-timeout-seconds: 300
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { open } from '../../src/main/index.ts';
import { loadConfig } from '../../src/main/config/load.ts';
import { readMachine } from '../../src/main/cpus.ts';
import { openSwitch, runtimeOptions } from '../../src/main/open.ts';
import { Runtime } from '../../src/main/runtime.ts';
import { loadNative } from '../../src/ports/native.ts';
import { type Running, start } from './running.ts';

// dist/test/cli/ is three levels below the package
const PROGRAMS = fileURLToPath(new URL('../../../test/cli/programs/', import.meta.url));
const TASKS = join(PROGRAMS, 'backgroundTasks.mjs');
const dir = mkdtempSync(join(tmpdir(), 'flowring-background-'));
test.after(() => rmSync(dir, { recursive: true, force: true }));

/** A program of one worker; `task(name, data, more)` asks for one of backgroundTasks.mjs. */
function program(name: string, body: string): string {
  const path = join(dir, name);
  writeFileSync(
    path,
    `import * as m from 'flowring/mtcp';
import { background, backgroundRoom } from 'flowring/background';
const module = new URL(${JSON.stringify(pathToFileURL(TASKS).href)});
const task = (name, data, more = {}) => background({ module, name, data, ...more });
const mctx = m.createContext();
${body}
`,
  );
  return path;
}

const run = (path: string, ...options: string[]): Running => start('run', path, '--workers', '1', ...options);

async function lines(path: string, ...options: string[]): Promise<string[]> {
  return said(run(path, ...options));
}

async function said(r: Running): Promise<string[]> {
  assert.is(await r.ends(), 0, r.all);
  return r.stdout.trimEnd().split('\n');
}

const ENDINGS = `
const bytes = new Uint8Array([1, 2, 3]);
const back = await task('same', { bytes, text: 'x' }, { transfer: [bytes.buffer] });
console.log(back.bytes.join(), back.text, 'left here', bytes.length);
const given = await task('gives', 70000);
console.log(given.length, given.every((b) => b === (70000 & 0xff)));
const shared = new SharedArrayBuffer(4);
await Promise.all([task('adds', { shared }), task('adds', { shared })]);
console.log('shared', new Int32Array(shared)[0]);
const said = (e) => console.log([e.name, e.code, e.message.replaceAll(module.href, 'MODULE')].join(' | '));
await task('fails').catch((e) => { said(e); console.log(/backgroundTasks\\.mjs/.test(e.stack)); });
for (const name of ['throwsNoError', 'uncloneable', 'notAFunction', 'absent']) await task(name).catch(said);
await background({ module: new URL('file:///no/such/file.mjs') }).catch((e) => console.log(e.code));
await background({ module: 7 }).catch(said);
await task('same', () => 1).catch((e) => console.log(e.name));
console.log(backgroundRoom());
m.stop(mctx);`;

for (const layout of ['inline', 'dispatcher'])
  test(`${layout}: values go and come, moved or shared; errors keep name, code, message and stack`, async () => {
    assert.equal(await lines(program('endings.mjs', ENDINGS), '--layout', layout), [
      '1,2,3 x left here 0',
      '70000 true',
      'shared 2',
      'RangeError | E_RANGE | out of range',
      'true',
      'Error |  | a word',
      'DataCloneError | 25 | () => 1 could not be cloned.',
      'TypeError | FLOWRING_BACKGROUND | background: MODULE exports no function "notAFunction"; it exports ' +
        '"adds", "busy", "fails", "gives", "same", "throwsNoError", "uncloneable", "where"',
      'TypeError | FLOWRING_BACKGROUND | background: MODULE exports no function "absent"; it exports ' +
        '"adds", "busy", "fails", "gives", "same", "throwsNoError", "uncloneable", "where"',
      'ERR_MODULE_NOT_FOUND',
      "FlowringError | EINVAL | background: module is 7, must be a file: URL (new URL('./task.mjs', import.meta.url)) or a path",
      'DataCloneError',
      '64',
    ]);
  });

test('in a loop that the program owns, answers come between its waits', async () => {
  // A module of this package: there the program can be required, and promises run inside its loop on every release of Node.
  assert.equal(await lines(join(PROGRAMS, 'parityBackground.mjs'), '--layout', 'inline'), ['the answer']);
});

test('back-pressure: beyond background.queue a task is refused, and taken again when there is room', async () => {
  const body = `const first = [task('busy', 50), task('busy', 50), task('busy', 50)];
console.log(backgroundRoom(), await task('same', 1).catch((e) => e.code));
await Promise.all(first);
console.log(backgroundRoom(), await task('same', 1));
m.stop(mctx);`;
  assert.equal(await lines(program('full.mjs', body), '--set', 'background.queue=3'), ['0 FLOWRING_BUSY', '3 1']);
});

test('abort: a running task and a waiting one reject with the reason, one whose signal is aborted never starts', async () => {
  const body = `const a = new AbortController(), b = new AbortController();
const settle = (p) => p.then(() => 'done', (e) => e.message);
const running = settle(task('busy', 30000, { signal: a.signal }));
const waiting = settle(task('busy', 30000, { signal: b.signal }));
setTimeout(() => { a.abort(new Error('no more of a')); b.abort(new Error('no more of b')); }, 500);
console.log(await running, '|', await waiting);
console.log(await settle(task('same', 1, { signal: AbortSignal.abort(new Error('before')) })), backgroundRoom());
console.log(await task('same', 'the pool goes on'));
m.stop(mctx);`;
  const path = program('abort.mjs', body);
  assert.equal(await lines(path, '--set', 'background.threads=1'), ['no more of a | no more of b', 'before 64', 'the pool goes on']);
});

test('a drain waits for tasks under way, up to drain-ms', async () => {
  const body = (ms: number): string => `m.run(mctx, m.epollCreate(mctx), () => {});
task('busy', ${ms}).then(() => console.log('finished'), (e) => console.log(e.code));
setTimeout(() => console.log('now'), 500);`;
  for (const [r, end] of [
    [run(program('finishes.mjs', body(2000))), 'finished'],
    [run(program('cut.mjs', body(60_000)), '--set', 'drain-ms=300'), 'FLOWRING_CLOSED'],
  ] as const) {
    await r.says(/now/);
    r.signal('SIGINT');
    assert.equal(await said(r), ['now', end]);
  }
});

test('threads of the pool have their CPUs, niceness and name', async () => {
  if (loadNative() === null) return void process.stdout.write('SKIP no native addon: threads are not pinned\n');
  const cpu = String(readMachine().pinnable[0]);
  const body = "console.log(JSON.stringify(await task('where')));\nm.stop(mctx);";
  const [said] = await lines(program('where.mjs', body), '--set', `background.cpus=${cpu}`, '--set', 'background.nice=5');
  assert.equal(JSON.parse(said!), { cpus: cpu, name: 'background', nice: 5 });
});

test('main runs tasks too; a worker that ends has its own aborted; figures tell', async () => {
  const nameless = join(dir, 'nameless.mjs');
  writeFileSync(nameless, 'export default (data) => data;');
  const runtime = await open({ workers: 1, background: { threads: 1, queue: 2 } });
  assert.equal(runtime.backgroundFigures(), { threads: 0, queued: 0, running: 0, done: 0, failed: 0, aborted: 0 });
  await runtime.run(program('asks.mjs', "void task('busy', 60000).catch(() => {});\nsetTimeout(() => process.exit(0), 500);"));
  await runtime.finished();
  assert.is(await runtime.background({ module: nameless, data: 'from main' }), 'from main');
  const error: Error & { code?: string } = await runtime.background({ module: TASKS, name: 'fails' }).then(
    () => assert.unreachable() as never,
    (e) => e,
  );
  assert.equal([error.name, error.code], ['RangeError', 'E_RANGE']);
  const one = runtime.background({ module: TASKS, name: 'busy', data: 100 });
  const two = runtime.background({ module: TASKS, name: 'busy', data: 100 });
  const three = await runtime.background({ module: TASKS }).catch((e) => e.code);
  assert.is(three, 'FLOWRING_BUSY');
  await Promise.all([one, two]);
  assert.equal(runtime.backgroundFigures(), { threads: 1, queued: 0, running: 0, done: 3, failed: 1, aborted: 1 });
  const last = runtime.background({ module: TASKS, name: 'busy', data: 60_000 }).catch((e: Error) => e);
  await runtime.close();
  assert.instance(await last, Error);
  assert.is(runtime.backgroundFigures().threads, 0);
  assert.is(await runtime.background({ module: TASKS }).catch((e) => e.code), 'FLOWRING_CLOSED');
});

interface Trips {
  n: number;
  p50: number;
  p99: number;
}

/** Round trips of a paced echo, in microseconds, while the server's worker has `work` to do 20 ms of every 40. */
async function paced(work: 'none' | 'handler' | 'background'): Promise<Trips> {
  const config = (address: string): ReturnType<typeof loadConfig> => loadConfig({ flags: { layout: 'inline', workers: '1', address } });
  const server = config('198.18.0.1/24');
  const fabric = openSwitch(server.values, ['server', 'client']);
  const url = pathToFileURL(join(PROGRAMS, 'paced.mjs')).href;
  const out = join(dir, `${work}.json`);
  // Both stacks stand on the first CPU, the pool's threads on what is left.
  const cpu = loadNative() === null ? -1 : readMachine().pinnable[0]!;
  const a = new Runtime(runtimeOptions(server.values, fabric.handle(0), 'srv-', [cpu], null));
  const b = new Runtime(runtimeOptions(config('198.18.0.2/24').values, fabric.handle(1), 'cli-', [cpu], null));
  try {
    await a.start({ url, args: ['server', work] });
    await b.start({ url, args: ['client', out, '1.5'] });
    await b.finished();
  } finally {
    await Promise.all([a.close(), b.close()]);
  }
  return JSON.parse(readFileSync(out, 'utf8')) as Trips;
}

test('work in the background does not show in the round trips of its worker; the same work in the handler does', async () => {
  const factors: number[] = [];
  // Other programs on the machine can spoil rounds: the median of up to nine decides.
  const median = (): number => [...factors].sort((x, y) => x - y)[factors.length >> 1]!;
  for (let round = 0; round < 3 || (round < 9 && median() <= 2); round++) {
    const [none, handler, background] = [await paced('none'), await paced('handler'), await paced('background')];
    process.stdout.write(
      `    p50 and p99 in µs: alone ${none.p50.toFixed(0)} ${none.p99.toFixed(0)}, in the handler ${handler.p50.toFixed(0)} ` +
        `${handler.p99.toFixed(0)}, in the background ${background.p50.toFixed(0)} ${background.p99.toFixed(0)}\n`,
    );
    assert.ok(none.n > 20 && background.n > 20, `too few round trips: ${none.n} and ${background.n}`);
    factors.push(handler.p99 / background.p99);
  }
  assert.ok(median() > 2, `p99 with the work in the handler is only ${median().toFixed(1)} times that with it in the background`);
});

test.run();
