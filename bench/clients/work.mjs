// What the JavaScript clients of the benches do on a connection, whoever carries it: the same code over our stack and over
// node:net. A transport makes `Flow`s, calls their `opened`, `received`, `writable` and `ended`, and gives each a `wire` with
//
//   write(bytes, offset, length)   bytes taken, 0 when it is full: `writable` follows
//   finish()                       nothing more is sent
//   close()                        over
//
// Work begins with a load { mode, connections, size, warm, seconds } and ends with one object of numbers, as load.c prints it.
import { isPattern, looksLikePattern, PATTERN, PERIOD, RUN_MAX } from '../pattern.mjs';

const BODY = Buffer.from('Hello, World!');
const FINISH_MS = 10_000;
const EMPTY = Buffer.alloc(0);
/** Every so many operations of many connections are timed; with one connection all are. */
const TIMED_EACH = 16;

/** Latencies in microseconds by 1/64 of a power of two of nanoseconds. */
class Histogram {
  buckets = new Uint32Array(64 * 40);
  samples = 0;
  largest = 0;

  add(ms) {
    const ns = Math.max(64, Math.min(ms * 1e6, 1e12));
    const power = Math.floor(Math.log2(ns));
    this.buckets[(power - 6) * 64 + Math.floor((ns / 2 ** power - 1) * 64)]++;
    this.samples++;
    if (ms > this.largest) this.largest = ms;
  }

  percentile(p) {
    const rank = Math.floor(this.samples * p);
    let seen = 0;
    for (let i = 0; i < this.buckets.length; i++) {
      seen += this.buckets[i];
      if (seen > rank) return (2 ** (Math.floor(i / 64) + 6) * (1 + ((i % 64) + 0.5) / 64)) / 1000;
    }
    return 0;
  }
}

/** One round: counts what is done within its time. `open(flow)` makes a connection; `done(result)` is called once. */
export class Work {
  operations = 0;
  bytes = 0;
  total = 0;
  wrong = 0;
  failed = 0;
  lost = 0;
  latency = new Histogram();
  over = false;
  /** Within the time that counts, as the last timed operation saw it. */
  measuring = false;
  stamps = 0;
  /** When the last stamp was given, or later: good to a few milliseconds. */
  now = 0;
  flows = new Set();
  /** Is told of every timed operation: bench/threadTrace.mjs. */
  trace = null;

  constructor(load, open, done) {
    this.load = load;
    this.open = open;
    this.done = done;
    this.began = performance.now();
    this.from = this.began + load.warm * 1000;
    this.to = this.from + load.seconds * 1000;
    this.now = this.began;
    this.timedEach = load.connections === 1 ? 1 : TIMED_EACH;
    this.last = this.began;
    if (load.mode === 'http' || load.mode === 'http-close') {
      const close = load.mode === 'http-close' ? 'Connection: close\r\n' : '';
      this.request = Buffer.from(`GET / HTTP/1.1\r\nHost: ${load.address}:${load.port}\r\n${close}\r\n`);
    }
    setTimeout(() => {
      this.measuring = !this.over;
    }, load.warm * 1000);
    setTimeout(() => this.end(), this.to - this.began);
  }

  start() {
    const make = FLOWS[this.load.mode];
    // Datagrams have one socket: what counts there is how many are under way.
    const flows = make === Udp ? 1 : this.load.connections;
    for (let k = 0; k < flows; k++) this.begin(make, k);
  }

  begin(make, k) {
    const flow = new make(this, k);
    this.flows.add(flow);
    this.open(flow);
  }

  /** The time, for an operation that is to be timed, else 0: a clock read for each would be a good part of a short one. */
  stamp() {
    if (++this.stamps % this.timedEach !== 0) return 0;
    this.now = performance.now();
    return this.now;
  }

  /** One operation is done. `begunMs` is its stamp. */
  operation(begunMs, bytes) {
    this.total++;
    if (begunMs === 0) {
      if (this.measuring) {
        this.operations++;
        this.bytes += bytes;
      }
      return;
    }
    const now = performance.now();
    this.measuring = now >= this.from && now < this.to;
    if (!this.measuring) return;
    this.operations++;
    this.bytes += bytes;
    this.latency.add(now - begunMs);
    if (this.trace !== null) this.trace.trip(begunMs, now);
  }

