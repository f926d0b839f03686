// Asks an HTTP server for one URL over and over, and measures.
//
//   flowring run http-client --nic tap:tap1 --address 192.0.2.3/24 -- --url http://192.0.2.2/ --concurrency 100 --requests 20000
//
// With --rate R requests are due at fixed times, whether or not the server keeps up, and latency counts from when a request
// was due; without, each connection asks again as soon as it was answered. Work is divided among the workers.
// Exit code 1 when a request failed: no answer, or a status of 400 and more.
import { closeSync, openSync, writeSync } from 'node:fs';
import * as mtcp from 'flowring/mtcp';
import { Histogram } from './lib/histogram.mjs';
import { HttpExchange } from './lib/httpExchange.mjs';
import { endpoint, integer, number, readOptions, share, usageError } from './lib/options.mjs';

const options = readOptions(
  'http-client --url http://IP[:PORT]/PATH [--concurrency N] [--requests N | --seconds S] [--rate R] [--keep-alive] [--timeout S] [--output FILE]',
  {
    url: { type: 'string', default: '' },
    concurrency: { type: 'string', default: '1' },
    requests: { type: 'string' },
    seconds: { type: 'string' },
    rate: { type: 'string' },
    'keep-alive': { type: 'boolean', default: false },
    timeout: { type: 'string', default: '30' },
    output: { type: 'string' },
  },
);
const [, host, path] = /^http:\/\/([0-9.]+(?::[0-9]+)?)(\/[^\s#]*)?$/.exec(options.url) ?? [];
if (host === undefined) throw usageError(`--url ${options.url}: must be http://IP[:PORT]/PATH`);

const mctx = mtcp.createContext();
const seconds = number(options, 'seconds', 0.001, 1e6);
const requests = integer(options, 'requests', 1) ?? (seconds === undefined ? 1 : Number.POSITIVE_INFINITY);
const concurrency = Math.min(integer(options, 'concurrency', 1, 1e6), requests);
// Workers that get no connection get no requests
const workers = Math.min(mctx.workers, concurrency);
const mine = mctx.worker < workers;
const connections = mine ? share(concurrency, mctx.worker, workers) : 0;
const toDo = !mine ? 0 : requests === Number.POSITIVE_INFINITY ? requests : share(requests, mctx.worker, workers);
const rate = (number(options, 'rate', 0.001, 1e9) ?? Number.POSITIVE_INFINITY) / workers;
const timeoutMs = number(options, 'timeout', 0.001, 1e6) * 1000;
if (options.output !== undefined && requests !== 1) throw usageError('--output: one request only, its body is what the file gets');

const fields = `Host: ${host}\r\nUser-Agent: flowring\r\nAccept: */*\r\nConnection: ${options['keep-alive'] ? 'keep-alive' : 'close'}\r\n`;
const request = Buffer.from(`GET ${path ?? '/'} HTTP/1.1\r\n${fields}\r\n`);
const ep = mtcp.epollCreate(mctx, 4096);
const events = new mtcp.EpollEvents(1024);
const latency = new Histogram();
const counters = mctx.counters.v;
const output = options.output !== undefined && mine ? openOutput(options.output) : -1;
const sink = output < 0 ? null : writeAll;
const target = {
  server: endpoint(host.includes(':') ? host : `${host}:80`, 'url'),
  request,
  persistent: options['keep-alive'],
  done,
  sink,
};
const exchanges = Array.from({ length: connections }, (_, k) => new HttpExchange(mctx, ep, k, target));
/** Exchanges without a request. */
const idle = [...exchanges];
let begun = 0;
let answered = 0;
let failed = 0;

function openOutput(file) {
  try {
    return openSync(file, 'w');
  } catch (error) {
    throw usageError(`--output ${file}: ${error.message}`);
  }
}

function writeAll(bytes) {
  for (let at = 0; at < bytes.length; ) at += writeSync(output, bytes, at);
}

function done(exchange, error, endedMs) {
  if (error === '') answered++;
  else if (failed++ < 3) console.error(`http-client: worker ${mctx.worker}: ${error}`);
  counters[error === '' ? mtcp.C_APP_OPERATIONS : mtcp.C_APP_FAILED]++;
  latency.add((endedMs - exchange.dueMs) * 1000);
  exchange.dueMs = -1;
  idle.push(exchange);
}

const began = performance.now();
const endMs = began + (seconds ?? 1e9) * 1000;

/** Begins what is due. Returns how many milliseconds the next request has time, 100 at most. */
function beginDue(now) {
  // A failing connect is done at once and idle again: at most one round of all connections before the stack runs
  for (let i = idle.length; i > 0 && begun < toDo && now < endMs; i--) {
    const due = rate === Number.POSITIVE_INFINITY ? now : began + (begun / rate) * 1000;
    if (due > now) return Math.min(100, Math.floor(due - now));
    begun++;
    idle.shift().begin(due, now);
  }
  return idle.length > 0 && begun < toDo && now < endMs ? 0 : 100;
}

let checkedMs = began;
for (;;) {
  const now = performance.now();
  const waitMs = beginDue(now);
  if (idle.length === connections && (begun >= toDo || now >= endMs)) break;
  const n = mtcp.epollWait(mctx, ep, events, events.max, waitMs);
  if (n < 0) break; // asked to stop
  for (let i = 0; i < n; i++) exchanges[events.data[i]].event(events.events[i]);
  if (now - checkedMs < 100) continue;
  checkedMs = now;
  for (const e of exchanges)
    if (!e.idle && now - e.sentMs > timeoutMs) e.finish(e.endedMs >= 0 ? '' : `no answer within ${options.timeout} s`);
}

const elapsed = (performance.now() - began) / 1000;
const bytes = exchanges.reduce((sum, e) => sum + e.received, 0);
if (output >= 0) closeSync(output);
for (const e of exchanges) e.close();
const ms = (p) => `${(latency.percentile(p) / 1000).toFixed(3)}`;
if (mine) {
  console.log(
    `http-client: worker ${mctx.worker}: ${answered} requests in ${elapsed.toFixed(3)} s, ${(answered / elapsed).toFixed(1)} requests/s, ` +
      `${bytes} bytes (${((bytes * 8) / elapsed / 1e9).toFixed(3)} Gbit/s), ${failed} failed\n` +
      `http-client: worker ${mctx.worker}: latency ms p50 ${ms(0.5)} p90 ${ms(0.9)} p99 ${ms(0.99)} p99.9 ${ms(0.999)} max ${ms(1)}`,
  );
}
if (failed > 0 || (mine && answered === 0)) process.exitCode = 1;
mtcp.destroyContext(mctx);
