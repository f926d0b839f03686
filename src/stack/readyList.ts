/**
 * Sockets whose condition changed, one intrusive list a consumer (an epoll instance, or net). See sockets.ts.
 * Its columns go over the ids of all kinds of sockets; what holds at a socket, its kind says.
 * Entries are unlinked lazily by the consumer; a socket freed meanwhile stays listed, shows no event, and is reaped
 * when the consumer unlinks it, so an id is never given out again while it stands on a list.
 */
import type { Arena } from './env.ts';
import { EMFILE } from './sockets.ts';
import type { ReadyList, SocketKind } from './sockets.ts';
import { columnStride } from './tcp/tcb.ts';

const CONSUMERS = 64;
const COLUMNS = 4;

// listed
const LISTED = 1;
/** Freed while it stood on a list. */
const GONE = 2;

/** Arena words of the columns for `ids` sockets. */
export const readyWords = (ids: number): number => COLUMNS * columnStride(ids);

export class Ready implements ReadyList {
  private readonly consumer: Int32Array;
  private readonly edges: Int32Array;
  private readonly next: Int32Array;
  private readonly listed: Int32Array;
  private readonly head = new Int32Array(CONSUMERS).fill(-1);
  private readonly tail = new Int32Array(CONSUMERS).fill(-1);
  private readonly open = new Int32Array(CONSUMERS);
  /** Kinds in the order of their ids, and the id behind each one's last. */
  private readonly kinds: SocketKind[] = [];
  private readonly ends: number[] = [];

  /** Columns for `ids` sockets of all kinds. */
  constructor(arena: Arena, ids: number) {
    const stride = columnStride(ids);
    const at = arena.take(readyWords(ids));
    arena.i32.fill(0, at, at + readyWords(ids));
    let i = 0;
    const column = (): Int32Array => new Int32Array(arena.memory, (at + stride * i++) * 4, ids);
    this.consumer = column();
    this.edges = column();
    this.next = column();
    this.listed = column();
  }

  /** The kind that the ids below `end` belong to, and above the end of the kind added before. */
  add(kind: SocketKind, end: number): void {
    this.kinds.push(kind);
    this.ends.push(end);
  }

  // hot: per packet
  private kindOf(socket: number): SocketKind {
    let i = 0;
    while (socket >= this.ends[i]) i++;
    return this.kinds[i];
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
    const of = this.consumer;
    for (let s = 0; s < of.length; s++) if (of[s] === consumer) of[s] = 0;
    this.open[consumer] = 0;
  }

  route(socket: number, consumer: number): void {
    const before = this.consumer[socket];
    if (before !== consumer && this.listed[socket] !== 0) this.takeOff(before, socket);
    this.consumer[socket] = consumer;
    if (consumer !== 0 && this.levels(socket) !== 0) this.list(socket, consumer);
  }

  private takeOff(consumer: number, socket: number): void {
    let previous = -1;
    for (let s = this.head[consumer]; s >= 0; s = this.next[s]) {
      if (s === socket) {
        this.unlink(consumer, s, previous);
        return;
      }
      previous = s;
    }
  }

  consumerOf(socket: number): number {
    return this.consumer[socket];
  }

  first(consumer: number): number {
    return this.head[consumer];
  }

  after(socket: number): number {
    return this.next[socket];
  }

  // hot: per packet
  unlink(consumer: number, socket: number, previous: number): void {
    const next = this.next[socket];
    if (previous >= 0) this.next[previous] = next;
    else this.head[consumer] = next;
    if (next < 0) this.tail[consumer] = previous;
    const gone = (this.listed[socket] & GONE) !== 0;
    this.listed[socket] = 0;
    if (gone) this.kindOf(socket).reap(socket);
  }

  // hot: per packet
  /** The stack's side: `events` happened at `socket`. */
  notify(socket: number, events: number): void {
    this.edges[socket] |= events;
    const consumer = this.consumer[socket];
    if (consumer !== 0 && this.listed[socket] === 0) this.list(socket, consumer);
  }

  private list(socket: number, consumer: number): void {
    if (this.listed[socket] !== 0) return;
    this.listed[socket] = LISTED;
    this.next[socket] = -1;
    const tail = this.tail[consumer];
    if (tail >= 0) this.next[tail] = socket;
    else this.head[consumer] = socket;
    this.tail[consumer] = socket;
  }

  /** The stack's side: an id is given out anew. It stands on no list. */
  begin(socket: number): void {
    this.edges[socket] = 0;
    this.consumer[socket] = 0;
  }

  /** The stack's side: the application let go of the id, no event of it is of interest any more. */
  quiet(socket: number): void {
    this.edges[socket] = 0;
  }

  /**
   * The stack's side: the socket is freed. Returns whether its id is free for reuse: otherwise it stands on a list, and its
   * kind's `reap` is called when it leaves that.
   */
  end(socket: number): boolean {
    this.edges[socket] = 0;
    if (this.listed[socket] === 0) return true;
    this.listed[socket] = LISTED | GONE;
    return false;
  }

  /** Whether `socket` stands on a list. */
  isListed(socket: number): boolean {
    return this.listed[socket] !== 0;
  }

  // hot: per packet
  levels(socket: number): number {
    return this.kindOf(socket).levels(socket);
  }

  // hot: per packet
  takeEdges(socket: number): number {
    const events = this.edges[socket];
    this.edges[socket] = 0;
    return this.kindOf(socket).isOpen(socket) ? events : 0;
  }
}
