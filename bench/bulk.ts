/**
 * How fast does one connection move bytes, into a server and out of one?
 *
 *   npm run bench -- bulk
 */
import { gbits } from './load.ts';
import { startIperf } from './iperf.ts';
import { group, matrix } from './matrix.ts';
import type { Question } from './question.ts';

export const bulk: Question = {
  name: 'bulk',
  asks: 'Gbit/s over one connection, into a server that takes (sink) and out of one that gives (source)',
  method:
    "`bulk 1` sends to the server, which says at the end how much it got; `bulk 1 source` takes from it. Both ends compare the ends of every piece read with the pattern, and every 16th piece whole. Offloads are at the kernel's defaults, but for `bulk 1 1500`: frames of 1500 B on the veths, and every checksum made and verified. `bulk 1 iperf3` is `bulk 1` beside iperf3 and its own client, which check nothing: what C on the kernel's stack gets between the same namespaces.",
  seconds: 2,
  rounds: 5,
  run: (plan, sheet) =>
    matrix(
      [
        group('sink', 'node:net', [{ name: 'bulk 1', load: { mode: 'sink', connections: 1, size: 65536 }, measures: [gbits] }]),
        group('source', 'node:net', [{ name: 'bulk 1 source', load: { mode: 'source', connections: 1, size: 65536 }, measures: [gbits] }]),
        ...(['sink', 'source'] as const).map((mode) => ({
          ...group(mode, 'node:net', [
            {
              name: mode === 'sink' ? 'bulk 1 1500' : 'bulk 1 1500 source',
              load: { mode, connections: 1, size: 65536 },
              measures: [gbits],
            },
          ]),
          plainFrames: true,
          needs: ['ethtool'],
        })),
        {
          ...group('sink', 'iperf3', [{ name: 'bulk 1 iperf3', load: { mode: 'sink', connections: 1, size: 65536 }, measures: [gbits] }]),
          onSwitch: false,
          needs: ['iperf3'],
          peer: startIperf,
        },
      ],
      plan,
      sheet,
    ),
};
