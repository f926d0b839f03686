// doctor: each lack of a machine, described, becomes a line with its fix; only what these options need fails.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { diagnose, type Finding, formatFinding, type Surroundings } from '../../../src/main/cli/doctor.ts';
import { parseIpv4 } from '../../../src/wire/ipv4.ts';
import { portRefusal } from '../../../src/main/config/ownership.ts';

const MEMINFO = 'MemTotal: 8000000 kB\nMemAvailable: 4000000 kB\nHugePages_Total:       0\n';
const four = [0, 1, 2, 3];

function surroundings(over: Partial<Surroundings> = {}, files: Record<string, string> = {}): Surroundings {
  const map: Record<string, string> = {
    '/proc/meminfo': MEMINFO,
    '/sys/kernel/mm/transparent_hugepage/enabled': 'always [madvise] never',
    ...files,
  };
  return {
    read: (path) => map[path] ?? null,
    machine: { online: four, allowed: four, pinnable: four, isolated: [], narrowed: false, nodeOf: new Map(), siblingRank: new Map() },
    addresses: [],
    addonProblem: null,
    addonOff: false,
    build: 'node scripts/build-native.mjs',
    has: () => true,
    nodeHeaders: true,
    node: '20.11.0',
    kernel: '6.1.0-13-amd64',
    shmFree: 2 ** 30,
    refusal: () => null,
    link: () => null,
    ...over,
  };
}

const of = (findings: Finding[], check: string): Finding => {
  const found = findings.find((f) => f.check === check);
  assert.ok(found, `${check} in ${findings.map((f) => f.check).join(' ')}`);
  return found!;
};
const TAP = { flags: { nic: 'tap:t0', address: '192.0.2.2/24', workers: '2' } };
const fails = (findings: Finding[]): string[] => findings.filter((f) => f.verdict === 'fail').map((f) => f.check);

test('a healthy machine runs the switch without a fail or a warning', () => {
  const findings = diagnose({}, surroundings());
  assert.equal(
    findings.filter((f) => f.verdict !== 'ok'),
    [],
  );
  assert.ok(findings.length >= 9);
});

test('without an addon the switch is warned about, a TAP fails, and the missing tools are named', () => {
  const bare = surroundings({
    addonProblem: 'flowring.node is not built',
    has: (c) => c !== 'make' && !c.endsWith('++'),
    nodeHeaders: false,
  });
  assert.equal(fails(diagnose({}, bare)), []);
  assert.is(of(diagnose({}, bare), 'addon').verdict, 'warn');
  const tap = diagnose(TAP, bare);
  assert.equal(fails(tap), ['addon']);
  assert.is(of(tap, 'compiler').text, 'missing: a C++ compiler, make');
  assert.is(of(tap, 'compiler').fix, 'apt install g++ make, then node scripts/build-native.mjs');
  assert.match(of(tap, 'headers').text, /node-api-headers/);
  const off = diagnose(TAP, surroundings({ addonProblem: 'switched off by FLOWRING_NATIVE=0', addonOff: true, has: () => false }));
  assert.is(of(off, 'addon').fix, 'unset FLOWRING_NATIVE');
  assert.not(
    off.some((f) => f.check === 'compiler'),
    'nothing has to be built',
  );
});

test('no privilege fails for a TAP, with both ways out', () => {
  const user = surroundings({
    refusal: (c) =>
      portRefusal(
        c,
        () => null,
        () => null,
      ),
  });
  const f = of(diagnose(TAP, user), 'privileges');
  assert.is(f.verdict, 'fail');
  assert.match(f.text, /CAP_NET_ADMIN/);
  assert.match(f.fix, /run as root, or once: ip tuntap add t0 mode tap/);
  assert.equal(fails(diagnose({}, user)), []);
});

test('the address: owned by the kernel fails; a link elsewhere or unreachable is warned about', () => {
  const kernel = (text: string, iface: string) => surroundings({ addresses: [{ ip: parseIpv4(text)!, iface, prefix: 24 }] });
  const owned = of(diagnose(TAP, kernel('192.0.2.2', 'eth0')), 'address');
  assert.is(owned.verdict, 'fail');
  assert.match(owned.text, /kernel owns 192\.0\.2\.2 on eth0/);
  const elsewhere = of(diagnose(TAP, kernel('192.0.2.9', 'eth0')), 'route');
  assert.is(elsewhere.verdict, 'warn');
  assert.match(elsewhere.text, /192\.0\.2\.9\/24 of the same link on eth0/);
  assert.is(of(diagnose(TAP, surroundings()), 'route').fix, 'ip addr add 192.0.2.1/24 dev t0, once it is up');
  assert.is(of(diagnose(TAP, kernel('192.0.2.1', 't0')), 'route').verdict, 'ok');
});

