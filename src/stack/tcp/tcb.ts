/**
 * Connections are rows: TCB_ROW words each, all in one block of the arena so that they stay readable when the worker dies.
 * A connection is named by the word its row begins at, `c`; each field is an Int32Array over the whole block that begins at
 * the field's place in the first row, so `sndUna[c]` is what it says. What a segment touches together stands together:
 * a packet of one among very many connections costs the few cache lines of its row's front, not one a field.
 *
 * A row is seven cache lines: an odd number, or the fronts of all rows would share half of the cache's sets.
 */
import { clearWords } from '../../rings/arena.ts';
import { H_CONNECTIONS, H_TCB, HEADER_BYTES } from '../../rings/layout.ts';
import type { Arena } from '../env.ts';

// flags
/** The application holds the id. */
export const T_OPEN = 1 << 0;
/** Freed, but still on a list: reaped when it leaves the last one. */
export const T_DEAD = 1 << 1;
/** SYN (SYN-ACK in SYN_RCVD) is to be sent. */
export const T_SYN = 1 << 2;
/** A FIN follows the queued data. */
export const T_FIN = 1 << 3;
/** The peer's FIN was taken: nothing follows what is queued. */
export const T_EOF = 1 << 4;
/** The peer's FIN stands at rcvFin, beyond a hole. */
export const T_FIN_SEEN = 1 << 5;
/** Timestamps, window scaling, SACK agreed upon (in SYN_SENT: offered). */
export const T_TS = 1 << 6;
export const T_WS = 1 << 7;
export const T_SACK = 1 << 8;
export const T_NODELAY = 1 << 9;
/** A write was refused or cut short: EPOLLOUT when half the buffer is free. */
export const T_FULL = 1 << 10;
/** rtoAt is the persist timer (RFC 9293 section 3.8.6.1). */
export const T_PERSIST = 1 << 11;
/** Fast recovery until `recover` (RFC 6582, RFC 6675). */
export const T_RECOVERY = 1 << 12;
/** The segment at SND.UNA is to be sent again, whatever the window says. */
export const T_REXMIT = 1 << 13;
/** A window probe is to be sent. */
export const T_PROBE = 1 << 14;
/** The local port was bound by the application. */
export const T_BOUND = 1 << 15;
/** This worker claimed the local port in the steering table for this socket. */
export const T_CLAIMED = 1 << 16;
export const T_RDSHUT = 1 << 17;
/** The SYN was sent more than once: RTO 3 s and IW 1 follow (RFC 6298 section 5.7). */
export const T_SYN_LOST = 1 << 18;
/** Made by a listener and not yet in its accept queue. */
export const T_HALF_OPEN = 1 << 19;
/** In its listener's accept queue. */
export const T_QUEUED = 1 << 20;
/** An RTT sample runs: rttSeq, rttAtUs. */
export const T_TIMING = 1 << 21;
/** On this breath's list of connections whose payload stands in frames. */
export const T_FRAMES = 1 << 22;
/** In the flow table. */
export const T_HASHED = 1 << 23;
/** Was connected or connecting once. */
export const T_USED = 1 << 24;
/** This recovery has seen its first partial ACK: later ones leave the retransmission timer alone (RFC 6582 section 3.2). */
export const T_PARTIAL = 1 << 26;
/** In TIME_WAIT and held by nobody: on the list that a full table takes from. */
export const T_WAITING = 1 << 27;

/** This recovery has had its rescue retransmission (RFC 6675 section 4, rule 4). */
export const T_RESCUED = 1 << 28;
/** The retransmission timeout is backed off: the next echoed timestamp is a sample that ends it (RFC 6298 section 5.7). */
export const T_BACKED_OFF = 1 << 29;

/** A keep-alive probe is to be sent. */
export const T_KEEP = 1 << 30;
/** Closed with SO_LINGER: lifeAt ends it with RST. */
export const T_LINGERING = 1 << 31;

// options
export const O_KEEPALIVE = 1 << 0;
export const O_REUSEADDR = 1 << 1;
export const O_REUSEPORT = 1 << 2;

// onList
export const ON_OUTPUT = 2;
export const ON_PARKED = 4;
export const ON_STARVED = 8;

/** Keep-alive as Linux has it: the first probe after two hours (RFC 9293 section 3.8.4 allows no less), nine in all, 75 s apart. */
const KEEP_IDLE_S = 7200;
const KEEP_GAP_S = 75;
const KEEP_COUNT = 9;

/** Words of a row: seven lines of 64 bytes. */
export const TCB_ROW = 112;

/** Arena words of the rows. */
export const tcbWords = (connections: number): number => connections * TCB_ROW;

// hot: per packet
/** The row of the socket with this id, and the id of the socket with this row. */
export const rowOf = (id: number): number => id * TCB_ROW;
// hot: per packet
export const idOf = (c: number): number => (c / TCB_ROW) | 0;

