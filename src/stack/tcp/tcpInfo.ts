/** What tcp(7) calls TCP_INFO: the state of one connection, read off its columns. Names and units are Linux's. */
import type { Machine } from './machine.ts';
import { FIN_WAIT_2, STATES, TIME_WAIT } from './states.ts';
import { T_EOF, T_RECOVERY, T_SACK, T_TS, T_WS } from './tcb.ts';

/** Made once by the caller, filled by `info`. Times are microseconds, windows and sizes as the comments say. */
export class TcpInfo {
  /** Linux's numbers: 1 ESTABLISHED, 2 SYN_SENT, 3 SYN_RECV, 4 FIN_WAIT1, 5 FIN_WAIT2, 6 TIME_WAIT, 7 CLOSE, 8 CLOSE_WAIT, 9 LAST_ACK, 10 LISTEN, 11 CLOSING. */
  tcpi_state = 0;
  /** 0 open, 1 disorder, 3 recovery, 4 loss. */
  tcpi_ca_state = 0;
  /** Timeouts in a row without an answer, probes in a row, and by how much the timeout is backed off. */
  tcpi_retransmits = 0;
  tcpi_probes = 0;
  /** 1 timestamps, 2 SACK, 4 window scale. */
  tcpi_options = 0;
  tcpi_snd_wscale = 0;
  tcpi_rcv_wscale = 0;
  tcpi_rto = 0;
  /** Bytes. */
  tcpi_snd_mss = 0;
  tcpi_rcv_mss = 0;
  /** Segments: out and not acknowledged; of them reported, believed lost, sent again in this recovery. */
  tcpi_unacked = 0;
  tcpi_sacked = 0;
  tcpi_lost = 0;
  tcpi_retrans = 0;
  /** Milliseconds since data was sent, since an acceptable segment came. */
  tcpi_last_data_sent = 0;
  tcpi_last_ack_recv = 0;
  tcpi_pmtu = 0;
  tcpi_rtt = 0;
  tcpi_rttvar = 0;
  /** Segments. */
  tcpi_snd_ssthresh = 0;
  tcpi_snd_cwnd = 0;
  /** Bytes: the peer's window, ours as it would be told now. */
  tcpi_snd_wnd = 0;
  tcpi_rcv_wnd = 0;
  /** Bytes of the receive buffer. */
  tcpi_rcv_space = 0;
  tcpi_total_retrans = 0;
  /** Exact to 2^53. */
  tcpi_bytes_acked = 0;
  tcpi_bytes_received = 0;
  tcpi_segs_out = 0;
  tcpi_segs_in = 0;
  /** Bytes written and not sent. */
  tcpi_notsent_bytes = 0;
}

/** By our state number (states.ts). */
const LINUX_STATE = [7, 10, 2, 3, 1, 4, 5, 8, 11, 9, 6];
const WRAP = 2 ** 32;

export function fillTcpInfo(m: Machine, c: number, into: TcpInfo): void {
  const t = m.tcb;
  const flags = t.flags[c];
  const state = t.state[c];
  const mss = t.mss[c] > 0 ? t.mss[c] : 1;
  const segments = (bytes: number): number => Math.ceil(bytes / mss);
  const recovering = (flags & T_RECOVERY) !== 0;
  const out = (t.sndMax[c] - t.sndUna[c]) | 0;
  into.tcpi_state = state < STATES ? LINUX_STATE[state] : 7;
  into.tcpi_ca_state = recovering ? 3 : t.retries[c] > 0 ? 4 : t.sackBytes[c] > 0 || t.dupAcks[c] > 0 ? 1 : 0;
  into.tcpi_retransmits = t.retries[c];
  into.tcpi_probes = t.keepProbes[c] > 0 ? t.keepProbes[c] : t.probes[c];
  into.tcpi_options = ((flags & T_TS) !== 0 ? 1 : 0) | ((flags & T_SACK) !== 0 ? 2 : 0) | ((flags & T_WS) !== 0 ? 4 : 0);
  into.tcpi_snd_wscale = t.sndScale[c];
  into.tcpi_rcv_wscale = t.rcvScale[c];
  into.tcpi_rto = t.rtoMs[c] * 1000;
  into.tcpi_snd_mss = t.mss[c];
  into.tcpi_rcv_mss = t.rcvMss[c];
  into.tcpi_unacked = segments(out);
  into.tcpi_sacked = segments(t.sackBytes[c]);
  into.tcpi_lost = recovering ? segments(t.lostBytes[c]) : 0;
  into.tcpi_retrans = recovering ? segments(t.rxtBytes[c]) : 0;
  into.tcpi_last_data_sent = (m.clock[1] - t.sentAtMs[c]) | 0;
  into.tcpi_last_ack_recv = (m.clock[1] - t.heardAtMs[c]) | 0;
  into.tcpi_pmtu = m.env.host.mtu();
  into.tcpi_rtt = t.srtt[c] >> 3;
  into.tcpi_rttvar = t.rttvar[c] >> 2;
  into.tcpi_snd_ssthresh = t.ssthresh[c] === 0x3fffffff ? 0x7fffffff : segments(t.ssthresh[c]);
  into.tcpi_snd_cwnd = segments(t.cwnd[c]);
  into.tcpi_snd_wnd = t.sndWnd[c];
  into.tcpi_rcv_wnd = (t.rcvAdv[c] - t.rcvNxt[c]) | 0;
  into.tcpi_rcv_space = t.rcvBuf[c];
  into.tcpi_total_retrans = t.retransmits[c];
  into.tcpi_segs_out = t.segsOut[c] >>> 0;
  into.tcpi_segs_in = t.segsIn[c] >>> 0;
  into.tcpi_notsent_bytes = Math.max(0, (t.sndUna[c] + t.sbLen[c] - t.sndNxt[c]) | 0);
  fillBytes(m, c, into);
}

/** SYN and FIN take a sequence number each and are no bytes. */
function fillBytes(m: Machine, c: number, into: TcpInfo): void {
  const t = m.tcb;
  const state = t.state[c];
  const finAcked = state === FIN_WAIT_2 || state === TIME_WAIT ? 1 : 0;
  const acked = ((t.sndUna[c] - t.iss[c]) >>> 0) + t.ackWraps[c] * WRAP - 1 - finAcked;
  const received = ((t.rcvNxt[c] - t.irs[c]) >>> 0) + t.rcvWraps[c] * WRAP - 1 - ((t.flags[c] & T_EOF) !== 0 ? 1 : 0);
  into.tcpi_bytes_acked = acked > 0 ? acked : 0;
  into.tcpi_bytes_received = received > 0 ? received : 0;
}
