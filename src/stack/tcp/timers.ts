/**
 * What happens when time passes. Four deadlines a connection, one wheel entry for the earliest:
 *
 * | deadline | armed by                                        | disarmed by                         | on expiry                          |
 * |----------|-------------------------------------------------|-------------------------------------|------------------------------------|
 * | rtoAt    | output: SYN, data, FIN sent; or a shut window   | input: everything acknowledged      | send again from SND.UNA, back off; |
 * |          | with nothing in flight (T_PERSIST)              | (moved on by every new ACK)         | or a window probe                  |
 * | ackAt    | output: an ACK is due but may wait              | output: any segment carries the ACK | send it                            |
 * | lifeAt   | input: TIME_WAIT; orphan in FIN_WAIT_2; linger  | –                                   | the connection is gone             |
 * | keepAt   | handshake: the connection opened; options       | –                                   | a keep-alive probe; silence ends   |
 * |          |                                                 |                                     | the connection                     |
 *
 * Disarming only clears the deadline: the wheel entry fires, finds nothing due, and arms for what is left.
 */
import { C_TCP_RTO_FIRED } from '../../rings/counters.ts';
import type { Congestion } from './congestion/newreno.ts';
import type { Keepalive } from './keepalive.ts';
import type { Machine } from './machine.ts';
import type { Reset } from './reset.ts';
import type { RtoEstimator } from './recovery/rto.ts';
import { CLOSED, SYN_RCVD, SYN_SENT } from './states.ts';
import { T_BACKED_OFF, T_FIN, T_LINGERING, T_OPEN, T_PERSIST, T_PROBE, T_QUEUED, T_SYN, T_SYN_LOST, T_TIMING } from './tcb.ts';

export interface Timers {
  /** Fires what is due. Returns how much. */
  run(): number;
}

export interface TimerParts {
  congestion: Congestion;
  rto: RtoEstimator;
  reset: Reset;
  keepalive: Keepalive;
}

export function createTimers(m: Machine, parts: TimerParts): Timers {
  const { congestion, rto, reset, keepalive } = parts;
  const { state, flags, rtoAt, ackAt, lifeAt, keepAt, ackDue, retries, probes, sndUna, sndNxt, sndMax, sndWnd, sbLen, nxChunk, iss } =
    m.tcb;
  const { rtoMs, userMs, stuckAtMs } = m.tcb;
  const { wheel, counted, clock, config } = m;

  const due = (at: number): boolean => at !== 0 && ((at - clock[1]) | 0) <= 0;

  function fire(c: number): void {
    if (due(lifeAt[c])) {
      lifeAt[c] = 0;
      // SO_LINGER: what the peer has not acknowledged is lost, and it must hear that.
      if ((flags[c] & T_LINGERING) !== 0) reset.cut(c);
      m.terminate(c, 0);
      return;
    }
    if (due(ackAt[c])) {
      ackAt[c] = 0;
      if (ackDue[c] !== 0) m.ackNow(c);
    }
    if (due(rtoAt[c])) {
      rtoAt[c] = 0;
      const s = state[c];
      if (s === SYN_SENT || s === SYN_RCVD) synTimeout(c);
      else if ((flags[c] & T_PERSIST) !== 0) probeTimeout(c);
      else retransmitTimeout(c);
      if (state[c] === CLOSED) return;
    }
    if (due(keepAt[c])) {
      keepalive.due(c);
      if (state[c] === CLOSED) return;
    }
    if (rtoAt[c] !== 0) wheel.arm(c, rtoAt[c]);
    if (ackAt[c] !== 0) wheel.arm(c, ackAt[c]);
    if (lifeAt[c] !== 0) wheel.arm(c, lifeAt[c]);
    if (keepAt[c] !== 0) wheel.arm(c, keepAt[c]);
  }

  /** RFC 6298 section 5.4 to 5.7 for the SYN; R2 for it is config.synRetries (RFC 9293 section 3.8.3). */
  function synTimeout(c: number): void {
    counted[C_TCP_RTO_FIRED]++;
    if (gaveUp(c, config.synRetries)) return;
    rto.backOff(c);
    sndNxt[c] = iss[c];
    flags[c] = (flags[c] | T_SYN | T_SYN_LOST) & ~T_TIMING;
    // Armed at once: a connection parked without a neighbour must come back too.
    rtoAt[c] = m.deadline(rtoMs[c]);
    m.wantOutput(c);
  }

  /**
   * RFC 9293 section 3.8.6.1: forever while the peer answers, up to R2 while it does not. A connection that the application
   * closed has nobody to wait for it: R2 in all, or a peer could hold its buffers for ever.
   */
  function probeTimeout(c: number): void {
    if (gaveUp(c, config.retries)) return;
    if (++probes[c] > config.retries && (flags[c] & (T_OPEN | T_QUEUED)) === 0) {
      reset.cut(c);
      m.terminate(c, 0);
      return;
    }
    flags[c] = (flags[c] | T_PROBE) & ~T_PERSIST;
    m.wantOutput(c);
  }

  /** R2, by count (RFC 9293 section 3.8.3), or by TCP_USER_TIMEOUT: the connection has ended. */
  function gaveUp(c: number, most: number): boolean {
    if (retries[c]++ === 0) stuckAtMs[c] = (clock[1] - rtoMs[c]) | 0;
    const late = userMs[c] > 0 ? ((clock[1] - stuckAtMs[c]) | 0) >= userMs[c] : retries[c] > most;
    if (late) m.timedOut(c);
    return late;
  }

  function retransmitTimeout(c: number): void {
    if (sndMax[c] === sndUna[c] && sbLen[c] === 0 && (flags[c] & T_FIN) === 0) return;
    counted[C_TCP_RTO_FIRED]++;
    if (gaveUp(c, config.retries)) return;
    congestion.onTimeout(c);
    rto.backOff(c);
    flags[c] |= T_BACKED_OFF;
    // Go back to SND.UNA: segments are cut from the send buffer again as the window allows.
    sndNxt[c] = sndUna[c];
    nxChunk[c] = -1;
    // The peer shut its window with data in flight: from here on it is a probe.
    if (sndWnd[c] === 0 && sbLen[c] > 0) flags[c] |= T_PROBE;
    m.wantOutput(c);
  }

  return { run: () => wheel.advance(clock[1], fire) };
}
