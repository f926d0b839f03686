// A program that owns the loop and waits for the background pool in it.
import { background } from 'flowring/background';
import * as m from 'flowring/mtcp';

const mctx = m.createContext();
const ep = m.epollCreate(mctx);
const events = new m.EpollEvents(8);
let answer = null;
background({ module: new URL('./backgroundTasks.mjs', import.meta.url), name: 'same', data: 'the answer' }).then((a) => {
  answer = a;
});
while (answer === null) if (m.epollWait(mctx, ep, events, 8, 100) < 0) break;
console.log(answer);
m.stop(mctx);
