// One connection of an HTTP server: what it has read, the body it receives, and the reply under way. It moves bytes between
// its socket and these; what to answer is decided elsewhere.
import * as mtcp from 'flowring/mtcp';
import { pieceOf } from './files.mjs';
import { responseHead } from './http.mjs';

const READABLE = { events: mtcp.EPOLLIN };
const WRITABLE = { events: mtcp.EPOLLOUT };
const CONTINUE = Buffer.from('HTTP/1.1 100 Continue\r\n\r\n');
const NOTHING = Buffer.alloc(0);
const NO_FILE = { bytes: NOTHING };
/** Every read goes here; what is left of it when the next connection reads is copied. */
const buffer = Buffer.allocUnsafe(262144);

export class HttpConnection {
  /** Read and not yet taken apart. */
  unread = NOTHING;
  /** The body being received, or null. */
  body = null;
  /** The reply's head while it is under way, then `left` bytes of `file` from `at`. */
  head = null;
  headAt = 0;
  file = NO_FILE;
  at = 0;
  left = 0;
  keepAlive = true;
  /** The peer is sending what nobody will read: the rest of a refused request. */
  moreComes = false;
  /** No request is answered any more: closed, or waiting for the peer to close. */
  over = false;
  waits = READABLE;

  /** `release` gets each file back when its reply is out; `ended` is called once, when the socket is gone. */
  constructor(mctx, ep, s, release, ended) {
    Object.assign(this, { mctx, ep, s, release, ended });
    mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_ADD, s, READABLE);
  }

  watch(interest) {
    if (this.waits !== interest) mtcp.epollCtl(this.mctx, this.ep, mtcp.EPOLL_CTL_MOD, this.s, interest);
    this.waits = interest;
  }

  end() {
    this.over = true;
    this.body?.abandon();
    this.release(this.file);
    mtcp.close(this.mctx, this.s);
    this.ended(this.s);
  }

  /** Reads once. True when there is something new to take apart; ends the connection when the peer did. */
  receive() {
    const n = mtcp.read(this.mctx, this.s, buffer);
    if (n === -mtcp.EAGAIN) return false;
    if (n <= 0) {
      this.end();
      return false;
    }
    if (this.over) return false;
    const got = buffer.subarray(0, n);
    this.unread = this.unread.length > 0 ? Buffer.concat([this.unread, got]) : got;
    return true;
  }

  take(n) {
    const bytes = this.unread.subarray(0, n);
    this.unread = this.unread.subarray(n);
    return bytes;
  }

  /** What is left unread stays: out of the common buffer with it. */
  keepRest() {
    if (this.unread.length > 0 && this.unread.buffer === buffer.buffer) this.unread = Buffer.from(this.unread);
  }

  continue() {
    mtcp.write(this.mctx, this.s, CONTINUE);
  }

  /** Begins a reply: head from status and whole field lines, then `left` bytes of `file` from `at`. */
  reply(request, { status, fields, file = NO_FILE, at = 0, left = 0 }) {
    this.keepAlive = request.keepAlive;
    this.head = responseHead(status, request, request.keepAlive, fields);
    this.headAt = 0;
    this.file = file;
    this.at = at;
    this.left = left;
    this.send();
  }

  /** Goes on with the reply. True when it is out and the connection is ready for the next request. */
  send() {
    const { mctx, s } = this;
    let n = 0;
    for (; this.headAt < this.head.length; this.headAt += n) {
      n = mtcp.write(mctx, s, this.head, this.headAt);
      if (n < 0) return this.stalled(n);
    }
    for (; this.left > 0; this.at += n, this.left -= n) {
      const { bytes, from, length } = pieceOf(this.file, this.at, this.left);
      // A file that became shorter cannot be answered as promised: the connection ends early
      n = length === 0 ? -mtcp.EPIPE : mtcp.write(mctx, s, bytes, from, length);
      if (n < 0) return this.stalled(n);
    }
    this.release(this.file);
    this.file = NO_FILE;
    this.head = null;
    this.watch(READABLE);
    if (!this.keepAlive) this.lastWord();
    return this.keepAlive;
  }

  stalled(n) {
    if (n === -mtcp.EAGAIN) this.watch(WRITABLE);
    else this.end();
    return false;
  }

  /** Closing with unread bytes would reset the connection under the reply: then the peer closes first. */
  lastWord() {
    const rest = this.unread.length + (this.body?.left ?? 0) + mtcp.socketIoctl(this.mctx, this.s, mtcp.FIONREAD);
    if (rest === 0 && !this.moreComes) {
      this.end();
      return;
    }
    this.over = true;
    this.body?.abandon();
    this.body = null;
    this.unread = NOTHING;
    mtcp.shutdown(this.mctx, this.s, mtcp.SHUT_WR);
  }
}
