/** The ACK field, fifth step of RFC 9293 section 3.10.7.4: what is acknowledged, duplicates, the window, our FIN. */
import * as counterIndex from '../../rings/counters.ts';
import * as tcpNumbers from '../../wire/tcp.ts';
import * as socketsNumbers from '../sockets.ts';
import type { Machine } from './machine.ts';
import type { NewReno } from './recovery/newreno.ts';
import type { RtoEstimator } from './recovery/rto.ts';
import type { SackRecovery } from './recovery/sack.ts';
import type { Segment } from './segment.ts';
import type { SendBuffer } from './sendBuffer.ts';
import * as statesNumbers from './states.ts';
import * as tcbNumbers from './tcb.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { C_TCP_DUP_ACKS_IN } = counterIndex;
const { FIN } = tcpNumbers;
const { EPOLLOUT } = socketsNumbers;
const { CLOSING, FIN_WAIT_1, FIN_WAIT_2, LAST_ACK } = statesNumbers;
const { T_BACKED_OFF, T_FIN, T_FULL, T_LINGERING, T_OPEN, T_PARTIAL, T_PERSIST, T_QUEUED, T_RECOVERY, T_SACK, T_TIMING, T_TS } = tcbNumbers;

/** One acknowledgment in this many (of all connections) confirms its neighbour; the confirmation itself is rate limited. */
const CONFIRM_EVERY = 16;

/** An older echo is no measurement. */
const ECHO_MAX_MS = 120_000;

export interface Acknowledgment {
  /** Takes seg.ack, which is between SND.UNA and SND.NXT, and seg.wnd. May end the connection. */
  take(c: number): void;
}

