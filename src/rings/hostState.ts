/**
 * Host state, published by the thread that owns RX queue 0 and read by every worker: our address, route, MTU and the
 * neighbour table. Single writer, seqlock: readers retry while the sequence word is odd or has moved.
 *
 * Words from the block's base:
 * | word  | meaning                                                     |
 * |-------|-------------------------------------------------------------|
 * | 0     | sequence (seqlock)                                          |
 * | 1     | epoch: bumped at every neighbour change, polled by waiters  |
 * | 2     | local IPv4 address (int32, host order)                      |
 * | 3     | prefix length                                               |
 * | 4     | gateway IPv4 address, 0 none                                |
 * | 5     | MTU in bytes (IP header included)                           |
 * | 6, 7  | our MAC: first 4 bytes, last 2 bytes                        |
 * | 8     | key for hashing the table (random)                          |
 * | 32..  | neighbours: NEIGHBOURS entries of 4 words, open addressing: |
 * |       | ip · state NB_* · MAC first 4 bytes · MAC last 2 bytes      |
 */
export const NEIGHBOURS = 4096;
export const HS_SEQ = 0;
export const HS_EPOCH = 1;
export const HS_ADDRESS = 2;
export const HS_PREFIX = 3;
export const HS_GATEWAY = 4;
export const HS_MTU = 5;
export const HS_MAC_HI = 6;
export const HS_MAC_LO = 7;
export const HS_KEY = 8;
export const HS_TABLE = 32;
export const NB_WORDS = 4;

export const NB_EMPTY = 0;
/** Asked, no answer yet. */
export const NB_INCOMPLETE = 1;
export const NB_REACHABLE = 2;
/** Old but usable; using it asks for confirmation. */
export const NB_STALE = 3;
/** Did not answer; packets for it are refused until the entry expires. */
export const NB_FAILED = 4;
/** Deleted: probing goes on past it. */
export const NB_TOMBSTONE = 5;

export const HOST_STATE_BYTES = (HS_TABLE + NEIGHBOURS * NB_WORDS) * 4;

// Messages workers send to the owner of the host state, 4 words each, over the `control` ring of their port
export const MSG_RESOLVE = 1;
/** Upper layer saw forward progress through this neighbour (RFC 4861 section 7.3.1 for IPv4 too). */
export const MSG_CONFIRM = 2;

/** How often a reader looks again before it leaves a writer alone. */
const READ_TRIES = 10_000;

/** Reader's side. */
export class HostView {
  private readonly words: Int32Array;
  private readonly at: number;
  /** MAC found by the last successful `mac()`: first 4 bytes and last 2. */
  macHi = 0;
  macLo = 0;

  /** `at`: byte offset of the host state in the control block. */
  constructor(block: SharedArrayBuffer, at: number) {
    this.words = new Int32Array(block, 0, block.byteLength >> 2);
    this.at = at >> 2;
  }

  // hot: per burst
  /** Part of the last look before sleeping: ordered after the bell was armed, on any CPU. */
  epoch(): number {
    return Atomics.load(this.words, this.at + HS_EPOCH);
  }

  address(): number {
    return this.words[this.at + HS_ADDRESS]!;
  }

  prefix(): number {
    return this.words[this.at + HS_PREFIX]!;
  }

  mtu(): number {
    return this.words[this.at + HS_MTU]!;
  }

  ownMacHi(): number {
    return this.words[this.at + HS_MAC_HI]!;
  }

  ownMacLo(): number {
    return this.words[this.at + HS_MAC_LO]!;
  }

  /** Next hop towards `dst`: `dst` itself on the link, else the gateway; 0 when there is no route. */
  nextHop(dst: number): number {
    const prefix = this.words[this.at + HS_PREFIX]!;
    const mask = prefix === 0 ? 0 : -1 << (32 - prefix);
    return ((dst ^ this.words[this.at + HS_ADDRESS]!) & mask) === 0 ? dst : this.words[this.at + HS_GATEWAY]!;
  }

  // hot: per packet
  /**
   * State of neighbour `ip` (NB_*), NB_EMPTY when unknown; fills macHi and macLo when REACHABLE or STALE. A writer that was
   * stopped in the middle of a change is not waited for: NB_INCOMPLETE then, and the epoch moves when it goes on.
   */
  mac(ip: number): number {
    const words = this.words;
    for (let tries = 0; tries < READ_TRIES; tries++) {
      const seq = Atomics.load(words, this.at + HS_SEQ);
      if ((seq & 1) !== 0) continue;
      let state = NB_EMPTY;
      let k = neighbourSlot(ip, words[this.at + HS_KEY]!);
      for (let i = 0; i < NEIGHBOURS; i++) {
        const e = this.at + HS_TABLE + k * NB_WORDS;
        const s = words[e + 1]!;
        if (s === NB_EMPTY) break;
        if (s !== NB_TOMBSTONE && words[e] === ip) {
          state = s;
          this.macHi = words[e + 2]!;
          this.macLo = words[e + 3]!;
          break;
        }
        k = (k + 1) & (NEIGHBOURS - 1);
      }
      if (Atomics.load(words, this.at + HS_SEQ) === seq) return state;
    }
    return NB_INCOMPLETE;
  }
}

export function neighbourSlot(ip: number, key: number): number {
  let h = Math.imul(ip ^ key, 0x9e3779b1);
  h = Math.imul(h ^ (h >>> 15), 0x85ebca6b);
  return (h ^ (h >>> 13)) & (NEIGHBOURS - 1);
}

