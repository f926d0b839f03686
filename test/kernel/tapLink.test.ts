// The TAP under a running server is deleted: said once, and no thread spins on a descriptor that is always ready; the server still
// ends in order, its frames at home.
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { missing, Namespace } from './namespace.ts';
import { drains, Files, ping, startServer } from './transfers.ts';

const DEVICE = 'frt4';
const WATCH_MS = 1500;
/** Of a core; idle is below 2 %, a thread that spins takes what it gets. */
const BUSY = 0.1;

function cpuNs(pid: number): number {
  const tasks = `/proc/${pid}/task`;
  return readdirSync(tasks).reduce((ns, tid) => ns + Number(readFileSync(`${tasks}/${tid}/schedstat`, 'latin1').split(' ')[0]), 0);
}

const lacks = missing(['ip', 'ping', 'curl']);
if (lacks.length > 0) {
  console.log(`SKIP ${lacks.join(', ')}`);
} else {
  for (const layout of ['inline', 'dispatcher', 'dispatcher-rx-tx', 'run-to-completion'] as const)
    test(`${layout}: gone, and quiet`, async () => {
      const files = new Files();
      const ns = new Namespace();
      const server = await startServer(ns, files, DEVICE, { port: 'tap', layout, workers: layout === 'inline' ? 1 : 2 });
      try {
        await ping(ns, 2, 56);
        ns.ip('link', 'delete', DEVICE);
        await server.until('"gone"', (d) => d.stderr.includes(`tap:${DEVICE}: the interface is gone\n`), 5_000);
        const shares: number[] = [];
        for (let i = 0; i < 4 && !(shares.at(-1)! < BUSY); i++) {
          const [before, from] = [cpuNs(server.child.pid!), performance.now()];
          await new Promise((done) => setTimeout(done, WATCH_MS));
          shares.push((cpuNs(server.child.pid!) - before) / 1e6 / (performance.now() - from));
        }
        assert.ok(shares.at(-1)! < BUSY, `shares of a core: ${shares}`);
        await drains(server);
      } finally {
        await server.stop('SIGKILL');
        ns.remove();
        files.remove();
      }
    });
  test.run();
}