export function createAcknowledgment(
  m: Machine,
  seg: Segment,
  send: SendBuffer,
  newReno: NewReno,
  sack: SackRecovery,
  rto: RtoEstimator,
): Acknowledgment {
  const { state, flags, sndUna, sndNxt, sndMax, sndWnd, sndWl1, sndWl2, maxWnd, sndScale, sbLen, sndBuf, heardAtMs, iss, ackWraps } = m.tcb;
  const { rtoAt, rtoMs, rttSeq, rttAtUs, sentAtMs, retries, probes, remoteIp } = m.tcb;
  const { counted, clock, config, wheel } = m;
  const { host } = m.env;
  let acks = 0;

  // hot: per packet
  /** SEG.ACK is between SND.UNA and SND.NXT: new data acknowledged, a duplicate, the window. */
  function take(c: number): void {
    heardAtMs[c] = clock[1];
    const una = sndUna[c];
    const acked = (seg.ack - una) | 0;
    const wnd = seg.wnd << sndScale[c];
    if (acked === 0 && seg.len === 0 && wnd === sndWnd[c] && (seg.bits & FIN) === 0 && sndMax[c] !== una && wnd !== 0) {
      // RFC 5681 section 2: outstanding data, no payload, same ACK, same window.
      counted[C_TCP_DUP_ACKS_IN]++;
      if ((flags[c] & T_SACK) === 0) newReno.onDuplicate(c);
      m.wantOutput(c);
    }
    // RFC 9293 section 3.8.6.1: who answers with a shut window lives, also when what it holds up is only a FIN.
    if ((flags[c] & T_PERSIST) !== 0 || wnd === 0) retries[c] = 0;
    // SND.WL1 and SND.WL2: an old segment does not change the window (section 3.10.7.4, fifth step).
    const older = (seg.seq - sndWl1[c]) | 0;
    if (older > 0 || (older === 0 && ((seg.ack - sndWl2[c]) | 0) >= 0)) takeWindow(c, wnd);
    if (acked > 0) newAck(c, acked);
    else if (((sndUna[c] + sbLen[c] - sndNxt[c]) | 0) > 0) m.wantOutput(c);
    if (seg.blocks > 0 && (flags[c] & T_SACK) !== 0) blocks(c, acked === 0);
  }

  // hot: per packet
  /** SACK blocks count whatever else the segment carries (RFC 6675 section 2, "duplicate acknowledgment"). */
  function blocks(c: number, duplicate: boolean): void {
    if (m.board.update(c, seg.options) === 0) return;
    sack.onReport(c, duplicate);
    m.wantOutput(c);
  }

  // hot: per packet
  function takeWindow(c: number, wnd: number): void {
    sndWl1[c] = seg.seq;
    sndWl2[c] = seg.ack;
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
    if ((flags[c] & T_TIMING) !== 0 && ((seg.ack - rttSeq[c]) | 0) >= 0) {
      flags[c] &= ~(T_TIMING | T_BACKED_OFF);
      rto.sample(c, (clock[0] - rttAtUs[c]) | 0);
    } else if ((flags[c] & T_TS) !== 0 && (flags[c] & (T_BACKED_OFF | T_RECOVERY)) !== 0) {
      echoed(c);
    }
    const data = acked < sbLen[c] ? acked : sbLen[c];
    const start = sndUna[c];
    sndUna[c] = seg.ack;
    if ((start - iss[c]) >>> 31 !== 0 && (seg.ack - iss[c]) >>> 31 === 0) ackWraps[c]++;
    if (data > 0) send.acknowledge(c, data);
    if (((sndNxt[c] - seg.ack) | 0) < 0) sndNxt[c] = seg.ack;
    if ((flags[c] & T_SACK) !== 0) sack.onAck(c, acked, flight);
    else newReno.onAck(c, acked, flight);
    retries[c] = 0;
    if ((flags[c] & T_PERSIST) === 0) {
      // RFC 6298 sections 5.2 and 5.3
      if (seg.ack === sndMax[c]) {
        rtoAt[c] = 0;
      } else if ((flags[c] & T_PARTIAL) === 0) {
        if ((flags[c] & (T_RECOVERY | T_SACK)) === T_RECOVERY) flags[c] |= T_PARTIAL;
        rtoAt[c] = m.deadline(rtoMs[c]);
        wheel.arm(c, rtoAt[c]);
      }
    }
    if (++acks % CONFIRM_EVERY === 0) m.neighbor.confirm(host.nextHop(remoteIp[c]));
    if ((flags[c] & T_FULL) !== 0 && sbLen[c] <= sndBuf[c] >> 1) {
      flags[c] &= ~T_FULL;
      m.notify(c, EPOLLOUT);
    }
    if (sbLen[c] > 0 || (flags[c] & (T_FIN | T_RECOVERY)) !== 0) m.wantOutput(c);
    if (((seg.ack - start - data) | 0) > 0 && (flags[c] & T_FIN) !== 0 && sbLen[c] === 0) finAcknowledged(c);
  }

  /**
   * After a timeout and in a recovery nothing is timed (Karn): the echoed timestamp says which sending was answered, so it is
   * a sample (RFC 7323 section 4.1) and ends the back-off. Milliseconds are enough. An echo older than the timeout is of a
   * sending whose answer was lost: the path answers again, but took no such time; after a timeout, so is one before the last
   * sending.
   */
  function echoed(c: number): void {
    const ms = (m.tsNow(c) - seg.tsEcr) | 0;
    if (ms < 0 || ms > ECHO_MAX_MS) return;
    const late = ms > ((flags[c] & T_BACKED_OFF) !== 0 ? (clock[1] - sentAtMs[c] + 1) | 0 : rtoMs[c]);
    flags[c] &= ~T_BACKED_OFF;
    if (late) rto.settle(c);
    else rto.sample(c, ms === 0 ? 500 : ms * 1000);
  }

  /** Our FIN is acknowledged (section 3.10.7.4, fifth step, by state). */
  function finAcknowledged(c: number): void {
    const s = state[c];
    if (s === FIN_WAIT_1) {
      m.enter(c, FIN_WAIT_2);
      if ((flags[c] & (T_OPEN | T_QUEUED)) === 0) {
        flags[c] &= ~T_LINGERING;
        m.endIn(c, config.finWait2Ms);
      }
    } else if (s === CLOSING) m.timeWait(c);
    else if (s === LAST_ACK) m.terminate(c, 0);
  }

  return { take };
}
