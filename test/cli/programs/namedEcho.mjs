// An echo server that says on every connection who serves it: its worker, and a number of its own that it also logs.
import { appendFileSync } from 'node:fs';
import * as m from 'flowring/mtcp';
const [log] = process.argv.slice(2);
const mctx = m.createContext();
const id = (Math.random() * 0x7fffffff) | 0;
const hello = new Uint8Array(8);
new DataView(hello.buffer).setInt32(0, mctx.worker);
new DataView(hello.buffer).setInt32(4, id);
const ep = m.epollCreate(mctx, 4096);
const l = m.socket(mctx, m.AF_INET, m.SOCK_STREAM);
m.bind(mctx, l, { port: 7 });
m.listen(mctx, l, 1024);
m.epollCtl(mctx, ep, m.EPOLL_CTL_ADD, l, { events: m.EPOLLIN, data: l });
const buffer = new Uint8Array(65536);
const interest = { events: 0, data: 0 };
appendFileSync(log, `${JSON.stringify({ worker: mctx.worker, id, at: Date.now() })}\n`);
m.run(mctx, ep, (events, n) => {
  for (let i = 0; i < n; i++) {
    const s = events.data[i];
    if (s === l) {
      for (let c = m.accept(mctx, l); c >= 0; c = m.accept(mctx, l)) {
        m.write(mctx, c, hello);
        interest.events = m.EPOLLIN;
        interest.data = c;
        m.epollCtl(mctx, ep, m.EPOLL_CTL_ADD, c, interest);
      }
      continue;
    }
    const got = m.read(mctx, s, buffer);
    if (got > 0) m.write(mctx, s, buffer, 0, got);
    else if (got !== -m.EAGAIN) m.close(mctx, s);
  }
});
