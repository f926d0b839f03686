// Every datagram goes back to its sender. `flowring run bench/servers/udp.mjs -- PORT`; prints `listening ADDRESS:PORT`.
import * as mtcp from 'flowring/mtcp';

/** Datagrams taken in one turn: what is left comes with the next breath. */
const TURN = 64;
const port = Number(process.argv[2]);
const mctx = mtcp.createContext();
const ep = mtcp.epollCreate(mctx, 16);
const socket = mtcp.socket(mctx, mtcp.AF_INET, mtcp.SOCK_DGRAM, mtcp.IPPROTO_UDP);
const buffer = new Uint8Array(2048);
const from = { address: 0, port: 0 };
const readable = { events: mtcp.EPOLLIN };
const writable = { events: mtcp.EPOLLOUT };
/** Length of what could not be sent yet, -1 when there is nothing. */
let held = -1;

function serve() {
  if (held >= 0) {
    if (mtcp.sendto(mctx, socket, buffer, 0, held, from) === -mtcp.EAGAIN) return;
    held = -1;
    mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_MOD, socket, readable);
  }
  for (let i = 0; i < TURN; i++) {
    const n = mtcp.recvfrom(mctx, socket, buffer, 0, buffer.length, from);
    if (n < 0) return;
    if (mtcp.sendto(mctx, socket, buffer, 0, n, from) !== -mtcp.EAGAIN) continue;
    held = n;
    mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_MOD, socket, writable);
    return;
  }
}

const result = socket < 0 ? socket : mtcp.bind(mctx, socket, { port });
if (result < 0) throw new Error(`port ${port}: ${mtcp.errnoMessage(result)}`);
mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_ADD, socket, readable);
mtcp.run(mctx, ep, serve);
console.log(`listening ${mctx.address}:${port}`);
