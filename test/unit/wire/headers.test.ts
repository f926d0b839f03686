// Accessors, text forms and sequence arithmetic.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as arp from '../../../src/wire/arp.ts';
import { describeFrame } from '../../../src/wire/describe.ts';
import * as ethernet from '../../../src/wire/ethernet.ts';
import * as icmp from '../../../src/wire/icmp.ts';
import * as ipv4 from '../../../src/wire/ipv4.ts';
import { seqAdd, seqDiff, seqGeq, seqGt, seqLeq, seqLt, seqMax } from '../../../src/wire/seq.ts';
import * as tcp from '../../../src/wire/tcp.ts';
import * as udp from '../../../src/wire/udp.ts';
import * as vlan from '../../../src/wire/vlan.ts';
import { exactView, GOLDEN_NAMES, type GoldenName, goldenBytes } from './golden.ts';

const A = ipv4.parseIpv4('192.0.2.1')!;
const B = ipv4.parseIpv4('192.0.2.2')!;
const IP = ethernet.LEN_ETHERNET;
const L4 = IP + ipv4.LEN_IPV4;
const golden = (name: GoldenName): DataView => exactView(goldenBytes(name));

test('Ethernet and IPv4 fields of the golden SYN', () => {
  const v = golden('tcpSyn');
  assert.equal([ethernet.dstHi(v, 0), ethernet.dstLo(v, 0)], [0x02000000, 2]);
  assert.equal([ethernet.srcHi(v, 0), ethernet.srcLo(v, 0)], [0x02000000, 1]);
  assert.is(ethernet.ethertype(v, 0), ethernet.ETHERTYPE_IPV4);
  assert.not(ethernet.isGroup(v, 0));
  assert.ok(ethernet.isGroup(golden('arpRequest'), 0));
  assert.is(ipv4.version(v, IP), 4);
  assert.is(ipv4.headerLen(v, IP), 20);
  assert.is(ipv4.totalLength(v, IP), 60);
  assert.is(ipv4.id(v, IP), 0x1234);
  assert.is(ipv4.fragmentField(v, IP), 0x4000);
  assert.not(ipv4.isFragment(v, IP));
  assert.ok(ipv4.isFragment(golden('udpFirstFragment'), IP));
  assert.ok(ipv4.isFragment(golden('udpLastFragment'), IP));
  assert.is(ipv4.ttl(v, IP), 64);
  assert.is(ipv4.protocol(v, IP), ipv4.PROTO_TCP);
  assert.is(ipv4.checksum(v, IP), 0xa484);
  assert.equal([ipv4.src(v, IP), ipv4.dst(v, IP)], [A, B]);
});

test('TCP fields of the golden SYN and data segment, and their setters', () => {
  const v = golden('tcpSyn');
  assert.equal([tcp.srcPort(v, L4), tcp.dstPort(v, L4)], [40000, 80]);
  assert.is(tcp.seq(v, L4), 0x01020304);
  assert.is(tcp.dataOffset(v, L4), 40);
  assert.is(tcp.flags(v, L4), tcp.SYN);
  assert.is(tcp.window(v, L4), 64240);
  assert.is(tcp.checksum(v, L4), 0xc66a);
  assert.is(tcp.urgent(v, L4), 0);
  const d = golden('tcpData');
  assert.is(tcp.ack(d, L4), 0x0a0b0c0d);
  assert.is(tcp.flags(d, L4), tcp.ACK | tcp.PSH);
  tcp.setSeq(d, L4, -2);
  tcp.setAck(d, L4, -3);
  tcp.setFlags(d, L4, tcp.RST);
  tcp.setWindow(d, L4, 65535);
  tcp.setChecksum(d, L4, 0xabcd);
  assert.equal(
    [tcp.seq(d, L4), tcp.ack(d, L4), tcp.flags(d, L4), tcp.window(d, L4), tcp.checksum(d, L4)],
    [-2, -3, tcp.RST, 65535, 0xabcd],
  );
  assert.is(tcp.dataOffset(d, L4), 32);
});

