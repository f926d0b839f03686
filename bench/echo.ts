/**
 * How many messages go there and back, and how long does one take?
 *
 *   npm run bench -- echo
 */
import { p50, p99, perSecond } from './load.ts';
import { group, matrix } from './matrix.ts';
import type { Question } from './question.ts';

export const echo: Question = {
  name: 'echo',
  asks: 'messages of 64 bytes there and back a second over 64 connections, and the time of one over one',
  method:
    'Each connection has one message of 64 bytes under way; every byte that comes back is compared. `echo 1` is the median time of a round trip over one connection, `echo 1 p99` its 99th percentile.',
  seconds: 2,
  rounds: 5,
  run: (plan, sheet) =>
    matrix(
      [
        group('echo', 'node:net', [
          { name: 'echo 64', load: { mode: 'echo', connections: 64, size: 64 }, measures: [perSecond('round trips')] },
          { name: 'echo 1', load: { mode: 'echo', connections: 1, size: 64 }, measures: [p50, p99] },
        ]),
      ],
      plan,
      sheet,
    ),
};
