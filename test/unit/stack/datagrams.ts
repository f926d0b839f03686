/** UDP and ICMP datagrams as bytes, for a trace: built for its rx ring, read from what it sent. */
import * as assert from 'uvu/assert';
import { fold, pseudoSum4, sum16 } from '../../../src/wire/checksum.ts';
import { setIpv4 } from '../../../src/wire/ipv4.ts';
import { OURS, PEER, PEER_PORT, type Trace } from './trace.ts';

export interface Datagram {
  src?: number;
  dst?: number;
  from?: number;
  to?: number;
  data?: Uint8Array | string;
  /** 0: none, as RFC 768 allows; else added to the right one. */
  checksum?: 'none' | 'bad';
  /** What the UDP length says beyond the truth, and bytes behind the datagram within IP. */
  lengthError?: number;
  tail?: number;
  /** L2 destination: broadcast. */
  group?: boolean;
  protocol?: number;
  fragment?: number;
}

const view = (b: Uint8Array): DataView => new DataView(b.buffer, b.byteOffset, b.byteLength);

/** Ethernet and IPv4 around an L4 payload. */
export function framed(l4: Uint8Array, protocol: number, src: number, dst: number, group = false, fragment = 0): Buffer {
  const b = Buffer.alloc(34 + l4.length);
  const v = view(b);
  v.setInt32(0, group ? -1 : 0x02000000);
  v.setUint16(4, group ? 0xffff : 2);
  v.setInt32(6, 0x02000000);
  v.setUint16(10, 1);
  v.setUint16(12, 0x0800);
  setIpv4(v, 14, 20 + l4.length, 7, protocol, src, dst);
  if (fragment !== 0) {
    v.setUint16(20, fragment);
    v.setUint16(24, 0);
    v.setUint16(24, ~fold(sum16(v, 14, 20, 0)) & 0xffff);
  }
  b.set(l4, 34);
  return b;
}

export function datagram(o: Datagram = {}): Buffer {
  const data = typeof o.data === 'string' ? Buffer.from(o.data) : (o.data ?? Buffer.alloc(0));
  const src = o.src ?? PEER;
  const dst = o.dst ?? OURS;
  const l4 = Buffer.alloc(8 + data.length + (o.tail ?? 0));
  const v = view(l4);
  const length = 8 + data.length + (o.lengthError ?? 0);
  v.setUint16(0, o.from ?? PEER_PORT);
  v.setUint16(2, o.to ?? 7);
  v.setUint16(4, length);
  l4.set(data, 8);
  const sum = ~fold(sum16(v, 0, Math.min(l4.length, 8 + data.length), pseudoSum4(src, dst, 17, length))) & 0xffff;
  v.setUint16(6, o.checksum === 'none' ? 0 : o.checksum === 'bad' ? sum ^ 0x5555 : sum === 0 ? 0xffff : sum);
  return framed(l4, o.protocol ?? 17, src, dst, o.group, o.fragment);
}

/** An ICMP error about `quoted`, an IPv4 datagram of ours, of which `bytes` are quoted. */
export function icmpAbout(quoted: Uint8Array, type: number, code: number, bytes = quoted.length, from = PEER): Buffer {
  const l4 = Buffer.alloc(8 + bytes);
  l4[0] = type;
  l4[1] = code;
  l4.set(quoted.subarray(0, bytes), 8);
  view(l4).setUint16(2, ~fold(sum16(view(l4), 0, l4.length, 0)) & 0xffff);
  return framed(l4, 1, from, OURS);
}

export interface Sent {
  src: number;
  dst: number;
  from: number;
  to: number;
  data: string;
  /** Destination MAC, as hex. */
  mac: string;
  /** The IPv4 datagram, for a quote. */
  ip: Buffer;
}

/** The next UDP datagram a trace sent, its checksums verified. */
export function sentDatagram(t: Trace): Sent {
  const b = t.others.shift();
  if (b === undefined) throw new Error('no datagram was sent');
  const v = view(b);
  assert.is(b[23], 17, 'UDP');
  assert.is(v.getUint16(16), b.length - 14, 'IPv4 length');
  assert.is(v.getUint16(38), b.length - 34, 'UDP length');
  assert.is(fold(sum16(v, 14, 20, 0)), 0xffff, 'IPv4 checksum');
  assert.is.not(v.getUint16(40), 0, 'a checksum was computed');
  assert.is(fold(sum16(v, 34, b.length - 34, pseudoSum4(v.getInt32(26), v.getInt32(30), 17, b.length - 34))), 0xffff, 'UDP checksum');
  return {
    src: v.getInt32(26),
    dst: v.getInt32(30),
    from: v.getUint16(34),
    to: v.getUint16(36),
    data: b.subarray(42).toString('latin1'),
    mac: b.subarray(0, 6).toString('hex'),
    ip: b.subarray(14),
  };
}

export interface SentIcmp {
  type: number;
  code: number;
  dst: number;
  quote: Buffer;
}

/** The next ICMP message a trace sent, its checksum verified. */
export function sentIcmp(t: Trace): SentIcmp {
  const b = t.others.shift();
  if (b === undefined) throw new Error('no ICMP message was sent');
  const v = view(b);
  assert.is(b[23], 1, 'ICMP');
  assert.is(fold(sum16(v, 34, b.length - 34, 0)), 0xffff, 'ICMP checksum');
  assert.is(v.getInt32(38), 0, 'unused');
  return { type: b[34]!, code: b[35]!, dst: v.getInt32(30), quote: b.subarray(42) };
}
