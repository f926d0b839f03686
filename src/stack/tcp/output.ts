/**
 * What a connection has to say, said once when the breath ends: SYN, data and FIN as the windows allow (trains of segments
 * where the port takes them), else an ACK if one is due. Runs over the output list; a connection that finds no credit or no
 * room in the tx ring stays first in line.
 */
import { C_TCP_OUT_SEGS, C_TCP_RETRANS_SEGS } from '../../rings/counters.ts';
import { NB_FAILED, NB_REACHABLE } from '../../rings/hostState.ts';
import { F_CSUM_PARTIAL, F_IPCSUM_OK, F_TCP, TRAIN_LINKS_MAX } from '../../rings/layout.ts';
import { fold, pseudoSum4 } from '../../wire/checksum.ts';
import { LEN_ETHERNET } from '../../wire/ethernet.ts';
import { LEN_IPV4, PROTO_TCP } from '../../wire/ipv4.ts';
import { ACK, FIN, LEN_TCP, PSH, SYN } from '../../wire/tcp.ts';
import { LEN_TIMESTAMPS, synOptionsBytes, TcpOptions, writeSack, writeSynOptions, writeTimestamps } from '../../wire/tcpOptions.ts';
import { EHOSTUNREACH, ENETUNREACH } from '../sockets.ts';
import type { Congestion } from './congestion/newreno.ts';
import type { Machine } from './machine.ts';
import type { SackRecovery } from './recovery/sack.ts';
import { bareSeq } from './segment.ts';
import { SackBlocks } from './sackBlocks.ts';
import type { SendBuffer } from './sendBuffer.ts';
import { CLOSED, LISTEN, SENDING, SYN_RCVD, SYN_SENT } from './states.ts';
import {
  T_FIN,
  T_NODELAY,
  T_PERSIST,
  T_PROBE,
  T_RECOVERY,
  T_RESCUED,
  T_REXMIT,
  T_SACK,
  T_SYN,
  T_SYN_LOST,
  T_TIMING,
  T_TS,
  T_WS,
} from './tcb.ts';

const LEN_L2L3 = LEN_ETHERNET + LEN_IPV4;
const PLAIN = F_TCP | F_CSUM_PARTIAL | F_IPCSUM_OK;
/** IPv4 total length, less headers with timestamps. */
const DATAGRAM_MAX = 65535 - LEN_IPV4 - LEN_TCP - LEN_TIMESTAMPS;

export interface Output {
  /** Serves the whole output list. */
  run(): void;
  /** Right edge the application's reading would allow now, and whether it is worth telling the peer at once. */
  windowOpened(c: number): boolean;
}