test('UDP, ICMP, ARP and VLAN fields', () => {
  const u = golden('udp');
  assert.equal([udp.srcPort(u, L4), udp.dstPort(u, L4), udp.length(u, L4), udp.checksum(u, L4)], [5353, 53, 13, 0x22e0]);
  const e = golden('echoRequest');
  assert.equal([icmp.type(e, L4), icmp.code(e, L4), icmp.checksum(e, L4)], [icmp.ICMP_ECHO, 0, 0xbbc5]);
  assert.equal([icmp.echoId(e, L4), icmp.echoSeq(e, L4)], [0x1d2e, 7]);
  const a = golden('arpReply');
  assert.ok(arp.check(a, IP));
  assert.is(arp.oper(a, IP), arp.ARP_REPLY);
  assert.equal([arp.shaHi(a, IP), arp.shaLo(a, IP), arp.spa(a, IP)], [0x02000000, 1, A]);
  assert.equal([arp.thaHi(a, IP), arp.thaLo(a, IP), arp.tpa(a, IP)], [0x02000000, 2, B]);
  const t = golden('tcpVlan');
  assert.equal([vlan.vlanId(t, IP), vlan.priority(t, IP), vlan.tci(t, IP)], [7, 1, 0x2007]);
  assert.is(vlan.innerEthertype(t, IP), ethernet.ETHERTYPE_IPV4);
});

test('the ARP writers write the golden request', () => {
  const want = goldenBytes('arpRequest');
  const v = exactView(new Uint8Array(want.length));
  ethernet.setEthernet(v, 0, -1, 0xffff, 0x02000000, 1, ethernet.ETHERTYPE_ARP);
  arp.setSender(v, IP, arp.ARP_REQUEST, 0x02000000, 1, A);
  arp.setTarget(v, IP, 0, 0, B);
  assert.equal(new Uint8Array(v.buffer), want);
});

test('arp.check refuses what nobody may send, and takes a probe', () => {
  const changed = (name: GoldenName, at: number, ...values: number[]): boolean => {
    const bytes = goldenBytes(name);
    bytes.set(values, IP + at);
    return arp.check(exactView(bytes), IP);
  };
  for (const name of ['arpRequest', 'arpReply'] as const) {
    assert.not(changed(name, 0, 0, 6), 'hardware type');
    assert.not(changed(name, 2, 8, 6), 'protocol type');
    assert.not(changed(name, 4, 8), 'hlen');
    assert.not(changed(name, 5, 16), 'plen');
    assert.not(changed(name, 6, 0, 0), 'oper 0');
    assert.not(changed(name, 6, 0, 3), 'oper 3 (RARP)');
    assert.not(changed(name, arp.OFF_SHA, 1), 'multicast sender MAC');
    assert.not(changed(name, arp.OFF_SHA, 0, 0, 0, 0, 0, 0), 'zero sender MAC');
    assert.not(changed(name, arp.OFF_SPA, 224), 'multicast sender IP');
    assert.not(changed(name, arp.OFF_SPA, 127), 'loopback sender IP');
    assert.not(changed(name, arp.OFF_SPA, 255, 255, 255, 255), 'broadcast sender IP');
  }
  assert.ok(changed('arpRequest', arp.OFF_SPA, 0, 0, 0, 0), 'probe');
  assert.not(changed('arpReply', arp.OFF_SPA, 0, 0, 0, 0), 'reply from nobody');
});

test('MAC and IPv4 texts go both ways, and nonsense is refused', () => {
  for (const text of ['00:00:00:00:00:00', '02:00:00:00:00:01', 'ff:ff:ff:ff:ff:ff', '80:01:7f:fe:0a:f0']) {
    const [hi, lo] = ethernet.parseMac(text)!;
    assert.is(ethernet.formatMac(hi, lo), text);
  }
  for (const text of ['', '02:00:00:00:00', '02:00:00:00:00:01:02', '02-00-00-00-00-01', '0g:00:00:00:00:01', '2:0:0:0:0:1'])
    assert.is(ethernet.parseMac(text), null, text);
  for (const text of ['0.0.0.0', '192.0.2.1', '255.255.255.255', '10.200.0.128']) assert.is(ipv4.formatIpv4(ipv4.parseIpv4(text)!), text);
  for (const text of ['', '1.2.3', '1.2.3.4.5', '256.0.0.1', '01.2.3.4', '1.2.3.-4', ' 1.2.3.4', '1.2.3.4 ', '0x1.2.3.4'])
    assert.is(ipv4.parseIpv4(text), null, text);
  assert.is(ipv4.parseIpv4('192.0.2.1'), 0xc0000201 | 0);
});

