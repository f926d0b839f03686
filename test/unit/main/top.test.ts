// top: finding processes, reading their control blocks while they write, rates between two looks.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type ObservedThread, readControlFile, runningProcesses } from '../../../src/main/cli/controlFile.ts';
import { idleShare } from '../../../src/main/cli/liveTable.ts';
import { choose, compare, observe } from '../../../src/main/cli/top.ts';
import { ConfigError } from '../../../src/main/config/configError.ts';
import {
  formatControl,
  planControl,
  ROLE_DISPATCHER,
  ROLE_MAIN,
  ROLE_WORKER,
  T_CPU,
  T_EPOCH,
  T_LISTENERS,
  T_ROLE,
  T_TID,
  T_WORKER,
  ThreadRecord,
} from '../../../src/rings/control.ts';
import {
  C_APP_CONNECTIONS,
  C_DROP,
  C_RING_HIGH_WATER,
  C_RX_BYTES,
  C_RX_PACKETS,
  C_STAGE_INPUT,
  C_TX_BYTES,
  C_TX_PACKETS,
  Counters,
} from '../../../src/rings/counters.ts';
import { DROP_NO_FRAME } from '../../../src/rings/drops.ts';
import { H_VERSION } from '../../../src/rings/layout.ts';

const dir = mkdtempSync(join(tmpdir(), 'flowring-top-'));
test.after(() => rmSync(dir, { recursive: true, force: true }));

interface Made {
  block: SharedArrayBuffer;
  records: ThreadRecord[];
  counters: Counters[];
}

/** A control block of main, a dispatcher, a worker that listens and one that does not. */
function make(): Made {
  const plan = planControl(4, 2);
  const block = new SharedArrayBuffer(plan.bytes);
  formatControl(block, plan);
  const rows = [
    ['main', ROLE_MAIN, -1],
    ['disp', ROLE_DISPATCHER, -1],
    ['work0', ROLE_WORKER, 0],
    ['work1', ROLE_WORKER, 1],
  ] as const;
  const records = rows.map(([name, role, worker], i) => {
    const r = new ThreadRecord(block, i);
    r.setName(name);
    r.set(T_ROLE, role);
    r.set(T_WORKER, worker);
    r.set(T_TID, 0);
    return r;
  });
  records[2]!.set(T_LISTENERS, 1);
  records[2]!.set(T_CPU, 3);
  return { block, records, counters: records.map((r) => new Counters(block, r.countersAt)) };
}

const save = (made: Made, name: string): string => {
  const path = join(dir, name);
  writeFileSync(path, Buffer.from(new Uint8Array(made.block)));
  return path;
};

test('a worker that died: its deaths are shown, and what it counted before is no rate of its successor', () => {
  const made = make();
  const look = (name: string): ObservedThread[] => readControlFile(save(made, name));
  made.records[2]!.set(T_TID, 100);
  made.counters[2]!.v[C_RX_PACKETS] = 1_000_000;
  made.counters[2]!.commit();
  const before = look('lived');
  made.records[2]!.set(T_TID, 200);
  made.records[2]!.set(T_EPOCH, 1);
  made.counters[2]!.v[C_RX_PACKETS] = 1_000_500;
  made.counters[2]!.commit();
  const report = compare(1, before, look('died'), 1);
  assert.equal(
    report.threads.map((t) => [t.name, t.deaths, t.rxPps]),
    [
      ['main', 0, 0],
      ['disp', 0, 0],
      ['work0', 1, 500],
      ['work1', 0, 0],
    ],
  );
  assert.is(report.totals.deaths, 1);
});

test('a control file reads as its threads: names, roles by listening, counters, drops, stages', () => {
  const made = make();
  const c = made.counters[2]!;
  c.v[C_RX_PACKETS] = 100;
  c.v[C_TX_PACKETS] = 50;
  c.v[C_RX_BYTES] = 1e9;
  c.v[C_RING_HIGH_WATER] = 17;
  c.v[C_DROP + DROP_NO_FRAME] = 3;
  c.v[C_STAGE_INPUT] = 1234;
  c.v[C_APP_CONNECTIONS] = 5;
  c.commit();
  const path = save(made, `flowring-${process.pid}`);
  const threads = observe(process.pid, [path]);
  assert.equal(
    threads.map((t) => `${t.name} ${t.role}`),
    ['main main', 'disp dispatcher', 'work0 server', 'work1 client'],
  );
  const t = threads[2]!;
  assert.is(t.cpu, 3);
  assert.is(t.rxPackets, 100);
  assert.is(t.ringHighWater, 17);
  assert.is(t.drops, 3);
  assert.equal(t.dropsByReason, { noFrame: 3 });
  assert.is(t.stages.input, 1234);
  const [c2, before] = [made.counters[2]!, threads];
  c2.v[C_RX_BYTES]! += 5e8;
  c2.v[C_TX_BYTES]! += 5e8;
  c2.v[C_RX_PACKETS]! += 1000;
  c2.commit();
  save(made, `flowring-${process.pid}`);
  const report = compare(process.pid, before, observe(process.pid, [path]), 2);
  assert.is(report.threads[2]!.gbps, 4);
  assert.is(report.threads[2]!.rxPps, 500);
  assert.is(report.threads[2]!.rxPackets, 1100);
  assert.is(report.totals.gbps, 4);
  assert.is(report.totals.drops, 3);
  assert.is(report.totals.connections, 5);
  assert.is(report.seconds, 2);
  rmSync(path);
});

