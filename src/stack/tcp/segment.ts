/** The segment in flight: filled by input, narrowed by its steps, valid for one call. One a stack. */
import * as tcpNumbers from '../../wire/tcp.ts';
import type { Machine } from './machine.ts';
import { TcpOptions } from '../../wire/tcpOptions.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { FIN, SYN } = tcpNumbers;

export class Segment {
  /** Frame (head of its train), byte offset of link 0's payload, payload bytes link 0 holds. */
  frame = 0;
  at = 0;
  first = 0;
  /** Payload bytes at the front that are not wanted; seq and len speak of what follows them. */
  skip = 0;
  seq = 0;
  ack = 0;
  len = 0;
  bits = 0;
  /** Unscaled. */
  wnd = 0;
  /** Payload of one segment of it. */
  size = 0;
  /** Frames it was received as. */
  frames = 1;
  stamped = false;
  tsVal = 0;
  /** Meaningful where the connection has timestamps. */
  tsEcr = 0;
  /** SACK blocks in `options`. */
  blocks = 0;
  readonly options = new TcpOptions();

  // hot: per packet
  /** Sequence numbers it takes: SYN and FIN count. */
  lenSeq(): number {
    return this.len + ((this.bits & SYN) !== 0 ? 1 : 0) + ((this.bits & FIN) !== 0 ? 1 : 0);
  }
}

// hot: per packet
/** Sequence number of a segment without data: the highest sent, inside the peer's window even after a probe. */
export function bareSeq(m: Machine, c: number): number {
  const t = m.tcb;
  const most = t.sndMax[c];
  const edge = (t.sndUna[c] + t.sndWnd[c]) | 0;
  return ((most - edge) | 0) > 0 && ((t.sndNxt[c] - edge) | 0) <= 0 ? edge : most;
}
