/**
 * Two scripted workers joined by a wire without a stack: what one writes the other reads, in pieces of random size, so that
 * programs meet short writes, full buffers and messages cut anywhere.
 */
import { EPOLLIN, EPOLLOUT, EPOLLRDHUP, SHUT_RD } from '../../../src/stack/sockets.ts';
import type { FakeWorker } from './fakeWorker.ts';

const ROOM_MAX = 9000;

export class FakeLink {
  readonly client: FakeWorker;
  readonly server: FakeWorker;
  /** Client socket → server socket. */
  readonly pairs = new Map<number, number>();
  turns = 0;
  private readonly random: () => number;

  /** Every turn of the client moves bytes and runs a breath of the server. */
  constructor(client: FakeWorker, server: FakeWorker, seed: number) {
    this.client = client;
    this.server = server;
    let x = seed | 1;
    this.random = () => {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      return (x >>> 0) / 2 ** 32;
    };
    client.turn = (waitMs) => {
      client.clock[1] = (client.clock[1]! + Math.min(waitMs, 1)) | 0;
      this.turn();
      return 1;
    };
  }

  turn(): void {
    if (++this.turns > 2_000_000) throw new Error('the programs do not come to an end');
    this.join();
    for (const [c, s] of this.pairs) {
      this.move(this.client, c, this.server, s);
      this.move(this.server, s, this.client, c);
      if (!this.client.sockets.all[c]!.open && !this.server.sockets.all[s]!.open) this.pairs.delete(c);
    }
    this.server.handler?.();
  }

  /** New connects of the client reach the server's first listener on that port. */
  private join(): void {
    const { client, server } = this;
    client.sockets.all.forEach((f, c) => {
      if (!f.open || f.peerPort === 0 || f.joined) return;
      f.joined = true;
      const listener = server.sockets.all.findIndex((l) => l.open && l.backlog > 0 && l.port === f.peerPort);
      if (listener < 0) throw new Error(`nobody listens on port ${f.peerPort}`);
      const s = server.sockets.connected(5000);
      Object.assign(server.sockets.all[s]!, { joined: true });
      this.pairs.set(c, s);
      server.sockets.all[listener]!.accepts.push(s);
      server.sockets.ready.raise(listener, EPOLLIN);
    });
  }

  private move(from: FakeWorker, a: number, to: FakeWorker, b: number): void {
    const source = from.sockets.all[a]!;
    const sink = to.sockets.all[b]!;
    if (sink.open && source.outbox.length > 0) {
      const n = 1 + Math.floor(this.random() * source.outbox.length);
      to.sockets.receive(b, source.outbox.splice(0, n));
    }
    const ended = !source.open || source.down > SHUT_RD;
    if (ended && source.outbox.length === 0 && !sink.eof && sink.open) to.sockets.set(b, { eof: true }, EPOLLIN | EPOLLRDHUP);
    if (source.open && source.room === 0 && source.outbox.length === 0) {
      from.sockets.set(a, { room: 5 + Math.floor(this.random() * ROOM_MAX) }, EPOLLOUT);
    }
  }
}
