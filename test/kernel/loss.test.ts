// One frame in a hundred, and five, lost each way between us and the kernel, trains as a whole: everything still arrives.
// test-timeout-seconds: 300
import { writeFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Daemon, missing, Namespace } from './namespace.ts';
import { ab, download, drains, Files, KIB, type ServerOptions, startServer, upload } from './transfers.ts';

const DEVICE = 'frt2';
interface Way extends ServerOptions {
  name: string;
  lostOf1000: number;
  bytes: number;
  /** ab, over 50 connections at a time. */
  requests: number;
}

const MB = 1_000_000;
const SOFTWARE = ['offload.tx-checksum=off', 'offload.tso=off'];

const WAYS: readonly Way[] = [
  { name: 'tap, 1 %', port: 'tap', layout: 'dispatcher', workers: 2, lostOf1000: 10, bytes: 4 * MB, requests: 500 },
  {
    name: 'tap, 5 %, without offloads',
    port: 'tap',
    layout: 'inline',
    workers: 1,
    settings: SOFTWARE,
    lostOf1000: 50,
    bytes: MB,
    requests: 150,
  },
  {
    name: 'packet, 1 %, without offloads',
    port: 'packet',
    layout: 'inline',
    workers: 1,
    settings: SOFTWARE,
    lostOf1000: 10,
    bytes: 2 * MB,
    requests: 500,
  },
  { name: 'packet, 5 %', port: 'packet', layout: 'dispatcher', workers: 2, lostOf1000: 50, bytes: 2 * MB, requests: 150 },
];

interface World {
  ns: Namespace;
  server: Daemon;
  files: Files;
  way: Way;
}

/** nft's netdev family hooks in at the device itself, on both sides of the kernel's stack. */
async function lose(w: World): Promise<void> {
  const hooks = ['ingress', 'egress'].map(
    (hook) =>
      `chain ${hook}_loss { type filter hook ${hook} device "${DEVICE}" priority 0; numgen random mod 1000 < ${w.way.lostOf1000} counter drop; }`,
  );
  const file = w.files.path('got', 'loss.nft');
  writeFileSync(file, `table netdev loss {\n${hooks.join('\n')}\n}\n`);
  const r = await w.ns.run(10_000, 'nft', '-f', file);
  assert.is(r.code, 0, r.stderr);
}

/** Frames the rules have dropped, both ways. */
async function lost(w: World): Promise<number[]> {
  const r = await w.ns.run(10_000, 'nft', 'list', 'ruleset');
  return [...r.stdout.matchAll(/counter packets (\d+)/g)].map((m) => Number(m[1]));
}

type Check = [name: string, run: (w: World) => Promise<void>];

const CHECKS: readonly Check[] = [
  [
    'files down and up, equal SHA-256',
    async (w) => {
      // Trains are few frames: until the link has lost some each way, nothing is proven.
      const enough = async (): Promise<boolean> => (await lost(w)).every((n) => n > 0);
      for (let i = 0; i < 12 && (i === 0 || !(await enough())); i++) {
        await download(w.ns, w.files, `${w.way.bytes}`);
        await upload(w.ns, w.files, `${w.way.bytes}`);
      }
      assert.ok(await enough(), 'the link lost nothing in one direction');
    },
  ],
  ['ab: requests over 50 connections at a time, none failed', async ({ ns, way }) => void (await ab(ns, way.requests, 50, false, 'small'))],
  ['SIGINT drains: exit 0, no complaint', ({ server }) => drains(server)],
];

const lacks = missing(['ip', 'curl', 'ab', 'nft']);
if (lacks.length > 0) {
  for (const { name } of WAYS) for (const [check] of CHECKS) process.stdout.write(`SKIP ${name}: ${check}: ${lacks.join(', ')}\n`);
} else {
  const files = new Files();
  for (const bytes of new Set(WAYS.map((w) => w.bytes))) files.make(`${bytes}`, bytes);
  files.make('small', KIB);
  for (const way of WAYS) {
    const tests = suite(way.name);
    const w = { files, way } as World;
    tests.before(async () => {
      w.ns = new Namespace();
      w.server = await startServer(w.ns, files, DEVICE, way);
      await lose(w);
    });
    tests.after(async () => {
      await w.server?.stop('SIGKILL');
      w.ns?.remove();
    });
    for (const [name, run] of CHECKS) tests(name, () => run(w));
    tests.run();
  }
}
