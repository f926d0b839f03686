/**
 * Builds build/Release/flowring.node, offline. Node's own headers are used where they stand beside the running node
 * (PREFIX/include/node), through node-gyp with --nodedir; else the Node-API headers of the npm package `node-api-headers`, then
 * without V8's part (native/sab_v8.cc). Nothing is ever downloaded.
 *
 * Exit code 0: built, or up to date. 1: not built, one line on stderr says why; flowring runs without the addon then.
 * `--force` ignores the stamp, `--no-v8` leaves V8's part out.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const release = join(root, 'build', 'Release');
const addon = join(release, 'flowring.node');
const stamp = join(release, 'flowring.stamp');
const require = createRequire(join(root, 'package.json'));

function giveUp(why) {
  process.stderr.write(`flowring: native addon not built: ${why}\n`);
  process.exit(1);
}

/** Sources and headers below `dir`, sorted: the order must not depend on the file system. */
function sources(dir) {
  return readdirSync(dir, { withFileTypes: true })
    .flatMap((e) => (e.isDirectory() ? sources(join(dir, e.name)) : /\.(cc|h)$/.test(e.name) ? [join(dir, e.name)] : []))
    .sort();
}

/** Directory whose include/node holds the headers of exactly this node, or undefined. */
function nodeDir() {
  const candidates = [resolve(dirname(process.execPath), '..'), process.config.variables.node_prefix];
  return candidates.find((dir) => {
    if (!dir || !existsSync(join(dir, 'include/node/node_api.h')) || !existsSync(join(dir, 'include/node/common.gypi'))) return false;
    const text = readFileSync(join(dir, 'include/node/node_version.h'), 'utf8');
    const part = (name) => /\d+/.exec(new RegExp(`#define NODE_${name}_VERSION (\\d+)`).exec(text)?.[1] ?? '')?.[0];
    return `${part('MAJOR')}.${part('MINOR')}.${part('PATCH')}` === process.versions.node;
  });
}

/** node-gyp of our node_modules, else the one npm brings along. */
function nodeGyp() {
  try {
    return require.resolve('node-gyp/bin/node-gyp.js');
  } catch {
    const bundled = join(dirname(process.execPath), '../lib/node_modules/npm/node_modules/node-gyp/bin/node-gyp.js');
    return existsSync(bundled) ? bundled : undefined;
  }
}

const works = (command) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
const compiler = () => [process.env.CXX, 'g++', 'c++', 'clang++'].find((c) => c && works(c));
const python = () => [process.env.PYTHON, process.env.npm_config_python, 'python3', 'python'].find((c) => c && works(c));

function run(command, args, env) {
  const r = spawnSync(command, args, { cwd: root, env, encoding: 'utf8', maxBuffer: 1 << 26 });
  if (r.status === 0) return;
  const text = `${r.stdout ?? ''}\n${r.stderr ?? ''}`;
  const line = text.split('\n').find((l) => /\berror\b|ERR!.*(stack|find)/i.test(l)) ?? text.trim().split('\n').at(-1) ?? '';
  process.stderr.write(text);
  giveUp(`${command} failed: ${line.trim() || r.error?.message || `exit code ${r.status}`}`);
}

function buildWithGyp(gyp, dir) {
  if (python() === undefined) giveUp('node-gyp needs python3, and there is none (install python3, or set PYTHON)');
  const env = { ...process.env, npm_config_nodedir: dir, npm_config_offline: 'true', npm_config_python: python() };
  // A dist URL nobody listens on: should node-gyp ever want headers from the network, it fails instead.
  env.npm_config_disturl = 'http://127.0.0.1:9/';
  run(process.execPath, [gyp, 'rebuild', '--release', `--nodedir=${dir}`, `--jobs=2`], env);
}

/** Node-API needs its headers and a compiler, nothing else. */
function buildPlain(cxx) {
  let headers;
  try {
    headers = require('node-api-headers').include_dir;
  } catch {
    giveUp(`no headers for node ${process.version} beside ${process.execPath}, and no node-api-headers package (npm install)`);
  }
  mkdirSync(release, { recursive: true });
  const files = sources(join(root, 'native')).filter((f) => f.endsWith('.cc'));
  const flags = [
    '-O3',
    '-std=c++17',
    '-fPIC',
    '-shared',
    '-fvisibility=hidden',
    '-fno-strict-aliasing',
    '-pthread',
    '-DNAPI_VERSION=8',
    '-D_GNU_SOURCE',
    '-DFLOWRING_NO_V8',
    '-DBUILDING_NODE_EXTENSION',
  ];
  run(cxx, [...flags, `-I${headers}`, '-o', addon, ...files, '-ldl'], process.env);
}

if (process.platform !== 'linux') giveUp(`it is for Linux, this is ${process.platform}`);
const dir = process.argv.includes('--no-v8') ? undefined : nodeDir();
const gyp = dir === undefined ? undefined : nodeGyp();
const hash = createHash('sha256');
for (const f of [...sources(join(root, 'native')), join(root, 'binding.gyp'), fileURLToPath(import.meta.url)])
  hash.update(f.slice(root.length)).update(readFileSync(f));
const want = `${hash.digest('hex')} ${process.version} abi${process.versions.modules} ${process.arch} ${gyp === undefined ? 'node-api' : 'v8'}\n`;

if (!process.argv.includes('--force') && existsSync(addon) && existsSync(stamp) && readFileSync(stamp, 'utf8') === want) {
  process.stdout.write('flowring: native addon is up to date\n');
} else {
  const cxx = compiler();
  if (cxx === undefined) giveUp('there is no C++ compiler (install g++, or set CXX)');
  rmSync(stamp, { force: true });
  if (gyp !== undefined) buildWithGyp(gyp, dir);
  else buildPlain(cxx);
  writeFileSync(stamp, want);
  process.stdout.write(`flowring: native addon built (${gyp === undefined ? 'Node-API only' : `headers of ${dir}`})\n`);
}
