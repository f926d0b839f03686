// HTTP/1.1 on the stack: every request is parsed, every answer is the same short body, as the benches' node:http server does it.
// `flowring run bench/servers/http.mjs -- PORT`.
import * as mtcp from 'flowring/mtcp';
import { listening } from './listening.mjs';
import { HEAD_BYTES_MAX, Request } from './requestHead.mjs';

const BODY = 'Hello, World!';
const REFUSAL = Buffer.from('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
const { mctx, ep, listener } = listening();
const readable = { events: mtcp.EPOLLIN };
const buffer = Buffer.alloc(65536);
const request = new Request();
/** The beginning of a request whose rest has not come, by socket. */
const begun = new Map();
/** Whole answers, made anew when the second of their Date field is over. */
let kept = Buffer.alloc(0);
let closing = kept;

function makeAnswers() {
  const head = `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${BODY.length}\r\nDate: ${new Date().toUTCString()}\r\n`;
  kept = Buffer.from(`${head}Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n${BODY}`);
  closing = Buffer.from(`${head}Connection: close\r\n\r\n${BODY}`);
}

function end(s) {
  begun.delete(s);
  mtcp.close(mctx, s);
}

/** Answers every whole request of `bytes[0, n)`. Returns how many bytes they were, -1 when the connection is over. */
function answer(s, bytes, n) {
  let at = 0;
  while (at < n) {
    const length = request.parse(bytes, at, n);
    if (length === 0) break;
    const out = length < 0 ? REFUSAL : request.keepAlive ? kept : closing;
    // An answer this short always fits: the client asks again only when it has the one before.
    if (mtcp.write(mctx, s, out) !== out.length || out !== kept) {
      end(s);
      return -1;
    }
    at += length;
  }
  return at;
}

function serve(s) {
  let n = mtcp.read(mctx, s, buffer);
  if (n === -mtcp.EAGAIN) return;
  if (n <= 0) return end(s);
  let bytes = buffer;
  const before = begun.get(s);
  if (before !== undefined) {
    bytes = Buffer.concat([before, buffer.subarray(0, n)]);
    n = bytes.length;
  }
  const used = answer(s, bytes, n);
  if (used < 0) return;
  if (n - used > HEAD_BYTES_MAX) end(s);
  else if (used < n) begun.set(s, Buffer.from(bytes.subarray(used, n)));
  else if (before !== undefined) begun.delete(s);
}

makeAnswers();
setInterval(makeAnswers, 1000).unref();
mtcp.run(mctx, ep, (events, n) => {
  for (let i = 0; i < n; i++) {
    const s = events.socket[i];
    if (s !== listener) serve(s);
    else
      for (let c = mtcp.accept(mctx, listener); c >= 0; c = mtcp.accept(mctx, listener))
        mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_ADD, c, readable);
  }
});
