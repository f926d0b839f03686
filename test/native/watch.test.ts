/**
 * The sleep with the event loop free: one wake for one arm, by the bell or by the time; and however its thread ends, armed or
 * not, the loop closes: node ends the whole process when a handle stays open.
 */
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadNative, nativeProblem } from '../../src/ports/native.ts';

const self = fileURLToPath(import.meta.url);
const ENDS = ['returns', 'exits', 'terminated', 'throws', 'closes', 'closes twice'] as const;
const ROUNDS = 10;
const LONG_MS = 60_000;

/** A thread that watches a bell and ends as it is told when that rings. */
function threadMain(): void {
  const { how, fd } = workerData as { how: (typeof ENDS)[number]; fd: number };
  const watch = loadNative()!.eventfdWatch(fd, () => {
    if (how === 'exits') process.exit(0);
    if (how === 'throws') throw new Error('of the program');
    if (how.startsWith('closes')) watch.close();
    if (how === 'closes twice') {
      watch.close();
      watch.arm(LONG_MS);
      watch.disarm();
    }
  });
  watch.arm(LONG_MS);
  parentPort!.postMessage('armed');
}

if (!isMainThread) threadMain();
else if (loadNative() === null) process.stdout.write(`SKIP no native addon: ${nativeProblem()}\n`);
else {
  const native = loadNative()!;

  test('the bell wakes it, once an arm', async () => {
    const fd = native.eventfdOpen();
    let woken = 0;
    const watch = native.eventfdWatch(fd, () => woken++);
    native.eventfdWrite(fd);
    await sleep(20);
    assert.is(woken, 0, 'not armed');
    watch.arm(LONG_MS);
    await sleep(20);
    assert.is(woken, 1, 'it rang before it was armed');
    await sleep(20);
    assert.is(woken, 1, 'the bell is silent again');
    watch.arm(LONG_MS);
    native.eventfdWrite(fd);
    native.eventfdWrite(fd);
    await sleep(20);
    assert.is(woken, 2, 'two rings, one wake');
    native.eventfdWrite(fd);
    await sleep(20);
    assert.is(woken, 2, 'not armed again');
    watch.close();
    native.eventfdClose(fd);
  });

  test('a bell that nobody sleeps on does not keep the event loop turning', async () => {
    const fd = native.eventfdOpen();
    let woken = 0;
    const watch = native.eventfdWatch(fd, () => woken++);
    for (let i = 0; i < 3; i++) {
      watch.arm(LONG_MS);
      native.eventfdWrite(fd);
      while (woken === i) await sleep(1);
      native.eventfdWrite(fd);
      const before = process.cpuUsage();
      await sleep(200);
      const { user, system } = process.cpuUsage(before);
      assert.ok(user + system < 100_000, `${user + system} µs of CPU in 200 ms`);
      assert.is(woken, i + 1);
      // The ring that came too early is still there.
      watch.arm(LONG_MS);
      while (woken === i + 1) await sleep(1);
      woken = i + 1;
    }
    watch.close();
    native.eventfdClose(fd);
  });

  test('the time wakes it, too, and disarmed nothing does', async () => {
    const fd = native.eventfdOpen();
    const wakes: number[] = [];
    const watch = native.eventfdWatch(fd, () => wakes.push(performance.now()));
    const from = performance.now();
    watch.arm(30);
    while (wakes.length === 0 && performance.now() - from < 5000) await sleep(5);
    assert.is(wakes.length, 1);
    assert.ok(wakes[0]! - from >= 29, `after ${wakes[0]! - from} ms`);
    watch.arm(5);
    watch.disarm();
    native.eventfdWrite(fd);
    await sleep(30);
    assert.is(wakes.length, 1, 'disarmed');
    watch.close();
    native.eventfdClose(fd);
  });

  test('a bell that is given back is silent when it is another thread’s', () => {
    const fd = native.eventfdOpen();
    native.eventfdClose(fd);
    // Whoever was about to ring it is late.
    native.eventfdWrite(fd);
    const again = native.eventfdOpen();
    assert.is(native.eventfdWait(again, 0), 0);
    native.eventfdClose(again);
  });

  test('what is no descriptor is refused', () => {
    assert.throws(
      () => native.eventfdWatch(1 << 20, () => {}),
      (e: NodeJS.ErrnoException) => e.code === 'EIO' && /watch/.test(e.message),
    );
  });

  for (const how of ENDS)
    test(`its thread ${how === 'terminated' ? 'is terminated' : how}, again and again`, async () => {
      const fd = native.eventfdOpen();
      for (let i = 0; i < ROUNDS; i++) {
        const worker = new Worker(self, { workerData: { how, fd } });
        let thrown: Error | null = null;
        worker.on('error', (e) => {
          thrown = e;
        });
        const ended = new Promise<number>((done) => worker.once('exit', done));
        await once(worker, 'message');
        if (how === 'terminated') void worker.terminate();
        else native.eventfdWrite(fd);
        assert.is(await ended, how === 'terminated' || how === 'throws' ? 1 : 0);
        assert.is((thrown as Error | null)?.message, how === 'throws' ? 'of the program' : undefined);
      }
      native.eventfdClose(fd);
    });

  test.run();
}
