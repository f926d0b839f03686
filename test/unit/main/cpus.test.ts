// CPU lists, machines described as maps of kernel files, and who gets which CPU.
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ConfigError } from '../../../src/main/config/configError.ts';
import { formatCpus, parseCpus } from '../../../src/main/cpuList.ts';
import { autoCpus, autoWorkers, cgroupCpuset, cpuPlan, nicNode, readMachine, type ReadText } from '../../../src/main/cpus.ts';

const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
const files =
  (map: Record<string, string>): ReadText =>
  (path) =>
    map[path] ?? null;

const CPU = '/sys/devices/system/cpu';

/** Two sockets of two cores, two threads each: CPUs 0-3 are the first threads, 4-7 their siblings; nodes by socket. */
const SMT: Record<string, string> = {
  [`${CPU}/online`]: '0-7\n',
  [`${CPU}/isolated`]: '\n',
  '/proc/self/status': 'Name:\tnode\nCpus_allowed:\tff\nCpus_allowed_list:\t0-7\n',
  '/sys/devices/system/node/online': '0-1\n',
  '/sys/devices/system/node/node0/cpulist': '0-1,4-5\n',
  '/sys/devices/system/node/node1/cpulist': '2-3,6-7\n',
  ...Object.fromEntries(Array.from({ length: 8 }, (_, c) => [`${CPU}/cpu${c}/topology/thread_siblings_list`, `${c % 4},${(c % 4) + 4}\n`])),
};

test('cpulist: ranges, order, strides, duplicates', () => {
  assert.equal(parseCpus('0-3,8'), [0, 1, 2, 3, 8]);
  assert.equal(parseCpus('8,0-1,8'), [8, 0, 1]);
  assert.equal(parseCpus('0-7:2/4'), [0, 1, 4, 5]);
  assert.equal(parseCpus(' 1 , 2\n'), [1, 2]);
  assert.equal(parseCpus(''), []);
  for (const bad of ['3-1', 'a', '1,,2', '-1', '1-', '0-7:0/4', '0-7:5/4', '9999', '1.5', '0x1', ','])
    assert.type(parseCpus(bad), 'string', bad);
});

test('format and parse are inverse', () => {
  const lists = fc.uniqueArray(fc.integer({ min: 0, max: 300 }), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(lists, (list) => assert.equal(parseCpus(formatCpus(list)), list)),
    { seed: SEED },
  );
  assert.is(formatCpus([0, 1, 2, 8, 10, 11]), '0-2,8,10-11');
  assert.is(formatCpus([]), '');
});

