/**
 * What a dead worker leaves: its connections, read from the columns in shared memory, and the RST that each peer is owed.
 *
 * The worker may have died between any two stores, so nothing here is believed beyond its own column: a connection counts
 * when it stands in the flow table and in a synchronized state. What is half made or half freed is passed over, or gets a
 * RST that its peer does not accept: such a peer's next segment is answered by the worker that comes after.
 */
import type { HostView } from '../../rings/hostState.ts';
import { NB_REACHABLE, NB_STALE } from '../../rings/hostState.ts';
import { H_TCB } from '../../rings/layout.ts';
import { fold, sum16 } from '../../wire/checksum.ts';
import { ETHERTYPE_IPV4, LEN_ETHERNET, setEthernet } from '../../wire/ethernet.ts';
import { LEN_IPV4, PROTO_TCP, setIpv4 } from '../../wire/ipv4.ts';
import { ACK, LEN_TCP, OFF_CHECKSUM, RST } from '../../wire/tcp.ts';
import { writeReset } from './reset.ts';
import { CONNECTED, LISTEN, SYN_RCVD } from './states.ts';
import { T_DEAD, T_HASHED, Tcb, TCB_ROW } from './tcb.ts';

/**
 * States whose peer has, or may have, a connection that it must be told about. Half-open, too: the ACK that completed it may have
 * been in the dead worker's rings, and a peer that waits to be spoken to would wait for ever.
 */
const OWED = (1 << SYN_RCVD) | CONNECTED;

/** Bytes of a RST from its Ethernet header on. */
export const LEN_RESET_FRAME = LEN_ETHERNET + LEN_IPV4 + LEN_TCP;

export class Remains {
  private readonly tcb: Tcb;
  private c = 0;
  /** The second RST of connection `c` comes next. */
  private second = false;

  private constructor(tcb: Tcb) {
    this.tcb = tcb;
  }

  /** Of the stack that last stood in this arena; null when it died before it had columns. */
  static of(arena: SharedArrayBuffer): Remains | null {
    return new Int32Array(arena, 0, H_TCB + 1)[H_TCB] === 0 ? null : new Remains(new Tcb(arena));
  }

  /** Local ports on which it listened. */
  listening(): Set<number> {
    const { state, ports, flags, end } = this.tcb;
    const found = new Set<number>();
    for (let c = 0; c < end; c += TCB_ROW) if (state[c] === LISTEN && (flags[c]! & T_DEAD) === 0) found.add(ports[c]! & 0xffff);
    return found;
  }

  /** Moves to the next peer that is owed a RST, past at most `looks` connections. 1 found, 0 not yet, -1 there are no more. */
  next(looks: number): number {
    const { end } = this.tcb;
    for (let i = 0; i < looks; i++) {
      if (this.c >= end) return -1;
      if (this.owed(this.c)) return 1;
      this.c += TCB_ROW;
    }
    return 0;
  }

  /** Who never had a segment from here has no connection, and its next SYN finds the worker that comes after. */
  private owed(c: number): boolean {
    const { state, flags, segsOut } = this.tcb;
    return ((1 << state[c]!) & OWED) !== 0 && (flags[c]! & (T_HASHED | T_DEAD)) === T_HASHED && segsOut[c] !== 0;
  }

  /**
   * Writes the Ethernet frame of the RST that is due: LEN_RESET_FRAME bytes at byte `eth`, checksums complete. False when the
   * way to the peer is not known. `told` moves on.
   *
   * The sequence number is SND.NXT (RFC 9293 section 3.10.5); what died before it was sent may make that too high for a peer
   * that insists on RCV.NXT (RFC 5961 section 3.2), so where they differ one at SND.UNA follows. A half-open connection's RST
   * has no ACK: a peer that never saw our SYN-ACK drops it (RFC 9293 section 3.10.7.3) and its next SYN finds the worker that
   * comes after.
   */
  write(view: DataView, eth: number, host: HostView, ident: number): boolean {
    const t = this.tcb;
    const c = this.c;
    const opening = t.state[c] === SYN_RCVD;
    const seq = opening ? (t.iss[c]! + 1) | 0 : this.second ? t.sndUna[c]! : t.sndMax[c]!;
    const from = t.localIp[c]!;
    const to = t.remoteIp[c]!;
    const hop = host.nextHop(to);
    if (hop === 0) return false;
    const state = host.mac(hop);
    // A neighbour that was forgotten meanwhile is where the connection's last segment went.
    const known = state === NB_REACHABLE || state === NB_STALE;
    const macHi = known ? host.macHi : t.macHi[c]!;
    const macLo = known ? host.macLo : t.macLo[c]!;
    if ((macHi | macLo) === 0) return false;
    setEthernet(view, eth, macHi, macLo, host.ownMacHi(), host.ownMacLo(), ETHERTYPE_IPV4);
    setIpv4(view, eth + LEN_ETHERNET, LEN_IPV4 + LEN_TCP, ident, PROTO_TCP, from, to);
    const tcp = eth + LEN_ETHERNET + LEN_IPV4;
    writeReset(view, tcp, from, to, t.ports[c]!, seq, opening ? 0 : t.rcvNxt[c]!, opening ? RST : RST | ACK);
    view.setUint16(tcp + OFF_CHECKSUM, ~fold(sum16(view, tcp, LEN_TCP, 0)) & 0xffff);
    return true;
  }

  /** The RST that was due is sent, or cannot be. */
  told(): void {
    const { sndUna, sndMax, state } = this.tcb;
    const c = this.c;
    this.second = !this.second && state[c] !== SYN_RCVD && sndUna[c] !== sndMax[c];
    if (!this.second) this.c += TCB_ROW;
  }
}
