// Takes a stream and says at its end what it got: "BYTES WRONG\n". `flowring run bench/servers/sink.mjs -- PORT`.
import * as mtcp from 'flowring/mtcp';
import { looksLikePattern, PERIOD } from '../pattern.mjs';
import { listening } from './listening.mjs';

const buffer = new Uint8Array(262144);
const { mctx, ep, listener } = listening();
/** By socket: bytes so far, pieces, pieces that were not the pattern. */
const streams = new Map();

function take(s, stream) {
  // A megabyte a turn, then the other sockets.
  for (let i = 0; i < 4; i++) {
    const n = mtcp.read(mctx, s, buffer);
    if (n === -mtcp.EAGAIN) return;
    if (n <= 0) {
      if (n === 0) mtcp.write(mctx, s, Buffer.from(`${stream.bytes} ${stream.wrong}\n`));
      mtcp.close(mctx, s);
      streams.delete(s);
      return;
    }
    if (!looksLikePattern(buffer, n, stream.bytes % PERIOD, stream.pieces++)) stream.wrong++;
    stream.bytes += n;
  }
}

mtcp.run(mctx, ep, (events, n) => {
  for (let i = 0; i < n; i++) {
    const s = events.socket[i];
    if (s !== listener) take(s, streams.get(s));
    else
      for (let c = mtcp.accept(mctx, listener); c >= 0; c = mtcp.accept(mctx, listener)) {
        streams.set(c, { bytes: 0, pieces: 0, wrong: 0 });
        mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_ADD, c, { events: mtcp.EPOLLIN });
      }
  }
});
