// Mutation tests: small wrongs put into a copy of the built package, one at a time; each must turn one of its tests red.
// A mutant that lives means that a promise is not tested.
//
//   npm run test:mutations                  all of them
//   npm run test:mutations -- checksum rst  those whose name contains one of the words
//   npm run test:mutations -- --list        names only
//   npm run test:mutations -- -v            with what the red tests say
//
// Exit code 0 when every mutant died; 1 when one lived, no longer applies, or a test of it is red without any mutation.
// Native code is not mutated: the mutants run on the TypeScript twins (FLOWRING_NATIVE=0), but for the tests under test/native,
// which hold the twins against the addon.
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { boundedRun, endRunning } from './boundedRun.mjs';
import { MUTATIONS } from './mutations/list.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** A green run of a test may take this long; a mutant's gets that test's green time threefold and this much more. */
const GREEN_SECONDS = 180;
const HANG_SECONDS = 15;

const args = process.argv.slice(2);
const verbose = args.includes('-v');
const words = args.filter((a) => !a.startsWith('-'));
const chosen = MUTATIONS.filter((m) => words.length === 0 || words.some((w) => m.name.includes(w)));

/** The copy: what tests load and what they look at. Packages and addon are shared with the original. */
function copyPackage() {
  const root = mkdtempSync(join(tmpdir(), 'flowring-mutants-'));
  for (const part of ['package.json', 'bin', 'dist', 'bench', 'extras', 'docs', 'scripts', 'native'])
    if (existsSync(join(ROOT, part))) cpSync(join(ROOT, part), join(root, part), { recursive: true });
  for (const part of ['node_modules', 'build']) if (existsSync(join(ROOT, part))) symlinkSync(join(ROOT, part), join(root, part));
  return root;
}

function testsIn(root, directory = 'dist/test', found = []) {
  for (const e of readdirSync(join(root, directory), { withFileTypes: true })) {
    const path = `${directory}/${e.name}`;
    if (e.isDirectory()) testsIn(root, path, found);
    // A compiled test whose source is gone is no test any more.
    else if (e.name.endsWith('.test.js') && existsSync(join(ROOT, path.slice(5).replace(/js$/, 'ts')))) found.push(path);
  }
  return found.sort();
}

/** One test file. `seconds` bounds it: a mutant that hangs is dead, too. */
async function run(root, test, seconds) {
  const native = test.includes('/test/native/') ? {} : { FLOWRING_NATIVE: '0' };
  const env = { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0', SEED: process.env.SEED ?? '20241', ...native };
  const r = await boundedRun(process.execPath, ['--enable-source-maps', test], { cwd: root, env, seconds });
  return { red: r.timedOut || r.code !== 0, hung: r.timedOut, output: r.output, seconds: r.seconds };
}

const firstComplaint = (text) => {
  const line = text.split('\n').find((l) => /FAIL|Error|assert/i.test(l)) ?? '';
  return line.trim().slice(0, 140);
};

/** The file of the mutation; for a folder the one file in it that holds the text. */
function fileOf(root, m) {
  if (!m.file.endsWith('/')) return join(root, m.file);
  const names = readdirSync(join(root, m.file)).filter((n) => n.endsWith('.js'));
  const holding = names.filter((n) => readFileSync(join(root, m.file, n), 'utf8').includes(m.find));
  if (holding.length !== 1)
    throw new Error(`${holding.length} files of ${m.file} hold ${JSON.stringify(m.find)}: adapt scripts/mutations/list.mjs`);
  return join(root, m.file, holding[0]);
}

/** Puts the wrong in; throws when the text it changes is not there exactly once, because then it tests nothing. */
function mutate(root, m) {
  const at = fileOf(root, m);
  const text = readFileSync(at, 'utf8');
  const pieces = text.split(m.find);
  if (pieces.length !== 2)
    throw new Error(
      `${at.slice(root.length + 1)} holds ${JSON.stringify(m.find)} ${pieces.length - 1} times: adapt scripts/mutations/list.mjs`,
    );
  writeFileSync(at, pieces.join(m.replace));
  return () => writeFileSync(at, text);
}

async function greenSeconds(root, test, known) {
  if (!known.has(test)) {
    const r = await run(root, test, GREEN_SECONDS);
    known.set(test, r.red ? null : r.seconds);
    if (r.red)
      process.stdout.write(
        `RED  ${test} without any mutation: it can prove nothing\n${verbose ? r.output : `     ${firstComplaint(r.output)}\n`}`,
      );
  }
  return known.get(test);
}

async function judge(root, m, tests, known) {
  const mine = m.tests.flatMap((word) => tests.filter((t) => t.includes(`/test/${word}`)));
  if (mine.length === 0) return { lived: true, why: `no test matches ${m.tests.join(', ')}` };
  const restore = [];
  let lived = 'every test of it stayed green';
  for (const test of mine) {
    const green = await greenSeconds(root, test, known);
    if (green === null) {
      lived = 'a test of it is red without it';
      continue;
    }
    try {
      restore.push(mutate(root, m));
      const r = await run(root, test, green * 3 + HANG_SECONDS);
      if (r.red) return { lived: false, why: `${test.slice(10, -8)}: ${r.hung ? 'hung' : firstComplaint(r.output)}`, output: r.output };
    } catch (error) {
      return { lived: true, why: error.message };
    } finally {
      for (const put of restore.splice(0)) put();
    }
  }
  return { lived: true, why: `${lived} (${mine.map((t) => t.slice(10, -8)).join(', ')})` };
}

async function main() {
  if (args.includes('--list')) {
    for (const m of chosen) process.stdout.write(`${m.name}\n`);
    return 0;
  }
  if (chosen.length === 0) {
    process.stderr.write(`mutations: none matches ${words.join(' ')}\n`);
    return 2;
  }
  const root = copyPackage();
  const clean = () => {
    endRunning();
    rmSync(root, { recursive: true, force: true });
  };
  process.on('exit', clean);
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));
  const tests = testsIn(root);
  const known = new Map();
  const living = [];
  for (const m of chosen) {
    const { lived, why, output } = await judge(root, m, tests, known);
    if (lived) living.push(m.name);
    process.stdout.write(`${lived ? 'LIVED' : 'died '} ${m.name.padEnd(58)} ${why}\n`);
    if (verbose && output !== undefined) process.stdout.write(output);
  }
  process.stdout.write(`${chosen.length - living.length} mutants died, ${living.length} lived\n`);
  return living.length > 0 ? 1 : 0;
}

process.exitCode = await main();
