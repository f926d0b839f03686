/**
 * Congestion control: slow start and congestion avoidance with byte counting (RFC 5681, RFC 3465), IW10 (RFC 6928), restart
 * after idle (RFC 5681 section 4.1), no growth of a window that is not used (RFC 7661). What happens in a recovery is in
 * recovery/.
 *
 * Worked example (mss 1000, cwnd 10 000, ssthresh 12 000): an ACK of 2 000: cwnd = 12 000; from there a segment a window:
 * ACKs of 12 000 in all make it 13 000.
 */
import type { Machine } from '../machine.ts';
import * as tcbNumbers from '../tcb.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { T_PARTIAL, T_RECOVERY, T_RESCUED, T_REXMIT, T_TIMING } = tcbNumbers;

/** Byte-counting limit of one ACK in slow start, in segments. RFC 9406 section 4.2 gives 8 for senders that do not pace; GRO makes stretch ACKs the rule. */
const ABC_LIMIT = 8;
const CWND_MAX = 1 << 28;

export interface Congestion {
  /** RFC 6928: min(10 * MSS, max(2 * MSS, 14600)). */
  initialWindow(mss: number): number;
  /** Outside of a recovery: `acked` new octets; `flight` were out before. */
  grow(c: number, acked: number, flight: number): void;
  /** ssthresh after a loss that duplicates told of (RFC 5681 section 3.1, equation 4). */
  half(c: number): number;
  onTimeout(c: number): void;
  onIdle(c: number): void;
}

export function createCongestion(m: Machine): Congestion {
  const { flags, cwnd, ssthresh, dupAcks, mss, recover, ackedBytes, sndUna, sndMax, retries } = m.tcb;

  const initialWindow = (size: number): number => Math.min(10 * size, Math.max(2 * size, 14600));

  // hot: per packet
  function grow(c: number, acked: number, flight: number): void {
    // Follows at a distance of one: left behind it would seem to lie ahead after 2 GiB, and forbid fast retransmit.
    if (((sndUna[c] - recover[c]) | 0) > 0) recover[c] = (sndUna[c] - 1) | 0;
    const window = cwnd[c];
    const size = mss[c];
    if (window < ssthresh[c]) {
      // Slow start may run ahead of use by a factor of two, as the flight doubles a round trip.
      if (flight << 1 < window) return;
      const most = (retries[c] > 0 ? 1 : ABC_LIMIT) * size;
      cwnd[c] = window + (acked < most ? acked : most);
    } else {
      if (flight + size < window) return;
      const sum = ackedBytes[c] + acked;
      if (sum >= window) {
        ackedBytes[c] = sum - window;
        cwnd[c] = window + size;
      } else {
        ackedBytes[c] = sum;
      }
    }
    if (cwnd[c] > CWND_MAX) cwnd[c] = CWND_MAX;
  }

  /** What limited transmit let out beyond the window is no flight here (RFC 5681 section 3.2 step 2). */
  function half(c: number): number {
    const out = (sndMax[c] - sndUna[c]) | 0;
    const flight = (out < cwnd[c] ? out : cwnd[c]) >> 1;
    return flight > 2 * mss[c] ? flight : 2 * mss[c];
  }

  function onTimeout(c: number): void {
    // RFC 5681 section 3.1: ssthresh falls once an episode, not at every back-off.
    if (retries[c] === 1) {
      const flight = ((sndMax[c] - sndUna[c]) | 0) >> 1;
      ssthresh[c] = flight > 2 * mss[c] ? flight : 2 * mss[c];
    }
    cwnd[c] = mss[c];
    ackedBytes[c] = 0;
    dupAcks[c] = 0;
    recover[c] = sndMax[c];
    flags[c] &= ~(T_RECOVERY | T_REXMIT | T_PARTIAL | T_RESCUED | T_TIMING);
    m.board.clear(c);
  }

  function onIdle(c: number): void {
    const restart = initialWindow(mss[c]);
    if (cwnd[c] > restart) cwnd[c] = restart;
  }

  return { initialWindow, grow, half, onTimeout, onIdle };
}
