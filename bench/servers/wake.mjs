// Answers a datagram that carries when it was sent (nanoseconds of CLOCK_MONOTONIC, a double) with how long it took until this
// handler had it. Runs on flowring, and with `node` in front of its port on node:dgram, with the same few lines.
const [first, second, address] = process.argv.slice(2);

/** Puts the time on the way in the place of the stamp. */
const stamp = (view) => view.setFloat64(0, Number(process.hrtime.bigint()) - view.getFloat64(0));

if (first === 'node') {
  const { createSocket } = await import('node:dgram');
  const socket = createSocket('udp4', (bytes, from) => {
    stamp(new DataView(bytes.buffer, bytes.byteOffset, bytes.length));
    socket.send(bytes, from.port, from.address);
  });
  socket.bind(Number(second), address, () => process.stdout.write(`listening ${address}:${socket.address().port}\n`));
} else {
  const mtcp = await import('flowring/mtcp');
  const { parentPort } = await import('node:worker_threads');
  const mctx = mtcp.createContext();
  const ep = mtcp.epollCreate(mctx, 16);
  const socket = mtcp.socket(mctx, mtcp.AF_INET, mtcp.SOCK_DGRAM, mtcp.IPPROTO_UDP);
  const result = mtcp.bind(mctx, socket, { port: Number(first) });
  if (result < 0) throw new Error(`port ${first}: ${mtcp.errnoMessage(result)}`);
  mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_ADD, socket, { events: mtcp.EPOLLIN });
  const bytes = new Uint8Array(64);
  const view = new DataView(bytes.buffer);
  const from = { address: 0, port: 0 };
  /** Where a bench in this process looks: the time, and a count. */
  let told = null;
  parentPort.on('message', (m) => {
    told = { us: new Float64Array(m.block, 0, 1), count: new Int32Array(m.block, 8, 1) };
  });
  mtcp.run(mctx, ep, () => {
    for (let n = mtcp.recvfrom(mctx, socket, bytes, 0, 64, from); n >= 8; n = mtcp.recvfrom(mctx, socket, bytes, 0, 64, from)) {
      stamp(view);
      if (told === null) mtcp.sendto(mctx, socket, bytes, 0, n, from);
      else {
        told.us[0] = view.getFloat64(0) / 1000;
        Atomics.add(told.count, 0, 1);
        Atomics.notify(told.count, 0);
      }
    }
  });
  console.log('wake: serves');
}
