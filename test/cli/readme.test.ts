// The program of README.md, word for word, over a TAP device: the kernel's curl is answered, by both workers.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const NAMESPACE = `flreadme${process.pid}`;
const sh = (command: string, ...args: string[]) => spawnSync(command, args, { encoding: 'utf8', timeout: 20_000 });
const inside = (...args: string[]) => sh('ip', 'netns', 'exec', NAMESPACE, ...args);

const missing = ['ip', 'curl'].find((tool) => sh('which', tool).status !== 0);
const reason =
  process.getuid?.() !== 0
    ? 'needs root'
    : !existsSync('/dev/net/tun')
      ? 'needs /dev/net/tun'
      : missing !== undefined
        ? `needs ${missing}`
        : existsSync(join(ROOT, 'build/Release/flowring.node'))
          ? ''
          : 'needs the native addon';

async function helloAnswers(): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), 'flowring-readme-'));
  const source = /```js\n\/\/ hello\.mjs\n([\s\S]*?)```/.exec(readFileSync(join(ROOT, 'README.md'), 'utf8'));
  assert.ok(source !== null, 'README.md has no hello.mjs');
  writeFileSync(join(scratch, 'hello.mjs'), source[1]!);
  for (const command of ['link set lo up', 'tuntap add tap0 mode tap', 'address add 192.0.2.1/24 dev tap0', 'link set tap0 up']) {
    const r = inside('ip', ...command.split(' '));
    assert.is(r.status, 0, r.stderr);
  }
  const options = ['--nic', 'tap:tap0', '--address', '192.0.2.2/24', '--workers', '2'];
  const args = ['netns', 'exec', NAMESPACE, process.execPath, join(ROOT, 'bin/flowring.js'), 'run', './hello.mjs', ...options];
  const server = spawn('ip', args, { cwd: scratch, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [server.stdout, server.stderr]) {
    stream.setEncoding('utf8').on('data', (t: string) => {
      said += t;
    });
  }
  const ended = new Promise<number | null>((resolve) => server.on('close', resolve));
  try {
    for (let tries = 0; !said.includes('listening 192.0.2.2:80\n'); tries++) {
      assert.ok(tries < 300 && server.exitCode === null, said);
      await new Promise((done) => setTimeout(done, 50));
    }
    const workers = new Set<string>();
    for (let i = 0; i < 40; i++) {
      const r = inside('curl', '--silent', '--show-error', '--max-time', '5', 'http://192.0.2.2/');
      assert.is(r.status, 0, `${r.stderr}\n${said}`);
      const answer = /^hello from worker (\d) of 2\n$/.exec(r.stdout);
      assert.ok(answer !== null, r.stdout);
      workers.add(answer[1]!);
    }
    assert.equal([...workers].sort(), ['0', '1']);
    server.kill('SIGTERM');
    assert.is(await ended, 0, said);
  } finally {
    server.kill('SIGKILL');
    rmSync(scratch, { recursive: true, force: true });
  }
}

if (reason !== '') console.log(`SKIP the program of README.md: ${reason}`);
else {
  test.before(() => {
    const r = sh('ip', 'netns', 'add', NAMESPACE);
    assert.is(r.status, 0, r.stderr);
  });
  test.after(() => void sh('ip', 'netns', 'delete', NAMESPACE));
  test('the program of README.md answers curl from both workers', helloAnswers);
  test.run();
}
