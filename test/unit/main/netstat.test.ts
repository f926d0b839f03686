// netstat's two halves: rows read from a worker's columns, and the socket at which a process answers questions.
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { questionSockets, runningProcesses } from '../../../src/main/cli/controlFile.ts';
import { ask, printSockets, printStatistics, readNetstat } from '../../../src/main/cli/netstat.ts';
import { ConfigError } from '../../../src/main/config/configError.ts';
import { Questions } from '../../../src/main/questions.ts';
import { listSockets } from '../../../src/main/socketList.ts';
import { createArena, SharedArena } from '../../../src/rings/arena.ts';
import { CLOSED, ESTABLISHED, FIN_WAIT_2, LISTEN, SYN_SENT, TIME_WAIT } from '../../../src/stack/tcp/states.ts';
import { U_CONNECTED, UdpTable, udpTableWords } from '../../../src/stack/udp/table.ts';
import { rowOf, T_DEAD, T_PERSIST, Tcb, tcbWords } from '../../../src/stack/tcp/tcb.ts';

const dir = mkdtempSync(join(tmpdir(), 'flowring-netstat-'));
test.after(() => rmSync(dir, { recursive: true, force: true }));

const OURS = 0xc0000202 | 0;
const THEIRS = 0xc0000201 | 0;
const NOW = 1_000_000;
const owner = { worker: 3, thread: 'work3', nowMs: NOW };
const all = { tcp: true, udp: true, listening: false };

/** Rows of sockets 1 and 2. */
const ONE = rowOf(1);
const TWO = rowOf(2);

function columns(): { tcb: Tcb; arena: SharedArrayBuffer } {
  const arena = createArena(tcbWords(8) * 4);
  return { tcb: new Tcb(new SharedArena(arena), 8), arena };
}

test('a worker without a stack has no sockets', () => {
  assert.equal(listSockets(createArena(4096), owner, all), []);
});

test('a listener: its accept queue and its backlog', () => {
  const { tcb, arena } = columns();
  tcb.state[ONE] = LISTEN;
  tcb.ports[ONE] = 80;
  tcb.acceptCount[ONE] = 5;
  tcb.backlog[ONE] = 128;
  const row = { proto: 'tcp', worker: 3, thread: 'work3', id: 1, localAddress: '0.0.0.0', localPort: 80, state: 'LISTEN' };
  const rest = { remoteAddress: '0.0.0.0', remotePort: 0, recvQ: 5, sendQ: 128, timer: 'off', timerMs: 0, retransmits: 0 };
  assert.equal(listSockets(arena, owner, { ...all, listening: true }), [{ ...row, ...rest }]);
  assert.equal(listSockets(arena, owner, { ...all, tcp: false }), []);
});

test('a connection: addresses, queues, and the timer that fires first', () => {
  const { tcb, arena } = columns();
  const row = (c: number) => listSockets(arena, owner, all).find((r) => r.id === c)!;
  tcb.state[TWO] = ESTABLISHED;
  tcb.localIp[TWO] = OURS;
  tcb.remoteIp[TWO] = THEIRS;
  tcb.ports[TWO] = (50000 << 16) | 7;
  tcb.rbLen[TWO] = 100;
  tcb.pfLen[TWO] = 11;
  tcb.sbLen[TWO] = 4000;
  const plain = row(2);
  assert.equal(
    [plain.localAddress, plain.localPort, plain.remoteAddress, plain.remotePort],
    ['192.0.2.2', 7, '192.0.2.1', 50000],
    'a port above 32767 is no negative number',
  );
  assert.equal([plain.recvQ, plain.sendQ, plain.timer], [111, 4000, 'off']);
  tcb.rtoAt[TWO] = NOW + 300;
  tcb.retries[TWO] = 2;
  assert.equal([row(2).timer, row(2).timerMs, row(2).retransmits], ['retransmit', 300, 2]);
  tcb.ackAt[TWO] = NOW + 40;
  assert.equal([row(2).timer, row(2).timerMs], ['ack', 40]);
  tcb.ackAt[TWO] = 0;
  tcb.flags[TWO] = T_PERSIST;
  tcb.probes[TWO] = 7;
  tcb.rtoAt[TWO] = NOW - 5;
  assert.equal([row(2).timer, row(2).timerMs, row(2).retransmits], ['persist', 0, 7]);
  tcb.state[TWO] = TIME_WAIT;
  tcb.rtoAt[TWO] = 0;
  tcb.lifeAt[TWO] = NOW + 60_000;
  assert.equal([row(2).state, row(2).timer, row(2).timerMs, row(2).sendQ], ['TIME_WAIT', 'timewait', 60_000, 0]);
});

test('what is closed, or freed and not yet reaped, is no socket', () => {
  const { tcb, arena } = columns();
  [CLOSED, SYN_SENT, FIN_WAIT_2].forEach((state, c) => {
    tcb.state[rowOf(c)] = state;
  });
  tcb.flags[TWO] = T_DEAD;
  assert.equal(
    listSockets(arena, owner, all).map((r) => r.state),
    ['SYN_SENT'],
  );
});

