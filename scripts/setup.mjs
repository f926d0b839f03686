// Makes a checkout ready: packages, compiled TypeScript, native addon; each only when it is missing or out of date.
//
//   node scripts/setup.mjs            what `npm start`, `npm test` and bin/flowring.js call first
//   node scripts/setup.mjs --force    everything again
//
// Says nothing when there is nothing to do. Whatever it prints goes to stderr, so that a command's stdout stays its own.
// Several may start at once: a lock directory lets one work and the others wait. A missing compiler is one warning line.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const LOCK = join(ROOT, 'dist/.setup.lock');
const STAMP = join(ROOT, 'dist/.setup.stamp');
const BUILD_INFO = join(ROOT, 'dist/.tsbuildinfo');
const SOURCE_ROOTS = ['src', 'test', 'bench'];
const LOCK_WAIT_MS = 15 * 60 * 1000;
const force = process.argv.includes('--force');

const say = (line) => process.stderr.write(`flowring set-up: ${line}\n`);

class SetupError extends Error {}

/** Runs a command with its stdout on our stderr. Returns its exit status; 127 when it could not be started. */
function run(command, args) {
  const r = spawnSync(command, args, { cwd: ROOT, stdio: ['ignore', 2, 2], env: { ...process.env, NO_UPDATE_NOTIFIER: '1' } });
  if (r.error !== undefined) say(`${command}: ${r.error.message}`);
  return r.status ?? 127;
}

/** The npm that started us, or the one on the PATH. */
function npm(...args) {
  const cli = process.env.npm_execpath;
  if (cli !== undefined && /^npm(-cli)?\.c?js$/.test(basename(cli)) && existsSync(cli)) return run(process.execPath, [cli, ...args]);
  return run('npm', args);
}

const readJson = (path) => JSON.parse(readFileSync(join(ROOT, path), 'utf8'));

/** Whether node_modules holds what the lockfile says: contents are compared, dates mean nothing after a clone. */
function packagesCurrent() {
  if (!existsSync(join(ROOT, 'package-lock.json'))) return true;
  if (!existsSync(join(ROOT, 'node_modules/.package-lock.json'))) return false;
  const wanted = readJson('package-lock.json').packages;
  const installed = readJson('node_modules/.package-lock.json').packages;
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === '') continue;
    const have = installed[path];
    if (have === undefined ? entry.optional !== true && entry.peer !== true : have.version !== entry.version) return false;
    if (have !== undefined && !existsSync(join(ROOT, path, 'package.json'))) return false;
  }
  return true;
}

function sources(directory, found) {
  for (const entry of readdirSync(join(ROOT, directory), { withFileTypes: true })) {
    const path = `${directory}/${entry.name}`;
    if (entry.isDirectory()) sources(path, found);
    else if (entry.name.endsWith('.ts') && !entry.name.endsWith('.d.ts')) found.push(path);
  }
  return found;
}

/** One line per source with its size and date: any edit, addition or removal changes the text. */
function sourceState() {
  const files = SOURCE_ROOTS.filter((d) => existsSync(join(ROOT, d))).flatMap((d) => sources(d, []));
  const state = ['tsconfig.json', 'package-lock.json', ...files.sort()]
    .filter((f) => existsSync(join(ROOT, f)))
    .map((f) => {
      const s = statSync(join(ROOT, f));
      return `${f} ${s.size} ${s.mtimeMs}`;
    })
    .join('\n');
  return { files, state };
}

const outputOf = (source) => join(ROOT, 'dist', source.replace(/\.ts$/, '.js'));

function compiledCurrent({ files, state }) {
  return existsSync(STAMP) && readFileSync(STAMP, 'utf8') === state && files.every((f) => existsSync(outputOf(f)));
}

function installPackages() {
  say('installing packages (npm ci)');
  const status = npm('ci', '--no-audit', '--no-fund', '--loglevel=error');
  if (status !== 0) throw new SetupError(`npm ci ended with ${status}: is the npm registry reachable? (npm ping)`);
}