test('bad sources are multicast, reserved, this-network and loopback, and no unicast address', () => {
  for (const text of ['0.0.0.0', '0.1.2.3', '127.0.0.1', '127.255.0.1', '224.0.0.1', '239.1.2.3', '240.0.0.1', '255.255.255.255'])
    assert.ok(ipv4.isBadSource(ipv4.parseIpv4(text)!), text);
  for (const text of ['1.0.0.1', '126.1.1.1', '128.0.0.1', '192.0.2.255', '223.255.255.254', '10.0.0.0'])
    assert.not(ipv4.isBadSource(ipv4.parseIpv4(text)!), text);
});

test('sequence numbers compare around both wraps', () => {
  for (const base of [0, 1, 0x7fffffff, -0x80000000, -1, 0x12345678]) {
    const next = seqAdd(base, 1);
    const far = seqAdd(base, 0x7fffffff);
    assert.ok(seqLt(base, next) && seqGt(next, base) && seqLeq(base, next) && seqGeq(next, base));
    assert.ok(seqLt(base, far) && !seqLt(far, base));
    assert.ok(seqLeq(base, base) && seqGeq(base, base) && !seqLt(base, base) && !seqGt(base, base));
    assert.is(seqDiff(next, base), 1);
    assert.is(seqDiff(base, next), -1);
    assert.is(seqMax(base, next), next);
    assert.is(seqMax(next, base), next);
  }
});

const TEXT: Readonly<Record<GoldenName, string>> = {
  arpRequest: 'ARP who-has 192.0.2.2 tell 192.0.2.1 (02:00:00:00:00:01)',
  arpReply: 'ARP reply 192.0.2.1 (02:00:00:00:00:01) to 192.0.2.2',
  echoRequest: 'IP 192.0.2.1 > 192.0.2.2: ICMP echo request id 7470 seq 7 length 29',
  echoReply: 'IP 192.0.2.2 > 192.0.2.1: ICMP echo reply id 7470 seq 7 length 29',
  tcpSyn: 'IP 192.0.2.1.40000 > 192.0.2.2.80: Flags [S] seq 16909060 win 64240 <mss 1460, sackOK, TS 12345678/0, wscale 7> length 0',
  tcpData: 'IP 192.0.2.1.40000 > 192.0.2.2.80: Flags [P.] seq 16909061:16909079 ack 168496141 win 502 <TS 12345682/123456789> length 18',
  udp: 'IP 192.0.2.1.5353 > 192.0.2.2.53: UDP length 5',
  tcpVlan: 'vlan 7 IP 192.0.2.1.40000 > 192.0.2.2.80: Flags [.] seq 16909061 ack 168496141 win 502 <TS 12345682/123456789> length 0',
  tcpIpOptions: 'IP 192.0.2.1.40000 > 192.0.2.2.80: Flags [S] seq 16909060 win 64240 <mss 1460, sackOK, TS 12345678/0, wscale 7> length 0',
  udpFirstFragment: 'IP 192.0.2.1 > 192.0.2.2: proto 17 fragment 0+ length 32',
  udpLastFragment: 'IP 192.0.2.1 > 192.0.2.2: proto 17 fragment 32 length 24',
  unreachable: 'IP 192.0.2.1 > 192.0.2.2: ICMP type 3 code 3 length 36',
  timeExceeded: 'IP 198.51.100.9 > 192.0.2.2: ICMP type 11 code 0 length 36',
  igmp: 'IP 192.0.2.1 > 192.0.2.2: proto 2 length 8',
  ipv6: '02:00:00:00:00:01 > 02:00:00:00:00:02 ethertype 0x86dd length 54',
};

test('each golden frame as a line of text, and every truncation and bit flip of it without a read past its end', () => {
  for (const name of GOLDEN_NAMES) {
    const bytes = goldenBytes(name);
    assert.is(describeFrame(exactView(bytes), 0, bytes.length), TEXT[name]);
    for (let n = 0; n < bytes.length; n++) assert.type(describeFrame(exactView(bytes.slice(0, n)), 0, n), 'string');
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const b = bytes.slice();
      b[bit >> 3]! ^= 128 >> (bit & 7);
      assert.type(describeFrame(exactView(b), 0, b.length), 'string');
    }
  }
});

test.run();
