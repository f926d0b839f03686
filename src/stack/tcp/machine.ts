/**
 * What every part of TCP shares: the columns, the pools, the lists, and the few operations that move a connection as a
 * whole: `enter` a state, ask for output, tell the application, arm a timer, fail, free.
 */
import type { Counters } from '../../rings/counters.ts';
import * as counterIndex from '../../rings/counters.ts';
import * as steeringNumbers from '../../rings/steering.ts';
import { ChunkPool } from '../chunkPool.ts';
import type { StackConfig, StackEnv } from '../env.ts';
import { FlowTable } from '../flowTable.ts';
import { Moves } from '../moves.ts';
import type { Neighbor } from '../neighbor.ts';
import { Ready } from '../readyList.ts';
import { socketIds } from '../socketIds.ts';
import * as socketsNumbers from '../sockets.ts';
import type { Transmit } from '../transmit.ts';
import { AgeList } from './ageList.ts';
import { ChallengeLimit } from './challengeLimit.ts';
import { FreedPorts } from './freedPorts.ts';
import { IsnGenerator } from './isn.ts';
import { rangesOf, Scoreboard } from './recovery/scoreboard.ts';
import * as statesNumbers from './states.ts';
import { EDGES, STATE_NAME } from './states.ts';
import * as tcbNumbers from './tcb.ts';
import { idOf, Tcb, TCB_ROW } from './tcb.ts';
import { Wheel } from './wheel.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { C_TCP_ATTEMPT_FAILS, C_TCP_CHALLENGE_ACKS, C_TCP_CURR_ESTAB, C_TCP_ESTAB_RESETS, C_TCP_TIME_WAIT_REUSED } = counterIndex;
const { STEER_TCP } = steeringNumbers;
const { EMFILE, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, ETIMEDOUT } = socketsNumbers;
const { CLOSED, ESTABLISHED, CLOSE_WAIT, GONE, SYN_RCVD, SYN_SENT, TIME_WAIT } = statesNumbers;
const {
  ON_OUTPUT,
  ON_PARKED,
  ON_STARVED,
  T_BOUND,
  T_CLAIMED,
  T_DEAD,
  T_FRAMES,
  T_HALF_OPEN,
  T_HASHED,
  T_LINGERING,
  T_OPEN,
  T_QUEUED,
  T_USED,
  T_WAITING,
} = tcbNumbers;

/** Words of the table of listeners and of bound ports: one a port. */
export const PORT_TABLE_WORDS = 2 * 65536;

const ESTAB = (1 << ESTABLISHED) | (1 << CLOSE_WAIT);
/** Duplicate ACKs one breath sends at most, plus one: three start a fast retransmit, the others only open the peer's window. */
const DUP_ACKS_MAX = 17;

const RECYCLE_TRIES = 16;

let checks = false;

/** Checks every state change against EDGES: tests turn it on. */
export function setStateChecks(on: boolean): void {
  checks = on;
}

export class Machine {
  readonly env: StackEnv;
  readonly config: StackConfig;
  readonly counters: Counters;
  readonly counted: Float64Array;
  readonly clock: Int32Array;
  readonly tcb: Tcb;
  readonly chunks: ChunkPool;
  readonly board: Scoreboard;
  readonly wheel: Wheel;
  readonly flows: FlowTable;
  readonly ready: Ready;
  /** TIME_WAIT without an owner, and half-open connections, oldest first. */
  readonly waiting: AgeList;
  readonly opening: AgeList;
  readonly moves: Moves;
  /** Local ports that connections to a destination without free ones give back. */
  readonly freed = new FreedPorts();
  readonly transmit: Transmit;
  readonly neighbor: Neighbor;
  readonly isn: IsnGenerator;
  /** Listening socket of each local port, id + 1. */
  readonly listenerOf: Int32Array;
  /** Sockets bound to each local port by bind() or listen(). */
  readonly boundTo: Int32Array;
  /** Payload of this breath that still stands in frames, per frame (the head of its train): see receiveBuffer.ts. */
  readonly pfNext: Int32Array;
  readonly pfAt: Int32Array;
  readonly pfSize: Int32Array;
  readonly pfFirst: Int32Array;
  readonly pfSkip: Int32Array;
  /** Connections with frames this breath. */
  readonly framesOf: Int32Array;
  framesCount = 0;
  outHead = -1;
  outTail = -1;
  parkHead = -1;
  starveHead = -1;
  inUse = 0;
  /** Connections between opening and TIME_WAIT. */
  live = 0;
  draining = false;
  private readonly state: Int32Array;
  private readonly flags: Int32Array;
  private readonly onList: Int32Array;
  private readonly outNext: Int32Array;
  /** Rows nobody has, one behind the other in the column that their lists would use. */
  private readonly ageNext: Int32Array;
  private freeHead = -1;
  /** From here on rows were never used: they have no memory yet. */
  private unused = 0;
  private readonly challenges: ChallengeLimit;

