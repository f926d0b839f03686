// The two ends of a paced echo, and work beside the server's: `server none|handler|background`, or `client FILE SECONDS`.
// The client sends one message every 2 ms and writes the round trips' percentiles, in microseconds, to FILE.
import { writeFileSync } from 'node:fs';
import { background } from 'flowring/background';
import * as m from 'flowring/mtcp';
import { busy } from './backgroundTasks.mjs';

const [role, word, seconds] = process.argv.slice(2);
const WORK_MS = 20;
const EVERY_MS = 40;
const mctx = m.createContext();
const ep = m.epollCreate(mctx);
const s = m.socket(mctx, m.AF_INET, m.SOCK_STREAM);
const buffer = new Uint8Array(2048);

function serve(events, n) {
  for (let i = 0; i < n; i++) {
    const c = events.socket[i];
    if (c === s) {
      for (let a = m.accept(mctx, s); a >= 0; a = m.accept(mctx, s)) m.epollCtl(mctx, ep, m.EPOLL_CTL_ADD, a, { events: m.EPOLLIN });
    } else {
      const got = m.read(mctx, c, buffer);
      if (got > 0) m.write(mctx, c, buffer, 0, got);
      else if (got !== -m.EAGAIN) m.close(mctx, c);
    }
  }
}

function work() {
  if (word === 'handler') busy(WORK_MS);
  else void background({ module: new URL('./backgroundTasks.mjs', import.meta.url), name: 'busy', data: WORK_MS }).catch(() => {});
}

const trips = [];
let sentUs = 0;
function take(events, n) {
  for (let i = 0; i < n; i++) {
    if ((events.events[i] & m.EPOLLIN) === 0) continue;
    if (m.read(mctx, s, buffer) > 0) trips.push((performance.now() - sentUs) * 1000);
  }
}

function end() {
  trips.sort((a, b) => a - b);
  const at = (q) => trips[Math.min(trips.length - 1, Math.floor(trips.length * q))];
  writeFileSync(word, JSON.stringify({ n: trips.length, p50: at(0.5), p99: at(0.99) }));
  m.stop(mctx);
}

if (role === 'server') {
  m.bind(mctx, s, { port: 7 });
  m.listen(mctx, s);
  m.epollCtl(mctx, ep, m.EPOLL_CTL_ADD, s, { events: m.EPOLLIN });
  m.run(mctx, ep, serve);
  if (word !== 'none') setInterval(work, EVERY_MS);
} else {
  m.connect(mctx, s, { address: '198.18.0.1', port: 7 });
  m.epollCtl(mctx, ep, m.EPOLL_CTL_ADD, s, { events: m.EPOLLIN });
  m.run(mctx, ep, take);
  const until = performance.now() + Number(seconds) * 1000;
  let asked = 0;
  const timer = setInterval(() => {
    if (performance.now() > until) {
      clearInterval(timer);
      end();
    } else if (asked === trips.length) {
      sentUs = performance.now();
      if (m.write(mctx, s, buffer, 0, 64) > 0) asked++;
    }
  }, 2);
}
