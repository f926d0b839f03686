/**
 * A segment arrives: RFC 9293 section 3.10.7 in its own order, one function a step. The steps share the segment in flight
 * (the seg* variables below, valid for one call of `input`) and say DROP_NONE to go on, or the reason that ends it.
 *
 * Header prediction at the top takes the common case (ESTABLISHED, in order, nothing special) past the steps that cannot
 * matter to it; it calls the same functions for the rest, and a property test runs both ways side by side.
 */
import {
  C_REDIRECTED, C_TCP_BYTES_IN, C_TCP_DUP_ACKS_IN, C_TCP_IN_SEGS, C_TCP_OUT_OF_ORDER, C_TCP_PREDICTED, C_TCP_TIME_WAIT_REUSED,
} from '../../rings/counters.ts';
import {
  DROP_BAD_SOURCE, DROP_CLOSING, DROP_NO_CONNECTION, DROP_NO_MEMORY, DROP_NONE, DROP_NOT_FOR_US, DROP_REASSEMBLY, DROP_TCP_HEADER, DROP_UNACCEPTABLE,
} from '../../rings/drops.ts';
import {
  D_DATA, D_FLAGS_GSO, D_FRAME, D_OFFSETS, D_SEGS_VLAN, DESC_WORDS, F_MULTICAST, F_REDIRECTED, F_TRAIN, OWNER_RING,
} from '../../rings/layout.ts';
import { STEER_TCP } from '../../rings/steering.ts';
import { isBadSource } from '../../wire/ipv4.ts';
import { ACK, FIN, PSH, RST, SYN } from '../../wire/tcp.ts';
import { ECONNRESET, EPOLLIN, EPOLLOUT, EPOLLRDHUP } from '../sockets.ts';
import type { AcceptQueues } from './accept.ts';
import type { Congestion } from './congestion.ts';
import type { Handshake } from './handshake.ts';
import type { Machine } from './machine.ts';
import { TIMESTAMP_TEMPLATE, TcpOptions } from './options.ts';
import type { ReceiveBuffer } from './receiveBuffer.ts';
import type { Reassembly } from './reassembly.ts';
import type { Reset } from './reset.ts';
import type { RtoEstimator } from './rto.ts';
import type { SendBuffer } from './sendBuffer.ts';
import {
  CAN_RECEIVE, CLOSE_WAIT, CLOSED, CLOSING, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, LAST_ACK, SYN_RCVD, SYN_SENT, TIME_WAIT,
} from './states.ts';
import {
  T_EOF, T_FIN, T_FIN_SEEN, T_FULL, T_HALF_OPEN, T_OPEN, T_PARTIAL, T_PERSIST, T_QUEUED, T_RECOVERY, T_SYN, T_TIMING, T_TS,
} from './tcb.ts';

/** RFC 7323 section 5.5: an older TS.Recent proves nothing. 24 days in milliseconds. */
const TS_RECENT_LIFE_MS = 24 * 86_400_000;

let prediction = true;

/** Header prediction on or off: the property test runs both. */
export function setPrediction(on: boolean): void {
  prediction = on;
}

export interface TcpInput {
  /** Takes the TCP segment of the descriptor at word `d` of the arena, frame included. Returns a drop reason, or 0. */
  input(d: number): number;
}

export interface InputParts {
  handshake: Handshake;
  queues: AcceptQueues;
  reset: Reset;
  receive: ReceiveBuffer;
  reassembly: Reassembly;
  send: SendBuffer;
  congestion: Congestion;
  rto: RtoEstimator;
}

