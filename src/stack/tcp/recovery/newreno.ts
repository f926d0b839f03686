/**
 * Fast retransmit and fast recovery of peers without SACK: RFC 5681 section 3.2 with the partial acknowledgments and the
 * "careful" variant of RFC 6582 (no second recovery for duplicates of what was out at the last one, or at a timeout). One
 * hole is mended a round trip.
 *
 * Worked example (mss 1000, cwnd 10 000 all in flight): three duplicate ACKs: ssthresh = 5 000, cwnd = 5 000 + 3 * 1000 = 8 000;
 * a partial ACK of 2 000: cwnd = 8 000 - 2 000 + 1 000 = 7 000 and the next hole goes out; the ACK of `recover`: cwnd = 5 000 at most.
 */
import * as counterIndex from '../../../rings/counters.ts';
import type { Congestion } from '../congestion/newreno.ts';
import type { Machine } from '../machine.ts';
import * as tcbNumbers from '../tcb.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { C_TCP_FAST_RETRANS } = counterIndex;
const { T_PARTIAL, T_RECOVERY, T_REXMIT, T_TIMING } = tcbNumbers;

export interface NewReno {
  /** `acked` octets more are acknowledged, and SND.UNA has moved; `flight` were out before. */
  onAck(c: number, acked: number, flight: number): void;
  /** A strict duplicate ACK (RFC 5681 section 2). */
  onDuplicate(c: number): void;
}

export function createNewReno(m: Machine, congestion: Congestion): NewReno {
  const { flags, cwnd, ssthresh, dupAcks, mss, recover, ackedBytes, sndUna, sndMax } = m.tcb;
  const counted = m.counted;

  // hot: per packet
  function onAck(c: number, acked: number, flight: number): void {
    if ((flags[c] & T_RECOVERY) !== 0) {
      recovering(c, acked);
      return;
    }
    dupAcks[c] = 0;
    congestion.grow(c, acked, flight);
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
    ssthresh[c] = congestion.half(c);
    cwnd[c] = ssthresh[c] + 3 * mss[c];
    recover[c] = sndMax[c];
    flags[c] = (flags[c] | T_RECOVERY | T_REXMIT) & ~T_TIMING;
  }

  return { onAck, onDuplicate };
}
