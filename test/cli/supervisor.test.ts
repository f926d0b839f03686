// Workers that die under load, by kill, throw and endless loop: they are replaced, nothing is lost, survivors notice nothing.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type OpenRuntime, open } from '../../src/main/index.ts';
import { ChaosNetwork, type ChaosOptions } from './chaosNetwork.ts';

/** Kills, or as many as fit into the time: a restart is a thread's start and its program's import. */
const KILLS = Number(process.env.KILLS ?? 500);
const SECONDS = Number(process.env.KILL_SECONDS ?? 15);

async function chaos(o: ChaosOptions, kills: number, seconds: number, pauseMs: number): Promise<void> {
  const net = new ChaosNetwork(o);
  try {
    await net.start();
    const by = performance.now() + seconds * 1000;
    let k = 0;
    for (; k < kills && (k < 5 || performance.now() < by); k++) {
      await new Promise((done) => setTimeout(done, Math.random() * pauseMs));
      await net.kill(k % o.workers);
    }
    assert.equal(net.server.supervised, { deaths: k, restarts: k });
    const count = (): Map<string, number> => new Map(net.server.figures().map((f) => [f.name, f.role === 'worker' ? f.rxPackets : -1]));
    const before = count();
    await net.until(() => [...count()].every(([name, n]) => n < 0 || n > before.get(name)!), 'every worker serves afterwards');
    await net.finish();
    const { messages, ends } = net.reports();
    const [unexplained, problems] = [net.unexplained(), net.problems()];
    console.log(
      `${o.layout}: ${k} kills, ${messages} messages, ${ends.length} connections reset, ` +
        `${unexplained.length} errors of survivors’ clients, audit ${problems.length === 0 ? 'exact' : `off: ${problems.join('; ')}`}`,
    );
    assert.ok(messages > 0);
    assert.equal(unexplained, []);
    assert.equal(problems, []);
  } finally {
    await net.abandon();
  }
}

test('dispatcher, 3 workers: kills under load; every frame home, books balance, survivors’ clients see no error', async () => {
  await chaos({ layout: 'dispatcher', workers: 3, clients: 2, connections: 16, size: 512 }, KILLS, SECONDS, 20);
});

test('dispatcher-rx-tx, 2 workers: the same with a thread that sends', async () => {
  await chaos({ layout: 'dispatcher-rx-tx', workers: 2, clients: 2, connections: 8, size: 3000 }, 20, 8, 50);
});

test('inline: the thread that dies is the broker, too', async () => {
  await chaos({ layout: 'inline', workers: 1, clients: 2, connections: 4, size: 512 }, 6, 15, 800);
});

test('run-to-completion, 3 workers: each buries its forerunner, queue 0 with the host state among them', async () => {
  await chaos({ layout: 'run-to-completion', workers: 3, clients: 2, connections: 16, size: 3000 }, 40, 10, 100);
});

for (const [who, victims] of [
  ['the one with the host state', [0]],
  ['another', [2]],
  ['all at once', [0, 1, 2]],
] as const)
  test(`run-to-completion, nobody restarted: a kill under load ends the run, every frame comes home, books balance: ${who}`, async () => {
    const net = new ChaosNetwork({
      layout: 'run-to-completion',
      workers: 3,
      clients: 1,
      connections: 16,
      size: 2000,
      serverSets: ['supervise=fail'],
    });
    try {
      await net.start();
      await new Promise((done) => setTimeout(done, 300 + Math.random() * 200));
      const ended = net.server.finished().then(
        () => 'no failure',
        (e: Error) => e.message,
      );
      await Promise.all(victims.map((w) => net.server.kill(w)));
      assert.match(await ended, /it was killed/);
      await Promise.all(net.clients.map((c) => c.close()));
      await net.server.close().catch(() => undefined);
      assert.equal(net.problems(), []);
    } finally {
      await net.abandon();
    }
  });

