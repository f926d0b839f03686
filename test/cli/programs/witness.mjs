// A client of namedEcho that keeps N connections busy, opens another for each that ends, and writes down how each ended:
// { at, id, worker, why } with id 0 while the server had not said who it is. Ends when main posts a message.
import { writeFileSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import * as m from 'flowring/mtcp';

const [server, connections, size, report] = process.argv.slice(2);
const [address, port] = server.split(':');
const mctx = m.createContext();
const ep = m.epollCreate(mctx, 4096);
const events = new m.EpollEvents(512);
const buffer = new Uint8Array(65536);
const message = new Uint8Array(Number(size)).fill(7);
const LATE_MS = 15000;
const ends = [];
let messages = 0;
let finishing = false;
parentPort.on('message', () => {
  finishing = true;
});

const sockets = new Map();
const interest = { events: 0, data: 0 };

function begin() {
  const s = m.socket(mctx, m.AF_INET, m.SOCK_STREAM, 0);
  const c = { s, hello: 0, head: new Uint8Array(8), owed: 0, unsent: 0, worker: -1, id: 0, since: ran, watched: -1 };
  sockets.set(s, c);
  const r = m.connect(mctx, s, { address, port: Number(port) });
  if (r < 0 && r !== -m.EINPROGRESS) return end(c, m.errnoName(r));
  watch(c, m.EPOLLIN | m.EPOLLOUT, m.EPOLL_CTL_ADD);
}

function watch(c, wanted, operation) {
  if (c.watched === wanted) return;
  c.watched = interest.events = wanted;
  interest.data = c.s;
  m.epollCtl(mctx, ep, operation, c.s, interest);
}

function end(c, why) {
  sockets.delete(c.s);
  m.close(mctx, c.s);
  if (why !== '') ends.push({ at: Date.now(), id: c.id, worker: c.worker, why });
}

function send(c) {
  if (c.hello < 8) return watch(c, m.EPOLLIN, m.EPOLL_CTL_MOD);
  if (c.owed === 0) {
    if (finishing) return end(c, '');
    c.owed = c.unsent = message.length;
    c.since = ran;
  }
  while (c.unsent > 0) {
    const n = m.write(mctx, c.s, message, 0, c.unsent);
    if (n === -m.EAGAIN) return watch(c, m.EPOLLIN | m.EPOLLOUT, m.EPOLL_CTL_MOD);
    if (n < 0) return end(c, m.errnoName(n));
    c.unsent -= n;
  }
  watch(c, m.EPOLLIN, m.EPOLL_CTL_MOD);
}

function receive(c) {
  const n = m.read(mctx, c.s, buffer);
  if (n === -m.EAGAIN) return;
  if (n <= 0) return end(c, n === 0 ? 'end of stream' : m.errnoName(n));
  let at = 0;
  while (c.hello < 8 && at < n) c.head[c.hello++] = buffer[at++];
  if (c.hello === 8 && c.id === 0) {
    const v = new DataView(c.head.buffer);
    c.worker = v.getInt32(0);
    c.id = v.getInt32(4);
  }
  c.owed -= n - at;
  if (c.owed < 0) return end(c, 'more came back than was sent');
  if (c.owed === 0 && c.hello === 8) {
    if (at < n) messages++;
    send(c);
  }
}

let looked = Date.now();
// Time in which this thread ran: what waits while it has no CPU is not late.
let ran = 0;
for (;;) {
  while (!finishing && sockets.size < Number(connections)) begin();
  const n = m.epollWait(mctx, ep, events, events.max, 20);
  if (n < 0) break;
  for (let i = 0; i < n; i++) {
    const c = sockets.get(events.data[i]);
    if (c === undefined) continue;
    if ((events.events[i] & m.EPOLLERR) !== 0) end(c, m.errnoName(m.getsockopt(mctx, c.s, m.SOL_SOCKET, m.SO_ERROR)));
    else if ((events.events[i] & m.EPOLLIN) !== 0) receive(c);
    else send(c);
  }
  const now = Date.now();
  if (now - looked >= 20) {
    ran += Math.min(now - looked, 60);
    looked = now;
    for (const c of [...sockets.values()]) if (ran - c.since > LATE_MS) end(c, 'no answer');
  }
  if (finishing && sockets.size === 0) break;
}
writeFileSync(report, JSON.stringify({ messages, ends }));
m.destroyContext(mctx);