test("the kernel's figures of a live thread take the place of what the thread could not tell", () => {
  const made = make();
  made.records[0]!.set(T_TID, process.pid);
  const path = save(made, `flowring-${process.pid}`);
  const [main] = observe(process.pid, [path]) as [ObservedThread];
  assert.ok(main.cpuSeconds > 0.01, String(main.cpuSeconds));
  assert.ok(main.cpu >= 0);
  rmSync(path);
});

test('several runtimes of one process: main once', () => {
  const a = save(make(), `flowring-${process.pid}`);
  const b = save(make(), `flowring-${process.pid}.1`);
  const running = runningProcesses(dir).get(process.pid);
  assert.equal(running, [a, b]);
  assert.equal(
    observe(process.pid, running!).map((t) => t.name),
    ['main', 'disp', 'work0', 'work1', 'disp', 'work0', 'work1'],
  );
  rmSync(a);
  rmSync(b);
});

test('every snapshot read while a thread writes is whole', async () => {
  const made = make();
  const path = save(made, `flowring-${process.pid}`);
  const stop = new SharedArrayBuffer(4);
  const flag = new Int32Array(stop);
  const countersAt = made.records[2]!.countersAt;
  const writer = new Worker(new URL('./controlWriter.js', import.meta.url), { workerData: { path, countersAt, stop } });
  const exited = new Promise((done) => writer.once('exit', done));
  await new Promise((done) => writer.once('online', done));
  let moved = 0;
  let last = -1;
  const until = performance.now() + 1500;
  while (performance.now() < until && moved < 2000) {
    const t = readControlFile(path)[2]!;
    assert.is(t.txPackets, t.rxPackets, 'torn');
    assert.ok(t.rxPackets >= last, 'backwards');
    if (t.rxPackets !== last) moved++;
    last = t.rxPackets;
  }
  Atomics.store(flag, 0, 1);
  await exited;
  assert.ok(moved > 20, `${moved} different snapshots: the writer was not running beside us`);
  rmSync(path);
});

test('a writer that died within its commit is shown as it is', () => {
  const made = make();
  made.counters[2]!.v[C_RX_PACKETS] = 7;
  made.counters[2]!.commit();
  const seq = new Int32Array(made.block, made.records[2]!.countersAt, 1);
  seq[0]! += 1;
  const path = save(made, `flowring-${process.pid}`);
  assert.is(readControlFile(path)[2]!.rxPackets, 7);
  rmSync(path);
});

test('what is no control block, or of another version, is refused by name', () => {
  const made = make();
  new Int32Array(made.block)[H_VERSION] = 99;
  const other = save(made, 'other');
  assert.throws(
    () => readControlFile(other),
    (e: Error) => e instanceof ConfigError && /other is no control block of this version: .*99/.test(e.message),
  );
  const short = join(dir, 'short');
  writeFileSync(short, 'hello');
  assert.throws(
    () => readControlFile(short),
    (e: Error) => e instanceof ConfigError && /short is no control block/.test(e.message),
  );
  const cut = join(dir, 'cut');
  writeFileSync(cut, Buffer.from(new Uint8Array(make().block)).subarray(0, 4096));
  assert.throws(
    () => readControlFile(cut),
    (e: Error) => e instanceof ConfigError && /cut is no control block: 4096 bytes/.test(e.message),
  );
});

test('idle: a sleep counts when it ends, yet no interval is idle for more than itself', () => {
  const at = (idleSeconds: number, cpuSeconds: number) => ({ idleSeconds, cpuSeconds });
  assert.is(idleShare(at(1.25, 0.5), at(1, 0.25), 0.5), 0.5);
  assert.is(idleShare(at(1, 0.5), at(1, 0.5), 0.5), 1, 'asleep all the time');
  assert.is(idleShare(at(2.5, 0.5), at(1, 0.5), 0.5), 1, 'and woken after it');
  assert.is(idleShare(at(1, 1), at(1, 0.5), 0.5), 0, 'busy all the time');
});

test('which process: the only one, the named one, never one that is gone or whose id was given away', async () => {
  assert.throws(
    () => choose(undefined, dir),
    (e: Error) => e instanceof ConfigError && /no flowring is running/.test(e.message),
  );
  const dead = spawnSync(process.execPath, ['-e', '']).pid!;
  const stale = save(make(), `flowring-${dead}`);
  const mine = save(make(), `flowring-${process.pid}`);
  save(make(), 'flowring-notes');
  assert.equal(choose(undefined, dir), { pid: process.pid, paths: [mine] });
  assert.not(existsSync(stale), 'a dead process leaves nothing behind');
  assert.ok(existsSync(join(dir, 'flowring-notes')));
  const child = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 20000)']);
  try {
    await new Promise((done) => child.once('spawn', done));
    save(make(), `flowring-${child.pid}`);
    const pids = [process.pid, child.pid!].sort((a, b) => a - b);
    assert.throws(
      () => choose(undefined, dir),
      (e: Error) =>
        e instanceof ConfigError &&
        e.message.includes(`several processes run flowring: ${pids.join(', ')}; name one, as: flowring top ${pids[0]}`),
    );
    assert.is(choose(child.pid, dir).pid, child.pid);
    assert.throws(
      () => choose(1, dir),
      (e: Error) => e instanceof ConfigError && /^process 1 runs no flowring/.test(e.message),
    );
    const hourAgo = Date.now() / 1000 - 3600 * 24 * 365;
    utimesSync(join(dir, `flowring-${child.pid}`), hourAgo, hourAgo);
    assert.is(choose(undefined, dir).pid, process.pid, "a file older than the process of that id was another one's");
    assert.not(existsSync(join(dir, `flowring-${child.pid}`)));
  } finally {
    child.kill('SIGKILL');
  }
});

test.run();
