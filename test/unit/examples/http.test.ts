import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EPOLLIN, EPOLLRDHUP } from '../../../src/stack/sockets.ts';
import { FakeLink } from '../api/fakeLink.ts';
import { FakeWorker } from '../api/fakeWorker.ts';
import { outcomeOf, runProgram } from './program.ts';

const SEED = Number(process.env.SEED ?? Date.now() & 0xffff);
console.log(`SEED=${SEED}`);

const directory = mkdtempSync(join(tmpdir(), 'flowring-http-'));
const root = join(directory, 'root');
const upload = join(directory, 'upload');
for (const d of [root, upload, join(root, 'sub')]) mkdirSync(d);
const big = Buffer.alloc((1 << 20) + 123_457, 'big file ').map((b, i) => b ^ (i >> 9));
writeFileSync(join(root, 'index.html'), '<p>home</p>');
writeFileSync(join(root, 'sub', 'a b.txt'), '0123456789');
writeFileSync(join(root, 'empty'), '');
writeFileSync(join(root, 'big.bin'), big);
writeFileSync(join(directory, 'secret'), 'secret');
symlinkSync(join(directory, 'secret'), join(root, 'link'));

/** What the server answers to raw bytes on one connection, until it has nothing more to say. */
class Wire {
  readonly server = new FakeWorker();
  readonly s: number;
  private got: Buffer = Buffer.alloc(0);

  private constructor(room: number) {
    const { sockets } = this.server;
    this.s = sockets.connected(room);
  }

  static async open(args: string[] = [], room = 1 << 30): Promise<Wire> {
    const wire = new Wire(room);
    await runProgram('http-server', wire.server, ['--root', root, ...args]);
    const { sockets } = wire.server;
    const listener = sockets.all.findIndex((f) => f.backlog > 0);
    sockets.all[listener]!.accepts.push(wire.s);
    sockets.ready.raise(listener, EPOLLIN);
    return wire;
  }

  get socket() {
    return this.server.sockets.all[this.s]!;
  }

  breathe(): void {
    for (let i = 0; i < 1000 && this.server.handler!() === true; i++);
  }

  /** Sends text or bytes and returns all that came back. */
  ask(request: string | Uint8Array): string {
    this.server.sockets.receive(this.s, Buffer.from(request as string, 'latin1'));
    this.breathe();
    this.got = Buffer.from(this.socket.outbox.splice(0));
    return this.got.toString('latin1');
  }

  get body(): Buffer {
    return this.got.subarray(this.got.indexOf('\r\n\r\n') + 4);
  }
}

const get = (target: string, ...fields: string[]): string =>
  `GET ${target} HTTP/1.1\r\nHost: x\r\n${fields.map((f) => `${f}\r\n`).join('')}\r\n`;
const status = (reply: string): string => reply.slice(9, 12);

test('GET: types, lengths, index, names in percent form', async () => {
  const wire = await Wire.open();
  const home = wire.ask(get('/?q=1'));
  assert.match(home, /^HTTP\/1\.1 200 OK\r\n/);
  assert.match(home, /\r\nContent-Type: text\/html; charset=utf-8\r\n/);
  assert.match(home, /\r\nContent-Length: 11\r\n/);
  assert.is(String(wire.body), '<p>home</p>');
  wire.ask(get('/sub/a%20b.txt'));
  assert.is(String(wire.body), '0123456789');
  assert.match(wire.ask(get('/empty')), /Content-Length: 0\r\n/);
  assert.is(wire.socket.open, true, 'HTTP/1.1 keeps the connection');
});

test('HEAD has the same head and no body; 304 for the date that was given', async () => {
  const wire = await Wire.open();
  const head = wire.ask('HEAD /big.bin HTTP/1.1\r\nHost: x\r\n\r\n');
  assert.match(head, new RegExp(`Content-Length: ${big.length}\r\n`));
  assert.is(wire.body.length, 0);
  const date = /Last-Modified: (.*)\r\n/.exec(head)![1]!;
  assert.is(status(wire.ask(get('/big.bin', `If-Modified-Since: ${date}`))), '304');
  assert.is(wire.body.length, 0);
});