function compile(before) {
  say('compiling TypeScript');
  // The incremental state does not notice a deleted output: start over when one is missing.
  if (force || !before.files.every((f) => existsSync(outputOf(f)))) rmSync(BUILD_INFO, { force: true });
  const { bin } = readJson('node_modules/typescript/package.json');
  const status = run(process.execPath, [join(ROOT, 'node_modules/typescript', bin.tsc), '-p', 'tsconfig.json']);
  if (status !== 0) throw new SetupError('TypeScript does not compile, see the lines above');
  // The state from before: what was edited while the compiler ran is compiled next time.
  writeFileSync(STAMP, before.state);
}

/** The addon keeps its own stamp, so asking it every time is cheap. Without a compiler: one warning line, and on we go. */
function buildAddon() {
  const script = join(ROOT, 'scripts/build-native.mjs');
  if (!existsSync(script)) return;
  if (force || !existsSync(join(ROOT, 'build/Release/flowring.node'))) say('building the native addon');
  const r = spawnSync(process.execPath, [script, ...(force ? ['--force'] : [])], { cwd: ROOT, encoding: 'utf8', maxBuffer: 1 << 26 });
  const lines = `${r.stdout}${r.stderr}`.split('\n').filter((l) => l.trim() !== '' && !l.includes('up to date'));
  const why = r.status === 0 ? '' : (lines.pop() ?? `exit code ${r.status}`);
  for (const line of lines) process.stderr.write(`${line}\n`);
  if (r.status !== 0) say(`warning: ${why.replace(/^flowring: /, '')}; only the switch port works, and slower (flowring doctor says more)`);
}

const alive = (pid) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
};

/** The process that holds the lock, 0 when it is just being taken, -1 when there is none. */
function lockHolder() {
  try {
    return Number(readFileSync(join(LOCK, 'pid'), 'utf8')) || 0;
  } catch {
    return existsSync(LOCK) ? 0 : -1;
  }
}

/** Removes the lock of a process that died. A second directory keeps two waiters from removing each other's new lock. */
function breakLock() {
  const guard = `${LOCK}.break`;
  try {
    mkdirSync(guard);
  } catch {
    if (existsSync(guard) && Date.now() - statSync(guard).mtimeMs > 10_000) rmSync(guard, { recursive: true, force: true });
    return;
  }
  const holder = lockHolder();
  const abandoned = holder > 0 ? !alive(holder) : holder === 0 && Date.now() - statSync(LOCK).mtimeMs > 10_000;
  if (abandoned) rmSync(LOCK, { recursive: true, force: true });
  rmSync(guard, { recursive: true, force: true });
}

function takeLock() {
  mkdirSync(join(ROOT, 'dist'), { recursive: true });
  const giveUp = Date.now() + LOCK_WAIT_MS;
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  for (let tries = 0; ; tries++) {
    try {
      mkdirSync(LOCK);
      writeFileSync(join(LOCK, 'pid'), String(process.pid));
      return;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const holder = lockHolder();
    if (tries === 0 && holder > 0 && alive(holder)) say(`waiting for process ${holder}, which is setting up`);
    if (holder === 0 || (holder > 0 && !alive(holder))) breakLock();
    if (Date.now() > giveUp)
      throw new SetupError(`another set-up holds ${LOCK} for ${LOCK_WAIT_MS / 60_000} minutes; remove it if none runs`);
    Atomics.wait(sleeper, 0, 0, 100);
  }
}

function main() {
  takeLock();
  process.on('exit', () => rmSync(LOCK, { recursive: true, force: true }));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));
  if (force || !packagesCurrent()) installPackages();
  const before = sourceState();
  if (force || !compiledCurrent(before)) compile(before);
  buildAddon();
}

try {
  main();
} catch (error) {
  if (!(error instanceof SetupError) && typeof error.code !== 'string') throw error;
  say(error.message);
  process.exitCode = 1;
}
