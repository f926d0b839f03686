/**
 * Local ports of UDP sockets. A port that the application binds may be served by several workers at once, each with a
 * socket of its own: steering decides which one gets a datagram. A port that we choose is claimed in the steering table for
 * this worker alone, so that replies to it come home whatever their hash is, and no two workers ever choose the same.
 */
import { STEER_UDP } from '../../rings/steering.ts';
import type { StackEnv } from '../env.ts';
import { comesHome, EPHEMERAL_COUNT, ephemeralPort, randomPlace } from '../localPorts.ts';
import { EADDRINUSE, EADDRNOTAVAIL } from '../sockets.ts';
import { U_BOUND, U_CONNECTED, U_IMPLICIT, U_REUSE } from './table.ts';
import type { UdpTable } from './table.ts';

/** Free ports a connecting socket looks at for one whose flow comes home by hash alone: a NIC that steers by itself needs that. */
const HOME_TRIES = 128;

export class UdpPorts {
  private readonly env: StackEnv;
  private readonly t: UdpTable;

  constructor(env: StackEnv, t: UdpTable) {
    this.env = env;
    this.t = t;
  }

  /** Binds `u` to a port of the application's choice. 0 or -EADDRINUSE. */
  bind(u: number, ip: number, port: number): number {
    if (this.taken(u, ip, port)) return -EADDRINUSE;
    if (!this.env.steering.share(STEER_UDP, port, this.env.worker)) return -EADDRINUSE;
    this.t.bind(u, port);
    return 0;
  }

  /** Whether another socket of this worker stands in the way: the same or an overlapping address, unless both may be reused. */
  private taken(u: number, ip: number, port: number): boolean {
    const { t } = this;
    for (let x = t.first(port); x >= 0; x = t.portNext[x] - 1) {
      if (t.localIp[x] !== 0 && ip !== 0 && t.localIp[x] !== ip) continue;
      if ((t.flags[u] & t.flags[x] & U_REUSE) === 0) return true;
    }
    return false;
  }

  /**
   * Binds `u` to a port that nobody has. With a peer (`port` not 0) one whose flow hash is this worker's by itself, if there
   * is one among the first; without, any. 0 or -EADDRNOTAVAIL.
   */
  choose(u: number, local: number, ip: number, port: number): number {
    const start = randomPlace(this.env);
    for (let i = 0, tries = 0; i < EPHEMERAL_COUNT && port !== 0 && tries < HOME_TRIES; i++) {
      const p = ephemeralPort(start + i);
      if (this.env.steering.served(STEER_UDP, p)) continue;
      tries++;
      if (this.env.steering.byHash(this.env.flowHash(ip, local, port, p)) === this.env.worker && this.claim(u, p)) return 0;
    }
    for (let i = 0; i < EPHEMERAL_COUNT; i++) {
      const p = ephemeralPort(start + i);
      if (!this.env.steering.served(STEER_UDP, p) && this.claim(u, p)) return 0;
    }
    return -EADDRNOTAVAIL;
  }

  private claim(u: number, port: number): boolean {
    if (!this.env.steering.claim(STEER_UDP, port, this.env.worker)) return false;
    this.t.bind(u, port);
    this.t.flags[u] |= U_IMPLICIT;
    return true;
  }

  /** Whether datagrams from ip:port to `u`'s port are steered here. */
  comesHome(u: number, local: number, ip: number, port: number): boolean {
    return comesHome(this.env, STEER_UDP, local, ip, port, this.t.ports[u] & 0xffff);
  }

  /** Whether another socket of this worker is connected from the same port to the same peer: which one a datagram meant, nobody could say. */
  connectedTwice(u: number, ip: number, port: number): boolean {
    const { t } = this;
    const ports = (port << 16) | (t.ports[u] & 0xffff);
    for (let x = t.first(ports & 0xffff); x >= 0; x = t.portNext[x] - 1) {
      if (x !== u && (t.flags[x] & U_CONNECTED) !== 0 && t.ports[x] === ports && t.remoteIp[x] === ip) return true;
    }
    return false;
  }

  /** The port is `u`'s no more; the last socket of this worker on it ends the service here. */
  release(u: number): void {
    if ((this.t.flags[u] & U_BOUND) === 0) return;
    const port = this.t.ports[u] & 0xffff;
    if (this.t.unbind(u)) this.env.steering.serve(STEER_UDP, port, this.env.worker, false);
  }
}
