// Our clients on the stack against servers on the kernel's, over a TAP that existed before they came, or a veth.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fileURLToPath } from 'node:url';
import { type Daemon, FLOWRING, KERNEL_IP, missing, Namespace, type Result, STACK_IP } from './namespace.ts';

const DEVICE = 'frt1';
const SERVER = fileURLToPath(new URL('./kernelServer.js', import.meta.url));

const FAR = 'frt1s';

const WAYS = [
  { name: 'tap, 1 worker, inline', flags: ['--nic', `tap:${DEVICE}`, '--layout', 'inline', '--workers', '1'] },
  { name: 'tap, 2 workers, dispatcher', flags: ['--nic', `tap:${DEVICE}`, '--layout', 'dispatcher', '--workers', '2'] },
  { name: 'packet, 2 workers, dispatcher', flags: ['--nic', `packet:${FAR}`, '--layout', 'dispatcher', '--workers', '2'] },
];

interface Served {
  connections: number;
  requests: number;
  bytes: number;
}

/** Starts a kernel server, runs our client against it, and gives what the two say of it. */
async function against(ns: Namespace, kind: string, port: number, flags: readonly string[], example: string, args: readonly string[]) {
  const server: Daemon = ns.start(60_000, process.execPath, SERVER, kind, String(port));
  try {
    await server.until('"ready"', (d) => d.stdout.includes('ready\n'), 10_000);
    const nic = ['--address', `${STACK_IP}/24`, ...flags];
    const client = ns.start(45_000, process.execPath, FLOWRING, 'run', example, ...nic, '--', ...args);
    const result: Result = await client.end();
    const said = `${client.describe()}`;
    const end = await server.stop('SIGTERM');
    return { result, said, served: JSON.parse(end.stdout.trim().split('\n').at(-1)!) as Served };
  } finally {
    await server.stop('SIGKILL');
  }
}

type Check = [name: string, run: (ns: Namespace, flags: readonly string[]) => Promise<void>];

const CHECKS: readonly Check[] = [
  [
    'echo-client verifies every byte of 20000 messages over 50 connections',
    async (ns, flags) => {
      const args = ['--connect', `${KERNEL_IP}:7`, '--connections', '50', '--size', '1000', '--count', '20000'];
      const { result, said, served } = await against(ns, 'echo', 7, flags, 'echo-client', args);
      assert.is(result.code, 0, said);
      assert.is(served.connections, 50, said);
      assert.is(served.bytes, 20_000_000, said);
    },
  ],
  [
    'echo-client with messages of 256 KiB: windows fill and empty',
    async (ns, flags) => {
      const args = ['--connect', `${KERNEL_IP}:7`, '--connections', '4', '--size', '262144', '--count', '200'];
      const { result, said, served } = await against(ns, 'echo', 7, flags, 'echo-client', args);
      assert.is(result.code, 0, said);
      assert.is(served.bytes, 200 * 262144, said);
    },
  ],
  [
    'bulk-client: what it says it sent has arrived, over every connection',
    async (ns, flags) => {
      const args = ['--connect', `${KERNEL_IP}:9999`, '--connections', '6', '--bytes', '5000000'];
      const { result, said, served } = await against(ns, 'sink', 9999, flags, 'bulk-client', args);
      assert.is(result.code, 0, said);
      assert.is(served.connections, 6, said);
      assert.is(served.bytes, 30_000_000, said);
    },
  ],
  [
    'http-client: 5000 requests over kept connections, none failed',
    async (ns, flags) => {
      const args = ['--url', `http://${KERNEL_IP}:80/bytes/1024`, '--concurrency', '20', '--requests', '5000', '--keep-alive'];
      const { result, said, served } = await against(ns, 'http', 80, flags, 'http-client', args);
      assert.is(result.code, 0, said);
      assert.is(served.requests, 5000, said);
      assert.ok(served.connections <= 20, `${served.connections} connections for a concurrency of 20`);
    },
  ],
  [
    'http-client: 2000 requests, a connection each',
    async (ns, flags) => {
      const args = ['--url', `http://${KERNEL_IP}:80/bytes/1024`, '--concurrency', '20', '--requests', '2000'];
      const { result, said, served } = await against(ns, 'http', 80, flags, 'http-client', args);
      assert.is(result.code, 0, said);
      assert.equal([served.requests, served.connections], [2000, 2000], said);
    },
  ],
  [
    'a port nobody listens on: refused, exit 1, at once',
    async (ns, flags) => {
      const started = Date.now();
      const args = ['--connect', `${KERNEL_IP}:9`, '--connections', '2', '--size', '64', '--count', '2'];
      const { result, said } = await against(ns, 'echo', 7, flags, 'echo-client', args);
      assert.is(result.code, 1, said);
      assert.match(result.stderr + result.stdout, /refused/i, said);
      assert.ok(Date.now() - started < 15_000, `${Date.now() - started} ms`);
    },
  ],
];

const lacks = missing(['ip']);
if (lacks.length > 0) {
  for (const { name } of WAYS) for (const [check] of CHECKS) process.stdout.write(`SKIP ${name}: ${check}: ${lacks.join(', ')}\n`);
} else {
  for (const { name, flags } of WAYS) {
    const tests = suite(name);
    let ns: Namespace | null = null;
    tests.before(() => {
      ns = new Namespace();
      if (flags.includes(`packet:${FAR}`)) ns.veth(DEVICE, FAR);
      else ns.tap(DEVICE, false);
    });
    tests.after(() => ns?.remove());
    for (const [check, run] of flags.includes(`packet:${FAR}`) ? CHECKS.slice(0, 2) : CHECKS) tests(check, () => run(ns!, flags));
    tests.run();
  }
}
