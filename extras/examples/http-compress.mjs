// Serves the files of a directory, gzipped anew for every request that takes gzip. Reading and compressing run in the
// background pool, on CPUs of their own: the worker's other connections do not wait for them.
//
//   flowring run http-compress --nic tap:tap0 --address 192.0.2.2/24 -- --root ./public --listen 80
//
// Start here: `answer` sends a task off, `finish` replies with what came of it. A worker with `background.queue` tasks under
// way answers 503; a client that goes away aborts its task.
import { background, backgroundRoom } from 'flowring/background';
import * as mtcp from 'flowring/mtcp';
import { FileRoot, fileReply } from './lib/files.mjs';
import { parseRequest, STATUS } from './lib/http.mjs';
import { HttpConnection } from './lib/httpConnection.mjs';
import { endpoint, readOptions, usageError } from './lib/options.mjs';

const options = readOptions('http-compress [--root DIR] [--listen PORT] [--level 1..9]', {
  root: { type: 'string', default: '.' },
  listen: { type: 'string', default: '80' },
  level: { type: 'string', default: '6' },
});
const level = /^[1-9]$/.test(options.level) ? Number(options.level) : bad(`--level ${options.level}: must be 1 to 9`);
const module = new URL('./lib/gzipFile.mjs', import.meta.url);
const files = openRoot(options.root);
const mctx = mtcp.createContext();
const ep = mtcp.epollCreate(mctx, 4096);
const listener = mtcp.socket(mctx, mtcp.AF_INET, mtcp.SOCK_STREAM, 0);
/** While a task is under way: what is read next must wait, but a client that goes is heard. */
const QUIET = { events: mtcp.EPOLLRDHUP };
const READABLE = { events: mtcp.EPOLLIN };

/** By socket. */
const connections = new Map();
const release = (file) => files.release(file);
const ended = (s) => connections.delete(s);

function bad(message) {
  throw usageError(message);
}

function openRoot(directory) {
  try {
    return new FileRoot(directory);
  } catch (error) {
    return bad(`--root ${directory}: ${error.message}`);
  }
}

function serve(events, n) {
  for (let i = 0; i < n; i++) {
    const c = connections.get(events.socket[i]);
    if (c === undefined) welcome();
    else if (c.task !== undefined) leave(c);
    else if (c.head === null ? c.receive() : c.send()) proceed(c);
  }
}

function welcome() {
  for (let s = mtcp.accept(mctx, listener); s >= 0; s = mtcp.accept(mctx, listener)) {
    connections.set(s, new HttpConnection(mctx, ep, s, release, ended));
  }
}

/** The client closed or reset the connection while its answer was being made. */
function leave(c) {
  c.task.abort();
  c.task = undefined;
  c.end();
}

/** Requests in order, one at a time, until there is no more to read or a reply waits for its task or for room. */
function proceed(c) {
  while (c.task === undefined && c.head === null && !c.over && c.unread.length > 0) {
    let request = null;
    try {
      request = parseRequest(c.unread);
      if (request === null) break;
      c.take(request.length);
      answer(c, request);
    } catch (status) {
      if (typeof status !== 'number') throw status;
      refuse(c, status, request);
    }
  }
  c.keepRest();
}

function answer(c, request) {
  const { method, headers, target, bodyBytes } = request;
  if (bodyBytes > 0 || bodyBytes === -2) throw 405;
  if (method !== 'GET' && method !== 'HEAD') throw 405;
  const takesGzip = (headers.get('accept-encoding') ?? '')
    .split(',')
    .some((word) => /^\s*gzip\s*(;\s*q=(1|0?\.\d*[1-9])\S*)?\s*$/i.test(word));
  if (method === 'HEAD' || !takesGzip || headers.has('range')) {
    c.reply(request, fileReply(files, request));
    return;
  }
  if (backgroundRoom() === 0) throw 503;
  c.task = new AbortController();
  c.watch(QUIET);
  const data = { directory: files.root, target, level };
  background({ module, name: 'gzipFile', data, signal: c.task.signal }).then(
    (result) => finish(c, request, result),
    (error) => {
      if (c.task === undefined) return; // aborted: nobody waits any more
      console.error(`http-compress: ${target}: ${error.message}`);
      finish(c, request, { status: 500 });
    },
  );
}

function finish(c, request, { status, type, modified, bytes }) {
  c.task = undefined;
  c.watch(READABLE);
  if (status !== 200) refuse(c, status, request);
  else {
    const fields = [`Content-Type: ${type}`, `Last-Modified: ${modified}`, 'Content-Encoding: gzip', 'Vary: Accept-Encoding'];
    c.reply(request, { status, fields: [...fields, `Content-Length: ${bytes.length}`], file: { bytes }, left: bytes.length });
  }
  // What the client sent meanwhile
  if (!c.over && c.head === null) proceed(c);
}

/** An error's reply. Unless the request was understood to its end, the connection ends with it. */
function refuse(c, status, request) {
  const bytes = Buffer.from(`${status} ${STATUS[status]}\n`);
  const fields = ['Content-Type: text/plain', `Content-Length: ${bytes.length}`];
  if (status === 405) fields.push('Allow: GET, HEAD');
  if (status === 503) fields.push('Retry-After: 1');
  const whole = request !== null && (request.bodyBytes === 0 || request.bodyBytes === -1);
  c.moreComes = !whole;
  const about = { version: request?.version ?? 1, keepAlive: whole && request.keepAlive };
  c.reply(about, { status, fields, file: { bytes }, left: request?.method === 'HEAD' ? 0 : bytes.length });
}

let result = mtcp.bind(mctx, listener, endpoint(options.listen, 'listen'));
if (result === 0) result = mtcp.listen(mctx, listener, 4096);
if (result < 0) bad(`--listen ${options.listen}: ${mtcp.errnoMessage(result)}`);
mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_ADD, listener, { events: mtcp.EPOLLIN });
mtcp.run(mctx, ep, serve);
