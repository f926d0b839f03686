// Sends every datagram back to whoever sent it (RFC 862).
//
//   flowring run udp-echo --nic tap:tap0 --address 192.0.2.2/24 -- --listen 7
//
// Every worker runs this file and binds the same port; the flow hash decides which worker a datagram comes to, and the same
// sender's datagrams come to the same one.
import * as mtcp from 'flowring/mtcp';
import { endpoint, readOptions, usageError } from './lib/options.mjs';

const options = readOptions('udp-echo [--listen PORT] [--quiet]', {
  listen: { type: 'string', default: '7' },
  quiet: { type: 'boolean', default: false },
});

const mctx = mtcp.createContext();
const ep = mtcp.epollCreate(mctx, 16);
const socket = mtcp.socket(mctx, mtcp.AF_INET, mtcp.SOCK_DGRAM, mtcp.IPPROTO_UDP);

// Made once and used for every datagram: nothing is allocated while it runs.
const buffer = new Uint8Array(65536);
const from = { address: 0, port: 0 };
const readable = { events: mtcp.EPOLLIN };
const writable = { events: mtcp.EPOLLOUT };

/** Length of a datagram in `buffer` that could not be sent yet, -1 when there is none. */
let held = -1;

function serve() {
  if (held >= 0) {
    if (mtcp.sendto(mctx, socket, buffer, 0, held, from) === -mtcp.EAGAIN) return;
    held = -1;
    mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_MOD, socket, readable);
  }
  for (;;) {
    const n = mtcp.recvfrom(mctx, socket, buffer, 0, buffer.length, from);
    if (n < 0) return;
    mctx.counters.v[mtcp.C_APP_OPERATIONS]++;
    // A sender without a port (RFC 768: an optional field) cannot be answered.
    if (from.port === 0) continue;
    if (mtcp.sendto(mctx, socket, buffer, 0, n, from) !== -mtcp.EAGAIN) continue;
    // No frame to send it in now. It waits, and so does what is unread.
    held = n;
    mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_MOD, socket, writable);
    return;
  }
}

const result = mtcp.bind(mctx, socket, endpoint(options.listen, 'listen'));
if (result < 0) throw usageError(`udp-echo: --listen ${options.listen}: ${mtcp.errnoMessage(result)}`);
mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_ADD, socket, readable);
mtcp.run(mctx, ep, serve);
if (!options.quiet) console.log(`udp-echo: worker ${mctx.worker} of ${mctx.workers} serves ${mctx.address}, port ${options.listen}`);
