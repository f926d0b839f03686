// Sends a datagram with its time every so often and prints what the server says: how long each took to its handler.
//
//   node bench/clients/wake.mjs ADDRESS PORT COUNT EVERY_MS      →  {"n":…,"p50":…,"p99":…} in microseconds
import { createSocket } from 'node:dgram';

/** At full speed before the measured ones. */
const WARM_MS = 1000;

const [address, port, count, everyMs] = process.argv.slice(2);
const socket = createSocket('udp4');
const times = [];
socket.on('message', (bytes) => times.push(bytes.readDoubleBE(0) / 1000));
socket.on('error', () => {});
const bytes = Buffer.alloc(64);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const warm = performance.now() + WARM_MS;
let answers = 0;
const send = () => {
  bytes.writeDoubleBE(Number(process.hrtime.bigint()));
  socket.send(bytes, Number(port), address);
};
const answered = () => {
  answers++;
  send();
};
// Code is compiled first, on both sides: one datagram after the other, and anew where one was lost, as the first may be.
socket.on('message', answered);
for (let before = 0; performance.now() < warm; before = answers) {
  if (answers === before) send();
  await pause(50);
}
socket.off('message', answered);
await pause(50);
// Then the pace is found.
for (let i = 0; i < 20 + Number(count); i++) {
  if (i === 20) times.length = 0;
  await pause(Number(everyMs));
  send();
}
await pause(500);
times.sort((a, b) => a - b);
const at = (share) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? null;
process.stdout.write(`${JSON.stringify({ n: times.length, p50: at(0.5), p99: at(0.99) })}\n`);
socket.close();
