/**
 * Sockets whose condition changed, one intrusive list a consumer (an epoll instance, or net). See sockets.ts.
 * It has four words for each id of all kinds of sockets, side by side; what holds at a socket, its kind says.
 * Entries are unlinked lazily by the consumer; a socket freed meanwhile stays listed, shows no event, and is reaped
 * when the consumer unlinks it, so an id is never given out again while it stands on a list.
 */
import { clearWords } from '../rings/arena.ts';
import type { Arena } from './env.ts';
import * as socketsNumbers from './sockets.ts';
import type { ReadyList, SocketKind } from './sockets.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { EMFILE } = socketsNumbers;

const CONSUMERS = 64;
// Words of a socket
const CONSUMER = 0;
const EDGES = 1;
const NEXT = 2;
const ON_LIST = 3;
const WORDS_SHIFT = 2;

// on-list bits
const LISTED = 1;
/** Freed while it stood on a list. */
const GONE = 2;

/** Arena words for `ids` sockets. */
export const readyWords = (ids: number): number => ids << WORDS_SHIFT;

export class Ready implements ReadyList {
  private readonly words: Int32Array;
  private readonly head = new Int32Array(CONSUMERS).fill(-1);
  private readonly tail = new Int32Array(CONSUMERS).fill(-1);
  private readonly open = new Int32Array(CONSUMERS);
  /** Kinds in the order of their ids, and the id behind each one's last. */
  private readonly kinds: SocketKind[] = [];
  private readonly ends: number[] = [];

  /** For `ids` sockets of all kinds. */
  constructor(arena: Arena, ids: number) {
    const at = arena.take(readyWords(ids));
    clearWords(arena.i32, at, readyWords(ids));
    this.words = new Int32Array(arena.memory, at * 4, readyWords(ids));
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
    const w = this.words;
    for (let k = CONSUMER; k < w.length; k += 1 << WORDS_SHIFT) if (w[k] === consumer) w[k] = 0;
    this.open[consumer] = 0;
  }

  route(socket: number, consumer: number): void {
    const before = this.words[(socket << WORDS_SHIFT) + CONSUMER];
    if (before !== consumer && this.words[(socket << WORDS_SHIFT) + ON_LIST] !== 0) this.takeOff(before, socket);
    this.words[(socket << WORDS_SHIFT) + CONSUMER] = consumer;
    if (consumer !== 0 && this.levels(socket) !== 0) this.list(socket, consumer);
  }

  private takeOff(consumer: number, socket: number): void {
    let previous = -1;
    for (let s = this.head[consumer]; s >= 0; s = this.words[(s << WORDS_SHIFT) + NEXT]) {
      if (s === socket) {
        this.unlink(consumer, s, previous);
        return;
      }
      previous = s;
    }
  }

  consumerOf(socket: number): number {
    return this.words[(socket << WORDS_SHIFT) + CONSUMER];
  }

  first(consumer: number): number {
    return this.head[consumer];
  }

  after(socket: number): number {
    return this.words[(socket << WORDS_SHIFT) + NEXT];
  }

  // hot: per packet
  unlink(consumer: number, socket: number, previous: number): void {
    const next = this.words[(socket << WORDS_SHIFT) + NEXT];
    if (previous >= 0) this.words[(previous << WORDS_SHIFT) + NEXT] = next;
    else this.head[consumer] = next;
    if (next < 0) this.tail[consumer] = previous;
    const gone = (this.words[(socket << WORDS_SHIFT) + ON_LIST] & GONE) !== 0;
    this.words[(socket << WORDS_SHIFT) + ON_LIST] = 0;
    if (gone) this.kindOf(socket).reap(socket);
  }

  // hot: per packet
  /** The stack's side: `events` happened at `socket`. */
  notify(socket: number, events: number): void {
    this.words[(socket << WORDS_SHIFT) + EDGES] |= events;
    const consumer = this.words[(socket << WORDS_SHIFT) + CONSUMER];
    if (consumer !== 0 && this.words[(socket << WORDS_SHIFT) + ON_LIST] === 0) this.list(socket, consumer);
  }

  private list(socket: number, consumer: number): void {
    if (this.words[(socket << WORDS_SHIFT) + ON_LIST] !== 0) return;
    this.words[(socket << WORDS_SHIFT) + ON_LIST] = LISTED;
    this.words[(socket << WORDS_SHIFT) + NEXT] = -1;
    const tail = this.tail[consumer];
    if (tail >= 0) this.words[(tail << WORDS_SHIFT) + NEXT] = socket;
    else this.head[consumer] = socket;
    this.tail[consumer] = socket;
  }

  /** The stack's side: an id is given out anew. It stands on no list. */
  begin(socket: number): void {
    this.words[(socket << WORDS_SHIFT) + EDGES] = 0;
    this.words[(socket << WORDS_SHIFT) + CONSUMER] = 0;
  }

  /** The stack's side: the application let go of the id, no event of it is of interest any more. */
  quiet(socket: number): void {
    this.words[(socket << WORDS_SHIFT) + EDGES] = 0;
  }

  /**
   * The stack's side: the socket is freed. Returns whether its id is free for reuse: otherwise it stands on a list, and its
   * kind's `reap` is called when it leaves that.
   */
  end(socket: number): boolean {
    this.words[(socket << WORDS_SHIFT) + EDGES] = 0;
    if (this.words[(socket << WORDS_SHIFT) + ON_LIST] === 0) return true;
    this.words[(socket << WORDS_SHIFT) + ON_LIST] = LISTED | GONE;
    return false;
  }

  /** Whether `socket` stands on a list. */
  isListed(socket: number): boolean {
    return this.words[(socket << WORDS_SHIFT) + ON_LIST] !== 0;
  }

  // hot: per packet
  levels(socket: number): number {
    return this.kindOf(socket).levels(socket);
  }

  // hot: per packet
  takeEdges(socket: number): number {
    const events = this.words[(socket << WORDS_SHIFT) + EDGES];
    this.words[(socket << WORDS_SHIFT) + EDGES] = 0;
    return this.kindOf(socket).isOpen(socket) ? events : 0;
  }
}
