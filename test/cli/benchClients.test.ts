// The benches' clients find what is wrong: servers that flip a byte, lose one, answer another body or another status. And they find
// nothing where nothing is.
import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { clientProblem, runLoad } from '../../bench/client.ts';
import type { Mode, Tally } from '../../bench/load.ts';

const HOST = '127.0.0.1';
const NODE_CLIENT = fileURLToPath(new URL('../../../bench/clients/node.mjs', import.meta.url));
const NODE_SERVER = fileURLToPath(new URL('../../../bench/servers/node.mjs', import.meta.url));
const SECONDS = 0.3;
/** A datagram is lost after half a second. */
const LOSS_SECONDS = 1;
const SIZES: Readonly<Record<Mode, number>> = { echo: 64, short: 64, sink: 65536, source: 65536, http: 1, 'http-close': 1, udp: 64 };
const MODES = Object.keys(SIZES) as Mode[];

/** One round of the compiled client. */
async function kernelRound(mode: Mode, port: number, seconds = SECONDS): Promise<Tally> {
  return runLoad({ address: HOST, port, prefix: (c) => [...c] }, { mode, connections: 4, size: SIZES[mode] }, 0, seconds);
}

/** One round of the client in JavaScript. */
async function nodeRound(mode: Mode, port: number, seconds = SECONDS): Promise<Tally> {
  const p = spawn(process.execPath, [NODE_CLIENT], { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    const load = { mode, address: HOST, port, connections: 4, size: SIZES[mode], warm: 0, seconds };
    const answer = new Promise<Tally>((done, fail) => {
      createInterface({ input: p.stdout }).on('line', (line) => line.startsWith('{') && done(JSON.parse(line) as Tally));
      p.on('exit', (code) => fail(new Error(`the client ended with ${code}`)));
    });
    p.stdin.write(`${JSON.stringify(load)}\n`);
    return await answer;
  } finally {
    p.kill();
  }
}

type Round = (mode: Mode, port: number, seconds?: number) => Promise<Tally>;
const noCompiler = clientProblem();
const CLIENTS: [string, Round, readonly Mode[]][] = [['the client on node:net', nodeRound, MODES]];
if (noCompiler === null) CLIENTS.push(['the C client', kernelRound, MODES]);
else process.stdout.write(`SKIP ${noCompiler}\n`);

/** Node's server of the benches for a mode. */
async function startServer(mode: Mode): Promise<{ port: number; child: ChildProcess }> {
  const kind = { short: 'echo', 'http-close': 'http' }[mode as string] ?? mode;
  const child = spawn(process.execPath, [NODE_SERVER, kind, '0', HOST], { stdio: ['ignore', 'pipe', 'inherit'] });
  const port = await new Promise<number>((done, fail) => {
    createInterface({ input: child.stdout! }).on('line', (line) => done(Number(/:(\d+)$/.exec(line)?.[1])));
    child.on('exit', (code) => fail(new Error(`the server ended with ${code}`)));
  });
  return { port, child };
}

for (const [name, round, modes] of CLIENTS)
  for (const mode of modes)
    test(`${name} finds nothing wrong with ${mode} where nothing is`, async () => {
      const { port, child } = await startServer(mode);
      try {
        const t = await round(mode, port);
        assert.equal([t.wrong, t.failed], [0, 0], JSON.stringify(t));
        assert.ok(t.total > 0 && t.seconds > 0, JSON.stringify(t));
        if (mode !== 'sink' && mode !== 'source') assert.ok(t.p50 > 0 && t.p99 >= t.p50, JSON.stringify(t));
      } finally {
        child.kill();
      }
    });

/** Every 20th answer is not what it should be. */
const EACH = 20;
const head = (status: string, bytes: number): string => `HTTP/1.1 ${status}\r\nContent-Length: ${bytes}\r\n`;
let turn = 0;
const due = (): boolean => ++turn % EACH === 0;
const flipped = (data: Buffer): Buffer => {
  const copy = Buffer.from(data);
  if (due()) copy[copy.length - 1]! ^= 1;
  return copy;
};

/** Servers with a fault, by what is wrong with them. */
const FAULTS: [string, Mode, (socket: Socket) => void][] = [
  ['a byte of an echo', 'echo', (s) => s.on('data', (d) => s.write(flipped(d)))],
  ['a byte too many', 'echo', (s) => s.on('data', (d) => s.write(due() ? Buffer.concat([d, Buffer.of(0)]) : d))],
  ['a byte of a short connection', 'short', (s) => s.on('data', (d) => s.write(flipped(d)))],
  ['the count of a sink', 'sink', (s) => s.on('data', () => {}).on('end', () => s.end('1 0\n'))],
  ['pieces that a sink found wrong', 'sink', sinkWithFault],
  ['the first byte of a source', 'source', (s) => s.write(Buffer.alloc(1 << 20, 0xee))],
  ['a body', 'http', (s) => s.on('data', () => s.write(`${head('200 OK', 13)}\r\nHello, ${due() ? 'World?' : 'World!'}`))],
  ['a length', 'http', (s) => s.on('data', () => s.write(`${head('200 OK', 14)}\r\nHello, World!!`))],
  ['a status', 'http', (s) => s.on('data', () => s.write(`${head('500 No', 13)}\r\nHello, World!`))],
  ['a closing answer', 'http-close', (s) => s.on('data', () => s.end(`${head('200 OK', 13)}\r\nHello, world!`))],
];

function sinkWithFault(socket: Socket): void {
  let bytes = 0;
  socket.on('data', (d) => {
    bytes += d.length;
  });
  socket.on('end', () => socket.end(`${bytes} 3\n`));
}

async function listening(serve: (socket: Socket) => void): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    serve(socket);
  });
  await new Promise<void>((done) => server.listen(0, HOST, done));
  return server;
}

for (const [name, round] of CLIENTS) {
  for (const [what, mode, serve] of FAULTS)
    test(`${name} finds ${what} wrong (${mode})`, async () => {
      const sockets = new Set<Socket>();
      const server = await listening((s) => {
        sockets.add(s);
        serve(s);
      });
      try {
        const t = await round(mode, (server.address() as AddressInfo).port);
        assert.ok(t.wrong > 0, JSON.stringify(t));
      } finally {
        for (const s of sockets) s.destroy();
        server.close();
      }
    });

  test(`${name} counts connections that break`, async () => {
    const server = await listening((s) => s.on('data', () => s.destroy()));
    const t = await round('echo', (server.address() as AddressInfo).port);
    server.close();
    assert.ok(t.failed > 0, JSON.stringify(t));
  });

  test(`${name} finds a wrong datagram, and counts a lost one`, async () => {
    for (const [answer, field] of [
      [(m: Buffer) => flipped(m), 'wrong'],
      [(m: Buffer) => (due() ? null : m), 'lost'],
    ] as const) {
      const socket = createSocket('udp4');
      socket.on('message', (m, from) => {
        const out = answer(m);
        if (out !== null) socket.send(out, from.port, from.address);
      });
      await new Promise<void>((done) => socket.bind(0, HOST, done));
      const t = await round('udp', socket.address().port, LOSS_SECONDS);
      socket.close();
      assert.ok(t[field] > 0, `${field}: ${JSON.stringify(t)}`);
    }
  });
}

test.run();
