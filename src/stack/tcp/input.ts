/**
 * A segment arrives: RFC 9293 section 3.10.7 in its own order, one function a step. The steps share the segment in flight
 * (segment.ts) and say DROP_NONE to go on, or the reason that ends it.
 *
 * Header prediction at the top takes the common case (ESTABLISHED, in order, nothing special) past the steps that cannot
 * matter to it; it calls the same functions for the rest, and a property test runs both ways side by side.
 */
import * as counterIndex from '../../rings/counters.ts';
import * as dropReasons from '../../rings/drops.ts';
import * as layoutNumbers from '../../rings/layout.ts';
import { isBadSource } from '../../wire/ipv4.ts';
import * as tcpNumbers from '../../wire/tcp.ts';
import * as tcpOptionsNumbers from '../../wire/tcpOptions.ts';
import { parseOptions } from '../../wire/tcpOptions.ts';
import { isBroadcast } from '../broadcast.ts';
import * as socketsNumbers from '../sockets.ts';
import type { AcceptQueues } from './accept.ts';
import { createAcknowledgment } from './acknowledgment.ts';
import type { Handshake } from './handshake.ts';
import * as redirectNumbers from '../redirect.ts';
import type { Machine } from './machine.ts';
import type { Reassembly } from './reassembly.ts';
import type { ReceiveBuffer } from './receiveBuffer.ts';
import type { Reset } from './reset.ts';
import type { NewReno } from './recovery/newreno.ts';
import type { RtoEstimator } from './recovery/rto.ts';
import type { SackRecovery } from './recovery/sack.ts';
import { Segment } from './segment.ts';
import type { SendBuffer } from './sendBuffer.ts';
import * as statesNumbers from './states.ts';
import * as tcbNumbers from './tcb.ts';
import { createUnclaimed } from './unclaimed.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { C_TCP_BYTES_IN, C_TCP_IN_SEGS, C_TCP_OUT_OF_ORDER, C_TCP_PREDICTED } = counterIndex;
const { DROP_BAD_SOURCE, DROP_CLOSING, DROP_NO_MEMORY, DROP_NONE, DROP_NOT_FOR_US, DROP_REASSEMBLY, DROP_TCP_HEADER, DROP_UNACCEPTABLE } =
  dropReasons;
const { D_DATA, D_FLAGS_GSO, D_FRAME, D_OFFSETS, D_SEGS_VLAN, F_MULTICAST, F_TRAIN } = layoutNumbers;
const { ACK, FIN, PSH, RST, SYN } = tcpNumbers;
const { NOP_NOP_TS } = tcpOptionsNumbers;
const { ECONNREFUSED, ECONNRESET, EPOLLIN, EPOLLRDHUP } = socketsNumbers;
const { REDIRECTED } = redirectNumbers;
const { CAN_RECEIVE, CLOSE_WAIT, CLOSED, CLOSING, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, LAST_ACK, SYN_RCVD, SYN_SENT, TIME_WAIT } =
  statesNumbers;
const { T_EOF, T_FIN_SEEN, T_HALF_OPEN, T_OPEN, T_QUEUED, T_SYN, T_TIMING, T_TS } = tcbNumbers;

/** RFC 7323 section 5.5: an older TS.Recent proves nothing. 24 days in milliseconds. */
const TS_RECENT_LIFE_MS = 24 * 86_400_000;

let prediction = true;

/** Header prediction on or off: the property test runs both. */
export function setPrediction(on: boolean): void {
  prediction = on;
}

export interface TcpInput {
  /**
   * Takes the TCP segment of the descriptor at word `d` of the arena, frame included. `frames` is how many it was received
   * as: a train that we coalesced is several, one that came whole is one. Returns a drop reason, or 0.
   */
  input(d: number, frames: number): number;
}

export interface InputParts {
  handshake: Handshake;
  queues: AcceptQueues;
  reset: Reset;
  receive: ReceiveBuffer;
  reassembly: Reassembly;
  send: SendBuffer;
  newReno: NewReno;
  sack: SackRecovery;
  rto: RtoEstimator;
}

