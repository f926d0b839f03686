/**
 * Two threads that play ball over two bells: each waits for its word to change, answers by changing the other's, rings.
 * A sleep that runs into its long time-out is a lost wake.
 */
import { Doorbell, SLEEP_ASYNC, SLEEP_POLL, SLEEP_WAIT } from '../../../src/rings/doorbell.ts';
import { answer, bits31, given } from './threads.ts';

export interface DoorbellJob {
  /** Words 0 and 32: the players' ball counts · 64 and 96: their bells · 128 and 160: what stands for their eventfds. */
  block: SharedArrayBuffer;
  player: 0 | 1;
  rounds: number;
  mode: number;
  seed: number;
}

export interface DoorbellResult {
  rounds: number;
  sleeps: number;
}

const LONG_MS = 3000;
const job = given<DoorbellJob>();
const words = new Int32Array(job.block);
const me = job.player;
const other = 1 - me;
const EVENTFD_AT = 128;

/** What native code does with an eventfd: adds to its count and wakes who polls it. */
const ringEventfd = (fd: number): void => {
  Atomics.add(words, EVENTFD_AT + fd * 32, 1);
  Atomics.notify(words, EVENTFD_AT + fd * 32);
};
const mine = new Doorbell(words, 64 + me * 32, ringEventfd);
const theirs = new Doorbell(words, 64 + other * 32, ringEventfd);
mine.setEventfd(me);
const result: DoorbellResult = { rounds: 0, sleeps: 0 };
const random = bits31(job.seed + me);

const ball = (): number => Atomics.load(words, me * 32);

/** Sleeps as the mode says, after the last look; returns false on time-out. */
async function sleepUntilRung(): Promise<boolean> {
  if (job.mode === SLEEP_POLL) {
    // poll(2) on an eventfd: its count is read before the last look, as the kernel keeps it level-triggered.
    const count = Atomics.load(words, EVENTFD_AT + me * 32);
    mine.prepare(SLEEP_POLL);
    if (ball() !== result.rounds) return true;
    return Atomics.wait(words, EVENTFD_AT + me * 32, count, LONG_MS) !== 'timed-out';
  }
  const ticket = mine.prepare(job.mode);
  if (ball() !== result.rounds) return true;
  return job.mode === SLEEP_ASYNC ? mine.waitAsync(ticket, LONG_MS) : mine.wait(ticket, LONG_MS);
}

async function play(): Promise<void> {
  // Keeps the event loop alive while only waitAsync is pending.
  const alive = setInterval(() => undefined, 1000);
  while (result.rounds < job.rounds) {
    for (let spin = random() % 200; spin > 0 && ball() === result.rounds; spin--);
    while (ball() === result.rounds) {
      result.sleeps++;
      const rung = await sleepUntilRung();
      mine.awake();
      if (!rung) throw new Error(`player ${me}, round ${result.rounds}: ${ball() === result.rounds ? 'no ball' : 'ball without wake'}`);
    }
    result.rounds++;
    for (let spin = random() % 100; spin > 0; spin--);
    Atomics.add(words, other * 32, 1);
    theirs.ring();
  }
  clearInterval(alive);
}

if (job.mode !== SLEEP_WAIT && job.mode !== SLEEP_POLL && job.mode !== SLEEP_ASYNC) throw new RangeError(`mode ${job.mode}`);
await play();
answer(result);
