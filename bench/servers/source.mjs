// Sends the pattern to whoever connects, as fast as it is taken. `flowring run bench/servers/source.mjs -- PORT`.
import * as mtcp from 'flowring/mtcp';
import { PATTERN, PERIOD, RUN_MAX } from '../pattern.mjs';
import { listening } from './listening.mjs';

const { mctx, ep, listener } = listening();
/** Place in the pattern, by socket. */
const places = new Map();

function end(s) {
  mtcp.close(mctx, s);
  places.delete(s);
}

function give(s) {
  let at = places.get(s);
  for (let i = 0; i < 16; i++) {
    const n = mtcp.write(mctx, s, PATTERN, at, RUN_MAX);
    if (n === -mtcp.EAGAIN) break;
    if (n < 0) return end(s);
    at = (at + n) % PERIOD;
    if (n < RUN_MAX) break;
  }
  places.set(s, at);
}

mtcp.run(mctx, ep, (events, n) => {
  for (let i = 0; i < n; i++) {
    const s = events.socket[i];
    if (s !== listener) {
      if ((events.events[i] & (mtcp.EPOLLERR | mtcp.EPOLLHUP | mtcp.EPOLLRDHUP)) !== 0) end(s);
      else give(s);
    } else
      for (let c = mtcp.accept(mctx, listener); c >= 0; c = mtcp.accept(mctx, listener)) {
        places.set(c, 0);
        mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_ADD, c, { events: mtcp.EPOLLOUT | mtcp.EPOLLRDHUP });
      }
  }
});
