/**
 * ICMP (RFC 792, RFC 1122 section 3.2.2): answers echo requests, hands errors to the flow they quote (quotedFlow.ts).
 * Everything else is counted and dropped. `inspect` has verified lengths and checksum before, and lets no ICMP train pass,
 * so that a request is one frame and its reply fits into one.
 */
import * as counterIndex from '../rings/counters.ts';
import * as dropReasons from '../rings/drops.ts';
import * as layoutNumbers from '../rings/layout.ts';
import { update16 } from '../wire/checksum.ts';
import * as icmpNumbers from '../wire/icmp.ts';
import { checksum, isIcmpError, type } from '../wire/icmp.ts';
import * as ipv4Numbers from '../wire/ipv4.ts';
import { dst, src, totalLength } from '../wire/ipv4.ts';
import { isNoUnicast } from './broadcast.ts';
import type { StackEnv } from './env.ts';
import { QuotedFlow } from './quotedFlow.ts';
import type { FlowErrors } from './quotedFlow.ts';
import type { Ipv4Out } from './transmit.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { C_ICMP_RX, C_ICMP_TX } = counterIndex;
const { DROP_BAD_SOURCE, DROP_FRAGMENT, DROP_ICMP, DROP_NO_FRAME, DROP_NO_ROUTE, DROP_NONE, DROP_NOT_FOR_US } = dropReasons;
const { D_DATA, D_FLAGS_GSO, D_FRAME, D_OFFSETS, F_CSUM_OK, F_FRAGMENT, F_ICMP, F_MULTICAST, F_TRAIN } = layoutNumbers;
const { ICMP_ECHO, ICMP_ECHO_REPLY, LEN_ICMP, OFF_ICMP_CHECKSUM } = icmpNumbers;
const { PROTO_ICMP } = ipv4Numbers;

export interface Icmp {
  /**
   * A received ICMP datagram: word index in the arena of its inspected descriptor (F_PARSED, F_ICMP). The frame stays the
   * caller's. Returns DROP_NONE when it was answered or believed, else the DROP_* reason, which the caller counts.
   */
  input(at: number): number;
}

class IcmpOfWorker implements Icmp {
  private readonly env: StackEnv;
  private readonly out: Ipv4Out;
  private readonly words: Int32Array;
  private readonly view: DataView;
  private readonly offset: Int32Array;
  private readonly quoted: QuotedFlow;

  constructor(env: StackEnv, out: Ipv4Out, flows: FlowErrors) {
    this.quoted = new QuotedFlow(env, flows);
    this.env = env;
    this.out = out;
    this.words = env.arena.i32;
    this.view = env.port.frames.view;
    this.offset = env.port.frames.offset;
  }

  // hot: per packet
  input(at: number): number {
    const v = this.view;
    const flags = this.words[at + D_FLAGS_GSO]!;
    this.env.counters.v[C_ICMP_RX]!++;
    if ((flags & F_FRAGMENT) !== 0) return DROP_FRAGMENT;
    if ((flags & F_TRAIN) !== 0) return DROP_ICMP;
    const eth = this.offset[this.words[at + D_FRAME]!]! + (this.words[at + D_DATA]! >>> 16);
    const offsets = this.words[at + D_OFFSETS]!;
    const ip = eth + ((offsets >>> 8) & 0xff);
    const icmp = eth + (offsets >>> 16);
    const bytes = totalLength(v, ip) - (icmp - ip);
    if (bytes < LEN_ICMP) return DROP_ICMP;
    const error = isIcmpError(type(v, icmp));
    if (!error && type(v, icmp) !== ICMP_ECHO) return DROP_ICMP;
    // RFC 1122 section 3.2.2.6: an echo to a group may be ignored; nothing is ever answered to one (section 3.2.1.3).
    if ((flags & F_MULTICAST) !== 0 || dst(v, ip) !== this.env.host.address()) return DROP_NOT_FOR_US;
    const to = src(v, ip);
    if (isNoUnicast(this.env.host, to)) return DROP_BAD_SOURCE;
    return error ? this.quoted.input(icmp, bytes) : this.reply(to, icmp, bytes);
  }

  // hot: per packet
  /** The request's bytes with type 0; identifier, sequence and data return as they came, the checksum follows by RFC 1624. */
  private reply(to: number, icmp: number, bytes: number): number {
    const f = this.out.start(to, PROTO_ICMP, bytes);
    if (f < 0) return f === -1 ? DROP_NO_FRAME : DROP_NO_ROUTE;
    const v = this.view;
    const l4 = this.out.l4;
    const whole = bytes & ~3;
    let i = 0;
    for (; i < whole; i += 4) v.setInt32(l4 + i, v.getInt32(icmp + i));
    for (; i < bytes; i++) v.setUint8(l4 + i, v.getUint8(icmp + i));
    const first = v.getUint16(icmp);
    v.setUint8(l4, ICMP_ECHO_REPLY);
    v.setUint16(l4 + OFF_ICMP_CHECKSUM, update16(checksum(v, icmp), first, (ICMP_ECHO_REPLY << 8) | (first & 0xff)));
    this.env.counters.v[C_ICMP_TX]!++;
    this.out.finish(f, F_CSUM_OK | F_ICMP);
    return DROP_NONE;
  }
}

export function createIcmp(env: StackEnv, out: Ipv4Out, flows: FlowErrors): Icmp {
  return new IcmpOfWorker(env, out, flows);
}
