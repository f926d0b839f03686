// The driver owns the loop: timers, promises, messages and logs live beside the handler.
import { parentPort } from 'node:worker_threads';
import * as mtcp from 'flowring/mtcp';

const mctx = mtcp.createContext();
const ep = mtcp.epollCreate(mctx, 64);
mtcp.run(mctx, ep, () => {});
parentPort.on('message', (m) => console.log(`handler: message ${m}`));
setTimeout(() => console.log('handler: a timer fired'), 20);
Promise.resolve().then(() => console.log('handler: a promise ran'));
console.log('handler: begins');
