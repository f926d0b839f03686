/**
 * TCP options (RFC 9293 section 3.2, RFC 7323, RFC 2018): one cursor parser into one preallocated scratch, and writers for
 * the layouts this stack sends. Lengths were checked before: the header's `headerBytes` (data offset, 20..60) are inside
 * the frame.
 */
import * as tcpNumbers from './tcp.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { LEN_TCP } = tcpNumbers;

export const OPT_END = 0;
export const OPT_NOP = 1;
export const OPT_MSS = 2;
export const OPT_WINDOW_SCALE = 3;
export const OPT_SACK_PERMITTED = 4;
export const OPT_SACK = 5;
export const OPT_TIMESTAMPS = 8;

/** RFC 7323 section 2.3: a larger shift is read as 14. */
export const WINDOW_SCALE_MAX = 14;
/** NOP NOP TS: what every segment after the handshake carries when timestamps are on. */
export const LEN_TIMESTAMPS = 12;
/** First word of that layout: NOP, NOP, kind 8, length 10. */
export const NOP_NOP_TS = 0x0101080a;

/** What one header's options say. One per thread, valid until the next parse into it; also the input of `writeSynOptions`. */
export class TcpOptions {
  /** Bytes, 1..65535; 0 absent. */
  mss = 0;
  /** Shift 0..14; -1 absent. */
  windowScale = -1;
  sackPermitted = false;
  hasTimestamp = false;
  /** int32; meaningful only with hasTimestamp. */
  tsVal = 0;
  tsEcr = 0;
  /** SACK blocks, 0..4, left and right edges as int32 in `sack`. */
  sackCount = 0;
  readonly sack = new Int32Array(8);
}

// hot: per packet
/**
 * Reads the options of the header at `tcp` into `into`. An option whose length is 0, 1 or runs over the header ends the
 * parse, what came before stands; unknown kinds, and known ones of a wrong length, are skipped.
 */
export function parseOptions(v: DataView, tcp: number, headerBytes: number, into: TcpOptions): void {
  into.mss = 0;
  into.windowScale = -1;
  into.sackPermitted = false;
  into.hasTimestamp = false;
  into.sackCount = 0;
  // Header prediction's case: nothing, or exactly NOP NOP TS.
  if (headerBytes === LEN_TCP) return;
  if (headerBytes === LEN_TCP + LEN_TIMESTAMPS && v.getInt32(tcp + LEN_TCP) === NOP_NOP_TS) {
    into.hasTimestamp = true;
    into.tsVal = v.getInt32(tcp + LEN_TCP + 4);
    into.tsEcr = v.getInt32(tcp + LEN_TCP + 8);
    return;
  }
  parseSlow(v, tcp + LEN_TCP, tcp + headerBytes, into);
}

// hot: per packet
function parseSlow(v: DataView, at: number, end: number, into: TcpOptions): void {
  while (at < end) {
    const kind = v.getUint8(at);
    if (kind === OPT_END) return;
    if (kind === OPT_NOP) {
      at++;
      continue;
    }
    if (at + 2 > end) return;
    const len = v.getUint8(at + 1);
    if (len < 2 || at + len > end) return;
    if (kind === OPT_TIMESTAMPS) {
      if (len === 10) {
        into.hasTimestamp = true;
        into.tsVal = v.getInt32(at + 2);
        into.tsEcr = v.getInt32(at + 6);
      }
    } else if (kind === OPT_SACK) {
      readSack(v, at, len, into);
    } else if (kind === OPT_MSS) {
      if (len === 4) into.mss = v.getUint16(at + 2);
    } else if (kind === OPT_WINDOW_SCALE) {
      if (len === 3) {
        const shift = v.getUint8(at + 2);
        into.windowScale = shift > WINDOW_SCALE_MAX ? WINDOW_SCALE_MAX : shift;
      }
    } else if (kind === OPT_SACK_PERMITTED) {
      if (len === 2) into.sackPermitted = true;
    }
    at += len;
  }
}

// hot: per packet
/** 1 to 4 blocks of 8 bytes; any other length is no SACK option. */
function readSack(v: DataView, at: number, len: number, into: TcpOptions): void {
  if (len < 10 || len > 34 || (len & 7) !== 2) return;
  const words = (len - 2) >> 2;
  for (let i = 0; i < words; i++) into.sack[i] = v.getInt32(at + 2 + i * 4);
  into.sackCount = words >> 1;
}

// hot: per packet
/** Writes NOP NOP TS at `at`: 12 bytes. */
export function writeTimestamps(v: DataView, at: number, tsVal: number, tsEcr: number): void {
  v.setInt32(at, NOP_NOP_TS);
  v.setInt32(at + 4, tsVal);
  v.setInt32(at + 8, tsEcr);
}

// hot: per packet
/**
 * Writes NOP NOP SACK with the first `blocks` (1..4) pairs of `edges` at `at`: 4 + 8 × blocks bytes, which are returned. With
 * timestamps there is room for 3 (RFC 2018 section 3).
 */
export function writeSack(v: DataView, at: number, edges: Int32Array, blocks: number): number {
  v.setInt32(at, (OPT_NOP << 24) | (OPT_NOP << 16) | (OPT_SACK << 8) | (2 + blocks * 8));
  for (let i = 0; i < blocks * 2; i++) v.setInt32(at + 4 + i * 4, edges[i]);
  return 4 + blocks * 8;
}

/** Bytes `writeSynOptions` will write for `o`: a multiple of 4, at most 20. */
export function synOptionsBytes(o: TcpOptions): number {
  let n = o.mss > 0 ? 4 : 0;
  if (o.hasTimestamp) n += LEN_TIMESTAMPS;
  else if (o.sackPermitted) n += 4;
  if (o.windowScale >= 0) n += 4;
  return n;
}

/**
 * Writes the options of a SYN or SYN-ACK at `at` from `o`, in the order Linux uses: MSS, SACK permitted, timestamps, NOP,
 * window scale (the two bytes of SACK permitted stand where the NOPs before the timestamps would). Returns how many bytes.
 */
export function writeSynOptions(v: DataView, at: number, o: TcpOptions): number {
  const first = at;
  if (o.mss > 0) {
    v.setInt32(at, (OPT_MSS << 24) | (4 << 16) | o.mss);
    at += 4;
  }
  if (o.hasTimestamp) {
    writeTimestamps(v, at, o.tsVal, o.tsEcr);
    if (o.sackPermitted) v.setUint16(at, (OPT_SACK_PERMITTED << 8) | 2);
    at += LEN_TIMESTAMPS;
  } else if (o.sackPermitted) {
    v.setInt32(at, (OPT_NOP << 24) | (OPT_NOP << 16) | (OPT_SACK_PERMITTED << 8) | 2);
    at += 4;
  }
  if (o.windowScale >= 0) {
    v.setInt32(at, (OPT_NOP << 24) | (OPT_WINDOW_SCALE << 16) | (3 << 8) | o.windowScale);
    at += 4;
  }
  return at - first;
}
