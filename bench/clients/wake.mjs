// Sends a datagram with its time every so often and prints what the server says: how long each took to its handler.
//
//   node bench/clients/wake.mjs ADDRESS PORT COUNT EVERY_MS      →  {"n":…,"p50":…,"p99":…} in microseconds
import { createSocket } from 'node:dgram';

const [address, port, count, everyMs] = process.argv.slice(2);
const socket = createSocket('udp4');
const times = [];
socket.on('message', (bytes) => times.push(bytes.readDoubleBE(0) / 1000));
socket.on('error', () => {});
const bytes = Buffer.alloc(64);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
// The way there is learnt first, and code is compiled.
for (let i = 0; i < 20 + Number(count); i++) {
  if (i === 20) times.length = 0;
  await pause(Number(everyMs));
  bytes.writeDoubleBE(Number(process.hrtime.bigint()));
  socket.send(bytes, Number(port), address);
}
await pause(500);
times.sort((a, b) => a - b);
const at = (share) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? null;
process.stdout.write(`${JSON.stringify({ n: times.length, p50: at(0.5), p99: at(0.99) })}\n`);
socket.close();