test('a machine is what its files say; without files, what node says', () => {
  const m = readMachine(files(SMT));
  assert.equal(m.online, [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.is(m.nodeOf.get(6), 1);
  assert.is(m.siblingRank.get(3), 0);
  assert.is(m.siblingRank.get(7), 1);
  const bare = readMachine(() => null);
  assert.ok(bare.online.length >= 1);
  assert.equal(bare.pinnable, bare.online);
});

test('auto: SMT siblings last', () => {
  assert.equal(autoCpus(readMachine(files(SMT)), -1).cpus, [0, 1, 2, 3, 4, 5, 6, 7]);
  // as most machines with hyper-threading number them the other way round
  const adjacent = {
    ...SMT,
    ...Object.fromEntries(Array.from({ length: 8 }, (_, c) => [`${CPU}/cpu${c}/topology/thread_siblings_list`, `${c & ~1}-${c | 1}`])),
  };
  assert.equal(autoCpus(readMachine(files(adjacent)), -1).cpus, [0, 2, 4, 6, 1, 3, 5, 7]);
});

test("auto: the NIC's NUMA node first, its siblings before the other node", () => {
  assert.equal(autoCpus(readMachine(files(SMT)), 1).cpus, [2, 3, 6, 7, 0, 1, 4, 5]);
  const nic = files({ '/sys/class/net/veth1/device/numa_node': '1\n', '/sys/class/net/veth2/device/numa_node': '-1\n' });
  assert.is(nicNode('packet:veth1', nic), 1);
  assert.is(nicNode('packet:veth2', nic), -1);
  assert.is(nicNode('switch', nic), -1);
});

test('auto: isolated CPUs before all others, though outside the affinity the scheduler gave us', () => {
  const isolated = { ...SMT, [`${CPU}/isolated`]: '2-3,6', '/proc/self/status': 'Cpus_allowed_list:\t0-1,4-5,7\n' };
  const m = readMachine(files(isolated));
  assert.equal(m.pinnable, [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.equal(autoCpus(m, -1), { cpus: [2, 3, 6, 0, 1, 4, 5, 7], isolated: 3 });
  assert.is(autoWorkers('auto', 'dispatcher', m, 64), 2, "the isolated ones but the dispatcher's");
});

test('auto: an affinity set on purpose is kept to', () => {
  const taskset = { ...SMT, [`${CPU}/isolated`]: '2-3', '/proc/self/status': 'Cpus_allowed_list:\t4-5\n' };
  assert.equal(autoCpus(readMachine(files(taskset)), -1), { cpus: [4, 5], isolated: 0 });
});

test('cgroup cpusets, v2 and v1, through containers that see less of the path', () => {
  const v2 = files({ '/proc/self/cgroup': '0::/a/b\n', '/sys/fs/cgroup/a/cpuset.cpus.effective': '1-2\n' });
  assert.equal(cgroupCpuset(v2), [1, 2], 'the parent has the file');
  const v1 = files({
    '/proc/self/cgroup': '5:cpuacct,cpu:/x\n3:cpuset:/docker/1234\n0::/\n',
    '/sys/fs/cgroup/cpuset/cpuset.cpus': '0,3\n',
  });
  assert.equal(cgroupCpuset(v1), [0, 3]);
  const hybrid = files({ '/proc/self/cgroup': '3:cpuset:/c\n0::/d\n', '/sys/fs/cgroup/cpuset/c/cpuset.effective_cpus': '7\n' });
  assert.equal(cgroupCpuset(hybrid), [7]);
  assert.is(cgroupCpuset(files({ '/proc/self/cgroup': '0::/\n' })), null);
  assert.is(
    cgroupCpuset(() => null),
    null,
  );
  const m = readMachine(files({ ...SMT, '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/cpuset.cpus.effective': '4-5,9\n' }));
  assert.equal(m.pinnable, [4, 5], 'an offline CPU of the cpuset cannot be had');
  assert.equal(autoCpus(m, -1).cpus, [4, 5]);
});

test('the plan: dispatcher first, workers next, round and round with a warning', () => {
  const m = readMachine(files(SMT));
  assert.equal(cpuPlan({ cpus: 'auto', nic: 'switch' }, 3, m), { cpus: [0, 1, 2], warnings: [] });
  assert.equal(cpuPlan({ cpus: '6,2-3', nic: 'switch' }, 3, m), { cpus: [6, 2, 3], warnings: [] });
  const wrapped = cpuPlan({ cpus: '6,2', nic: 'switch' }, 5, m);
  assert.equal(wrapped.cpus, [6, 2, 6, 2, 6]);
  assert.is(wrapped.warnings.length, 1);
  assert.match(wrapped.warnings[0]!, /^5 threads on 2 CPUs \(6,2\)/);
  assert.equal(cpuPlan({ cpus: 'none', nic: 'switch' }, 2, m), { cpus: [-1, -1], warnings: [] });
  const near = cpuPlan({ cpus: 'auto', nic: 'packet:veth1' }, 2, m, files({ '/sys/class/net/veth1/device/numa_node': '1' }));
  assert.equal(near.cpus, [2, 3]);
});

test('the plan refuses CPUs that do not exist or are not ours', () => {
  const m = readMachine(files({ ...SMT, '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/cpuset.cpus.effective': '0-3\n' }));
  const plan = (cpus: string) => () => cpuPlan({ cpus, nic: 'switch' }, 2, m);
  assert.throws(plan('8'), (e: Error) => e instanceof ConfigError && /CPU 8 does not exist/.test(e.message));
  assert.throws(plan('3-4'), (e: Error) => e instanceof ConfigError && /CPU 4 is not allowed .* may use 0-3/.test(e.message));
});

test('workers: auto leaves the dispatcher a CPU of its own where there are two', () => {
  const m = readMachine(files(SMT));
  assert.is(autoWorkers('auto', 'dispatcher', m, 64), 7);
  assert.is(autoWorkers('auto', 'dispatcher-rx-tx', m, 64), 6, 'two threads in front');
  assert.is(autoWorkers('0-1', 'dispatcher-rx-tx', m, 64), 1);
  assert.is(autoWorkers('auto', 'run-to-completion', m, 64), 8, 'none');
  assert.is(autoWorkers('auto', 'inline', m, 64), 1);
  assert.is(autoWorkers('1,3', 'dispatcher', m, 64), 1);
  assert.is(autoWorkers('5', 'dispatcher', m, 64), 1);
  assert.is(autoWorkers('none', 'dispatcher', m, 4), 4);
});

process.stdout.write(`SEED=${SEED}\n`);
test.run();
