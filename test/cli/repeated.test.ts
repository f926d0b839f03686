// Runtimes opened and closed again and again, and several at once, in one process: nothing of them stays.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { works } from './command.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const PROGRAM = new URL('../../../test/cli/programs/handlerLoop.mjs', import.meta.url).href;

// Inside the package, so that the script finds `flowring`.
const scratch = mkdtempSync(join(ROOT, 'dist', 'repeated-'));
test.after(() => rmSync(scratch, { recursive: true, force: true }));

/** By turns as a string and as a file: what node is told of the one must not reach the threads. */
const script = (nic: string): string[] => {
  if (nic === 'tap') return ['--input-type=module', '-e', SCRIPT, nic];
  const file = join(scratch, 'script.mjs');
  writeFileSync(file, SCRIPT.replaceAll('process.argv[1]', 'process.argv[2]'));
  return [file, nic];
};

const SCRIPT = `
import { readdirSync } from 'node:fs';
import { open } from 'flowring';
const config = (i) => process.argv[1] === 'tap'
  ? { nic: 'tap:frrep0', address: '192.0.2.9/24', layout: i % 2 ? 'inline' : 'dispatcher', workers: 1, cpus: 'none' }
  : { layout: i % 2 ? 'inline' : 'dispatcher', workers: 1, cpus: 'none' };
const files = () => readdirSync('/dev/shm').filter((f) => new RegExp('^flowring-' + process.pid + '(?![0-9])').test(f)).length;
const look = () => ({
  descriptors: readdirSync('/proc/self/fd').length,
  threads: readdirSync('/proc/self/task').length,
  exitListeners: process.listenerCount('exit'),
  files: files(),
});
let closeMs = 0;
let lost = 0;
async function once(i) {
  const r = await open(config(i));
  // Some are never started.
  if (i % 5 !== 4) await r.run(new URL(${JSON.stringify(PROGRAM)}));
  const t = performance.now();
  await r.close();
  if (i % 5 === 4) closeMs = Math.max(closeMs, performance.now() - t);
  const a = r.audit();
  lost += a.total - a.free;
}
const settled = () => new Promise((done) => setTimeout(done, 200));
for (let i = 0; i < 2; i++) await once(i);
await settled();
const before = look();
for (let i = 0; i < 20; i++) await once(i);
await settled();
const after = look();
process.argv[1] = 'switch';
const two = [await open(config(1)), await open(config(1))];
const open2 = files();
await two[0].close();
const open1 = files();
await two[1].close();
console.log(JSON.stringify({ before, after, lost, closeMs, together: [open2, open1, files()] }));
`;

for (const nic of ['switch', 'tap']) {
  const possible = nic === 'switch' || (existsSync('/dev/net/tun') && works('unshare', ['-n', 'true']));
  (possible ? test : test.skip)(`twenty times open and close (${nic}): no descriptor, thread, listener or file stays`, () => {
    // V8's own options are the process's: a thread that named one would be refused.
    const node = [process.execPath, '--stack-size=900', ...script(nic)];
    const [command, ...args] = nic === 'tap' ? ['unshare', '-n', ...node] : node;
    const r = spawnSync(command!, args, { cwd: ROOT, encoding: 'utf8', timeout: 90_000 });
    assert.is(r.status, 0, r.stderr);
    const said = JSON.parse(r.stdout.trim().split('\n').pop()!);
    assert.equal(said.after, said.before);
    assert.is(said.lost, 0);
    assert.ok(said.closeMs < 1000, `closing what never ran took ${said.closeMs} ms`);
    assert.equal(said.together, [2, 1, 0]);
  });
}

test.run();
