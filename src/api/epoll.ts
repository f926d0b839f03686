/**
 * epoll over the stack's ready list. An instance is one consumer of that list; 16 bytes a socket say what is watched.
 *
 * The list says which sockets *may* have news; `collect` decides. Per listed socket, in order:
 *   not ours (deleted, closed, moved)       → off the list, no event
 *   level-triggered, condition holds        → event, stays listed: it is looked at again next time
 *   edge-triggered, raised since last time  → event with all bits that hold now (as Linux does), off the list
 *   ONESHOT                                 → event, off the list, disarmed until EPOLL_CTL_MOD
 *   nothing holds                           → off the list; the stack lists it again when something is raised
 * ADD and MOD route the socket anew, which lists it at once when a condition already holds, and mark it fresh: a fresh
 * edge-triggered socket is reported for what holds, raised or not.
 */
import * as socketsNumbers from '../stack/sockets.ts';
import type { ReadyList, Sockets } from '../stack/sockets.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { EBADF, EEXIST, EINVAL, ENOENT, EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLONESHOT, EPOLLOUT, EPOLLPRI, EPOLLRDHUP } =
  socketsNumbers;

export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLL_CTL_MOD = 3;

/** Epoll ids start here, sockets are below: one number names either, as in mTCP's socket map. */
export const EPOLL_BASE = 1 << 24;
const CONSUMERS = 64;

/** Whether `s` cannot be a socket's id. The stack knows whether it is open. */
export const badSocket = (s: number): boolean => (s | 0) !== s || s < 0 || s >= EPOLL_BASE;

/** Whether `s` is an open socket's id. For calls that the stack would quietly take for any id. */
export function isSocket(sockets: Sockets, s: number): boolean {
  return !badSocket(s) && sockets.isOpen(s);
}

/** Reported whether asked for or not. */
const ALWAYS = EPOLLERR | EPOLLHUP;
const REPORTED = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | ALWAYS;

/** What to watch: EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET | EPOLLONESHOT …, and a number that comes back with each event. */
export interface EpollEvent {
  events: number;
  /** Any number, int32 or double; the socket's id when left out. */
  data?: number;
}

/**
 * Room for events, made once and filled by each wait: entry `i` (0..count-1) is `socket[i]`, `events[i]`, `data[i]`.
 * One entry a socket, with all its bits. Contents are valid until the next wait with the same object.
 */
export class EpollEvents {
  readonly socket: Int32Array;
  readonly events: Int32Array;
  readonly data: Float64Array;
  readonly max: number;
  count = 0;

  /** `max` entries, at least 1. */
  constructor(max: number) {
    if (!Number.isInteger(max) || max < 1) throw new RangeError(`EpollEvents: max is ${max}, must be an integer of at least 1`);
    this.max = max;
    this.socket = new Int32Array(max);
    this.events = new Int32Array(max);
    this.data = new Float64Array(max);
  }
}

/** All epoll instances of one worker. */
export class EpollTable {
  private readonly ready: ReadyList;
  private readonly sockets: Sockets;
  // By socket id, 16 bytes side by side: what is watched, whether ADD or MOD came since the last look, the number to hand back
  private words = new Int32Array(4 * 1024);
  private numbers = new Float64Array(this.words.buffer);
  // By consumer: whether it is open, whether the last look was cut short by a full EpollEvents, and how often it was closed
  private readonly open = new Uint8Array(CONSUMERS);
  private readonly cut = new Uint8Array(CONSUMERS);
  private readonly closed = new Int32Array(CONSUMERS);

  constructor(sockets: Sockets) {
    this.sockets = sockets;
    this.ready = sockets.ready;
  }

  /** New epoll id, or -EMFILE. */
  create(): number {
    const consumer = this.ready.openConsumer();
    if (consumer < 0) return consumer;
    this.open[consumer] = 1;
    this.cut[consumer] = 0;
    return EPOLL_BASE + consumer;
  }

