/**
 * The retransmission timer's estimate, RFC 6298 in integers: srtt holds 8 * SRTT, rttvar 4 * RTTVAR, microseconds.
 *
 * Worked example (section 2): first sample 100 ms: SRTT 100, RTTVAR 50, RTO = 100 + 4 * 50 = 300 ms.
 * Second sample 180 ms: RTTVAR = 3/4 * 50 + 1/4 * |100 - 180| = 57.5, SRTT = 7/8 * 100 + 1/8 * 180 = 110, RTO = 340 ms.
 *
 * One segment is timed at a time and never one that was sent again (Karn, section 3); a backed-off RTO stays until the next
 * sample (section 5.7 and 5.5's note), or an echoed timestamp that says which sending was answered.
 */
import type { Machine } from '../machine.ts';

export interface RtoEstimator {
  sample(c: number, rttUs: number): void;
  /** Ends a back-off without a sample: the estimate stands. */
  settle(c: number): void;
  backOff(c: number): void;
}

export function createRtoEstimator(m: Machine): RtoEstimator {
  const { srtt, rttvar, rtoMs } = m.tcb;
  const { rtoMinMs, rtoMaxMs } = m.config;

  // hot: per packet
  function sample(c: number, rttUs: number): void {
    if (rttUs < 1) rttUs = 1;
    else if (rttUs > 120_000_000) rttUs = 120_000_000;
    if (srtt[c] === 0) {
      srtt[c] = rttUs << 3;
      rttvar[c] = rttUs << 1;
    } else {
      let delta = rttUs - (srtt[c] >> 3);
      srtt[c] += delta;
      if (delta < 0) delta = -delta;
      rttvar[c] += delta - (rttvar[c] >> 2);
    }
    settle(c);
  }

  // hot: per packet
  function settle(c: number): void {
    if (srtt[c] === 0) return;
    const ms = (((srtt[c] >> 3) + rttvar[c] + 999) / 1000) | 0;
    rtoMs[c] = ms < rtoMinMs ? rtoMinMs : ms > rtoMaxMs ? rtoMaxMs : ms;
  }

  function backOff(c: number): void {
    const ms = rtoMs[c] << 1;
    rtoMs[c] = ms > rtoMaxMs ? rtoMaxMs : ms;
  }

  return { sample, settle, backOff };
}
