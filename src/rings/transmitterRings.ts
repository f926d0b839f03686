/**
 * The rings between a broker and the transmitter that sends for it on a thread of its own (layout `dispatcher-rx-tx`):
 *
 *   broker                                   transmitter
 *     host     ── descriptors ──▶              frames of the host itself (ARP), beside the workers' tx rings
 *     credit   ── frame ids ────▶              empty frames for copies of what goes to several receivers
 *     sent     ◀── frame ids ────              frames that are sent, or were dropped: they go home
 *
 * `sent` holds every frame of the region, so going home never fails. An empty `credit` is a copy that is not made, never a wait.
 */
import { DESC_WORDS, HEADER_BYTES, KIND_RINGS, ringWords, writeHeader } from './layout.ts';
import { formatRing } from './spsc.ts';

export const HOST_SLOTS = 64;
export const CREDIT_SLOTS = 128;

/** Structured-cloneable: the block, and where the rings stand in it (word index). */
export interface TransmitterRings {
  block: SharedArrayBuffer;
  host: number;
  credit: number;
  sent: number;
}

/** Makes and formats the block for a region of `frames` frames. Main only. */
export function createTransmitterRings(frames: number): TransmitterRings {
  const sentSlots = 2 ** Math.ceil(Math.log2(Math.max(2, frames)));
  const host = ((HEADER_BYTES >> 2) + 31) & ~31;
  const credit = host + ringWords(HOST_SLOTS, DESC_WORDS);
  const sent = credit + ringWords(CREDIT_SLOTS, 1);
  const block = new SharedArrayBuffer((sent + ringWords(sentSlots, 1)) * 4);
  writeHeader(block, KIND_RINGS);
  const words = new Int32Array(block);
  formatRing(words, host, HOST_SLOTS, DESC_WORDS);
  formatRing(words, credit, CREDIT_SLOTS, 1);
  formatRing(words, sent, sentSlots, 1);
  return { block, host, credit, sent };
}
