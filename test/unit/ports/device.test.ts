// Queues of a device port: one region and frame table, every frame at exactly one queue to begin with.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type DeviceOwn, makeQueues } from '../../../src/ports/device.ts';
import type { Native } from '../../../src/ports/native.ts';

const native = {
  createRegion: (o: { bytes: number }) => ({ id: 1, memory: new SharedArrayBuffer(o.bytes), note: '' }),
} as unknown as Native;

test('frames are shared out, the rest to the last queue; each block has the ids of its own', () => {
  const o = { name: 'x0', frames: 1000, frameBytes: 2048, mtu: 1500 };
  const caps = { txChecksum: true, txTrains: true, txTrainBytesMax: 65549, mtu: 1500, waitable: true };
  const queues = makeQueues(native, o, { kind: 'packet', name: 'packet:x0', mac: [0x02000000, 1], caps }, [5, 6, 7]);
  assert.equal(
    queues.map((q) => [q.frameFirst, q.frameCount, (q.own as DeviceOwn).handle]),
    [
      [0, 333, 5],
      [333, 333, 6],
      [666, 334, 7],
    ],
  );
  assert.is(new Set(queues.map((q) => q.memory)).size, 1);
  assert.is(new Set(queues.map((q) => q.table)).size, 1);
  const ids = queues.flatMap((q) => {
    const words = new Int32Array((q.own as DeviceOwn).block);
    assert.is(words[0], q.frameCount);
    return [...words.subarray(64, 64 + q.frameCount)];
  });
  assert.equal(
    ids.sort((a, b) => a - b),
    Array.from({ length: 1000 }, (_, i) => i),
  );
});

test.run();
