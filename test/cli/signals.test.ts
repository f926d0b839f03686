// registerSignal, as a user meets it: signals of the process reach the program in every worker, in both loops.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const BIN = fileURLToPath(new URL('../../../bin/flowring.js', import.meta.url));
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
  const child = spawn(process.execPath, [BIN, 'run', file, '--workers', '2', '--cpus', 'none'], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (t: string) => {
      said += t;
    });
  }
  const ended = new Promise<number | null>((resolve) => child.on('close', (code, signal) => resolve(signal === null ? code : -1)));
  /** Until both workers have said it; `again` is done twice a second meanwhile. */
  const both = async (what: string, again = (): void => {}): Promise<void> => {
    const by = Date.now() + 30_000;
    for (let looks = 1; ![0, 1].every((w) => said.includes(`worker ${w} ${what}\n`)); looks++) {
      assert.ok(Date.now() < by && child.exitCode === null, `never said ${what}:\n${said}`);
      await new Promise((done) => setTimeout(done, 20));
      if (looks % 25 === 0) again();
    }
  };
  try {
    await both('waits');
    for (const [signal, answer] of signals) {
      child.kill(signal);
      // A hang-up that came before the wait began has interrupted nothing: another follows.
      await both(answer, () => void (signal === 'SIGHUP' && child.kill(signal)));
    }
    return { code: await ended, said };
  } finally {
    child.kill('SIGKILL');
  }
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
