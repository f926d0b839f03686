/**
 * UDP of one worker (RFC 768, RFC 1122 section 4.1): the parts, put together.
 *
 *   frame → input → queue (frames, later chunks) → receiveFrom           sendTo → output → frame
 *
 * It shares TCP's chunk pool, move list, per-frame columns and ready list (tcp/machine.ts): a frame holds one or the other.
 */
import type { StackEnv } from '../env.ts';
import type { IcmpErrors } from '../icmpErrors.ts';
import type { Machine } from '../tcp/machine.ts';
import type { UserCopy } from '../tcp/userCopy.ts';
import { UdpSockets } from './calls.ts';
import { UdpInput } from './input.ts';
import { UdpOutput } from './output.ts';
import { DatagramQueue } from './queue.ts';
import { UdpTable } from './table.ts';

export interface Udp {
  readonly sockets: UdpSockets;
  readonly input: UdpInput;
  readonly output: UdpOutput;
  readonly queue: DatagramQueue;
}

/** `errors`: for datagrams to closed ports; `firstId`: the id of the first UDP socket. */
export function createUdp(env: StackEnv, m: Machine, user: UserCopy, errors: IcmpErrors, firstId: number): Udp {
  const table = new UdpTable(env.arena, env.config.maxDatagrams);
  const queue = new DatagramQueue(m, table, user);
  const output = new UdpOutput(env, table, m.transmit, m.neighbor, user);
  const input = new UdpInput(env, table, queue, m.ready, errors, firstId);
  return { sockets: new UdpSockets(env, table, queue, output, m.ready, firstId), input, output, queue };
}
