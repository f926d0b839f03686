/**
 * What does an idle server cost, and how late is it when something comes?
 *
 *   npm run bench -- idle
 *
 * Times are from the sender's stamp to the first line of the handler, which is more than the wake-up: the way there, and the stack.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Network, networkProblem, NODE_IP, TAP_DEVICE, TAP_IP } from './network.ts';
import { cpuNanoseconds, pinned, Program, ROOT, runProgram } from './program.ts';
import type { Plan, PortName, Question, Sheet } from './question.ts';
import { rowOf } from './statistics.ts';

const BOUND_MS = 10 * 60_000;
const START_MS = 30_000;
const PORT = '7000';
const WAKES = 100;
const MODES = ['balanced', 'powersave', 'latency'] as const;
/** Between two datagrams: below 10 ms a thread sleeps synchronously in `balanced`, above in its event loop. */
const PACES = [4, 25] as const;
const script = (file: string): string => join(ROOT, file);

interface Wake {
  n: number;
  p50: number;
  p99: number;
}

/** A server that idles: how it is woken, and what it costs. */
interface Idler {
  name: string;
  wake(count: number, everyMs: number): Promise<Wake>;
  cpuNs(): number | null;
  stop(): Promise<void>;
}

const parse = (line: string): Wake => {
  const w = JSON.parse(line) as Wake;
  if (!(w.n > 0)) throw new Error('no answer');
  return w;
};

async function overSwitch(plan: Plan, mode: string): Promise<Idler> {
  const sets = [...plan.sets, `idle=${mode}`];
  const p = new Program([process.execPath, script('dist/bench/wakeRig.js'), String(plan.cores.server), ...sets], BOUND_MS);
  await p.until('"ready"', (q) => (/^ready$/m.test(q.stdout) ? true : null), START_MS);
  return {
    name: 'ours',
    wake: async (count, everyMs) => {
      p.stdout = '';
      p.child.stdin!.write(`${JSON.stringify({ count, everyMs })}\n`);
      return parse(await p.until('answer', (q) => /^(\{.*\})\n/m.exec(q.stdout)?.[1] ?? null, count * everyMs + START_MS));
    },
    cpuNs: () => cpuNanoseconds(p.pid),
    stop: async () => {
      p.child.stdin!.end();
      const code = await p.ended;
      if (code !== 0) throw new Error(`ended with ${code}: ${p.lastWords()}`);
    },
  };
}

/** A server process, and the kernel's client. */
async function behind(plan: Plan, name: string, command: string[], address: string, within: (c: string[]) => string[]): Promise<Idler> {
  const p = new Program(command, BOUND_MS);
  const port = await p.until(
    '"listening"',
    (q) => (/wake: serves/.test(q.stdout) ? PORT : (/^listening \S+:(\d+)$/m.exec(q.stdout)?.[1] ?? null)),
    START_MS,
  );
  return {
    name,
    wake: async (count, everyMs) => {
      const client = [process.execPath, script('bench/clients/wake.mjs'), address, port, String(count), String(everyMs)];
      const r = await runProgram(within(pinned(plan.cores.client, client)), count * everyMs + START_MS);
      return parse(r.stdout.trim() === '' ? '{}' : r.stdout);
    },
    cpuNs: () => cpuNanoseconds(p.pid),
    stop: async () => void (await p.stop()),
  };
}

function node(plan: Plan, net: Network | null): Promise<Idler> {
  const address = net === null ? '127.0.0.1' : NODE_IP;
  const command = pinned(plan.cores.server, [process.execPath, script('bench/servers/wake.mjs'), 'node', '0', address]);
  const place = net === null ? command : net.within(net.server, command);
  return behind(plan, `node:dgram, ${net === null ? 'loopback' : 'veth'}`, place, address, (c) =>
    net === null ? c : net.within(net.client, c),
  );
}

