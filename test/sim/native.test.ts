/** The same simulation with the addon's bursts and with their TypeScript twins: equal to the packet and the microsecond. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadNative, nativeProblem } from '../../src/ports/native.ts';
import { C_TCP_RETRANS_SEGS, C_TRAINS_RX } from '../../src/rings/counters.ts';
import { settleAccounts } from './ledger.ts';
import type { SimulationOptions } from './simulation.ts';
import { transfer } from './transfer.ts';

const seed = Number(process.env.SEED ?? Date.now() & 0x7fffffff);
console.log(`seed ${seed}`);

const native = loadNative();
const LINK = { loss: 0.05, reorder: 0.02, duplicate: 0.01, corrupt: 0.003, delayUs: 300, jitterUs: 100 };
const KINDS: readonly (readonly [string, Partial<SimulationOptions>])[] = [
  ['trains, checksums left to memory', { stack: { trainLinksMax: 6 } }],
  ['trains cut and checksummed by the stack', { trains: false, checksum: false }],
  ['trains with software checksums', { checksum: false, stack: { trainLinksMax: 6 } }],
  ['single segments coalesced', { trains: false, stack: { trainLinksMax: 1 } }],
  [
    'nothing coalesced, odd segments',
    { trains: false, checksum: false, stack: { coalesce: false, mss: 1001, chunkBytes: 4096, chunks: 1024 } },
  ],
];

/** Everything the run left behind in clocks and counters. */
function trace(o: SimulationOptions): { figures: unknown[]; trains: number; again: number } {
  const { net } = transfer(o, 600_000, 2);
  settleAccounts(net);
  const workers = net.hosts.flatMap((h) => h.workers);
  const sum = (c: number): number => workers.reduce((n, w) => n + w.counters.v[c]!, 0);
  return {
    figures: [net.us, net.rounds, ...net.hosts.map((h) => [...h.counters.v]), ...workers.map((w) => [...w.counters.v])],
    trains: sum(C_TRAINS_RX),
    again: sum(C_TCP_RETRANS_SEGS),
  };
}

if (native === null) {
  console.log(`SKIP native bursts in the simulation: ${nativeProblem()}`);
} else {
  for (const [name, more] of KINDS) {
    test(name, () => {
      // A run without a loss, or without a train where there should be one, proves nothing: the next seed, then.
      const trains = more.stack?.coalesce !== false;
      let used = seed;
      let a = trace({ seed: used, impair: LINK, ...more });
      while ((a.again === 0 || (trains && a.trains === 0)) && used < seed + 20) a = trace({ seed: ++used, impair: LINK, ...more });
      const b = trace({ seed: used, impair: LINK, ...more, native });
      assert.equal(b.figures, a.figures);
      assert.ok(a.again > 0, 'the link was not bad enough to prove anything');
      if (trains) assert.ok(a.trains > 0, 'no train was received');
    });
  }
  test.run();
}
