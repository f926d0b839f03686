/**
 * Loss recovery with SACK, RFC 6675 section 5: when it begins, when it ends, and NextSeg() of section 4. How much may go is
 * `cwnd - pipe`; output asks segment by segment.
 *
 * Worked example (mss 1000, cwnd 10 000, octets 1..10 000 out): SACK of 2001..5000 in one ACK: more than 2 * 1000 stand above
 * octet 1, so 1..2000 is lost; ssthresh = cwnd = 5 000. pipe = 10 000 - 3 000 - 2 000 = 5 000: 1..1000 goes at once (step 4.3),
 * pipe = 6 000. Two more segments reported: pipe = 4 000, and 1001..2000 goes.
 */
import * as counterIndex from '../../../rings/counters.ts';
import type { Congestion } from '../congestion/newreno.ts';
import type { Machine } from '../machine.ts';
import * as tcbNumbers from '../tcb.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { C_TCP_FAST_RETRANS } = counterIndex;
const { T_RECOVERY, T_RESCUED, T_REXMIT, T_TIMING } = tcbNumbers;

const DUP_THRESH = 3;

export interface SackRecovery {
  /** `acked` octets more are acknowledged, and SND.UNA has moved. */
  onAck(c: number, acked: number, flight: number): void;
  /** An ACK reported octets that no ACK had; `duplicate`: it acknowledged nothing new. */
  onReport(c: number, duplicate: boolean): void;
  /** Rule 1: whether a lost octet is to be sent again: the first at scoreboard.holeAt, its hole's end in holeEnd. */
  lost(c: number): boolean;
  /** Rule 3: the same for octets below something reported that are not lost yet. */
  unsure(c: number): boolean;
}

export function createSackRecovery(m: Machine, congestion: Congestion): SackRecovery {
  const { flags, cwnd, ssthresh, dupAcks, sndUna, sndNxt, sndMax, recover, lostEdge, highRxt, ackedBytes } = m.tcb;
  const { board, counted } = m;

  // hot: per packet
  function onAck(c: number, acked: number, flight: number): void {
    board.advance(c);
    dupAcks[c] = 0;
    if ((flags[c] & T_RECOVERY) === 0) {
      congestion.grow(c, acked, flight);
      return;
    }
    // Step A: everything that was out when it began is acknowledged.
    if (((sndUna[c] - recover[c]) | 0) < 0) return;
    flags[c] &= ~(T_RECOVERY | T_REXMIT | T_RESCUED);
    ackedBytes[c] = 0;
  }

  // hot: per packet
  function onReport(c: number, duplicate: boolean): void {
    if ((flags[c] & T_RECOVERY) !== 0) return;
    if (duplicate) dupAcks[c]++;
    if (dupAcks[c] < DUP_THRESH && lostEdge[c] === sndUna[c]) return;
    // Section 5.1: not before what was out at the last recovery or timeout is acknowledged.
    if (((sndUna[c] - recover[c]) | 0) < 0) return;
    counted[C_TCP_FAST_RETRANS]++;
    recover[c] = sndMax[c];
    ssthresh[c] = congestion.half(c);
    cwnd[c] = ssthresh[c];
    sndNxt[c] = sndMax[c];
    board.begin(c);
    flags[c] = (flags[c] | T_RECOVERY | T_REXMIT) & ~(T_TIMING | T_RESCUED);
  }

  // hot: per packet
  function lost(c: number): boolean {
    if (((highRxt[c] - lostEdge[c]) | 0) >= 0) return false;
    board.hole(c, highRxt[c]);
    return ((board.holeAt - lostEdge[c]) | 0) < 0;
  }

  function unsure(c: number): boolean {
    board.hole(c, highRxt[c]);
    return board.holeEnd !== sndMax[c] && board.holeEnd !== board.holeAt;
  }

  return { onAck, onReport, lost, unsure };
}
