/** iperf3 as a peer: its own server and client, over the veth that node's servers have. What C on the kernel's stack gets there. */
import { type Load, type Tally, WrongWork } from './load.ts';
import { type Network, NODE_IP } from './network.ts';
import { cpuSeconds, pinned, Program, runProgram } from './program.ts';
import type { Plan } from './question.ts';
import type { Server } from './server.ts';

const PORT = 5201;
const BOUND_MS = 30 * 60_000;
const GRACE_MS = 20_000;

interface Report {
  error?: string;
  end: { sum_received: { bytes: number; seconds: number } };
}

export async function startIperf(net: Network, plan: Plan): Promise<Server> {
  const { cores } = plan;
  const server = ['iperf3', '-s', '-B', NODE_IP, '-p', String(PORT), '--forceflush'];
  const p = new Program(net.within(net.server, pinned(cores.server, server)), BOUND_MS);
  await p.until('"listening"', (q) => (q.stdout.includes('listening') ? true : null), GRACE_MS);
  return {
    name: 'iperf3, veth, its own client',
    cpuSeconds: () => cpuSeconds(p.pid),
    offer: async (load: Load, _warm: number, seconds: number): Promise<Tally> => {
      const whole = String(Math.max(1, Math.round(seconds)));
      const client = ['iperf3', '-c', NODE_IP, '-p', String(PORT), '-t', whole, '-P', String(load.connections), '-J'];
      const r = await runProgram(net.within(net.client, pinned(cores.client, client)), Number(whole) * 1000 + GRACE_MS);
      const said = JSON.parse(r.stdout) as Report;
      if (r.code !== 0 || said.error !== undefined) throw new WrongWork(`iperf3: ${said.error ?? r.stderr}`);
      const { bytes, seconds: taken } = said.end.sum_received;
      return { operations: 0, bytes, total: bytes, seconds: taken, p50: 0, p99: 0, wrong: 0, failed: 0, lost: 0 };
    },
    stop: async () => void (await p.stop()),
  };
}
