/**
 * ICMP errors that we receive (RFC 792; RFC 1122 section 3.2.2, RFC 5927). Each quotes the start of a datagram of ours: IPv4
 * header and 8 bytes at least. It is believed only when the quote names a flow that this worker has, and for TCP only when
 * the quoted sequence number is in flight now. Redirects (off, as a host may) and source quench (RFC 6633) are none of them.
 */
import { C_ICMP_ERRORS_RX, C_ICMP_FRAG_NEEDED } from '../rings/counters.ts';
import { DROP_ICMP, DROP_NONE } from '../rings/drops.ts';
import {
  CODE_PORT_UNREACHABLE,
  CODE_PROTOCOL_UNREACHABLE,
  code,
  ICMP_PARAMETER_PROBLEM,
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  LEN_ICMP,
  type,
} from '../wire/icmp.ts';
import { dst, fragmentOffset, headerLen, LEN_IPV4, PROTO_TCP, PROTO_UDP, protocol, src, version } from '../wire/ipv4.ts';
import type { StackEnv } from './env.ts';
import { ECONNREFUSED, EHOSTUNREACH, EMSGSIZE, ENETUNREACH, ENOPROTOOPT, EOPNOTSUPP, EPROTO } from './sockets.ts';

/** Whoever owns flows. `ports` is remote << 16 | local; `hard`: the error will not go away (RFC 1122 section 4.2.3.9). */
export interface FlowErrors {
  /** Returns whether there is such a connection and `seq` was in flight. EMSGSIZE is only counted: the path MTU is not followed. */
  tcp(remoteIp: number, localIp: number, ports: number, seq: number, errno: number, hard: boolean): boolean;
  /** Returns whether a socket is connected so. EMSGSIZE as above. */
  udp(remoteIp: number, localIp: number, ports: number, errno: number): boolean;
}

/** By code of ICMP_UNREACHABLE, as Linux maps them: the errno, and the bit of those that are hard. */
const UNREACHABLE_ERRNO = Int32Array.of(
  ENETUNREACH,
  EHOSTUNREACH,
  ENOPROTOOPT,
  ECONNREFUSED,
  EMSGSIZE,
  EOPNOTSUPP,
  ENETUNREACH,
  EHOSTUNREACH,
  EHOSTUNREACH,
  ENETUNREACH,
  EHOSTUNREACH,
  ENETUNREACH,
  EHOSTUNREACH,
  EHOSTUNREACH,
  EHOSTUNREACH,
  EHOSTUNREACH,
);
/** Protocol and port; and what an administrator forbids (9, 10, 13). */
const HARD = (1 << CODE_PROTOCOL_UNREACHABLE) | (1 << CODE_PORT_UNREACHABLE) | (1 << 9) | (1 << 10) | (1 << 13);

export class QuotedFlow {
  private readonly env: StackEnv;
  private readonly flows: FlowErrors;
  private readonly view: DataView;

  constructor(env: StackEnv, flows: FlowErrors) {
    this.env = env;
    this.flows = flows;
    this.view = env.port.frames.view;
  }

  /** The ICMP error at byte `icmp` of packet memory, `bytes` long. Returns DROP_NONE when it was believed, else DROP_ICMP. */
  input(icmp: number, bytes: number): number {
    const v = this.view;
    const ip = icmp + LEN_ICMP;
    const left = bytes - LEN_ICMP;
    if (left < LEN_IPV4 || version(v, ip) !== 4) return DROP_ICMP;
    const header = headerLen(v, ip);
    // Only a first fragment, or a whole datagram, says whose it was.
    if (header < LEN_IPV4 || left < header + 8 || fragmentOffset(v, ip) !== 0) return DROP_ICMP;
    if (src(v, ip) !== this.env.host.address()) return DROP_ICMP;
    const errno = this.errno(icmp);
    if (errno === 0) return DROP_ICMP;
    if (!this.tell(ip, ip + header, errno, type(v, icmp) === ICMP_UNREACHABLE && (HARD & (1 << code(v, icmp))) !== 0)) return DROP_ICMP;
    this.env.counters.v[C_ICMP_ERRORS_RX]++;
    if (errno === EMSGSIZE) this.env.counters.v[C_ICMP_FRAG_NEEDED]++;
    return DROP_NONE;
  }

  /** 0: not an error we believe. */
  private errno(icmp: number): number {
    const v = this.view;
    const t = type(v, icmp);
    if (t === ICMP_UNREACHABLE) return code(v, icmp) < UNREACHABLE_ERRNO.length ? UNREACHABLE_ERRNO[code(v, icmp)] : 0;
    if (t === ICMP_TIME_EXCEEDED) return EHOSTUNREACH;
    return t === ICMP_PARAMETER_PROBLEM ? EPROTO : 0;
  }

  /** The quote is a datagram of ours: its source is our end. */
  private tell(ip: number, l4: number, errno: number, hard: boolean): boolean {
    const v = this.view;
    const ours = v.getInt32(l4);
    const ports = (ours << 16) | (ours >>> 16);
    const proto = protocol(v, ip);
    if (proto === PROTO_TCP) return this.flows.tcp(dst(v, ip), src(v, ip), ports, v.getInt32(l4 + 4), errno, hard);
    return proto === PROTO_UDP && this.flows.udp(dst(v, ip), src(v, ip), ports, errno);
  }
}
