/** Per-thread figures as `npm start`, `flowring top` and `figures()` show them, read from a control block. */
import {
  C_APP_BYTES_VERIFIED,
  C_APP_CONNECTIONS,
  C_APP_FAILED,
  C_APP_OPERATIONS,
  C_APP_WRONG_BYTES,
  C_CPU_NS,
  C_IDLE_NS,
  C_RING_HIGH_WATER,
  C_RX_BYTES,
  C_RX_DELIVERED,
  C_RX_PACKETS,
  C_STAGE_PULL,
  C_TX_BYTES,
  C_TX_PACKETS,
  COUNTERS,
  dropsByName,
  dropsTotal,
  readCounters,
} from '../rings/counters.ts';
import { HC_THREADS, ROLE_NAME, T_CPU, T_EPOCH, T_ROLE, T_STATE, T_TID, T_WORKER, ThreadRecord } from '../rings/control.ts';

export const STAGE_NAMES = ['pull', 'input', 'timers', 'app', 'output', 'push', 'rest'] as const;

export interface ThreadFigures {
  name: string;
  role: string;
  worker: number;
  tid: number;
  /** CPU last run on, -1 unknown. */
  cpu: number;
  state: number;
  /** Times this worker has died so far. */
  deaths: number;
  rxPackets: number;
  txPackets: number;
  rxBytes: number;
  txBytes: number;
  rxDelivered: number;
  cpuSeconds: number;
  idleSeconds: number;
  ringHighWater: number;
  drops: number;
  dropsByReason: Record<string, number>;
  /** Nanoseconds by stage of the breath. */
  stages: Record<string, number>;
  bytesVerified: number;
  wrongBytes: number;
  connections: number;
  failed: number;
  operations: number;
  /** Every counter, by index (rings/counters.ts). */
  counters: Float64Array;
}

/** Reads every thread of a control block; `tid` and `cpu` are -1 where the thread could not tell. */
export function readThreads(control: SharedArrayBuffer): ThreadFigures[] {
  const threads = new Int32Array(control, 0, 16)[HC_THREADS]!;
  return Array.from({ length: threads }, (_, i) => {
    const r = new ThreadRecord(control, i);
    const v = new Float64Array(COUNTERS);
    readCounters(control, r.countersAt, v);
    return figuresOf(r, v);
  });
}

function figuresOf(r: ThreadRecord, v: Float64Array): ThreadFigures {
  const stages: Record<string, number> = {};
  STAGE_NAMES.forEach((name, i) => {
    stages[name] = Math.round(v[C_STAGE_PULL + i]!);
  });
  return {
    name: r.name(),
    role: ROLE_NAME[r.get(T_ROLE)] ?? 'unknown',
    worker: r.get(T_WORKER),
    tid: r.get(T_TID),
    cpu: r.get(T_CPU),
    state: r.get(T_STATE),
    deaths: r.get(T_EPOCH),
    rxPackets: v[C_RX_PACKETS]!,
    txPackets: v[C_TX_PACKETS]!,
    rxBytes: v[C_RX_BYTES]!,
    txBytes: v[C_TX_BYTES]!,
    rxDelivered: v[C_RX_DELIVERED]!,
    cpuSeconds: v[C_CPU_NS]! / 1e9,
    idleSeconds: v[C_IDLE_NS]! / 1e9,
    ringHighWater: v[C_RING_HIGH_WATER]!,
    drops: dropsTotal(v),
    dropsByReason: dropsByName(v),
    stages,
    bytesVerified: v[C_APP_BYTES_VERIFIED]!,
    wrongBytes: v[C_APP_WRONG_BYTES]!,
    connections: v[C_APP_CONNECTIONS]!,
    failed: v[C_APP_FAILED]!,
    operations: v[C_APP_OPERATIONS]!,
    counters: v,
  };
}
