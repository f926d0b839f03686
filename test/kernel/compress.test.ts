// The example http-compress under the kernel's curl: bodies that arrive are the files, compressed in the background or as they are.
// test-timeout-seconds: 120
import { readFileSync, writeFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Daemon, FLOWRING, missing, Namespace, type Result, STACK_IP } from './namespace.ts';
import { Files } from './transfers.ts';

const DEVICE = 'frc0';
const WORDS = 'the quick brown fox jumps over the lazy dog ';
const lacks = missing(['ip', 'curl']);

interface World {
  ns: Namespace;
  files: Files;
  server: Daemon;
}

async function curl(ns: Namespace, ...args: string[]): Promise<Result> {
  return ns.run(30_000, 'curl', '-sS', '--max-time', '20', ...args);
}

function define(layout: string, workers: number): void {
  const check = suite<World>(`http-compress, ${layout}`);
  check.before(async (w) => {
    w.ns = new Namespace();
    w.files = new Files();
    writeFileSync(w.files.path('www', 'small.txt'), WORDS);
    writeFileSync(w.files.path('www', 'large.txt'), WORDS.repeat(100_000));
    const flags = ['--nic', `tap:${DEVICE}`, '--address', `${STACK_IP}/24`, '--layout', layout, '--workers', String(workers)];
    w.server = w.ns.start(90_000, process.execPath, FLOWRING, 'run', 'http-compress', ...flags, '--', '--root', w.files.path('www', ''));
    await w.server.until('readiness', (d) => d.stdout.includes('listening'), 30_000);
    w.ns.tap(DEVICE, true);
  });
  check.after(async (w) => {
    const end = await w.server.stop();
    w.ns.remove();
    w.files.remove();
    assert.is(end.code, 0, end.stderr);
  });
  const file = (w: World, name: string): string => w.files.path('got', name);
  const url = (name: string): string => `http://${STACK_IP}/${name}`;

  for (const name of ['small.txt', 'large.txt'])
    check(`${name}, gzipped and plain`, async (w) => {
      const gzipped = await curl(w.ns, '--compressed', '-o', file(w, name), '-D', '-', url(name));
      assert.is(gzipped.code, 0, gzipped.stderr);
      assert.match(gzipped.stdout, /^Content-Encoding: gzip\r$/m);
      assert.ok(readFileSync(file(w, name)).equals(readFileSync(w.files.path('www', name))));
      const plain = await curl(w.ns, '-o', file(w, name), '-D', '-', url(name));
      assert.not.match(plain.stdout, /Content-Encoding/);
      assert.ok(readFileSync(file(w, name)).equals(readFileSync(w.files.path('www', name))));
    });

  check('many at a time, each whole', async (w) => {
    const urls = Array.from({ length: 40 }, (_, i) => ['-o', file(w, `many${i}`), url('large.txt')]).flat();
    const r = await curl(w.ns, '--compressed', '--parallel', '--parallel-max', '20', '-f', ...urls);
    assert.is(r.code, 0, r.stderr);
    const whole = readFileSync(w.files.path('www', 'large.txt'));
    for (let i = 0; i < 40; i++) assert.ok(readFileSync(file(w, `many${i}`)).equals(whole), `download ${i}`);
  });

  check('absent files, other methods, and a client that goes away', async (w) => {
    const status = async (...args: string[]): Promise<string> =>
      (await curl(w.ns, '--compressed', '-o', '/dev/null', '-w', '%{http_code}', ...args)).stdout;
    assert.is(await status(url('absent.txt')), '404');
    assert.is(await status('-X', 'DELETE', url('small.txt')), '405');
    assert.is(await status('-I', url('small.txt')), '200');
    await w.ns.run(10_000, 'curl', '-s', '--compressed', '--max-time', '0.02', '-o', '/dev/null', url('large.txt'));
    assert.is(await status(url('small.txt')), '200');
  });
  check.run();
}

if (lacks.length > 0) process.stdout.write(`SKIP http-compress over a TAP: ${lacks.join(', ')}\n`);
else {
  define('inline', 1);
  define('dispatcher', 2);
}
