// The link of a running server goes down and comes back: said once, connections live through it; it is removed: said, and the
// server still ends in order.
import { test } from 'uvu';
import { missing, Namespace } from './namespace.ts';
import { download, drains, Files, ping, startServer } from './transfers.ts';

const DEVICE = 'frt3';
const FAR = 'frt3s';

const lacks = missing(['ip', 'ping', 'curl']);
if (lacks.length > 0) {
  console.log(`SKIP ${lacks.join(', ')}`);
} else {
  for (const layout of ['inline', 'dispatcher'] as const)
    test(`${layout}: down, up, gone`, async () => {
      const files = new Files();
      files.make('bytes', 20_000_000);
      const ns = new Namespace();
      const server = await startServer(ns, files, DEVICE, { port: 'packet', layout, workers: 1 });
      try {
        const slow = download(ns, files, 'bytes', '--limit-rate', '20M');
        await new Promise((done) => setTimeout(done, 300));
        ns.ip('link', 'set', FAR, 'down');
        await server.until('"down"', (d) => d.stderr.includes(`packet:${FAR}: the interface is down\n`), 5_000);
        ns.ip('link', 'set', FAR, 'up');
        await server.until('"back"', (d) => d.stderr.includes('the interface is back\n'), 5_000);
        await slow;
        await ping(ns, 2, 56);
        ns.ip('link', 'delete', DEVICE);
        await server.until('"gone"', (d) => d.stderr.includes(`packet:${FAR}: the interface is gone\n`), 5_000);
        await drains(server);
      } finally {
        await server.stop('SIGKILL');
        ns.remove();
        files.remove();
      }
    });
  test.run();
}
