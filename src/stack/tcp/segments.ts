/**
 * One segment, or a train of them: built from the columns and the send buffer, accounted for, handed to transmit. What may be
 * sent, and when, is output's affair.
 */
import * as counterIndex from '../../rings/counters.ts';
import * as layoutNumbers from '../../rings/layout.ts';
import { fold, pseudoSum4 } from '../../wire/checksum.ts';
import * as ethernetNumbers from '../../wire/ethernet.ts';
import * as ipv4Numbers from '../../wire/ipv4.ts';
import * as tcpNumbers from '../../wire/tcp.ts';
import * as tcpOptionsNumbers from '../../wire/tcpOptions.ts';
import { synOptionsBytes, TcpOptions, writeSack, writeSynOptions, writeTimestamps } from '../../wire/tcpOptions.ts';
import { WORK_CUT } from '../env.ts';
import type { Machine } from './machine.ts';
import { SackBlocks } from './sackBlocks.ts';
import { bareSeq } from './segment.ts';
import type { SendBuffer } from './sendBuffer.ts';
import * as statesNumbers from './states.ts';
import * as tcbNumbers from './tcb.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { C_TCP_OUT_SEGS, C_TCP_RETRANS_SEGS } = counterIndex;
const { F_CSUM_PARTIAL, F_IPCSUM_OK, F_TCP, TRAIN_LINKS_MAX } = layoutNumbers;
const { LEN_ETHERNET } = ethernetNumbers;
const { LEN_IPV4, PROTO_TCP } = ipv4Numbers;
const { ACK, FIN, LEN_TCP, SYN } = tcpNumbers;
const { LEN_TIMESTAMPS } = tcpOptionsNumbers;
const { SYN_SENT } = statesNumbers;
const { T_FIN, T_PERSIST, T_RECOVERY, T_SACK, T_SYN, T_SYN_LOST, T_TIMING, T_TS, T_WS } = tcbNumbers;

const LEN_TCP_MAX = 60;
const LEN_L2L3 = LEN_ETHERNET + LEN_IPV4;
const PLAIN = F_TCP | F_CSUM_PARTIAL | F_IPCSUM_OK;
/** IPv4 total length, less headers with timestamps. */
const DATAGRAM_MAX = 65535 - LEN_IPV4 - LEN_TCP - LEN_TIMESTAMPS;
/** Where chunks are scarce a connection is told an eighth of what is left. */
const SHARE_SHIFT = 3;

export interface Segments {
  /** Octets of payload that one descriptor may carry. */
  readonly trainBytes: number;
  /** Right edge the application's reading would allow now, and whether it is worth telling the peer at once. */
  windowOpened(c: number): boolean;
  /** The retransmission timer begins anew. */
  armRto(c: number): void;
  /** Payload bytes of a link: a segment, or as many as a frame holds where nobody cuts our trains. */
  linkBytes(c: number): number;
  /** One descriptor: `len` payload bytes from `seq` in `links` frames. The caller made sure of the room. Returns how many segments it is. */
  segment(c: number, seq: number, bits: number, len: number, links: number): number;
  /** After data or FIN from `seq` on went out: cursors, RTT sample, retransmission timer. `end` is behind the last number used. */
  sent(c: number, seq: number, end: number, segs: number): void;
  /** An ACK without data. */
  bareAck(c: number): void;
  /** Links of a train that may be started now for `len` bytes: all of them, else 1; 0 without credit or room. */
  linksFor(c: number, len: number): number;
  /** `n`, or as much of it as a train carries: a whole number of segments. */
  trainLimit(c: number, n: number): number;
  /**
   * Octets from `seq` on once more, FIN included, at most to `end` and at most `most`, but a segment always: as a train where
   * there is credit for one. Returns how much sequence space went, 0: no credit or room.
   */
  resend(c: number, seq: number, end: number, most: number): number;
  /** SYN or SYN-ACK with the options agreed on so far. False: no credit or room. */
  syn(c: number): boolean;
}

