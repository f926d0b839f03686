/**
 * Datagrams go out where they are written: from the application's buffer into a frame of the worker's credit, header by
 * template, checksum left to the port or to the emit burst. There is no queue between: without credit, without room in the
 * tx ring, or beyond `udp.sndbuf` bytes in one breath, the call says EAGAIN, and EPOLLOUT follows.
 */
import * as counterIndex from '../../rings/counters.ts';
import * as hostStateNumbers from '../../rings/hostState.ts';
import * as layoutNumbers from '../../rings/layout.ts';
import { fold, pseudoSum4 } from '../../wire/checksum.ts';
import * as ipv4Numbers from '../../wire/ipv4.ts';
import * as udpNumbers from '../../wire/udp.ts';
import { isBroadcast } from '../broadcast.ts';
import type { StackEnv } from '../env.ts';
import type { Neighbor } from '../neighbor.ts';
import * as socketsNumbers from '../sockets.ts';
import type { UserCopy } from '../tcp/userCopy.ts';
import type { Transmit } from '../transmit.ts';
import * as tableNumbers from './table.ts';
import type { UdpTable } from './table.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { C_TX_BYTES_COPIED, C_UDP_BYTES_OUT, C_UDP_OUT_DATAGRAMS } = counterIndex;
const { NB_FAILED } = hostStateNumbers;
const { F_CSUM_PARTIAL, F_IPCSUM_OK, F_UDP } = layoutNumbers;
const { LEN_IPV4, PROTO_UDP } = ipv4Numbers;
const { LEN_UDP } = udpNumbers;
const { EACCES, EAGAIN, EHOSTUNREACH, EMSGSIZE, ENETUNREACH } = socketsNumbers;
const { U_BROADCAST, U_FULL, U_LISTED } = tableNumbers;

export class UdpOutput {
  /** Sockets that were refused and wait for EPOLLOUT. */
  waiting = 0;
  private readonly env: StackEnv;
  private readonly t: UdpTable;
  private readonly transmit: Transmit;
  private readonly neighbor: Neighbor;
  private readonly user: UserCopy;
  private readonly view: DataView;
  private readonly counted: Float64Array;
  private readonly list: Int32Array;
  private breath = 0;

  constructor(env: StackEnv, t: UdpTable, transmit: Transmit, neighbor: Neighbor, user: UserCopy) {
    this.env = env;
    this.t = t;
    this.transmit = transmit;
    this.neighbor = neighbor;
    this.user = user;
    this.view = env.port.frames.view;
    this.counted = env.counters.v;
    this.list = new Int32Array(t.sockets);
  }

  /** Most payload bytes a datagram may have: no fragmentation, and one frame each. */
  payloadMax(): number {
    const { frames } = this.env.port;
    const inFrame = frames.frameBytes - frames.headroom - 14;
    const mtu = this.env.host.mtu();
    return (mtu < inFrame ? mtu : inFrame) - LEN_IPV4 - LEN_UDP;
  }

  // hot: per packet
  /** Whether `u` may send to `ip`: 0, -EACCES (broadcast without SO_BROADCAST), -ENETUNREACH, -EHOSTUNREACH. */
  reachable(u: number, ip: number): number {
    const host = this.env.host;
    if (isBroadcast(host, ip)) return (this.t.flags[u] & U_BROADCAST) !== 0 ? 0 : -EACCES;
    // Groups, and ourselves: such a datagram would never leave the stack.
    if (ip >>> 28 >= 14 || ip === 0 || ip === host.address()) return -ENETUNREACH;
    const hop = host.nextHop(ip);
    if (hop === 0) return -ENETUNREACH;
    return this.neighbor.resolve(hop) === NB_FAILED ? -EHOSTUNREACH : 0;
  }

  // hot: per packet
  /** `u` is bound. Returns `length` or a negative errno. */
  send(u: number, buffer: Uint8Array, offset: number, length: number, ip: number, port: number): number {
    const t = this.t;
    if (length > this.payloadMax()) return -EMSGSIZE;
    const reachable = this.reachable(u, ip);
    if (reachable < 0) return reachable;
    if (t.sentBreath[u] !== this.breath) {
      t.sentBreath[u] = this.breath;
      t.sentBytes[u] = 0;
    }
    if (t.sentBytes[u] > 0 && t.sentBytes[u] + length > t.sndbuf[u]) return this.later(u);
    const bytes = LEN_UDP + length;
    const f = this.transmit.start(ip, PROTO_UDP, bytes);
    if (f < 0) return this.later(u);
    const udp = this.transmit.l4;
    // The address is the host's own: a socket is bound to that or to any.
    const from = this.env.host.address();
    const view = this.view;
    view.setInt32(udp, (t.ports[u] << 16) | port);
    view.setUint16(udp + 4, bytes);
    view.setUint16(udp + 6, fold(pseudoSum4(from, ip, PROTO_UDP, bytes)));
    if (length > 0) {
      this.user.begin(buffer);
      this.user.userToFrame(udp + LEN_UDP, offset, length);
      this.user.fromUser();
    }
    t.sentBytes[u] += bytes;
    this.counted[C_TX_BYTES_COPIED] += length;
    this.counted[C_UDP_OUT_DATAGRAMS]++;
    this.counted[C_UDP_BYTES_OUT] += length;
    this.transmit.finish(f, F_UDP | F_CSUM_PARTIAL | F_IPCSUM_OK);
    return length;
  }

  private later(u: number): number {
    const t = this.t;
    t.flags[u] |= U_FULL;
    if ((t.flags[u] & U_LISTED) === 0) {
      t.flags[u] |= U_LISTED;
      this.list[this.waiting++] = u;
    }
    return -EAGAIN;
  }

  // hot: per burst
  /** A breath begins: those who were refused may try again if there is credit and room. `writable` is told of each. */
  begin(writable: (u: number) => void): void {
    this.breath = (this.breath + 1) | 0;
    if (this.waiting === 0 || !this.transmit.ready(1, 0)) return;
    const n = this.waiting;
    this.waiting = 0;
    for (let i = 0; i < n; i++) {
      const u = this.list[i];
      const full = (this.t.flags[u] & U_FULL) !== 0;
      this.t.flags[u] &= ~(U_FULL | U_LISTED);
      if (full) writable(u);
    }
  }
}
