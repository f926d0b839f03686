// What the kernel already owns, and what it lets this user open; both read from files that the tests describe.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { formatIpv4, parseIpv4 } from '../../../src/wire/ipv4.ts';
import { ConfigError, PrivilegeError } from '../../../src/main/config/configError.ts';
import { checkAddressOwnership, hasCapability, kernelAddresses, portRefusal } from '../../../src/main/config/ownership.ts';
import type { ReadText } from '../../../src/main/cpus.ts';

const files =
  (map: Record<string, string>): ReadText =>
  (path) =>
    map[path] ?? null;

/** As /proc/net/fib_trie prints it: eth0 with 192.0.2.2/24, a TAP without carrier with 198.51.100.1/24. */
const FIB = `Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
Local:
  +-- 0.0.0.0/0 3 0 5
     +-- 127.0.0.0/8 2 0 2
        +-- 127.0.0.0/31 1 0 0
           |-- 127.0.0.0
              /8 host LOCAL
           |-- 127.0.0.1
              /32 host LOCAL
     +-- 192.0.2.0/24 2 0 2
        +-- 192.0.2.0/30 2 0 2
           |-- 192.0.2.0
              /24 link UNICAST
           |-- 192.0.2.2
              /32 host LOCAL
        |-- 192.0.2.255
           /32 link BROADCAST
     +-- 198.51.100.0/24 2 0 2
        |-- 198.51.100.1
           /32 host LOCAL
`;

const interfaces = () => ({
  eth0: [{ address: '192.0.2.2', family: 'IPv4' as const, cidr: '192.0.2.2/24', netmask: '255.255.255.0', mac: '', internal: false }],
});

/** As /proc/net/route prints it on a little-endian machine: a default route, and the links of both. */
const ROUTE = `Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
tap0\t006433C6\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
`;

const addresses = kernelAddresses(files({ '/proc/net/fib_trie': FIB, '/proc/net/route': ROUTE }), interfaces);

test('kernel addresses: of interfaces, and of the local table where an interface has no carrier', () => {
  const shown = addresses.map((a) => `${formatIpv4(a.ip)}/${a.prefix} ${a.iface}`).sort();
  assert.equal(shown, ['127.0.0.1/32 ', '192.0.2.2/24 eth0', '198.51.100.1/24 tap0']);
  const unknown = kernelAddresses(files({ '/proc/net/fib_trie': FIB }), interfaces).find((a) => a.ip === parseIpv4('198.51.100.1'));
  assert.equal([unknown!.iface, unknown!.prefix], ['', 32]);
});

test("an address the kernel owns is refused with another one of the link, networks' own lines are not hosts", () => {
  const tap = (address: string) => () => checkAddressOwnership({ nic: 'tap:t', address }, addresses);
  assert.throws(
    tap('192.0.2.2/24'),
    (e: Error) => e instanceof ConfigError && /kernel owns 192\.0\.2\.2 on eth0 .* --address 192\.0\.2\.3\/24$/.test(e.message),
  );
  assert.throws(tap('198.51.100.1/24'), (e: Error) =>
    /^address: the kernel owns 198\.51\.100\.1 on tap0 and .* --address 198\.51\.100\.2\/24$/.test(e.message),
  );
  assert.throws(
    () => checkAddressOwnership({ nic: 'tap:t', address: '192.0.2.2/24' }, addresses, '--address'),
    (e: Error) => e.message.startsWith('--address: the kernel owns 192.0.2.2'),
  );
  assert.not.throws(tap('192.0.2.3/24'));
  assert.not.throws(tap('198.51.100.2/24'));
  assert.throws(
    () => checkAddressOwnership({ nic: 'packet:eth0', address: '192.0.2.2/24' }, addresses),
    /kernel owns 192\.0\.2\.2 on eth0/,
  );
  assert.not.throws(() => checkAddressOwnership({ nic: 'switch', address: '192.0.2.2/24' }, addresses), 'the switch is in memory');
});

test('capabilities are read bit by bit', () => {
  const caps = (hex: string): boolean => hasCapability(12, files({ '/proc/self/status': `Name:\tx\nCapEff:\t${hex}\n` }));
  assert.is(caps('000001ffffffffff'), true);
  assert.is(caps('0000000000001000'), true);
  assert.is(caps('000001ffffffefff'), false);
  assert.is(caps('0000000000000000'), false);
  assert.is(
    hasCapability(12, () => null),
    false,
  );
});

test('opening a TAP: device, kind, capability, owner', () => {
  const root = { '/proc/self/status': 'CapEff:\t000001ffffffffff\n' };
  const user = { '/proc/self/status': 'CapEff:\t0000000000000000\n' };
  const refusal = (map: Record<string, string>, tun: string | null = null, nic = 'tap:t0'): string | null =>
    portRefusal({ nic }, files(map), () => tun);
  const net = '/sys/class/net/t0';
  assert.is(refusal(root), null);
  assert.is(refusal(user, 'ENOENT', 'switch'), null);
  assert.match(refusal(root, 'ENOENT')!, /\/dev\/net\/tun does not exist; load the module/);
  assert.match(refusal(root, 'EACCES')!, /no permission to open \/dev\/net\/tun/);
  assert.match(refusal(user)!, /no privilege \(CAP_NET_ADMIN\) for tap:t0; run as root, or once: ip tuntap add t0/);
  const here = { '/proc/net/dev': 'Inter-|   Receive\n face |bytes\n    lo: 0 0\n    t0:  12 0\n', [`${net}/ifindex`]: '4' };
  assert.match(refusal({ ...root, ...here })!, /t0 exists and is no TAP device/);
  assert.match(refusal({ ...root, ...here, [`${net}/tun_flags`]: '0x1001' })!, /TUN device/);
  const own = { ...user, ...here, [`${net}/tun_flags`]: '0x5002' };
  assert.is(refusal({ ...own, [`${net}/owner`]: String(process.getuid!()) }), null);
  assert.match(refusal({ ...own, [`${net}/owner`]: '-1' })!, /no privilege/);
  assert.is(refusal({ ...root, [`${net}/ifindex`]: '4' }), null, 'an interface of another network namespace does not count');
  const e = new PrivilegeError('x');
  assert.is(e.code, 'FLOWRING_PRIVILEGE');
  assert.is(e.exitCode, 2);
});

test('opening a packet socket: loopback, absent interface, capability', () => {
  const net = { '/proc/net/dev': 'Inter-|   Receive\n face |bytes\n    lo: 0 0\n  eth7:  12 0\n' };
  const root = { ...net, '/proc/self/status': 'CapEff:\t0000000000002000\n' };
  const user = { ...net, '/proc/self/status': 'CapEff:\t0000000000001000\n' };
  const refusal = (map: Record<string, string>, nic = 'packet:eth7'): string | null => portRefusal({ nic }, files(map), () => 'ENOENT');
  assert.is(refusal(root), null, 'CAP_NET_RAW alone will do, and no /dev/net/tun is asked for');
  assert.match(refusal(user)!, /no privilege \(CAP_NET_RAW\) for packet:eth7; run as root/);
  assert.match(refusal(root, 'packet:lo')!, /lo is the loopback.*; name a NIC or a veth/);
  assert.match(refusal(root, 'packet:eth8')!, /no interface eth8 in this network namespace; here are eth7$/);
  assert.match(refusal({ ...root, '/proc/net/dev': '    lo: 0 0\n' })!, /none is here but lo/);
});

test.run();