  constructor(env: StackEnv, transmit: Transmit, neighbor: Neighbor) {
    const config = env.config;
    this.env = env;
    this.config = config;
    this.counters = env.counters;
    this.counted = env.counters.v;
    this.clock = env.clock;
    this.tcb = new Tcb(env.arena, config.maxConnections);
    this.chunks = new ChunkPool(env.arena, config.chunks, config.chunkBytes);
    this.board = new Scoreboard(env.arena, this.tcb, rangesOf(config.chunks));
    this.wheel = new Wheel(env.arena, this.tcb, env.clock[1]);
    this.flows = new FlowTable(env.arena, this.tcb, env.random() | 0, env.random() | 0);
    this.ready = new Ready(env.arena, socketIds(config).total);
    this.waiting = new AgeList(this.tcb.ageNext, this.tcb.agePrev);
    this.opening = new AgeList(this.tcb.ageNext, this.tcb.agePrev);
    this.moves = new Moves(env);
    this.transmit = transmit;
    this.neighbor = neighbor;
    this.challenges = new ChallengeLimit(this.tcb.challengeAtMs, env.random);
    this.isn = new IsnGenerator(env.random, env.clock[0]);
    this.listenerOf = new Int32Array(env.arena.memory, env.arena.take(65536) * 4, 65536).fill(0);
    this.boundTo = new Int32Array(env.arena.memory, env.arena.take(65536) * 4, 65536).fill(0);
    const frames = env.port.frames.frames;
    this.pfNext = new Int32Array(frames);
    this.pfAt = new Int32Array(frames);
    this.pfSize = new Int32Array(frames);
    this.pfFirst = new Int32Array(frames);
    this.pfSkip = new Int32Array(frames);
    this.framesOf = new Int32Array(frames);
    this.state = this.tcb.state;
    this.flags = this.tcb.flags;
    this.onList = this.tcb.onList;
    this.outNext = this.tcb.outNext;
    this.ageNext = this.tcb.ageNext;
  }

  /** The one place where a state changes. */
  enter(c: number, next: number): void {
    const from = this.state[c];
    if (checks && (EDGES[from] & (1 << next)) === 0) throw new Error(`TCP: ${STATE_NAME[from]} to ${STATE_NAME[next]} is no edge`);
    this.state[c] = next;
    if ((this.flags[c] & T_WAITING) !== 0) this.stopWaiting(c);
    const was = 1 << from;
    const is = 1 << next;
    if ((was & ESTAB) === 0 && (is & ESTAB) !== 0) this.counted[C_TCP_CURR_ESTAB]++;
    else if ((was & ESTAB) !== 0 && (is & ESTAB) === 0) this.counted[C_TCP_CURR_ESTAB]--;
    if ((was & GONE) !== 0 && (is & GONE) === 0) this.live++;
    else if ((was & GONE) === 0 && (is & GONE) !== 0) this.live--;
  }

  /**
   * When all ids are taken the oldest TIME_WAIT gives up its own: short connections must not fail for want of ids that only
   * wait. A few tries, because an id on a list of the API or of output comes back later.
   */
  private recycle(): void {
    for (let i = 0; i < RECYCLE_TRIES && this.freeHead < 0 && this.waiting.oldest >= 0; i++) this.giveUp(this.waiting.oldest);
  }

  /** Ends a TIME_WAIT before its time for another connection. */
  giveUp(c: number): void {
    this.counted[C_TCP_TIME_WAIT_REUSED]++;
    this.terminate(c, 0);
  }

