/** One worker that says "I serve", "I do not" for ports that others change at the same time. */
import { STEER_TCP, Steering } from '../../../src/rings/steering.ts';
import { answer, bits31, given, yieldThread } from './threads.ts';

export interface SteeringJob {
  block: SharedArrayBuffer;
  worker: number;
  rounds: number;
  ports: number;
  /** Word 0 counts who is ready: nobody begins before all are. */
  gate: SharedArrayBuffer;
  threads: number;
  seed: number;
}

const job = given<SteeringJob>();
const steering = new Steering(job.block, 0);
const random = bits31(job.seed + job.worker);
const last = new Array<boolean>(job.ports).fill(false);
const gate = new Int32Array(job.gate);
Atomics.add(gate, 0, 1);
while (Atomics.load(gate, 0) < job.threads) yieldThread();
for (let i = 0; i < job.rounds; i++) {
  const port = random() % job.ports;
  last[port] = random() % 2 === 0;
  steering.serve(STEER_TCP, port + 1, job.worker, last[port]!);
}
answer(last);
