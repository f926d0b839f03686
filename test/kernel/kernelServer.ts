/**
 * A server on the kernel's own stack, run inside a namespace: `node kernelServer.js http|echo|sink PORT`.
 * `http` answers 200 with as many bytes as the path says (`/bytes/1024`); `echo` sends back what comes, `sink` only counts it and closes when the client has.
 * Prints `ready` when it listens. On SIGTERM it prints one JSON line of what it has served and ends.
 */
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';

const [kind, port] = process.argv.slice(2);
const served = { connections: 0, requests: 0, bytes: 0 };

const http = createHttpServer((request, response) => {
  const bytes = Number(/^\/bytes\/(\d+)$/.exec(request.url ?? '')?.[1] ?? 'NaN');
  served.requests++;
  if (!Number.isInteger(bytes)) {
    response.writeHead(404, { 'content-length': 0 }).end();
    return;
  }
  served.bytes += bytes;
  response.writeHead(200, { 'content-length': bytes }).end(Buffer.alloc(bytes, 'x'));
});

const echo = createServer((socket) => {
  socket.setNoDelay(true);
  socket.on('data', (data) => {
    served.bytes += data.length;
  });
  socket.on('error', () => socket.destroy());
  socket.pipe(socket);
});

const sink = createServer((socket) => {
  socket.on('data', (data) => {
    served.bytes += data.length;
  });
  socket.on('error', () => socket.destroy());
});

const server = kind === 'http' ? http : kind === 'sink' ? sink : echo;
server.on('connection', () => served.connections++);
server.listen(Number(port), '192.0.2.1', 1024, () => process.stdout.write('ready\n'));
process.on('SIGTERM', () => {
  process.stdout.write(`${JSON.stringify(served)}\n`, () => process.exit(0));
});