export function createTcpInput(m: Machine, parts: InputParts): TcpInput {
  const t = m.tcb;
  const { state, flags, rcvNxt, rcvAdv, tsRecent, tsRecentAtMs, lastAckSent, ackDue, rcvMss, oooHead, rcvFin, irs } = t;
  const { sndUna, sndNxt, sndMax, sndWnd, sndWl1, sndWl2, maxWnd, sndScale, sbLen, mss } = t;
  const { rtoAt, rtoMs, rttSeq, rttAtUs, retries, probes, lifeAt, remoteIp } = t;
  const { flows, listenerOf, counted, chunks, clock, config, wheel, moves } = m;
  const { handshake, queues, reset, receive, reassembly, send, congestion, rto } = parts;
  const { host, port, arena, worker, steering, flowHash } = m.env;
  const { view, offset: frameAt, next: frameNext, owner: frameOwner } = port.frames;
  const words = arena.i32;
  const halfBuffer = config.sndbuf >> 1;
  const o = new TcpOptions();

  let segFrame = 0;
  let segAt = 0;
  let segFirst = 0;
  let segSkip = 0;
  let segSeq = 0;
  let segAck = 0;
  let segLen = 0;
  let segBits = 0;
  let segWnd = 0;
  let segSize = 0;
  let segStamped = false;
  let segTsVal = 0;
  /** The frame belongs to a receive queue or a pending move now. */
  let kept = false;
  let acks = 0;

  // hot: per packet
  function input(d: number): number {
    kept = false;
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
    if (header < 20 || len < 0 || first < 0 || (!train && first < len) || (ports & 0xffff) === 0 || ports >>> 16 === 0) return DROP_TCP_HEADER;
    counted[C_TCP_IN_SEGS] += words[d + D_SEGS_VLAN] & 0xffff;
    if (dst !== host.address() || (words[d + D_FLAGS_GSO] & F_MULTICAST) !== 0) return DROP_NOT_FOR_US;
    if (isBadSource(src) || src === dst || isBroadcast(src)) return DROP_BAD_SOURCE;
    segFrame = f;
    segAt = tcp + header;
    segFirst = first < len ? first : len;
    segSkip = 0;
    segSeq = view.getInt32(tcp + 4);
    segAck = view.getInt32(tcp + 8);
    segLen = len;
    segBits = (rest >>> 16) & 0x3f;
    segWnd = rest & 0xffff;
    segSize = train ? segFirst : len;
    const hash = flows.hash(src, dst, ports);
    const c = flows.find(src, dst, ports, hash);
    if (c < 0) {
      o.parse(view, tcp, header);
      return unknown(d, src, dst, ports, hash);
    }
    return connected(c, tcp, header, ports, hash);
  }

  // hot: per packet
  function connected(c: number, tcp: number, header: number, ports: number, hash: number): number {
    const stamped = (flags[c] & T_TS) !== 0;
    // ---- header prediction -------------------------------------------------------------------------------------------
    if (
      prediction && state[c] === ESTABLISHED && (segBits & ~PSH) === ACK && segSeq === rcvNxt[c] && oooHead[c] < 0 &&
      segLen <= ((rcvAdv[c] - rcvNxt[c]) | 0) && (flags[c] & T_FIN_SEEN) === 0 && ((segAck - sndUna[c]) | 0) >= 0 &&
      ((segAck - sndMax[c]) | 0) <= 0 && (stamped ? header === 32 && view.getInt32(tcp + 20) === TIMESTAMP_TEMPLATE : header === 20)
    ) {
      if (!stamped) return predicted(c);
      const tsVal = view.getInt32(tcp + 24);
      if (((tsVal - tsRecent[c]) | 0) >= 0) {
        segTsVal = tsVal;
        takeTimestamp(c);
        return predicted(c);
      }
    }
    // ---- the book ----------------------------------------------------------------------------------------------------
    o.parse(view, tcp, header);
    segStamped = o.timestamps;
    segTsVal = o.tsVal;
    const s = state[c];
    if (s === SYN_SENT) {
      return handshake.synSent(c, segBits, segSeq, segAck, segWnd, lenSeq(), o);
    }
    if (s === TIME_WAIT && (segBits & (SYN | ACK | RST)) === SYN) return reopen(c, ports, hash);
    if (s === SYN_RCVD && (segBits & SYN) !== 0 && segSeq === irs[c] && !simultaneous(c)) return DROP_UNACCEPTABLE;
    let reason = acceptable(c);
    if (reason === DROP_NONE) reason = checkReset(c);
    if (reason === DROP_NONE && state[c] !== CLOSED) reason = checkSyn(c);
    if (reason !== DROP_NONE || state[c] === CLOSED) return reason;
    return acknowledgmentAndText(c);
  }

  // hot: per packet
  function predicted(c: number): number {
    counted[C_TCP_PREDICTED]++;
    takeAck(c);
    return segLen > 0 && state[c] === ESTABLISHED ? text(c) : DROP_NONE;
  }

  // hot: per packet
  const lenSeq = (): number => segLen + ((segBits & SYN) !== 0 ? 1 : 0) + ((segBits & FIN) !== 0 ? 1 : 0);

  /** RFC 1122 section 3.2.1.3: our subnet's broadcast address is no source. */
  function isBroadcast(ip: number): boolean {
    const prefix = host.prefix();
    if (prefix < 1 || prefix > 30) return false;
    const hostBits = ~(-1 << (32 - prefix));
    return (ip | hostBits) === ip && ((ip ^ host.address()) & ~hostBits) === 0;
  }

  /** No connection (section 3.10.7.1) or a listener (3.10.7.2). */
  function unknown(d: number, src: number, dst: number, ports: number, hash: number): number {
    const localPort = ports & 0xffff;
    const l = listenerOf[localPort] - 1;
    const opening = (segBits & (SYN | ACK | RST)) === SYN;
    if (!opening && redirect(d, src, dst, ports)) return DROP_NONE;
    if (l >= 0 && opening && (t.localIp[l] === 0 || t.localIp[l] === dst)) {
      // SYN with FIN is no way to open a connection: dropped in silence, as firewalls have taught everyone.
      if ((segBits & FIN) !== 0) return DROP_UNACCEPTABLE;
      return queues.syn(l, dst, src, ports, hash, segSeq, segWnd, o, false, 0);
    }
    if ((segBits & RST) !== 0) return DROP_NO_CONNECTION;
    if (m.draining && opening) return DROP_CLOSING;
    reset.answer(src, dst, ports, segBits, segSeq, segAck, lenSeq());
    return DROP_NO_CONNECTION;
  }

  /** A segment of a flow that lived elsewhere before its port's worker list changed goes to that worker, once. */
  function redirect(d: number, src: number, dst: number, ports: number): boolean {
    if ((words[d + D_FLAGS_GSO] & F_REDIRECTED) !== 0) return false;
    const before = steering.ownerBefore(STEER_TCP, flowHash(src, dst, ports >>> 16, ports & 0xffff), ports & 0xffff);
    if (before < 0 || before === worker) return false;
    const ring = port.redirectOut[before];
    if (ring === null || ring === undefined || ring.room(1) < 1) return false;
    for (let f = words[d + D_FRAME]; f >= 0; f = frameNext[f]) frameOwner[f] = OWNER_RING;
    const s = ring.slot(0);
    for (let i = 0; i < DESC_WORDS; i++) ring.words[s + i] = words[d + i];
    ring.words[s + D_FLAGS_GSO] |= F_REDIRECTED;
    ring.put(1);
    counted[C_REDIRECTED]++;
    kept = true;
    return true;
  }

  /** TIME_WAIT and a new SYN: RFC 6191 section 2 with timestamps, RFC 1122 section 4.2.2.13 without. */
  function reopen(c: number, ports: number, hash: number): number {
    const newer = (flags[c] & T_TS) !== 0 && segStamped ? ((segTsVal - tsRecent[c]) | 0) > 0 : ((segSeq - rcvNxt[c]) | 0) > 0;
    const l = listenerOf[ports & 0xffff] - 1;
    const local = t.localIp[c];
    if ((!newer && !(segStamped && segTsVal === tsRecent[c] && ((segSeq - rcvNxt[c]) | 0) > 0)) || l < 0) {
      m.challenge(c);
      return DROP_UNACCEPTABLE;
    }
    const remote = remoteIp[c];
    const floor = sndMax[c];
    counted[C_TCP_TIME_WAIT_REUSED]++;
    m.terminate(c, 0);
    return queues.syn(l, local, remote, ports, hash, segSeq, segWnd, o, true, floor);
  }

  /**
   * SYN_RCVD and the SYN once more. A SYN-ACK is the other half of a simultaneous open: its SYN is taken off and the rest
   * goes on. A bare SYN is a retransmission: our SYN-ACK was lost.
   */
  function simultaneous(c: number): boolean {
    if ((segBits & (ACK | RST)) === ACK) {
      segBits &= ~SYN;
      segSeq = (segSeq + 1) | 0;
      return true;
    }
    if ((segBits & (ACK | RST)) !== 0) return true;
    if (m.mayChallenge(c)) {
      flags[c] |= T_SYN;
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
    if ((flags[c] & T_TS) !== 0 && segStamped && (segBits & RST) === 0 && ((segTsVal - tsRecent[c]) | 0) < 0) {
      if (((clock[1] - tsRecentAtMs[c]) | 0) < TS_RECENT_LIFE_MS) return refuse(c);
    }
    const nxt = rcvNxt[c];
    const wnd = (rcvAdv[c] - nxt) | 0;
    const fin = (segBits & FIN) !== 0 ? 1 : 0;
    const ahead = (segSeq - nxt) | 0;
    const total = segLen + fin;
    if (total === 0) {
      if (wnd === 0 ? ahead !== 0 : ahead < 0 || ahead >= wnd) return refuseUnlessReset(c, ahead, wnd);
    } else if (wnd === 0) {
      // Zero window: no data, but valid ACKs and RSTs are taken (section 3.10.7.4, the special allowance).
      if (ahead !== 0) return refuse(c);
      segLen = 0;
      segBits &= ~FIN;
      m.ackNow(c);
    } else if (ahead >= wnd || ahead + total <= 0) {
      return refuse(c);
    }
    if (segStamped && (flags[c] & T_TS) !== 0 && (segBits & RST) === 0) takeTimestamp(c);
    if (ahead < 0) trimFront(c, -ahead);
    const over = (segSeq + segLen + ((segBits & FIN) !== 0 ? 1 : 0) - rcvAdv[c]) | 0;
    if (over > 0) trimBack(over);
    return DROP_NONE;
  }

  function trimFront(c: number, n: number): void {
    segSeq = (segSeq + n) | 0;
    if (n > segLen) n = segLen;
    segSkip += n;
    segLen -= n;
    // A duplicate below the window's edge: say where we are (RFC 5681 section 4.2).
    m.ackNow(c);
  }

  function trimBack(n: number): void {
    if ((segBits & FIN) !== 0) {
      segBits &= ~FIN;
      n--;
    }
    segLen = segLen > n ? segLen - n : 0;
  }

  /** A keep-alive or an old pure ACK just below the window is common; RST there is nothing. */
  function refuseUnlessReset(c: number, ahead: number, wnd: number): number {
    // An empty segment exactly at the right edge is what a sender of a full window sends: its ACK counts.
    if (ahead === wnd && (segBits & (SYN | RST | FIN)) === 0) return DROP_NONE;
    return refuse(c);
  }

  function refuse(c: number): number {
    if ((segBits & RST) !== 0) return DROP_UNACCEPTABLE;
    if (state[c] === TIME_WAIT && (segBits & FIN) !== 0) {
      // The FIN again: acknowledge it again and restart the 2 MSL (eighth step).
      m.timeWait(c);
      m.ackNow(c);
    } else if (segLen > 0 && (segBits & SYN) === 0) m.ackNow(c);
    else if ((segBits & FIN) !== 0) m.ackNow(c);
    else m.challenge(c);
    return DROP_UNACCEPTABLE;
  }

  // hot: per packet
  /** RFC 7323 section 4.3: TS.Recent moves on segments that cover Last.ACK.sent. */
  function takeTimestamp(c: number): void {
    if (((segSeq - lastAckSent[c]) | 0) <= 0 && ((segTsVal - tsRecent[c]) | 0) >= 0) {
      tsRecent[c] = segTsVal;
      tsRecentAtMs[c] = clock[1];
    }
  }

  /** Second, the RST bit: only at exactly RCV.NXT (RFC 5961 section 3.2); TIME_WAIT ignores it (RFC 1337). */
  function checkReset(c: number): number {
    if ((segBits & RST) === 0) return DROP_NONE;
    if (state[c] === TIME_WAIT) return DROP_UNACCEPTABLE;
    if (segSeq !== rcvNxt[c]) {
      m.challenge(c);
      return DROP_UNACCEPTABLE;
    }
    // CLOSING and LAST_ACK: everything was said already.
    const s = state[c];
    m.terminate(c, s === CLOSING || s === LAST_ACK ? 0 : ECONNRESET);
    return DROP_NONE;
  }

  /** Fourth, the SYN bit: a challenge ACK, wherever it stands (RFC 5961 section 4.2). */
  function checkSyn(c: number): number {
    if ((segBits & SYN) === 0) return DROP_NONE;
    m.challenge(c);
    return DROP_UNACCEPTABLE;
  }

  // hot: per packet
  /** Fifth, the ACK field; sixth, URG (ignored: docs/not-supported); seventh, the text; eighth, the FIN. */
  function acknowledgmentAndText(c: number): number {
    if ((segBits & ACK) === 0) return DROP_UNACCEPTABLE;
    if (state[c] === SYN_RCVD) {
      if (((segAck - iss(c)) | 0) <= 0 || ((segAck - sndMax[c]) | 0) > 0) {
        reset.answer(remoteIp[c], t.localIp[c], t.ports[c], segBits, segSeq, segAck, 0);
        return DROP_UNACCEPTABLE;
      }
      handshake.establish(c, segSeq, segAck, segWnd << sndScale[c]);
    }
    const reason = checkAck(c);
    if (reason !== DROP_NONE || state[c] === CLOSED) return reason;
    let result = DROP_NONE;
    if (segLen > 0) result = text(c);
    if (state[c] === CLOSED) return result;
    if ((segBits & FIN) !== 0 && (result === DROP_NONE || result === DROP_REASSEMBLY)) finSegment(c);
    return result;
  }

  const iss = (c: number): number => t.iss[c];

  // hot: per packet
  /** RFC 5961 section 5.2: SND.UNA - MAX.SND.WND <= SEG.ACK <= SND.NXT, else a challenge ACK. */
  function checkAck(c: number): number {
    if (((segAck - sndMax[c]) | 0) > 0) {
      m.challenge(c);
      return DROP_UNACCEPTABLE;
    }
    const behind = (sndUna[c] - segAck) | 0;
    if (behind > 0) {
      if (behind <= maxWnd[c]) return DROP_NONE;
      m.challenge(c);
      return DROP_UNACCEPTABLE;
    }
    takeAck(c);
    return DROP_NONE;
  }

  // hot: per packet
  /** SEG.ACK is between SND.UNA and SND.NXT: new data acknowledged, a duplicate, the window. */
  function takeAck(c: number): void {
    const una = sndUna[c];
    const acked = (segAck - una) | 0;
    const wnd = segWnd << sndScale[c];
    if (acked === 0 && segLen === 0 && wnd === sndWnd[c] && (segBits & FIN) === 0 && sndMax[c] !== una && wnd !== 0) {
      // RFC 5681 section 2: outstanding data, no payload, same ACK, same window.
      counted[C_TCP_DUP_ACKS_IN]++;
      congestion.onDuplicate(c);
      m.wantOutput(c);
    }
    if ((flags[c] & T_PERSIST) !== 0) retries[c] = 0;
    // SND.WL1 and SND.WL2: an old segment does not change the window (section 3.10.7.4, fifth step).
    const older = (segSeq - sndWl1[c]) | 0;
    if (older > 0 || (older === 0 && ((segAck - sndWl2[c]) | 0) >= 0)) takeWindow(c, wnd);
    if (acked > 0) newAck(c, acked);
    else if (((sndUna[c] + sbLen[c] - sndNxt[c]) | 0) > 0) m.wantOutput(c);
  }

  // hot: per packet
  function takeWindow(c: number, wnd: number): void {
    sndWl1[c] = segSeq;
    sndWl2[c] = segAck;
    if (wnd === sndWnd[c]) return;
    sndWnd[c] = wnd;
    if (wnd > maxWnd[c]) maxWnd[c] = wnd;
    if (wnd > 0) {
      probes[c] = 0;
      if ((flags[c] & T_PERSIST) !== 0) {
        flags[c] &= ~T_PERSIST;
        rtoAt[c] = 0;
        retries[c] = 0;
      }
    }
    m.wantOutput(c);
  }

  // hot: per packet
  function newAck(c: number, acked: number): void {
    const flight = (sndMax[c] - sndUna[c]) | 0;
    if ((flags[c] & T_TIMING) !== 0 && ((segAck - rttSeq[c]) | 0) >= 0) {
      flags[c] &= ~T_TIMING;
      rto.sample(c, (clock[0] - rttAtUs[c]) | 0);
    }
    const data = acked < sbLen[c] ? acked : sbLen[c];
    const start = sndUna[c];
    sndUna[c] = segAck;
    if (data > 0) send.acknowledge(c, data);
    if (((sndNxt[c] - segAck) | 0) < 0) sndNxt[c] = segAck;
    congestion.onAck(c, acked, flight);
    retries[c] = 0;
    if ((flags[c] & T_PERSIST) === 0) {
      // RFC 6298 sections 5.2 and 5.3
      if (segAck === sndMax[c]) {
        rtoAt[c] = 0;
      } else if ((flags[c] & T_PARTIAL) === 0) {
        if ((flags[c] & T_RECOVERY) !== 0) flags[c] |= T_PARTIAL;
        rtoAt[c] = m.deadline(rtoMs[c]);
        wheel.arm(c, rtoAt[c]);
      }
    }
    if ((++acks & 15) === 0) m.neighbor.confirm(host.nextHop(remoteIp[c]));
    if ((flags[c] & T_FULL) !== 0 && sbLen[c] <= halfBuffer) {
      flags[c] &= ~T_FULL;
      m.notify(c, EPOLLOUT);
    }
    if (sbLen[c] > 0 || (flags[c] & (T_FIN | T_RECOVERY)) !== 0) m.wantOutput(c);
    if (((segAck - start - data) | 0) > 0 && (flags[c] & T_FIN) !== 0 && sbLen[c] === 0) finAcknowledged(c);
  }

  /** Our FIN is acknowledged (section 3.10.7.4, fifth step, by state). */
  function finAcknowledged(c: number): void {
    const s = state[c];
    if (s === FIN_WAIT_1) {
      m.enter(c, FIN_WAIT_2);
      if ((flags[c] & (T_OPEN | T_QUEUED)) === 0) {
        lifeAt[c] = m.deadline(config.finWait2Ms);
        wheel.arm(c, lifeAt[c]);
      }
    } else if (s === CLOSING) m.timeWait(c);
    else if (s === LAST_ACK) m.terminate(c, 0);
  }

  // hot: per packet
  /** Seventh, the segment text: in order it stays in its frame for the application, else it goes to the out-of-order queue. */
  function text(c: number): number {
    if (((1 << state[c]) & CAN_RECEIVE) === 0) return DROP_NONE;
    if ((flags[c] & (T_OPEN | T_QUEUED | T_HALF_OPEN)) === 0) return unread(c);
    if (segSize > rcvMss[c]) rcvMss[c] = segSize < mss[c] ? segSize : mss[c];
    if (segSeq !== rcvNxt[c]) return outOfOrder(c);
    if (!chunks.reserve(segLen)) {
      m.ackNow(c);
      return DROP_NO_MEMORY;
    }
    kept = true;
    receive.append(c, segFrame, segAt, segFirst, segSkip, segLen);
    rcvNxt[c] = (rcvNxt[c] + segLen) | 0;
    let fresh = segLen;
    if (oooHead[c] >= 0) {
      const more = reassembly.deliver(c);
      rcvNxt[c] = (rcvNxt[c] + more) | 0;
      fresh += more;
      // RFC 5681 section 4.2: a filled hole is acknowledged at once.
      ackDue[c] = 2;
    }
    counted[C_TCP_BYTES_IN] += fresh;
    if (ackDue[c] !== 2) ackDue[c] = ((rcvNxt[c] - lastAckSent[c]) | 0) >= rcvMss[c] << 1 ? 2 : 1;
    m.wantOutput(c);
    m.notify(c, EPOLLIN);
    if ((flags[c] & T_FIN_SEEN) !== 0 && rcvNxt[c] === rcvFin[c]) finInOrder(c);
    return DROP_NONE;
  }

  /** RFC 1122 section 4.2.2.13: data after the application closed for good: it must hear that it was not read. */
  function unread(c: number): number {
    rcvNxt[c] = (segSeq + segLen) | 0;
    reset.cut(c);
    m.terminate(c, 0);
    return DROP_CLOSING;
  }

  function outOfOrder(c: number): number {
    counted[C_TCP_OUT_OF_ORDER]++;
    // A duplicate ACK for every segment beyond a hole (RFC 5681 section 4.2).
    m.ackNow(c);
    const queued = reassembly.insert(c, segSeq, segLen, segFrame, segAt, segFirst, segSkip);
    if (queued === 0) return DROP_REASSEMBLY;
    kept = true;
    moves.release(segFrame);
    return DROP_NONE;
  }

  /** Eighth, the FIN bit: taken in order, remembered beyond a hole. */
  function finSegment(c: number): void {
    const at = (segSeq + segLen) | 0;
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