export function createSegments(m: Machine, send: SendBuffer): Segments {
  const t = m.tcb;
  const { state, flags, ports, localIp, remoteIp, flowHash, macHi, macLo, tsOffset, segsOut, retransmits } = t;
  const { rcvNxt, rcvAdv, rcvScale, rcvBuf, tsRecent, lastAckSent, ackDue, ackAt, rbLen, pfLen, oooHead } = t;
  const { sndUna, sndNxt, sndMax, mss, sbLen, iss, rtoAt, rtoMs, userMs, stuckAtMs, retries, rttSeq, rttAtUs, sentAtMs } = t;
  const { transmit, wheel, counted, clock, chunks } = m;
  const { port, config } = m.env;
  const { view, offset: frameAt, next: frameNext, length: frameLength, frameBytes, headroom } = port.frames;
  const sack = new SackBlocks(m);
  const offer = new TcpOptions();
  const chunkBytes = config.chunkBytes;
  const trainLinks = Math.max(1, Math.min(config.trainLinksMax, TRAIN_LINKS_MAX));
  /** What a frame has for payload, whatever the options; 0 where a link must be one segment, because the port's trains are cut. */
  const linkRoom = trainLinks > 1 && (m.env.txWork & WORK_CUT) === 0 ? frameBytes - headroom - LEN_L2L3 - LEN_TCP_MAX : 0;
  const trainBytes = Math.min(DATAGRAM_MAX, m.env.txTrainBytesMax - LEN_L2L3 - LEN_TCP - LEN_TIMESTAMPS);

  // hot: per packet
  /**
   * Bytes beyond RCV.NXT that may come: what the buffer has room for, and where chunks are scarce no more than a part of what
   * is left. Two segments always: an ACK for the second keeps the peer going until there is more.
   */
  function room(c: number): number {
    const most = rcvBuf[c] - rbLen[c] - pfLen[c];
    if (!chunks.scarce()) return most;
    const part = chunks.spareBytes() >> SHARE_SHIFT;
    const least = mss[c] << 1;
    const share = part > least ? part : least;
    return share < most ? share : most;
  }

  // hot: per packet
  /**
   * Window field for the segment being built (RFC 9293 sections 3.8.6 and 3.8.6.2.2): the right edge never moves back, and
   * moves on only by a segment or half the buffer. A scaled edge that rounding would pull back is rounded up, but never
   * by more than one unit beyond the buffer in all: rounding up each ACK of a small segment would move it on for ever. Then
   * it is rounded down, which RFC 7323 section 2.4 allows for, and what was told before is still taken.
   */
  function window(c: number): number {
    const real = (rcvNxt[c] + room(c)) | 0;
    let edge = real;
    const gain = (edge - rcvAdv[c]) | 0;
    if (gain < mss[c] && gain < rcvBuf[c] >> 1) edge = rcvAdv[c];
    const shift = rcvScale[c];
    const open = (edge - rcvNxt[c]) | 0;
    let field = open > 0 ? open >> shift : 0;
    const told = (rcvNxt[c] + (field << shift)) | 0;
    if (((told - rcvAdv[c]) | 0) < 0 && ((told - real) | 0) < 0) field++;
    if (field > 65535) field = 65535;
    edge = (rcvNxt[c] + (field << shift)) | 0;
    if (((edge - rcvAdv[c]) | 0) > 0) rcvAdv[c] = edge;
    return field;
  }

  // hot: per packet
  function windowOpened(c: number): boolean {
    const gain = (rcvNxt[c] + room(c) - rcvAdv[c]) | 0;
    if (gain < mss[c] && gain < rcvBuf[c] >> 1) return false;
    // A quarter of the buffer is news; nearly shut, anything that passes receiver silly window avoidance is.
    return gain >= rcvBuf[c] >> 2 || ((rcvAdv[c] - rcvNxt[c]) | 0) < mss[c] << 1;
  }

  // hot: per packet
  function armRto(c: number): void {
    let ms = rtoMs[c];
    if (userMs[c] > 0 && retries[c] > 0) {
      // TCP_USER_TIMEOUT ends a wait that would go beyond it.
      const left = (stuckAtMs[c] + userMs[c] - clock[1]) | 0;
      if (left < ms) ms = left > 1 ? left : 1;
    }
    rtoAt[c] = m.deadline(ms);
    wheel.arm(c, rtoAt[c]);
  }

  // hot: per packet
  /** Header of `size` bytes at `tcp`, SACK options left out; every segment after the SYN carries an ACK. */
  function header(c: number, tcp: number, seq: number, bits: number, size: number, len: number): void {
    const p = ports[c];
    view.setInt32(tcp, (p << 16) | (p >>> 16));
    view.setInt32(tcp + 4, seq);
    view.setInt32(tcp + 8, rcvNxt[c]);
    view.setInt32(tcp + 12, (size << 26) | (bits << 16) | window(c));
    view.setInt32(tcp + 16, fold(pseudoSum4(localIp[c], remoteIp[c], PROTO_TCP, size + len)) << 16);
    if ((flags[c] & T_TS) !== 0) writeTimestamps(view, tcp + LEN_TCP, (clock[1] + tsOffset[c]) | 0, tsRecent[c]);
    lastAckSent[c] = rcvNxt[c];
    ackDue[c] = 0;
    ackAt[c] = 0;
  }

  // hot: per packet
  /**
   * SACK blocks for a segment of `len` bytes: with a hole in what came every segment says what stands beyond (RFC 2018 section
   * 4), as many blocks as fit next to the data. Only bare ACKs have room for sure, and a hole makes those.
   */
  function blocksFor(c: number, len: number): number {
    if ((flags[c] & T_SACK) === 0) return 0;
    const room = len === 0 ? 4 : (mss[c] - len - 4) >> 3;
    const most = (flags[c] & T_TS) !== 0 ? 3 : 4;
    return room < 1 ? 0 : sack.collect(c, room < most ? room : most);
  }

  // hot: per packet
  /** See Segments. */
  function linkBytes(c: number): number {
    const size = mss[c];
    return linkRoom < size << 1 ? size : size * ((linkRoom / size) | 0);
  }

  // hot: per packet
  /** See Segments. */
  function segment(c: number, seq: number, bits: number, len: number, links: number): number {
    const unit = mss[c];
    const segs = len > unit ? ((len + unit - 1) / unit) | 0 : 1;
    const f = transmit.take();
    const plain = (flags[c] & T_TS) !== 0 ? LEN_TCP + LEN_TIMESTAMPS : LEN_TCP;
    const blocks = oooHead[c] >= 0 && segs === 1 ? blocksFor(c, len) : 0;
    const size = blocks > 0 ? plain + 4 + blocks * 8 : plain;
    const tcp = transmit.header(f, localIp[c], remoteIp[c], PROTO_TCP, size + len, macHi[c], macLo[c], segs);
    header(c, tcp, seq, bits, size, len);
    if (blocks > 0) writeSack(view, tcp + plain, sack.edges, blocks);
    const most = segs > 1 ? linkBytes(c) : unit;
    let part = len < most ? len : most;
    const first = part;
    if (part > 0) send.emit(c, seq, tcp + size, part);
    const inFrame = tcp + size - frameAt[f];
    let done = part;
    let last = f;
    for (let i = 1; i < links; i++) {
      const g = transmit.take();
      part = len - done < most ? len - done : most;
      send.emit(c, (seq + done) | 0, frameAt[g] + inFrame, part);
      frameLength[g] = part;
      frameNext[last] = g;
      frameNext[g] = -1;
      last = g;
      done += part;
    }
    counted[C_TCP_OUT_SEGS] += segs;
    segsOut[c] += segs;
    transmit.append(
      f,
      LEN_L2L3 + size + first,
      LEN_L2L3 + size + len,
      PLAIN,
      links > 1 ? most : 0,
      links,
      segs > 1 && most > unit ? unit : 0,
      flowHash[c],
    );
    return segs;
  }

  // hot: per packet
  /** An ACK without data. */
  function bareAck(c: number): void {
    segment(c, bareSeq(m, c), ACK, 0, 1);
  }

  // hot: per packet
  /** After data or FIN from `seq` on went out: cursors, RTT sample, retransmission timer. `end` is behind the last number used. */
  function sent(c: number, seq: number, end: number, segs: number): void {
    if (((seq - sndMax[c]) | 0) < 0) {
      counted[C_TCP_RETRANS_SEGS] += segs;
      retransmits[c] += segs;
    } else if ((flags[c] & (T_TIMING | T_RECOVERY)) === 0) {
      flags[c] |= T_TIMING;
      rttSeq[c] = end;
      rttAtUs[c] = clock[0];
    }
    if (((end - sndMax[c]) | 0) > 0) sndMax[c] = end;
    sentAtMs[c] = clock[1];
    // RFC 6298 section 5.1
    if (rtoAt[c] === 0 || (flags[c] & T_PERSIST) !== 0) {
      flags[c] &= ~T_PERSIST;
      armRto(c);
    }
  }

  // hot: per packet
  /** See Segments. */
  function linksFor(c: number, len: number): number {
    const most = len > mss[c] ? linkBytes(c) : mss[c];
    const copies = ((most / chunkBytes) | 0) + 2;
    if (len > most) {
      const links = ((len + most - 1) / most) | 0;
      if (transmit.ready(links, links * copies)) return links;
    }
    return transmit.ready(1, copies) ? 1 : 0;
  }

  // hot: per packet
  function trainLimit(c: number, n: number): number {
    const size = mss[c];
    if (n <= size) return n;
    const most = linkBytes(c) * trainLinks;
    if (n <= trainBytes && n <= most) return n;
    const whole = trainBytes > size ? trainBytes - (trainBytes % size) : size;
    const limit = whole < most ? whole : most;
    return n < limit ? n : limit;
  }

  // hot: per packet
  /** See Segments. */
  function resend(c: number, seq: number, end: number, most: number): number {
    const size = mss[c];
    const span = (end - seq) | 0;
    const data = (sndUna[c] + sbLen[c] - seq) | 0;
    let n = span < data ? span : data;
    if (n > most) n = most > size ? most - (most % size) : size;
    n = trainLimit(c, n);
    const links = linksFor(c, n);
    if (links === 0) return 0;
    const single = linkBytes(c);
    if (links === 1 && n > single) n = single;
    const fin = n === data && span > n && (flags[c] & T_FIN) !== 0;
    const segs = segment(c, seq, fin ? ACK | FIN : ACK, n, links);
    const used = fin ? n + 1 : n;
    sent(c, seq, (seq + used) | 0, segs);
    return used;
  }

  /**
   * SYN or SYN-ACK with the options agreed on so far.
   */
  function syn(c: number): boolean {
    if (!transmit.ready(1, 0)) return false;
    const active = state[c] === SYN_SENT;
    offer.mss = m.ownMss(c);
    offer.windowScale = (flags[c] & T_WS) !== 0 ? config.windowScale : -1;
    offer.sackPermitted = (flags[c] & T_SACK) !== 0;
    offer.hasTimestamp = (flags[c] & T_TS) !== 0;
    offer.tsVal = m.tsNow(c);
    offer.tsEcr = active ? 0 : tsRecent[c];
    const size = LEN_TCP + synOptionsBytes(offer);
    const f = transmit.take();
    const tcp = transmit.header(f, localIp[c], remoteIp[c], PROTO_TCP, size, macHi[c], macLo[c], 1);
    const p = ports[c];
    const wnd = rcvBuf[c] < 65535 ? rcvBuf[c] : 65535;
    view.setInt32(tcp, (p << 16) | (p >>> 16));
    view.setInt32(tcp + 4, iss[c]);
    view.setInt32(tcp + 8, active ? 0 : rcvNxt[c]);
    view.setInt32(tcp + 12, (size << 26) | ((active ? SYN : SYN | ACK) << 16) | wnd);
    view.setInt32(tcp + 16, fold(pseudoSum4(localIp[c], remoteIp[c], PROTO_TCP, size)) << 16);
    writeSynOptions(view, tcp + LEN_TCP, offer);
    counted[C_TCP_OUT_SEGS]++;
    segsOut[c]++;
    if ((flags[c] & T_SYN_LOST) !== 0) {
      counted[C_TCP_RETRANS_SEGS]++;
      retransmits[c]++;
    } else if (sndMax[c] === iss[c]) {
      // Sent again because the peer's SYN came again, it is not timed (Karn).
      flags[c] |= T_TIMING;
      rttSeq[c] = (iss[c] + 1) | 0;
      rttAtUs[c] = clock[0];
    }
    if (!active) {
      lastAckSent[c] = rcvNxt[c];
      const edge = (rcvNxt[c] + wnd) | 0;
      if (((edge - rcvAdv[c]) | 0) > 0) rcvAdv[c] = edge;
    }
    flags[c] &= ~T_SYN;
    ackDue[c] = 0;
    ackAt[c] = 0;
    sndNxt[c] = (iss[c] + 1) | 0;
    sndMax[c] = sndNxt[c];
    armRto(c);
    transmit.append(f, LEN_L2L3 + size, LEN_L2L3 + size, PLAIN, 0, 1, 0, flowHash[c]);
    return true;
  }

  return { trainBytes, windowOpened, armRto, linkBytes, segment, sent, bareAck, linksFor, trainLimit, resend, syn };
}
