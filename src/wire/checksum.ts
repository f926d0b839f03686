/**
 * The Internet checksum (RFC 1071). Sums are of big-endian 16-bit words, kept below 2^31 for datagrams up to 64 KiB, so
 * that they stay small integers; `fold` brings a sum to 16 bits; the field holds its complement.
 */

// hot: per packet
/** Sum of the big-endian 16-bit words of `len` bytes at `off`, an odd last byte padded with zero, added to `sum`. */
export function sum16(v: DataView, off: number, len: number, sum: number): number {
  const end = off + (len & ~1);
  let i = off;
  for (; i + 8 <= end; i += 8) sum += v.getUint16(i) + v.getUint16(i + 2) + v.getUint16(i + 4) + v.getUint16(i + 6);
  for (; i < end; i += 2) sum += v.getUint16(i);
  if ((len & 1) !== 0) sum += v.getUint8(end) << 8;
  return sum;
}

// hot: per packet
/** Folds a sum to 16 bits (one's complement addition of the carries). */
export function fold(sum: number): number {
  sum = (sum & 0xffff) + (sum >>> 16);
  return ((sum & 0xffff) + (sum >>> 16)) & 0xffff;
}

// hot: per packet
/** Unfolded sum of the IPv4 pseudo-header: addresses int32, L4 length in bytes (RFC 9293 section 3.1). */
export function pseudoSum4(src: number, dst: number, protocol: number, lenBytes: number): number {
  return (src >>> 16) + (src & 0xffff) + (dst >>> 16) + (dst & 0xffff) + protocol + lenBytes;
}

// hot: per packet
/** Checksum field after a 16-bit field it covers changed from `before` to `after` (RFC 1624 equation 3). */
export function update16(checksum: number, before: number, after: number): number {
  return ~fold((~checksum & 0xffff) + (~before & 0xffff) + (after & 0xffff)) & 0xffff;
}