export class Tcb {
  readonly connections: number;
  /** Where the rows end: `for (let c = 0; c < end; c += TCB_ROW)`. */
  readonly end: number;
  /** All rows as one, and what a fresh one looks like. */
  private readonly rows: Int32Array;
  private readonly blank: Int32Array;
  // line 1: whose it is, and what a segment is held against
  readonly state: Int32Array;
  readonly flags: Int32Array;
  readonly remoteIp: Int32Array;
  readonly localIp: Int32Array;
  /** remote << 16 | local. */
  readonly ports: Int32Array;
  readonly onList: Int32Array;
  readonly outNext: Int32Array;
  readonly rcvNxt: Int32Array;
  /** Right edge ever advertised: never moves back. */
  readonly rcvAdv: Int32Array;
  readonly tsRecent: Int32Array;
  readonly tsRecentAtMs: Int32Array;
  readonly lastAckSent: Int32Array;
  /** 0 none, 1 delayed, 2 now, more: that many less one, each by itself. */
  readonly ackDue: Int32Array;
  readonly oooHead: Int32Array;
  /** TCP_INFO: segments in, out and sent again; how often the octets acknowledged and received have passed 2^32. */
  readonly segsIn: Int32Array;
  /** When the peer's last acceptable segment came. */
  readonly heardAtMs: Int32Array;
  // line 2: what an acknowledgment moves
  readonly sndUna: Int32Array;
  readonly sndNxt: Int32Array;
  readonly sndMax: Int32Array;
  readonly sndWnd: Int32Array;
  readonly sndWl1: Int32Array;
  readonly sndWl2: Int32Array;
  readonly cwnd: Int32Array;
  readonly ssthresh: Int32Array;
  readonly dupAcks: Int32Array;
  readonly mss: Int32Array;
  readonly sndScale: Int32Array;
  readonly sbLen: Int32Array;
  readonly sbHead: Int32Array;
  readonly sbTail: Int32Array;
  readonly nxChunk: Int32Array;
  readonly retries: Int32Array;
  // line 3: the time it took, and the scoreboard (recovery/scoreboard.ts)
  readonly rtoAt: Int32Array;
  readonly rtoMs: Int32Array;
  readonly srtt: Int32Array;
  readonly rttvar: Int32Array;
  readonly rttSeq: Int32Array;
  readonly rttAtUs: Int32Array;
  readonly iss: Int32Array;
  readonly recover: Int32Array;
  /** First range, ranges, octets in them; what is lost; what was sent again. */
  readonly sackHead: Int32Array;
  readonly sackCount: Int32Array;
  readonly sackBytes: Int32Array;
  readonly lostEdge: Int32Array;
  readonly lostBytes: Int32Array;
  readonly highRxt: Int32Array;
  readonly rxtBytes: Int32Array;
  readonly ackedBytes: Int32Array;
  // line 4: what a segment out asks for
  readonly flowHash: Int32Array;
  readonly macHi: Int32Array;
  readonly macLo: Int32Array;
  readonly macEpoch: Int32Array;
  readonly tsOffset: Int32Array;
  readonly rcvScale: Int32Array;
  readonly sbHeadOff: Int32Array;
  readonly sbTailOff: Int32Array;
  readonly nxOff: Int32Array;
  readonly nxSeq: Int32Array;
  readonly segsOut: Int32Array;
  readonly sentAtMs: Int32Array;
  /** Bytes its buffers may hold (socketOptions.ts). */
  readonly rcvBuf: Int32Array;
  readonly sndBuf: Int32Array;
  readonly ackAt: Int32Array;
  /** TCP_USER_TIMEOUT in milliseconds, 0 none. */
  readonly userMs: Int32Array;
  // line 5: what came and is not read; the wheel
  readonly pfHead: Int32Array;
  readonly pfTail: Int32Array;
  readonly pfLen: Int32Array;
  readonly pfLink: Int32Array;
  readonly pfOff: Int32Array;
  readonly rbLen: Int32Array;
  readonly rbHead: Int32Array;
  /** Largest segment the peer sent: "full-sized" for the every-second-segment rule. */
  readonly rcvMss: Int32Array;
  readonly irs: Int32Array;
  readonly error: Int32Array;
  readonly wheelSlot: Int32Array;
  readonly wheelAt: Int32Array;
  readonly wheelNext: Int32Array;
  readonly wheelPrev: Int32Array;
  readonly maxWnd: Int32Array;
  readonly tableHash: Int32Array;
  // lines 6 and 7: opening, closing, loss, options
  readonly rbTail: Int32Array;
  readonly oooTail: Int32Array;
  readonly oooCount: Int32Array;
  /** The last segment beyond a hole, and the one before it that did not join it: their SACK blocks come first. */
  readonly sackSeq: Int32Array;
  readonly sackEnd: Int32Array;
  readonly sackOlder: Int32Array;
  readonly rcvFin: Int32Array;
  /** Window probes in a row: their back-off. */
  readonly probes: Int32Array;
  readonly retransmits: Int32Array;
  readonly ackWraps: Int32Array;
  readonly rcvWraps: Int32Array;
  readonly lifeAt: Int32Array;
  readonly keepAt: Int32Array;
  readonly challengeAtMs: Int32Array;
  /** What an ICMP error said, and SND.UNA then: believed for as long as nothing more is acknowledged. */
  readonly softError: Int32Array;
  readonly softUna: Int32Array;
  readonly parent: Int32Array;
  readonly acceptNext: Int32Array;
  readonly ageNext: Int32Array;
  readonly agePrev: Int32Array;
  readonly parkNext: Int32Array;
  readonly starveNext: Int32Array;
  /** Socket options, see socketOptions.ts: O_* bits; linger in seconds, -1 off; MSS asked for, 0 none. */
  readonly options: Int32Array;
  readonly lingerS: Int32Array;
  readonly userMss: Int32Array;
  /** Keep-alive: seconds before the first probe, between probes; how many; sent without an answer; when the last one. */
  readonly keepIdleS: Int32Array;
  readonly keepGapS: Int32Array;
  readonly keepCount: Int32Array;
  readonly keepProbes: Int32Array;
  readonly keepSentMs: Int32Array;
  /** Since when nothing was acknowledged, while retries > 0. */
  readonly stuckAtMs: Int32Array;
  // a listener's, in words that only a connection uses otherwise
  readonly acceptHead: Int32Array;
  readonly acceptTail: Int32Array;
  readonly acceptCount: Int32Array;
  readonly halfOpen: Int32Array;
  readonly backlog: Int32Array;

