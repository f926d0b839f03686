/** Both ways to drive a worker stay controllable: logs appear, messages arrive, promises run, a drain ends it, terminate is prompt. */
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadConfig } from '../../src/main/config/load.ts';
import { openSwitch, runtimeOptions } from '../../src/main/open.ts';
import { Runtime } from '../../src/main/runtime.ts';
import { Running, start } from './running.ts';

const program = (name: string): string => new URL(`../../../test/cli/programs/${name}.mjs`, import.meta.url).href;
const sleep = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

function alone(layout: 'inline' | 'dispatcher'): Runtime {
  const c = loadConfig({ flags: { layout, workers: '1', cpus: 'none' } }).values;
  return new Runtime(runtimeOptions(c, openSwitch(c, ['alone']).handle(0), '', [], null));
}

/** `flowring run` of a test program, as a person would. */
const run = (name: string, ...flags: string[]): Running =>
  start('run', fileURLToPath(program(name)), '--cpus', 'none', '--workers', '1', ...flags);

for (const layout of ['inline', 'dispatcher']) {
  test(`while (epollWait): logs appear while it runs, SIGINT drains, exit 0 (${layout})`, async () => {
    const c = run('parityLoop', '--layout', layout);
    await c.says(/parity: begins/);
    c.signal('SIGINT');
    assert.is(await c.ends(), 0, c.all);
    assert.match(c.all, 'parity: ends with EINTR');
  });
  test(`the driver's loop: logs, timers and promises live, SIGTERM drains, exit 0 (${layout})`, async () => {
    const c = run('handlerLoop', '--layout', layout);
    await c.says(/handler: a timer fired/);
    assert.match(c.all, 'handler: a promise ran');
    c.signal('SIGTERM');
    assert.is(await c.ends(), 0, c.all);
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
    const r = new Running(['--input-type=module', '-e', script], { command: process.execPath });
    assert.is(await r.ends(), 0, r.all);
    for (const line of ['parity: message hello', 'parity: a promise ran', 'handler: message hello']) assert.match(r.all, line);
  });
}

test('a second signal forces: 130 for SIGINT, and a worker that neither waits nor returns holds nobody up', async () => {
  const c = run('endless');
  await c.says(/endless: begins/);
  c.signal('SIGINT');
  await c.says(/draining/);
  const t0 = Date.now();
  c.signal('SIGINT');
  assert.is(await c.ends(), 130, c.all);
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
