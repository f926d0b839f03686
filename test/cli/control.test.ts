/** Both ways to drive a worker stay controllable: logs appear, messages arrive, promises run, a drain ends it, terminate is prompt. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadConfig } from '../../src/main/config/load.ts';
import { openSwitch, runtimeOptions } from '../../src/main/open.ts';
import { Runtime } from '../../src/main/runtime.ts';

const program = (name: string): string => new URL(`../../../test/cli/programs/${name}.mjs`, import.meta.url).href;
const BIN = fileURLToPath(new URL('../../../bin/flowring.js', import.meta.url));
const sleep = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

function alone(layout: 'inline' | 'dispatcher'): Runtime {
  const c = loadConfig({ flags: { layout, workers: '1', cpus: 'none' } }).values;
  return new Runtime(runtimeOptions(c, openSwitch(c, ['alone']).handle(0), '', [], null));
}

interface Child {
  text(): string;
  until(line: string, ms: number): Promise<void>;
  signal(s: NodeJS.Signals): void;
  ended: Promise<number | null>;
}

/** `flowring run` of a test program, as a person would. */
function run(name: string, ...flags: string[]): Child {
  const child = spawn(process.execPath, [BIN, 'run', fileURLToPath(program(name)), '--cpus', 'none', '--workers', '1', ...flags], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  child.stdout.on('data', (d: Buffer) => (text += d.toString()));
  child.stderr.on('data', (d: Buffer) => (text += d.toString()));
  const bound = setTimeout(() => child.kill('SIGKILL'), 30_000);
  const ended = new Promise<number | null>((done) => child.on('close', done)).finally(() => clearTimeout(bound));
  return {
    text: () => text,
    until: async (line, ms) => {
      for (const by = Date.now() + ms; !text.includes(line); await sleep(10))
        if (Date.now() > by) throw new Error(`"${line}" did not appear in: ${text}`);
    },
    signal: (s) => void child.kill(s),
    ended,
  };
}

for (const layout of ['inline', 'dispatcher']) {
  test(`while (epollWait): logs appear while it runs, SIGINT drains, exit 0 (${layout})`, async () => {
    const c = run('parityLoop', '--layout', layout);
    await c.until('parity: begins', 20_000);
    c.signal('SIGINT');
    assert.is(await c.ended, 0, c.text());
    assert.match(c.text(), 'parity: ends with EINTR');
  });
  test(`the driver's loop: logs, timers and promises live, SIGTERM drains, exit 0 (${layout})`, async () => {
    const c = run('handlerLoop', '--layout', layout);
    await c.until('handler: a timer fired', 20_000);
    assert.match(c.text(), 'handler: a promise ran');
    c.signal('SIGTERM');
    assert.is(await c.ended, 0, c.text());
  });
  test(`messages from main arrive in both modes (${layout})`, async () => {
    const script = `
      import { open } from 'flowring';
      const wait = (ms) => new Promise((done) => setTimeout(done, ms));
      for (const name of ${JSON.stringify([program('parityLoop'), program('handlerLoop')])}) {
        const r = await open({ layout: '${layout}', workers: 1, cpus: 'none' });
        await r.run(new URL(name));
        r.postMessage(0, 'hello');
        await wait(400);
        await r.close();
      }`;
    const cwd = fileURLToPath(new URL('../../../', import.meta.url));
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    child.stdout.on('data', (d: Buffer) => (text += d.toString()));
    child.stderr.on('data', (d: Buffer) => (text += d.toString()));
    const bound = setTimeout(() => child.kill('SIGKILL'), 30_000);
    const code = await new Promise((done) => child.on('close', done));
    clearTimeout(bound);
    assert.is(code, 0, text);
    for (const line of ['parity: message hello', 'parity: a promise ran', 'handler: message hello']) assert.match(text, line);
  });
}

test('a second signal forces: 130 for SIGINT, and a worker that neither waits nor returns holds nobody up', async () => {
  const c = run('endless');
  await c.until('endless: begins', 20_000);
  c.signal('SIGINT');
  await c.until('draining', 5000);
  const t0 = Date.now();
  c.signal('SIGINT');
  assert.is(await c.ended, 130, c.text());
  assert.ok(Date.now() - t0 < 2000);
});

test('terminate is prompt', async () => {
  const r = alone('dispatcher');
  const started = r.start({ url: program('endless'), args: [] }).catch(() => undefined);
  await sleep(1500);
  const t0 = performance.now();
  await r.stop();
  // stop() asks for a second before it terminates.
  assert.ok(performance.now() - t0 < 3000, `${performance.now() - t0} ms`);
  r.release();
  await Promise.race([started, sleep(100)]);
});

test.run();
