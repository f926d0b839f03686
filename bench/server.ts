/** Servers under a kernel client's load, ours and node's, each a process of its own on the server's CPU. */
import { join } from 'node:path';
import { runAb, runLoad, runWrk, type Target } from './client.ts';
import type { Side } from './duel.ts';
import { type Load, type Tally, WrongWork } from './load.ts';
import { NODE_IP, type Network, PACKET_DEVICE, PACKET_IP, TAP_DEVICE, TAP_IP } from './network.ts';
import { cpuSeconds, pinned, Program, ROOT } from './program.ts';
import type { Cores, Plan, PortName } from './question.ts';

/** A whole question at most. */
const BOUND_MS = 30 * 60_000;
const START_MS = 30_000;
const PORT = 7000;

/** A server that cannot run here, for a reason that is nobody's fault: its cases are skipped. */
export class CannotRun extends Error {}

/** What of a program is ours: its module or example, and what follows `--`. */
export interface OurProgram {
  module: string;
  args: readonly string[];
}

export const benchServer = (name: string): OurProgram => ({ module: join(ROOT, `bench/servers/${name}.mjs`), args: [String(PORT)] });

export interface Server extends Side {
  stop(): Promise<void>;
}

/** The C client, or one that is installed. */
export type Client = 'load' | 'wrk' | 'ab';
export const CLIENT_NAMES: Readonly<Record<Client, string>> = { load: 'C client', wrk: 'wrk', ab: 'ab' };

/** How long answers are looked at, a second time longer where a busy machine has given none. */
const VERIFY_SECONDS = [0.1, 2];

async function verify(target: Target, load: Load): Promise<Tally> {
  for (const seconds of VERIFY_SECONDS) {
    const t = await runLoad(target, load, 0, seconds);
    if (t.wrong > 0 || t.failed > 0) throw new WrongWork(`${t.wrong} wrong, ${t.failed} failed of ${t.total} answers`);
    if (t.total > 0) return t;
  }
  throw new WrongWork('no answer');
}

function side(name: string, p: Program, target: Target, client: Client, okCodes: readonly (number | null)[]): Server {
  return {
    name,
    cpuSeconds: () => cpuSeconds(p.pid),
    offer: async (load: Load, warm: number, seconds: number): Promise<Tally> => {
      if (!p.running) throw new WrongWork(`the server has ended: ${p.lastWords()}`);
      // Neither wrk nor ab looks at bodies: the C client does, for a moment before each of their rounds.
      if (client === 'load') return runLoad(target, load, warm, seconds);
      const checked = await verify(target, load);
      const tally = await (client === 'wrk' ? runWrk : runAb)(target, load, seconds);
      return { ...tally, total: tally.total + checked.total };
    },
    stop: async () => {
      const code = await p.stop();
      if (!okCodes.includes(code)) throw new WrongWork(`${name} ended with ${code}: ${p.lastWords()}`);
    },
  };
}

/** Ours on a TAP or a packet socket, one worker, layout inline. */
export async function startOurs(
  net: Network,
  port: Exclude<PortName, 'switch'>,
  program: OurProgram,
  plan: Pick<Plan, 'cores' | 'sets'>,
  client: Client,
): Promise<Server> {
  const { cores } = plan;
  const tap = port === 'tap';
  const [ns, nic, address] = tap ? [net.client, `tap:${TAP_DEVICE}`, TAP_IP] : [net.server, `packet:${PACKET_DEVICE}`, PACKET_IP];
  const flags = ['--nic', nic, '--address', `${address}/24`, '--layout', 'inline', '--workers', '1'];
  const cpus = cores.server < 0 ? ['--cpus', 'none'] : ['--cpus', String(cores.server)];
  const sets = plan.sets.flatMap((s) => ['--set', s]);
  const command = [
    process.execPath,
    join(ROOT, 'bin/flowring.js'),
    'run',
    program.module,
    ...flags,
    ...cpus,
    ...sets,
    '--',
    ...program.args,
  ];
  const p = new Program(net.within(ns, pinned(cores.server, command)), BOUND_MS);
  try {
    await p.until('"listening"', (q) => (/^listening /m.test(q.stdout) ? true : null), START_MS);
  } catch (error) {
    const code = await p.stop('SIGKILL');
    // 2: this port or this program is not to be had here, and a line says why.
    throw code === 2 ? new CannotRun(p.lastWords().replace(/^flowring: /, '')) : error;
  }
  const target = { address, port: PORT, prefix: (c: readonly string[]) => net.within(net.client, pinned(cores.client, c)) };
  return side(`ours, ${port}`, p, target, client, [0]);
}

/** Node's server of a mode, behind a veth. */
export async function startNode(net: Network, mode: string, name: string, cores: Cores, client: Client): Promise<Server> {
  const command = [process.execPath, join(ROOT, 'bench/servers/node.mjs'), mode, String(PORT), NODE_IP];
  const p = new Program(net.within(net.server, pinned(cores.server, command)), BOUND_MS);
  await p.until('"listening"', (q) => (/^listening /m.test(q.stdout) ? true : null), START_MS);
  const target = { address: NODE_IP, port: PORT, prefix: (c: readonly string[]) => net.within(net.client, pinned(cores.client, c)) };
  return side(name, p, target, client, [0, null]);
}
