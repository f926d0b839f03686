// One connection of an HTTP client: sends the request, reads one response after the other, says how each ended.
import * as mtcp from 'flowring/mtcp';
import { ChunkedBody, parseResponse } from './http.mjs';

const NOTHING = Buffer.alloc(0);
const buffer = Buffer.allocUnsafe(262144);
const interest = { events: 0, data: 0 };

export class HttpExchange {
  s = -1;
  /** When the request was due, milliseconds of performance.now(); -1 while no request is under way. */
  dueMs = -1;
  /** When it was sent. */
  sentMs = 0;
  sentAt = 0;
  unread = NOTHING;
  /** Head of the response once it is complete. */
  head = null;
  /** Bytes of the body still to come, -1 until the end of the connection or of the chunks. */
  left = 0;
  chunks = null;
  /** When the response ended, while the connection waits for the server to close it; -1 otherwise. */
  endedMs = -1;
  /** The connection has answered before: the server may be closing it just now. */
  reused = false;
  /** Bytes received, heads included. */
  received = 0;

  /** `done(exchange, error, endedMs)` is called after each response, error '' for a good one; `sink(bytes)` gets its body, or null. */
  constructor(mctx, ep, k, { server, request, persistent, done, sink }) {
    Object.assign(this, { mctx, ep, k, server, request, persistent, done, sink });
  }

  get idle() {
    return this.dueMs < 0;
  }

  /** Sends the request, over a new connection where there is none. */
  begin(dueMs, nowMs) {
    this.dueMs = dueMs;
    this.sentMs = nowMs;
    this.sentAt = 0;
    this.head = null;
    this.unread = NOTHING;
    this.endedMs = -1;
    this.reused = this.s >= 0;
    if (this.reused) {
      this.send();
      return;
    }
    this.s = mtcp.socket(this.mctx, mtcp.AF_INET, mtcp.SOCK_STREAM, 0);
    const result = this.s < 0 ? this.s : mtcp.connect(this.mctx, this.s, this.server);
    this.mctx.counters.v[mtcp.C_APP_CONNECTIONS]++;
    if (result < 0 && result !== -mtcp.EINPROGRESS) this.finish(mtcp.errnoMessage(result));
    else this.watch(mtcp.EPOLLIN | mtcp.EPOLLOUT, mtcp.EPOLL_CTL_ADD);
  }

  watch(events, operation) {
    interest.events = events;
    interest.data = this.k;
    mtcp.epollCtl(this.mctx, this.ep, operation, this.s, interest);
  }

  /** An event of its socket. */
  event(bits) {
    if ((bits & mtcp.EPOLLERR) !== 0) {
      const error = mtcp.getsockopt(this.mctx, this.s, mtcp.SOL_SOCKET, mtcp.SO_ERROR);
      this.finish(mtcp.errnoMessage(error));
    } else if ((bits & mtcp.EPOLLIN) !== 0) this.receive();
    else if (!this.idle) this.send();
  }

  send() {
    const n = mtcp.write(this.mctx, this.s, this.request, this.sentAt);
    if (n < 0 && n !== -mtcp.EAGAIN) return this.finish(mtcp.errnoMessage(n));
    this.sentAt += Math.max(n, 0);
    this.watch(this.sentAt < this.request.length ? mtcp.EPOLLIN | mtcp.EPOLLOUT : mtcp.EPOLLIN, mtcp.EPOLL_CTL_MOD);
  }

  receive() {
    const n = mtcp.read(this.mctx, this.s, buffer);
    if (n === -mtcp.EAGAIN) return;
    // A server may close a connection on which nothing is asked of it
    if (n <= 0 && this.idle) return this.close();
    if (n <= 0 && this.endedMs >= 0) return this.finish('');
    if (n < 0) return this.finish(mtcp.errnoMessage(n));
    if (n === 0) return this.finish(this.untilClose ? '' : 'connection closed early');
    this.received += n;
    try {
      if (this.idle || this.endedMs >= 0) throw 400; // bytes that nobody asked for
      this.take(this.unread.length > 0 ? Buffer.concat([this.unread, buffer.subarray(0, n)]) : buffer.subarray(0, n));
    } catch (status) {
      if (typeof status !== 'number') throw status;
      this.finish('not HTTP');
    }
  }

  /** Head, then body; a response that is complete ends the exchange. */
  take(bytes) {
    let rest = bytes;
    while (this.head === null) {
      const head = parseResponse(rest);
      if (head === null) {
        this.unread = Buffer.from(rest);
        return;
      }
      rest = rest.subarray(head.length);
      if (head.status < 200) continue; // interim, the final one follows
      this.head = head;
      this.left = head.bodyBytes;
      this.chunks = head.chunked && head.bodyBytes !== 0 ? new ChunkedBody() : null;
    }
    this.unread = NOTHING;
    let used = rest.length;
    if (this.chunks !== null) used = this.chunks.push(rest, this.sink ?? (() => {}));
    else {
      if (this.left >= 0) used = Math.min(this.left, rest.length);
      if (this.sink !== null && used > 0) this.sink(rest.subarray(0, used));
      if (this.left >= 0) this.left -= used;
    }
    if (used < rest.length) throw 400; // more than one answer to one request
    if (this.left === 0 || this.chunks?.done) this.complete();
  }

  get untilClose() {
    return this.head !== null && this.left === -1 && this.chunks === null;
  }

  /** The response is complete. A server that said it closes is let close: who does it first keeps the TIME_WAIT. */
  complete() {
    if (this.head.keepAlive) this.finish('');
    else this.endedMs = performance.now();
  }

  finish(error) {
    const status = this.head?.status ?? 0;
    const answered = this.head !== null || this.unread.length > 0;
    const keep = error === '' && this.persistent && this.endedMs < 0 && this.head.keepAlive;
    if (!keep) this.close();
    if (this.idle) return;
    // RFC 9110 section 9.2.2: a GET may be repeated when a kept connection broke before any answer
    if (error !== '' && this.reused && !answered) return this.begin(this.dueMs, this.sentMs);
    this.done(this, error !== '' ? error : status >= 400 ? `status ${status}` : '', this.endedMs >= 0 ? this.endedMs : performance.now());
  }

  close() {
    if (this.s >= 0) mtcp.close(this.mctx, this.s);
    this.s = -1;
  }
}
