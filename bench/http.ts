/**
 * How many HTTP requests a second, over kept connections and with a connection each?
 *
 *   npm run bench -- http
 */
import { join } from 'node:path';
import { perSecond } from './load.ts';
import { group, matrix } from './matrix.ts';
import { hasProgram, ROOT } from './program.ts';
import type { Question } from './question.ts';

/** What the example serves: its index is the body that the others send. */
const EXAMPLE_ROOT = join(ROOT, 'bench/servers/root');

const requests = [perSecond('requests')];
const casesOf = (what: string) => [
  { name: `${what} keep-alive`, load: { mode: 'http' as const, connections: 64, size: 1 }, measures: requests },
  { name: `${what} close`, load: { mode: 'http-close' as const, connections: 64, size: 1 }, measures: requests },
];

export const http: Question = {
  name: 'http',
  asks: 'HTTP requests a second over 64 connections, kept (keep-alive) and one each (close); the http-server example beside it',
  method:
    'Both sides parse and validate the whole request head, and answer with the same body of 13 bytes and a Date. The client is wrk where it is installed, with one thread, else the C client; `http keep-alive ab` is asked by ab, which uses HTTP/1.0. The C client verifies answers, body included, before each round of theirs. `http-server` is our example, which looks a file up for each request; its peer is the same node:http server. On the switch both clients are JavaScript.',
  seconds: 2,
  rounds: 5,
  run: (plan, sheet) => {
    const client = hasProgram('wrk') ? 'wrk' : 'load';
    return matrix(
      [
        group('http', 'node:http', casesOf('http'), client),
        {
          ...group('http', 'node:http', casesOf('http-server'), client),
          onSwitch: false,
          ours: { module: 'http-server', args: ['--root', EXAMPLE_ROOT, '--listen', '7000'] },
        },
        {
          ...group(
            'http',
            'node:http',
            [casesOf('http')[0]!].map((c) => ({ ...c, name: `${c.name} ab` })),
            'ab',
          ),
          onSwitch: false,
          needs: ['ab'],
        },
      ],
      plan,
      sheet,
    );
  },
};