test('single ranges', async () => {
  const wire = await Wire.open();
  for (const [range, body, content] of [
    ['bytes=2-4', '234', 'bytes 2-4/10'],
    ['bytes=7-', '789', 'bytes 7-9/10'],
    ['bytes=-3', '789', 'bytes 7-9/10'],
    ['bytes=-30', '0123456789', 'bytes 0-9/10'],
    ['bytes=0-99', '0123456789', 'bytes 0-9/10'],
  ] as const) {
    const reply = wire.ask(get('/sub/a%20b.txt', `Range: ${range}`));
    assert.is(status(reply), '206', range);
    assert.is(String(wire.body), body);
    assert.ok(reply.includes(`Content-Range: ${content}\r\n`), reply);
  }
  for (const range of ['bytes=10-', 'bytes=-0']) {
    const reply = wire.ask(get('/sub/a%20b.txt', `Range: ${range}`));
    assert.is(status(reply), '416', range);
    assert.ok(reply.includes('Content-Range: bytes */10\r\n'));
  }
  for (const range of ['bytes=1-2,4-5', 'lines=1-2', 'bytes=5-2', 'bytes=-']) {
    assert.is(status(wire.ask(get('/sub/a%20b.txt', `Range: ${range}`))), '200', `${range} is ignored`);
  }
  assert.is(status(wire.ask(get('/sub/a%20b.txt', 'Range: bytes=1-2', 'If-Range: Thu, 01 Jan 1970 00:00:00 GMT'))), '200');
  wire.ask(get('/big.bin', 'Range: bytes=70000-1100000'));
  assert.ok(wire.body.equals(big.subarray(70000, 1100001)));
});

test('nothing outside the root', async () => {
  const wire = await Wire.open();
  for (const [target, expected] of [
    ['/../secret', '403'],
    ['/sub/../../secret', '403'],
    ['/%2e%2e/secret', '403'],
    ['/sub/%2e%2e%2f%2e%2e%2fsecret', '403'],
    ['/link', '403'],
    ['/..%5csecret', '400'],
    ['/a%00b', '400'],
    ['/%zz', '400'],
    ['secret', '400'],
    ['/none', '404'],
    ['/sub', '404'],
    ['/sub/', '404'],
  ] as const) {
    const reply = wire.ask(get(target));
    assert.is(status(reply), expected, target);
    assert.not.match(reply, /\r\n\r\nsecret/);
  }
  assert.is(status(wire.ask(get('/'))), '200', 'the connection still serves');
});

test('methods: 405 names what is allowed, 501 for the unknown', async () => {
  assert.match((await Wire.open()).ask('DELETE / HTTP/1.1\r\nHost: x\r\n\r\n'), /^HTTP\/1.1 405 .*\r\nAllow: GET, HEAD\r\n/s);
  assert.is(status((await Wire.open()).ask('BREW / HTTP/1.1\r\nHost: x\r\n\r\n')), '501');
  const put = await Wire.open();
  assert.is(status(put.ask('PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n')), '405', 'without --upload');
  assert.is(put.socket.down, 1, 'sends FIN and waits, so that no reset destroys the reply');
  put.server.sockets.set(put.s, { eof: true }, EPOLLIN | EPOLLRDHUP);
  put.breathe();
  assert.is(put.socket.open, false);
});

test('keep-alive of HTTP/1.0 and 1.1', async () => {
  const old = await Wire.open();
  assert.match(old.ask('GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n'), /\r\nConnection: keep-alive\r\n/);
  assert.is(old.socket.open, true);
  assert.match(old.ask('GET / HTTP/1.0\r\n\r\n'), /\r\nConnection: close\r\n/);
  assert.is(old.socket.open, false);
  const now = await Wire.open();
  assert.not.match(now.ask(get('/')), /Connection/);
  assert.match(now.ask(get('/', 'Connection: close')), /\r\nConnection: close\r\n/);
  assert.is(now.socket.open, false);
});

