/**
 * One number names any socket of a worker. Every kind has a range of its own, so that a comparison says what an id is:
 *
 *   0 … maxConnections-1     TCP listeners and connections, the columns of the Tcb
 *   … +maxDatagrams-1        UDP sockets, the columns of udp/table.ts
 *   the last 2 * pipes       ends of pipes, two by two (pipe.ts)
 *
 * A further kind takes the range behind the last one. It adds its end here, its words to arenaPlan.ts, itself to the ready
 * list (`Ready.add`, in the order of the ids) and to the table that hands calls on (socketTable.ts).
 */
import type { StackConfig } from './env.ts';

export interface SocketIds {
  readonly tcpEnd: number;
  readonly udpEnd: number;
  readonly pipeFirst: number;
  /** Ids of all kinds. */
  readonly total: number;
}

export function socketIds(config: StackConfig): SocketIds {
  const tcpEnd = config.maxConnections;
  const udpEnd = tcpEnd + config.maxDatagrams;
  const pipeFirst = udpEnd;
  return { tcpEnd, udpEnd, pipeFirst, total: pipeFirst + 2 * config.pipes };
}
