/**
 * The opening states, so that everything after them has no opening branches: SYN_SENT (RFC 9293 section 3.10.7.3) and what
 * is special in SYN_RCVD (3.10.7.4).
 */
import { C_TCP_ACTIVE_OPENS } from '../../rings/counters.ts';
import { DROP_NONE, DROP_UNACCEPTABLE } from '../../rings/drops.ts';
import { ACK, RST, SYN } from '../../wire/tcp.ts';
import { ECONNREFUSED, EPOLLOUT } from '../sockets.ts';
import { effectiveMss } from './accept.ts';
import type { AcceptQueues } from './accept.ts';
import type { Congestion } from './congestion/newreno.ts';
import type { Keepalive } from './keepalive.ts';
import type { Machine } from './machine.ts';
import type { TcpOptions } from '../../wire/tcpOptions.ts';
import type { Reset } from './reset.ts';
import type { RtoEstimator } from './recovery/rto.ts';
import { ESTABLISHED, FIN_WAIT_1, SYN_RCVD, SYN_SENT } from './states.ts';
import { T_FIN, T_HALF_OPEN, T_SACK, T_SYN, T_SYN_LOST, T_TIMING, T_TS, T_WS } from './tcb.ts';

export interface Handshake {
  /** Active open: columns filled, SYN wanted. `was`: the row of a connection between the same ends that just ended, or -1. */
  connect(c: number, localIp: number, remoteIp: number, ports: number, hash: number, was: number): void;
  /** A segment in SYN_SENT. Returns a drop reason, or 0. Data on it is left to be sent again. */
  synSent(c: number, bits: number, seq: number, ack: number, wnd: number, lenSeq: number, o: TcpOptions): number;
  /** SYN_RCVD and a good ACK: ESTABLISHED. `wnd` is scaled. */
  establish(c: number, seq: number, ack: number, wnd: number): void;
}

export interface HandshakeParts {
  reset: Reset;
  queues: AcceptQueues;
  congestion: Congestion;
  rto: RtoEstimator;
  keepalive: Keepalive;
}

export function createHandshake(m: Machine, parts: HandshakeParts): Handshake {
  const { reset, queues, congestion, rto, keepalive } = parts;
  const t = m.tcb;
  const { flags, iss, sndUna, sndNxt, sndMax, rcvNxt, rcvAdv } = t;
  const { config, counted, clock } = m;

  function connect(c: number, localIp: number, remoteIp: number, ports: number, hash: number, was: number): void {
    counted[C_TCP_ACTIVE_OPENS]++;
    m.open(c, localIp, remoteIp, ports, hash, m.isn.next(remoteIp, localIp, ports, clock[0]), m.ownMss(c), was);
    flags[c] |= T_SYN;
    if (config.sack) flags[c] |= T_SACK;
    if (config.timestamps) flags[c] |= T_TS;
    if (config.windowScale >= 0) flags[c] |= T_WS;
    m.enter(c, SYN_SENT);
    m.wantOutput(c);
  }

  /** What both sides offered counts from here on (RFC 7323 sections 2.2 and 3.2). */
  function agree(c: number, seq: number, wnd: number, o: TcpOptions): void {
    if (!o.hasTimestamp) flags[c] &= ~T_TS;
    if (!o.sackPermitted) flags[c] &= ~T_SACK;
    if (o.windowScale < 0) {
      flags[c] &= ~T_WS;
    } else if ((flags[c] & T_WS) !== 0) {
      t.sndScale[c] = o.windowScale;
      t.rcvScale[c] = config.windowScale;
    }
    t.tsRecent[c] = o.tsVal;
    t.tsRecentAtMs[c] = clock[1];
    t.mss[c] = effectiveMss(o.mss, m.ownMss(c), (flags[c] & T_TS) !== 0);
    t.irs[c] = seq;
    rcvNxt[c] = (seq + 1) | 0;
    // The window of our own SYN was told against this number.
    rcvAdv[c] = (rcvNxt[c] + Math.min(t.rcvBuf[c], 65535)) | 0;
    t.lastAckSent[c] = rcvNxt[c];
    t.sndWnd[c] = wnd;
    t.maxWnd[c] = wnd;
    t.sndWl1[c] = seq;
  }

  function synSent(c: number, bits: number, seq: number, ack: number, wnd: number, lenSeq: number, o: TcpOptions): number {
    // First, the ACK bit: our SYN was possibly never sent while the neighbour is unresolved.
    const acks = (bits & ACK) !== 0;
    if (acks && (((ack - iss[c]) | 0) <= 0 || ((ack - sndMax[c]) | 0) > 0)) {
      reset.answer(t.remoteIp[c], t.localIp[c], t.ports[c], bits, seq, ack, lenSeq);
      return DROP_UNACCEPTABLE;
    }
    // Second, the RST bit: believed only with an acceptable ACK.
    if ((bits & RST) !== 0) {
      if (!acks) return DROP_UNACCEPTABLE;
      m.terminate(c, ECONNREFUSED);
      return DROP_NONE;
    }
    // Fourth, the SYN bit.
    if ((bits & SYN) === 0) return DROP_UNACCEPTABLE;
    agree(c, seq, wnd, o);
    if (acks) {
      open(c, ack, wnd, seq);
      m.ackNow(c);
      return DROP_NONE;
    }
    // Simultaneous open (section 3.5, figure 8): SYN-ACK from here, with our first sequence number.
    m.enter(c, SYN_RCVD);
    sndNxt[c] = iss[c];
    flags[c] = (flags[c] | T_SYN) & ~T_TIMING;
    m.wantOutput(c);
    return DROP_NONE;
  }

  function establish(c: number, seq: number, ack: number, wnd: number): void {
    open(c, ack, wnd, seq);
    if ((flags[c] & T_HALF_OPEN) !== 0) queues.established(c);
  }

  /** Our SYN is acknowledged. */
  function open(c: number, ack: number, wnd: number, seq: number): void {
    sndUna[c] = (iss[c] + 1) | 0;
    sndNxt[c] = sndUna[c];
    sndMax[c] = sndUna[c];
    t.sndWnd[c] = wnd;
    if (wnd > t.maxWnd[c]) t.maxWnd[c] = wnd;
    t.sndWl1[c] = seq;
    t.sndWl2[c] = ack;
    t.rtoAt[c] = 0;
    t.retries[c] = 0;
    if ((flags[c] & T_TIMING) !== 0) rto.sample(c, (clock[0] - t.rttAtUs[c]) | 0);
    const lost = (flags[c] & T_SYN_LOST) !== 0;
    t.cwnd[c] = lost ? t.mss[c] : congestion.initialWindow(t.mss[c]);
    // RFC 6298 section 5.7: after a lost SYN data starts with 3 s.
    if (lost) t.rtoMs[c] = Math.min(config.rtoMaxMs, 3000);
    flags[c] &= ~(T_SYN | T_TIMING | T_SYN_LOST);
    m.enter(c, ESTABLISHED);
    keepalive.watch(c);
    // Closed before it was open (section 3.10.4, SYN_RECEIVED).
    if ((flags[c] & T_FIN) !== 0) m.enter(c, FIN_WAIT_1);
    m.notify(c, EPOLLOUT);
    m.wantOutput(c);
  }

  return { connect, synSent, establish };
}
