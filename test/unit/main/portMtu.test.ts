// A port that carries less than the configuration says: the stack keeps to the port.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadConfig } from '../../../src/main/config/load.ts';
import { openSwitch, runtimeOptions } from '../../../src/main/open.ts';

test('MTU and MSS are the smaller of what was asked for and what the port has', () => {
  const c = loadConfig({ sets: ['mtu=1500'] }).values;
  const of = (portMtu: number, mss: number): [number, number] => {
    const port = openSwitch({ ...c, mtu: portMtu }, ['p']).handle(0);
    const { host, stack } = runtimeOptions({ ...c, tcpMss: mss }, port, '', [], null);
    return [host.mtu, stack.mss];
  };
  assert.equal(of(1500, 1460), [1500, 1460]);
  assert.equal(of(1400, 1460), [1400, 1360]);
  assert.equal(of(1400, 1200), [1400, 1200]);
  assert.equal(of(1800, 1460), [1500, 1460]);
});

test.run();
