/**
 * Options of TCP sockets, by Linux's levels and numbers (socket(7), tcp(7)). An accepted connection has its listener's.
 *
 * | level, option            | value                                     | set                                             |
 * |--------------------------|-------------------------------------------|-------------------------------------------------|
 * | SOL_SOCKET SO_REUSEADDR  | 0, 1                                      | before bind                                     |
 * | SOL_SOCKET SO_REUSEPORT  | 0, 1                                      | always: other workers share the port anyway     |
 * | SOL_SOCKET SO_TYPE       | SOCK_STREAM                               | –                                               |
 * | SOL_SOCKET SO_ERROR      | errno, and clears it                      | –                                               |
 * | SOL_SOCKET SO_SNDBUF     | bytes, 2,048 to `tcp.sndbuf`              | cut to the range, not doubled                   |
 * | SOL_SOCKET SO_RCVBUF     | bytes, 2,048 to `tcp.rcvbuf`              | the same                                        |
 * | SOL_SOCKET SO_KEEPALIVE  | 0, 1                                      |                                                 |
 * | SOL_SOCKET SO_LINGER     | seconds, -1 off                           | -1 to 65,535                                    |
 * | SOL_SOCKET SO_ACCEPTCONN | 1 for a listener                          | –                                               |
 * | SOL_TCP TCP_NODELAY      | 0, 1                                      |                                                 |
 * | SOL_TCP TCP_MAXSEG       | bytes                                     | 88 to 32,767, before connect or listen          |
 * | SOL_TCP TCP_KEEPIDLE     | seconds                                   | 1 to 32,767                                     |
 * | SOL_TCP TCP_KEEPINTVL    | seconds                                   | 1 to 32,767                                     |
 * | SOL_TCP TCP_KEEPCNT      | probes                                    | 1 to 127                                        |
 * | SOL_TCP TCP_USER_TIMEOUT | milliseconds, 0 none                      | 0 to 2^30                                       |
 */
import {
  EINVAL,
  EISCONN,
  ENOPROTOOPT,
  SO_ACCEPTCONN,
  SO_KEEPALIVE,
  SO_LINGER,
  SO_RCVBUF,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SO_SNDBUF,
  SO_TYPE,
  SOCK_STREAM,
  SOL_SOCKET,
  SOL_TCP,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
  TCP_MAXSEG,
  TCP_NODELAY,
  TCP_USER_TIMEOUT,
} from '../sockets.ts';
import type { Keepalive } from './keepalive.ts';
import type { Machine } from './machine.ts';
import { CLOSED, LISTEN } from './states.ts';
import { O_KEEPALIVE, O_REUSEADDR, O_REUSEPORT, T_NODELAY } from './tcb.ts';

const BUFFER_MIN = 2048;
const MAXSEG_MIN = 88;
const SHORT_MAX = 32767;
const PROBES_MAX = 127;
const LINGER_MAX = 65535;
const USER_TIMEOUT_MAX = 1 << 30;
/** RFC 9293 section 3.7.1: what TCP_MAXSEG says before anybody knows better. */
const MSS_DEFAULT = 536;

export class SocketOptions {
  private readonly m: Machine;
  private readonly keepalive: Keepalive;

  constructor(m: Machine, keepalive: Keepalive) {
    this.m = m;
    this.keepalive = keepalive;
  }

  /** 0, -EINVAL, -EISCONN (TCP_MAXSEG of a connection), -ENOPROTOOPT. The socket is open. */
  set(s: number, level: number, option: number, value: number): number {
    if (level === SOL_SOCKET) return this.setSocket(s, option, value);
    return level === SOL_TCP ? this.setTcp(s, option, value) : -ENOPROTOOPT;
  }

  private setSocket(s: number, option: number, value: number): number {
    const { tcb, config } = this.m;
    switch (option) {
      case SO_REUSEADDR:
        return this.bit(s, O_REUSEADDR, value);
      case SO_REUSEPORT:
        return this.bit(s, O_REUSEPORT, value);
      case SO_KEEPALIVE:
        this.bit(s, O_KEEPALIVE, value);
        tcb.keepProbes[s] = 0;
        this.keepalive.watch(s);
        return 0;
      case SO_SNDBUF:
        tcb.sndBuf[s] = value < BUFFER_MIN ? BUFFER_MIN : Math.min(value, config.sndbuf);
        return 0;
      case SO_RCVBUF:
        tcb.rcvBuf[s] = value < BUFFER_MIN ? BUFFER_MIN : Math.min(value, config.rcvbuf);
        return 0;
      case SO_LINGER:
        if (value < -1 || value > LINGER_MAX) return -EINVAL;
        tcb.lingerS[s] = value;
        return 0;
      default:
        return -ENOPROTOOPT;
    }
  }

