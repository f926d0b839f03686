// Sends every byte back to whoever sent it (RFC 862).
//
//   flowring run echo-server --nic tap:tap0 --address 192.0.2.2/24 -- --listen 7
//
// The driver owns the loop here: run() has it call `serve` with the events of each breath. Every worker runs this file and
// listens on the same port; the flow hash decides which worker a connection comes to.
import * as mtcp from 'flowring/mtcp';
import { endpoint, integer, readOptions, usageError } from './lib/options.mjs';

const options = readOptions('echo-server [--listen PORT] [--backlog N] [--quiet]', {
  listen: { type: 'string', default: '7' },
  backlog: { type: 'string', default: '4096' },
  quiet: { type: 'boolean', default: false },
});

const mctx = mtcp.createContext();
const ep = mtcp.epollCreate(mctx, 4096);
const listener = mtcp.socket(mctx, mtcp.AF_INET, mtcp.SOCK_STREAM, 0);

// Made once and used for every connection: nothing is allocated while it runs.
const buffer = new Uint8Array(65536);
const readable = { events: mtcp.EPOLLIN };
const writable = { events: mtcp.EPOLLOUT };

/** Bytes that did not fit into a connection's send buffer, by socket: only while its peer does not read. */
const stalled = new Map();

function serve(events, n) {
  for (let i = 0; i < n; i++) {
    const s = events.socket[i];
    if (s === listener) welcome();
    else if (stalled.has(s)) resume(s);
    else echo(s);
  }
}

function welcome() {
  for (let s = mtcp.accept(mctx, listener); s >= 0; s = mtcp.accept(mctx, listener))
    mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_ADD, s, readable);
}

function echo(s) {
  const n = mtcp.read(mctx, s, buffer);
  if (n === -mtcp.EAGAIN) return;
  // 0: the peer has sent all it will. Below: the connection is broken.
  if (n <= 0) return void mtcp.close(mctx, s);
  const sent = mtcp.write(mctx, s, buffer, 0, n);
  if (sent === n) return;
  if (sent < 0 && sent !== -mtcp.EAGAIN) return void mtcp.close(mctx, s);
  // The peer sends but does not read. Keep the rest and read no more until it is gone: its window closes in turn.
  stalled.set(s, buffer.slice(sent < 0 ? 0 : sent, n));
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

let result = mtcp.bind(mctx, listener, endpoint(options.listen, 'listen'));
if (result === 0) result = mtcp.listen(mctx, listener, integer(options, 'backlog', 1));
if (result < 0) throw usageError(`echo-server: --listen ${options.listen}: ${mtcp.errnoMessage(result)}`);
mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_ADD, listener, readable);
mtcp.run(mctx, ep, serve);
if (!options.quiet) console.log(`echo-server: worker ${mctx.worker} of ${mctx.workers} serves ${mctx.address}, port ${options.listen}`);
