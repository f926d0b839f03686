/** What SACK is for: many holes in one window, whole stacks on virtual time, the same link and seed with and without it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Impairment } from '../../src/ports/impairment.ts';
import { C_TCP_RTO_FIRED } from '../../src/rings/counters.ts';
import { settleAccounts } from './ledger.ts';
import { transfer } from './transfer.ts';

// A comparison of two runs, so the seed is fixed: SEED= asks for another, whose luck may differ.
const seed = Number(process.env.SEED ?? 1);
console.log(`seed ${seed}`);

const BUFFERS = { rcvbuf: 1 << 20, sndbuf: 1 << 20, chunks: 4096, maxConnections: 16 };

/** Virtual seconds that `bytes` each way take, over a few seeds. */
function seconds(sack: boolean, bytes: number, impair: Impairment, rounds: number, links: number): number {
  let sum = 0;
  let timeouts = 0;
  for (let i = 0; i < rounds; i++) {
    const trains = links > 1;
    const run = transfer({ seed: seed + i, trains, stack: { ...BUFFERS, sack, trainLinksMax: links }, impair }, bytes);
    for (const h of run.net.hosts) for (const w of h.workers) timeouts += w.counters.v[C_TCP_RTO_FIRED]!;
    settleAccounts(run.net);
    sum += run.seconds;
  }
  console.log(`  ${sack ? 'SACK' : 'NewReno'}: ${((rounds * 16 * bytes) / sum / 1e6).toFixed(2)} Mbit/s virtual, ${timeouts} timeouts`);
  return sum;
}

test('slow start into a queue that overflows: a hundred holes in a window cost less than three quarters of the time', () => {
  const impair = { delayUs: 20_000, rateBps: 50e6, queueBytes: 131_072, burstBytes: 20_000 };
  for (const links of [1, 8]) {
    const without = seconds(false, 4_000_000, impair, 1, links);
    const withSack = seconds(true, 4_000_000, impair, 1, links);
    assert.ok(withSack < without * 0.75, `${withSack} s with SACK, ${without} s without, ${links} links`);
  }
});

for (const loss of [0.01, 0.05, 0.1]) {
  test(`${loss * 100} % of the frames lost: every byte arrives, and sooner with SACK`, () => {
    const impair = { delayUs: 10_000, loss };
    const without = seconds(false, 1_000_000, impair, 16, 8);
    const withSack = seconds(true, 1_000_000, impair, 16, 8);
    assert.ok(withSack < without * 0.95, `${withSack} s with SACK, ${without} s without`);
  });
}

test.run();
