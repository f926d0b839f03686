// Serves the files of a directory over HTTP/1.1.
//
//   flowring run http-server --nic tap:tap0 --address 192.0.2.2/24 -- --root ./public --listen 80
//
// GET and HEAD, single ranges, keep-alive, pipelining; with --upload DIR also PUT. Start here: `serve` gets the events,
// `proceed` takes what was read apart, `answer` decides; lib/httpConnection.mjs moves the bytes.
import * as mtcp from 'flowring/mtcp';
import { Discard, Upload } from './lib/bodies.mjs';
import { FileRoot, fileReply } from './lib/files.mjs';
import { parseRequest, STATUS } from './lib/http.mjs';
import { HttpConnection } from './lib/httpConnection.mjs';
import { endpoint, readOptions, usageError } from './lib/options.mjs';

const options = readOptions('http-server [--root DIR] [--listen PORT] [--upload DIR]', {
  root: { type: 'string', default: '.' },
  listen: { type: 'string', default: '80' },
  upload: { type: 'string' },
});
const files = openRoot(options.root);
const mctx = mtcp.createContext();
const ep = mtcp.epollCreate(mctx, 4096);
const listener = mtcp.socket(mctx, mtcp.AF_INET, mtcp.SOCK_STREAM, 0);

/** By socket. */
const connections = new Map();
const release = (file) => files.release(file);
const ended = (s) => connections.delete(s);

function openRoot(directory) {
  try {
    return new FileRoot(directory);
  } catch (error) {
    throw usageError(`--root ${directory}: ${error.message}`);
  }
}

function serve(events, n) {
  for (let i = 0; i < n; i++) {
    const c = connections.get(events.socket[i]);
    if (c === undefined) welcome();
    else if (c.head === null ? c.receive() : c.send()) proceed(c);
  }
}

function welcome() {
  for (let s = mtcp.accept(mctx, listener); s >= 0; s = mtcp.accept(mctx, listener)) {
    connections.set(s, new HttpConnection(mctx, ep, s, release, ended));
  }
}

/** Requests and their bodies in order, until there is no more to read or a reply waits for room. */
function proceed(c) {
  while (c.head === null && !c.over && c.unread.length > 0) {
    let request = null;
    try {
      if (c.body === null) {
        request = parseRequest(c.unread);
        if (request === null) break;
        c.take(request.length);
        answer(c, request);
      } else {
        c.body.write(c.take(c.body.left));
        if (c.body.left === 0) finishBody(c);
      }
    } catch (status) {
      if (typeof status !== 'number') throw status;
      refuse(c, status, request);
    }
  }
  c.keepRest();
}

function answer(c, request) {
  const { method, headers, bodyBytes } = request;
  if (bodyBytes === -2) throw 411; // chunked: this server wants to know the length first
  if (headers.has('expect') && headers.get('expect').toLowerCase() !== '100-continue') throw 417;
  if (method === 'PUT' && options.upload !== undefined) {
    if (bodyBytes < 0) throw 411;
    c.body = new Upload(options.upload, files.pathOf(request.target), request, `${mctx.worker}-${c.s}`);
    if (bodyBytes === 0) finishBody(c);
    else if (headers.has('expect')) c.continue();
    return;
  }
  if (method !== 'GET' && method !== 'HEAD') throw /^(PUT|POST|DELETE|PATCH|OPTIONS|TRACE|CONNECT)$/.test(method) ? 405 : 501;
  if (bodyBytes > 0) c.body = new Discard(bodyBytes);
  c.reply(request, fileReply(files, request));
}

function finishBody(c) {
  const { body } = c;
  c.body = null;
  const status = body.finish();
  if (status !== 0) c.reply(body.request, { status, fields: status === 204 ? [] : ['Content-Length: 0'] });
}

/** An error's reply. Unless the request was understood to its end, the connection ends with it. */
function refuse(c, status, request) {
  const bytes = Buffer.from(`${status} ${STATUS[status]}\n`);
  const fields = ['Content-Type: text/plain', `Content-Length: ${bytes.length}`];
  if (status === 405) fields.push(`Allow: GET, HEAD${options.upload === undefined ? '' : ', PUT'}`);
  const whole = request !== null && (request.bodyBytes === 0 || request.bodyBytes === -1);
  c.moreComes = !whole;
  const about = { version: request?.version ?? 1, keepAlive: whole && request.keepAlive };
  c.reply(about, { status, fields, file: { bytes }, left: request?.method === 'HEAD' ? 0 : bytes.length });
}

let result = mtcp.bind(mctx, listener, endpoint(options.listen, 'listen'));
if (result === 0) result = mtcp.listen(mctx, listener, 4096);
if (result < 0) throw usageError(`--listen ${options.listen}: ${mtcp.errnoMessage(result)}`);
mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_ADD, listener, { events: mtcp.EPOLLIN });
mtcp.run(mctx, ep, serve);
