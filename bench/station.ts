/**
 * Load generators in JavaScript that stay for all rounds, commanded line by line: ours with its server on one switch, a process of
 * two inline workers; and node's client beside node's server.
 */
import { join } from 'node:path';
import type { Load, Tally } from './load.ts';
import { NODE_IP, type Network } from './network.ts';
import { cpuSeconds, pinned, Program, ROOT } from './program.ts';
import type { Cores, Plan } from './question.ts';
import { WrongWork } from './load.ts';
import type { Server } from './server.ts';

const BOUND_MS = 30 * 60_000;
const START_MS = 30_000;
const GRACE_MS = 20_000;

/** Sends one command, waits for the line that answers it. */
async function ask<T>(p: Program, command: object, ms: number): Promise<T> {
  if (!p.running) throw new WrongWork(`the client has ended: ${p.lastWords()}`);
  p.stdout = '';
  p.child.stdin!.write(`${JSON.stringify(command)}\n`);
  const line = await p.until('answer', (q) => /^(\{.*\})\n/m.exec(q.stdout)?.[1] ?? null, ms);
  return JSON.parse(line) as T;
}

const seconds = (warm: number, measured: number): number => (warm + measured) * 1000 + GRACE_MS;

/** Counters of one thread of a server, by name. */
export interface Counted {
  name: string;
  role: string;
  counters: Record<string, number>;
}

/** A server on the switch, which can be asked for more than work. */
export interface SwitchServer extends Server {
  /** A command that is no load; resolves with the answer. */
  tell<T>(command: object): Promise<T>;
  /** A load with further fields for the client. */
  offerMore<T>(command: object, warm: number, seconds: number): Promise<Tally & T>;
  figures(): Promise<Counted[]>;
}

/**
 * Our server and our client on one switch: `module` serves, bench/clients/ours.mjs asks. With `serverCpus` its threads have those, in
 * their order.
 */
export async function startSwitch(
  module: string,
  plan: Pick<Plan, 'cores' | 'sets'>,
  serverCpus: readonly number[] = [plan.cores.server],
): Promise<SwitchServer> {
  const { cores, sets } = plan;
  const cpus = cores.server < 0 ? 'none' : [...serverCpus, cores.client].join();
  const p = new Program([process.execPath, join(ROOT, 'dist/bench/switchRig.js'), module, cpus, ...sets], BOUND_MS);
  const tid = await p
    .until('"ready"', (q) => /^ready (-?\d+)$/m.exec(q.stdout)?.[1] ?? null, START_MS)
    .catch(async (error) => {
      await p.stop('SIGKILL');
      throw error;
    });
  return {
    name: 'ours, switch',
    cpuSeconds: () => (tid === '-1' ? null : cpuSeconds(p.pid, Number(tid))),
    offer: (load: Load, warm: number, measured: number) => ask(p, { ...load, warm, seconds: measured }, seconds(warm, measured)),
    offerMore: (command: object, warm: number, measured: number) =>
      ask(p, { ...command, warm, seconds: measured }, seconds(warm, measured)),
    tell: (command: object) => ask(p, command, GRACE_MS),
    figures: async () => (await ask<{ figures: Counted[] }>(p, { figures: true }, GRACE_MS)).figures,
    stop: async () => {
      p.child.stdin!.end();
      const force = setTimeout(() => p.child.kill('SIGKILL'), 15_000);
      const code = await p.ended;
      clearTimeout(force);
      if (code !== 0) throw new WrongWork(`ours, switch ended with ${code}: ${p.lastWords()}`);
    },
  };
}

/** Node's server and node's client, over a veth where there is a network, else over loopback. */
export async function startNodePair(net: Network | null, mode: string, name: string, cores: Cores): Promise<Server> {
  const address = net === null ? '127.0.0.1' : NODE_IP;
  const place = (ns: 'server' | 'client', cpu: number, command: string[]): string[] =>
    net === null ? pinned(cpu, command) : net.within(net[ns], pinned(cpu, command));
  const script = (file: string): string => join(ROOT, 'bench', file);
  const server = new Program(place('server', cores.server, [process.execPath, script('servers/node.mjs'), mode, '0', address]), BOUND_MS);
  const client = new Program(place('client', cores.client, [process.execPath, script('clients/node.mjs')]), BOUND_MS);
  const stop = async (): Promise<void> => {
    client.child.stdin!.end();
    await Promise.all([server.stop(), client.stop()]);
  };
  try {
    const port = Number(await server.until('"listening"', (q) => /^listening \S+:(\d+)$/m.exec(q.stdout)?.[1] ?? null, START_MS));
    await client.until('"ready"', (q) => (q.stdout.includes('ready\n') ? true : null), START_MS);
    return {
      name: `${name}, node's own client, ${net === null ? 'loopback' : 'veth'}`,
      cpuSeconds: () => cpuSeconds(server.pid),
      offer: (load: Load, warm: number, measured: number) =>
        ask(client, { ...load, address, port, warm, seconds: measured }, seconds(warm, measured)),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
