/**
 * Completes an L4 checksum that was left to a provider (F_CSUM_PARTIAL: the field holds the folded pseudo-header sum), over
 * all links of a train. For the rare frame a software port must finish itself; stacks do it in their bursts.
 */
import type { FrameTable } from '../rings/frameTable.ts';
import { D_DATA, D_FLAGS_GSO, D_FRAME, D_OFFSETS, F_CSUM_OK, F_CSUM_PARTIAL, F_TRAIN, F_UDP } from '../rings/layout.ts';
import { fold, sum16 } from '../wire/checksum.ts';
import { OFF_CHECKSUM } from '../wire/tcp.ts';
import { OFF_UDP_CHECKSUM } from '../wire/udp.ts';
import { payloadOffset } from './frameCopy.ts';

/** The descriptor's offsets must be filled (word 4). Sets F_CSUM_OK instead of F_CSUM_PARTIAL. */
export function completeChecksum(t: FrameTable, words: Int32Array, d: number): void {
  const data = words[d + D_DATA]!;
  const flags = words[d + D_FLAGS_GSO]!;
  const l4 = words[d + D_OFFSETS]! >>> 16;
  const first = words[d + D_FRAME]!;
  const start = t.offset[first]! + (data >>> 16);
  const linear = (data & 0xffff) - l4;
  let sum = fold(sum16(t.view, start + l4, linear, 0));
  let odd = (linear & 1) !== 0;
  if ((flags & F_TRAIN) !== 0) {
    const payload = payloadOffset(words, d);
    for (let f = t.next[first]!; f >= 0; f = t.next[f]!) {
      const part = fold(sum16(t.view, t.offset[f]! + payload, t.length[f]!, 0));
      // A part that starts at an odd byte of the datagram counts with its bytes swapped (RFC 1071 section 2 (B)).
      sum = fold(sum + (odd ? ((part & 0xff) << 8) | (part >> 8) : part));
      if ((t.length[f]! & 1) !== 0) odd = !odd;
    }
  }
  const udp = (flags & F_UDP) !== 0;
  let field = ~sum & 0xffff;
  // RFC 768: a computed zero is sent as all ones, zero means "none".
  if (udp && field === 0) field = 0xffff;
  t.view.setUint16(start + l4 + (udp ? OFF_UDP_CHECKSUM : OFF_CHECKSUM), field);
  words[d + D_FLAGS_GSO] = (flags & ~F_CSUM_PARTIAL) | F_CSUM_OK;
}