  /** Bytes of a stream. */
  moved(n) {
    this.total += n;
    const now = performance.now();
    if (now >= this.from && now < this.to) this.bytes += n;
  }

  fail(flow) {
    if (!this.flows.delete(flow) || this.over) return;
    this.failed++;
    if (this.failed < 1000) this.begin(flow.constructor, flow.k);
  }

  end() {
    this.over = true;
    if (this.load.mode !== 'sink') return this.report();
    for (const flow of this.flows) flow.writable();
    this.timer = setTimeout(() => {
      this.failed += this.flows.size;
      this.report();
    }, FINISH_MS);
  }

  /** A sink's last word has come. */
  settled(flow) {
    this.flows.delete(flow);
    this.last = performance.now();
    if (this.flows.size > 0) return;
    clearTimeout(this.timer);
    this.report();
  }

  report() {
    const { operations, bytes, total, wrong, failed, lost, latency } = this;
    const seconds = this.load.mode === 'sink' ? (this.last - this.began) / 1000 : this.load.seconds;
    for (const flow of this.flows) flow.wire?.close();
    this.flows.clear();
    const [p50, p99, p999, p9999] = [0.5, 0.99, 0.999, 0.9999].map((p) => latency.percentile(p));
    const max = latency.largest * 1000;
    const trace = this.trace === null ? {} : { trace: this.trace.end() };
    this.done({ operations, bytes, total, seconds, p50, p99, p999, p9999, max, wrong, failed, lost, ...trace });
  }
}

class Flow {
  wire = null;
  sent = 0;
  got = 0;
  /** Sent when this many bytes are. */
  due = 0;
  begunMs = 0;

  constructor(work, k) {
    this.work = work;
    this.begunMs = work.stamp();
    this.k = k;
    this.start = (k * 97) % PERIOD;
  }

  /** Sends the pattern on, up to `due`. */
  send() {
    while (this.sent < this.due) {
      const n = this.wire.write(PATTERN, (this.start + this.sent) % PERIOD, Math.min(this.due - this.sent, RUN_MAX));
      if (n <= 0) return;
      this.sent += n;
    }
  }

  writable() {
    this.send();
  }

  ended() {
    this.work.fail(this);
  }
}

class Echo extends Flow {
  opened() {
    this.ask();
  }

  ask() {
    this.begunMs = this.work.stamp();
    this.due += this.work.load.size;
    this.send();
  }

  received(bytes, n) {
    const { work } = this;
    if (this.got + n > this.sent || !isPattern(bytes, 0, n, (this.start + this.got) % PERIOD)) work.wrong++;
    this.got += n;
    if (this.got < this.due) return;
    work.operation(this.begunMs, work.load.size);
    this.next();
  }

  next() {
    if (!this.work.over) this.ask();
  }
}

class Short extends Echo {
  /** The connection is part of the operation. */
  ask() {
    this.due = this.work.load.size;
    this.send();
  }

  /** The same flow carries the next connection: what a client makes anew for each is measured with it. */
  next() {
    const { work } = this;
    this.wire.close();
    if (work.over) {
      work.flows.delete(this);
      return;
    }
    this.sent = this.got = this.due = 0;
    this.begunMs = work.stamp();
    work.open(this);
  }
}

class Sink extends Flow {
  start = 0;
  verdict = '';
  finished = false;

  opened() {
    this.writable();
  }

  writable() {
    if (this.finished || this.wire === null) return;
    for (let i = 0; i < 16 && !this.work.over; i++) {
      const n = this.wire.write(PATTERN, this.sent % PERIOD, RUN_MAX);
      if (n <= 0) return;
      this.sent += n;
      if (i === 15) this.wire.again();
    }
    if (!this.work.over) return;
    this.finished = true;
    this.wire.finish();
  }

  received(bytes, n) {
    const { work } = this;
    this.verdict += Buffer.from(bytes.subarray(0, n)).toString('latin1');
    const [, got, wrong] = /^([0-9]+) ([0-9]+)\n/.exec(this.verdict) ?? [];
    if (got === undefined) return;
    work.wrong += Number(wrong) + (Number(got) === this.sent ? 0 : 1);
    work.bytes += Number(got);
    work.total += Number(got);
    this.wire.close();
    work.settled(this);
  }
}

class Source extends Flow {
  pieces = 0;

  opened() {}

  writable() {}

  received(bytes, n) {
    if (!looksLikePattern(bytes, n, this.got % PERIOD, this.pieces++)) this.work.wrong++;
    this.got += n;
    this.work.moved(n);
  }
}

