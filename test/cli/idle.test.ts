/**
 * An idle process in `balanced`: under 2 % of a core, and awake within 200 µs in the median when a frame comes, whether it sleeps
 * synchronously or in its event loop. The time is from the sender's stamp to the handler's first line. A machine that has other
 * work is slower for everybody: where no round was in time a node:dgram server is asked the same, and ours may need as long.
 */
import { spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ROOT } from './command.ts';
import { Running } from './running.ts';

/** Rounds until one median is in time; the peer's, where none was. */
const ROUNDS = 8;
const PEER_ROUNDS = 3;
const WAKES = 60;
/** Quiet for so long before each: it sleeps synchronously, in its event loop. */
const PACES_MS = [4, 25];
const LATE_US = 200;
const IDLE_SHARE = 0.02;
const IDLE_MS = 2000;

interface Wake {
  n: number;
  p50: number;
}

/** The lowest share of a core of three looks. */
async function idleShare(ours: Running): Promise<number> {
  const shares: number[] = [];
  for (let i = 0; i < 3 && !(shares.at(-1)! < IDLE_SHARE); i++) {
    await sleep(500);
    const [before, from] = [ours.cpuNs(), performance.now()];
    await sleep(IDLE_MS);
    shares.push((ours.cpuNs() - before) / 1e6 / (performance.now() - from));
  }
  return Math.min(...shares);
}

/** Medians of rounds, up to the first that is in time. */
async function medians(ours: Running, everyMs: number): Promise<number[]> {
  const found: number[] = [];
  while (found.length < ROUNDS && !(found.at(-1)! < LATE_US)) {
    ours.tell(JSON.stringify({ count: WAKES, everyMs }));
    const { n, p50 } = JSON.parse((await ours.says(/^(\{.*\})\n/m))[1]!) as Wake;
    assert.is(n, WAKES);
    found.push(p50);
  }
  return found;
}

/** What node's own server needs here and now: the best of its medians. */
async function peerMedian(everyMs: number): Promise<number> {
  const peer = new Running(['node', '0', '127.0.0.1'], { script: 'bench/servers/wake.mjs' });
  try {
    const port = (await peer.says(/^listening \S+:(\d+)$/m))[1]!;
    const client = ['bench/clients/wake.mjs', '127.0.0.1', port, String(WAKES), String(everyMs)];
    const found = Array.from({ length: PEER_ROUNDS }, () => {
      const theirs = spawnSync(process.execPath, client, { cwd: ROOT, encoding: 'utf8', timeout: 30_000 });
      return (JSON.parse(theirs.stdout) as Wake).p50;
    });
    return Math.min(...found);
  } finally {
    peer.signal('SIGTERM');
  }
}

test('idle in balanced: under 2 % of a core; the median wake-up under 200 µs', async () => {
  const ours = new Running(['-1', 'idle=balanced'], { script: 'dist/bench/wakeRig.js', boundMs: 120_000 });
  await ours.says(/^ready$/m);
  const share = await idleShare(ours);
  assert.ok(share < IDLE_SHARE, `${share} of a core`);
  assert.ok(share > 0, 'it was not measured');
  for (const everyMs of PACES_MS) {
    const mine = await medians(ours, everyMs);
    const best = Math.min(...mine);
    const theirs = best < LATE_US ? null : await peerMedian(everyMs);
    const told = `${everyMs} ms: ${mine.map(Math.round)} µs${theirs === null ? '' : `, node:dgram ${theirs.toFixed(0)} µs`}`;
    process.stdout.write(`  ${(share * 100).toFixed(2)} % of a core; medians, a datagram every ${told}\n`);
    assert.ok(best < (theirs ?? LATE_US), told);
  }
  assert.is(await ours.ends(), 0, ours.all);
});

test.run();
