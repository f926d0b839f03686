// A program that owns the loop and never gives the event loop a turn: it logs, answers messages, and ends when asked.
import { parentPort } from 'node:worker_threads';
import * as mtcp from 'flowring/mtcp';

const mctx = mtcp.createContext();
const ep = mtcp.epollCreate(mctx, 64);
const events = new mtcp.EpollEvents(64);
let promised = 0;
parentPort.on('message', (m) => {
  console.log(`parity: message ${m}`);
  Promise.resolve().then(() => promised++);
});
console.log('parity: begins');
let turns = 0;
let n = 0;
while ((n = mtcp.epollWait(mctx, ep, events, 64, 20)) >= 0) {
  turns++;
  if (promised === 1) {
    promised = 2;
    console.log('parity: a promise ran');
  }
}
console.log(`parity: ends with ${mtcp.errnoName(n)} after ${turns > 0 ? 'some' : 'no'} turns`);