test('pipelined requests are answered in order, however they are cut, and thousands of them', async () => {
  const wire = await Wire.open();
  const all = wire.ask(get('/sub/a%20b.txt', 'Range: bytes=1-1') + get('/none') + get('/sub/a%20b.txt', 'Range: bytes=2-2'));
  assert.equal(all.match(/HTTP\/1.1 ([0-9]+)/g), ['HTTP/1.1 206', 'HTTP/1.1 404', 'HTTP/1.1 206']);
  assert.ok(all.endsWith('\r\n\r\n2'));
  const request = get('/empty');
  let replies = '';
  for (let i = 0; i < request.length; i++) replies += wire.ask(request[i]!);
  assert.is(status(replies), '200');
  assert.is(wire.ask(request.repeat(5000)).match(/ 200 OK/g)!.length, 5000);
});

test('a GET with a body reads past it', async () => {
  const wire = await Wire.open();
  const replies = wire.ask(`${get('/empty', 'Content-Length: 4')}GET ${get('/none')}`);
  assert.equal(replies.match(/HTTP\/1.1 ([0-9]+)/g), ['HTTP/1.1 200', 'HTTP/1.1 404']);
});

test('what is no request ends the connection', async () => {
  for (const [bytes, expected] of [
    ['nonsense\r\n\r\n', '400'],
    ['GET / HTTP/2.0\r\n\r\n', '505'],
    ['GET / HTTP/1.1\r\n\r\n', '400'],
    [get('/', 'Bad Name: 1'), '400'],
    [get('/', 'Content-Length: 1', 'Content-Length: 2'), '400'],
    [get('/', 'Content-Length: 1', 'Transfer-Encoding: chunked'), '400'],
    [get('/', 'Content-Length: -1'), '400'],
    [get('/', 'Transfer-Encoding: chunked'), '411'],
    [get('/', 'Expect: tea'), '417'],
    [`GET / HTTP/1.1\r\nX: ${'x'.repeat(20000)}`, '431'],
  ] as const) {
    const wire = await Wire.open();
    const reply = wire.ask(bytes);
    assert.is(status(reply), expected, bytes.slice(0, 60));
    assert.ok(expected === '417' || !wire.socket.open || wire.socket.down === 1, bytes.slice(0, 60));
  }
});

test('a reply larger than the send buffer goes on as room appears', async () => {
  const wire = await Wire.open([], 1000);
  let body = wire.ask(get('/big.bin'));
  for (let i = 0; body.length < big.length && i < 3000; i++) {
    wire.server.sockets.set(wire.s, { room: 500 + ((i * 7919) % 3000) }, 4);
    wire.breathe();
    body += Buffer.from(wire.socket.outbox.splice(0)).toString('latin1');
  }
  assert.is(sha(Buffer.from(body.slice(body.indexOf('\r\n\r\n') + 4), 'latin1')), sha(big));
});

test('PUT with --upload: Expect, a part file that becomes the file, 201 then 204; a broken one leaves nothing', async () => {
  const wire = await Wire.open(['--upload', upload]);
  assert.is(
    wire.ask(`PUT /new.bin HTTP/1.1\r\nHost: x\r\nContent-Length: ${big.length}\r\nExpect: 100-continue\r\n\r\n`),
    'HTTP/1.1 100 Continue\r\n\r\n',
  );
  assert.is(wire.ask(big.subarray(0, 300_000)), '');
  assert.is(readdirSync(upload).length, 1);
  for (let at = 300_000; at < big.length; at += 100_000) wire.ask(big.subarray(at, at + 100_000));
  assert.equal(readdirSync(upload), ['new.bin']);
  assert.is(sha(readFileSync(join(upload, 'new.bin'))), sha(big));
  assert.is(status(wire.ask('PUT /new.bin HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi')), '204');
  assert.is(status(wire.ask('PUT /zero HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n')), '201');
  wire.ask('PUT /broken HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc');
  wire.server.sockets.set(wire.s, { eof: true }, EPOLLIN);
  wire.breathe();
  assert.equal(readdirSync(upload).sort(), ['new.bin', 'zero']);
  assert.is(status((await Wire.open(['--upload', upload])).ask('PUT /../x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n')), '403');
});

const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

