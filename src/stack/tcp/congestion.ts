/**
 * Congestion control: slow start and congestion avoidance with byte counting (RFC 5681, RFC 3465), IW10 (RFC 6928), fast
 * recovery with partial acknowledgments (RFC 6582), restart after idle (RFC 5681 section 4.1), no growth of a window that
 * is not used (RFC 7661).
 *
 * Worked example (mss 1000, cwnd 10 000 all in flight): three duplicate ACKs: ssthresh = 5 000, cwnd = 5 000 + 3 * 1000 = 8 000;
 * a partial ACK of 2 000: cwnd = 8 000 - 2 000 + 1 000 = 7 000 and the next hole goes out; the ACK of `recover`: cwnd = 5 000 at most.
 */
import { C_TCP_FAST_RETRANS } from '../../rings/counters.ts';
import type { Machine } from './machine.ts';
import { T_PARTIAL, T_RECOVERY, T_REXMIT, T_TIMING } from './tcb.ts';

/** Byte-counting limit of one ACK in slow start, in segments. RFC 9406 section 4.2 gives 8 for senders that do not pace; GRO makes stretch ACKs the rule. */
const ABC_LIMIT = 8;
const CWND_MAX = 1 << 28;

export interface Congestion {
  /** RFC 6928: min(10 * MSS, max(2 * MSS, 14600)). */
  initialWindow(mss: number): number;
  /** `acked` new bytes; `flight` were out before. */
  onAck(c: number, acked: number, flight: number): void;
  /** A strict duplicate ACK (RFC 5681 section 2). */
  onDuplicate(c: number): void;
  onTimeout(c: number): void;
  onIdle(c: number): void;
}

export function createCongestion(m: Machine): Congestion {
  const { flags, cwnd, ssthresh, dupAcks, mss, recover, ackedBytes, sndUna, sndMax, retries } = m.tcb;
  const counted = m.counted;

  const initialWindow = (size: number): number => Math.min(10 * size, Math.max(2 * size, 14600));

  // hot: per packet
  function onAck(c: number, acked: number, flight: number): void {
    if ((flags[c] & T_RECOVERY) !== 0) {
      recovering(c, acked);
      return;
    }
    dupAcks[c] = 0;
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

  /** RFC 6582 section 3.2, steps 3 (full acknowledgment) and 4 (partial). */
  function recovering(c: number, acked: number): void {
    if (((sndUna[c] - recover[c]) | 0) >= 0) {
      flags[c] &= ~(T_RECOVERY | T_REXMIT | T_PARTIAL);
      dupAcks[c] = 0;
      ackedBytes[c] = 0;
      const flight = (sndMax[c] - sndUna[c]) | 0;
      const room = (flight > mss[c] ? flight : mss[c]) + mss[c];
      cwnd[c] = ssthresh[c] < room ? ssthresh[c] : room;
      return;
    }
    flags[c] |= T_REXMIT;
    let window = cwnd[c] - acked;
    if (acked >= mss[c]) window += mss[c];
    cwnd[c] = window < mss[c] ? mss[c] : window;
  }

  function onDuplicate(c: number): void {
    const n = ++dupAcks[c];
    if ((flags[c] & T_RECOVERY) !== 0) {
      // Step 3 of RFC 5681 section 3.2: a segment has left the network. Bounded by what can be out, or forged ACKs would inflate it.
      if (cwnd[c] < ssthresh[c] + ((sndMax[c] - sndUna[c]) | 0)) cwnd[c] += mss[c];
      return;
    }
    if (n !== 3) return;
    // RFC 6582 section 3.2 step 2: duplicates of what was sent before the last recovery or timeout do not start another.
    if (((sndUna[c] - recover[c]) | 0) <= 0) return;
    counted[C_TCP_FAST_RETRANS]++;
    const half = ((sndMax[c] - sndUna[c]) | 0) >> 1;
    ssthresh[c] = half > 2 * mss[c] ? half : 2 * mss[c];
    cwnd[c] = ssthresh[c] + 3 * mss[c];
    recover[c] = sndMax[c];
    flags[c] = (flags[c] | T_RECOVERY | T_REXMIT) & ~T_TIMING;
  }

  function onTimeout(c: number): void {
    // RFC 5681 section 3.1: ssthresh falls once an episode, not at every back-off.
    if (retries[c] === 1) {
      const half = ((sndMax[c] - sndUna[c]) | 0) >> 1;
      ssthresh[c] = half > 2 * mss[c] ? half : 2 * mss[c];
    }
    cwnd[c] = mss[c];
    ackedBytes[c] = 0;
    dupAcks[c] = 0;
    recover[c] = sndMax[c];
    flags[c] &= ~(T_RECOVERY | T_REXMIT | T_PARTIAL | T_TIMING);
  }

  function onIdle(c: number): void {
    const restart = initialWindow(mss[c]);
    if (cwnd[c] > restart) cwnd[c] = restart;
  }

  return { initialWindow, onAck, onDuplicate, onTimeout, onIdle };
}
