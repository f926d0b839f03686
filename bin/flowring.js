#!/usr/bin/env node
// The command `flowring`. Plain JavaScript, committed, so that it works on a checkout where nothing is built yet:
// it then runs scripts/setup.mjs (packages, TypeScript, addon; all its output on stderr) and goes on.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

const fail = (line, code) => {
  process.stderr.write(`flowring: ${line}\n`);
  process.exit(code);
};

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 11)) fail(`Node ${process.versions.node} is too old; install Node 20.11 or newer`, 2);

const checkout = existsSync(at('package-lock.json'));
const built = existsSync(at('dist/src/main/cli/cli.js')) && (!checkout || existsSync(at('node_modules/.package-lock.json')));
if (!built) {
  if (!existsSync(at('scripts/setup.mjs')))
    fail('dist/ is missing from this package and so are the sources to build it; install it again', 1);
  const setup = spawnSync(process.execPath, [at('scripts/setup.mjs')], { stdio: ['ignore', 2, 2] });
  if (setup.status !== 0) fail('set-up failed, see the lines above', 1);
}

const { main } = await import('../dist/src/main/cli/cli.js');
await main(process.argv);
