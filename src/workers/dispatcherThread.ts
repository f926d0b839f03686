/** Thread entry: a dispatcher on its own. Its breath is `dispatcher.pull(); dispatcher.push()`; see dispatcher.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { CMD_STOP, T_STATE, TS_QUIET, TS_RUNNING, TS_STOPPED } from '../rings/control.ts';
import { assembleBroker } from './assembly.ts';
import { undertakerOf } from './burial.ts';
import { installSyncOutput } from './output.ts';
import { driveFront, observeGc } from './threadParts.ts';
import { DISPATCHER, Thread, type ThreadMessage, type WorkerData } from './plan.ts';

const { plan } = workerData as WorkerData;
const thread = new Thread(plan, plan.dispatcher!);
const post = (m: ThreadMessage): void => parentPort!.postMessage(m);
installSyncOutput(plan.stdout);
observeGc(thread);
const { port, dispatcher } = assembleBroker(thread, null);
const bell = thread.bell(plan.brokers[0]!.bell);
const undertaker = undertakerOf(thread, dispatcher, port.frames, (worker) => post({ type: 'buried', worker }));
let reclaimed = false;

/** DRAIN: the workers are gone; bring every frame home, go on serving what comes back. STOP: leave. */
function command(c: number): boolean {
  undertaker.finish();
  if (!reclaimed) {
    reclaimed = true;
    for (let w = 0; w < plan.workers; w++) dispatcher.reclaim(w);
  }
  if (c === CMD_STOP) {
    // The workers have ended: what they sent home last is in their rings.
    while (dispatcher.push() > 0);
    dispatcher.reclaimTransmitter();
    port.flush();
    port.detach();
    thread.record.set(T_STATE, TS_STOPPED);
    parentPort!.unref();
    return true;
  }
  if (dispatcher.inFlight() === 0 && port.held() === 0 && thread.record.get(T_STATE) === TS_RUNNING) thread.record.set(T_STATE, TS_QUIET);
  return false;
}

dispatcher.host!.start();
const front = {
  ...dispatcher,
  pull: () => undertaker.poll() + dispatcher.pull(),
  pending: () => undertaker.pending() || dispatcher.pending(),
};
driveFront(thread, DISPATCHER, bell, port, front, command);