function overTap(plan: Plan, mode: string, net: Network): Promise<Idler> {
  const flags = [
    '--nic',
    `tap:${TAP_DEVICE}`,
    '--address',
    `${TAP_IP}/24`,
    '--layout',
    'inline',
    '--workers',
    '1',
    '--set',
    `idle=${mode}`,
  ];
  const cpus = ['--cpus', plan.cores.server < 0 ? 'none' : String(plan.cores.server)];
  const command = [process.execPath, script('bin/flowring.js'), 'run', script('bench/servers/wake.mjs'), ...flags, ...cpus, '--', PORT];
  return behind(plan, 'ours', net.within(net.client, command), TAP_IP, (c) => net.within(net.client, c));
}

/** Microseconds of CPU that an idle second takes. */
async function idleSecond(i: Idler, seconds: number): Promise<number> {
  const [before, from] = [i.cpuNs(), performance.now()];
  await sleep(seconds * 1000);
  const [after, until] = [i.cpuNs(), performance.now()];
  if (before === null || after === null) throw new Error('the server has ended');
  return (after - before) / 1000 / ((until - from) / 1000);
}

async function compare(plan: Plan, sheet: Sheet, port: PortName, mode: string, ours: Idler, peer: Idler): Promise<void> {
  const row = (name: string, a: number[], b: number[]): void =>
    void sheet.rows.push(
      rowOf({ case: `${name} ${mode}`, port, unit: 'µs', peerName: peer.name }, { ours: a, peer: b, oursCpu: [], peerCpu: [] }),
    );
  for (const pace of PACES) {
    const [a, b]: [Wake[], Wake[]] = [[], []];
    for (let i = 0; i < plan.rounds; i++) {
      a.push(await ours.wake(WAKES, pace));
      b.push(await peer.wake(WAKES, pace));
      plan.say(
        `wake ${pace} ms ${mode}, ${port}: round ${i + 1} of ${plan.rounds}: ${a[i]!.p50.toFixed(0)} against ${b[i]!.p50.toFixed(0)} µs`,
      );
    }
    for (const p of ['p50', 'p99'] as const)
      row(
        `wake ${pace} ms ${p}`,
        a.map((w) => w[p]),
        b.map((w) => w[p]),
      );
  }
  // A thread that spins uses its CPU: there is nothing to measure.
  if (mode === 'latency') return;
  // The client's last datagram is past.
  await sleep(1000);
  const [a, b]: [number[], number[]] = [[], []];
  for (let i = 0; i < plan.rounds; i++) {
    a.push(await idleSecond(ours, plan.seconds));
    b.push(await idleSecond(peer, plan.seconds));
  }
  row(
    'CPU of an idle second,',
    a,
    b.map((x) => Math.max(x, 1)),
  );
}

async function onPort(plan: Plan, sheet: Sheet, port: PortName, net: Network | null): Promise<void> {
  for (const mode of MODES) {
    const running: Idler[] = [];
    try {
      running.push(port === 'switch' ? await overSwitch(plan, mode) : await overTap(plan, mode, net!));
      running.push(await node(plan, net));
      await compare(plan, sheet, port, mode, running[0]!, running[1]!);
    } catch (error) {
      sheet.fail(`${mode}, ${port}`, (error as Error).message);
    }
    for (const r of running) await r.stop().catch((error: Error) => sheet.fail(`${mode}, ${port}`, error.message));
  }
}

export const idle: Question = {
  name: 'idle',
  asks: 'how late an idle server is when a datagram comes, and what it costs while none does',
  method:
    'A datagram every 4 ms (a thread sleeps synchronously) or every 25 ms (it sleeps in its event loop) carries its time of sending, after a second without pause in which code was compiled; the handler takes the difference first of all. Over the switch main puts the datagram into the ring; over the TAP, and for the peer, a node:dgram client sends it. CPU is of the whole process, threads of the runtime included, in microseconds a second: 10,000 are 1 % of a core.',
  seconds: 3,
  rounds: 3,
  run: async (plan, sheet) => {
    const problem = networkProblem();
    const net = problem === null ? new Network() : null;
    try {
      for (const port of plan.ports) {
        if (port === 'packet') sheet.skip('idle, packet', 'sleeps as tap does');
        else if (port === 'tap' && net === null) sheet.skip('idle, tap', problem!);
        else await onPort(plan, sheet, port, net);
      }
    } finally {
      net?.remove();
    }
  },
};