async function fetchWith(args: string[], path = '/sub/a%20b.txt') {
  const server = new FakeWorker();
  await runProgram('http-server', server, ['--root', root]);
  const client = new FakeWorker();
  Object.defineProperty(client, 'workers', { value: 1 });
  const link = new FakeLink(client, server, SEED);
  const outcome = await outcomeOf(() => runProgram('http-client', client, ['--url', `http://192.0.2.1${path}`, ...args]));
  return { ...outcome, link, connections: client.counters.v[72]!, operations: client.counters.v[74]! };
}

test('client against server: new connections, kept ones, and a file', async () => {
  const fresh = await fetchWith(['--requests', '40', '--concurrency', '5']);
  assert.is(fresh.exitCode, 0, fresh.lines.join('\n'));
  assert.equal([fresh.connections, fresh.operations], [40, 40]);
  assert.match(fresh.lines[0]!, /40 requests in .* 0 failed/);
  assert.match(fresh.lines[1]!, /p50 [0-9.]+ p90 .* max /);
  const kept = await fetchWith(['--requests', '40', '--concurrency', '5', '--keep-alive']);
  assert.equal([kept.exitCode, kept.connections, kept.operations], [0, 5, 40]);
  const file = join(directory, 'got');
  assert.is((await fetchWith(['--output', file], '/big.bin')).exitCode, 0);
  assert.is(sha(readFileSync(file)), sha(big));
});

test('client: seconds, rate, and failures', async () => {
  const timed = await fetchWith(['--seconds', '0.3', '--rate', '100', '--concurrency', '4', '--keep-alive']);
  assert.is(timed.exitCode, 0, timed.lines.join('\n'));
  assert.ok(timed.operations >= 25 && timed.operations <= 31, `${timed.operations} requests in 0.3 s at 100/s`);
  const missing = await fetchWith(['--requests', '3'], '/none');
  assert.is(missing.exitCode, 1);
  assert.match(missing.lines[0]!, /status 404/);
});

test('responses: chunked, until the end, interim, and what is none', async () => {
  const replies: [string, string, number][] = [
    ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\nabc\r\n0A\r\n0123456789\r\n0\r\nT: 1\r\n\r\n', 'abc0123456789', 0],
    ['HTTP/1.0 200 OK\r\n\r\nall of it', 'all of it', 0],
    ['HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', 'ok', 0],
    ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nshort', 'short', 0],
    ['HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nshort', 'short', 1],
    ['SSH-2.0-x\r\n\r\n', '', 1],
    ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n', '', 1],
  ];
  for (const [bytes, body, code] of replies) {
    const server = new FakeWorker();
    server.sockets.open();
    Object.assign(server.sockets.all[0]!, { port: 80, backlog: 1 });
    server.handler = () => {
      const s = server.sockets.all[0]!.accepts.shift();
      if (s === undefined) return;
      server.sockets.all[s]!.outbox.push(...Buffer.from(bytes, 'latin1'));
      server.sockets.close(s);
    };
    const client = new FakeWorker();
    Object.defineProperty(client, 'workers', { value: 1 });
    new FakeLink(client, server, SEED);
    const file = join(directory, 'reply');
    const { exitCode } = await outcomeOf(() => runProgram('http-client', client, ['--url', 'http://192.0.2.1/', '--output', file]));
    assert.is(exitCode, code, bytes);
    assert.is(readFileSync(file, 'latin1'), body, bytes);
  }
});

test('work is divided among workers to the last piece', async () => {
  const { library } = await import('./program.ts');
  const { share } = await library('options');
  const { Histogram } = await library('histogram');
  for (const [total, n] of [
    [10, 3],
    [2, 4],
    [7, 7],
  ] as const) {
    assert.is(
      Array.from({ length: n }, (_, w) => share(total, w, n)).reduce((a: number, b: number) => a + b),
      total,
    );
  }
  const h = new Histogram();
  for (let i = 1; i <= 100_000; i++) h.add(i);
  for (const p of [0.001, 0.5, 0.9, 0.99, 0.999])
    assert.ok(Math.abs(h.percentile(p) / (p * 100_000) - 1) < 0.035, `${p}: ${h.percentile(p)}`);
  assert.is(h.percentile(1), 100_000);
});

test.after(() => rmSync(directory, { recursive: true }));
test.run();
