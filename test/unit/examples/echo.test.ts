import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { C_APP_BYTES_VERIFIED, C_APP_FAILED, C_APP_OPERATIONS, C_APP_WRONG_BYTES } from '../../../src/rings/counters.ts';
import { FakeLink } from '../api/fakeLink.ts';
import { FakeWorker } from '../api/fakeWorker.ts';
import { outcomeOf, runProgram } from './program.ts';

const SEED = Number(process.env.SEED ?? Date.now() & 0xffff);
console.log(`SEED=${SEED}`);

async function echo(args: string[], spoil?: (link: FakeLink) => void) {
  const server = new FakeWorker(0);
  await runProgram('echo-server', server, ['--quiet', '--listen', '9']);
  const client = new FakeWorker(0);
  Object.defineProperty(client, 'workers', { value: 1 });
  const link = new FakeLink(client, server, SEED);
  spoil?.(link);
  const outcome = await outcomeOf(() => runProgram('echo-client', client, ['--connect', '192.0.2.1:9', ...args]));
  return { ...outcome, v: client.counters.v, client, server };
}

test('every byte of every message comes back and is counted', async () => {
  for (const [size, count] of [
    [1, 50],
    [64, 200],
    [100_000, 6],
  ] as const) {
    const { v, lines, exitCode, client, server } = await echo(['--connections', '7', '--size', String(size), '--count', String(count)]);
    assert.is(exitCode, 0, lines.join('\n'));
    assert.is(v[C_APP_OPERATIONS], count);
    assert.is(v[C_APP_BYTES_VERIFIED], size * count);
    assert.is(v[C_APP_WRONG_BYTES], 0);
    assert.is(client.sockets.inUse(), 0, 'the client closed everything');
    assert.ok(server.sockets.inUse() <= 1 + 7);
    assert.is(client.stopped, 1);
    assert.match(
      lines.at(-1)!,
      new RegExp(`${count} messages of ${size} bytes .* ${size * count} bytes verified, 0 wrong, . connections, 0 failed`),
    );
  }
});

test('one flipped bit is one wrong byte and exit code 1', async () => {
  for (const size of [64, 5000]) {
    const { v, exitCode } = await echo(['--connections', '2', '--size', String(size), '--count', '10'], (link) => {
      const { receive } = link.client.sockets;
      let flipped = false;
      link.client.sockets.receive = (s, got) => {
        const bytes = Array.from(got);
        if (!flipped && bytes.length > 10) {
          bytes[7]! ^= 4;
          flipped = true;
        }
        receive.call(link.client.sockets, s, bytes);
      };
    });
    assert.is(v[C_APP_WRONG_BYTES], 1);
    assert.is(v[C_APP_BYTES_VERIFIED], size * 10 - 1);
    assert.is(exitCode, 1);
  }
});

test('a connection that the server drops is a failure', async () => {
  const { v, exitCode, lines } = await echo(['--connections', '3', '--count', '30'], (link) => {
    let left = 5;
    const { turn } = link;
    link.turn = () => {
      turn.call(link);
      if (--left === 0) link.client.sockets.set([...link.pairs.keys()][0]!, { eof: true }, 1);
    };
  });
  assert.is(v[C_APP_FAILED], 1);
  assert.is(exitCode, 1);
  assert.match(lines[0]!, /the server closed it/);
});

test('the time limit ends it; asked to stop it ends too, without failures', async () => {
  const timed = await echo(['--connections', '2', '--seconds', '0.05']);
  assert.is(timed.exitCode, 0, timed.lines.join('\n'));
  assert.ok(timed.v[C_APP_OPERATIONS]! > 0);
  const stopped = await echo(['--connections', '2', '--seconds', '100'], (link) => {
    let left = 60;
    const { turn } = link;
    link.turn = () => {
      turn.call(link);
      if (--left === 0) link.client.asked = true;
    };
  });
  assert.is(stopped.exitCode, 0, stopped.lines.join('\n'));
  assert.is(stopped.v[C_APP_FAILED], 0);
});

test('wrong options are one line with code FLOWRING_USAGE', async () => {
  const cases: [string, string[], RegExp][] = [
    ['echo-client', [], /--connect/],
    ['echo-client', ['--connect', '192.0.2.1:99999'], /ADDRESS:PORT/],
    ['echo-client', ['--connect', '7'], /--connect 7: has no address/],
    ['echo-client', ['--connect', '192.0.2.1:7', '--size', 'x'], /--size x/],
    ['echo-client', ['--conect', '192.0.2.1:7'], /Unknown option '--conect'.*Usage/],
    ['echo-server', ['--listen', '0'], /--listen 0/],
    ['bulk-client', ['--connect', '7'], /--connect 7: has no address/],
    ['bulk-client', ['--connect', '192.0.2.1:7', '--size', '0'], /--size 0/],
    ['bulk-server', ['--listen', 'x'], /--listen x/],
    ['bulk-server', ['--report', '0'], /--report 0/],
  ];
  for (const [name, args, message] of cases) {
    try {
      await runProgram(name, new FakeWorker(), args);
      assert.unreachable(`${name} ${args.join(' ')}`);
    } catch (error) {
      assert.is((error as { code?: string }).code, 'FLOWRING_USAGE', String(error));
      assert.match((error as Error).message, message);
    }
  }
});

test.run();
