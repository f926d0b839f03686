import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { injectContext } from '../../../src/api/context.ts';
import * as m from '../../../src/api/mtcp.ts';
import { CONFIG } from '../stack/trace.ts';
import { FakeWorker } from './fakeWorker.ts';

test('getconf reads what runs', () => {
  new FakeWorker();
  const conf: m.MtcpConf = {};
  assert.is(m.getconf(conf), 0);
  assert.equal(conf, {
    numCores: 4,
    maxConcurrency: CONFIG.maxConnections,
    maxNumBuffers: CONFIG.chunks,
    rcvbufSize: CONFIG.rcvbuf,
    sndbufSize: CONFIG.sndbuf,
    tcpTimewait: CONFIG.timeWaitMs / 1000,
    tcpTimeout: -1,
  });
  assert.is(m.setconf(conf), 0, 'and that is what setconf takes');
});

test('init: the file that was read, however it is named; another is refused with the option', () => {
  const w = new FakeWorker();
  assert.is(m.init(), 0);
  const refused = (file: string, words: string): void =>
    assert.throws(
      () => m.init(file),
      (e: m.FlowringError) => e.code === 'FLOWRING_CONFIG' && e.message.includes(words) && e.message.endsWith(`--config ${file}`),
    );
  refused('server.conf', 'by no file');
  w.configFile = '/etc/flowring/server.conf';
  for (const file of ['server.conf', './server.conf', 'flowring/server.conf', '/etc/flowring/server.conf']) assert.is(m.init(file), 0);
  refused('client.conf', 'by /etc/flowring/server.conf');
  refused('erver.conf', 'by /etc/flowring/server.conf');
});

test('setconf refuses what differs, with the option that sets it; 0 and less ask for nothing', () => {
  new FakeWorker();
  assert.is(m.setconf({ rcvbufSize: 0, sndbufSize: -1 }), 0);
  assert.throws(
    () => m.setconf({ rcvbufSize: 8192, tcpTimewait: 3, tcpTimeout: 30, numCores: 4 }),
    (e: m.FlowringError) =>
      e.code === 'FLOWRING_CONFIG' &&
      e.message.includes(`rcvbufSize is ${CONFIG.rcvbuf}, not 8192`) &&
      e.message.endsWith('--set tcp.rcvbuf=8192 --set tcp.time-wait-ms=3000 --set tcp.idle-timeout-ms=30000'),
  );
  injectContext(null);
  for (const call of [() => m.init(), () => m.getconf({}), () => m.setconf({})])
    assert.throws(call, (e: m.FlowringError) => e.code === 'FLOWRING_NO_STACK');
});

test('initRss: the stack has one address; what can be prepared is asked of it', () => {
  const w = new FakeWorker();
  const mctx = m.createContext();
  assert.is(m.initRss(mctx, m.INADDR_ANY, 1, '198.51.100.9', 80), 7);
  assert.is(m.initRss(mctx, '192.0.2.1', 1, '198.51.100.9', 80), 7);
  assert.equal(w.sockets.calls, Array(2).fill(`prepareSources ${m.parseAddress('198.51.100.9')} 80`));
  assert.is(m.initRss(mctx, '192.0.2.7', 1, '198.51.100.9', 80), -m.EADDRNOTAVAIL);
  assert.is(m.initRss(mctx, m.INADDR_ANY, 2, '198.51.100.9', 80), -m.EADDRNOTAVAIL);
  for (const [n, to, port] of [
    [0, '198.51.100.9', 80],
    [1, 0, 80],
    [1, '198.51.100.9', 0],
    [1, '198.51.100.9', 65536],
    [0.5, '198.51.100.9', 80],
  ] as const) {
    assert.is(m.initRss(mctx, m.INADDR_ANY, n, to, port), -m.EINVAL);
  }
});

test.run();