for (const layout of ['dispatcher', 'dispatcher-rx-tx', 'inline'] as const)
  test(`${layout}: workers killed while the run drains under load: every frame home, books balance`, async () => {
    for (let round = 0; round < 2; round++) {
      const workers = layout === 'inline' ? 1 : 3;
      const net = new ChaosNetwork({ layout, workers, clients: 2, connections: 8, size: 2000 });
      try {
        await net.start();
        await new Promise((done) => setTimeout(done, 200));
        const closed = net.server.close();
        await new Promise((done) => setTimeout(done, Math.random() * 60));
        await Promise.all(Array.from({ length: workers }, (_, w) => net.server.kill(w).catch(() => undefined)));
        await closed;
        await Promise.all(net.clients.map((c) => c.close()));
        assert.equal(net.problems(), []);
      } finally {
        await net.abandon();
      }
    }
  });

const dir = mkdtempSync(join(tmpdir(), 'flowring-supervisor-'));
test.after(() => rmSync(dir, { recursive: true, force: true }));

/** Listens on port 80 of every worker; what main posts is done at once. */
const MORTAL = join(dir, 'mortal.mjs');
writeFileSync(
  MORTAL,
  `import * as m from 'flowring/mtcp';
import { parentPort } from 'node:worker_threads';
const mctx = m.createContext();
const ep = m.epollCreate(mctx);
const s = m.socket(mctx, m.AF_INET, m.SOCK_STREAM);
m.bind(mctx, s, { port: 80 });
m.listen(mctx, s);
m.epollCtl(mctx, ep, m.EPOLL_CTL_ADD, s, { events: m.EPOLLIN });
m.run(mctx, ep, () => {});
parentPort.on('message', (what) => {
  if (what === 'throw') throw new TypeError('thrown by the program');
  const until = what === 'loop' ? Infinity : Date.now() + what;
  while (Date.now() < until);
});
`,
);

async function until(runtime: OpenRuntime, restarts: number, withinMs: number): Promise<void> {
  const by = performance.now() + withinMs;
  while (runtime.supervised().restarts < restarts) {
    assert.ok(performance.now() < by, `no restart within ${withinMs} ms`);
    await new Promise((done) => setTimeout(done, 10));
  }
}

function allFree(runtime: OpenRuntime): void {
  const audit = runtime.audit();
  assert.is(audit.free, audit.total, JSON.stringify(audit));
}

for (const layout of ['dispatcher', 'inline', 'run-to-completion'] as const)
  test(`${layout}: a throw, an endless loop and a kill are each followed by a restart; nobody hears twice that it listens`, async () => {
    const runtime = await open({ layout, workers: layout === 'inline' ? 1 : 2, 'supervise.watchdog-ms': 1500 });
    const heard: number[] = [];
    runtime.onListening((_address, port) => heard.push(port));
    await runtime.run(MORTAL);
    runtime.postMessage(0, 'throw');
    await until(runtime, 1, 30_000);
    runtime.postMessage(0, 'loop');
    await until(runtime, 2, 40_000);
    await runtime.kill(0);
    await until(runtime, 3, 30_000);
    assert.equal(runtime.supervised(), { deaths: 3, restarts: 3 });
    assert.equal(heard, [80]);
    assert.is(runtime.figures().find((f) => f.worker === 0)!.deaths, 3);
    await runtime.close();
    allFree(runtime);
  });

test('a program that blocks for 2 s, and one that idles, are left alone', async () => {
  const runtime = await open({ workers: 2, 'supervise.watchdog-ms': 6000 });
  await runtime.run(MORTAL);
  runtime.postMessage(0, 2000);
  await new Promise((done) => setTimeout(done, 8500));
  assert.equal(runtime.supervised(), { deaths: 0, restarts: 0 });
  await runtime.close();
  allFree(runtime);
});

test('supervise fail: the first death ends the run with the worker’s error; so do more deaths than are forgiven', async () => {
  for (const [config, deaths] of [
    [{ supervise: 'fail' }, 1],
    [{ 'supervise.restarts': 1, 'supervise.backoff-ms': 0 }, 2],
  ] as const) {
    const runtime = await open({ workers: 1, ...config });
    await runtime.run(MORTAL);
    const ended = runtime.finished().then(
      () => 'nothing',
      (e: Error) => e.message,
    );
    for (let i = 1; i <= deaths; i++) {
      runtime.postMessage(0, 'throw');
      if (i < deaths) await until(runtime, i, 30_000);
    }
    assert.is(await ended, 'thrown by the program');
    await runtime.close();
    allFree(runtime);
  }
});

test.run();
