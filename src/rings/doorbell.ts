/**
 * Waking a thread that sleeps, and costing nothing when it does not.
 *
 * A bell belongs to one thread. The sleeper publishes *how* it sleeps, looks at its rings a last time, then sleeps.
 * The ringer publishes its ring index first, then looks at the mode, and rings only if it is not AWAKE, with the bell
 * that wakes that kind of sleep. Both orders are sequentially consistent (Atomics), so one of the two always sees the other.
 *
 * Words from the bell's base: 0 mode · 1 ring count · 2 eventfd (-1 none).
 */
export const AWAKE = 0;
/** Asleep in `Atomics.wait` on word 1. */
export const SLEEP_WAIT = 1;
/** Asleep in poll(2), or in the event loop's, on devices and the bell's eventfd. */
export const SLEEP_POLL = 2;
/** Event loop runs; `Atomics.waitAsync` on word 1. */
export const SLEEP_ASYNC = 3;

export const BELL_MODE = 0;
export const BELL_COUNT = 1;
export const BELL_EVENTFD = 2;
export const BELL_WORDS = 32;

/** Writes to the sleeper's eventfd; injected (native), absent without an addon. */
export type RingEventfd = (fd: number) => void;

export class Doorbell {
  private readonly words: Int32Array;
  private readonly at: number;
  private readonly ringEventfd: RingEventfd | undefined;

  constructor(words: Int32Array, at: number, ringEventfd?: RingEventfd) {
    this.words = words;
    this.at = at;
    this.ringEventfd = ringEventfd;
  }

  // hot: per burst
  /** Ringer: after publishing. One atomic load when the owner is awake. */
  ring(): void {
    const mode = Atomics.load(this.words, this.at + BELL_MODE);
    if (mode !== AWAKE) this.wake(mode);
  }

  private wake(mode: number): void {
    Atomics.add(this.words, this.at + BELL_COUNT, 1);
    if (mode === SLEEP_POLL) {
      if (this.ringEventfd !== undefined) this.ringEventfd(this.words[this.at + BELL_EVENTFD]!);
    } else {
      Atomics.notify(this.words, this.at + BELL_COUNT);
    }
  }

  /**
   * Sleeper: says how it is about to sleep and returns a ticket. Look at every ring once more *after* this call,
   * then either `awake()` or the sleep that fits the mode.
   */
  prepare(mode: number): number {
    const ticket = Atomics.load(this.words, this.at + BELL_COUNT);
    Atomics.store(this.words, this.at + BELL_MODE, mode);
    return ticket;
  }

  /** Sleeper: blocks up to `ms` (mode SLEEP_WAIT). Returns true if the bell rang. */
  wait(ticket: number, ms: number): boolean {
    return Atomics.wait(this.words, this.at + BELL_COUNT, ticket, ms) !== 'timed-out';
  }

  /** Sleeper: resolves when the bell rings or after `ms` (mode SLEEP_ASYNC). */
  async waitAsync(ticket: number, ms: number): Promise<boolean> {
    const r = Atomics.waitAsync(this.words, this.at + BELL_COUNT, ticket, ms);
    return (r.async ? await r.value : r.value) !== 'timed-out';
  }

  awake(): void {
    Atomics.store(this.words, this.at + BELL_MODE, AWAKE);
  }

  /** The owner's eventfd, -1 none. */
  eventfd(): number {
    return Atomics.load(this.words, this.at + BELL_EVENTFD);
  }

  setEventfd(fd: number): void {
    Atomics.store(this.words, this.at + BELL_EVENTFD, fd);
  }
}
