// Only the workers named on the command line listen; they count what they accept and echo it.
import * as mtcp from 'flowring/mtcp';

const mctx = mtcp.createContext();
const serving = process.argv[2].split(',').map(Number);
const ep = mtcp.epollCreate(mctx, 64);
const buffer = new Uint8Array(4096);
const listener = serving.includes(mctx.worker) ? mtcp.socket(mctx, mtcp.AF_INET, mtcp.SOCK_STREAM, 0) : -1;
if (listener >= 0) {
  mtcp.bind(mctx, listener, { port: 7 });
  mtcp.listen(mctx, listener, 128);
  mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_ADD, listener, { events: mtcp.EPOLLIN });
}
mtcp.run(mctx, ep, (events, n) => {
  for (let i = 0; i < n; i++) {
    const s = events.socket[i];
    if (s === listener) {
      for (let c = mtcp.accept(mctx, listener); c >= 0; c = mtcp.accept(mctx, listener)) {
        mctx.counters.v[mtcp.C_APP_CONNECTIONS]++;
        mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_ADD, c, { events: mtcp.EPOLLIN });
      }
      continue;
    }
    const got = mtcp.read(mctx, s, buffer);
    if (got > 0) mtcp.write(mctx, s, buffer, 0, got);
    else if (got !== -mtcp.EAGAIN) mtcp.close(mctx, s);
  }
});
