/** One line a frame, in tcpdump's manner, for tests and error messages: never on the way of a packet. Reads nothing past `bytes`. */
import * as arp from './arp.ts';
import {
  dstHi,
  dstLo,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_VLAN,
  ethertype,
  formatMac,
  LEN_ETHERNET,
  srcHi,
  srcLo,
} from './ethernet.ts';
import * as icmp from './icmp.ts';
import * as ipv4 from './ipv4.ts';
import * as tcp from './tcp.ts';
import { parseOptions, TcpOptions } from './tcpOptions.ts';
import * as udp from './udp.ts';
import { innerEthertype, LEN_VLAN, vlanId } from './vlan.ts';

const TCP_FLAGS: readonly (readonly [number, string])[] = [
  [tcp.FIN, 'F'],
  [tcp.SYN, 'S'],
  [tcp.RST, 'R'],
  [tcp.PSH, 'P'],
  [tcp.ACK, '.'],
  [tcp.URG, 'U'],
  [tcp.ECE, 'E'],
  [tcp.CWR, 'W'],
];

/** The frame whose Ethernet header is at `eth`, of `bytes` bytes. */
export function describeFrame(v: DataView, eth: number, bytes: number): string {
  const end = eth + bytes;
  if (bytes < LEN_ETHERNET) return `[truncated, ${bytes} bytes]`;
  let type = ethertype(v, eth);
  let l3 = eth + LEN_ETHERNET;
  let tag = '';
  if (type === ETHERTYPE_VLAN) {
    if (l3 + LEN_VLAN > end) return '[truncated VLAN tag]';
    tag = `vlan ${vlanId(v, l3)} `;
    type = innerEthertype(v, l3);
    l3 += LEN_VLAN;
  }
  if (type === ETHERTYPE_ARP) return tag + describeArp(v, l3, end);
  if (type === ETHERTYPE_IPV4) return tag + describeIpv4(v, l3, end);
  const macs = `${formatMac(srcHi(v, eth), srcLo(v, eth))} > ${formatMac(dstHi(v, eth), dstLo(v, eth))}`;
  return `${tag}${macs} ethertype 0x${type.toString(16).padStart(4, '0')} length ${bytes}`;
}

function describeArp(v: DataView, at: number, end: number): string {
  if (at + arp.LEN_ARP > end) return 'ARP [truncated]';
  const from = `${ipv4.formatIpv4(arp.spa(v, at))} (${formatMac(arp.shaHi(v, at), arp.shaLo(v, at))})`;
  const target = ipv4.formatIpv4(arp.tpa(v, at));
  if (arp.oper(v, at) === arp.ARP_REQUEST) return `ARP who-has ${target} tell ${from}`;
  if (arp.oper(v, at) === arp.ARP_REPLY) return `ARP reply ${from} to ${target}`;
  return `ARP oper ${arp.oper(v, at)}`;
}

/** The datagram whose IPv4 header is at `ip`; `end` is the first byte that is not its frame's. */
export function describeIpv4(v: DataView, ip: number, end: number): string {
  if (ip + ipv4.LEN_IPV4 > end) return 'IP [truncated]';
  const l4 = ip + ipv4.headerLen(v, ip);
  const stop = Math.min(end, ip + ipv4.totalLength(v, ip));
  const length = ipv4.totalLength(v, ip) - ipv4.headerLen(v, ip);
  const from = ipv4.formatIpv4(ipv4.src(v, ip));
  const to = ipv4.formatIpv4(ipv4.dst(v, ip));
  const proto = ipv4.protocol(v, ip);
  if (ipv4.isFragment(v, ip)) {
    const more = (ipv4.fragmentField(v, ip) & 0x2000) !== 0 ? '+' : '';
    return `IP ${from} > ${to}: proto ${proto} fragment ${ipv4.fragmentOffset(v, ip) << 3}${more} length ${length}`;
  }
  if (proto === ipv4.PROTO_TCP) return describeTcp(v, l4, stop, length, from, to);
  if (proto === ipv4.PROTO_UDP) {
    if (l4 + udp.LEN_UDP > stop) return `IP ${from} > ${to}: UDP [truncated]`;
    return `IP ${from}.${udp.srcPort(v, l4)} > ${to}.${udp.dstPort(v, l4)}: UDP length ${udp.length(v, l4) - udp.LEN_UDP}`;
  }
  if (proto === ipv4.PROTO_ICMP) {
    if (l4 + icmp.LEN_ICMP > stop) return `IP ${from} > ${to}: ICMP [truncated]`;
    const t = icmp.type(v, l4);
    const echo = t === icmp.ICMP_ECHO ? 'echo request' : t === icmp.ICMP_ECHO_REPLY ? 'echo reply' : '';
    const what = echo === '' ? `type ${t} code ${icmp.code(v, l4)}` : `${echo} id ${icmp.echoId(v, l4)} seq ${icmp.echoSeq(v, l4)}`;
    return `IP ${from} > ${to}: ICMP ${what} length ${length}`;
  }
  return `IP ${from} > ${to}: proto ${proto} length ${length}`;
}

function describeTcp(v: DataView, at: number, end: number, length: number, from: string, to: string): string {
  if (at + tcp.LEN_TCP > end) return `IP ${from} > ${to}: TCP [truncated]`;
  const header = tcp.dataOffset(v, at);
  const bits = tcp.flags(v, at);
  const payload = length - header;
  const seq = tcp.seq(v, at) >>> 0;
  let text = `IP ${from}.${tcp.srcPort(v, at)} > ${to}.${tcp.dstPort(v, at)}: Flags [`;
  text +=
    TCP_FLAGS.filter(([bit]) => (bits & bit) !== 0)
      .map(([, letter]) => letter)
      .join('') || 'none';
  text += `] seq ${seq}`;
  if (payload > 0) text += `:${(seq + payload) >>> 0}`;
  if ((bits & tcp.ACK) !== 0) text += ` ack ${tcp.ack(v, at) >>> 0}`;
  text += ` win ${tcp.window(v, at)}`;
  if (header >= tcp.LEN_TCP && at + header <= end) text += describeOptions(v, at, header);
  return `${text} length ${payload}`;
}

function describeOptions(v: DataView, at: number, header: number): string {
  const o = new TcpOptions();
  parseOptions(v, at, header, o);
  const parts: string[] = [];
  if (o.mss > 0) parts.push(`mss ${o.mss}`);
  if (o.sackPermitted) parts.push('sackOK');
  if (o.hasTimestamp) parts.push(`TS ${o.tsVal >>> 0}/${o.tsEcr >>> 0}`);
  if (o.windowScale >= 0) parts.push(`wscale ${o.windowScale}`);
  for (let i = 0; i < o.sackCount; i++) parts.push(`sack ${o.sack[2 * i]! >>> 0}:${o.sack[2 * i + 1]! >>> 0}`);
  return parts.length === 0 ? '' : ` <${parts.join(', ')}>`;
}
