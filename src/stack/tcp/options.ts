/**
 * TCP options (RFC 9293 section 3.1, RFC 7323; SACK is not spoken): one cursor parser into one scratch object, and templates for what
 * we send. The scratch is valid until the next parse. A length of 0 or 1, or one that runs past the header, ends the parse;
 * unknown options are skipped by their length.
 */
export const OPT_END = 0;
export const OPT_NOP = 1;
export const OPT_MSS = 2;
export const OPT_WINDOW_SCALE = 3;
export const OPT_TIMESTAMPS = 8;
/** NOP NOP TIMESTAMPS 10: what stands before the values in every segment but the SYN. */
export const TIMESTAMP_TEMPLATE = 0x0101080a;
export const LEN_TIMESTAMPS = 12;
/** RFC 7323 section 2.3. */
export const WINDOW_SCALE_MAX = 14;

export class TcpOptions {
  /** 0 when absent. */
  mss = 0;
  /** -1 when absent. */
  windowScale = -1;
  timestamps = false;
  tsVal = 0;
  tsEcr = 0;

  // hot: per packet
  parse(v: DataView, tcp: number, headerBytes: number): void {
    this.mss = 0;
    this.windowScale = -1;
    this.timestamps = false;
    const end = tcp + headerBytes;
    let at = tcp + 20;
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
      this.take(v, kind, at, len);
      at += len;
    }
  }

  // hot: per packet
  private take(v: DataView, kind: number, at: number, len: number): void {
    if (kind === OPT_TIMESTAMPS && len === 10) {
      this.timestamps = true;
      this.tsVal = v.getInt32(at + 2);
      this.tsEcr = v.getInt32(at + 6);
    } else if (kind === OPT_MSS && len === 4) {
      this.mss = v.getUint16(at + 2);
    } else if (kind === OPT_WINDOW_SCALE && len === 3) {
      const shift = v.getUint8(at + 2);
      this.windowScale = shift > WINDOW_SCALE_MAX ? WINDOW_SCALE_MAX : shift;
    }
  }
}

/** Writes the options of a SYN at `at`; returns their length, a multiple of 4. `scale` -1: none. */
export function putSynOptions(v: DataView, at: number, mss: number, scale: number, stamps: boolean, tsVal: number, tsEcr: number): number {
  let o = at;
  v.setInt32(o, (OPT_MSS << 24) | (4 << 16) | mss);
  o += 4;
  if (stamps) {
    v.setInt32(o, TIMESTAMP_TEMPLATE);
    v.setInt32(o + 4, tsVal);
    v.setInt32(o + 8, tsEcr);
    o += 12;
  }
  if (scale >= 0) {
    v.setInt32(o, 0x01030300 | scale);
    o += 4;
  }
  return o - at;
}

/** Bytes putSynOptions will write. */
export const synOptionsBytes = (scale: number, stamps: boolean): number => 4 + (stamps ? 12 : 0) + (scale >= 0 ? 4 : 0);
