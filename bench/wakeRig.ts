/**
 * A stack that idles on a switch, and main that wakes it: main puts a datagram into its own port, which rings the sleeper's bell,
 * and the handler tells how long that took.
 *
 *   node dist/bench/wakeRig.js CPU|-1 [KEY=VALUE…]
 *
 * Wakes it WARM times in a row first, as every bench here works before it measures: a process that has just started runs its stack
 * in V8's interpreter, which costs some 100 µs a datagram, whatever woke it. Then prints `ready`. Every line on stdin, {"count":n,"everyMs":ms}, is answered by one on stdout, {"n":…,"p50":…,"p99":…} in µs. Ends
 * when stdin does.
 */
import { createInterface } from 'node:readline';
import { loadConfig } from '../src/main/config/load.ts';
import { openSwitch, runtimeOptions } from '../src/main/open.ts';
import { Runtime } from '../src/main/runtime.ts';
import { attachPort } from '../src/ports/attach.ts';
import { loadNative } from '../src/ports/native.ts';
import { D_DATA, D_FLAGS_GSO, D_FRAME, D_OFFSETS, D_REGION_GEN, D_SEGS_VLAN, D_TOTAL, DESC_WORDS } from '../src/rings/layout.ts';
import { F_CSUM_OK, F_IPCSUM_OK, F_TX } from '../src/rings/layout.ts';
import { ETHERTYPE_IPV4, LEN_ETHERNET, setEthernet } from '../src/wire/ethernet.ts';
import { LEN_IPV4, parseIpv4, PROTO_UDP, setIpv4 } from '../src/wire/ipv4.ts';

const MODULE = new URL('../../bench/servers/wake.mjs', import.meta.url).href;
const PORT = 7000;
const PAYLOAD = 64;
const UDP = LEN_ETHERNET + LEN_IPV4;
const BYTES = UDP + 8 + PAYLOAD;
const WARM = 20_000;

const [cpu, ...sets] = process.argv.slice(2) as [string, ...string[]];
const config = loadConfig({ code: { layout: 'inline', workers: 1, address: '198.18.0.1/24' }, sets }).values;
const fabric = openSwitch(config, ['server', 'waker']);
const server = new Runtime(runtimeOptions(config, fabric.handle(0), 'srv-', [Number(cpu)], null));
const [here, there] = [fabric.handle(1).attachment, fabric.handle(0).attachment];
const port = attachPort(here, loadNative());
const { frames } = port;
const desc = new Int32Array(DESC_WORDS);
const ids = new Int32Array(1);
const block = new SharedArrayBuffer(16);
const us = new Float64Array(block, 0, 1);
const count = new Int32Array(block, 8, 1);

/** One datagram that carries the time. */
function wake(): void {
  port.tick((performance.now() * 1000) | 0);
  if (port.alloc(ids, 0, 1) !== 1) throw new Error('no frame came home');
  const f = ids[0]!;
  const eth = frames.offset[f]! + frames.headroom;
  const view = frames.view;
  setEthernet(view, eth, there.macHi, there.macLo, here.macHi, here.macLo, ETHERTYPE_IPV4);
  setIpv4(view, eth + LEN_ETHERNET, LEN_IPV4 + 8 + PAYLOAD, 1, PROTO_UDP, parseIpv4('198.18.0.9')!, parseIpv4('198.18.0.1')!);
  view.setInt32(eth + UDP, (40_000 << 16) | PORT);
  view.setInt32(eth + UDP + 4, (8 + PAYLOAD) << 16);
  frames.next[f] = -1;
  frames.length[f] = BYTES;
  desc[D_FRAME] = f;
  desc[D_DATA] = (frames.headroom << 16) | BYTES;
  desc[D_TOTAL] = BYTES;
  desc[D_REGION_GEN] = (frames.region << 16) | (frames.generation[f]! & 0xffff);
  desc[D_OFFSETS] = LEN_ETHERNET << 8;
  desc[D_FLAGS_GSO] = F_TX | F_CSUM_OK | F_IPCSUM_OK;
  desc[D_SEGS_VLAN] = 1;
  view.setFloat64(eth + UDP + 8, Number(process.hrtime.bigint()));
  if (port.txBurst(desc, 0, 1) !== 1) throw new Error('the switch is full');
  port.flush();
}

const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

/** Wakes it and waits until its handler has said how long that took, in microseconds. */
function woken(): number {
  const before = Atomics.load(count, 0);
  wake();
  if (Atomics.wait(count, 0, before, 2000) === 'timed-out') throw new Error('it did not wake');
  return us[0]!;
}

async function measure(n: number, everyMs: number): Promise<object> {
  const times: number[] = [];
  for (let i = 0; i < n; i++) {
    await pause(everyMs);
    times.push(woken());
  }
  times.sort((a, b) => a - b);
  return { n, p50: times[n >> 1], p99: times[Math.min(n - 1, Math.floor(n * 0.99))] };
}

await server.start({ url: MODULE, args: [String(PORT)] });
server.postMessage(0, { block });
await pause(50);
for (let i = 0; i < WARM; i++) woken();
await measure(20, 5);
process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) {
  const o = JSON.parse(line) as { count: number; everyMs: number };
  process.stdout.write(`${JSON.stringify(await measure(o.count, o.everyMs))}\n`);
}
port.detach();
await server.close();