export function createTcpInput(m: Machine, parts: InputParts): TcpInput {
  const t = m.tcb;
  const {
    state,
    flags,
    rcvNxt,
    rcvAdv,
    tsRecent,
    tsRecentAtMs,
    lastAckSent,
    ackDue,
    rcvMss,
    oooHead,
    sackSeq,
    sackEnd,
    sackOlder,
    rcvFin,
    irs,
    segsIn,
    rcvWraps,
  } = t;
  const { sndUna, sndMax, maxWnd, sndScale, mss, remoteIp } = t;
  const { flows, counted, chunks, clock, moves } = m;
  const { handshake, reset, receive, reassembly } = parts;
  const { host, port, arena } = m.env;
  const { view, offset: frameAt } = port.frames;
  const words = arena.i32;
  const seg = new Segment();
  const o = seg.options;
  const acknowledgment = createAcknowledgment(m, seg, parts.send, parts.newReno, parts.sack, parts.rto);
  const unclaimed = createUnclaimed(m, seg, parts.queues, parts.reset);

  /** The frame belongs to a receive queue or a pending move now. */
  let kept = false;

  // hot: per packet
  function input(d: number, frames: number): number {
    kept = false;
    seg.frames = frames;
    const reason = demultiplex(d);
    if (!kept) port.freeTrain(words[d + D_FRAME]);
    return reason;
  }

  // hot: per packet
  /** Header, addresses, lookup. */
  function demultiplex(d: number): number {
    const f = words[d + D_FRAME];
    const offsets = words[d + D_OFFSETS];
    const l4 = offsets >>> 16;
    const l3 = (offsets >> 8) & 0xff;
    const linear = words[d + D_DATA] & 0xffff;
    const eth = frameAt[f] + (words[d + D_DATA] >>> 16);
    const tcp = eth + l4;
    const src = view.getInt32(eth + l3 + 12);
    const dst = view.getInt32(eth + l3 + 16);
    const ports = view.getInt32(tcp);
    const rest = view.getInt32(tcp + 12);
    const header = (rest >>> 28) << 2;
    const len = view.getUint16(eth + l3 + 2) - (l4 - l3) - header;
    const train = (words[d + D_FLAGS_GSO] & F_TRAIN) !== 0;
    const first = linear - l4 - header;
    if (header < 20 || len < 0 || first < 0 || (!train && first < len) || (ports & 0xffff) === 0 || ports >>> 16 === 0)
      return DROP_TCP_HEADER;
    const segs = words[d + D_SEGS_VLAN];
    counted[C_TCP_IN_SEGS] += segs >>> 16 === 0 ? segs : inLinks(segs, len);
    if (dst !== host.address() || (words[d + D_FLAGS_GSO] & F_MULTICAST) !== 0) return DROP_NOT_FOR_US;
    if (isBadSource(src) || src === dst || isBroadcast(host, src)) return DROP_BAD_SOURCE;
    seg.frame = f;
    seg.at = tcp + header;
    seg.first = first < len ? first : len;
    seg.skip = 0;
    seg.seq = view.getInt32(tcp + 4);
    seg.ack = view.getInt32(tcp + 8);
    seg.len = len;
    seg.bits = (rest >>> 16) & 0x3f;
    seg.wnd = rest & 0xffff;
    seg.size = train ? seg.first : len;
    const hash = flows.hash(src, dst, ports);
    const c = flows.find(src, dst, ports, hash);
    if (c < 0) {
      parseOptions(view, tcp, header, o);
      const reason = unclaimed.unknown(d, src, dst, ports, hash);
      if (reason !== REDIRECTED) return reason;
      kept = true;
      return DROP_NONE;
    }
    return connected(c, tcp, header, ports, hash);
  }

  // hot: per packet
  /** Segments of a descriptor whose links hold several of the size in its high half (a VLAN tag that passed says as little as none). */
  function inLinks(segs: number, len: number): number {
    const n = (len / (segs >>> 16)) | 0;
    return n * (segs >>> 16) < len ? n + 1 : n > 0 ? n : 1;
  }

  // hot: per packet
  function connected(c: number, tcp: number, header: number, ports: number, hash: number): number {
    const stamped = (flags[c] & T_TS) !== 0;
    segsIn[c] += seg.frames;
    // ---- header prediction -------------------------------------------------------------------------------------------
    if (
      prediction &&
      state[c] === ESTABLISHED &&
      (seg.bits & ~PSH) === ACK &&
      seg.seq === rcvNxt[c] &&
      oooHead[c] < 0 &&
      seg.len <= ((rcvAdv[c] - rcvNxt[c]) | 0) &&
      (flags[c] & T_FIN_SEEN) === 0 &&
      ((seg.ack - sndUna[c]) | 0) >= 0 &&
      ((seg.ack - sndMax[c]) | 0) <= 0 &&
      (stamped ? header === 32 && view.getInt32(tcp + 20) === NOP_NOP_TS : header === 20)
    ) {
      if (!stamped) return predicted(c);
      const tsVal = view.getInt32(tcp + 24);
      if (((tsVal - tsRecent[c]) | 0) >= 0) {
        seg.tsVal = tsVal;
        seg.tsEcr = view.getInt32(tcp + 28);
        takeTimestamp(c);
        return predicted(c);
      }
    }
    // ---- the book ----------------------------------------------------------------------------------------------------
    parseOptions(view, tcp, header, o);
    seg.stamped = o.hasTimestamp;
    seg.tsVal = o.tsVal;
    seg.tsEcr = o.tsEcr;
    seg.blocks = o.sackCount;
    const s = state[c];
    if (s === SYN_SENT) {
      return handshake.synSent(c, seg.bits, seg.seq, seg.ack, seg.wnd, seg.lenSeq(), o);
    }
    if (s === TIME_WAIT && (seg.bits & (SYN | ACK | RST)) === SYN) return unclaimed.reopen(c, ports, hash);
    if (s === SYN_RCVD && (seg.bits & SYN) !== 0 && seg.seq === irs[c] && !simultaneous(c)) return DROP_UNACCEPTABLE;
    let reason = acceptable(c);
    if (reason === DROP_NONE) reason = checkReset(c);
    if (reason === DROP_NONE && state[c] !== CLOSED) reason = checkSyn(c);
    if (reason !== DROP_NONE || state[c] === CLOSED) return reason;
    return acknowledgmentAndText(c);
  }

  // hot: per packet
  function predicted(c: number): number {
    counted[C_TCP_PREDICTED]++;
    seg.blocks = 0;
    acknowledgment.take(c);
    return seg.len > 0 && state[c] === ESTABLISHED ? text(c) : DROP_NONE;
  }

  /**
   * SYN_RCVD and the SYN once more. A SYN-ACK is the other half of a simultaneous open: its SYN is taken off and the rest
   * goes on. A bare SYN is a retransmission: our SYN-ACK was lost.
   */
  function simultaneous(c: number): boolean {
    if ((seg.bits & (ACK | RST)) === ACK) {
      seg.bits &= ~SYN;
      seg.seq = (seg.seq + 1) | 0;
      // Its window is not scaled (RFC 7323 section 2.2); what follows will scale it.
      seg.wnd >>= sndScale[c];
      return true;
    }
    if ((seg.bits & (ACK | RST)) !== 0) return true;
    if (m.mayChallenge(c)) {
      flags[c] = (flags[c] | T_SYN) & ~T_TIMING;
      m.wantOutput(c);
    }
    return false;
  }

  // hot: per packet
  /**
   * First, the sequence number (section 3.10.7.4, table 6), and PAWS before it (RFC 7323 section 5.3). What passes is
   * trimmed to the window: seg* then describe only new data. Old and impossible segments are answered with an ACK; those
   * without data at a limited rate, so that two confused ends do not keep each other busy (RFC 5961 section 10).
   */
  function acceptable(c: number): number {
    if ((flags[c] & T_TS) !== 0 && seg.stamped && (seg.bits & RST) === 0 && ((seg.tsVal - tsRecent[c]) | 0) < 0) {
      const age = (clock[1] - tsRecentAtMs[c]) | 0;
      if (age >= 0 && age < TS_RECENT_LIFE_MS) return refuse(c);
      tsRecent[c] = seg.tsVal;
    }
    const nxt = rcvNxt[c];
    const wnd = (rcvAdv[c] - nxt) | 0;
    const fin = (seg.bits & FIN) !== 0 ? 1 : 0;
    const ahead = (seg.seq - nxt) | 0;
    const total = seg.len + fin;
    if (total === 0) {
      if (wnd === 0 ? ahead !== 0 : ahead < 0 || ahead >= wnd) return refuseUnlessReset(c, ahead, wnd);
    } else if (wnd === 0) {
      // Zero window: no data, but valid ACKs and RSTs are taken (section 3.10.7.4, the special allowance).
      if (ahead !== 0) return refuse(c);
      if ((seg.bits & RST) !== 0) return DROP_NONE;
      seg.len = 0;
      seg.bits &= ~FIN;
      m.ackNow(c);
    } else if (ahead >= wnd || ahead + total <= 0) {
      return refuse(c);
    }
    // A RST keeps its own sequence number: what counts is whether that is RCV.NXT, not what its text covers.
    if ((seg.bits & RST) !== 0) return DROP_NONE;
    if (seg.stamped && (flags[c] & T_TS) !== 0) takeTimestamp(c);
    if (ahead < 0) trimFront(c, -ahead);
    const over = (seg.seq + seg.len + ((seg.bits & FIN) !== 0 ? 1 : 0) - rcvAdv[c]) | 0;
    if (over > 0) trimBack(over);
    return DROP_NONE;
  }

  function trimFront(c: number, n: number): void {
    seg.seq = (seg.seq + n) | 0;
    if (n > seg.len) n = seg.len;
    seg.skip += n;
    seg.len -= n;
    // A duplicate below the window's edge: say where we are (RFC 5681 section 4.2).
    m.ackNow(c);
  }

  function trimBack(n: number): void {
    if ((seg.bits & FIN) !== 0) {
      seg.bits &= ~FIN;
      n--;
    }
    seg.len = seg.len > n ? seg.len - n : 0;
  }

  /** A keep-alive or an old pure ACK just below the window is common; RST there is nothing. */
  function refuseUnlessReset(c: number, ahead: number, wnd: number): number {
    // An empty segment exactly at the right edge is what a sender of a full window sends: its ACK counts.
    if (ahead === wnd && (seg.bits & (SYN | RST | FIN)) === 0) return DROP_NONE;
    return refuse(c);
  }

  function refuse(c: number): number {
    if ((seg.bits & RST) !== 0) return DROP_UNACCEPTABLE;
    if (state[c] === TIME_WAIT && (seg.bits & FIN) !== 0) {
      // The FIN again: acknowledge it again and restart the 2 MSL (eighth step).
      m.timeWait(c);
      m.ackNow(c);
    } else if (seg.len > 0 && (seg.bits & SYN) === 0) m.ackNow(c);
    else if ((seg.bits & FIN) !== 0) m.ackNow(c);
    else m.challenge(c);
    return DROP_UNACCEPTABLE;
  }

  // hot: per packet
  /** RFC 7323 section 4.3: TS.Recent moves on segments that cover Last.ACK.sent. */
  function takeTimestamp(c: number): void {
    if (((seg.seq - lastAckSent[c]) | 0) <= 0 && ((seg.tsVal - tsRecent[c]) | 0) >= 0) {
      tsRecent[c] = seg.tsVal;
      tsRecentAtMs[c] = clock[1];
    }
  }

  /** Second, the RST bit: only at exactly RCV.NXT (RFC 5961 section 3.2); TIME_WAIT ignores it (RFC 1337). */
  function checkReset(c: number): number {
    if ((seg.bits & RST) === 0) return DROP_NONE;
    if (state[c] === TIME_WAIT) return DROP_UNACCEPTABLE;
    if (seg.seq !== rcvNxt[c]) {
      m.challenge(c);
      return DROP_UNACCEPTABLE;
    }
    // CLOSING and LAST_ACK: everything was said already. An active open that crossed the peer's is refused (second step).
    const s = state[c];
    m.terminate(c, s === CLOSING || s === LAST_ACK ? 0 : s === SYN_RCVD ? ECONNREFUSED : ECONNRESET);
    return DROP_NONE;
  }

  /** Fourth, the SYN bit: a challenge ACK, wherever it stands (RFC 5961 section 4.2). */
  function checkSyn(c: number): number {
    if ((seg.bits & SYN) === 0) return DROP_NONE;
    m.challenge(c);
    return DROP_UNACCEPTABLE;
  }

  // hot: per packet
  /** Fifth, the ACK field; sixth, URG (ignored: docs/not-supported); seventh, the text; eighth, the FIN. */
  function acknowledgmentAndText(c: number): number {
    if ((seg.bits & ACK) === 0) return DROP_UNACCEPTABLE;
    if (state[c] === SYN_RCVD) {
      if (((seg.ack - iss(c)) | 0) <= 0 || ((seg.ack - sndMax[c]) | 0) > 0) {
        reset.answer(remoteIp[c], t.localIp[c], t.ports[c], seg.bits, seg.seq, seg.ack, 0);
        return DROP_UNACCEPTABLE;
      }
      handshake.establish(c, seg.seq, seg.ack, seg.wnd << sndScale[c]);
    }
    const reason = checkAck(c);
    if (reason !== DROP_NONE || state[c] === CLOSED) return reason;
    let result = DROP_NONE;
    if (seg.len > 0) result = text(c);
    if (state[c] === CLOSED) return result;
    if ((seg.bits & FIN) !== 0 && (result === DROP_NONE || result === DROP_REASSEMBLY)) finSegment(c);
    return result;
  }

  const iss = (c: number): number => t.iss[c];

  // hot: per packet
  /** RFC 5961 section 5.2: SND.UNA - MAX.SND.WND <= SEG.ACK <= SND.NXT, else a challenge ACK. */
  function checkAck(c: number): number {
    if (((seg.ack - sndMax[c]) | 0) > 0) {
      m.challenge(c);
      return DROP_UNACCEPTABLE;
    }
    const behind = (sndUna[c] - seg.ack) | 0;
    if (behind > 0) {
      if (behind <= maxWnd[c]) return DROP_NONE;
      m.challenge(c);
      return DROP_UNACCEPTABLE;
    }
    acknowledgment.take(c);
    return DROP_NONE;
  }

  // hot: per packet
  /** Seventh, the segment text: in order it stays in its frame for the application, else it goes to the out-of-order queue. */
  function text(c: number): number {
    if (((1 << state[c]) & CAN_RECEIVE) === 0) return DROP_NONE;
    if ((flags[c] & (T_OPEN | T_QUEUED | T_HALF_OPEN)) === 0) return unread(c);
    if (seg.size > rcvMss[c]) rcvMss[c] = seg.size < mss[c] ? seg.size : mss[c];
    if (seg.seq !== rcvNxt[c]) return outOfOrder(c);
    if (!chunks.reserve(seg.len)) {
      m.ackNow(c);
      return DROP_NO_MEMORY;
    }
    kept = true;
    receive.append(c, seg.frame, seg.at, seg.first, seg.skip, seg.len);
    const before = (rcvNxt[c] - irs[c]) >>> 31;
    rcvNxt[c] = (rcvNxt[c] + seg.len) | 0;
    let fresh = seg.len;
    if (oooHead[c] >= 0) {
      const more = reassembly.deliver(c);
      rcvNxt[c] = (rcvNxt[c] + more) | 0;
      fresh += more;
      // RFC 5681 section 4.2: a filled hole is acknowledged at once.
      ackDue[c] = 2;
    }
    if (before !== 0 && (rcvNxt[c] - irs[c]) >>> 31 === 0) rcvWraps[c]++;
    counted[C_TCP_BYTES_IN] += fresh;
    if (ackDue[c] < 2) ackDue[c] = ((rcvNxt[c] - lastAckSent[c]) | 0) >= rcvMss[c] << 1 ? 2 : 1;
    m.wantOutput(c);
    m.notify(c, EPOLLIN);
    // Beyond the FIN there is nothing: a peer that sends more is heard no further.
    if ((flags[c] & T_FIN_SEEN) !== 0 && ((rcvNxt[c] - rcvFin[c]) | 0) >= 0) finInOrder(c);
    return DROP_NONE;
  }

  /** RFC 1122 section 4.2.2.13: data after the application closed for good: it must hear that it was not read. */
  function unread(c: number): number {
    rcvNxt[c] = (seg.seq + seg.len) | 0;
    reset.cut(c);
    m.terminate(c, 0);
    return DROP_CLOSING;
  }

  function outOfOrder(c: number): number {
    counted[C_TCP_OUT_OF_ORDER]++;
    // A duplicate ACK for every frame beyond a hole (RFC 5681 section 4.2), also for those that we coalesced.
    m.ackAgain(c, seg.frames);
    if (seg.seq !== sackEnd[c]) sackOlder[c] = sackSeq[c];
    sackSeq[c] = seg.seq;
    sackEnd[c] = (seg.seq + seg.len) | 0;
    const queued = reassembly.insert(c, seg.seq, seg.len, seg.frame, seg.at, seg.first, seg.skip);
    if (queued === 0) return DROP_REASSEMBLY;
    kept = true;
    moves.release(seg.frame);
    return DROP_NONE;
  }

  /** Eighth, the FIN bit: taken in order, remembered beyond a hole. */
  function finSegment(c: number): void {
    const at = (seg.seq + seg.len) | 0;
    if ((flags[c] & T_EOF) !== 0) return;
    if (at === rcvNxt[c]) {
      finInOrder(c);
    } else if (((at - rcvNxt[c]) | 0) > 0) {
      flags[c] |= T_FIN_SEEN;
      rcvFin[c] = at;
      m.ackNow(c);
    }
  }

  function finInOrder(c: number): void {
    if ((flags[c] & T_EOF) !== 0) return;
    flags[c] = (flags[c] | T_EOF) & ~T_FIN_SEEN;
    rcvNxt[c] = (rcvNxt[c] + 1) | 0;
    if (((rcvNxt[c] - rcvAdv[c]) | 0) > 0) rcvAdv[c] = rcvNxt[c];
    m.purgeOutOfOrder(c);
    m.ackNow(c);
    const s = state[c];
    if (s === ESTABLISHED) m.enter(c, CLOSE_WAIT);
    else if (s === FIN_WAIT_1) m.enter(c, CLOSING);
    else if (s === FIN_WAIT_2) m.timeWait(c);
    m.notify(c, EPOLLIN | EPOLLRDHUP);
  }

  return { input };
}
