// bench/servers/echo.mjs with a trace of its thread's stalls: a message asks for it, the answer is a line of JSON on stdout.
import { parentPort } from 'node:worker_threads';
import * as mtcp from 'flowring/mtcp';
import { ThreadTrace } from '../threadTrace.mjs';
import { listening } from './listening.mjs';

const buffer = new Uint8Array(65536);
const readable = { events: mtcp.EPOLLIN };
const { mctx, ep, listener } = listening();
let trace = null;

function echo(s) {
  const n = mtcp.read(mctx, s, buffer);
  if (n === -mtcp.EAGAIN) return;
  // Messages of a few bytes, one under way on a connection: they fit into the send buffer.
  if (n <= 0 || mtcp.write(mctx, s, buffer, 0, n) !== n) mtcp.close(mctx, s);
}

mtcp.run(mctx, ep, (events, n) => {
  if (trace !== null) trace.beat();
  for (let i = 0; i < n; i++) {
    const s = events.socket[i];
    if (s !== listener) echo(s);
    else
      for (let c = mtcp.accept(mctx, listener); c >= 0; c = mtcp.accept(mctx, listener))
        mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_ADD, c, readable);
  }
});

parentPort.on('message', (message) => {
  if (message.trace === 'begin') {
    trace = new ThreadTrace(message.quietMs);
    console.log('{"began":true}');
  } else if (message.trace === 'end') {
    console.log(JSON.stringify(trace.end()));
    trace = null;
  }
});
