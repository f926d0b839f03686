// Sends messages to an echo server and checks every byte that comes back.
//
//   flowring run echo-client --nic tap:tap1 --address 192.0.2.3/24 -- --connect 192.0.2.2:7 --connections 64 --seconds 10
//
// The program owns the loop here, as mTCP's do: while (epollWait(…)) runs the stack. Connections and messages are divided
// among the workers. Exit code 1 when a byte was wrong, a connection failed, or nothing was done.
import * as mtcp from 'flowring/mtcp';
import { makeConnections } from './lib/connections.mjs';
import { integer, number, peer, readOptions, share } from './lib/options.mjs';
import { makePattern, patternAfter, patternStart, wrongBytes } from './lib/pattern.mjs';

const options = readOptions('echo-client --connect IP:PORT [--connections N] [--size BYTES] [--seconds S | --count N] [--quiet]', {
  connect: { type: 'string', default: '' },
  connections: { type: 'string', default: '64' },
  size: { type: 'string', default: '64' },
  seconds: { type: 'string' },
  count: { type: 'string' },
  quiet: { type: 'boolean', default: false },
});
const server = peer(options.connect, 'connect');

const mctx = mtcp.createContext();
const count = integer(options, 'count', 1);
const messages = count === undefined ? Number.POSITIVE_INFINITY : share(count, mctx.worker, mctx.workers);
const connections = Math.min(messages, share(integer(options, 'connections', 1, 1e6), mctx.worker, mctx.workers));
const size = integer(options, 'size', 1, 1 << 24);
const runMs = Math.round((number(options, 'seconds', 0.001, 1e6) ?? (count === undefined ? 10 : 1e6)) * 1000);
/** After the time is over, what is on its way may still come back for this long. */
const FINISH_MS = 2000;

const PIECE = 65536;
const pattern = makePattern(PIECE);
const buffer = new Uint8Array(PIECE);
const counters = mctx.counters.v;

// Columns, by the connection's number.
const sendAt = new Int32Array(connections).map((_, k) => patternStart(k * mctx.workers + mctx.worker));
const checkAt = Int32Array.from(sendAt);
const toSend = new Int32Array(connections);
const toCheck = new Int32Array(connections);
let begun = 0;
let finishing = false;

const { socketOf, watch, finish, fail, run, eachOpen } = makeConnections(mctx, {
  name: 'echo-client',
  server,
  count: connections,
  maxEvents: 1024,
  first: mtcp.EPOLLIN | mtcp.EPOLLOUT,
  send,
  receive,
});

/** Sends what the connection owes; begins the next message when the last one has come back. */
function send(k) {
  if (toCheck[k] === 0) {
    if (finishing || begun >= messages) return finish(k);
    begun++;
    toSend[k] = toCheck[k] = size;
  }
  while (toSend[k] > 0) {
    const n = mtcp.write(mctx, socketOf[k], pattern, sendAt[k], Math.min(toSend[k], PIECE));
    if (n === -mtcp.EAGAIN) return watch(k, mtcp.EPOLLIN | mtcp.EPOLLOUT);
    if (n < 0) return fail(k, mtcp.errnoMessage(n));
    sendAt[k] = patternAfter(sendAt[k], n);
    toSend[k] -= n;
  }
  watch(k, mtcp.EPOLLIN);
}

/** Checks what came back, and goes on. */
function receive(k) {
  const n = mtcp.read(mctx, socketOf[k], buffer);
  if (n === -mtcp.EAGAIN) return send(k);
  if (n <= 0) return fail(k, n === 0 ? 'the server closed it' : mtcp.errnoMessage(n));
  if (n > toCheck[k] - toSend[k]) return fail(k, 'more came back than was sent');
  const wrong = wrongBytes(pattern, checkAt[k], buffer, n);
  counters[mtcp.C_APP_WRONG_BYTES] += wrong;
  counters[mtcp.C_APP_BYTES_VERIFIED] += n - wrong;
  checkAt[k] = patternAfter(checkAt[k], n);
  toCheck[k] -= n;
  if (toCheck[k] === 0) counters[mtcp.C_APP_OPERATIONS]++;
  send(k);
}

const tookMs = run((elapsedMs) => {
  finishing ||= elapsedMs >= runMs;
  return finishing && elapsedMs >= runMs + FINISH_MS;
});
if (finishing) eachOpen((k) => fail(k, 'no answer'));

const seconds = Math.max(tookMs, 1) / 1000;
const [done, bytes] = [counters[mtcp.C_APP_OPERATIONS], counters[mtcp.C_APP_BYTES_VERIFIED]];
const [wrong, failed] = [counters[mtcp.C_APP_WRONG_BYTES], counters[mtcp.C_APP_FAILED]];
const rates = `${Math.round(done / seconds)}/s, ${((bytes * 16) / seconds / 1e9).toFixed(3)} Gbit/s both ways`;
if (!options.quiet) {
  console.log(
    `echo-client: worker ${mctx.worker}: ${done} messages of ${size} bytes in ${seconds.toFixed(2)} s (${rates}), ` +
      `${bytes} bytes verified, ${wrong} wrong, ${connections} connections, ${failed} failed`,
  );
}
if (wrong > 0 || failed > 0 || (connections > 0 && done === 0)) process.exitCode = 1;
mtcp.destroyContext(mctx);