test('UDP sockets: those that have a port; what waits to be read; connected or not', () => {
  const arena = createArena(udpTableWords(8) * 4);
  const udp = new UdpTable(new SharedArena(arena), 8);
  const [a, b] = [udp.alloc(1 << 16, 1 << 16), udp.alloc(1 << 16, 1 << 16)];
  assert.equal(listSockets(arena, owner, all), [], 'open, not bound');
  udp.bind(a, 53);
  udp.bytes[a] = 96;
  udp.bind(b, 40_000);
  udp.ports[b] = (60_000 << 16) | 40_000;
  udp.localIp[b] = OURS;
  udp.remoteIp[b] = THEIRS;
  udp.flags[b]! |= U_CONNECTED;
  const brief = (listening: boolean) =>
    listSockets(arena, owner, { ...all, listening }).map((s) => [s.proto, s.localPort, s.remoteAddress, s.remotePort, s.state, s.recvQ]);
  const server = ['udp', 53, '0.0.0.0', 0, 'UNCONNECTED', 96];
  assert.equal(brief(false), [server, ['udp', 40_000, '192.0.2.1', 60_000, 'CONNECTED', 0]]);
  assert.equal(brief(true), [server]);
  assert.equal(listSockets(arena, owner, { ...all, udp: false }), []);
  udp.close(b);
  assert.equal(brief(false), [server]);
});

/** One exchange of lines. */
const lines = (path: string, text: string): Promise<Record<string, unknown>[]> =>
  new Promise((resolve, reject) => {
    let got = '';
    const want = text.split('\n').length - 1;
    const socket = connect(path, () => socket.write(text));
    socket.on('error', reject).setEncoding('utf8');
    socket.on('data', (more: string) => {
      got += more;
      if (got.split('\n').length - 1 < want) return;
      socket.destroy();
      resolve(
        got
          .trim()
          .split('\n')
          .map((l) => JSON.parse(l) as Record<string, unknown>),
      );
    });
  });

test('questions: many a connection, split or not; versions and names that are not known are refused', async () => {
  const path = join(dir, `flowring-${process.pid}.1.sock`);
  const q = new Questions(path, {
    twice: (question) => Number(question.n) * 2,
    fail: () => {
      throw new Error('on purpose');
    },
  });
  assert.is(await ask(path, { ask: 'twice', n: 21 }), 42);
  const two = await lines(path, '{"v":1,"ask":"twice","n":1}\n{"v":1,"ask":"twice","n":2}\n');
  assert.equal(two, [
    { v: 1, pid: process.pid, answer: 2 },
    { v: 1, pid: process.pid, answer: 4 },
  ]);
  const bad = await lines(path, '{"v":2,"ask":"twice"}\n{"v":1,"ask":"weather"}\nnull\n{\n{"v":1,"ask":"fail"}\n');
  assert.is(bad[0]!.error, 'version 2 is not spoken here, 1 is');
  assert.is(bad[1]!.error, 'no question "weather"; there are twice, fail');
  assert.is(bad[2]!.error, 'a question is one JSON object a line');
  assert.match(String(bad[3]!.error), /JSON/);
  assert.is(bad[4]!.error, 'on purpose');
  await ask(path, { ask: 'weather' }).then(
    () => assert.unreachable(),
    (e: unknown) => assert.ok(e instanceof ConfigError && /no question "weather"/.test(e.message), String(e)),
  );
  assert.is(statSync(path).mode & 0o777, 0o600, 'open to this user only');
  q.close();
  q.close();
  assert.not.ok(existsSync(path), 'its file is gone');
});

test('a socket that a killed process left is in nobody’s way, and is swept', () => {
  const gone = join(dir, 'flowring-4194999.sock');
  const control = join(dir, `flowring-${process.pid}`);
  const mine = join(dir, `flowring-${process.pid}.sock`);
  for (const path of [gone, control, mine]) writeFileSync(path, '');
  chmodSync(mine, 0o600);
  assert.equal([...questionSockets(dir)], [[process.pid, [mine]]]);
  assert.not.ok(existsSync(gone));
  assert.equal([...runningProcesses(dir)], [[process.pid, [control]]], 'a socket is no control block');
  rmSync(control);
  rmSync(mine);
});

test('a process must be named when there are several, and be one that can be asked', async () => {
  const options = { json: false, statistics: false, filter: all, directory: dir };
  const refuses = async (pid: number | undefined, text: RegExp): Promise<void> =>
    readNetstat({ ...options, pid }).then(
      () => assert.unreachable(),
      (e: unknown) => assert.ok(e instanceof ConfigError && text.test(e.message), String(e)),
    );
  await refuses(undefined, /no flowring is running here/);
  const mine = join(dir, `flowring-${process.pid}.sock`);
  writeFileSync(mine, '');
  await refuses(process.ppid, new RegExp(`process ${process.ppid} runs no flowring that can be asked here; running: ${process.pid}`));
  await refuses(process.pid, /has ended, or is about to/);
  const parent = join(dir, `flowring-${process.ppid}.sock`);
  writeFileSync(parent, '');
  await refuses(undefined, /several processes run flowring: .*; name one, as: flowring netstat \d+$/);
  rmSync(mine);
  rmSync(parent);
});

test('the tables', () => {
  const { tcb, arena } = columns();
  tcb.state[0] = LISTEN;
  tcb.ports[0] = 7;
  const table = printSockets(listSockets(arena, owner, all)).split('\n');
  assert.is(table[0], 'Proto  Thread  Recv-Q  Send-Q  Local address  Foreign address  State   Timer');
  assert.is(table[1], 'tcp    work3        0       0  0.0.0.0:7      0.0.0.0:*        LISTEN  off');
  const thread = { name: 'work0', role: 'worker', worker: 0, counters: { rxPackets: 2 }, drops: { noFrame: 3 } };
  const text = printStatistics([thread, { ...thread, name: 'work1', drops: {} }]);
  assert.match(text, / 4 {2}rxPackets/);
  assert.match(text, / 3 {2}noFrame \(work0\)/);
  assert.match(printStatistics([]), / 0 {2}none/);
});

test.run();
