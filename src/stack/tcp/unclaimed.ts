/** Segments without a connection: for a listener, for another worker, for nobody; and a SYN that reopens a TIME_WAIT. */
import { C_TCP_TIME_WAIT_REUSED } from '../../rings/counters.ts';
import { DROP_CLOSING, DROP_NO_CONNECTION, DROP_RATE_LIMIT, DROP_UNACCEPTABLE } from '../../rings/drops.ts';
import { STEER_TCP } from '../../rings/steering.ts';
import { ACK, FIN, RST, SYN } from '../../wire/tcp.ts';
import { redirect } from '../redirect.ts';
import { TokenBucket } from '../tokenBucket.ts';
import type { AcceptQueues } from './accept.ts';
import type { Machine } from './machine.ts';
import type { Reset } from './reset.ts';
import type { Segment } from './segment.ts';
import { T_TS } from './tcb.ts';

/** RSTs for segments of nobody: enough for any scan, too few to answer a flood with a flood. */
const REFUSALS_PER_MS = 10;
const REFUSALS_AT_ONCE = 4096;

export interface Unclaimed {
  /** Returns a drop reason, 0, or REDIRECTED. */
  unknown(d: number, src: number, dst: number, ports: number, hash: number): number;
  /** A SYN for connection `c` in TIME_WAIT. Returns a drop reason, or 0 when a new connection took its place. */
  reopen(c: number, ports: number, hash: number): number;
}

export function createUnclaimed(m: Machine, seg: Segment, queues: AcceptQueues, reset: Reset): Unclaimed {
  const t = m.tcb;
  const { flags, tsRecent, rcvNxt, remoteIp, sndMax } = t;
  const { listenerOf, counted, clock } = m;
  const refusals = new TokenBucket(REFUSALS_PER_MS, REFUSALS_AT_ONCE, clock[1]);
  const o = seg.options;

  /** No connection (section 3.10.7.1) or a listener (3.10.7.2). */
  function unknown(d: number, src: number, dst: number, ports: number, hash: number): number {
    const localPort = ports & 0xffff;
    const l = listenerOf[localPort] - 1;
    const opening = (seg.bits & (SYN | ACK | RST)) === SYN;
    if (!opening) {
      const elsewhere = redirect(m.env, STEER_TCP, d, src, dst, ports);
      if (elsewhere >= 0) return elsewhere;
    }
    if (l >= 0 && opening && (t.localIp[l] === 0 || t.localIp[l] === dst)) {
      // SYN with FIN is no way to open a connection: dropped in silence, as firewalls have taught everyone.
      if ((seg.bits & FIN) !== 0) return DROP_UNACCEPTABLE;
      return queues.syn(l, dst, src, ports, hash, seg.seq, seg.wnd, o, false, 0);
    }
    if ((seg.bits & RST) !== 0) return DROP_NO_CONNECTION;
    if (m.draining && opening) return DROP_CLOSING;
    if (!refusals.take(clock[1])) return DROP_RATE_LIMIT;
    reset.answer(src, dst, ports, seg.bits, seg.seq, seg.ack, seg.lenSeq());
    return DROP_NO_CONNECTION;
  }

  /** TIME_WAIT and a new SYN: RFC 6191 section 2 with timestamps, RFC 1122 section 4.2.2.13 without. */
  function reopen(c: number, ports: number, hash: number): number {
    const newer = (flags[c] & T_TS) !== 0 && seg.stamped ? ((seg.tsVal - tsRecent[c]) | 0) > 0 : ((seg.seq - rcvNxt[c]) | 0) > 0;
    const l = listenerOf[ports & 0xffff] - 1;
    const local = t.localIp[c];
    if ((!newer && !(seg.stamped && seg.tsVal === tsRecent[c] && ((seg.seq - rcvNxt[c]) | 0) > 0)) || l < 0) {
      m.challenge(c);
      return DROP_UNACCEPTABLE;
    }
    const remote = remoteIp[c];
    const floor = sndMax[c];
    counted[C_TCP_TIME_WAIT_REUSED]++;
    m.terminate(c, 0);
    return queues.syn(l, local, remote, ports, hash, seg.seq, seg.wnd, o, true, floor);
  }

  return { unknown, reopen };
}
