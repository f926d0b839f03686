/**
 * Which connection a segment belongs to: open addressing in the arena, two words an entry (keyed hash, id + 1), linear
 * probing, deletion by backward shift, so there are no tombstones and a lookup ends at the first empty slot.
 * The hash is keyed (HalfSipHash-1-3), so that a peer cannot choose tuples that collide.
 */
import { clearWords } from '../rings/arena.ts';
import type { Arena } from './env.ts';
import { halfSipTable } from './tcp/isn.ts';
import type { Tcb } from './tcp/tcb.ts';

export const flowSlots = (connections: number): number => 2 ** Math.ceil(Math.log2(Math.max(16, connections * 2)));

export class FlowTable {
  private readonly table: Int32Array;
  private readonly mask: number;
  private readonly k0: number;
  private readonly k1: number;
  private readonly tableHash: Int32Array;
  private readonly remoteIp: Int32Array;
  private readonly localIp: Int32Array;
  private readonly ports: Int32Array;
  used = 0;

  constructor(arena: Arena, tcb: Tcb, k0: number, k1: number) {
    const slots = flowSlots(tcb.connections);
    const at = arena.take(slots * 2);
    clearWords(arena.i32, at, slots * 2);
    this.table = new Int32Array(arena.memory, at * 4, slots * 2);
    this.mask = slots - 1;
    this.k0 = k0;
    this.k1 = k1;
    this.tableHash = tcb.tableHash;
    this.remoteIp = tcb.remoteIp;
    this.localIp = tcb.localIp;
    this.ports = tcb.ports;
  }

  // hot: per packet
  hash(remoteIp: number, localIp: number, ports: number): number {
    return halfSipTable(this.k0, this.k1, remoteIp, localIp, ports);
  }

  // hot: per packet
  /** Connection id, or -1. */
  find(remoteIp: number, localIp: number, ports: number, hash: number): number {
    const table = this.table;
    for (let k = hash & this.mask; ; k = (k + 1) & this.mask) {
      const c = table[(k << 1) + 1] - 1;
      if (c < 0) return -1;
      if (table[k << 1] === hash && this.ports[c] === ports && this.remoteIp[c] === remoteIp && this.localIp[c] === localIp) return c;
    }
  }

  // hot: per packet
  /** Whoever stands first where `hash` belongs, or -1: most often the one that `find` finds. */
  first(hash: number): number {
    return this.table[((hash & this.mask) << 1) + 1] - 1;
  }

  /** Enters connection `c`, whose identity columns and tableHash are set. The table is never more than half full. */
  add(c: number): void {
    const table = this.table;
    const hash = this.tableHash[c];
    let k = hash & this.mask;
    while (table[(k << 1) + 1] !== 0) k = (k + 1) & this.mask;
    table[k << 1] = hash;
    table[(k << 1) + 1] = c + 1;
    this.used++;
  }

  remove(c: number): void {
    const table = this.table;
    const mask = this.mask;
    let k = this.tableHash[c] & mask;
    while (table[(k << 1) + 1] !== c + 1) k = (k + 1) & mask;
    for (let j = (k + 1) & mask; table[(j << 1) + 1] !== 0; j = (j + 1) & mask) {
      const home = table[j << 1] & mask;
      if (((j - home) & mask) >= ((j - k) & mask)) {
        table[k << 1] = table[j << 1];
        table[(k << 1) + 1] = table[(j << 1) + 1];
        k = j;
      }
    }
    table[(k << 1) + 1] = 0;
    this.used--;
  }
}