  /** Takes its columns from the arena, empty, and notes in its header where they are. */
  constructor(arena: Arena, connections: number);
  /** Over columns that another thread made, to be read only: of a worker that is dead, or lives and changes them. */
  constructor(memory: SharedArrayBuffer);
  constructor(arena: Arena | SharedArrayBuffer, size = 0) {
    const made = !(arena instanceof SharedArrayBuffer);
    const memory = made ? arena.memory : arena;
    const header = new Int32Array(memory, 0, HEADER_BYTES >> 2);
    const connections = made ? size : header[H_CONNECTIONS]!;
    const at = made ? arena.take(tcbWords(connections)) : header[H_TCB]!;
    if (made) {
      clearWords(arena.i32, at, tcbWords(connections));
      header[H_CONNECTIONS] = connections;
      header[H_TCB] = at;
    }
    let i = 0;
    // Each ends with the last row's word of it, so that no index beyond the last row is one.
    const column = (): Int32Array => new Int32Array(memory, (at + i++) * 4, (connections - 1) * TCB_ROW + 1);
    this.connections = connections;
    this.end = connections * TCB_ROW;
    // line 1: whose it is, and what a segment is held against
    this.state = column();
    this.flags = column();
    this.remoteIp = column();
    this.localIp = column();
    this.ports = column();
    this.onList = column();
    this.outNext = column();
    this.rcvNxt = column();
    this.rcvAdv = column();
    this.tsRecent = column();
    this.tsRecentAtMs = column();
    this.lastAckSent = column();
    this.ackDue = column();
    this.oooHead = column();
    this.segsIn = column();
    this.heardAtMs = column();
    // line 2: what an acknowledgment moves
    this.sndUna = column();
    this.sndNxt = column();
    this.sndMax = column();
    this.sndWnd = column();
    this.sndWl1 = column();
    this.sndWl2 = column();
    this.cwnd = column();
    this.ssthresh = column();
    this.dupAcks = column();
    this.mss = column();
    this.sndScale = column();
    this.sbLen = column();
    this.sbHead = column();
    this.sbTail = column();
    this.nxChunk = column();
    this.retries = column();
    // line 3: the time it took, and the scoreboard (recovery/scoreboard.ts)
    this.rtoAt = column();
    this.rtoMs = column();
    this.srtt = column();
    this.rttvar = column();
    this.rttSeq = this.acceptHead = column();
    this.rttAtUs = this.acceptTail = column();
    this.iss = column();
    this.recover = column();
    this.sackHead = column();
    this.sackCount = column();
    this.sackBytes = column();
    this.lostEdge = column();
    this.lostBytes = column();
    this.highRxt = column();
    this.rxtBytes = column();
    this.ackedBytes = column();
    // line 4: what a segment out asks for
    this.flowHash = column();
    this.macHi = column();
    this.macLo = column();
    this.macEpoch = column();
    this.tsOffset = column();
    this.rcvScale = column();
    this.sbHeadOff = column();
    this.sbTailOff = column();
    this.nxOff = column();
    this.nxSeq = column();
    this.segsOut = column();
    this.sentAtMs = column();
    this.rcvBuf = column();
    this.sndBuf = column();
    this.ackAt = column();
    this.userMs = column();
    // line 5: what came and is not read; the wheel
    this.pfHead = column();
    this.pfTail = column();
    this.pfLen = column();
    this.pfLink = column();
    this.pfOff = column();
    this.rbLen = column();
    this.rbHead = column();
    this.rcvMss = column();
    this.irs = column();
    this.error = column();
    this.wheelSlot = column();
    this.wheelAt = column();
    this.wheelNext = column();
    this.wheelPrev = column();
    this.maxWnd = column();
    this.tableHash = column();
    // lines 6 and 7: opening, closing, loss, options
    this.rbTail = column();
    this.oooTail = column();
    this.oooCount = column();
    this.sackSeq = this.acceptCount = column();
    this.sackEnd = this.halfOpen = column();
    this.sackOlder = this.backlog = column();
    this.rcvFin = column();
    this.probes = column();
    this.retransmits = column();
    this.ackWraps = column();
    this.rcvWraps = column();
    this.lifeAt = column();
    this.keepAt = column();
    this.challengeAtMs = column();
    this.softError = column();
    this.softUna = column();
    this.parent = column();
    this.acceptNext = column();
    this.ageNext = column();
    this.agePrev = column();
    this.parkNext = column();
    this.starveNext = column();
    this.options = column();
    this.lingerS = column();
    this.userMss = column();
    this.keepIdleS = column();
    this.keepGapS = column();
    this.keepCount = column();
    this.keepProbes = column();
    this.keepSentMs = column();
    this.stuckAtMs = column();
    if (i > TCB_ROW) throw new RangeError(`a row of the Tcb has ${i} words, TCB_ROW says ${TCB_ROW}`);
    this.rows = new Int32Array(memory, at * 4, connections * TCB_ROW);
    this.blank = made ? this.makeBlank() : new Int32Array(0);
  }

