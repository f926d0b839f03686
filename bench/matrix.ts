/** The large questions: every case over every port that was asked for, against node's modules doing the same. */
import { clientProblem } from './client.ts';
import { type Case, duel, type Side } from './duel.ts';
import { hasTun, Network, networkProblem } from './network.ts';
import { hasProgram } from './program.ts';
import type { Plan, PortName, Sheet } from './question.ts';
import { benchServer, CannotRun, type Client, CLIENT_NAMES, type OurProgram, type Server, startNode, startOurs } from './server.ts';
import { startNodePair, startSwitch } from './station.ts';

/** Cases that one pair of servers answers. */
export interface Group {
  /** Ours on the switch too, by module in bench/servers; false where only a kernel client asks. */
  onSwitch: boolean;
  /** Frames of 1500 B on the veths: offloads off, over the packet port only. */
  plainFrames?: boolean;
  ours: OurProgram;
  /** Mode of bench/servers/node.mjs, and its name in the rows. */
  node: string;
  nodeName: string;
  client: Client;
  /** Programs without which the group is skipped. */
  needs: readonly string[];
  /** The peer where it is not node's server. */
  peer?: (net: Network, plan: Plan) => Promise<Server>;
  cases: readonly Case[];
}

/** A group whose server of ours stands in bench/servers under the same name as node's mode. */
export const group = (node: string, nodeName: string, cases: readonly Case[], client: Client = 'load'): Group => ({
  onSwitch: true,
  ours: benchServer(node),
  node,
  nodeName,
  client,
  needs: [],
  cases,
});

/** Starts both sides one after the other; what stops one stops the group. */
async function start(g: Group, port: PortName, net: Network | null, plan: Plan): Promise<{ ours: Server; peer: Server }> {
  const { client } = g;
  const ours = port === 'switch' ? await startSwitch(g.ours.module, plan) : await startOurs(net!, port, g.ours, plan, client);
  try {
    const peer =
      port === 'switch'
        ? await startNodePair(net, g.node, g.nodeName, plan.cores)
        : g.peer !== undefined
          ? await g.peer(net!, plan)
          : await startNode(net!, g.node, `${g.nodeName}, veth, ${CLIENT_NAMES[client]}`, plan.cores, client);
    return { ours, peer };
  } catch (error) {
    await ours.stop().catch(() => {});
    throw error;
  }
}

async function measure(g: Group, port: PortName, net: Network | null, plan: Plan, sheet: Sheet): Promise<void> {
  let sides: { ours: Server; peer: Server };
  try {
    sides = await start(g, port, net, plan);
  } catch (error) {
    for (const c of g.cases)
      if (error instanceof CannotRun) sheet.skip(`${c.name}, ${port}`, error.message);
      else sheet.fail(`${c.name}, ${port}`, (error as Error).message);
    plan.say(`${g.cases.map((c) => c.name).join(', ')}, ${port}: ${(error as Error).message}`);
    return;
  }
  for (const c of g.cases) await duel(c, port, sides.ours as Side, sides.peer, plan, sheet);
  for (const side of [sides.ours, sides.peer])
    await side.stop().catch((error: Error) => {
      plan.say(`${g.node}, ${port}: FAILED: ${error.message}`);
      sheet.fail(`${g.cases[0]!.name}, ${port}`, error.message);
    });
}

/** Why a port cannot be measured here, or null. */
function portProblem(port: PortName, noNetwork: string | null, noClient: string | null): string | null {
  if (port === 'switch') return null;
  return noNetwork ?? noClient ?? (port === 'tap' && !hasTun() ? 'no /dev/net/tun' : null);
}

/** Runs with the veths as the group wants them. */
async function framed(g: Group, net: Network | null, run: () => Promise<void>): Promise<void> {
  if (g.plainFrames !== true) return run();
  net!.offloads(false);
  try {
    await run();
  } finally {
    net!.offloads(true);
  }
}

export async function matrix(groups: readonly Group[], plan: Plan, sheet: Sheet): Promise<void> {
  const noNetwork = networkProblem();
  const noClient = clientProblem();
  const net = noNetwork === null ? new Network() : null;
  try {
    for (const g of groups)
      for (const port of plan.ports) {
        if ((port === 'switch' && !g.onSwitch) || (port !== 'packet' && g.plainFrames === true)) continue;
        const lacks = g.needs.find((p) => !hasProgram(p));
        const problem = lacks === undefined ? portProblem(port, noNetwork, noClient) : `no program ${lacks}`;
        if (problem === null) await framed(g, net, () => measure(g, port, net, plan, sheet));
        else for (const c of g.cases) sheet.skip(`${c.name}, ${port}`, problem);
      }
  } finally {
    net?.remove();
  }
}
