/** A datagram arrives: header, addresses, socket (RFC 768, RFC 1122 section 4.1). */
import * as counterIndex from '../../rings/counters.ts';
import * as dropReasons from '../../rings/drops.ts';
import * as layoutNumbers from '../../rings/layout.ts';
import * as steeringNumbers from '../../rings/steering.ts';
import * as udpNumbers from '../../wire/udp.ts';
import { isBroadcast, isNoUnicast } from '../broadcast.ts';
import type { IcmpErrors } from '../icmpErrors.ts';
import type { StackEnv } from '../env.ts';
import type { Ready } from '../readyList.ts';
import * as redirectNumbers from '../redirect.ts';
import { redirect } from '../redirect.ts';
import * as socketsNumbers from '../sockets.ts';
import type { DatagramQueue } from './queue.ts';
import * as tableNumbers from './table.ts';
import type { UdpTable } from './table.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { C_UDP_BYTES_IN, C_UDP_IN_DATAGRAMS, C_UDP_NO_PORTS } = counterIndex;
const { DROP_BAD_SOURCE, DROP_CLOSING, DROP_NO_LISTENER, DROP_NONE, DROP_NOT_FOR_US, DROP_RATE_LIMIT, DROP_UDP_HEADER } = dropReasons;
const { D_DATA, D_FLAGS_GSO, D_FRAME, D_HASH, D_OFFSETS, D_TOTAL, F_MULTICAST, F_TRAIN } = layoutNumbers;
const { STEER_UDP } = steeringNumbers;
const { LEN_UDP } = udpNumbers;
const { REDIRECTED } = redirectNumbers;
const { EPOLLIN } = socketsNumbers;
const { U_RDSHUT } = tableNumbers;

export class UdpInput {
  /** The worker ends: nobody is told about closed ports any more. */
  draining = false;
  private readonly env: StackEnv;
  private readonly t: UdpTable;
  private readonly queue: DatagramQueue;
  private readonly ready: Ready;
  private readonly errors: IcmpErrors;
  private readonly firstId: number;
  private readonly words: Int32Array;
  private readonly view: DataView;
  private readonly frameAt: Int32Array;
  private readonly counted: Float64Array;

  /** `firstId`: the id of socket 0 of the table. */
  constructor(env: StackEnv, t: UdpTable, queue: DatagramQueue, ready: Ready, errors: IcmpErrors, firstId: number) {
    this.env = env;
    this.t = t;
    this.queue = queue;
    this.ready = ready;
    this.errors = errors;
    this.firstId = firstId;
    this.words = env.arena.i32;
    this.view = env.port.frames.view;
    this.frameAt = env.port.frames.offset;
    this.counted = env.counters.v;
  }

  // hot: per packet
  /** Takes the datagram of the descriptor at word `d` of the arena, frame included. Returns a drop reason, or 0. */
  input(d: number): number {
    const reason = this.demultiplex(d);
    if (reason === REDIRECTED) return DROP_NONE;
    if (reason !== DROP_NONE) this.env.port.freeTrain(this.words[d + D_FRAME]);
    return reason;
  }

  // hot: per packet
  private demultiplex(d: number): number {
    const words = this.words;
    const view = this.view;
    const offsets = words[d + D_OFFSETS];
    const l4 = offsets >>> 16;
    const l3 = (offsets >> 8) & 0xff;
    const eth = this.frameAt[words[d + D_FRAME]] + (words[d + D_DATA] >>> 16);
    const ip = eth + l3;
    const udp = eth + l4;
    const src = view.getInt32(ip + 12);
    const dst = view.getInt32(ip + 16);
    const udpLen = view.getUint16(udp + 4);
    const len = udpLen - LEN_UDP;
    const inLink = (words[d + D_DATA] & 0xffff) - l4 - LEN_UDP;
    const train = (words[d + D_FLAGS_GSO] & F_TRAIN) !== 0;
    // What IP carries beyond the UDP length is no part of the datagram.
    if (len < 0 || inLink < 0 || udpLen > view.getUint16(ip + 2) - (l4 - l3) || len > words[d + D_TOTAL] - l4 - LEN_UDP)
      return DROP_UDP_HEADER;
    if (!train && inLink < len) return DROP_UDP_HEADER;
    const host = this.env.host;
    const group = (words[d + D_FLAGS_GSO] & F_MULTICAST) !== 0;
    // A unicast datagram in a group frame is none of ours (RFC 1122 section 3.3.6).
    if (dst === host.address() ? group : !isBroadcast(host, dst)) return DROP_NOT_FOR_US;
    if (isNoUnicast(host, src)) return DROP_BAD_SOURCE;
    const ports = view.getInt32(udp);
    const u = this.t.find(src, dst, ports, words[d + D_HASH]);
    if (u < 0) return this.nobody(d, src, dst, ports, group);
    if ((this.t.flags[u] & U_RDSHUT) !== 0) return DROP_CLOSING;
    const reason = this.queue.put(u, words[d + D_FRAME], udp + LEN_UDP, inLink < len ? inLink : len, len, src);
    if (reason !== DROP_NONE) return reason;
    this.counted[C_UDP_IN_DATAGRAMS]++;
    this.counted[C_UDP_BYTES_IN] += len;
    this.ready.notify(this.firstId + u, EPOLLIN);
    return DROP_NONE;
  }

  /** No socket here: the flow may live with another worker; else its sender is told (RFC 1122 section 4.1.3.1), within a rate. */
  private nobody(d: number, src: number, dst: number, ports: number, group: boolean): number {
    const elsewhere = redirect(this.env, STEER_UDP, d, src, dst, ports);
    if (elsewhere >= 0) return elsewhere;
    if (this.draining) return DROP_CLOSING;
    this.counted[C_UDP_NO_PORTS]++;
    if (group || dst !== this.env.host.address()) return DROP_NO_LISTENER;
    return this.errors.portUnreachable(d) ? DROP_NO_LISTENER : DROP_RATE_LIMIT;
  }
}
