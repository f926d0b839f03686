// Sends bulk data over any number of connections, or receives it, and says how fast: the other end of bulk-server.
//
//   flowring run bulk-client --nic tap:tap1 --address 192.0.2.3/24 --workers 2 -- --connect 192.0.2.2:9999 --seconds 10
//
// Like mTCP's sample client it opens at least one connection a worker, writes --size bytes at a time for ever, and owns its
// loop. Every connection is counted: exit code 1 when one failed, a byte was wrong, or nothing moved.
import * as mtcp from 'flowring/mtcp';
import { makeConnections } from './lib/connections.mjs';
import { integer, number, peer, readOptions, share } from './lib/options.mjs';
import { makePattern, patternAfter, wrongBytes } from './lib/pattern.mjs';

const options = readOptions(
  'bulk-client --connect IP:PORT [--receive] [--connections N] [--size BYTES] [--seconds S | --bytes N] [--quiet]',
  {
    connect: { type: 'string', default: '' },
    receive: { type: 'boolean', default: false },
    connections: { type: 'string' },
    size: { type: 'string', default: '1448' },
    seconds: { type: 'string' },
    bytes: { type: 'string' },
    quiet: { type: 'boolean', default: false },
  },
);
const server = peer(options.connect, 'connect');

const mctx = mtcp.createContext();
const connections = share(integer(options, 'connections', 1, 1e6) ?? mctx.workers, mctx.worker, mctx.workers);
const size = integer(options, 'size', 1, 1 << 20);
/** Bytes a connection moves. */
const quota = integer(options, 'bytes', 1) ?? Number.POSITIVE_INFINITY;
const runMs = Math.round((number(options, 'seconds', 0.001, 1e6) ?? (options.bytes === undefined ? 10 : 1e6)) * 1000);
/** After the time is over the server may take this long for what is on its way. */
const FINISH_MS = 5000;
/** A connection writes this many messages before the others get their turn. */
const TURN = 256;

const pattern = makePattern(Math.max(size, 262144));
const buffer = new Uint8Array(262144);
const counters = mctx.counters.v;

// Columns, by the connection's number.
const at = new Int32Array(connections);
const moved = new Float64Array(connections);
let over = false;

const { socketOf, watch, finish, fail, run, eachOpen } = makeConnections(mctx, {
  name: 'bulk-client',
  server,
  count: connections,
  maxEvents: 256,
  first: mtcp.EPOLLIN | (options.receive ? 0 : mtcp.EPOLLOUT),
  send,
  receive,
});

/** Has moved what it should: the server closes when it has everything. */
function complete(k) {
  counters[mtcp.C_APP_OPERATIONS]++;
  if (options.receive) return finish(k);
  mtcp.shutdown(mctx, socketOf[k], mtcp.SHUT_WR);
  watch(k, mtcp.EPOLLIN);
}

function send(k) {
  for (let i = 0; i < TURN; i++) {
    if (over || moved[k] >= quota) return complete(k);
    const n = mtcp.write(mctx, socketOf[k], pattern, at[k], Math.min(size, quota - moved[k]));
    if (n === -mtcp.EAGAIN) return;
    if (n < 0) return fail(k, mtcp.errnoMessage(n));
    at[k] = patternAfter(at[k], n);
    moved[k] += n;
  }
}

function receive(k) {
  const n = mtcp.read(mctx, socketOf[k], buffer, 0, Math.min(buffer.length, quota - moved[k]));
  if (n === -mtcp.EAGAIN) return;
  // The end is what a sender waits for, and no receiver.
  if (n === 0 && !options.receive && (over || moved[k] >= quota)) return finish(k);
  if (n <= 0) return fail(k, n === 0 ? 'the server closed it' : mtcp.errnoMessage(n));
  if (!options.receive) return fail(k, 'the server answered');
  const wrong = wrongBytes(pattern, at[k], buffer, n);
  counters[mtcp.C_APP_WRONG_BYTES] += wrong;
  counters[mtcp.C_APP_BYTES_VERIFIED] += n - wrong;
  at[k] = patternAfter(at[k], n);
  moved[k] += n;
  if (moved[k] >= quota) complete(k);
}

mtcp.initRss(mctx, mtcp.INADDR_ANY, 1, server.address, server.port);
const tookMs = run((elapsedMs) => {
  if (!over && elapsedMs >= runMs) {
    over = true;
    if (options.receive) eachOpen(complete);
  }
  return over && elapsedMs >= runMs + FINISH_MS;
});
if (over) eachOpen((k) => fail(k, 'the server does not end it'));

const seconds = Math.max(tookMs, 1) / 1000;
const bytes = moved.reduce((sum, n) => sum + n, 0);
const [wrong, failed] = [counters[mtcp.C_APP_WRONG_BYTES], counters[mtcp.C_APP_FAILED]];
if (!options.quiet) {
  const way = options.receive ? `received, ${wrong} wrong` : 'sent';
  console.log(
    `bulk-client: worker ${mctx.worker}: ${connections} connections, ${failed} failed, ` +
      `${((bytes * 8) / seconds / 1e9).toFixed(3)} Gbit/s in ${seconds.toFixed(2)} s, ${bytes} bytes ${way}`,
  );
}
if (wrong > 0 || failed > 0 || (connections > 0 && bytes === 0)) process.exitCode = 1;
mtcp.destroyContext(mctx);
