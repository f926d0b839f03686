// Echo on the stack, for the benches: what comes goes back. `flowring run bench/servers/echo.mjs -- PORT`.
import * as mtcp from 'flowring/mtcp';
import { listening } from './listening.mjs';

const buffer = new Uint8Array(65536);
const readable = { events: mtcp.EPOLLIN };
const writable = { events: mtcp.EPOLLOUT };
/** What did not fit into a send buffer, by socket: nothing more is read from there until it has gone. */
const stalled = new Map();
const { mctx, ep, listener } = listening();

function echo(s) {
  const n = mtcp.read(mctx, s, buffer);
  if (n === -mtcp.EAGAIN) return;
  if (n <= 0) return void mtcp.close(mctx, s);
  const sent = mtcp.write(mctx, s, buffer, 0, n);
  if (sent === n) return;
  if (sent < 0 && sent !== -mtcp.EAGAIN) return void mtcp.close(mctx, s);
  stalled.set(s, buffer.slice(Math.max(sent, 0), n));
  mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_MOD, s, writable);
}

function resume(s) {
  const rest = stalled.get(s);
  const sent = mtcp.write(mctx, s, rest);
  if (sent === -mtcp.EAGAIN) return;
  if (sent >= 0 && sent < rest.length) return void stalled.set(s, rest.subarray(sent));
  stalled.delete(s);
  if (sent < 0) mtcp.close(mctx, s);
  else mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_MOD, s, readable);
}

mtcp.run(mctx, ep, (events, n) => {
  for (let i = 0; i < n; i++) {
    const s = events.socket[i];
    if (s === listener) {
      for (let c = mtcp.accept(mctx, listener); c >= 0; c = mtcp.accept(mctx, listener))
        mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_ADD, c, readable);
    } else if (stalled.has(s)) resume(s);
    else echo(s);
  }
});
