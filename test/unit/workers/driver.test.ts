// The driver's rest: it never sleeps beside work, however late the work arrives, and it does sleep when there is none.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CMD_RUN, CMD_STOP, formatControl, planControl, T_COMMAND, ThreadRecord } from '../../../src/rings/control.ts';
import { C_BREATHS, C_BUSY_BREATHS, C_SLEEPS, Counters } from '../../../src/rings/counters.ts';
import { Doorbell } from '../../../src/rings/doorbell.ts';
import { Driver, type IdleMode } from '../../../src/workers/driver.ts';

type Way = 'poll' | 'wait' | 'async' | 'watch';

interface Rig {
  driver: Driver;
  record: ThreadRecord;
  counters: Counters;
  /** Pieces of work that are there, that arrived so far, and that were done. */
  work: number;
  arrived: number;
  served: number;
  /** Sleeps by way, and those that began although work was there. */
  sleeps: Record<Way, number>;
  overslept: string[];
  /** Set: a command comes in the moment the bell is armed. */
  lateCommand: boolean;
  over: Promise<void>;
  stop: () => Promise<void>;
}

/** `arrivals`: so many times a piece of work arrives in the very moment the bell is armed, after the look before it. */
function rig(poll: boolean, idle: IdleMode, arrivals: number, spins = 8, watched = false, blocking = false): Rig {
  const cp = planControl(2, 1);
  const control = new SharedArrayBuffer(cp.bytes);
  formatControl(control, cp);
  const record = new ThreadRecord(control, 1);
  const counters = new Counters(control, record.countersAt);
  const clock = record.clock();
  let ended = (): void => {};
  const over = new Promise<void>((done) => {
    ended = done;
  });
  const r = {
    record,
    counters,
    work: 0,
    arrived: 0,
    served: 0,
    sleeps: { poll: 0, wait: 0, async: 0, watch: 0 },
    overslept: [] as string[],
    lateCommand: false,
    over,
  } as unknown as Rig;
  const asleep = (way: Way): void => {
    r.sleeps[way]++;
    if (r.work > 0) r.overslept.push(`${way} with ${r.work} to do`);
    if (record.get(T_COMMAND) !== CMD_RUN) r.overslept.push(`${way} over a command`);
  };
  class LateBell extends Doorbell {
    override prepare(mode: number): number {
      const ticket = super.prepare(mode);
      if (r.arrived < arrivals) {
        r.arrived++;
        r.work++;
      }
      if (r.lateCommand) record.set(T_COMMAND, CMD_STOP);
      return ticket;
    }
    override wait(ticket: number, ms: number): boolean {
      asleep('wait');
      return super.wait(ticket, Math.min(ms, 2));
    }
    override waitAsync(ticket: number, ms: number): Promise<boolean> {
      asleep('async');
      return super.waitAsync(ticket, Math.min(ms, 5));
    }
  }
  const readClock = (): void => {
    const us = performance.now() * 1000;
    clock[0] = us | 0;
    clock[1] = (us / 1000) | 0;
  };
  r.driver = new Driver({
    record,
    counters,
    brokerCounters: null,
    bell: new LateBell(new Int32Array(control), record.bellAt),
    readClock,
    nowNs: () => performance.now() * 1e6,
    sample: () => {},
    microtasks: null,
    messages: null,
    idle,
    spins,
    pause: null,
    blocking,
    breath: {
      dispatcherPull: null,
      stackBegin: () => {
        const n = r.work;
        r.served += n;
        r.work = 0;
        return n;
      },
      handler: null,
      stackEnd: () => 0,
      dispatcherPush: null,
      flush: null,
      pending: () => r.work > 0,
      nextDeadlineMs: () => -1,
      wait: poll ? () => asleep('poll') : null,
      watch: !watched
        ? null
        : (wake) => {
            let armed: NodeJS.Timeout | undefined;
            return {
              arm: (ms) => {
                assert.ok(ms >= 1);
                asleep('watch');
                armed = setTimeout(wake, Math.min(ms, 5));
              },
              disarm: () => clearTimeout(armed),
              close: () => clearTimeout(armed),
            };
          },
    },
    command: () => {
      ended();
      return true;
    },
    failed: (error) => {
      throw error;
    },
  });
  r.stop = () => {
    record.set(T_COMMAND, CMD_STOP);
    return over;
  };
  assert.is(record.get(T_COMMAND), CMD_RUN);
  return r;
}

// Atomics.waitAsync holds no event loop; a worker's message port does.
const alive = setInterval(() => {}, 1000);
test.after(() => clearInterval(alive));
const sleep = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

