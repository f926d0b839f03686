/**
 * What a connection has to say, said once when the breath ends: SYN, data and FIN as the windows allow (trains of segments
 * where the port takes them), else an ACK if one is due. Runs over the output list; a connection that finds no credit or no
 * room in the tx ring stays first in line.
 */
import * as hostStateNumbers from '../../rings/hostState.ts';
import * as tcpNumbers from '../../wire/tcp.ts';
import * as socketsNumbers from '../sockets.ts';
import type { Congestion } from './congestion/newreno.ts';
import type { Machine } from './machine.ts';
import type { SackRecovery } from './recovery/sack.ts';
import type { Segments } from './segments.ts';
import * as statesNumbers from './states.ts';
import * as tcbNumbers from './tcb.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { NB_FAILED, NB_REACHABLE } = hostStateNumbers;
const { ACK, FIN, PSH } = tcpNumbers;
const { EHOSTUNREACH, ENETUNREACH } = socketsNumbers;
const { CLOSED, LISTEN, SENDING, SYN_RCVD, SYN_SENT } = statesNumbers;
const { T_FIN, T_KEEP, T_NODELAY, T_PERSIST, T_PROBE, T_RECOVERY, T_RESCUED, T_REXMIT, T_SACK, T_SYN, T_TIMING } = tcbNumbers;

export interface Output {
  /** Serves the whole output list. */
  run(): void;
  /** Right edge the application's reading would allow now, and whether it is worth telling the peer at once. */
  windowOpened(c: number): boolean;
}

export function createOutput(m: Machine, segments: Segments, congestion: Congestion, recovery: SackRecovery): Output {
  const t = m.tcb;
  const { state, flags, remoteIp, macHi, macLo, macEpoch, ackDue, ackAt } = t;
  const { sndUna, sndNxt, sndMax, sndWnd, maxWnd, cwnd, mss, sbLen, dupAcks } = t;
  const { rtoAt, rtoMs, sentAtMs, probes, sackHead, sackBytes, highRxt, oooHead } = t;
  const { transmit, wheel, neighbor, clock, board } = m;
  const { host, config } = m.env;
  const { segment, sent, armRto, bareAck, linkBytes, linksFor, trainLimit, resend } = segments;
  const chunkBytes = config.chunkBytes;
  /** The connection at hand has sent its share of this breath and has more. */
  let later = false;

  /** Of the neighbour table, when this run began. */
  let epoch = 0;

  /** Next hop's MAC into the columns. True when segments can be addressed; false: parked, or the connection is over. */
  function resolve(c: number): boolean {
    const hop = host.nextHop(remoteIp[c]);
    const found = hop === 0 ? NB_FAILED : neighbor.resolve(hop);
    if (found === NB_REACHABLE) {
      macHi[c] = neighbor.macHi;
      macLo[c] = neighbor.macLo;
      macEpoch[c] = epoch;
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

  /** The segment at SND.UNA once more, or the FIN (RFC 6582: one per recovery step). */
  function again(c: number): boolean {
    const una = sndUna[c];
    if (sndMax[c] !== una && resend(c, una, sndMax[c], mss[c]) === 0) return false;
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
    const used = resend(c, seq, board.holeEnd, most);
    if (used === 0) return false;
    board.resent(c, seq, (seq + used) | 0);
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
      const used = resend(c, seq, open < span ? (seq + open) | 0 : board.holeEnd, room);
      if (used === 0) return false;
      sndNxt[c] = (seq + used) | 0;
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
    if (resend(c, seq, end, mss[c]) === 0) return false;
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
    const stop = (sndNxt[c] + config.burstBytes) | 0;
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
      // Enough for one breath: the peer is to have this while the rest is made.
      if (((nxt - stop) | 0) >= 0) {
        later = true;
        return true;
      }
      n = trainLimit(c, n);
      const links = linksFor(c, n);
      if (links === 0) return false;
      if (links === 1 && n > mss[c] && n > linkBytes(c)) n = linkBytes(c);
      const fin = n === left && (flags[c] & T_FIN) !== 0;
      let bits = ACK;
      if (n === left && n > 0) bits |= PSH;
      if (fin) bits |= FIN;
      const segs = segment(c, nxt, bits, n, links);
      const end = (nxt + n + (fin ? 1 : 0)) | 0;
      sndNxt[c] = end;
      sent(c, nxt, end, segs);
    }
  }

  /** A keep-alive probe: SEG.SEQ = SND.NXT - 1 and no data (RFC 9293 section 3.8.4), which the peer must answer. */
  function keepAlive(c: number): boolean {
    if (!transmit.ready(1, 0)) return false;
    flags[c] &= ~T_KEEP;
    if (sndMax[c] === sndUna[c]) segment(c, (sndUna[c] - 1) | 0, ACK, 0, 1);
    return true;
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
    if (macEpoch[c] !== epoch && !resolve(c)) return true;
    if ((flags[c] & T_SYN) !== 0 && (s === SYN_SENT || s === SYN_RCVD)) return segments.syn(c);
    if ((ackDue[c] > 2 || (ackDue[c] === 2 && oooHead[c] >= 0)) && !duplicates(c)) return false;
    if (((1 << s) & SENDING) !== 0 && !data(c)) return false;
    if ((flags[c] & T_KEEP) !== 0 && !keepAlive(c)) return false;
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
    if (m.outHead < 0) return;
    // Read once: an atomic load is a call, and what changes meanwhile is seen in the next breath.
    epoch = host.epoch();
    let waiting = -1;
    for (let c = m.outHead; c >= 0 && c !== waiting; c = m.outHead) {
      later = false;
      if (!output(c)) return;
      m.outputDone(c);
      if (!later) continue;
      m.wantOutput(c);
      if (waiting < 0) waiting = c;
    }
  }

  return { run, windowOpened: segments.windowOpened };
}
