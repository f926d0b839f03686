/**
 * A client on the kernel's own stack of an echo server, run inside a namespace:
 * `node kernelClient.js ADDRESS PORT BYTES PIECE PAUSE_MS`. Sends BYTES of a pattern in pieces of PIECE bytes and then its FIN, reads nothing for
 * PAUSE_MS first, verifies that all came back and that the server's FIN followed. Prints one JSON line.
 */
import { createHash } from 'node:crypto';
import { connect } from 'node:net';

const [address, port, bytes, piece, pauseMs] = process.argv.slice(2).map((x, i) => (i === 0 ? x : Number(x))) as [
  string,
  number,
  number,
  number,
  number,
];
const sent = createHash('sha256');
const got = createHash('sha256');
let out = 0;
let back = 0;
let stalled = 0;
const started = Date.now();

// allowHalfOpen: the FIN goes when all is written, whatever came back by then.
const socket = connect({ host: address, port, noDelay: true, allowHalfOpen: true }, () => {
  socket.pause();
  pump();
  setTimeout(() => {
    stalled = out - socket.writableLength;
    socket.resume();
  }, pauseMs);
});

function pump(): void {
  for (;;) {
    if (out === bytes) return void socket.end();
    const b = Buffer.allocUnsafe(Math.min(piece, bytes - out));
    for (let i = 0; i < b.length; i++) b[i] = Math.imul(out + i, 0x9e3779b1) >>> 24;
    sent.update(b);
    out += b.length;
    // One at a time where pieces are single bytes, so that each is a segment.
    if (!socket.write(b)) return void socket.once('drain', pump);
    if (piece < 100) return void setImmediate(pump);
  }
}

socket.on('data', (data) => {
  got.update(data);
  back += data.length;
});
socket.on('error', (error) => {
  console.log(JSON.stringify({ error: error.message, out, back }));
  process.exit(1);
});
socket.on('end', () => {
  const equal = sent.digest('hex') === got.digest('hex');
  console.log(JSON.stringify({ equal, out, back, stalled, ms: Date.now() - started }));
  process.exit(equal && back === bytes ? 0 : 1);
});
