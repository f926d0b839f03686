/** The other thread of the dispatch question: the wire and all four workers, or the receiver of messages. */
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { loadNative } from '../src/ports/native.ts';
import { BYTES, type DispatchMemory, JOB_MESSAGES, JOB_REST, JOB_RETURN, S_HOME, S_JOB, S_WRONG, Wire, WORKERS } from './dispatchRig.ts';

const { memory, ports, cpu } = workerData as { memory: DispatchMemory; ports: MessagePort[]; cpu: number };
const { state } = memory;
const native = loadNative();
if (native !== null && cpu >= 0) native.setAffinity([cpu]);
const wire = new Wire(memory);
let messages = 0;

function takeMessages(): number {
  let n = 0;
  for (let w = 0; w < WORKERS; w++) {
    const m = receiveMessageOnPort(ports[w]!) as { message: Uint8Array } | undefined;
    if (m !== undefined) n += m.message.length / BYTES;
  }
  messages += n;
  return n;
}

function turn(job: number): number {
  if (job === JOB_MESSAGES) return takeMessages();
  const through = job === JOB_RETURN;
  const n = wire.send() + wire.take(through);
  wire.tick(0);
  return n;
}

parentPort!.postMessage('up');
for (;;) {
  const job = Atomics.load(state, S_JOB);
  if (job < JOB_REST) break;
  if (job === JOB_REST) {
    // What is still under way comes home while nothing new is sent.
    const came = wire.take(true);
    wire.tick(0);
    wire.port.flush();
    if (came === 0) Atomics.wait(state, S_JOB, JOB_REST, 1);
  } else turn(job);
  Atomics.store(state, S_HOME, (wire.home + messages) | 0);
  if (wire.wrong > 0) Atomics.store(state, S_WRONG, 1);
}
wire.close();
parentPort!.postMessage('down');
parentPort!.unref();
for (const p of ports) p.close();
