// Block headers, the frame table and the control block: what does not fit is refused with both values named.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  formatControl,
  planControl,
  ROLE_WORKER,
  T_CPU,
  T_NOW_MS,
  T_NOW_US,
  T_ROLE,
  THREAD_BYTES,
  ThreadRecord,
} from '../../../src/rings/control.ts';
import { COUNTERS, Counters, readCounters } from '../../../src/rings/counters.ts';
import { BELL_EVENTFD } from '../../../src/rings/doorbell.ts';
import { auditFrames, createFrameTable, FrameTable, frameValid } from '../../../src/rings/frameTable.ts';
import { HostPublisher, NB_REACHABLE } from '../../../src/rings/hostState.ts';
import {
  ABI_VERSION,
  AbiError,
  checkHeader,
  H_BYTES,
  H_KIND,
  H_MAGIC,
  H_VERSION,
  HEADER_BYTES,
  HEADROOM,
  KIND_CONTROL,
  KIND_FRAME_TABLE,
  LAYOUT_NUMBERS,
  MAGIC,
  OWNER_BROKER,
  OWNER_DEVICE,
  OWNER_LEASE,
  OWNER_RING,
  OWNER_WORKER,
  writeHeader,
} from '../../../src/rings/layout.ts';
import { STEER_RETA, Steering } from '../../../src/rings/steering.ts';

test('a block of another magic, version, kind or size is refused, both values in the message', () => {
  const wrong: readonly (readonly [number, number, RegExp])[] = [
    [H_MAGIC, 0, /magic is 0, this build expects 1179408210/],
    [H_VERSION, ABI_VERSION + 1, new RegExp(`ABI version is ${ABI_VERSION + 1}, this build expects ${ABI_VERSION}`)],
    [H_KIND, KIND_FRAME_TABLE, /kind is 3, this build expects 1/],
    [H_BYTES, 4, /size is 4, this build expects 256/],
  ];
  for (const [word, value, message] of wrong) {
    const block = new SharedArrayBuffer(256);
    writeHeader(block, KIND_CONTROL);
    checkHeader(block, KIND_CONTROL);
    new Int32Array(block)[word] = value;
    assert.throws(
      () => checkHeader(block, KIND_CONTROL),
      (e: Error) => e instanceof AbiError && message.test(e.message) && e.code === 'FLOWRING_ABI',
    );
  }
  assert.throws(() => checkHeader(new SharedArrayBuffer(HEADER_BYTES - 4), KIND_CONTROL), /60 bytes, a header needs 64/);
  assert.is(MAGIC, 0x464c5752);
});

test('the numbers native code checks are named once each', () => {
  assert.is(new Set(LAYOUT_NUMBERS.map(([name]) => name)).size, LAYOUT_NUMBERS.length);
});

test('payload behind Ethernet, IPv4 and TCP with timestamps starts on an 8-byte boundary', () => {
  assert.is((HEADROOM + 14 + 20 + 32) % 8, 0);
});

test('a descriptor of an older life of its frame, or of a frame that is not there, is not believed', () => {
  const t = new FrameTable(createFrameTable(1, 8, 2048), new SharedArrayBuffer(8 * 2048));
  assert.ok(frameValid(t, 7, 0));
  assert.not(frameValid(t, 8, 0));
  assert.not(frameValid(t, -1, 0));
  t.generation[7] = 0x1ffff;
  assert.ok(frameValid(t, 7, 0xffff), 'sixteen bits are compared');
  assert.not(frameValid(t, 7, 0xfffe));
});

test('the audit counts every owner and names what is none', () => {
  const t = new FrameTable(createFrameTable(1, 12, 2048), new SharedArrayBuffer(12 * 2048));
  t.owner.set([OWNER_DEVICE, OWNER_BROKER, OWNER_RING, OWNER_RING, OWNER_LEASE, OWNER_WORKER, OWNER_WORKER + 3, OWNER_WORKER + 3, 9]);
  assert.equal(auditFrames(t), {
    free: 3,
    device: 1,
    broker: 1,
    ring: 2,
    lease: 1,
    unknown: 1,
    total: 12,
    workers: new Map([
      [0, 1],
      [3, 2],
    ]),
  });
  assert.equal(auditFrames(t, 9, 12).free, 3);
});

test('thread records, bells, clocks, counters, steering and host state stand beside each other without touching', () => {
  const plan = planControl(4, 2);
  const block = new SharedArrayBuffer(plan.bytes);
  formatControl(block, plan);
  Steering.format(block, plan.steeringAt, 2, STEER_RETA);
  const records = [0, 1, 2, 3].map((i) => new ThreadRecord(block, i));
  for (const [i, r] of records.entries()) {
    assert.equal([r.get(T_CPU), r.words[r.bellAt + BELL_EVENTFD]], [-1, -1]);
    r.setName(`thread ${i}, with a name that is far longer than sixty-four bytes, so that it is cut: ${'x'.repeat(40)}`);
    r.set(T_ROLE, ROLE_WORKER);
    r.clock()[0] = 1000 + i;
    r.clock()[1] = 2000 + i;
    const c = new Counters(block, r.countersAt);
    c.v.fill(i + 1);
    c.commit();
  }
  const publisher = new HostPublisher(block, plan.hostAt);
  publisher.put(1, NB_REACHABLE, 0, 0);
  const steering = new Steering(block, plan.steeringAt);
  for (let w = 0; w < 2; w++) steering.serve(1, 65535, w, true);
  for (const [i, r] of records.entries()) {
    assert.ok(r.name().startsWith(`thread ${i}, with`) && r.name().length === 63);
    assert.equal([r.get(T_ROLE), r.get(T_NOW_US), r.get(T_NOW_MS)], [ROLE_WORKER, 1000 + i, 2000 + i]);
    const into = new Float64Array(COUNTERS);
    assert.ok(readCounters(block, r.countersAt, into));
    assert.ok(into.every((n) => n === i + 1));
  }
  assert.is(publisher.find(1) >= 0, true);
  assert.is(THREAD_BYTES % 128, 0);
  assert.is(plan.bytes % 4096, 0);
});

test.run();
