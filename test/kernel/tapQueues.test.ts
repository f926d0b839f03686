// A TAP's two halves on their own, and its queues: what is sent comes back through the sending half, frames are split, and an
// interface that has one queue is refused by name.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { attachPort, attachTxPort } from '../../src/ports/attach.ts';
import { loadNative } from '../../src/ports/native.ts';
import { openTap } from '../../src/ports/tap.ts';
import { auditFrames } from '../../src/rings/frameTable.ts';
import * as L from '../../src/rings/layout.ts';
import { missing, Namespace } from './namespace.ts';

const self = fileURLToPath(import.meta.url);
const OPTIONS = { name: 'frtap0', frames: 1024, frameBytes: 2048, mtu: 1500 };

const ip = (...args: string[]): void => {
  const r = spawnSync('ip', args, { encoding: 'utf8' });
  if (r.status !== 0) throw new Error(`ip ${args.join(' ')}: ${r.stderr}`);
};

/** A broadcast frame in frame `f`, which is the caller's. */
function fill(frames: ReturnType<typeof attachPort>['frames'], f: number, desc: Int32Array, at: number): void {
  const eth = frames.offset[f]! + frames.headroom;
  frames.u8.fill(0xff, eth, eth + 6);
  frames.u8.set([2, 0, 0, 0, 0, 9, 0x88, 0xb5], eth + 6);
  frames.owner[f] = L.OWNER_BROKER;
  frames.next[f] = -1;
  frames.length[f] = 60;
  desc.set(
    [f, (frames.headroom << 16) | 60, 60, (frames.region << 16) | (frames.generation[f]! & 0xffff), 14 << 8, L.F_TX | L.F_CSUM_OK, 1, 0],
    at,
  );
}

function halves(): void {
  const native = loadNative()!;
  const handle = openTap(OPTIONS);
  const a = handle.attachment;
  const rx = attachPort(a, native, false);
  const tx = attachTxPort(a, native);
  const generation = rx.frames.generation[0]!;
  assert.throws(() => attachTxPort(a, native), /is attached in another thread/);
  assert.throws(() => attachPort(a, native), /is attached in another thread/);
  const ids = new Int32Array(64);
  const desc = new Int32Array(8 * L.DESC_WORDS);
  assert.is(rx.alloc(ids, 0, 8), 8);
  for (let i = 0; i < 8; i++) fill(rx.frames, ids[i]!, desc, i * L.DESC_WORDS);
  assert.is(tx.txBurst(desc, 0, 8), 8);
  assert.is(rx.available(), OPTIONS.frames - 8, 'the broker does not have them yet');
  const back = new Int32Array(64);
  assert.is(tx.sent(back, 0, 5), 5);
  assert.is(tx.sent(back, 5, 64), 3);
  assert.is(tx.sent(back, 8, 64), 0);
  assert.equal(
    [...back.subarray(0, 8)].sort((x, y) => x - y),
    [...ids.subarray(0, 8)].sort((x, y) => x - y),
  );
  for (let i = 0; i < 8; i++) rx.free(back[i]!);
  assert.is(rx.available(), OPTIONS.frames);
  assert.is.not(rx.frames.generation[0], generation, 'a frame that went out is another one when it is back');
  // What lies is dropped by the half that saw it.
  desc[L.D_DATA] = (190 << 16) | 2000;
  assert.is(tx.txBurst(desc, 0, 1), 1);
  assert.is(tx.drops[1], 1);
  assert.is(rx.drops[1], 0);
  rx.detach();
  handle.close();
  assert.is(tx.txBurst(desc, 0, 0), 0);
  tx.detach();
}

if (process.argv.includes('--inside')) {
  test('two halves, each attached once: what is sent comes home through the sending half', halves);

  test('queues: an equal share of the frames each, the rest to the last; one interface, gone when all are closed', () => {
    const handle = openTap({ ...OPTIONS, frames: 1001, queues: 3 });
    assert.equal(
      handle.queues.map((q) => [q.frameFirst, q.frameCount]),
      [
        [0, 333],
        [333, 333],
        [666, 335],
      ],
    );
    assert.is(handle.attachment, handle.queues[0]);
    assert.is(readdirSync('/sys/class/net/frtap0/queues').filter((q) => q.startsWith('tx-')).length, 3);
    const ports = handle.queues.map((q) => attachPort(q, loadNative()!));
    const ids = new Int32Array(1001);
    ports.forEach((p, q) => {
      const { frameFirst, frameCount } = handle.queues[q]!;
      assert.is(p.alloc(ids, 0, 1001), frameCount);
      for (let i = 0; i < frameCount; i++) {
        assert.ok(ids[i]! >= frameFirst && ids[i]! < frameFirst + frameCount, `frame ${ids[i]} on queue ${q}`);
        p.free(ids[i]!);
      }
    });
    assert.is(auditFrames(ports[0]!.frames).free, 1001);
    for (const p of ports) p.detach();
    handle.close();
    assert.not.ok(readdirSync('/sys/class/net').includes('frtap0'));
  });

  test('an interface with one queue is refused, with the command that makes another', () => {
    ip('tuntap', 'add', 'dev', 'frtap1', 'mode', 'tap');
    assert.throws(
      () => openTap({ ...OPTIONS, name: 'frtap1', queues: 2 }),
      /frtap1: exists with one queue, 2 are needed; .*ip tuntap add dev frtap1 mode tap multi_queue/,
    );
    ip('link', 'del', 'frtap1');
    ip('tuntap', 'add', 'dev', 'frtap1', 'mode', 'tap', 'multi_queue');
    const handle = openTap({ ...OPTIONS, name: 'frtap1', queues: 2 });
    assert.is(handle.queues.length, 2);
    handle.close();
    assert.ok(readdirSync('/sys/class/net').includes('frtap1'), 'a persistent interface stays');
    openTap({ ...OPTIONS, name: 'frtap1', queues: 2 }).close();
    ip('link', 'del', 'frtap1');
  });

  test('queues that cannot be', () => {
    for (const queues of [0, 1.5, 65]) assert.throws(() => openTap({ ...OPTIONS, queues }), /queues .* is not an integer in 1..64/);
    assert.throws(() => openTap({ ...OPTIONS, frames: 100, queues: 2 }), /less than 64 each/);
  });
  test.run();
} else {
  const lacks = missing(['ip']);
  if (lacks.length > 0) {
    console.log(`SKIP ${lacks.join(', ')}`);
  } else {
    const ns = new Namespace();
    const r = await ns.run(60_000, process.execPath, self, '--inside');
    process.stdout.write(r.stdout);
    process.stderr.write(r.stderr);
    process.exitCode = r.code ?? 1;
    ns.remove();
  }
}
