/**
 * What an ICMP error does to a connection (RFC 1122 section 4.2.3.9, RFC 5927 sections 4 and 5): it must quote a sequence
 * number in flight; a hard one aborts a connection that is not made yet, and nothing aborts one that is. The others are
 * remembered: should the connection time out without progress since, that is why.
 */
import { EMSGSIZE } from '../sockets.ts';
import type { Machine } from './machine.ts';
import { CLOSED, LISTEN, SYN_RCVD, SYN_SENT, TIME_WAIT } from './states.ts';

const DEAF = (1 << CLOSED) | (1 << LISTEN) | (1 << TIME_WAIT);

/** `ports` is remote << 16 | local. Returns whether the error was believed. */
export function icmpError(
  m: Machine,
  remoteIp: number,
  localIp: number,
  ports: number,
  seq: number,
  errno: number,
  hard: boolean,
): boolean {
  const c = m.flows.find(remoteIp, localIp, ports, m.flows.hash(remoteIp, localIp, ports));
  if (c < 0) return false;
  const t = m.tcb;
  const state = t.state[c];
  if (((1 << state) & DEAF) !== 0 || ((seq - t.sndUna[c]) | 0) < 0 || ((seq - t.sndMax[c]) | 0) >= 0) return false;
  if (errno === EMSGSIZE) return true;
  if (hard && (state === SYN_SENT || state === SYN_RCVD)) {
    m.terminate(c, errno);
    return true;
  }
  t.softError[c] = errno;
  t.softUna[c] = t.sndUna[c];
  return true;
}
