/**
 * A process with two stacks on one switch: a server's worker and a client's, each inline on a CPU of its own.
 *
 *   node dist/bench/switchRig.js SERVER_MODULE CPU,…,CPU|none [[server:]KEY=VALUE…]
 *
 * Prints `ready TID` (the server's worker). Then every line on stdin is a load for the client, or a message for the server where it is
 * {"server":…}, or {"figures":true} for the counters of the server's threads; each answer is a line on stdout. A setting that begins
 * with `server:` is for the server's stack alone, which then has the CPUs of all but the last thread. Ends
 * when stdin does: exit code 1 when a thread failed, a frame did not come home, or a sum does not hold.
 */
import { fileURLToPath, pathToFileURL } from 'node:url';
import { createInterface } from 'node:readline';
import { loadConfig } from '../src/main/config/load.ts';
import type { ThreadFigures } from '../src/main/figures.ts';
import { openSwitch, runtimeOptions } from '../src/main/open.ts';
import { reconcile } from '../src/main/reconcile.ts';
import { Runtime } from '../src/main/runtime.ts';
import { loadNative } from '../src/ports/native.ts';
import { COUNTER_NAME } from '../src/rings/counters.ts';

const CLIENT = new URL('../../bench/clients/ours.mjs', import.meta.url).href;
const SERVER_IP = '198.18.0.1';
const PORT = 7000;

const [module, cpus, ...sets] = process.argv.slice(2) as [string, string, ...string[]];
const pins = cpus === 'none' || loadNative() === null ? [-1, -1] : cpus.split(',').map(Number);
const SERVER_ONLY = 'server:';
const common = sets.filter((s) => !s.startsWith(SERVER_ONLY));
const serverSets = [...common, ...sets.filter((s) => s.startsWith(SERVER_ONLY)).map((s) => s.slice(SERVER_ONLY.length))];
const config = (last: number) =>
  loadConfig({ code: { layout: 'inline', workers: 1, address: `198.18.0.${last}/24` }, sets: last === 1 ? serverSets : common }).values;
const fabric = openSwitch(config(1), ['server', 'client']);
const server = new Runtime(runtimeOptions(config(1), fabric.handle(0), 'srv-', pins.slice(0, -1), null));
const client = new Runtime(runtimeOptions(config(2), fabric.handle(1), 'cli-', pins.slice(-1), null));

/** What main knows of a thread, its counters by name. */
const counted = ({ name, role, counters }: ThreadFigures): object => ({
  name,
  role,
  counters: Object.fromEntries(Object.entries(COUNTER_NAME).map(([i, c]) => [c, counters[Number(i)]])),
});

/** Clients leave first; frames of one stack may still be on their way home through the other. */
async function takeDown(): Promise<string[]> {
  const both = [client, server];
  for (const r of both) await r.drain();
  for (const r of both) await r.quiet();
  await new Promise((done) => setTimeout(done, 50));
  for (const r of both) await r.stop();
  for (const r of both) r.release();
  const problems = reconcile(both.map((r) => r.figures()));
  const audit = fabric.settle();
  if (audit.free !== audit.total) problems.push(`${audit.total - audit.free} of ${audit.total} frames did not come home`);
  for (const r of both) if (r.failed() !== null) problems.push(r.failed()!.message);
  return problems;
}

async function main(): Promise<void> {
  await server.start({ url: pathToFileURL(module).href, args: [String(PORT)] });
  await client.start({ url: CLIENT, args: [] });
  const worker = server.figures().find((f) => f.role === 'worker');
  process.stdout.write(`ready ${worker?.tid ?? -1}\n`);
  const over = Promise.race([server.finished(), client.finished()]);
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    const message = JSON.parse(line) as { server?: object; figures?: boolean };
    if (message.server !== undefined) server.postMessage(0, message.server);
    else if (message.figures === true) process.stdout.write(`${JSON.stringify({ figures: server.figures().map(counted) })}\n`);
    else client.postMessage(0, { ...message, address: SERVER_IP, port: PORT });
  });
  await Promise.race([over, new Promise((done) => lines.on('close', done))]);
}

let failure: Error | null = null;
await main().catch((error: Error) => {
  failure = error;
});
const problems = await takeDown().catch((error: Error) => [error.message]);
if (failure !== null) problems.push((failure as Error).message);
for (const p of problems) process.stderr.write(`${fileURLToPath(import.meta.url)}: ${p}\n`);
process.exit(problems.length > 0 ? 1 : 0);
