/** RST by the book (RFC 9293 section 3.5.2): for segments that belong to nobody, and for connections that are cut. */
import * as counterIndex from '../../rings/counters.ts';
import * as layoutNumbers from '../../rings/layout.ts';
import { fold, pseudoSum4 } from '../../wire/checksum.ts';
import * as ipv4Numbers from '../../wire/ipv4.ts';
import * as tcpNumbers from '../../wire/tcp.ts';
import type { Machine } from './machine.ts';
import { bareSeq } from './segment.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { C_TCP_OUT_RSTS, C_TCP_OUT_SEGS } = counterIndex;
const { F_CSUM_PARTIAL, F_IPCSUM_OK, F_TCP } = layoutNumbers;
const { PROTO_TCP } = ipv4Numbers;
const { ACK, LEN_TCP, RST } = tcpNumbers;

export interface Reset {
  /** Answers a segment (never a RST). `ports` as received: remote << 16 | local; `lenSeq` counts SYN and FIN. */
  answer(remoteIp: number, localIp: number, ports: number, flags: number, seq: number, ack: number, lenSeq: number): void;
  /** Cuts a synchronized connection: <SEQ=SND.NXT><CTL=RST>, with the ACK most receivers want to see. */
  cut(c: number): void;
}

// hot: per packet
/** Writes a bare RST at byte `tcp`: 20 bytes, its checksum field holding the pseudo-header's sum (F_CSUM_PARTIAL). `ports` as received. */
export function writeReset(
  view: DataView,
  tcp: number,
  from: number,
  to: number,
  ports: number,
  seq: number,
  ack: number,
  flags: number,
): void {
  view.setInt32(tcp, (ports << 16) | (ports >>> 16));
  view.setInt32(tcp + 4, seq);
  view.setInt32(tcp + 8, ack);
  view.setInt32(tcp + 12, (5 << 28) | (flags << 16));
  view.setInt32(tcp + 16, fold(pseudoSum4(from, to, PROTO_TCP, LEN_TCP)) << 16);
}

export function createReset(m: Machine): Reset {
  const { localIp, remoteIp, ports: portsOf, rcvNxt } = m.tcb;
  const { transmit, counted } = m;
  const view = m.env.port.frames.view;

  function send(from: number, to: number, ports: number, seq: number, ack: number, flags: number): void {
    const f = transmit.start(to, PROTO_TCP, LEN_TCP);
    // No credit or no way back: the peer's next segment asks again.
    if (f < 0) return;
    const tcp = transmit.l4;
    view.setInt32(tcp - 8, from);
    writeReset(view, tcp, from, to, ports, seq, ack, flags);
    counted[C_TCP_OUT_RSTS]++;
    counted[C_TCP_OUT_SEGS]++;
    transmit.finish(f, F_TCP | F_CSUM_PARTIAL | F_IPCSUM_OK);
  }

  function answer(remote: number, local: number, ports: number, flags: number, seq: number, ack: number, lenSeq: number): void {
    if ((flags & RST) !== 0) return;
    if ((flags & ACK) !== 0) send(local, remote, ports, ack, 0, RST);
    else send(local, remote, ports, 0, (seq + lenSeq) | 0, RST | ACK);
  }

  function cut(c: number): void {
    send(localIp[c], remoteIp[c], portsOf[c], bareSeq(m, c), rcvNxt[c], RST | ACK);
  }

  return { answer, cut };
}
