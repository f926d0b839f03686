// Takes datagrams from any number of senders and counts them: how many came, how many of their numbers are missing.
//
//   flowring run udp-bulk-server --nic tap:tap0 --address 192.0.2.2/24 -- --listen 9999
//
// Every worker binds the same port; the flow hash decides which worker a sender's datagrams come to. Each says what came to
// it on ^C, and every --report seconds. The senders are udp-bulk-client's: a datagram begins with its number, int32, from 0.
import * as mtcp from 'flowring/mtcp';
import { endpoint, number, readOptions, usageError } from './lib/options.mjs';

const options = readOptions('udp-bulk-server [--listen PORT] [--report SECONDS] [--quiet]', {
  listen: { type: 'string', default: '9999' },
  report: { type: 'string' },
  quiet: { type: 'boolean', default: false },
});

const mctx = mtcp.createContext();
const ep = mtcp.epollCreate(mctx, 16);
const socket = mtcp.socket(mctx, mtcp.AF_INET, mtcp.SOCK_DGRAM, mtcp.IPPROTO_UDP);
const bytes = new Uint8Array(65536);
const view = new DataView(bytes.buffer);
const from = { address: 0, port: 0 };
const counters = mctx.counters.v;

/** Highest number by sender; and in sum over all senders: numbers that have been passed, of which `came` did come. */
const highest = new Map();
let passed = 0;
let came = 0;
let octets = 0;
let firstMs = 0;
let lastMs = 0;

function count(n) {
  lastMs = mtcp.nowMs(mctx);
  if (came === 0) firstMs = lastMs;
  came++;
  octets += n;
  counters[mtcp.C_APP_OPERATIONS]++;
  const sender = (from.address >>> 0) * 65536 + from.port;
  const before = highest.get(sender) ?? -1;
  const now = n >= 4 ? view.getInt32(0) : before + 1;
  if (now <= before) return;
  passed += now - before;
  highest.set(sender, now);
}

function report() {
  const ms = Math.max((lastMs - firstMs) | 0, 1);
  console.log(
    `udp-bulk-server: worker ${mctx.worker}: ${highest.size} senders, ${came} datagrams, ${octets} bytes, ` +
      `${((octets * 8) / ms / 1e6).toFixed(3)} Gbit/s, ${passed - came} missing`,
  );
}

const result = mtcp.bind(mctx, socket, endpoint(options.listen, 'listen'));
if (result < 0) throw usageError(`udp-bulk-server: --listen ${options.listen}: ${mtcp.errnoMessage(result)}`);
mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_ADD, socket, { events: mtcp.EPOLLIN });
mtcp.run(mctx, ep, () => {
  for (
    let n = mtcp.recvfrom(mctx, socket, bytes, 0, bytes.length, from);
    n >= 0;
    n = mtcp.recvfrom(mctx, socket, bytes, 0, bytes.length, from)
  )
    count(n);
});
const every = number(options, 'report', 0.1, 1e6);
if (every !== undefined) setInterval(report, every * 1000).unref();
if (!options.quiet) {
  mtcp.registerSignal(mtcp.SIGINT, report);
  mtcp.registerSignal(mtcp.SIGTERM, report);
  console.log(`udp-bulk-server: worker ${mctx.worker} of ${mctx.workers} serves ${mctx.address}, port ${options.listen}`);
}
