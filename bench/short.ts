/**
 * How many connections a second, each for one message?
 *
 *   npm run bench -- short
 */
import { perSecond } from './load.ts';
import { group, matrix } from './matrix.ts';
import type { Question } from './question.ts';

export const short: Question = {
  name: 'short',
  asks: 'connections a second, each connect, 64 bytes there and back, close; 64 at a time',
  method: 'The client closes first. Every byte that comes back is compared.',
  seconds: 2,
  rounds: 5,
  run: (plan, sheet) =>
    matrix(
      [
        group('echo', 'node:net', [
          { name: 'short 64', load: { mode: 'short', connections: 64, size: 64 }, measures: [perSecond('connections')] },
        ]),
      ],
      plan,
      sheet,
    ),
};
