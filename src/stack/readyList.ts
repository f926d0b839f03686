/**
 * Sockets whose condition changed, one intrusive list a consumer (an epoll instance, or net). See sockets.ts.
 * Entries are unlinked lazily by the consumer; a socket freed meanwhile stays listed, shows no event, and is reaped
 * when the consumer unlinks it, so an id is never given out again while it stands on a list.
 */
import { EMFILE, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP } from './sockets.ts';
import type { ReadyList } from './sockets.ts';
import { CAN_SEND, CLOSED, LISTEN } from './tcp/states.ts';
import { ON_READY, T_DEAD, T_EOF, T_FIN, T_FULL, T_OPEN, T_RDSHUT, T_USED } from './tcp/tcb.ts';
import type { Tcb } from './tcp/tcb.ts';

const CONSUMERS = 64;

export class Ready implements ReadyList {
  private readonly tcb: Tcb;
  private readonly reap: (c: number) => void;
  private readonly head = new Int32Array(CONSUMERS).fill(-1);
  private readonly tail = new Int32Array(CONSUMERS).fill(-1);
  private readonly open = new Int32Array(CONSUMERS);

  constructor(tcb: Tcb, reap: (c: number) => void) {
    this.tcb = tcb;
    this.reap = reap;
  }

  openConsumer(): number {
    for (let i = 1; i < CONSUMERS; i++) {
      if (this.open[i] === 0) {
        this.open[i] = 1;
        return i;
      }
    }
    return -EMFILE;
  }

  closeConsumer(consumer: number): void {
    if (consumer < 1 || consumer >= CONSUMERS || this.open[consumer] === 0) return;
    for (let s = this.head[consumer]; s >= 0; s = this.head[consumer]) this.unlink(consumer, s, -1);
    const of = this.tcb.consumer;
    for (let s = 0; s < of.length; s++) if (of[s] === consumer) of[s] = 0;
    this.open[consumer] = 0;
  }

  route(socket: number, consumer: number): void {
    const before = this.tcb.consumer[socket];
    if (before !== consumer && (this.tcb.onList[socket] & ON_READY) !== 0) this.takeOff(before, socket);
    this.tcb.consumer[socket] = consumer;
    if (consumer !== 0 && this.levels(socket) !== 0) this.list(socket, consumer);
  }

  private takeOff(consumer: number, socket: number): void {
    let previous = -1;
    for (let s = this.head[consumer]; s >= 0; s = this.tcb.readyNext[s]) {
      if (s === socket) {
        this.unlink(consumer, s, previous);
        return;
      }
      previous = s;
    }
  }

  consumerOf(socket: number): number {
    return this.tcb.consumer[socket];
  }

  first(consumer: number): number {
    return this.head[consumer];
  }

  after(socket: number): number {
    return this.tcb.readyNext[socket];
  }

  // hot: per packet
  unlink(consumer: number, socket: number, previous: number): void {
    const tcb = this.tcb;
    const next = tcb.readyNext[socket];
    if (previous >= 0) tcb.readyNext[previous] = next;
    else this.head[consumer] = next;
    if (next < 0) this.tail[consumer] = previous;
    tcb.onList[socket] &= ~ON_READY;
    if ((tcb.flags[socket] & T_DEAD) !== 0) this.reap(socket);
  }

  // hot: per packet
  /** The stack's side: `events` happened at `socket`. */
  notify(socket: number, events: number): void {
    const tcb = this.tcb;
    tcb.edges[socket] |= events;
    const consumer = tcb.consumer[socket];
    if (consumer !== 0 && (tcb.onList[socket] & ON_READY) === 0) this.list(socket, consumer);
  }

  private list(socket: number, consumer: number): void {
    const tcb = this.tcb;
    if ((tcb.onList[socket] & ON_READY) !== 0) return;
    tcb.onList[socket] |= ON_READY;
    tcb.readyNext[socket] = -1;
    const tail = this.tail[consumer];
    if (tail >= 0) tcb.readyNext[tail] = socket;
    else this.head[consumer] = socket;
    this.tail[consumer] = socket;
  }

  // hot: per packet
  levels(socket: number): number {
    const tcb = this.tcb;
    const flags = tcb.flags[socket];
    if ((flags & T_OPEN) === 0) return 0;
    const state = tcb.state[socket];
    if (state === LISTEN) return tcb.acceptCount[socket] > 0 ? EPOLLIN : 0;
    let events = 0;
    if (tcb.rbLen[socket] + tcb.pfLen[socket] > 0 || (flags & (T_EOF | T_RDSHUT)) !== 0) events |= EPOLLIN;
    if ((flags & (T_EOF | T_RDSHUT)) !== 0) events |= EPOLLRDHUP;
    if (((1 << state) & CAN_SEND) !== 0 && (flags & (T_FULL | T_FIN)) === 0) events |= EPOLLOUT;
    if ((flags & (T_EOF | T_FIN)) === (T_EOF | T_FIN)) events |= EPOLLHUP;
    if (state === CLOSED && (flags & T_USED) !== 0) events |= EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLRDHUP;
    if (tcb.error[socket] !== 0) events |= EPOLLERR | EPOLLIN | EPOLLOUT;
    return events;
  }

  // hot: per packet
  takeEdges(socket: number): number {
    const events = this.tcb.edges[socket];
    this.tcb.edges[socket] = 0;
    return (this.tcb.flags[socket] & T_OPEN) !== 0 ? events : 0;
  }
}
