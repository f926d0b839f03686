/**
 * Per-thread counters. One writer: it adds to doubles of its own with plain stores and `commit()`s them to the block that
 * others read, under a seqlock, so that a reader sees one consistent snapshot. Doubles are exact to 2^53. Its own stand in
 * shared memory too, behind the snapshot: when the thread dies, its heir goes on with what it had counted.
 * A thread commits at least every 16 busy breaths and always before it sleeps.
 */
import * as dropReasons from './drops.ts';
import { DROP_NAME } from './drops.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { DROP_REASONS } = dropReasons;

export const C_RX_PACKETS = 0;
export const C_TX_PACKETS = 1;
export const C_RX_BYTES = 2;
export const C_TX_BYTES = 3;
export const C_RX_BURSTS = 4;
export const C_TX_BURSTS = 5;
export const C_BREATHS = 6;
export const C_BUSY_BREATHS = 7;
export const C_SLEEPS = 8;
/** Nanoseconds asleep. */
export const C_IDLE_NS = 9;
export const C_RING_HIGH_WATER = 10;
/** Ring index stores (Atomics.store). */
export const C_PUBLISHES = 11;
/** Ring slots put and taken: publishes ≤ slots / 16 + flushes. */
export const C_RING_SLOTS = 12;
/** Nanoseconds of CPU this thread used (CLOCK_THREAD_CPUTIME_ID), sampled. */
export const C_CPU_NS = 13;
export const C_SWITCHES_VOLUNTARY = 14;
export const C_SWITCHES_INVOLUNTARY = 15;
export const C_GC_COUNT = 16;
export const C_GC_NS = 17;
/** Received frames handed on: to a worker's ring or to the host (dispatcher), to a protocol (worker). */
export const C_RX_DELIVERED = 18;
export const C_REDIRECTED = 19;
/** Nanoseconds per stage of the breath, from one breath in 64 scaled up. */
export const C_STAGE_PULL = 20;
export const C_STAGE_INPUT = 21;
export const C_STAGE_APP = 23;
export const C_STAGE_OUTPUT = 24;
export const C_STAGE_PUSH = 25;
export const C_STAGE_REST = 26;
export const C_ARP_RX = 30;
export const C_ARP_TX = 31;
export const C_ICMP_RX = 32;
export const C_ICMP_TX = 33;
/** Received frames the dispatcher's own host state consumed (ARP): rxDelivered minus these went to workers. */
export const C_HOST_DELIVERED = 34;
// TCP, named after RFC 4022 where it has a name
export const C_TCP_ACTIVE_OPENS = 40;
export const C_TCP_PASSIVE_OPENS = 41;
export const C_TCP_ATTEMPT_FAILS = 42;
export const C_TCP_ESTAB_RESETS = 43;
export const C_TCP_CURR_ESTAB = 44;
export const C_TCP_IN_SEGS = 45;
export const C_TCP_OUT_SEGS = 46;
export const C_TCP_RETRANS_SEGS = 47;
export const C_TCP_OUT_RSTS = 48;
export const C_TCP_FAST_RETRANS = 49;
export const C_TCP_RTO_FIRED = 50;
export const C_TCP_OUT_OF_ORDER = 51;
export const C_TCP_DUP_ACKS_IN = 52;
export const C_TCP_CHALLENGE_ACKS = 53;
/** Payload bytes delivered in order to receive queues, and accepted from the application. */
export const C_TCP_BYTES_IN = 54;
export const C_TCP_BYTES_OUT = 55;
/** Payload bytes copied, every copy counted: at most 2 per payload byte each way. */
export const C_RX_BYTES_COPIED = 56;
export const C_TX_BYTES_COPIED = 57;
export const C_TCP_PREDICTED = 58;
export const C_TCP_TIME_WAIT_REUSED = 59;
export const C_TRAINS_RX = 60;
export const C_TRAINS_TX = 61;
/** Application's own figures: flowring examples and `npm start` use these. */
export const C_APP_BYTES_VERIFIED = 70;
export const C_APP_WRONG_BYTES = 71;
export const C_APP_CONNECTIONS = 72;
export const C_APP_FAILED = 73;
export const C_APP_OPERATIONS = 74;
// UDP, named after RFC 4113: datagrams delivered to a socket, for a port nobody has, sent; and payload bytes
export const C_UDP_IN_DATAGRAMS = 80;
export const C_UDP_NO_PORTS = 81;
export const C_UDP_OUT_DATAGRAMS = 82;
export const C_UDP_BYTES_IN = 83;
export const C_UDP_BYTES_OUT = 84;
/** ICMP errors that named a flow of ours and were believed, those among them that ask for smaller datagrams, and errors sent. */
export const C_ICMP_ERRORS_RX = 85;
export const C_ICMP_FRAG_NEEDED = 86;
export const C_ICMP_ERRORS_TX = 87;
export const C_DROP = 96;
export const COUNTERS = C_DROP + DROP_REASONS;