/** Writer's side: only the owner of RX queue 0 (and main while it formats). */
export class HostPublisher {
  private readonly w: Int32Array;
  private used = 0;
  private readonly torn: boolean;

  constructor(block: SharedArrayBuffer, at: number) {
    this.w = new Int32Array(block, at, HOST_STATE_BYTES >> 2);
    // A writer that died in the middle of a change: readers wait for its end. What it was writing is not to be believed.
    this.torn = (Atomics.load(this.w, HS_SEQ) & 1) !== 0;
    if (this.torn) this.end();
    for (let i = 0; i < NEIGHBOURS; i++) {
      const s = this.stateAt(i);
      if (s !== NB_EMPTY && s !== NB_TOMBSTONE) this.used++;
    }
  }

  setHost(host: { address: number; prefix: number; gateway: number; mtu: number; macHi: number; macLo: number; key: number }): void {
    this.begin();
    this.w[HS_ADDRESS] = host.address;
    this.w[HS_PREFIX] = host.prefix;
    this.w[HS_GATEWAY] = host.gateway;
    this.w[HS_MTU] = host.mtu;
    this.w[HS_MAC_HI] = host.macHi;
    this.w[HS_MAC_LO] = host.macLo;
    this.w[HS_KEY] = host.key;
    this.end();
  }

  /** Forgets every neighbour, and returns those that were usable: ip, MAC first 4 bytes, last 2. None when the last writer died writing. */
  takeKnown(): [number, number, number][] {
    const known: [number, number, number][] = [];
    for (let k = 0; k < NEIGHBOURS && !this.torn; k++) {
      const state = this.stateAt(k);
      if (state === NB_REACHABLE || state === NB_STALE) known.push([this.ipAt(k), this.macHiAt(k), this.macLoAt(k)]);
    }
    this.clear();
    return known;
  }

  private clear(): void {
    this.begin();
    this.w.fill(NB_EMPTY, HS_TABLE, HS_TABLE + NEIGHBOURS * NB_WORDS);
    this.end();
    this.used = 0;
  }

  /** Index of the neighbour's entry, or -1. */
  find(ip: number): number {
    let k = neighbourSlot(ip, this.w[HS_KEY]!);
    for (let i = 0; i < NEIGHBOURS; i++) {
      const e = HS_TABLE + k * NB_WORDS;
      const s = this.w[e + 1]!;
      if (s === NB_EMPTY) return -1;
      if (s !== NB_TOMBSTONE && this.w[e] === ip) return k;
      k = (k + 1) & (NEIGHBOURS - 1);
    }
    return -1;
  }

  /** What entry `k` (0..NEIGHBOURS-1) holds: NB_EMPTY and NB_TOMBSTONE hold nothing. */
  stateAt(k: number): number {
    return this.w[HS_TABLE + k * NB_WORDS + 1]!;
  }

  ipAt(k: number): number {
    return this.w[HS_TABLE + k * NB_WORDS]!;
  }

  macHiAt(k: number): number {
    return this.w[HS_TABLE + k * NB_WORDS + 2]!;
  }

  macLoAt(k: number): number {
    return this.w[HS_TABLE + k * NB_WORDS + 3]!;
  }

  /** Moves at every change that a reader can see. */
  epoch(): number {
    return this.w[HS_EPOCH]!;
  }

  /** Entries in use. */
  size(): number {
    return this.used;
  }

  /** Creates or changes a neighbour. Returns its index, or -1 when the table is three quarters full. */
  put(ip: number, state: number, macHi: number, macLo: number): number {
    let k = this.find(ip);
    if (k < 0) {
      if (this.used >= (NEIGHBOURS * 3) >> 2) return -1;
      k = neighbourSlot(ip, this.w[HS_KEY]!);
      for (;;) {
        const s = this.w[HS_TABLE + k * NB_WORDS + 1]!;
        if (s === NB_EMPTY || s === NB_TOMBSTONE) break;
        k = (k + 1) & (NEIGHBOURS - 1);
      }
      this.used++;
    }
    const e = HS_TABLE + k * NB_WORDS;
    this.begin();
    this.w[e] = ip;
    this.w[e + 1] = state;
    this.w[e + 2] = macHi;
    this.w[e + 3] = macLo;
    this.end();
    return k;
  }

  remove(ip: number): void {
    const k = this.find(ip);
    if (k < 0) return;
    const e = HS_TABLE + k * NB_WORDS;
    this.begin();
    if (this.stateAt((k + 1) & (NEIGHBOURS - 1)) === NB_EMPTY) {
      // Nothing is behind: this entry and the deleted ones before it end their chain here, so that probing stays short.
      let i = k;
      do {
        this.w[HS_TABLE + i * NB_WORDS + 1] = NB_EMPTY;
        i = (i - 1) & (NEIGHBOURS - 1);
      } while (this.stateAt(i) === NB_TOMBSTONE);
    } else {
      this.w[e + 1] = NB_TOMBSTONE;
    }
    this.end();
    this.used--;
  }

  private begin(): void {
    Atomics.store(this.w, HS_SEQ, (this.w[HS_SEQ]! + 1) | 0);
  }

  private end(): void {
    Atomics.store(this.w, HS_EPOCH, (this.w[HS_EPOCH]! + 1) | 0);
    Atomics.store(this.w, HS_SEQ, (this.w[HS_SEQ]! + 1) | 0);
  }
}
