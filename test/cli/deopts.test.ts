// The hot loop stays optimised: after warm-up neither side of an echo over the switch deoptimises a function twice at one place, and
// hot functions hardly at all but for lines they visit for the first time.
// test-timeout-seconds: 200
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { benchServer } from '../../bench/server.ts';
import { Program } from '../../bench/program.ts';
import type { Tally } from '../../bench/load.ts';
import { type Deopt, hotFunctions, isFirstVisit, readDeopts, repeated } from './deopts.ts';

const RIG = fileURLToPath(new URL('../../bench/switchRig.js', import.meta.url));
const SRC = fileURLToPath(new URL('../../../src', import.meta.url));
/** Warm is who has done so many round trips, however busy the machine; each round is a second. */
const WARM_OPERATIONS = 400_000;
const OPERATIONS = 600_000;
const ROUNDS_MAX = 60;
/**
 * V8 may compile a function late, when it first inlines another into it, and stop there once an isolate: seen in one run,
 * `read` in both isolates with the reason overflow. What the code is not made for comes again and again.
 */
const LATE_MAX = 4;
const LOAD = { mode: 'echo', connections: 64, size: 64, warm: 0, seconds: 1 };

const told = (deopts: readonly Deopt[]): string => deopts.map((d) => `${d.name} at ${d.place}: ${d.reason}`).join('\n');

/** Rounds until so many operations are done. Returns what V8 said meanwhile. */
async function work(rig: Program, operations: number): Promise<Deopt[]> {
  const deopts: Deopt[] = [];
  for (let done = 0, i = 0; done < operations; i++) {
    assert.ok(i < ROUNDS_MAX, `${done} of ${operations} operations in ${i} seconds`);
    rig.stdout = '';
    rig.child.stdin!.write(`${JSON.stringify(LOAD)}\n`);
    const line = await rig.until('answer', (p) => /^(\{"operations".*\})$/m.exec(p.stdout)?.[1] ?? null, 30_000);
    const tally = JSON.parse(line) as Tally;
    assert.is(tally.wrong + tally.failed, 0, line);
    done += tally.total;
    deopts.push(...readDeopts(rig.stdout));
  }
  return deopts;
}

test('what V8 says is read, and what repeats is seen', () => {
  const line = (name: string, sfi: string, offset: number, reason: string): string =>
    `[bailout (kind: deopt-eager, reason: ${reason}): begin. deoptimizing 0x1a <JSFunction${name} (sfi = ${sfi})>, 0x2b <Code TURBOFAN>, opt id 4, bytecode offset ${offset}, deopt exit 1, FP to SP delta 32, caller SP 0x7f, pc 0x7e]\n`;
  const deopts = readDeopts(
    `x\n${line(' pull', '0xa', 7, 'wrong map')}{"a":1}\n${line(' pull', '0xb', 7, 'wrong map')}${line('', '0xa', 7, 'Smi')}${line(' pull', '0xa', 7, 'wrong map')}`,
  );
  assert.equal(
    deopts.map((d) => [d.name, d.place, d.reason]),
    [
      ['pull', '0xa:7', 'wrong map'],
      ['pull', '0xb:7', 'wrong map'],
      ['', '0xa:7', 'Smi'],
      ['pull', '0xa:7', 'wrong map'],
    ],
  );
  assert.equal(repeated(deopts), [deopts[3]]);
  assert.is(isFirstVisit(deopts[0]!), false);
  assert.is(isFirstVisit({ ...deopts[0]!, reason: 'Insufficient type feedback for call' }), true);
});

test('the hot functions are found by their tags', () => {
  const hot = hotFunctions(SRC);
  assert.ok(hot.size > 100, `${hot.size}`);
  for (const name of ['dispatch', 'classify', 'flowHash', 'full']) assert.ok(hot.has(name), name);
});

test('echo over the switch: hot functions stay optimised after warm-up, and none deoptimises twice at a place', async () => {
  const rig = new Program([process.execPath, '--trace-deopt', RIG, benchServer('echo').module, 'none'], 180_000);
  try {
    await rig.until('"ready"', (p) => (/^ready /m.test(p.stdout) ? true : null), 30_000);
    const warming = await work(rig, WARM_OPERATIONS);
    assert.ok(warming.length > 0, 'V8 tells of no deoptimisation at all: is it traced?');
    const deopts = await work(rig, OPERATIONS);
    const hot = hotFunctions(SRC);
    const ours = deopts.filter((d) => hot.has(d.name));
    process.stdout.write(
      `    ${warming.length} deoptimisations while warming, ${deopts.length} after, ${ours.length} of them of hot functions\n`,
    );
    assert.is(told(repeated(deopts)), '');
    const late = ours.filter((d) => !isFirstVisit(d));
    assert.ok(late.length <= LATE_MAX, told(late));
    rig.child.stdin!.end();
    assert.is(await rig.ended, 0, rig.stderr);
  } finally {
    await rig.stop('SIGKILL');
  }
});

test.run();