  /** A fresh socket with its row cleared, or -EMFILE. Not open, not hashed. */
  alloc(): number {
    const c = this.takeRow();
    if (c < 0) return -EMFILE;
    this.inUse++;
    this.tcb.fresh(c);
    this.tcb.rcvBuf[c] = this.config.rcvbuf;
    this.tcb.sndBuf[c] = this.config.sndbuf;
    this.ready.begin(idOf(c));
    return c;
  }

  /** The row that was given back last, a new one, or one that only waits; else -1. */
  private takeRow(): number {
    if (this.freeHead < 0 && this.unused < this.tcb.end) {
      const c = this.unused;
      this.unused += TCB_ROW;
      return c;
    }
    if (this.freeHead < 0) this.recycle();
    const c = this.freeHead;
    if (c >= 0) this.freeHead = this.ageNext[c];
    return c;
  }

  private giveBack(c: number): void {
    this.ageNext[c] = this.freeHead;
    this.freeHead = c;
  }

  // hot: per packet
  wantOutput(c: number): void {
    if ((this.onList[c] & ON_OUTPUT) !== 0) return;
    this.onList[c] |= ON_OUTPUT;
    this.outNext[c] = -1;
    if (this.outTail >= 0) this.outNext[this.outTail] = c;
    else this.outHead = c;
    this.outTail = c;
  }

  // hot: per packet
  /** Takes the first connection off the output list. */
  outputDone(c: number): void {
    this.outHead = this.outNext[c];
    if (this.outHead < 0) this.outTail = -1;
    this.onList[c] &= ~ON_OUTPUT;
    if ((this.flags[c] & T_DEAD) !== 0) this.reap(c);
  }

  /** Keeps a connection whose next hop is unresolved until the neighbour table changes. */
  park(c: number): void {
    if ((this.onList[c] & ON_PARKED) !== 0) return;
    this.onList[c] |= ON_PARKED;
    this.tcb.parkNext[c] = this.parkHead;
    this.parkHead = c;
  }

  /** The neighbour table changed: everyone parked tries again. */
  unpark(): void {
    let c = this.parkHead;
    this.parkHead = -1;
    while (c >= 0) {
      const next = this.tcb.parkNext[c];
      this.onList[c] &= ~ON_PARKED;
      if ((this.flags[c] & T_DEAD) !== 0) this.reap(c);
      else this.wantOutput(c);
      c = next;
    }
  }

  /** Remembers a writer that found no chunk. */
  starve(c: number): void {
    if ((this.onList[c] & ON_STARVED) !== 0) return;
    this.onList[c] |= ON_STARVED;
    this.tcb.starveNext[c] = this.starveHead;
    this.starveHead = c;
  }

  takeStarved(): number {
    const c = this.starveHead;
    if (c < 0) return -1;
    this.starveHead = this.tcb.starveNext[c];
    this.onList[c] &= ~ON_STARVED;
    if ((this.flags[c] & T_DEAD) !== 0) {
      this.reap(c);
      return this.takeStarved();
    }
    return c;
  }

  // hot: per packet
  notify(c: number, events: number): void {
    this.ready.notify(idOf(c), events);
  }

  // hot: per packet
  /** A deadline `ms` from now; never 0, which means unarmed. */
  deadline(ms: number): number {
    const at = (this.clock[1] + ms) | 0;
    return at === 0 ? 1 : at;
  }

  /** Whether another reply to an unacceptable segment of `c` is allowed now. */
  mayChallenge(c: number): boolean {
    return this.challenges.allow(c, this.clock[1]);
  }

  /** A challenge ACK, within its rate. */
  challenge(c: number): void {
    if (!this.mayChallenge(c)) return;
    this.counted[C_TCP_CHALLENGE_ACKS]++;
    this.ackNow(c);
  }

  // hot: per packet
  ackNow(c: number): void {
    if (this.tcb.ackDue[c] < 2) this.tcb.ackDue[c] = 2;
    this.wantOutput(c);
  }

  /** `n` duplicate ACKs, each a segment of its own: the peer counts them. */
  ackAgain(c: number, n: number): void {
    const due = this.tcb.ackDue[c];
    const more = (due < 2 ? 1 : due) + n;
    this.tcb.ackDue[c] = more > DUP_ACKS_MAX ? DUP_ACKS_MAX : more;
    this.wantOutput(c);
  }

