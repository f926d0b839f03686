/** The receiving thread of the rings question: takes descriptors from a ring or a message port, compares, counts. */
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { loadNative } from '../src/ports/native.ts';
import { DESC_WORDS } from '../src/rings/layout.ts';
import { RingConsumer } from '../src/rings/spsc.ts';

interface Job {
  port: MessagePort | null;
  block: SharedArrayBuffer;
  /** Whole calls received, and whether anything was wrong. */
  done: Int32Array;
  slots: number;
  cpu: number;
  each: boolean;
}

const { port, block, done, slots, cpu, each } = workerData as Job;
const SPINS = 10_000;
const nap = new Int32Array(new SharedArrayBuffer(4));
let got = 0;

function count(n: number, wrong: number): void {
  if (wrong !== 0) Atomics.store(done, 1, 1);
  got += n;
  if (got < slots) return;
  got -= slots;
  Atomics.add(done, 0, 1);
}

function takeFromRing(ring: RingConsumer): number {
  const n = Math.min(ring.ready(), slots - got, 64);
  let wrong = 0;
  for (let i = 0; i < n; i++) {
    const s = ring.slot(0);
    for (let w = 0; w < DESC_WORDS; w++) wrong |= ring.words[s + w]! ^ (got + i) ^ w;
    ring.take(1);
    if (each) ring.flush();
  }
  ring.flush();
  if (n > 0) count(n, wrong);
  return n;
}

function takeMessage(from: MessagePort): number {
  const m = receiveMessageOnPort(from) as { message: Int32Array } | undefined;
  if (m === undefined) return 0;
  const n = m.message.length / DESC_WORDS;
  let wrong = 0;
  for (let i = 0; i < n; i++) for (let w = 0; w < DESC_WORDS; w++) wrong |= m.message[i * DESC_WORDS + w]! ^ (got + i) ^ w;
  count(n, wrong);
  return n;
}

const native = loadNative();
if (native !== null && cpu >= 0) native.setAffinity([cpu]);
const ring = port === null ? new RingConsumer(new Int32Array(block), 0) : null;
parentPort!.postMessage('up');
for (let empty = 0; ; ) {
  empty = (ring !== null ? takeFromRing(ring) : takeMessage(port!)) > 0 ? 0 : empty + 1;
  // Nothing for long: the other side measures something else, and wants the CPU.
  if (empty > SPINS) Atomics.wait(nap, 0, 0, empty > 2 * SPINS ? 1 : 0.05);
}
