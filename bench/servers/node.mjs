// The same servers on node:net, node:http and node:dgram: `node bench/servers/node.mjs echo|sink|source|http|udp PORT ADDRESS`.
// Prints `listening ADDRESS:PORT`.
import { createSocket } from 'node:dgram';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import { looksLikePattern, PATTERN, PERIOD } from '../pattern.mjs';

const [mode, port, address] = process.argv.slice(2);
const BODY = 'Hello, World!';
const TCP = { noDelay: true };
/** Whole periods, so that one buffer serves for every write. */
const PIECE = PATTERN.subarray(0, PERIOD);

const SERVERS = {
  echo: () =>
    createServer(TCP, (socket) => {
      socket.on('data', (data) => {
        if (!socket.write(data)) {
          socket.pause();
          socket.once('drain', () => socket.resume());
        }
      });
      socket.on('error', () => socket.destroy());
    }),
  sink: () =>
    createServer({ ...TCP, allowHalfOpen: true }, (socket) => {
      const stream = { bytes: 0, pieces: 0, wrong: 0 };
      socket.on('data', (data) => {
        if (!looksLikePattern(data, data.length, stream.bytes % PERIOD, stream.pieces++)) stream.wrong++;
        stream.bytes += data.length;
      });
      socket.on('end', () => socket.end(`${stream.bytes} ${stream.wrong}\n`));
      socket.on('error', () => socket.destroy());
    }),
  source: () =>
    createServer(TCP, (socket) => {
      const give = () => {
        while (!socket.destroyed && socket.write(PIECE));
      };
      socket.on('drain', give);
      socket.on('end', () => socket.destroy());
      socket.on('error', () => socket.destroy());
      socket.resume();
      give();
    }),
  http: () =>
    createHttpServer((_, response) => {
      response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': BODY.length });
      response.end(BODY);
    }),
};

const said = (at) => process.stdout.write(`listening ${at.address}:${at.port}\n`);
if (mode === 'udp') {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20, sendBufferSize: 4 << 20 });
  socket.on('message', (message, from) => socket.send(message, from.port, from.address));
  socket.bind(Number(port), address, () => said(socket.address()));
} else {
  const server = SERVERS[mode]();
  server.listen({ port: Number(port), host: address, backlog: 4096 }, () => said(server.address()));
}
