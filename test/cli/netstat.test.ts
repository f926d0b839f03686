// flowring netstat against a demo that runs: both ends of every connection, the listeners of every worker, the same counters
// as the control block has; and nothing stays behind, however the process ends.
import { existsSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { NetstatReport } from '../../src/main/cli/netstat.ts';
import { flowring } from './command.ts';
import { start } from './running.ts';

const CONNECTIONS = 5;
const CLIENTS = 2;
const DEMO = ['demo', '--seconds', '30', '--clients', String(CLIENTS), '--connections', String(CONNECTIONS), '--json'];

async function withDemo(signal: NodeJS.Signals, body: (pid: number) => Promise<void> | void): Promise<void> {
  const demo = start(...DEMO);
  try {
    await body(demo.pid);
  } finally {
    demo.signal(signal);
    await demo.ends();
  }
}

const netstat = (...args: string[]): NetstatReport => {
  const r = flowring(['netstat', ...args, '--json']);
  assert.is(r.code, 0, r.stderr);
  return JSON.parse(r.stdout) as NetstatReport;
};

/** The report once all connections stand; before that the process may not be there yet. */
async function established(pid: number): Promise<NetstatReport> {
  for (let i = 0; i < 60; i++) {
    await sleep(250);
    const r = flowring(['netstat', String(pid), '--json']);
    if (r.code !== 0) continue;
    const report = JSON.parse(r.stdout) as NetstatReport;
    if (report.sockets.filter((s) => s.state === 'ESTABLISHED').length === 2 * CONNECTIONS * CLIENTS) return report;
  }
  throw new Error('the connections did not come');
}

test('both ends of every connection, listeners, statistics', async () => {
  await withDemo('SIGINT', async (pid) => {
    const report = await established(pid);
    assert.is(report.pid, pid);
    const end = (address: string, port: number): string => `${address}:${port}`;
    const open = report.sockets.filter((s) => s.state === 'ESTABLISHED');
    const one = new Set(open.map((s) => `${end(s.localAddress, s.localPort)} ${end(s.remoteAddress, s.remotePort)}`));
    for (const s of open)
      assert.ok(one.has(`${end(s.remoteAddress, s.remotePort)} ${end(s.localAddress, s.localPort)}`), JSON.stringify(s));
    for (const s of open) assert.ok(s.recvQ >= 0 && s.sendQ >= 0 && s.sendQ <= 1 << 20 && s.timerMs <= 60_000, JSON.stringify(s));
    const listeners = netstat(String(pid), '--listening').sockets;
    assert.ok(listeners.length >= 1 && listeners.every((s) => s.state === 'LISTEN' && s.localPort === 7), JSON.stringify(listeners));
    assert.is(new Set(listeners.map((s) => s.thread)).size, listeners.length, 'one a worker');
    assert.equal(
      netstat(String(pid), '--udp').sockets.filter((s) => s.proto === 'tcp'),
      [],
    );
    const sum = (name: string): number => report.statistics.reduce((n, t) => n + (t.counters[name] ?? 0), 0);
    assert.is(sum('tcpActiveOpens'), CONNECTIONS * CLIENTS);
    assert.is(sum('tcpPassiveOpens'), CONNECTIONS * CLIENTS);
    assert.ok(sum('rxPackets') > 0);
    const table = flowring(['netstat', String(pid)]);
    assert.match(table.stdout, /^Proto +Thread +Recv-Q +Send-Q +Local address/);
    assert.match(flowring(['netstat', String(pid), '--statistics']).stdout, /tcpActiveOpens[\s\S]*Drops, by thread and reason/);
    for (const suffix of ['', '.1', '.2']) assert.is(statSync(`/dev/shm/flowring-${pid}${suffix}.sock`).mode & 0o777, 0o600);
  });
});

for (const signal of ['SIGINT', 'SIGKILL'] as const)
  test(`no socket stays behind after ${signal}`, async () => {
    let path = '';
    await withDemo(signal, async (pid) => {
      path = `/dev/shm/flowring-${pid}.sock`;
      for (let i = 0; i < 100 && !existsSync(path); i++) await sleep(100);
      assert.ok(existsSync(path), 'it never came');
    });
    if (signal === 'SIGKILL') flowring(['netstat', '1']);
    assert.not.ok(existsSync(path));
  });

test('a process that is none of ours: one line, exit code 2', () => {
  const r = flowring(['netstat', '1']);
  assert.is(r.code, 2);
  assert.match(r.stderr, /^flowring: process 1 runs no flowring that can be asked here; .*\n$/);
});

test.run();