  /** Consumer of an epoll id, or -EBADF when it is no open instance. */
  consumerOf(ep: number): number {
    const consumer = ep - EPOLL_BASE;
    return this.open[consumer] === 1 ? consumer : -EBADF;
  }

  close(ep: number): number {
    const consumer = this.consumerOf(ep);
    if (consumer < 0) return consumer;
    this.ready.closeConsumer(consumer);
    this.open[consumer] = 0;
    this.closed[consumer]!++;
    return 0;
  }

  /** Changes when the instance is closed: its id may be another's afterwards. */
  generation(consumer: number): number {
    return this.closed[consumer]!;
  }

  closeAll(): void {
    for (let c = 1; c < CONSUMERS; c++) if (this.open[c] === 1) this.close(EPOLL_BASE + c);
  }

  /** 0, or -EBADF, -EEXIST (the socket is in an epoll), -ENOENT (not in this one), -EINVAL. */
  control(ep: number, op: number, s: number, event: EpollEvent | undefined): number {
    const consumer = this.consumerOf(ep);
    if (consumer < 0) return consumer;
    if (!isSocket(this.sockets, s)) return -EBADF;
    const now = this.ready.consumerOf(s);
    if (op === EPOLL_CTL_ADD) {
      if (now > 0) return -EEXIST;
    } else if (op !== EPOLL_CTL_MOD && op !== EPOLL_CTL_DEL) {
      return -EINVAL;
    } else if (now !== consumer) {
      return -ENOENT;
    }
    if (op === EPOLL_CTL_DEL) {
      this.ready.route(s, 0);
      return 0;
    }
    if (event === undefined || event === null || !Number.isInteger(event.events)) return -EINVAL;
    if (s * 4 >= this.words.length) this.grow(s);
    this.words[s * 4] = event.events | ALWAYS;
    this.words[s * 4 + 1] = 1;
    this.numbers[s * 2 + 1] = event.data === undefined ? s : event.data;
    this.ready.route(s, consumer);
    return 0;
  }

  private grow(s: number): void {
    let n = this.words.length;
    while (n <= s * 4) n *= 2;
    const words = new Int32Array(n);
    words.set(this.words);
    this.words = words;
    this.numbers = new Float64Array(words.buffer);
  }

  // hot: per burst
  /**
   * Fills `out` with at most `max` events of `consumer` and returns how many. When the room did not suffice last time,
   * level-triggered sockets go to the list's end as they are reported, so that none starves behind busy ones.
   */
  collect(consumer: number, out: EpollEvents, max: number): number {
    const ready = this.ready;
    const rotate = this.cut[consumer] === 1;
    let n = 0;
    let moved = -1;
    let previous = -1;
    let s = ready.first(consumer);
    while (s >= 0 && s !== moved && n < max) {
      const next = ready.after(s);
      const bits = ready.consumerOf(s) === consumer ? this.news(s) : 0;
      let keep = false;
      if (bits !== 0) {
        out.socket[n] = s;
        out.events[n] = bits;
        out.data[n] = this.numbers[s * 2 + 1]!;
        n++;
        const interest = this.words[s * 4]!;
        if ((interest & EPOLLONESHOT) !== 0) this.words[s * 4] = 0;
        else keep = (interest & EPOLLET) === 0;
      }
      if (keep && !rotate) {
        previous = s;
      } else {
        ready.unlink(consumer, s, previous);
        if (keep) {
          ready.route(s, consumer);
          if (moved < 0) moved = s;
        }
      }
      s = next;
    }
    this.cut[consumer] = s >= 0 && s !== moved ? 1 : 0;
    out.count = n;
    return n;
  }

  // hot: per packet
  /** The bits to report for a listed socket, 0 for none. */
  private news(s: number): number {
    const interest = this.words[s * 4]!;
    const want = interest & REPORTED;
    const raised = this.ready.takeEdges(s);
    const fresh = this.words[s * 4 + 1];
    this.words[s * 4 + 1] = 0;
    if ((interest & EPOLLET) !== 0 && fresh === 0 && (raised & want) === 0) return 0;
    return this.ready.levels(s) & want;
  }
}
