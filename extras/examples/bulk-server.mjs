// Takes bulk data from any number of connections, or sends it: one way, as fast as it goes, each byte checked by who gets it.
//
//   flowring run bulk-server --nic tap:tap0 --address 192.0.2.2/24 -- --listen 9999            takes
//   flowring run bulk-server --nic tap:tap0 --address 192.0.2.2/24 -- --listen 9999 --send     sends
//
// Each worker counts what came to it and says it on ^C, and every --report seconds: connections, bytes, and Gbit/s between
// the first byte and the last.
import * as mtcp from 'flowring/mtcp';
import { endpoint, number, readOptions, usageError } from './lib/options.mjs';
import { makePattern, patternAfter, wrongBytes } from './lib/pattern.mjs';

const options = readOptions('bulk-server [--listen PORT] [--send] [--report SECONDS] [--quiet]', {
  listen: { type: 'string', default: '9999' },
  send: { type: 'boolean', default: false },
  report: { type: 'string' },
  quiet: { type: 'boolean', default: false },
});

const mctx = mtcp.createContext();
const ep = mtcp.epollCreate(mctx, 4096);
const listener = mtcp.socket(mctx, mtcp.AF_INET, mtcp.SOCK_STREAM, 0);
const PIECE = 262144;
const pattern = makePattern(PIECE);
const buffer = new Uint8Array(PIECE);
const counters = mctx.counters.v;
const interest = { events: mtcp.EPOLLIN | (options.send ? mtcp.EPOLLOUT : 0) };

// By socket: where its connection stands in the pattern. Sockets are numbers below maxConcurrency.
const conf = {};
mtcp.getconf(conf);
const at = new Int32Array(conf.maxConcurrency);

let open = 0;
let bytes = 0;
let firstMs = 0;
let lastMs = 0;

function count(s, n) {
  lastMs = mtcp.nowMs(mctx);
  if (bytes === 0) firstMs = lastMs;
  bytes += n;
  at[s] = patternAfter(at[s], n);
}

function welcome() {
  for (let s = mtcp.accept(mctx, listener); s >= 0; s = mtcp.accept(mctx, listener)) {
    at[s] = 0;
    open++;
    counters[mtcp.C_APP_CONNECTIONS]++;
    mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_ADD, s, interest);
  }
}

function end(s) {
  open--;
  mtcp.close(mctx, s);
}

function take(s) {
  const n = mtcp.read(mctx, s, buffer);
  if (n === -mtcp.EAGAIN) return;
  if (n <= 0) return end(s);
  const wrong = wrongBytes(pattern, at[s], buffer, n);
  counters[mtcp.C_APP_WRONG_BYTES] += wrong;
  counters[mtcp.C_APP_BYTES_VERIFIED] += n - wrong;
  count(s, n);
}

/** As much as the send buffer takes; a peer that says anything, or goes, has had enough. */
function give(s, bits) {
  if ((bits & mtcp.EPOLLIN) !== 0) return end(s);
  const n = mtcp.write(mctx, s, pattern, at[s], PIECE);
  if (n > 0) count(s, n);
  else if (n !== -mtcp.EAGAIN) end(s);
}

function report() {
  const ms = Math.max((lastMs - firstMs) | 0, 1);
  const rate = ((bytes * 8) / ms / 1e6).toFixed(3);
  const way = options.send ? 'sent' : `received, ${counters[mtcp.C_APP_WRONG_BYTES]} wrong`;
  console.log(
    `bulk-server: worker ${mctx.worker}: ${counters[mtcp.C_APP_CONNECTIONS]} connections, ${open} open, ${rate} Gbit/s, ${bytes} bytes ${way}`,
  );
}

let result = mtcp.bind(mctx, listener, endpoint(options.listen, 'listen'));
if (result === 0) result = mtcp.listen(mctx, listener, 4096);
if (result < 0) throw usageError(`bulk-server: --listen ${options.listen}: ${mtcp.errnoMessage(result)}`);
mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_ADD, listener, { events: mtcp.EPOLLIN });
mtcp.run(mctx, ep, (events, n) => {
  for (let i = 0; i < n; i++) {
    const s = events.socket[i];
    if (s === listener) welcome();
    else if (options.send) give(s, events.events[i]);
    else take(s);
  }
});
const every = number(options, 'report', 0.1, 1e6);
if (every !== undefined) setInterval(report, every * 1000).unref();
if (!options.quiet) {
  mtcp.registerSignal(mtcp.SIGINT, report);
  mtcp.registerSignal(mtcp.SIGTERM, report);
  console.log(`bulk-server: worker ${mctx.worker} of ${mctx.workers} serves ${mctx.address}, port ${options.listen}`);
}
