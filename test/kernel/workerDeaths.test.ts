// Workers of a server on a TAP are killed while the kernel's clients talk and listen: connections of survivors see nothing, those
// of the dead a reset, also when they only listen; afterwards every worker serves, and every frame is home.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { open } from '../../src/main/index.ts';
import { type Daemon, missing, Namespace, REPOSITORY, STACK_IP } from './namespace.ts';

const DEVICE = 'frt8';
const KILLS = 12;
const CONNECTIONS = 24;
/** A connection may end that long after its server died: its RST, or the answer to its next segment. */
const GRACE_MS = 4000;
const self = fileURLToPath(import.meta.url);

interface End {
  at: number;
  id: number;
  worker: number;
  why: string;
}

type Layout = 'dispatcher' | 'inline' | 'run-to-completion';

interface Outcome {
  kills: { worker: number; at: number }[];
  supervised: { deaths: number; restarts: number };
  audit: { free: number; total: number };
}

/** Inside the namespace: the server, and who kills its workers once it gets SIGUSR2; it ends with SIGTERM. */
async function serve(layout: Layout, workers: number, log: string): Promise<void> {
  const runtime = await open({
    nic: `tap:${DEVICE}`,
    address: `${STACK_IP}/24`,
    layout,
    workers,
    'supervise.restarts': 1000,
    'supervise.backoff-ms': 0,
    'drain-ms': 2000,
  });
  const begin = new Promise<void>((done) => process.once('SIGUSR2', () => done()));
  const end = new Promise<void>((done) => process.once('SIGTERM', () => done()));
  await runtime.run(join(REPOSITORY, 'test/cli/programs/namedEcho.mjs'), [log]);
  console.log('listening');
  await begin;
  const kills: Outcome['kills'] = [];
  for (let k = 0; k < KILLS; k++) {
    await new Promise((done) => setTimeout(done, 20 + Math.random() * 100));
    const worker = k % workers;
    kills.push({ worker, at: Date.now() });
    await runtime.kill(worker);
    while (runtime.supervised().restarts <= k) await new Promise((done) => setTimeout(done, 5));
  }
  const supervised = runtime.supervised();
  console.log('killed');
  await end;
  await runtime.close();
  const outcome: Outcome = { kills, supervised, audit: runtime.audit() };
  console.log(`outcome ${JSON.stringify(outcome)}`);
}

const livesOf = (worker: number, lives: { worker: number; id: number }[]): number[] =>
  lives.filter((l) => l.worker === worker).map((l) => l.id);

async function chaos(layout: Layout, workers: number): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'flowring-deaths-'));
  const log = join(dir, 'lives');
  const ns = new Namespace();
  const server = ns.start(90_000, process.execPath, self, '--inside', layout, String(workers), log);
  let client: Daemon | null = null;
  try {
    await server.until('"listening"', (d) => d.stdout.includes('listening\n'), 20_000);
    ns.tap(DEVICE, true);
    client = ns.start(90_000, 'python3', join(REPOSITORY, 'test/kernel/deathsClient.py'), STACK_IP, '7', String(CONNECTIONS));
    await new Promise((done) => setTimeout(done, 500));
    server.signal('SIGUSR2');
    await server.until('the last kill', (d) => d.stdout.includes('killed\n'), 60_000);
    await new Promise((done) => setTimeout(done, 1000));
    const seen = await client.stop('SIGTERM', 20_000);
    assert.is(seen.code, 0, client.describe());
    const ended = await server.stop('SIGTERM', 20_000);
    assert.is(ended.code, 0, server.describe());
    const outcome = JSON.parse(/^outcome (.*)$/m.exec(ended.stdout)![1]!) as Outcome;
    const report = JSON.parse(seen.stdout) as { messages: number; ends: End[]; open: number[] };
    const lives = readFileSync(log, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { worker: number; id: number });
    judge(workers, outcome, report, lives);
    console.log(`    ${outcome.kills.length} kills, ${report.messages} messages, ${report.ends.length} connections reset`);
  } finally {
    await client?.stop('SIGKILL');
    await server.stop('SIGKILL');
    ns.remove();
    rmSync(dir, { recursive: true, force: true });
  }
}

function judge(
  workers: number,
  outcome: Outcome,
  report: { messages: number; ends: End[]; open: number[] },
  lives: { worker: number; id: number }[],
): void {
  assert.equal(outcome.supervised, { deaths: KILLS, restarts: KILLS });
  assert.is(outcome.audit.free, outcome.audit.total, JSON.stringify(outcome.audit));
  const died = new Map<number, number>();
  const alive = new Set<number>();
  for (let w = 0; w < workers; w++) {
    const ids = livesOf(w, lives);
    const deaths = outcome.kills.filter((k) => k.worker === w);
    assert.is(ids.length, deaths.length + 1);
    for (const [i, k] of deaths.entries()) died.set(ids[i]!, k.at);
    alive.add(ids.at(-1)!);
  }
  const explains = (at: number | undefined, e: End): boolean =>
    at !== undefined && e.at >= at - 2 && e.at <= at + GRACE_MS && e.why === 'ECONNRESET';
  assert.equal(
    report.ends.filter((e) => (e.id !== 0 ? !explains(died.get(e.id), e) : !outcome.kills.some((k) => explains(k.at, e)))),
    [],
    'ends that no death explains',
  );
  assert.ok(report.ends.length > 0);
  assert.ok(report.messages > 0);
  assert.equal(
    report.open.filter((id) => !alive.has(id)),
    [],
    'peers of the dead that nobody told',
  );
  assert.equal([...alive].filter((id) => !report.open.includes(id)).length, 0, 'workers that serve nobody afterwards');
}

if (process.argv.includes('--inside')) {
  const [layout, workers, log] = process.argv.slice(process.argv.indexOf('--inside') + 1);
  await serve(layout as Layout, Number(workers), log!);
} else {
  const lacks = missing(['ip', 'python3']);
  if (lacks.length > 0) {
    console.log(`SKIP ${lacks.join(', ')}`);
  } else {
    test('dispatcher, 2 workers', () => chaos('dispatcher', 2));
    test('inline', () => chaos('inline', 1));
    test('run-to-completion, 2 workers', () => chaos('run-to-completion', 2));
    test.run();
  }
}