class Http extends Flow {
  rest = EMPTY;
  length = -1;

  opened() {
    this.ask();
  }

  ask() {
    this.begunMs = this.work.stamp();
    this.request();
  }

  request() {
    const { request } = this.work;
    this.rest = EMPTY;
    if (this.wire.write(request, 0, request.length) !== request.length) this.work.fail(this);
  }

  writable() {}

  /** Length of the answer at the start of `bytes`, 0 while it is incomplete, -1 when it is not the one asked for. */
  lengthOf(bytes) {
    const head = bytes.indexOf('\r\n\r\n');
    if (head < 0) return 0;
    const text = bytes.latin1Slice(0, head);
    const stated = /\r\ncontent-length: *([0-9]+)(\r|$)/i.exec(text);
    if (!text.startsWith('HTTP/1.1 200 ') || stated === null || Number(stated[1]) !== BODY.length) return -1;
    if (bytes.length < head + 4 + BODY.length) return 0;
    return bytes.compare(BODY, 0, BODY.length, head + 4, head + 4 + BODY.length) === 0 ? head + 4 + BODY.length : -1;
  }

  received(bytes, n) {
    const here = Buffer.from(bytes.buffer, bytes.byteOffset, n);
    const all = this.rest.length === 0 ? here : Buffer.concat([this.rest, here]);
    this.length = this.lengthOf(all);
    if (this.length === 0) {
      this.rest = Buffer.from(all);
      return;
    }
    if (this.length !== all.length) this.work.wrong++;
    this.answered();
  }

  answered() {
    this.work.operation(this.begunMs, this.length);
    if (!this.work.over) this.ask();
  }
}

class HttpClose extends Http {
  answered() {}

  /** The server ends the connection; the answer must have been whole by then. */
  ended() {
    const { work } = this;
    if (this.length <= 0) return work.fail(this);
    if (!work.flows.delete(this)) return;
    work.operation(this.begunMs, this.length);
    if (!work.over) work.begin(HttpClose, this.k);
  }

  /** The connection is part of the operation. */
  ask() {
    this.request();
  }
}

const LOST_MS = 500;

/**
 * Datagrams, each with a place and a number in its first 8 bytes: what has had no answer for 500 ms is lost, and its place is used
 * again. One flow has them all; its wire keeps datagrams whole.
 */
class Udp extends Flow {
  numbers = [];
  begun = [];
  sentMs = [];
  out = Buffer.alloc(0);

  opened() {
    const { connections, size } = this.work.load;
    this.out = Buffer.alloc(size);
    for (let place = 0; place < connections; place++) {
      this.numbers.push(0);
      this.begun.push(0);
      this.sentMs.push(0);
      this.send(place);
    }
    this.timer = setInterval(() => this.look(), 50);
  }

  send(place) {
    const number = ++this.numbers[place];
    const { out } = this;
    PATTERN.copy(out, 0, number % PERIOD, (number % PERIOD) + out.length);
    out.writeInt32LE(place, 0);
    out.writeInt32LE(number, 4);
    this.begun[place] = this.work.stamp();
    this.sentMs[place] = this.work.now;
    // What does not fit now is lost, and comes again when its time is over.
    this.wire.write(out, 0, out.length);
  }

  look() {
    if (this.work.over) return clearInterval(this.timer);
    this.work.now = performance.now();
    const before = this.work.now - LOST_MS;
    for (let place = 0; place < this.sentMs.length; place++) {
      if (this.sentMs[place] > before) continue;
      this.work.lost++;
      this.send(place);
    }
  }

  writable() {}

  received(bytes, n) {
    const { work } = this;
    if (work.over) return;
    const place = n >= 8 ? bytes.readInt32LE(0) : -1;
    const number = n >= 8 ? bytes.readInt32LE(4) : 0;
    if (n !== this.out.length || place < 0 || place >= this.numbers.length || number > this.numbers[place]) {
      work.wrong++;
      return;
    }
    if (number < this.numbers[place]) return;
    if (!isPattern(bytes, 8, n - 8, (number + 8) % PERIOD)) work.wrong++;
    work.operation(this.begun[place], n);
    this.send(place);
  }
}

export const FLOWS = { echo: Echo, short: Short, sink: Sink, source: Source, http: Http, 'http-close': HttpClose, udp: Udp };
