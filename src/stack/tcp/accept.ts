/**
 * A listener's two queues: half-open connections (SYN_RCVD) and those ready for accept(). Together they never exceed the
 * backlog; a SYN beyond it is dropped, so the peer tries again (RFC 9293 section 3.10.7.2 leaves refusal to the listener).
 */
import { C_TCP_PASSIVE_OPENS } from '../../rings/counters.ts';
import { DROP_BACKLOG, DROP_CLOSING, DROP_NO_MEMORY } from '../../rings/drops.ts';
import { EAGAIN, EPOLLIN, ETIMEDOUT } from '../sockets.ts';
import type { Machine } from './machine.ts';
import type { TcpOptions } from '../../wire/tcpOptions.ts';
import type { Reset } from './reset.ts';
import { CLOSED, SYN_RCVD } from './states.ts';
import { TCB_ROW, T_HALF_OPEN, T_NODELAY, T_OPEN, T_QUEUED, T_SACK, T_SYN, T_TS, T_WS } from './tcb.ts';

/** Below this no peer's MSS is believed: 48 is what Linux insists on too. */
const MSS_MIN = 48;
/** Half-open connections looked at, of all listeners, before a SYN is dropped. */
const EVICT_LOOKS = 64;
/** RFC 9293 section 3.7.1: without the option. */
const MSS_DEFAULT = 536;

export interface AcceptQueues {
  /** A SYN for listener `l`. Returns a drop reason, 0 when a connection was made. `issFloor` (with `floored`) is the least ISN allowed. */
  syn(
    l: number,
    localIp: number,
    remoteIp: number,
    ports: number,
    hash: number,
    seq: number,
    wnd: number,
    o: TcpOptions,
    floored: boolean,
    issFloor: number,
  ): number;
  /** A half-open connection is established. */
  established(c: number): void;
  take(l: number): number;
  /** The listener goes: everything it made and nobody accepted is reset. */
  abandon(l: number): void;
}

/** Effective send MSS of what the peer announced and we can carry, less the options of every segment (RFC 6691). */
export function effectiveMss(announced: number, own: number, stamps: boolean): number {
  const peer = announced === 0 ? MSS_DEFAULT : announced < MSS_MIN ? MSS_MIN : announced;
  return Math.min(peer, own) - (stamps ? 12 : 0);
}

export function createAcceptQueues(m: Machine, reset: Reset): AcceptQueues {
  const t = m.tcb;
  const { state, flags, parent, acceptHead, acceptTail, acceptNext, acceptCount, halfOpen, backlog } = t;
  const { config, counted, clock } = m;

  function syn(
    l: number,
    localIp: number,
    remoteIp: number,
    ports: number,
    hash: number,
    seq: number,
    wnd: number,
    o: TcpOptions,
    floored: boolean,
    issFloor: number,
  ): number {
    if (m.draining) return DROP_CLOSING;
    if (acceptCount[l] + halfOpen[l] >= backlog[l] && !evict(l)) return DROP_BACKLOG;
    const c = m.alloc();
    if (c < 0) return DROP_NO_MEMORY;
    t.inherit(l, c);
    counted[C_TCP_PASSIVE_OPENS]++;
    const iss = m.isn.next(remoteIp, localIp, ports, clock[0]);
    const stamps = config.timestamps && o.hasTimestamp;
    m.open(c, localIp, remoteIp, ports, hash, iss, effectiveMss(o.mss, m.ownMss(c), stamps), -1);
    if (floored) m.startAbove(c, issFloor);
    flags[c] |= T_HALF_OPEN | T_SYN | (flags[l] & T_NODELAY);
    if (stamps) flags[c] |= T_TS;
    if (config.sack && o.sackPermitted) flags[c] |= T_SACK;
    if (config.windowScale >= 0 && o.windowScale >= 0) {
      flags[c] |= T_WS;
      t.sndScale[c] = o.windowScale;
      t.rcvScale[c] = config.windowScale;
    }
    t.tsRecent[c] = stamps ? o.tsVal : 0;
    t.irs[c] = seq;
    t.rcvNxt[c] = (seq + 1) | 0;
    t.rcvAdv[c] = t.rcvNxt[c];
    t.lastAckSent[c] = t.rcvNxt[c];
    // Windows of SYN segments are never scaled (RFC 7323 section 2.2).
    t.sndWnd[c] = wnd;
    t.maxWnd[c] = wnd;
    t.sndWl1[c] = seq;
    t.sndWl2[c] = t.iss[c];
    parent[c] = l;
    halfOpen[l]++;
    m.opening.add(c);
    m.enter(c, SYN_RCVD);
    m.wantOutput(c);
    return 0;
  }

  /**
   * A full backlog gives up its oldest half-open connection, if that has let a whole SYN-ACK timeout pass: SYNs from sources
   * that do not exist then keep real ones out for a second, not for the minute that all retransmissions take.
   */
  function evict(l: number): boolean {
    let c = m.opening.oldest;
    for (let i = 0; i < EVICT_LOOKS && c >= 0 && t.retries[c] > 0; i++) {
      if (parent[c] === l) {
        m.terminate(c, ETIMEDOUT);
        return true;
      }
      c = m.opening.after(c);
    }
    return false;
  }

  function established(c: number): void {
    const l = parent[c];
    flags[c] = (flags[c] & ~T_HALF_OPEN) | T_QUEUED;
    halfOpen[l]--;
    m.opening.remove(c);
    acceptNext[c] = -1;
    if (acceptTail[l] >= 0) acceptNext[acceptTail[l]] = c;
    else acceptHead[l] = c;
    acceptTail[l] = c;
    acceptCount[l]++;
    m.notify(l, EPOLLIN);
  }

  function take(l: number): number {
    const c = acceptHead[l];
    if (c < 0) return -EAGAIN;
    acceptHead[l] = acceptNext[c];
    if (acceptHead[l] < 0) acceptTail[l] = -1;
    acceptCount[l]--;
    flags[c] = (flags[c] & ~T_QUEUED) | T_OPEN;
    parent[c] = -1;
    return c;
  }

  function abandon(l: number): void {
    for (let c = take(l); c >= 0; c = take(l)) {
      if (state[c] !== CLOSED) reset.cut(c);
      m.free(c);
    }
    if (halfOpen[l] === 0) return;
    for (let c = 0; c < t.end; c += TCB_ROW) {
      if (parent[c] !== l || (flags[c] & T_HALF_OPEN) === 0) continue;
      reset.cut(c);
      m.free(c);
    }
  }

  return { syn, established, take, abandon };
}