async function lives(r: Rig, arrivals: number): Promise<void> {
  r.driver.start();
  for (let i = 0; i < 400 && r.served < arrivals; i++) await sleep(5);
  await sleep(60);
  await r.stop();
  assert.equal(r.overslept, []);
  assert.equal([r.arrived, r.served], [arrivals, arrivals]);
  assert.ok(r.counters.v[C_BUSY_BREATHS]! >= 1);
}

test('a thread that polls a device looks once more after arming the bell', async () => {
  const r = rig(true, 'balanced', 20);
  await lives(r, 20);
  assert.ok(r.sleeps.poll > 0, 'it never slept');
  assert.ok(r.counters.v[C_SLEEPS]! > 0);
});

test('so does one that waits for the bell, first blocking, then with its event loop free', async () => {
  const r = rig(false, 'balanced', 20);
  await lives(r, 20);
  assert.ok(r.sleeps.async > 0, 'it never slept asynchronously');
});

test('with a watch, a quiet thread sleeps in its event loop, a device or not; never in the other ways for long', async () => {
  for (const poll of [true, false]) {
    const r = rig(poll, 'balanced', 20, 8, true);
    await lives(r, 20);
    assert.ok(r.sleeps.watch > 0, 'it never slept in the watch');
    assert.is(r.sleeps.async, 0);
  }
  const r = rig(true, 'powersave', 5, 8, true);
  await lives(r, 5);
  assert.equal([r.sleeps.poll, r.sleeps.wait], [0, 0]);
});

test('a thread without a program sleeps synchronously, however quiet it is', async () => {
  const r = rig(false, 'balanced', 5, 8, false, true);
  await lives(r, 5);
  assert.ok(r.sleeps.wait > 10);
  assert.is(r.sleeps.async, 0);
});

test('an application that takes the loop while its thread sleeps ends that sleep, and it goes on when it leaves', async () => {
  const r = rig(true, 'powersave', 0, 8, true);
  r.driver.start();
  for (let i = 0; i < 200 && r.sleeps.watch === 0; i++) await sleep(2);
  r.work++;
  assert.is(r.driver.turn(0), 1);
  assert.is(r.served, 1);
  const before = r.sleeps.watch;
  for (let i = 0; i < 200 && r.sleeps.watch <= before + 1; i++) await sleep(5);
  assert.ok(r.sleeps.watch > before + 1, 'the driver has stopped');
  await r.stop();
});

test('powersave sleeps asynchronously at once, and looks before', async () => {
  const r = rig(false, 'powersave', 20);
  await lives(r, 20);
  assert.is(r.sleeps.wait, 0);
  assert.ok(r.sleeps.async > 0);
});

test('a command that comes while the bell is being armed is not slept over', async () => {
  for (const poll of [true, false])
    for (const idle of ['balanced', 'powersave'] as const) {
      const r = rig(poll, idle, 0);
      r.lateCommand = true;
      r.driver.start();
      await r.over;
      assert.equal(r.overslept, []);
    }
  const turned = rig(false, 'balanced', 0);
  turned.lateCommand = true;
  turned.driver.turn(5);
  assert.equal(turned.overslept, []);
});

test('where it has been quiet for long, one look follows a sleep, not a round of spinning', async () => {
  const r = rig(true, 'balanced', 0, 4096);
  r.driver.start();
  await sleep(200);
  const { sleeps, breaths } = { sleeps: r.sleeps.poll, breaths: r.counters.v[C_BREATHS]! };
  await sleep(100);
  await r.stop();
  const slept = r.sleeps.poll - sleeps;
  assert.ok(slept > 10, `${slept} sleeps`);
  assert.ok(r.counters.v[C_BREATHS]! - breaths <= 2 * slept + 2, `${r.counters.v[C_BREATHS]! - breaths} breaths, ${slept} sleeps`);
});

test('latency never sleeps', async () => {
  const r = rig(false, 'latency', 0);
  r.driver.start();
  await sleep(50);
  await r.stop();
  assert.equal(r.sleeps, { poll: 0, wait: 0, async: 0, watch: 0 });
});

test('an application that owns the loop: a turn that waits looks once more, too', async () => {
  for (const poll of [true, false]) {
    const r = rig(poll, 'balanced', 10);
    for (let i = 0; i < 200 && r.served < 10; i++) r.driver.turn(5);
    r.driver.turn(5);
    assert.equal(r.overslept, []);
    assert.is(r.served, 10);
    assert.ok(r.sleeps.poll + r.sleeps.wait > 0, 'it never slept');
  }
});

test.run();
