import { Worker } from 'node:worker_threads';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createSwitch } from '../../../src/ports/switch.ts';

interface Report {
  sent: number;
  received: number;
  wrong: number;
  sleeps: number;
  drops: number;
  home: number;
  publishes: number;
}

function exchange(
  frames: number,
  framesPerPort: number,
  ringSlots: number,
): Promise<{ reports: Report[]; free: number; total: number; seconds: number }> {
  const sw = createSwitch({ ports: [{ name: 'a' }, { name: 'b' }], framesPerPort, ringSlots });
  const began = performance.now();
  const worker = (i: number): Promise<Report> =>
    new Promise((resolve, reject) => {
      const peer = sw.handle(1 - i).attachment;
      const w = new Worker(new URL('./exchangeWorker.js', import.meta.url), {
        workerData: { attachment: sw.handle(i).attachment, peerHi: peer.macHi, peerLo: peer.macLo, count: frames },
      });
      let report: Report | null = null;
      w.on('message', (m: Report) => (report = m));
      w.on('error', reject);
      w.on('exit', () => (report === null ? reject(new Error('no report')) : resolve(report)));
    });
  return Promise.all([worker(0), worker(1)]).then((reports) => {
    const a = sw.audit();
    return { reports, free: a.free, total: a.total, seconds: (performance.now() - began) / 1000 };
  });
}

test('two threads exchange a million frames: in order, every byte, all frames home', async () => {
  const r = await exchange(500_000, 512, 256);
  for (const x of r.reports) {
    assert.is(x.sent, 500_000);
    assert.is(x.received, 500_000);
    assert.is(x.wrong, 0, 'wrong bytes or a lost wake');
    assert.is(x.drops, 0);
    assert.is(x.home, 512);
  }
  assert.is(r.free, r.total);
  console.log(`${Math.round(1000 / r.seconds)} k frames/s both ways, ${r.reports.map((x) => x.sleeps).join(' and ')} sleeps`);
});

test('the same with hardly any frames and slots: the two wake each other all the time', async () => {
  const r = await exchange(20_000, 8, 4);
  for (const x of r.reports) {
    assert.is(x.received, 20_000);
    assert.is(x.wrong, 0, 'wrong bytes or a lost wake');
    assert.is(x.drops, 0);
    assert.is(x.home, 8);
  }
  assert.is(r.free, r.total);
});

test.run();