export const COUNTER_NAME: Readonly<Record<number, string>> = {
  0: 'rxPackets',
  1: 'txPackets',
  2: 'rxBytes',
  3: 'txBytes',
  4: 'rxBursts',
  5: 'txBursts',
  6: 'breaths',
  7: 'busyBreaths',
  8: 'sleeps',
  9: 'idleNs',
  10: 'ringHighWater',
  11: 'publishes',
  12: 'ringSlots',
  13: 'cpuNs',
  14: 'switchesVoluntary',
  15: 'switchesInvoluntary',
  16: 'gcCount',
  17: 'gcNs',
  18: 'rxDelivered',
  19: 'redirected',
  20: 'stagePullNs',
  21: 'stageInputNs',
  23: 'stageAppNs',
  24: 'stageOutputNs',
  25: 'stagePushNs',
  26: 'stageRestNs',
  30: 'arpRx',
  31: 'arpTx',
  32: 'icmpRx',
  33: 'icmpTx',
  34: 'hostDelivered',
  40: 'tcpActiveOpens',
  41: 'tcpPassiveOpens',
  42: 'tcpAttemptFails',
  43: 'tcpEstabResets',
  44: 'tcpCurrEstab',
  45: 'tcpInSegs',
  46: 'tcpOutSegs',
  47: 'tcpRetransSegs',
  48: 'tcpOutRsts',
  49: 'tcpFastRetrans',
  50: 'tcpRtoFired',
  51: 'tcpOutOfOrder',
  52: 'tcpDupAcksIn',
  53: 'tcpChallengeAcks',
  54: 'tcpBytesIn',
  55: 'tcpBytesOut',
  56: 'rxBytesCopied',
  57: 'txBytesCopied',
  58: 'tcpPredicted',
  59: 'tcpTimeWaitReused',
  60: 'trainsRx',
  61: 'trainsTx',
  70: 'appBytesVerified',
  71: 'appWrongBytes',
  72: 'appConnections',
  73: 'appFailed',
  74: 'appOperations',
  80: 'udpInDatagrams',
  81: 'udpNoPorts',
  82: 'udpOutDatagrams',
  83: 'udpBytesIn',
  84: 'udpBytesOut',
  85: 'icmpErrorsRx',
  86: 'icmpFragNeeded',
  87: 'icmpErrorsTx',
};

/** Bytes of one thread's counters in the control block: the seqlock line, the snapshot, the writer's own doubles. */
export const COUNTERS_BYTES = 128 + 2 * COUNTERS * 8;

export class Counters {
  /** The writer's side: `v[C_RX_PACKETS] += n`. */
  readonly v: Float64Array;
  private readonly shared: Float64Array;
  private readonly seq: Int32Array;

  /** `at`: byte offset in the control block. Goes on where the last writer of this place stopped, in the middle of a commit if need be. */
  constructor(block: SharedArrayBuffer, at: number) {
    this.v = new Float64Array(block, at + 128 + COUNTERS * 8, COUNTERS);
    this.seq = new Int32Array(block, at, 1);
    this.shared = new Float64Array(block, at + 128, COUNTERS);
    if ((Atomics.load(this.seq, 0) & 1) !== 0) Atomics.add(this.seq, 0, 1);
  }

  // hot: per burst
  commit(): void {
    const s = this.seq[0]!;
    Atomics.store(this.seq, 0, (s + 1) | 0);
    this.shared.set(this.v);
    Atomics.store(this.seq, 0, (s + 2) | 0);
  }
}

/** Reads one thread's counters; retries while the writer commits. Returns false if it never saw a quiet moment. */
export function readCounters(block: SharedArrayBuffer | ArrayBuffer, at: number, into: Float64Array): boolean {
  const seq = new Int32Array(block, at, 1);
  const shared = new Float64Array(block, at + 128, COUNTERS);
  for (let i = 0; i < 1000; i++) {
    const before = Atomics.load(seq, 0);
    if ((before & 1) !== 0) continue;
    into.set(shared);
    if (Atomics.load(seq, 0) === before) return true;
  }
  return false;
}

/** Drops by name, the zero ones left out. */
export function dropsByName(v: Float64Array): Record<string, number> {
  const out: Record<string, number> = {};
  for (let r = 1; r < DROP_REASONS; r++) if (v[C_DROP + r] !== 0) out[DROP_NAME[r]!] = v[C_DROP + r]!;
  return out;
}

export function dropsTotal(v: Float64Array): number {
  let n = 0;
  for (let r = 1; r < DROP_REASONS; r++) n += v[C_DROP + r]!;
  return n;
}
