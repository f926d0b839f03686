/** Checksum sums over packet memory, 32 bits at a time where the place allows it. Little-endian hosts (x86-64, arm64 as Node runs on them). */
import { fold, sum16 } from '../checksum.ts';
import type { BurstMemory } from './memory.ts';

// hot: per packet
/** Folded big-endian sum (RFC 1071) of `len` ≤ 65535 bytes at byte `off`, an odd last byte padded with zero. */
export function sumBytes(m: BurstMemory, off: number, len: number): number {
  if ((off & 3) !== 0 || len < 16) return fold(sum16(m.packetView, off, len, 0));
  const words = m.packetWords;
  const end = (off + len) >> 2;
  let s = 0;
  let i = off >> 2;
  for (; i + 4 <= end; i += 4) {
    const a = words[i]!;
    const b = words[i + 1]!;
    const c = words[i + 2]!;
    const d = words[i + 3]!;
    s += (a & 0xffff) + (a >>> 16) + (b & 0xffff) + (b >>> 16) + (c & 0xffff) + (c >>> 16) + (d & 0xffff) + (d >>> 16);
    // 8 halves add at most 2^19: folding above 2^30 keeps the sum a small integer.
    if (s > 0x3fffffff) s = (s & 0xffff) + (s >>> 16);
  }
  for (; i < end; i++) s += (words[i]! & 0xffff) + (words[i]! >>> 16);
  // The sum of byte-swapped words is the byte-swapped sum (RFC 1071 section 2 (B)).
  s = fold(s);
  s = ((s & 0xff) << 8) | (s >> 8);
  const done = (end << 2) - off;
  return fold(sum16(m.packetView, end << 2, len - done, s));
}

// hot: per packet
/** Adds folded `part`, which starts `at` bytes into the summed datagram, to `sum`; both stay below 2^17. */
export function addPart(sum: number, part: number, at: number): number {
  const p = (at & 1) === 0 ? part : ((part & 0xff) << 8) | (part >> 8);
  const s = sum + p;
  return (s & 0xffff) + (s >>> 16);
}

// hot: per packet
/**
 * Folded sum of a datagram's bytes: `len` bytes from byte `off` of link 0 whose first `inFirst` bytes are there, the rest in
 * the further links of frame `f`, `pay` bytes from each frame's start. Bytes beyond `len` are left out.
 */
export function sumChain(m: BurstMemory, off: number, len: number, inFirst: number, f: number, pay: number): number {
  let sum = sumBytes(m, off, len < inFirst ? len : inFirst);
  let done = inFirst;
  for (let g = m.next[f]!; g !== -1 && done < len; g = m.next[g]!) {
    const n = m.length[g]!;
    const take = n < len - done ? n : len - done;
    sum = addPart(sum, sumBytes(m, m.offset[g]! + pay, take), done);
    done += n;
  }
  return fold(sum);
}