test('a TAP that exists: its queues, and whether somebody holds it', () => {
  const net = { '/proc/net/dev': 'face |bytes\n    t0: 0 0\n' };
  const found = (tunFlags: string, carrier: string, layout = 'dispatcher'): Finding => {
    const files = { ...net, '/sys/class/net/t0/tun_flags': `${tunFlags}\n`, '/sys/class/net/t0/carrier': `${carrier}\n` };
    return of(diagnose({ flags: { ...TAP.flags, layout } }, surroundings({}, files)), 'interface');
  };
  assert.is(found('0x1802', '0').text, 't0 exists and is attached to');
  const few = found('0x1802', '0', 'run-to-completion');
  assert.equal([few.verdict, few.text], ['fail', 't0 exists with one queue, 2 are needed']);
  assert.match(few.fix, /ip link del t0.* multi_queue/);
  assert.is(found('0x1902', '0', 'run-to-completion').verdict, 'ok');
  assert.equal([found('0x1802', '1').verdict, found('0x1802', '1').text], ['fail', 'another process holds t0']);
  assert.is(found('0x1902', '1').verdict, 'ok', 'one with several queues can be shared');
});

test('CPUs, governor, quota', () => {
  const many = diagnose({ flags: { workers: '8' } }, surroundings());
  assert.is(of(many, 'cpus').verdict, 'warn');
  const slow = surroundings(
    {},
    { '/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor': 'powersave\n', '/sys/fs/cgroup/cpu.max': '150000 100000\n' },
  );
  assert.match(of(diagnose({}, slow), 'governor').text, /powersave/);
  assert.match(of(diagnose({}, slow), 'quota').text, /1\.5 CPUs, for 4 threads/);
  const free = surroundings({}, { '/sys/fs/cgroup/cpu.max': 'max 100000\n' });
  assert.not(diagnose({}, free).some((f) => f.check === 'quota'));
});

test('a wrong configuration is a finding; the machine is looked at all the same', () => {
  const findings = diagnose({ sets: ['rings.rx=1000'] }, surroundings());
  assert.equal(fails(findings), ['config']);
  assert.match(of(findings, 'config').text, /not a power of two/);
  assert.match(of(findings, 'config').fix, /nearest is 1024/);
  assert.is(of(findings, 'kernel').verdict, 'ok');
});

test('old node, old kernel, little memory, no /dev/shm', () => {
  const old = surroundings({ node: '20.10.0', kernel: '3.2.0', shmFree: null }, { '/proc/meminfo': 'MemAvailable: 20000 kB\n' });
  const findings = diagnose(TAP, old);
  assert.equal(fails(findings), ['node', 'kernel']);
  assert.is(of(findings, 'memory').verdict, 'warn');
  assert.is(of(findings, 'shm').verdict, 'warn');
});

test('one line a finding, the fix at its end', () => {
  const line = formatFinding({ verdict: 'warn', check: 'route', text: 'no way', fix: 'make one' });
  assert.match(line, /warn.*route +no way; fix: make one$/);
  for (const f of diagnose(TAP, surroundings({ addonProblem: 'x' }))) {
    assert.not.match(formatFinding(f), /\n/);
    if (f.verdict !== 'ok') assert.ok(f.fix.length > 0, f.check);
  }
});

const LINK = {
  mtu: 1500,
  mac: '02:00:00:00:00:01',
  up: true,
  running: true,
  ethernet: true,
  loopback: false,
  rxChecksum: true,
  txChecksum: true,
  tso: false,
  gro: true,
  lro: false,
};

test('a packet socket: the kernel, the interface, its offloads, and who will reach the stack', () => {
  const flags = { nic: 'packet:eth7', address: '192.0.2.2/24', workers: '2' };
  const found = (over: Partial<Surroundings>, sets: string[] = []): Finding[] => diagnose({ flags, sets }, surroundings(over));
  const fine = found({ link: () => LINK, addresses: [{ ip: parseIpv4('192.0.2.1')!, iface: 'eth0', prefix: 24 }] });
  assert.equal(
    fine.filter((f) => f.verdict !== 'ok'),
    [],
  );
  assert.is(of(fine, 'interface').text, "eth7 is up, MTU 1500, and stays the kernel's, 02:00:00:00:00:01");
  assert.is(of(fine, 'offloads').text, 'of eth7: rx-checksum, tx-checksum, gro; by the kernel or the stack: tso');
  assert.match(of(fine, 'route').text, /stations on eth7's link reach it/);
  const finding = (link: Partial<typeof LINK>, check: string): Finding => of(found({ link: () => ({ ...LINK, ...link }) }), check);
  assert.is(finding({ up: false }, 'interface').fix, 'ip link set eth7 up');
  assert.is(finding({ up: false }, 'interface').verdict, 'fail');
  assert.is(finding({ running: false }, 'interface').verdict, 'warn');
  assert.match(finding({ ethernet: false }, 'interface').text, /carries no Ethernet/);
  assert.is(finding({ mtu: 1400 }, 'mtu').fix, '--set mtu=1400');
  assert.is(finding({ lro: true }, 'lro').fix, 'ethtool -K eth7 lro off gro on');
  assert.match(of(found({ kernel: '4.5.1' }), 'kernel').text, /before 4\.6/);
  assert.is(of(found({ kernel: '4.5.1' }), 'kernel').verdict, 'fail');
  const owned = found({ addresses: [{ ip: parseIpv4('192.0.2.2')!, iface: 'eth7', prefix: 24 }] });
  assert.match(of(owned, 'address').text, /the kernel owns 192\.0\.2\.2 on eth7/);
  const memory = (slots: string): number => Number(/^(\d+) MiB/.exec(of(found({}, [`packet.rx-slots=${slots}`]), 'memory').text)![1]);
  assert.is(memory('1500') - memory('15'), 99, 'the ring is counted');
});

test.run();
