/**
 * Connections in the order in which they came to wait: those in TIME_WAIT that nobody holds, and those half open. A full
 * table takes from the front. Intrusive and doubly linked, in two columns that both lists share: no connection is on both.
 */
export class AgeList {
  /** -1 when empty. */
  oldest = -1;
  private newest = -1;
  private readonly next: Int32Array;
  private readonly prev: Int32Array;

  constructor(next: Int32Array, prev: Int32Array) {
    this.next = next;
    this.prev = prev;
  }

  /** The one that came after `c`, or -1. */
  after(c: number): number {
    return this.next[c];
  }

  add(c: number): void {
    this.next[c] = -1;
    this.prev[c] = this.newest;
    if (this.newest >= 0) this.next[this.newest] = c;
    else this.oldest = c;
    this.newest = c;
  }

  remove(c: number): void {
    const n = this.next[c];
    const p = this.prev[c];
    if (p >= 0) this.next[p] = n;
    else this.oldest = n;
    if (n >= 0) this.prev[n] = p;
    else this.newest = p;
  }
}
