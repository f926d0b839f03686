/** Which local port a connection of ours starts from: one whose 4-tuple is free and whose flow comes home to this worker. */
import { STEER_TCP } from '../../rings/steering.ts';
import { comesHome, EPHEMERAL_COUNT, ephemeralPort, randomPlace } from '../localPorts.ts';
import { EADDRNOTAVAIL, EINPROGRESS } from '../sockets.ts';
import type { Handshake } from './handshake.ts';
import { halfSip } from './isn.ts';
import type { Machine } from './machine.ts';
import { T_CLAIMED } from './tcb.ts';

/** How long a search that found no free port is believed. What connections give back meanwhile is noted (freedPorts.ts). */
const SCARCE_MS = 1000;
/** Steps of a search are odd and below this: no divisor of EPHEMERAL_COUNT = 8 * 3529, so that it comes by all places. */
const STEP_BITS = 11;

export class SourcePorts {
  private readonly m: Machine;
  private readonly handshake: Handshake;
  private readonly portKey0: number;
  private readonly portKey1: number;
  /** Until when it is believed that there is no free port to the destination that m.freed watches. */
  private scarceUntilMs = 0;
  /** Local ports that `prepare` found to come home from poolIp:poolPort; port 0: none prepared. */
  private pool = new Uint16Array(0);
  private poolIp = 0;
  private poolPort = 0;

  constructor(m: Machine, handshake: Handshake) {
    this.m = m;
    this.handshake = handshake;
    this.portKey0 = m.env.random() | 0;
    this.portKey1 = m.env.random() | 0;
  }

  /** A port nobody here uses, for listen() without bind(). */
  free(): number {
    const start = randomPlace(this.m.env);
    for (let i = 0; i < EPHEMERAL_COUNT; i++) {
      const port = ephemeralPort(start + i);
      if (this.m.boundTo[port] === 0 && !this.m.env.steering.served(STEER_TCP, port)) return port;
    }
    return 0;
  }

  /** The bound port may belong elsewhere by hash: then this worker claims it in the steering table. */
  bound(s: number, local: number, ip: number, port: number): number {
    const { steering, worker } = this.m.env;
    const localPort = this.m.tcb.ports[s] & 0xffff;
    if (!this.home(local, ip, port, localPort)) {
      if (steering.served(STEER_TCP, localPort)) return -EADDRNOTAVAIL;
      steering.serve(STEER_TCP, localPort, worker, true);
      if (!this.home(local, ip, port, localPort)) {
        steering.serve(STEER_TCP, localPort, worker, false);
        return -EADDRNOTAVAIL;
      }
      this.m.tcb.flags[s] |= T_CLAIMED;
    }
    return this.begin(s, local, ip, port, localPort) ? -EINPROGRESS : -EADDRNOTAVAIL;
  }

  /**
   * RFC 6056 algorithm 3: a keyed hash of the destination plus a random start; then the first port from there, in steps that are
   * drawn too, whose 4-tuple is free and whose hash comes home to this worker. Step by step through neighbours a search would
   * run into the places that others before it have filled: with 96 of 100 ports taken it took 300 looks, not 25.
   */
  any(s: number, local: number, ip: number, port: number): number {
    const { freed, clock } = this.m;
    if (freed.watches(ip, port) && ((clock[1] - this.scarceUntilMs) | 0) < 0) {
      for (let localPort = freed.take(); localPort !== 0; localPort = freed.take())
        if (this.openFrom(s, local, ip, port, localPort)) return -EINPROGRESS;
      return this.scarce(s, local, ip, port);
    }
    const random = this.m.env.random();
    const offset = (halfSip(this.portKey0, this.portKey1, ip, local, port) ^ random) >>> 1;
    if (port === this.poolPort && ip === this.poolIp && this.fromPool(s, local, ip, port, offset)) return -EINPROGRESS;
    const step = (random >>> (32 - STEP_BITS)) | 1;
    for (let i = 0, k = offset % EPHEMERAL_COUNT; i < EPHEMERAL_COUNT; i++, k += step)
      if (this.openFrom(s, local, ip, port, ephemeralPort(k))) return -EINPROGRESS;
    freed.watch(ip, port);
    this.scarceUntilMs = (clock[1] + SCARCE_MS) | 0;
    return this.scarce(s, local, ip, port);
  }

  /** Opens from `localPort` if nobody has bound it, it comes home, and the 4-tuple is free. */
  private openFrom(s: number, local: number, ip: number, port: number, localPort: number): boolean {
    return this.m.boundTo[localPort] === 0 && this.home(local, ip, port, localPort) && this.begin(s, local, ip, port, localPort);
  }

  /** Every port to this destination is in use: the oldest TIME_WAIT among them gives up its own. */
  private scarce(s: number, local: number, ip: number, port: number): number {
    const t = this.m.tcb;
    const { waiting, freed } = this.m;
    const { steering, worker } = this.m.env;
    for (let c = waiting.oldest; c >= 0; c = waiting.after(c)) {
      if (t.remoteIp[c] !== ip || t.localIp[c] !== local || t.ports[c] >>> 16 !== port) continue;
      const ports = t.ports[c];
      const localPort = ports & 0xffff;
      if (this.m.boundTo[localPort] !== 0 || steering.owner(STEER_TCP, t.flowHash[c], localPort) !== worker) continue;
      const floor = t.sndMax[c];
      this.m.giveUp(c);
      freed.take();
      // Nobody has taken its row: what it knew of this identity still stands there.
      this.handshake.connect(s, local, ip, ports, t.tableHash[c], c);
      this.m.startAbove(s, floor);
      return -EINPROGRESS;
    }
    return -EADDRNOTAVAIL;
  }

  /** Looks for all ports whose flows with ip:port come home, once, so that connects to there need not. How many there are. */
  prepare(local: number, ip: number, port: number): number {
    const pool = new Uint16Array(EPHEMERAL_COUNT);
    let n = 0;
    for (let i = 0; i < EPHEMERAL_COUNT; i++) {
      const localPort = ephemeralPort(i);
      if (this.m.boundTo[localPort] === 0 && this.home(local, ip, port, localPort)) pool[n++] = localPort;
    }
    this.pool = pool.slice(0, n);
    this.poolIp = ip;
    this.poolPort = port;
    return n;
  }

  /** Opens from the first prepared port, from `offset` on, that is still free and still comes home. */
  private fromPool(s: number, local: number, ip: number, port: number, offset: number): boolean {
    const n = this.pool.length;
    for (let i = 0; i < n; i++) {
      if (this.openFrom(s, local, ip, port, this.pool[(offset + i) % n])) return true;
    }
    return false;
  }

  private home(local: number, ip: number, port: number, localPort: number): boolean {
    return comesHome(this.m.env, STEER_TCP, local, ip, port, localPort);
  }

  /** Opens unless the 4-tuple is taken (TIME_WAIT counts). */
  private begin(s: number, local: number, ip: number, port: number, localPort: number): boolean {
    const ports = (port << 16) | localPort;
    const hash = this.m.flows.hash(ip, local, ports);
    if (this.m.flows.find(ip, local, ports, hash) >= 0) return false;
    this.handshake.connect(s, local, ip, ports, hash, -1);
    return true;
  }
}
