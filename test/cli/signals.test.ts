// registerSignal, as a user meets it: signals of the process reach the program in every worker, in both loops.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { start } from './running.ts';

const scratch = mkdtempSync(join(tmpdir(), 'flowring-signals-'));
test.after(() => rmSync(scratch, { recursive: true, force: true }));

const HEAD = `
import { createContext, epollCreate, epollWait, EpollEvents, errnoName, registerSignal, run, SIGHUP, SIGINT, stop } from 'flowring/mtcp';
const mctx = createContext();
const ep = epollCreate(mctx);
const say = (text) => console.log('worker ' + mctx.worker + ' ' + text);
let done = false;
registerSignal(SIGHUP, (n) => say('hangup ' + n));
registerSignal(SIGINT, (n) => {
  say('interrupt ' + n);
  done = true;
});
say('waits');
`;
const WAITS = `${HEAD}
const events = new EpollEvents(8);
while (!done) say(errnoName(epollWait(mctx, ep, events, 8, -1)));
stop(mctx);
`;
const RUNS = `${HEAD}
run(mctx, ep, () => {});
`;

async function underSignals(name: string, text: string, signals: readonly [NodeJS.Signals, string][]) {
  const file = join(scratch, `${name}.mjs`);
  writeFileSync(file, text);
  const r = start('run', file, '--workers', '2', '--cpus', 'none');
  /** Until both workers have said it; `again` is done twice a second meanwhile. */
  const both = async (what: string, again?: () => void): Promise<void> => {
    for (const w of [0, 1]) await r.says(new RegExp(`^worker ${w} ${what}$`, 'm'), again);
  };
  await both('waits');
  for (const [signal, answer] of signals) {
    r.signal(signal);
    // A hang-up that came before the wait began has interrupted nothing: another follows.
    await both(answer, () => void (signal === 'SIGHUP' && r.signal(signal)));
  }
  return { code: await r.ends(), said: r.stdout + r.stderr };
}

test('the program owns the loop: its handler is called, the wait returns EINTR, the next one waits again', async () => {
  const { code, said } = await underSignals('waits', WAITS, [
    ['SIGHUP', 'EINTR'],
    ['SIGINT', 'interrupt 2'],
  ]);
  assert.is(code, 0, said);
  for (const w of [0, 1]) {
    const lines = said.split('\n').filter((l) => l.startsWith(`worker ${w} `));
    const told = lines.map((l) => l.slice(9)).join(', ');
    assert.match(told, /^waits(, hangup 1)+, EINTR(, hangup 1(, EINTR)?)*, interrupt 2, EINTR$/, said);
  }
});

test('the driver owns the loop: the same handlers, and SIGINT ends the run', async () => {
  const { code, said } = await underSignals('runs', RUNS, [
    ['SIGHUP', 'hangup 1'],
    ['SIGINT', 'interrupt 2'],
  ]);
  assert.is(code, 0, said);
  assert.match(said, /SIGINT: draining/);
  for (const w of [0, 1]) assert.is(said.split(`worker ${w} interrupt 2\n`).length, 2, said);
});

test.run();
