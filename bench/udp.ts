/**
 * How many datagrams there and back a second, and how long does one take?
 *
 *   npm run bench -- udp
 */
import { p50, p99, perSecond } from './load.ts';
import { group, matrix } from './matrix.ts';
import type { Question } from './question.ts';

export const udp: Question = {
  name: 'udp',
  asks: 'datagrams of 64 bytes there and back a second with 64 under way, and the time of one',
  method:
    'One socket a side. Each datagram has a number and a pattern of its own, and is compared when it comes back; one that has not after 500 ms is lost and sent anew. More than 1 % of them lost fails the case.',
  seconds: 2,
  rounds: 5,
  run: (plan, sheet) =>
    matrix(
      [
        group('udp', 'node:dgram', [
          { name: 'udp 64', load: { mode: 'udp', connections: 64, size: 64 }, measures: [perSecond('round trips')] },
          { name: 'udp 1', load: { mode: 'udp', connections: 1, size: 64 }, measures: [p50, p99] },
        ]),
      ],
      plan,
      sheet,
    ),
};