export function createOutput(m: Machine, send: SendBuffer, congestion: Congestion, recovery: SackRecovery): Output {
  const t = m.tcb;
  const { state, flags, ports, localIp, remoteIp, flowHash, macHi, macLo, macEpoch, tsOffset } = t;
  const { rcvNxt, rcvAdv, rcvScale, tsRecent, lastAckSent, ackDue, ackAt, rbLen, pfLen } = t;
  const { sndUna, sndNxt, sndMax, sndWnd, maxWnd, cwnd, mss, sbLen, dupAcks, iss } = t;
  const { rtoAt, rtoMs, rttSeq, rttAtUs, sentAtMs, probes, sackHead, sackBytes, highRxt } = t;
  const { transmit, wheel, counted, neighbor, clock, board } = m;
  const { host, port, config } = m.env;
  const { view, offset: frameAt, next: frameNext, length: frameLength } = port.frames;
  const oooHead = t.oooHead;
  /** Sequence space of the last resend. */
  let resentBytes = 0;
  const sack = new SackBlocks(m);
  const offer = new TcpOptions();
  const rcvbuf = config.rcvbuf;
  const chunkBytes = config.chunkBytes;
  const trainLinks = Math.max(1, Math.min(config.trainLinksMax, TRAIN_LINKS_MAX));
  const trainBytes = Math.min(DATAGRAM_MAX, m.env.txTrainBytesMax - LEN_L2L3 - LEN_TCP - LEN_TIMESTAMPS);

  // hot: per packet
  /**
   * Window field for the segment being built (RFC 9293 sections 3.8.6 and 3.8.6.2.2): the right edge never moves back, and
   * moves on only by a segment or half the buffer. A scaled edge that rounding would pull back is rounded up, but never
   * by more than one unit beyond the buffer in all: rounding up each ACK of a small segment would move it on for ever. Then
   * it is rounded down, which RFC 7323 section 2.4 allows for, and what was told before is still taken.
   */
  function window(c: number): number {
    const real = (rcvNxt[c] + rcvbuf - rbLen[c] - pfLen[c]) | 0;
    let edge = real;
    const gain = (edge - rcvAdv[c]) | 0;
    if (gain < mss[c] && gain < rcvbuf >> 1) edge = rcvAdv[c];
    const shift = rcvScale[c];
    const open = (edge - rcvNxt[c]) | 0;
    let field = open > 0 ? open >> shift : 0;
    const told = (rcvNxt[c] + (field << shift)) | 0;
    if (((told - rcvAdv[c]) | 0) < 0 && ((told - real) | 0) < 0) field++;
    if (field > 65535) field = 65535;
    edge = (rcvNxt[c] + (field << shift)) | 0;
    if (((edge - rcvAdv[c]) | 0) > 0) rcvAdv[c] = edge;
    return field;
  }

  // hot: per packet
  function windowOpened(c: number): boolean {
    const gain = (rcvNxt[c] + rcvbuf - rbLen[c] - pfLen[c] - rcvAdv[c]) | 0;
    if (gain < mss[c] && gain < rcvbuf >> 1) return false;
    // A quarter of the buffer is news; nearly shut, anything that passes receiver silly window avoidance is.
    return gain >= rcvbuf >> 2 || ((rcvAdv[c] - rcvNxt[c]) | 0) < mss[c] << 1;
  }

  /** Next hop's MAC into the columns. True when segments can be addressed; false: parked, or the connection is over. */
  function resolve(c: number): boolean {
    const hop = host.nextHop(remoteIp[c]);
    const found = hop === 0 ? NB_FAILED : neighbor.resolve(hop);
    if (found === NB_REACHABLE) {
      macHi[c] = neighbor.macHi;
      macLo[c] = neighbor.macLo;
      macEpoch[c] = host.epoch();
      return true;
    }
    if (found === NB_FAILED && state[c] === SYN_SENT) {
      m.terminate(c, hop === 0 ? ENETUNREACH : EHOSTUNREACH);
      return false;
    }
    // Later failures are soft (RFC 1122 section 4.2.3.9): the retransmission timer decides.
    m.park(c);
    if (rtoAt[c] === 0 && ((1 << state[c]) & SENDING) !== 0 && sbLen[c] > 0) armRto(c);
    if (rtoAt[c] === 0 && (flags[c] & (T_SYN | T_FIN)) !== 0) armRto(c);
    return false;
  }

  // hot: per packet
  function armRto(c: number): void {
    rtoAt[c] = m.deadline(rtoMs[c]);
    wheel.arm(c, rtoAt[c]);
  }

  // hot: per packet
  /** Header of `size` bytes at `tcp`, SACK options left out; every segment after the SYN carries an ACK. */
  function header(c: number, tcp: number, seq: number, bits: number, size: number, len: number): void {
    const p = ports[c];
    view.setInt32(tcp, (p << 16) | (p >>> 16));
    view.setInt32(tcp + 4, seq);
    view.setInt32(tcp + 8, rcvNxt[c]);
    view.setInt32(tcp + 12, (size << 26) | (bits << 16) | window(c));
    view.setInt32(tcp + 16, fold(pseudoSum4(localIp[c], remoteIp[c], PROTO_TCP, size + len)) << 16);
    if ((flags[c] & T_TS) !== 0) writeTimestamps(view, tcp + LEN_TCP, (clock[1] + tsOffset[c]) | 0, tsRecent[c]);
    lastAckSent[c] = rcvNxt[c];
    ackDue[c] = 0;
    ackAt[c] = 0;
  }

  // hot: per packet
  /**
   * SACK blocks for a segment of `len` bytes: with a hole in what came every segment says what stands beyond (RFC 2018 section
   * 4), as many blocks as fit next to the data. Only bare ACKs have room for sure, and a hole makes those.
   */
  function blocksFor(c: number, len: number): number {
    if ((flags[c] & T_SACK) === 0) return 0;
    const room = len === 0 ? 4 : (mss[c] - len - 4) >> 3;
    const most = (flags[c] & T_TS) !== 0 ? 3 : 4;
    return room < 1 ? 0 : sack.collect(c, room < most ? room : most);
  }

  // hot: per packet
  /** One descriptor: `len` payload bytes from `seq` in `links` segments of at most mss. The caller made sure of the room. */
  function segment(c: number, seq: number, bits: number, len: number, links: number): void {
    const f = transmit.take();
    const plain = (flags[c] & T_TS) !== 0 ? LEN_TCP + LEN_TIMESTAMPS : LEN_TCP;
    const blocks = oooHead[c] >= 0 && links === 1 ? blocksFor(c, len) : 0;
    const size = blocks > 0 ? plain + 4 + blocks * 8 : plain;
    const tcp = transmit.header(f, localIp[c], remoteIp[c], PROTO_TCP, size + len, macHi[c], macLo[c], links);
    header(c, tcp, seq, bits, size, len);
    if (blocks > 0) writeSack(view, tcp + plain, sack.edges, blocks);
    const most = mss[c];
    let part = len < most ? len : most;
    const first = part;
    if (part > 0) send.emit(c, seq, tcp + size, part);
    const inFrame = tcp + size - frameAt[f];
    let done = part;
    let last = f;
    for (let i = 1; i < links; i++) {
      const g = transmit.take();
      part = len - done < most ? len - done : most;
      send.emit(c, (seq + done) | 0, frameAt[g] + inFrame, part);
      frameLength[g] = part;
      frameNext[last] = g;
      frameNext[g] = -1;
      last = g;
      done += part;
    }
    counted[C_TCP_OUT_SEGS] += links;
    transmit.append(f, LEN_L2L3 + size + first, LEN_L2L3 + size + len, PLAIN, links > 1 ? most : 0, links, flowHash[c]);
  }

  // hot: per packet
  /** After data or FIN from `seq` on went out: cursors, RTT sample, retransmission timer. `end` is behind the last number used. */
  function sent(c: number, seq: number, end: number, links: number): void {
    if (((seq - sndMax[c]) | 0) < 0) {
      counted[C_TCP_RETRANS_SEGS] += links;
    } else if ((flags[c] & (T_TIMING | T_RECOVERY)) === 0) {
      flags[c] |= T_TIMING;
      rttSeq[c] = end;
      rttAtUs[c] = clock[0];
    }
    if (((end - sndMax[c]) | 0) > 0) sndMax[c] = end;
    sentAtMs[c] = clock[1];
    // RFC 6298 section 5.1
    if (rtoAt[c] === 0 || (flags[c] & T_PERSIST) !== 0) {
      flags[c] &= ~T_PERSIST;
      armRto(c);
    }
  }

  // hot: per packet
  /** Segments of a train that may be started now for `len` bytes: all of them, else 1; 0 without credit or room. */
  function linksFor(c: number, len: number): number {
    const size = mss[c];
    if (len > size) {
      const links = ((len + size - 1) / size) | 0;
      if (transmit.ready(links, links * (((size / chunkBytes) | 0) + 2))) return links;
    }
    return transmit.ready(1, ((size / chunkBytes) | 0) + 2) ? 1 : 0;
  }

  // hot: per packet
  /**
   * Octets from `seq` on once more, FIN included, at most to `end` and at most `most`: as a train where there is credit for
   * one. How much sequence space went is in `resentBytes`. False: no credit or room.
   */
  function resend(c: number, seq: number, end: number, most: number): boolean {
    const size = mss[c];
    const span = (end - seq) | 0;
    const data = (sndUna[c] + sbLen[c] - seq) | 0;
    let n = span < data ? span : data;
    if (n > most) n = most > size ? most - (most % size) : size;
    if (n > trainBytes || n > size * trainLinks) n = trainLimit(c, n);
    const links = linksFor(c, n);
    if (links === 0) return false;
    if (links === 1 && n > size) n = size;
    const fin = n === data && span > n && (flags[c] & T_FIN) !== 0;
    segment(c, seq, fin ? ACK | FIN : ACK, n, links);
    resentBytes = fin ? n + 1 : n;
    sent(c, seq, (seq + resentBytes) | 0, links);
    return true;
  }

  /** The segment at SND.UNA once more, or the FIN (RFC 6582: one per recovery step). */
  function again(c: number): boolean {
    const una = sndUna[c];
    if (sndMax[c] !== una && !resend(c, una, sndMax[c], mss[c])) return false;
    flags[c] &= ~T_REXMIT;
    return true;
  }

  // hot: per packet
  /** A recovery with SACK: what NextSeg() of RFC 6675 section 4 names, while `cwnd - pipe` has room. False: no credit or room. */
  function recover(c: number): boolean {
    const size = mss[c];
    for (;;) {
      const room = cwnd[c] - board.pipe(c);
      const forced = (flags[c] & T_REXMIT) !== 0;
      if (room < size && !forced) return true;
      // Rule 1; the first segment goes at once (section 5, step 4.3), and the timer begins anew with it.
      if (forced) {
        board.hole(c, sndUna[c]);
        if (!mend(c, size)) return false;
        flags[c] &= ~T_REXMIT;
        armRto(c);
        continue;
      }
      if (recovery.lost(c)) {
        if (!mend(c, room)) return false;
        continue;
      }
      // Rule 2
      const before = sndNxt[c];
      if (!fresh(c, room)) return false;
      if (sndNxt[c] !== before) continue;
      // Rules 3 and 4
      if (!recovery.unsure(c)) return rescue(c);
      if (!mend(c, size)) return false;
    }
  }

  // hot: per packet
  /** Up to `most` octets of the hole that was found. */
  function mend(c: number, most: number): boolean {
    const seq = board.holeAt;
    if (!resend(c, seq, board.holeEnd, most)) return false;
    board.resent(c, seq, (seq + resentBytes) | 0);
    return true;
  }

  /**
   * Sending again after a timeout, around what the peer has reported since: hole by hole up to SND.MAX, and on from there. The
   * congestion window counts what is in the network, the peer's window counts from SND.UNA.
   */
  function patch(c: number): boolean {
    for (;;) {
      board.hole(c, sndNxt[c]);
      const seq = board.holeAt;
      if (((seq - sndNxt[c]) | 0) > 0) sndNxt[c] = seq;
      if (seq === sndMax[c]) return fresh(c, cwnd[c] - board.flight(c, seq));
      const span = (board.holeEnd - seq) | 0;
      const room = cwnd[c] - board.flight(c, seq);
      if (room < mss[c] && room < span) return true;
      const open = (sndUna[c] + sndWnd[c] - seq) | 0;
      if (open <= 0) {
        if (seq === sndUna[c]) persist(c);
        return true;
      }
      if (!resend(c, seq, open < span ? (seq + open) | 0 : board.holeEnd, room)) return false;
      sndNxt[c] = (seq + resentBytes) | 0;
    }
  }

  /** Rule 4: once a recovery the last segment out goes again, or losses at the end would cost a timeout. Not what has gone again already. */
  function rescue(c: number): boolean {
    if ((flags[c] & T_RESCUED) !== 0 || sndMax[c] === sndUna[c]) return true;
    board.lastHole(c);
    let seq = board.holeAt;
    const end = board.holeEnd;
    if (((end - highRxt[c]) | 0) <= 0) return true;
    if (((end - seq) | 0) > mss[c]) seq = (end - mss[c]) | 0;
    if (!resend(c, seq, end, mss[c])) return false;
    flags[c] |= T_RESCUED;
    return true;
  }

  /**
   * The override of both silly-window rules: what a small window allows, or one octet beyond a shut one (RFC 9293 sections
   * 3.8.6.1 and 3.8.6.2.1). SND.NXT stays behind that octet, so that it goes out again when the window opens.
   */
  function probe(c: number): boolean {
    if (!transmit.ready(1, ((mss[c] / chunkBytes) | 0) + 2)) return false;
    flags[c] &= ~T_PROBE;
    if (sbLen[c] === 0) return true;
    const una = sndUna[c];
    let n = sbLen[c] < sndWnd[c] ? sbLen[c] : sndWnd[c];
    if (n > mss[c]) n = mss[c];
    if (n > 0) {
      const end = (una + n) | 0;
      segment(c, una, ACK, n, 1);
      if (((end - sndNxt[c]) | 0) > 0) sndNxt[c] = end;
      sent(c, una, end, 1);
      return true;
    }
    segment(c, una, ACK, 1, 1);
    if (((una + 1 - sndMax[c]) | 0) > 0) sndMax[c] = (una + 1) | 0;
    flags[c] &= ~T_TIMING;
    return true;
  }

  /** Nothing is in flight and the window lets too little out: the persist timer takes over. */
  function persist(c: number): void {
    if (rtoAt[c] !== 0) return;
    flags[c] |= T_PERSIST;
    const ms = rtoMs[c] << Math.min(probes[c], 10);
    rtoAt[c] = m.deadline(ms > config.rtoMaxMs || ms <= 0 ? config.rtoMaxMs : ms);
    wheel.arm(c, rtoAt[c]);
  }

  // hot: per packet
  /**
   * How many of `left` unsent bytes go now, `usable` window (RFC 9293 section 3.8.6.2.1, Nagle included); 0: wait.
   * A whole number of segments unless the rest of the data goes too.
   */
  function allowed(c: number, left: number, usable: number): number {
    const size = mss[c];
    // Both rules are about new data: a small segment that was sent and lost goes again, or it never would.
    const lost = sndNxt[c] !== sndMax[c];
    if (left <= usable) {
      if (left >= size) {
        // Full segments now, the rest by the same rule in the next turn: with nothing held back it joins the train.
        return holds(c) ? left - (left % size) : left;
      }
      return !lost && sndMax[c] !== sndUna[c] && holds(c) ? 0 : left;
    }
    if (usable >= size) return usable - (usable % size);
    if (usable > 0 && (lost || (sndNxt[c] === sndUna[c] && usable >= maxWnd[c] >> 1))) return usable;
    return 0;
  }

  // hot: per packet
  /** Nagle holds a small segment back while anything is unacknowledged; a FIN behind it pushes it out. */
  function holds(c: number): boolean {
    return config.nagle && (flags[c] & (T_NODELAY | T_FIN)) === 0;
  }

  // hot: per packet
  /** Data and FIN as far as the windows allow. False: no credit or room. */
  function data(c: number): boolean {
    if ((flags[c] & (T_RECOVERY | T_SACK)) === (T_RECOVERY | T_SACK)) return recover(c);
    if ((flags[c] & (T_REXMIT | T_PROBE)) !== 0) {
      if ((flags[c] & T_REXMIT) !== 0 && !again(c)) return false;
      if ((flags[c] & T_PROBE) !== 0 && !probe(c)) return false;
    }
    // RFC 5681 section 4.1: idle for more than an RTO, the window is no longer known.
    if (sndMax[c] === sndUna[c] && sbLen[c] > 0 && ((clock[1] - sentAtMs[c]) | 0) > rtoMs[c]) congestion.onIdle(c);
    let wnd = cwnd[c];
    if (sackHead[c] >= 0) {
      // What the peer reported has left the network: limited transmit with SACK (RFC 3042, RFC 6675 section 5, step 3).
      if (sndNxt[c] !== sndMax[c]) return patch(c);
      wnd += sackBytes[c];
    } else if (dupAcks[c] > 0 && dupAcks[c] < 3 && (flags[c] & (T_RECOVERY | T_SACK)) === 0) {
      // Limited transmit (RFC 3042): the first two duplicates each let one new segment out.
      wnd += dupAcks[c] * mss[c];
    }
    return fresh(c, wnd - ((sndNxt[c] - sndUna[c]) | 0));
  }

  // hot: per packet
  /** Data and FIN from SND.NXT on, up to `most` octets of congestion window and the peer's window. False: no credit or room. */
  function fresh(c: number, most: number): boolean {
    const until = (sndNxt[c] + most) | 0;
    for (;;) {
      const nxt = sndNxt[c];
      const left = (sndUna[c] + sbLen[c] - nxt) | 0;
      if (left < 0 || (left === 0 && (flags[c] & T_FIN) === 0)) return true;
      const flight = (nxt - sndUna[c]) | 0;
      let usable = (until - nxt) | 0;
      if (sndWnd[c] - flight < usable) usable = sndWnd[c] - flight;
      let n = left > 0 ? allowed(c, left, usable) : 0;
      if (n <= 0 && left > 0) {
        if (flight === 0) persist(c);
        return true;
      }
      if (n > trainBytes || n > mss[c] * trainLinks) n = trainLimit(c, n);
      const links = linksFor(c, n);
      if (links === 0) return false;
      if (links === 1 && n > mss[c]) n = mss[c];
      const fin = n === left && (flags[c] & T_FIN) !== 0;
      let bits = ACK;
      if (n === left && n > 0) bits |= PSH;
      if (fin) bits |= FIN;
      segment(c, nxt, bits, n, links);
      const end = (nxt + n + (fin ? 1 : 0)) | 0;
      sndNxt[c] = end;
      sent(c, nxt, end, links);
    }
  }

  // hot: per packet
  /** Largest whole number of segments that fits links and bytes of a train, at least one. */
  function trainLimit(c: number, n: number): number {
    const size = mss[c];
    let links = trainBytes > size ? (trainBytes / size) | 0 : 1;
    if (links > trainLinks) links = trainLinks;
    return n < links * size ? n : links * size;
  }

  /**
   * SYN or SYN-ACK with the options agreed on so far.
   */
  function syn(c: number): boolean {
    if (!transmit.ready(1, 0)) return false;
    const active = state[c] === SYN_SENT;
    offer.mss = m.ownMss();
    offer.windowScale = (flags[c] & T_WS) !== 0 ? config.windowScale : -1;
    offer.sackPermitted = (flags[c] & T_SACK) !== 0;
    offer.hasTimestamp = (flags[c] & T_TS) !== 0;
    offer.tsVal = m.tsNow(c);
    offer.tsEcr = active ? 0 : tsRecent[c];
    const size = LEN_TCP + synOptionsBytes(offer);
    const f = transmit.take();
    const tcp = transmit.header(f, localIp[c], remoteIp[c], PROTO_TCP, size, macHi[c], macLo[c], 1);
    const p = ports[c];
    const wnd = rcvbuf < 65535 ? rcvbuf : 65535;
    view.setInt32(tcp, (p << 16) | (p >>> 16));
    view.setInt32(tcp + 4, iss[c]);
    view.setInt32(tcp + 8, active ? 0 : rcvNxt[c]);
    view.setInt32(tcp + 12, (size << 26) | ((active ? SYN : SYN | ACK) << 16) | wnd);
    view.setInt32(tcp + 16, fold(pseudoSum4(localIp[c], remoteIp[c], PROTO_TCP, size)) << 16);
    writeSynOptions(view, tcp + LEN_TCP, offer);
    counted[C_TCP_OUT_SEGS]++;
    if ((flags[c] & T_SYN_LOST) !== 0) counted[C_TCP_RETRANS_SEGS]++;
    else if (sndMax[c] === iss[c]) {
      // Sent again because the peer's SYN came again, it is not timed (Karn).
      flags[c] |= T_TIMING;
      rttSeq[c] = (iss[c] + 1) | 0;
      rttAtUs[c] = clock[0];
    }
    if (!active) {
      lastAckSent[c] = rcvNxt[c];
      const edge = (rcvNxt[c] + wnd) | 0;
      if (((edge - rcvAdv[c]) | 0) > 0) rcvAdv[c] = edge;
    }
    flags[c] &= ~T_SYN;
    ackDue[c] = 0;
    ackAt[c] = 0;
    sndNxt[c] = (iss[c] + 1) | 0;
    sndMax[c] = sndNxt[c];
    armRto(c);
    transmit.append(f, LEN_L2L3 + size, LEN_L2L3 + size, PLAIN, 0, 1, flowHash[c]);
    return true;
  }

  // hot: per packet
  /** An ACK without data. */
  function bareAck(c: number): void {
    segment(c, bareSeq(m, c), ACK, 0, 1);
  }

  /** Duplicate ACKs carry no data, or they would not count (RFC 5681 section 2). False: no credit or room for all of them. */
  function duplicates(c: number): boolean {
    for (let n = ackDue[c] - 1; n > 0; n--) {
      if (!transmit.ready(1, 0)) {
        ackDue[c] = n + 1;
        return false;
      }
      bareAck(c);
    }
    return true;
  }

  // hot: per packet
  /** One connection. False: it stays first in line. */
  function output(c: number): boolean {
    const s = state[c];
    if (s === CLOSED || s === LISTEN) return true;
    if (macEpoch[c] !== host.epoch() && !resolve(c)) return true;
    if ((flags[c] & T_SYN) !== 0 && (s === SYN_SENT || s === SYN_RCVD)) return syn(c);
    if (ackDue[c] > 2 && !duplicates(c)) return false;
    if (((1 << s) & SENDING) !== 0 && !data(c)) return false;
    if (ackDue[c] === 2) {
      if (!transmit.ready(1, 0)) return false;
      bareAck(c);
    } else if (ackDue[c] === 1 && ackAt[c] === 0) {
      ackAt[c] = m.deadline(config.delayedAckMs);
      wheel.arm(c, ackAt[c]);
    }
    return true;
  }

  // hot: per burst
  function run(): void {
    for (let c = m.outHead; c >= 0; c = m.outHead) {
      if (!output(c)) return;
      m.outputDone(c);
    }
  }

  return { run, windowOpened };
}