  /**
   * Prepares identity, sequence numbers and estimates of a connection that opens; enters it into the flow table. `was`: the row of
   * the one between the same ends that it follows, just freed, or -1.
   */
  open(c: number, localIp: number, remoteIp: number, ports: number, tableHash: number, iss: number, mss: number, was: number): void {
    const t = this.tcb;
    t.localIp[c] = localIp;
    t.remoteIp[c] = remoteIp;
    t.ports[c] = ports;
    t.tableHash[c] = tableHash;
    // The hashes of an identity are the same for all its incarnations.
    t.flowHash[c] = was >= 0 ? t.flowHash[was] : this.env.flowHash(remoteIp, localIp, ports >>> 16, ports & 0xffff);
    t.tsOffset[c] = was >= 0 ? t.tsOffset[was] : this.isn.timestampOffset(remoteIp, localIp, ports);
    t.macEpoch[c] = (this.env.host.epoch() - 1) | 0;
    t.begin(c, iss, mss, this.config.rtoInitialMs, this.clock[1]);
    t.flags[c] |= T_HASHED | T_USED;
    this.flows.add(c);
  }

  /** A connection that just opened begins above everything an old one between the same ends used (RFC 1122 section 4.2.2.13). */
  startAbove(c: number, floor: number): void {
    const t = this.tcb;
    if (((t.iss[c] - floor) | 0) > 0) return;
    const iss = (floor + 64000) | 0;
    t.iss[c] = iss;
    t.sndUna[c] = iss;
    t.sndNxt[c] = iss;
    t.sndMax[c] = iss;
    t.recover[c] = iss;
  }

  /** The MSS we announce: what link and frame can carry without options (RFC 9293 section 3.7.1, RFC 6691), or TCP_MAXSEG. */
  ownMss(c: number): number {
    const frames = this.env.port.frames;
    const inFrame = frames.frameBytes - frames.headroom - 66;
    const link = this.env.host.mtu() - 40;
    const user = this.tcb.userMss[c];
    return Math.max(48, Math.min(this.config.mss, link, inFrame, user > 0 ? user : 65535));
  }

  /** TSval of a segment sent now (RFC 7323 section 4.1): milliseconds plus the identity's offset. */
  tsNow(c: number): number {
    return (this.clock[1] + this.tcb.tsOffset[c]) | 0;
  }

  /** Gives back everything but the id: buffers, timers, table entry, port claim. */
  release(c: number): void {
    const t = this.tcb;
    this.purgeSend(c);
    this.purgeReceive(c);
    this.still(c);
    const port = t.ports[c] & 0xffff;
    if ((t.flags[c] & T_CLAIMED) !== 0) this.env.steering.serve(STEER_TCP, port, this.env.worker, false);
    if ((t.flags[c] & T_BOUND) !== 0) this.boundTo[port]--;
    if ((t.flags[c] & T_HALF_OPEN) !== 0) {
      t.halfOpen[t.parent[c]]--;
      this.opening.remove(c);
    }
    t.flags[c] &= ~(T_CLAIMED | T_BOUND | T_HALF_OPEN);
  }

  /** Nothing is due or armed any more, and no segment finds it. */
  private still(c: number): void {
    const t = this.tcb;
    this.wheel.disarm(c);
    t.rtoAt[c] = 0;
    t.ackAt[c] = 0;
    t.lifeAt[c] = 0;
    t.keepAt[c] = 0;
    t.ackDue[c] = 0;
    if ((t.flags[c] & T_HASHED) !== 0) {
      this.flows.remove(c);
      this.freed.note(t.remoteIp[c], t.ports[c]);
    }
    t.flags[c] &= ~T_HASHED;
  }

  purgeSend(c: number): void {
    const t = this.tcb;
    this.chunks.giveSentChain(t.sbHead[c]);
    t.sbHead[c] = -1;
    t.sbTail[c] = -1;
    t.nxChunk[c] = -1;
    t.sbLen[c] = 0;
    this.board.clear(c);
  }

