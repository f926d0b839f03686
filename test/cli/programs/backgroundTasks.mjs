// What the background pool runs in the tests.
import { readFileSync } from 'node:fs';
import { transferred } from 'flowring/background';

export const same = (data) => data;

export const fails = () => {
  throw Object.assign(new RangeError('out of range'), { code: 'E_RANGE' });
};

export const throwsNoError = () => {
  throw 'a word';
};

export const uncloneable = () => ({ f: () => 1 });

export const notAFunction = 7;

export const gives = (bytes) => {
  const b = new Uint8Array(bytes).fill(bytes & 0xff);
  return transferred(b, [b.buffer]);
};

export const busy = (ms) => {
  const until = performance.now() + ms;
  let n = 0;
  while (performance.now() < until) n++;
  return n;
};

/** Adds to a word that the asker shares. */
export const adds = ({ shared }) => Atomics.add(new Int32Array(shared), 0, 1);

/** Where this thread may run, its niceness and name. */
export const where = () => {
  const status = readFileSync('/proc/thread-self/status', 'utf8');
  const stat = readFileSync('/proc/thread-self/stat', 'utf8');
  const afterName = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return {
    cpus: /Cpus_allowed_list:\s*(\S+)/.exec(status)[1],
    name: /^Name:\s*(\S+)/m.exec(status)[1],
    nice: Number(afterName[16]),
  };
};
