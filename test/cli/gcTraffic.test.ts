// No garbage collection on the server's threads, dispatcher and workers, while connections come and go and while datagrams do. The
// clients make objects of their own and are not looked at; test/cli/gc.test.ts has both ends of kept connections.
// test-timeout-seconds: 300
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Load } from '../../bench/load.ts';
import { benchServer } from '../../bench/server.ts';
import { type Counted, startSwitch } from '../../bench/station.ts';
import { loadNative, nativeProblem } from '../../src/ports/native.ts';

const WARM_S = 2;
const SECONDS = 5;
const SETS = ['server:layout=dispatcher', 'server:workers=2'];

/** By thread of an isolate of its own; a broker inside a worker is none. */
const isolates = (threads: readonly Counted[]): Counted[] => threads.filter((t) => t.role === 'dispatcher' || t.role === 'worker');

async function collections(module: string, load: Load): Promise<{ text: string; total: number; operations: number }> {
  const rig = await startSwitch(benchServer(module).module, { cores: { server: -1, client: -1 }, sets: SETS });
  try {
    await rig.offer(load, 0, WARM_S);
    const before = isolates(await rig.figures());
    const tally = await rig.offer(load, 0, SECONDS);
    const after = isolates(await rig.figures());
    assert.is(after.length, 3, after.map((t) => t.name).join());
    assert.is(tally.wrong, 0);
    const counts = after.map((t, i) => t.counters.gcCount! - before[i]!.counters.gcCount!);
    const text = after.map(
      (t, i) =>
        `${t.name}: ${counts[i]} collections (${t.counters.gcCount} since its start), ${t.counters.rxPackets! - before[i]!.counters.rxPackets!} frames in`,
    );
    return { text: text.join('; '), total: counts.reduce((a, b) => a + b, 0), operations: tally.total };
  } finally {
    await rig.stop();
  }
}

// Without the addon the clock is performance.now(), which makes a number a breath.
if (loadNative() === null) process.stdout.write(`SKIP no garbage collection: no native addon (${nativeProblem()})\n`);
else
  for (const [name, module, load] of [
    ['short connections', 'echo', { mode: 'short', connections: 64, size: 64 }],
    ['datagrams', 'udp', { mode: 'udp', connections: 64, size: 64 }],
  ] as const)
    test(`${name}: none in ${SECONDS} seconds after ${WARM_S} of warm-up`, async () => {
      const c = await collections(module, load);
      process.stdout.write(`    ${name}: ${c.operations} operations; ${c.text}\n`);
      assert.ok(c.operations > 1000, `${c.operations} operations`);
      assert.is(c.total, 0, c.text);
    });

test.run();