  purgeReceive(c: number): void {
    const t = this.tcb;
    // A copy to these chunks may still be listed: it must not write into somebody else's.
    if (this.moves.entries > 0) this.moves.flush();
    this.chunks.giveChain(t.rbHead[c]);
    t.rbHead[c] = -1;
    t.rbTail[c] = -1;
    t.rbLen[c] = 0;
    for (let f = t.pfHead[c]; f >= 0; ) {
      const next = this.pfNext[f];
      this.env.port.freeTrain(f);
      f = next;
    }
    t.pfHead[c] = -1;
    t.pfLen[c] = 0;
    this.purgeOutOfOrder(c);
  }

  purgeOutOfOrder(c: number): void {
    const t = this.tcb;
    if (t.oooHead[c] >= 0 && this.moves.entries > 0) this.moves.flush();
    this.chunks.giveChain(t.oooHead[c]);
    t.oooHead[c] = -1;
    t.oooTail[c] = -1;
    t.oooCount[c] = 0;
  }

  /** The connection is over and nobody holds it, or its owner let go: the id goes home as soon as no list holds it. */
  free(c: number): void {
    if (this.state[c] !== CLOSED) this.enter(c, CLOSED);
    this.release(c);
    this.flags[c] = T_DEAD | (this.flags[c] & T_FRAMES);
    this.inUse--;
    if (this.ready.end(idOf(c))) this.reap(c);
  }

  /** A freed id that one more list has let go of. */
  reap(c: number): void {
    if (this.onList[c] !== 0 || this.ready.isListed(idOf(c)) || (this.flags[c] & T_DEAD) === 0) return;
    this.flags[c] = 0;
    this.giveBack(c);
  }

  /** The connection ends: freed when the application does not hold it, else CLOSED with `errno` (0 none) and its events. */
  terminate(c: number, errno: number): void {
    const was = this.state[c];
    if (errno !== 0) {
      if (was === SYN_SENT || was === SYN_RCVD) this.counted[C_TCP_ATTEMPT_FAILS]++;
      else if (((1 << was) & ESTAB) !== 0) this.counted[C_TCP_ESTAB_RESETS]++;
    }
    if ((this.flags[c] & (T_OPEN | T_QUEUED)) === 0) {
      this.free(c);
      return;
    }
    // What was received before stays readable; the error is told after it.
    if (was !== CLOSED) this.enter(c, CLOSED);
    this.purgeSend(c);
    this.purgeOutOfOrder(c);
    this.still(c);
    if (errno !== 0) this.tcb.error[c] = errno;
    this.notify(c, EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLRDHUP | (errno !== 0 ? EPOLLERR : 0));
  }

  /** Given up after too many tries: with the reason an ICMP error gave meanwhile, if nothing was acknowledged since. */
  timedOut(c: number): void {
    const t = this.tcb;
    this.terminate(c, t.softError[c] !== 0 && t.softUna[c] === t.sndUna[c] ? t.softError[c] : ETIMEDOUT);
  }

  /** TIME_WAIT for 2 MSL (RFC 9293 section 3.10.7.4, eighth step). Entered again restarts it. */
  timeWait(c: number): void {
    const t = this.tcb;
    if (this.state[c] !== TIME_WAIT) this.enter(c, TIME_WAIT);
    else if ((t.flags[c] & T_WAITING) !== 0) this.stopWaiting(c);
    if ((t.flags[c] & (T_OPEN | T_QUEUED)) === 0) this.letWait(c);
    t.rtoAt[c] = 0;
    t.keepAt[c] = 0;
    t.flags[c] &= ~T_LINGERING;
    this.endIn(c, this.config.timeWaitMs);
    this.purgeSend(c);
    this.purgeOutOfOrder(c);
  }

  /** The connection is over `ms` from now, whatever has become of it. */
  endIn(c: number, ms: number): void {
    const at = this.deadline(ms);
    this.tcb.lifeAt[c] = at;
    this.wheel.arm(c, at);
  }

  /** Nobody holds this TIME_WAIT any more: a full table may take it. */
  letWait(c: number): void {
    this.flags[c] |= T_WAITING;
    this.waiting.add(c);
  }

  private stopWaiting(c: number): void {
    this.flags[c] &= ~T_WAITING;
    this.waiting.remove(c);
  }
}
