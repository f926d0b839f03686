// Sends numbered datagrams as fast as the port takes them: the other end of udp-bulk-server.
//
//   flowring run udp-bulk-client --nic tap:tap1 --address 192.0.2.3/24 -- --connect 192.0.2.2:9999 --seconds 10
//
// Each worker sends from at least one socket of its own, so that the server's flow hash has something to spread. Exit code 1
// when nobody listens there, or nothing was sent.
import * as mtcp from 'flowring/mtcp';
import { integer, number, peer, readOptions, share, usageError } from './lib/options.mjs';

const options = readOptions('udp-bulk-client --connect IP:PORT [--sockets N] [--size BYTES] [--seconds S | --count N] [--quiet]', {
  connect: { type: 'string', default: '' },
  sockets: { type: 'string' },
  size: { type: 'string', default: '1448' },
  seconds: { type: 'string' },
  count: { type: 'string' },
  quiet: { type: 'boolean', default: false },
});
const server = peer(options.connect, 'connect');

const mctx = mtcp.createContext();
const sockets = share(integer(options, 'sockets', 1, 4096) ?? mctx.workers, mctx.worker, mctx.workers);
const size = integer(options, 'size', 4, 65507);
/** Datagrams a socket sends. */
const quota = integer(options, 'count', 1, 0x7fffffff) ?? 0x7fffffff;
const runMs = Math.round((number(options, 'seconds', 0.001, 1e6) ?? (options.count === undefined ? 10 : 1e6)) * 1000);
/** A socket sends this many before the others get their turn. */
const TURN = 256;

const bytes = new Uint8Array(size);
const view = new DataView(bytes.buffer);
const counters = mctx.counters.v;
const ep = mtcp.epollCreate(mctx, 64);
const events = new mtcp.EpollEvents(64);
const socketOf = new Int32Array(sockets);
const sent = new Int32Array(sockets);
let open = sockets;

function finish(k, why) {
  mtcp.close(mctx, socketOf[k]);
  open--;
  if (why !== undefined && counters[mtcp.C_APP_FAILED]++ < 3) console.error(`udp-bulk-client: worker ${mctx.worker}: ${why}`);
}

function send(k) {
  for (let i = 0; i < TURN && sent[k] < quota; i++) {
    view.setInt32(0, sent[k]);
    const n = mtcp.write(mctx, socketOf[k], bytes);
    if (n === -mtcp.EAGAIN) return;
    if (n < 0) return finish(k, mtcp.errnoMessage(n));
    sent[k]++;
    counters[mtcp.C_APP_OPERATIONS]++;
  }
  if (sent[k] >= quota) finish(k);
}

for (let k = 0; k < sockets; k++) {
  const s = mtcp.socket(mctx, mtcp.AF_INET, mtcp.SOCK_DGRAM, mtcp.IPPROTO_UDP);
  const result = s < 0 ? s : mtcp.connect(mctx, s, server);
  if (result < 0) throw usageError(`--connect ${options.connect}: ${mtcp.errnoMessage(result)}`);
  socketOf[k] = s;
  mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_ADD, s, { events: mtcp.EPOLLOUT, data: k });
}

const began = mtcp.nowMs(mctx);
const elapsedMs = () => (mtcp.nowMs(mctx) - began) | 0;
while (open > 0 && elapsedMs() < runMs) {
  const n = mtcp.epollWait(mctx, ep, events, events.max, 100);
  if (n < 0) break; // asked to stop
  for (let i = 0; i < n; i++) send(events.data[i]);
}

const seconds = Math.max(elapsedMs(), 1) / 1000;
const total = sent.reduce((sum, n) => sum + n, 0);
if (!options.quiet) {
  console.log(
    `udp-bulk-client: worker ${mctx.worker}: ${sockets} sockets, ${total} datagrams of ${size} bytes in ${seconds.toFixed(2)} s, ` +
      `${((total * size * 8) / seconds / 1e9).toFixed(3)} Gbit/s`,
  );
}
if (counters[mtcp.C_APP_FAILED] > 0 || (sockets > 0 && total === 0)) process.exitCode = 1;
mtcp.destroyContext(mctx);
