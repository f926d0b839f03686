/**
 * How many instructions does a frame cost in the native bursts?
 *
 *   npm run bench -- counts
 *   npm run bench -- counts --check       and fails when one has risen by more than 5 %
 *
 * Times of this machine drift by a quarter in minutes; counts under callgrind are the same in every run. bench/native/counts.cc
 * has the cases. The answer in bench/results is the baseline.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compilerCommand } from './environment.ts';
import { hasProgram, ROOT, runProgram } from './program.ts';
import type { Question, Sheet } from './question.ts';
import { rounded } from './statistics.ts';

const HARNESS = join(ROOT, 'bench/native/counts.cc');
const BURSTS = join(ROOT, 'native/burst');
/** Node's own flags for addons and those of binding.gyp: the code that is counted is the code that runs. */
const FLAGS = [
  ...['-O3', '-std=gnu++17', '-fPIC', '-fno-rtti', '-fno-exceptions', '-fno-omit-frame-pointer', '-fno-strict-aliasing'],
  ...['-fvisibility=hidden', '-D_GNU_SOURCE', '-DNAPI_VERSION=8'],
];
const COMPILE_MS = 120_000;
const RUN_MS = 120_000;
export const COUNT_UNIT = 'instructions/frame';
const FORMS = ['avx2', 'scalar'] as const;
/** The harness's exit code where the CPU has no such form. */
const NO_SUCH_FORM = 3;

/** Something the counts need is not here: they are skipped with the reason. */
export class CannotCount extends Error {}

/** The bursts without what binds them to Node. */
const sources = (): string[] => [
  HARNESS,
  ...readdirSync(BURSTS)
    .filter((f) => f.endsWith('.cc') && f !== 'calls.cc')
    .sort()
    .map((f) => join(BURSTS, f)),
];

const headers = (): string[] =>
  [BURSTS, join(ROOT, 'native')].flatMap((d) =>
    readdirSync(d)
      .filter((f) => f.endsWith('.h'))
      .sort()
      .map((f) => join(d, f)),
  );

/** Path of the compiled harness, in build/, named by what it is made of. Throws CannotCount, or with the compiler's words. */
export function countsHarness(): string {
  const cxx = compilerCommand();
  if (cxx === null) throw new CannotCount('no C++ compiler');
  if (!existsSync('/usr/include/valgrind/callgrind.h')) throw new CannotCount('no valgrind/callgrind.h (package valgrind)');
  const version = spawnSync(cxx, ['--version'], { encoding: 'utf8' }).stdout;
  const hash = createHash('sha256').update(`${version} ${FLAGS.join(' ')}`);
  for (const f of [...sources(), ...headers()]) hash.update(readFileSync(f));
  const directory = join(ROOT, 'build/bench');
  const path = join(directory, `counts-${hash.digest('hex').slice(0, 16)}`);
  if (existsSync(path)) return path;
  mkdirSync(directory, { recursive: true });
  const made = `${path}.${process.pid}`;
  // Node-API's types stand in the headers of the bursts; nothing of it is called.
  const { include_dir } = createRequire(import.meta.url)('node-api-headers') as { include_dir: string };
  const args = [...FLAGS, `-I${include_dir}`, '-o', made, ...sources()];
  const r = spawnSync(cxx, args, { encoding: 'utf8', timeout: COMPILE_MS });
  if (r.status !== 0) throw new Error(`${cxx}: ${r.stderr.trim()}`);
  renameSync(made, path);
  return path;
}

/** The `totals` of every dump that callgrind wrote on the harness's request, by case. */
export function readDumps(texts: readonly string[]): Map<string, number> {
  const totals = new Map<string, number>();
  for (const text of texts) {
    const name = /^desc: Trigger: Client Request: (.+)$/m.exec(text)?.[1];
    const total = /^totals: (\d+)$/m.exec(text)?.[1];
    if (name !== undefined && total !== undefined) totals.set(name, Number(total));
  }
  return totals;
}

/** Instructions a frame by case, in the harness's order; null where this CPU has no such form. */
async function count(form: string): Promise<Map<string, number> | null> {
  const harness = countsHarness();
  if (!hasProgram('valgrind')) throw new CannotCount('no program valgrind');
  const directory = mkdtempSync(join(tmpdir(), 'flowring-counts-'));
  try {
    const out = `--callgrind-out-file=${join(directory, 'out')}`;
    const r = await runProgram(['valgrind', '--tool=callgrind', '--collect-atstart=no', out, harness, form], RUN_MS);
    if (r.code === NO_SUCH_FORM) return null;
    if (r.code !== 0) throw new Error(`counts ${form} ended with ${r.code}: ${r.stderr.trim().split('\n').at(-1)}`);
    const totals = readDumps(readdirSync(directory).map((f) => readFileSync(join(directory, f), 'latin1')));
    const counts = new Map<string, number>();
    for (const [, frames, name] of r.stdout.matchAll(/^(\d+) (.+)$/gm)) {
      const total = totals.get(name!);
      if (total === undefined || total === 0) throw new Error(`counts ${form}: callgrind has no count of "${name}"`);
      counts.set(name!, total / Number(frames));
    }
    return counts;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function run(sheet: Sheet): Promise<void> {
  const [avx2, scalar] = [await count(FORMS[0]), await count(FORMS[1])];
  if (scalar === null) throw new Error('the harness knows no scalar form');
  if (avx2 === null) return sheet.skip('counts', 'this CPU has no AVX2');
  for (const [name, ours] of avx2) {
    const peer = scalar.get(name)!;
    const ratio = rounded(ours / peer);
    sheet.rows.push({
      case: `counts ${name}`,
      port: 'none',
      unit: COUNT_UNIT,
      ours: rounded(ours),
      peer: rounded(peer),
      peerName: 'scalar',
      ratio,
      ratioBest: ratio,
      cpuRatio: null,
      spread: 0,
      interval: null,
    });
  }
}

export const counts: Question = {
  name: 'counts',
  asks: 'instructions a frame in the native bursts, with AVX2 and without',
  method:
    'The bursts alone, without Node, under callgrind: bursts of 16 frames with timestamps, payload 64 and 1448 bytes, and trains of 44 links, counted a link. `inspect` verifies lengths and checksums of frames nobody vouched for, `coalesce` makes one train of 16 segments as well; `emit` gathers payload and completes the checksum, cuts a train into segments, or leaves it whole and only gathers; `read` and `write` copy 1448 bytes from frames and to the send buffer. What the C library copies with is counted too. Counts depend on the compiler, not on the machine: they are compared with those of the same compiler and C library only. AVX-512 is not counted, since valgrind knows none.',
  seconds: 1,
  rounds: 1,
  run: async (plan, sheet) => {
    try {
      await run(sheet);
    } catch (error) {
      if (!(error instanceof CannotCount)) throw error;
      plan.say(error.message);
      sheet.skip('counts', error.message);
    }
  },
};
