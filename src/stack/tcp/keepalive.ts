/**
 * Connections on which nothing comes: keep-alive probes (RFC 9293 section 3.8.4), off unless SO_KEEPALIVE asks for them, and
 * the idle timeout of the configuration. Both stand on one lazy deadline, keepAt: segments only write down when they came.
 *
 * A probe is an empty segment one octet below what the peer expects, which it must answer. It is not sent while data is out or
 * waits: then the retransmission or persist timer finds out.
 */
import type { Machine } from './machine.ts';
import type { Reset } from './reset.ts';
import { CONNECTED } from './states.ts';
import { O_KEEPALIVE, T_KEEP } from './tcb.ts';

/** Words of a deadline: what is further away is looked at half-way. */
const FAR_MS = 1 << 30;

export interface Keepalive {
  /** Arms, moves or clears keepAt after the connection opened or its options changed. */
  watch(c: number): void;
  /** keepAt has passed. May end the connection. */
  due(c: number): void;
}

export function createKeepalive(m: Machine, reset: Reset): Keepalive {
  const { state, flags, options, heardAtMs, sentAtMs, sndUna, sndMax, sbLen } = m.tcb;
  const { keepAt, keepIdleS, keepGapS, keepCount, keepProbes, keepSentMs, userMs } = m.tcb;
  const { clock, wheel } = m;
  const idleMs = m.config.idleTimeoutMs;

  /** Milliseconds since the connection was last used, either way. */
  function quietMs(c: number): number {
    const heard = (clock[1] - heardAtMs[c]) | 0;
    const sent = (clock[1] - sentAtMs[c]) | 0;
    return sent < heard ? sent : heard;
  }

  /** Milliseconds until the next probe is due, or nobody has answered the last. */
  function probeMs(c: number): number {
    if (keepProbes[c] > 0 && ((heardAtMs[c] - keepSentMs[c]) | 0) >= 0) keepProbes[c] = 0;
    if (keepProbes[c] > 0) return (keepSentMs[c] + keepGapS[c] * 1000 - clock[1]) | 0;
    return (heardAtMs[c] + keepIdleS[c] * 1000 - clock[1]) | 0;
  }

  function watch(c: number): void {
    keepAt[c] = 0;
    if (((1 << state[c]) & CONNECTED) === 0) return;
    let wait = FAR_MS;
    if (idleMs > 0) wait = idleMs - quietMs(c);
    if ((options[c] & O_KEEPALIVE) !== 0) {
      const probe = probeMs(c);
      if (probe < wait) wait = probe;
    } else if (idleMs === 0) return;
    keepAt[c] = m.deadline(wait < 1 ? 1 : wait);
    wheel.arm(c, keepAt[c]);
  }

  function end(c: number): void {
    reset.cut(c);
    m.timedOut(c);
  }

  function due(c: number): void {
    if (((1 << state[c]) & CONNECTED) === 0) {
      keepAt[c] = 0;
      return;
    }
    if (idleMs > 0 && quietMs(c) >= idleMs) {
      end(c);
      return;
    }
    if ((options[c] & O_KEEPALIVE) !== 0 && probeMs(c) <= 0 && !probe(c)) return;
    watch(c);
  }

  /** False when the connection has ended. */
  function probe(c: number): boolean {
    keepSentMs[c] = clock[1];
    if (sndMax[c] !== sndUna[c] || sbLen[c] > 0) {
      // The other timers ask already; look again after a gap.
      if (keepProbes[c] === 0) keepProbes[c] = 1;
      return true;
    }
    // TCP_USER_TIMEOUT overrides the count, as in Linux.
    const late = userMs[c] > 0 ? ((clock[1] - heardAtMs[c]) | 0) >= userMs[c] && keepProbes[c] > 0 : keepProbes[c] >= keepCount[c];
    if (late) {
      end(c);
      return false;
    }
    keepProbes[c]++;
    flags[c] |= T_KEEP;
    m.wantOutput(c);
    return true;
  }

  return { watch, due };
}
