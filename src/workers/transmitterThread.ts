/** Thread entry: a transmitter. Its breath is `transmitter.pull(); transmitter.push()`; see transmitter.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { CMD_STOP, T_STATE, TS_QUIET, TS_RUNNING, TS_STOPPED } from '../rings/control.ts';
import { assembleTransmitter } from './assembly.ts';
import { installSyncOutput } from './output.ts';
import { Thread, TRANSMITTER, type WorkerData } from './plan.ts';
import { driveFront, observeGc } from './threadParts.ts';

const { plan } = workerData as WorkerData;
const me = plan.transmitter!;
const thread = new Thread(plan, me);
installSyncOutput(plan.stdout);
observeGc(thread);
const transmitter = assembleTransmitter(thread);

/** DRAIN: the workers are quiet; send what is left. STOP: they are gone, hand everything back and leave. */
function command(c: number): boolean {
  if (c === CMD_STOP) {
    transmitter.close();
    thread.record.set(T_STATE, TS_STOPPED);
    parentPort!.unref();
    return true;
  }
  if (transmitter.inFlight() === 0 && thread.record.get(T_STATE) === TS_RUNNING) thread.record.set(T_STATE, TS_QUIET);
  return false;
}

driveFront(thread, TRANSMITTER, thread.bell(me.bell), null, transmitter, command);