  // hot: per packet
  /** A new socket's row: nothing queued, nothing armed, options and estimates at their defaults. Word by word it took twice as long. */
  fresh(c: number): void {
    const rows = this.rows;
    const blank = this.blank;
    for (let k = 0; k < TCB_ROW; k += 4) {
      rows[c + k] = blank[k]!;
      rows[c + k + 1] = blank[k + 1]!;
      rows[c + k + 2] = blank[k + 2]!;
      rows[c + k + 3] = blank[k + 3]!;
    }
  }

  /** The row that `fresh` copies: 0 but for these. Row 0 lends its place for it. */
  private makeBlank(): Int32Array {
    for (const none of [this.sbHead, this.sbTail, this.nxChunk, this.sackHead, this.rbHead, this.rbTail, this.pfHead, this.pfTail])
      none[0] = -1;
    for (const none of [this.oooHead, this.oooTail, this.parent, this.acceptHead, this.acceptTail, this.lingerS]) none[0] = -1;
    this.ssthresh[0] = 0x3fffffff;
    this.rcvMss[0] = 536;
    this.keepIdleS[0] = KEEP_IDLE_S;
    this.keepGapS[0] = KEEP_GAP_S;
    this.keepCount[0] = KEEP_COUNT;
    const blank = this.rows.slice(0, TCB_ROW);
    this.rows.fill(0, 0, TCB_ROW);
    return blank;
  }

  /** A connection has its listener's options. */
  inherit(l: number, c: number): void {
    this.rcvBuf[c] = this.rcvBuf[l];
    this.sndBuf[c] = this.sndBuf[l];
    this.options[c] = this.options[l];
    this.lingerS[c] = this.lingerS[l];
    this.userMss[c] = this.userMss[l];
    this.userMs[c] = this.userMs[l];
    this.keepIdleS[c] = this.keepIdleS[l];
    this.keepGapS[c] = this.keepGapS[l];
    this.keepCount[c] = this.keepCount[l];
  }

  /** A connection that opens on a fresh row: sequence numbers, windows and times. */
  begin(c: number, iss: number, mss: number, rtoMs: number, nowMs: number): void {
    this.iss[c] = iss;
    this.sndUna[c] = iss;
    this.sndNxt[c] = iss;
    this.sndMax[c] = iss;
    this.recover[c] = iss;
    this.mss[c] = mss;
    this.cwnd[c] = mss;
    this.rtoMs[c] = rtoMs;
    this.tsRecentAtMs[c] = nowMs;
    this.sentAtMs[c] = nowMs;
    this.heardAtMs[c] = nowMs;
  }
}
