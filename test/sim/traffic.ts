/** Applications of simulated hosts: streams verified byte by byte in both directions, and short echo connections. */
import { EAGAIN, EINPROGRESS, EPOLLERR, EPOLLIN, EPOLLOUT, SHUT_WR } from '../../src/stack/sockets.ts';
import type { Sockets } from '../../src/stack/sockets.ts';

/** A prime, so that no power-of-two offset maps the pattern onto itself. */
const PATTERN_BYTES = 1_048_583;
const pattern = new Uint8Array(PATTERN_BYTES);
for (let i = 0, x = 0x12345678; i < PATTERN_BYTES; i++) {
  x ^= x << 13;
  x ^= x >>> 17;
  x ^= x << 5;
  pattern[i] = x;
}
const UNIT = 65536;
const scratch = Buffer.alloc(UNIT);

/** Our end of a connection: sends `total` bytes of the pattern and half-closes, receives `expected` verified bytes, closes. */
export class Stream {
  readonly sockets: Sockets;
  readonly socket: number;
  readonly total: number;
  readonly expected: number;
  sent = 0;
  received = 0;
  wrong = 0;
  /** Positive errno the stream ended with, 0 none. */
  error = 0;
  done = false;
  connected = false;
  /** Most bytes of the next read and the next write; 0 none this turn. */
  readMost: () => number = () => UNIT;
  writeMost: () => number = () => UNIT;
  private shut = false;
  private ended = false;

  constructor(sockets: Sockets, socket: number, total: number, expected: number) {
    this.sockets = sockets;
    this.socket = socket;
    this.total = total;
    this.expected = expected;
  }

  /** One turn; whether anything happened. */
  turn(): boolean {
    if (this.done) return false;
    const levels = this.sockets.ready.levels(this.socket);
    if (!this.connected) {
      if ((levels & EPOLLERR) !== 0) return this.fail(this.sockets.takeError(this.socket));
      if ((levels & (EPOLLOUT | EPOLLIN)) === 0) return false;
      this.connected = true;
    }
    const moved = this.write();
    return this.read() || this.finish() || moved;
  }

  /** RST, and done. */
  abort(): void {
    if (this.done) return;
    this.sockets.abort(this.socket);
    this.done = true;
  }

  /** close() whatever is unread or unsent, and done. */
  leave(): void {
    if (this.done) return;
    this.sockets.close(this.socket);
    this.done = true;
  }

  private write(): boolean {
    let moved = false;
    while (this.sent < this.total) {
      const at = this.sent % PATTERN_BYTES;
      const most = this.writeMost();
      if (most === 0) break;
      const n = this.sockets.write(this.socket, pattern, at, Math.min(most, PATTERN_BYTES - at, this.total - this.sent));
      if (n === -EAGAIN) break;
      if (n < 0) return this.fail(-n);
      this.sent += n;
      moved = true;
    }
    if (this.sent === this.total && !this.shut) {
      this.shut = true;
      const r = this.sockets.shutdown(this.socket, SHUT_WR);
      if (r < 0) return this.fail(-r);
      moved = true;
    }
    return moved;
  }

  private read(): boolean {
    let moved = false;
    while (!this.ended && !this.done) {
      const most = this.readMost();
      if (most === 0) break;
      const n = this.sockets.read(this.socket, scratch, 0, most, false);
      if (n === -EAGAIN) break;
      if (n < 0) return this.fail(-n);
      moved = true;
      if (n === 0) this.ended = true;
      for (let i = 0; i < n; ) {
        const at = (this.received + i) % PATTERN_BYTES;
        const k = Math.min(n - i, PATTERN_BYTES - at);
        if (scratch.compare(pattern, at, at + k, i, i + k) !== 0) this.wrong++;
        i += k;
      }
      this.received += n;
    }
    return moved;
  }

  private finish(): boolean {
    if (!this.ended || !this.shut || this.done) return false;
    if (this.received !== this.expected) this.wrong++;
    this.sockets.close(this.socket);
    this.done = true;
    return true;
  }

  private fail(errno: number): boolean {
    this.error = errno === 0 ? -1 : errno;
    this.sockets.abort(this.socket);
    this.done = true;
    return true;
  }
}

export function listenOn(sockets: Sockets, port: number, backlog = 128): number {
  const s = sockets.open();
  let r = sockets.bind(s, 0, port);
  if (r >= 0) r = sockets.listen(s, backlog);
  if (r < 0) throw new Error(`listen on ${port}: errno ${-r}`);
  return s;
}

export function connectTo(sockets: Sockets, address: number, port: number): number {
  const s = sockets.open();
  if (s < 0) return s;
  const r = sockets.connect(s, address, port);
  if (r < 0 && r !== -EINPROGRESS) throw new Error(`connect: errno ${-r}`);
  return s;
}

/** Accepts whatever waits on `listener`. */
export function acceptAll(sockets: Sockets, listener: number, each: (socket: number) => void): boolean {
  let moved = false;
  for (;;) {
    const s = sockets.accept(listener);
    if (s < 0) return moved;
    each(s);
    moved = true;
  }
}