  private bit(s: number, bit: number, value: number): number {
    const { options } = this.m.tcb;
    options[s] = value !== 0 ? options[s] | bit : options[s] & ~bit;
    return 0;
  }

  private setTcp(s: number, option: number, value: number): number {
    const { tcb } = this.m;
    switch (option) {
      case TCP_NODELAY:
        if (value !== 0) {
          tcb.flags[s] |= T_NODELAY;
          if (tcb.sbLen[s] > 0) this.m.wantOutput(s);
        } else {
          tcb.flags[s] &= ~T_NODELAY;
        }
        return 0;
      case TCP_MAXSEG:
        if (value < MAXSEG_MIN || value > SHORT_MAX) return -EINVAL;
        if (tcb.state[s] !== CLOSED && tcb.state[s] !== LISTEN) return -EISCONN;
        tcb.userMss[s] = value;
        return 0;
      case TCP_USER_TIMEOUT:
        if (value < 0 || value > USER_TIMEOUT_MAX) return -EINVAL;
        tcb.userMs[s] = value;
        return 0;
      case TCP_KEEPIDLE:
        return this.keep(s, tcb.keepIdleS, value, SHORT_MAX);
      case TCP_KEEPINTVL:
        return this.keep(s, tcb.keepGapS, value, SHORT_MAX);
      case TCP_KEEPCNT:
        return this.keep(s, tcb.keepCount, value, PROBES_MAX);
      default:
        return -ENOPROTOOPT;
    }
  }

  private keep(s: number, column: Int32Array, value: number, most: number): number {
    if (value < 1 || value > most) return -EINVAL;
    column[s] = value;
    this.keepalive.watch(s);
    return 0;
  }

  /** The value, or -ENOPROTOOPT. SO_ERROR is taken elsewhere (calls.ts). A linger of -1 (off) is -1, which is no errno that this call has. */
  get(s: number, level: number, option: number): number {
    const { tcb } = this.m;
    if (level === SOL_TCP) return this.getTcp(s, option);
    if (level !== SOL_SOCKET) return -ENOPROTOOPT;
    switch (option) {
      case SO_TYPE:
        return SOCK_STREAM;
      case SO_REUSEADDR:
        return (tcb.options[s] & O_REUSEADDR) !== 0 ? 1 : 0;
      case SO_REUSEPORT:
        return (tcb.options[s] & O_REUSEPORT) !== 0 ? 1 : 0;
      case SO_KEEPALIVE:
        return (tcb.options[s] & O_KEEPALIVE) !== 0 ? 1 : 0;
      case SO_SNDBUF:
        return tcb.sndBuf[s];
      case SO_RCVBUF:
        return tcb.rcvBuf[s];
      case SO_LINGER:
        return tcb.lingerS[s];
      case SO_ACCEPTCONN:
        return tcb.state[s] === LISTEN ? 1 : 0;
      default:
        return -ENOPROTOOPT;
    }
  }

  private getTcp(s: number, option: number): number {
    const { tcb } = this.m;
    switch (option) {
      case TCP_NODELAY:
        return (tcb.flags[s] & T_NODELAY) !== 0 ? 1 : 0;
      case TCP_MAXSEG:
        if (tcb.state[s] !== CLOSED && tcb.state[s] !== LISTEN) return tcb.mss[s];
        return tcb.userMss[s] > 0 ? tcb.userMss[s] : MSS_DEFAULT;
      case TCP_KEEPIDLE:
        return tcb.keepIdleS[s];
      case TCP_KEEPINTVL:
        return tcb.keepGapS[s];
      case TCP_KEEPCNT:
        return tcb.keepCount[s];
      case TCP_USER_TIMEOUT:
        return tcb.userMs[s];
      default:
        return -ENOPROTOOPT;
    }
  }
}
