// The two ends of the test of a handler that blocks. `server`: counts the datagrams of each worker, tells who it is, blocks
// when told. `client FLOWS`: sends a fixed number of datagrams on each of so many flows, at a fixed pace.
//
// A datagram's first byte says what it is; the shared words are named in blocked.test.ts.
import { parentPort } from 'node:worker_threads';
import * as mtcp from 'flowring/mtcp';

const DATA = 0;
const WHO = 1;
const BLOCK = 2;
const W_DELIVERED = 0;
const W_DONE = 64;
const W_OWNERS = 65;

const mctx = mtcp.createContext();
const ep = mtcp.epollCreate(mctx, 256);
const buffer = new Uint8Array(64);
const from = { address: 0, port: 0 };
const [, , role, flowsText] = process.argv;

function socket(port) {
  const s = mtcp.socket(mctx, mtcp.AF_INET, mtcp.SOCK_DGRAM, mtcp.IPPROTO_UDP);
  if (mtcp.bind(mctx, s, { address: mtcp.INADDR_ANY, port }) < 0) throw new Error(`bind ${port}`);
  mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_ADD, s, { events: mtcp.EPOLLIN });
  return s;
}

if (role === 'server') {
  const s = socket(7);
  const nap = new Int32Array(new SharedArrayBuffer(4));
  let words = null;
  parentPort.on('message', (m) => {
    words = new Int32Array(m.block);
  });
  mtcp.run(mctx, ep, () => {
    for (;;) {
      const n = mtcp.recvfrom(mctx, s, buffer, 0, buffer.length, from);
      if (n < 0) return;
      if (buffer[0] === DATA) Atomics.add(words, W_DELIVERED + mctx.worker, 1);
      else if (buffer[0] === BLOCK) Atomics.wait(nap, 0, 0, 2000);
      else {
        buffer[1] = mctx.worker;
        mtcp.sendto(mctx, s, buffer, 0, 2, from);
      }
    }
  });
} else {
  const server = { address: '198.18.0.1', port: 7 };
  const sockets = Array.from({ length: Number(flowsText) }, (_, i) => socket(20_000 + i * 7));
  const owners = sockets.map(() => -1);
  const out = new Uint8Array(64);
  /** Datagrams of each flow still to be sent. */
  const owed = sockets.map(() => 0);
  let words = null;
  let blockAt = -1;

  const send = (flow, kind) => {
    out[0] = kind;
    return mtcp.sendto(mctx, sockets[flow], out, 0, out.length, server) > 0;
  };
  const settle = () => {
    owed.forEach((_, f) => {
      while (owed[f] > 0 && send(f, DATA)) owed[f]--;
    });
    if (blockAt >= 0 && send(blockAt, BLOCK)) blockAt = -1;
  };

  mtcp.run(mctx, ep, () => {
    sockets.forEach((s, f) => {
      while (mtcp.recvfrom(mctx, s, buffer) >= 0) owners[f] = buffer[1];
    });
  });

  const ask = setInterval(() => {
    if (owners.includes(-1)) {
      for (let f = 0; f < owners.length; f++) if (owners[f] < 0) send(f, WHO);
      return;
    }
    if (words === null) return;
    clearInterval(ask);
    for (let f = 0; f < owners.length; f++) Atomics.store(words, W_OWNERS + f, owners[f]);
    Atomics.store(words, W_DONE, 1);
  }, 20);

  parentPort.on('message', (m) => {
    if (m.block !== undefined) {
      words = new Int32Array(m.block);
      return;
    }
    // One run: `ticks` × `each` datagrams on each flow, one tick every 10 ms.
    let tick = 0;
    const pace = setInterval(() => {
      if (tick < m.ticks) {
        owed.forEach((_, f) => {
          owed[f] += m.each;
        });
        if (tick === 5 && m.blocked >= 0) blockAt = owners.indexOf(m.blocked);
        tick++;
      }
      settle();
      if (tick < m.ticks || blockAt >= 0 || owed.some((n) => n > 0)) return;
      clearInterval(pace);
      Atomics.store(words, W_DONE, 1);
    }, 10);
  });
}
