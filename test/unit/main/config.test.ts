// Configuration: every way a value can come in, every way it can be wrong, and what is derived from what.
import * as fc from 'fast-check';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ConfigError } from '../../../src/main/config/configError.ts';
import { configJsonSchema, configMarkdown, printConfig, printConfigJson } from '../../../src/main/config/describe.ts';
import { type LoadOptions, loadConfig, stackConfigOf } from '../../../src/main/config/load.ts';
import { allSpecs, camelOf, type Config, defineConfig, type Key, type KeySpec } from '../../../src/main/config/schema.ts';
import { nearestKey } from '../../../src/main/config/source.ts';
import type { Machine } from '../../../src/main/cpus.ts';
import { arenaBytes } from '../../../src/stack/arenaPlan.ts';

const cpuRange = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const machine = (cpus: number): Machine => ({
  online: cpuRange(cpus),
  allowed: cpuRange(cpus),
  pinnable: cpuRange(cpus),
  isolated: [],
  narrowed: false,
  nodeOf: new Map(),
  siblingRank: new Map(),
});

const dir = mkdtempSync(join(tmpdir(), 'flowring-config-'));
test.after(() => rmSync(dir, { recursive: true, force: true }));
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));

function file(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
}

const load = (options: LoadOptions): ReturnType<typeof loadConfig> => loadConfig({ machine: machine(8), ...options });
const set = (...sets: string[]): Config => load({ sets }).values;

/** The message of the ConfigError, which must be one line and carry exit code 2. */
function refused(options: LoadOptions): string {
  try {
    load(options);
  } catch (e) {
    assert.instance(e, ConfigError);
    assert.is((e as ConfigError).code, 'FLOWRING_CONFIG');
    assert.is((e as ConfigError).exitCode, 2);
    assert.not.match((e as Error).message, /\n/);
    return (e as Error).message;
  }
  return assert.unreachable(`accepted: ${JSON.stringify(options)}`) as never;
}

test('the defaults are valid by themselves, on one CPU and on many', () => {
  for (const cpus of [1, 2, 3, 64, 200]) {
    const { values, warnings } = loadConfig({ machine: machine(cpus) });
    assert.equal(warnings, []);
    assert.is(values.workers, Math.min(64, Math.max(1, cpus - 1)));
    assert.is(values.nic, 'switch');
    assert.is(values.tcpMss, 1460);
  }
});

test('every key has help, a version, a default its own parser accepts, and a camelCase name of its own', () => {
  const names = new Set<string>();
  for (const spec of allSpecs()) {
    assert.ok(spec.help.length > 8, spec.key);
    assert.match(spec.since, /^\d+\.\d+$/);
    assert.match(spec.key, /^[a-z0-9]+([.-][a-z0-9]+)*$/);
    names.add(camelOf(spec.key));
    if (spec.default === null) continue;
    const text = Array.isArray(spec.default) ? 'none' : String(spec.default);
    const { values } = load({ sets: [`${spec.key}=${text}`] });
    if (spec.auto === undefined) assert.equal(values[camelOf(spec.key)], spec.default, spec.key);
  }
  assert.is(names.size, allSpecs().length);
});

/** A value away from the default, the text that says it, and a value the key must refuse. */
const SAMPLES: Record<Key, readonly [text: string, value: unknown, wrong: string, ...with_: string[]]> = {
  nic: ['tap:tap7', 'tap:tap7', 'xdp:eth0', 'address=192.0.2.5/24'],
  address: ['10.1.2.3/16', '10.1.2.3/16', '10.1.2.3'],
  gateway: ['198.18.0.254', '198.18.0.254', '198.18.0'],
  mac: ['02:00:00:00:AB:07', '02:00:00:00:ab:07', '01:00:00:00:00:07'],
  mtu: ['1280', 1280, '100'],
  workers: ['3', 3, '65'],
  cpus: ['2,4-5', '2,4-5', '5-4'],
  layout: ['inline', 'inline', 'circle'],
  steering: ['modulo', 'modulo', 'random'],
  idle: ['latency', 'latency', 'lazy'],
  'idle.spins': ['7', 7, '-1'],
  burst: ['32', 32, '65'],
  'burst-bytes': ['128K', 131072, '0'],
  frames: ['20000', 20000, '1.5'],
  'frame-bytes': ['8K', 8192, '3000'],
  'rings.rx': ['2K', 2048, '1000'],
  'rings.tx': ['128', 128, '131072'],
  'rings.grant': ['256', 256, '63'],
  'rings.redirect': ['16', 16, '17'],
  'rings.overflow': ['0', 0, '-1'],
  'offload.tx-checksum': ['off', 'off', 'on'],
  'offload.tso': ['off', 'off', 'maybe'],
  'offload.gro': ['off', 'off', '1'],
  'tcp.max-connections': ['100', 100, '8'],
  'tcp.rcvbuf': ['64K', 65536, '1K'],
  'tcp.sndbuf': ['1M', 1048576, '1T'],
  'tcp.time-wait-ms': ['2s', 2000, '1 fortnight'],
  'tcp.rto-min-ms': ['10', 10, '0'],
  'tcp.rto-initial-ms': ['300 ms', 300, 'soon'],
  'tcp.rto-max-ms': ['2s', 2000, '10'],
  'tcp.delayed-ack-ms': ['0', 0, '501'],
  'tcp.syn-retries': ['1', 1, '17'],
  'tcp.retries': ['2', 2, '0'],
  'tcp.fin-wait2-ms': ['1s', 1000, '-1'],
  'tcp.idle-timeout-ms': ['30s', 30000, '-1'],
  'tcp.nagle': ['off', false, 'perhaps'],
  'tcp.window-scale': ['9', 9, '15'],
  'tcp.sack': ['off', false, '2'],
  'tcp.timestamps': ['false', false, '2'],
  'tcp.mss': ['536', 536, '9000'],
  'udp.max-sockets': ['100', 100, '8'],
  'udp.rcvbuf': ['64K', 65536, '1K'],
  'udp.sndbuf': ['1M', 1048576, '1T'],
  chunks: ['5000', 5000, '3'],
  'chunk-bytes': ['8K', 8192, '5000'],
  pipes: ['0', 0, '1025'],
  'pipe-bytes': ['64K', 65536, '4095'],
  'packet.transmit-ring': ['off', false, 'ring'],
  'packet.rx-slots': ['120', 120, '14'],
  'switch.loss': ['1%', 0.01, '101%'],
  'switch.delay-us': ['5ms', 5000, '-1'],
  'switch.jitter-us': ['50', 50, '20s'],
  'switch.reorder': ['0.5', 0.5, '2'],
  'switch.duplicate': ['0.25', 0.25, 'x'],
  'switch.corrupt': ['1', 1, '-0.1'],
  'switch.rate-bps': ['10Mbit', 1e7, '10 MB'],
  'switch.seed': ['42', 42, '1.5'],
  'arp.static': ['198.18.0.9=02:00:00:00:00:09', ['198.18.0.9=02:00:00:00:00:09'], '198.18.0.9'],
  supervise: ['fail', 'fail', 'never'],
  'supervise.backoff-ms': ['2s', 2000, '6s'],
  'supervise.restarts': ['0', 0, '-1'],
  'supervise.watchdog-ms': ['0', 0, '11min'],
  'drain-ms': ['0', 0, '11min'],
  'background.threads': ['3', 3, '0'],
  'background.cpus': ['0-1', '0-1', '0-'],
  'background.nice': ['0', 0, '20'],
  'background.queue': ['8', 8, '0'],
  'background.idle-ms': ['1s', 1000, '-1'],
};

test('every key takes a value from --set, says where it came from, and refuses a wrong one by name', () => {
  for (const [key, [text, value, wrong, ...others]] of Object.entries(SAMPLES)) {
    const config = load({ sets: [...others, `${key}=${text}`] });
    assert.equal(config.values[camelOf(key)], value, key);
    assert.is(config.origin(key as Key), '--set');
    const message = refused({ sets: [...others, `${key}=${wrong}`] });
    assert.ok(message.startsWith(`--set: ${key}: "${wrong}"`), message);
    assert.match(message, /allowed: /);
  }
  assert.equal(
    Object.keys(SAMPLES).sort(),
    allSpecs()
      .map((s) => s.key)
      .sort(),
    'every key has a sample',
  );
});

test('a group misspelt, or used as a key', () => {
  assert.is(refused({ code: { tpc: { nagle: true } } as never }), 'code: unknown group "tpc", did you mean "tcp"?');
  assert.is(
    refused({ sets: ['rings=5'] }),
    '--set: "rings" is a group of keys; write one of rings.rx, rings.tx, rings.grant, rings.redirect, rings.overflow',
  );
  assert.is(
    refused({ code: { workers: 99 }, codePlace: 'my.config.mjs' }),
    'my.config.mjs: workers: 99 is above 64; allowed: 1 to 64 threads or auto',
  );
});

test('an unknown key names the nearest one', () => {
  assert.is(refused({ sets: ['tcp.recvbuf=1'] }), '--set: unknown key "tcp.recvbuf", did you mean "tcp.rcvbuf"?');
  assert.is(nearestKey('rcvbuf'), 'tcp.rcvbuf');
  assert.is(nearestKey('time_wait_ms'), 'tcp.time-wait-ms');
  assert.is(nearestKey('wrokers'), 'workers');
  assert.is(nearestKey('x'), undefined, 'a letter is near to nothing');
  assert.is(nearestKey('mta'), 'mtu');
  assert.is(nearestKey('num_coers', ['num_cores']), 'num_cores');
  assert.is(nearestKey('windowScale'), 'tcp.window-scale');
  assert.is(nearestKey('colour-of-the-sky'), undefined);
  assert.match(refused({ sets: ['colour-of-the-sky=blue'] }), /unknown key "colour-of-the-sky", docs\/config\.md/);
  assert.match(refused({ sets: ['workers'] }), /"workers" is not key=value/);
});

test('JSON with comments: nested and dotted, with file and line in every error', () => {
  const good = file(
    'good.json',
    '// mine\n{\n  "workers": 2, /* two */\n  "tcp": { "rcvbuf": "64K", "nagle": false },\n  "rings.rx": 128,\n}\n',
  );
  const config = load({ file: good });
  assert.is(config.values.tcpRcvbuf, 65536);
  assert.is(config.values.tcpNagle, false);
  assert.is(config.origin('workers'), `${good}:3`);
  assert.is(config.origin('tcp.nagle'), `${good}:4`);
  assert.is(config.origin('rings.rx'), `${good}:5`);
  assert.is(config.origin('rings.tx'), 'default');
  const unknown = file('unknown.json', '{\n "tcp": {\n  "nagel": 1 }\n}');
  assert.is(refused({ file: unknown }), `${unknown}:3: unknown key "tcp.nagel", did you mean "tcp.nagle"?`);
  const bad = file('bad.json', '{\n\n "rings.rx": 1000 }');
  assert.ok(refused({ file: bad }).startsWith(`${bad}:3: rings.rx: 1000 is not a power of two; allowed: 64 to 65536 slots`));
  assert.match(refused({ file: bad }), /the nearest is 1024$/);
  const twice = file('twice.json', '{ "workers": 1,\n "workers": 2 }');
  assert.ok(refused({ file: twice }).startsWith(`${twice}:2: workers: set twice, first at ${twice}:1`));
  const syntax = file('syntax.json', '{ "workers": 1\n "cpus": "0" }');
  assert.ok(refused({ file: syntax }).startsWith(`${syntax}:2: not valid JSON: `));
  assert.match(refused({ file: file('list.json', '[1]') }), /not a JSON object/);
  assert.match(refused({ file: file('empty.json', '') }), /not valid JSON|not a JSON object/);
  assert.match(refused({ file: file('object.json', '{"workers": {"a": 1}}') }), /object\.json:1: workers: /);
  assert.match(refused({ file: file('null.json', '{"workers": null}') }), /workers: null is not a number/);
  assert.match(refused({ file: join(dir, 'absent.json') }), /absent\.json: cannot read the configuration: no such file/);
  assert.match(refused({ file: dir }), /is a directory/);
});

test("mTCP's files load; what has no meaning here is reported with the reason", () => {
  const path = file(
    'server.conf',
    '# mTCP\nio = netmap\nnum_cores = 3\nport = tap3   # ours\nmax_concurrency = 10000\nrcvbuf = 8192\nsndbuf=8192\ntcp_timeout = 30\ntcp_timewait = 2\nstat_print = eth4\nodd_one 7\naddress = 192.0.2.5/24\n',
  );
  const { values, origin, warnings } = load({ file: path });
  assert.is(values.workers, 3);
  assert.is(values.nic, 'tap:tap3');
  assert.is(values.tcpMaxConnections, 10000);
  assert.is(values.tcpRcvbuf, 8192);
  assert.is(values.tcpSndbuf, 8192);
  assert.is(values.tcpTimeWaitMs, 2000);
  assert.is(values.tcpIdleTimeoutMs, 30000);
  assert.is(load({ file: file('never.conf', 'tcp_timeout = -1\n') }).values.tcpIdleTimeoutMs, 0);
  assert.is(values.address, '192.0.2.5/24');
  assert.is(origin('workers'), `${path}:3 (num_cores)`);
  assert.equal(
    warnings.map((w) => w.replace(`${path}:`, '').split(':').slice(0, 2).join(':').split(' ignored')[0]),
    ['2: io', '10: stat_print', '11: odd_one'],
  );
  const udp = load({ file: file('udp.conf', 'udp_send_buffer = 65536\nudp_recv_buffer = 131072\nudp_list_entries = 9\n') });
  assert.equal([udp.values.udpSndbuf, udp.values.udpRcvbuf, udp.warnings.length], [65536, 131072, 1]);
  assert.is(load({ file: file('udp2.conf', 'udp_receive_buffer = 4096\n') }).values.udpRcvbuf, 4096);
  const kernel = load({ file: file('kernel.conf', 'port = eth4\n') });
  assert.is(kernel.values.nic, 'switch');
  assert.match(kernel.warnings[0]!, /port = eth4 ignored: .* say --nic packet:eth4$/);
  const shared = load({ file: file('packet.conf', 'port = packet:eth4\naddress = 192.0.2.5/24\n') });
  assert.is(shared.values.nic, 'packet:eth4');
  assert.match(refused({ file: file('bad.conf', '\nnum_cores = many\n') }), /bad\.conf:2 \(num_cores\): workers: "many" is not a number/);
  assert.match(refused({ file: file('line.conf', 'num_cores\n') }), /line\.conf:1: "num_cores" is not key = value/);
});

test('later sources win: default, code, file, flag, --set', () => {
  const path = file('layers.json', '{"burst": 3, "tcp.retries": 3, "mtu": 1300, "workers": 3}');
  const config = load({
    code: { burst: 2, tcp: { retries: 2, 'syn-retries': 2 }, mtu: 1200, workers: 2 },
    file: path,
    flags: { mtu: '1400', workers: '4', cpus: undefined },
    sets: ['workers=5'],
  });
  assert.equal(
    (['tcp.syn-retries', 'burst', 'tcp.retries', 'mtu', 'workers', 'cpus'] as const).map((k) => [
      config.values[camelOf(k)],
      config.origin(k),
    ]),
    [
      [2, 'code'],
      [3, `${path}:1`],
      [3, `${path}:1`],
      [1400, '--mtu'],
      [5, '--set'],
      ['auto', 'default'],
    ],
  );
});

test('code may say dotted keys, groups, or the camelCase of a Config, so that a Config is input again', () => {
  const a = load({
    code: defineConfig({
      'tcp.rcvbuf': '1M',
      rings: { rx: 256 },
      tcp: { timeWaitMs: '3s', 'syn-retries': 1 },
      idleSpins: 9,
      arpStatic: ['198.18.0.9=02:00:00:00:00:09'],
    }),
  });
  assert.is(a.values.tcpRcvbuf, 1048576);
  assert.is(a.values.ringsRx, 256);
  assert.is(a.values.tcpTimeWaitMs, 3000);
  assert.is(a.values.tcpSynRetries, 1);
  assert.is(a.values.idleSpins, 9);
  assert.equal(load({ code: a.values }).values, a.values);
  assert.equal(structuredClone(a.values), a.values);
  assert.match(refused({ code: { tcp: { nagel: true } } as never }), /^code: unknown key "tcp.nagel", did you mean "tcp.nagle"/);
});

test('layout: its words, and those of other programs for them', () => {
  assert.is(set('layout=N-1').layout, 'dispatcher');
  assert.is(set('layout=one-bypass').layout, 'dispatcher');
  assert.is(set('layout=1 KB').layout, 'dispatcher');
  const single = set('layout=Single Core');
  assert.is(single.layout, 'inline');
  assert.is(single.workers, 1);
  for (const word of ['two-bypass', '2 KB', 'N-2', 'dispatcher-rx-tx']) assert.is(set(`layout=${word}`).layout, 'dispatcher-rx-tx');
  for (const word of ['run-to-completion', 'VALE-mq', 'NIC RSS', 'multi-queue'])
    assert.is(set(`layout=${word}`).layout, 'run-to-completion');
  assert.match(refused({ flags: { layout: 'pipeline' } }), /^--layout: "pipeline" is not one of its words/);
  assert.match(refused({ flags: { layout: 'inline', workers: '2' } }), /^--workers: 2 do not fit layout inline/);
});

test('addresses no host may have, gateways off the link, a TAP without an address', () => {
  const address = (cidr: string): string => refused({ flags: { nic: 'tap:t', address: cidr } });
  assert.match(address('0.1.2.3/24'), /0\.0\.0\.0\/8/);
  assert.match(address('127.0.0.1/8'), /loopback/);
  assert.match(address('224.0.0.1/24'), /multicast/);
  assert.match(address('250.0.0.1/24'), /reserved/);
  assert.match(address('192.0.2.0/24'), /network address/);
  assert.match(address('192.0.2.255/24'), /broadcast address/);
  assert.match(address('192.0.2.300/24'), /not an IPv4 address/);
  assert.match(address('192.0.2.3/33'), /not an IPv4 address/);
  assert.match(address('192.0.02.3/24'), /not an IPv4 address/);
  assert.match(address('192.0.2.2'), /write 192\.0\.2\.2\/24$/);
  assert.is(load({ flags: { address: '192.0.2.0/31' } }).values.address, '192.0.2.0/31', 'RFC 3021: both addresses of a /31 are hosts');
  assert.match(refused({ flags: { nic: 'tap:t' } }), /^address: missing: the stack on tap:t needs one/);
  const gateway = (ip: string): string => refused({ flags: { address: '192.0.2.2/24', gateway: ip } });
  assert.match(gateway('192.0.3.1'), /^--gateway: "192\.0\.3\.1" is not on the link of 192\.0\.2\.2\/24/);
  assert.match(gateway('192.0.2.2'), /own address/);
  assert.match(gateway('192.0.2.255'), /broadcast/);
  assert.match(refused({ sets: ['arp.static=10.0.0.1=02:00:00:00:00:01'] }), /not on the link/);
});

test('kinds of port', () => {
  const nic = (text: string): string => refused({ flags: { nic: text, address: '192.0.2.2/24' } });
  assert.match(nic('xdp:eth0'), /not available in this version/);
  assert.match(nic('eth0'), /not a kind of port.*say packet:NAME for an interface of the kernel, tap:NAME/);
  assert.match(nic('packet'), /no valid interface name/);
  assert.match(nic('packet:a/b'), /no valid interface name/);
  assert.is(load({ flags: { nic: 'packet:eth0', address: '192.0.2.2/24' } }).values.nic, 'packet:eth0');
  assert.match(nic('tap:'), /no valid interface name/);
  assert.match(nic('tap:sixteen-letters!'), /no valid interface name/);
  assert.match(nic('tap:a/b'), /no valid interface name/);
  assert.match(nic('switch:eth0'), /in memory/);
  assert.is(load({ flags: { nic: 'tap', address: '192.0.2.2/24' } }).values.nic, 'tap');
});

test('CPUs must exist and be ours', () => {
  assert.match(refused({ flags: { cpus: '0-9' } }), /^--cpus: CPU 8-9 does not exist or is offline; this machine has 0-7$/);
  const caged = { ...machine(8), pinnable: [0, 1] };
  assert.match(
    refused({ flags: { cpus: '1-2' }, machine: caged }),
    /^--cpus: CPU 2 is not allowed to this process \(cpuset or affinity\); it may use 0-1$/,
  );
  assert.is(set('cpus=none').cpus, 'none');
  assert.is(load({ flags: { cpus: '0-2' } }).values.workers, 2, "workers: auto counts the listed CPUs but the dispatcher's");
  assert.match(refused({ flags: { cpus: '' } }), /empty/);
});

test('frames, buffers and windows must fit each other', () => {
  assert.match(
    refused({ sets: ['frames=1000000', 'frame-bytes=16K'] }),
    /frames: 1000000 of 16384 bytes are more than 2 GiB; at most 131068/,
  );
  assert.match(
    refused({ sets: ['frames=1000', 'workers=2'] }),
    /^--set: frames: 1000 are too few: 2 workers may hold 2048 as credit, so at least 2128; raise frames or lower rings\.grant to 128$/,
  );
  assert.is(set('frames=1000', 'workers=2', 'rings.grant=128').frames, 1000, 'the fix of that message works');
  assert.match(refused({ sets: ['mtu=9000'] }), /mtu: 9000 does not fit frames of 4096 bytes \(at most 3888\)/);
  assert.is(set('mtu=9000', 'frame-bytes=16K').tcpMss, 8960);
  assert.match(refused({ sets: ['tcp.mss=1461'] }), /tcp\.mss: 1461 does not fit mtu 1500; at most 1460/);
  assert.match(refused({ sets: ['tcp.rcvbuf=16M'] }), /say tcp\.window-scale 9$/);
  assert.is(set('tcp.rcvbuf=16M', 'tcp.window-scale=9').tcpRcvbuf, 16 << 20, 'and so does this one');
  assert.match(refused({ sets: ['tcp.rto-min-ms=2000'] }), /above tcp\.rto-initial-ms/);
  assert.match(refused({ sets: ['chunks=16'] }), /do not hold one connection's buffers/);
  assert.match(refused({ sets: ['pipes=1024', 'pipe-bytes=1M'] }), /more than 256 MiB a worker; at most 256/);
  assert.match(refused({ sets: ['rings.rx=64', 'burst=64', 'chunks=1048576', 'chunk-bytes=64K'] }), /more than 1 GiB/);
  assert.match(
    refused({ sets: ['tcp.max-connections=2097152', 'chunks=262144'] }),
    /^--set: tcp\.max-connections: 2097152 of 512 bytes and 1074397184 of chunks and pipes are more than \d+ bytes a worker; at most 1964800, or fewer chunks$/,
  );
  const full = ['tcp.max-connections=1964800', 'chunks=262144', 'pipes=64', 'udp.max-sockets=65536', 'burst=64'];
  assert.ok(arenaBytes(stackConfigOf(set(...full))) < 2 ** 31, 'its fix makes an arena of less than 2 GiB');
  assert.is(set('tcp.max-connections=2097152').tcpMaxConnections, 2 ** 21);
});

test('any workers, rings and frame size that pass have a region that holds them', () => {
  const pow2 = (lo: number, hi: number): fc.Arbitrary<number> => fc.integer({ min: lo, max: hi }).map((n) => 2 ** n);
  const property = fc.property(
    fc.integer({ min: 1, max: 64 }),
    pow2(6, 16),
    pow2(6, 16),
    pow2(11, 14),
    fc.integer({ min: 1, max: 64 }),
    (workers, rx, grant, bytes, burst) => {
      let c: Config;
      try {
        c = set(`workers=${workers}`, `rings.rx=${rx}`, `rings.grant=${grant}`, `frame-bytes=${bytes}`, `burst=${burst}`);
      } catch (e) {
        assert.instance(e, ConfigError);
        return;
      }
      assert.ok(c.frames * c.frameBytes < 2 ** 31);
      assert.ok(c.frames >= workers * 2 * grant + burst);
    },
  );
  fc.assert(property, { seed: SEED, numRuns: 300 });
});

test('no text makes a key throw anything but a ConfigError of one line', () => {
  const keys = fc.constantFrom(...allSpecs().map((s: KeySpec) => s.key));
  const raw = fc.oneof(
    fc.string(),
    fc.integer(),
    fc.double(),
    fc.boolean(),
    fc.constant(null),
    fc.array(fc.string()),
    fc.constantFrom('auto', 'none', '1K', '50%', '-1'),
  );
  fc.assert(
    fc.property(keys, raw, (key, value) => {
      try {
        structuredClone(load({ code: { [key]: value } }).values);
      } catch (e) {
        assert.instance(e, ConfigError, `${key}: ${String((e as Error).stack)}`);
        assert.not.match((e as Error).message, /[\r\n]/);
      }
    }),
    { seed: SEED, numRuns: 3000 },
  );
});

test('values without effect are said', () => {
  const { warnings } = load({ flags: { nic: 'tap:t', address: '192.0.2.2/24' }, sets: ['switch.loss=1%'] });
  assert.equal(warnings, ['--set: switch.loss has no effect: the port is tap:t, not the switch']);
  const ring = load({ flags: { nic: 'tap:t', address: '192.0.2.2/24' }, sets: ['packet.rx-slots=60'] });
  assert.equal(ring.warnings, ['--set: packet.rx-slots has no effect: the port is tap:t, not a packet socket']);
  const packet = load({ flags: { nic: 'packet:eth0', address: '192.0.2.2/24' }, sets: ['packet.rx-slots=60'] });
  assert.equal(packet.warnings, []);
});

test('idle decides how long to spin, unless told', () => {
  assert.is(set('idle=powersave').idleSpins, 0);
  assert.ok(set('idle=latency').idleSpins > 1e9);
  assert.is(set('idle=latency', 'idle.spins=3').idleSpins, 3);
});

test('the stack gets what was configured', () => {
  const s = stackConfigOf(set('tcp.time-wait-ms=1s', 'offload.tso=off', 'offload.gro=off', 'tcp.nagle=false', 'tcp.mss=1000', 'burst=8'));
  assert.is(s.timeWaitMs, 1000);
  assert.is(s.trainLinksMax, 1);
  assert.is(s.coalesce, false);
  assert.is(s.nagle, false);
  assert.is(s.mss, 1000);
  assert.is(s.burst, 8);
  const d = stackConfigOf(set());
  assert.ok(d.trainLinksMax > 1 && d.coalesce);
  for (const [name, value] of Object.entries(d)) assert.ok(value !== undefined, name);
});

test('--print-config loads as a file again, and says every origin', () => {
  const config = load({
    flags: { nic: 'tap:t', address: '192.0.2.2/24', gateway: '192.0.2.1' },
    sets: ['arp.static=192.0.2.9=02:00:00:00:00:09', 'switch.loss=1%'],
  });
  const text = printConfig(config);
  assert.is(text.split('\n').length, allSpecs().length);
  assert.match(text, /^nic = tap:t +# --nic$/m);
  assert.match(text, /^workers = 7 +# default \(auto\)$/m);
  const again = load({ file: file('printed.conf', text) });
  assert.equal(again.values, config.values);
  const json = JSON.parse(printConfigJson(config)) as Record<string, { value: unknown; origin: string }>;
  assert.equal(json['tcp.rcvbuf'], { value: 524288, origin: 'default' });
  assert.is(Object.keys(json).length, allSpecs().length);
});

test('docs/config.md and the JSON Schema are current', () => {
  const docs = new URL('../../../../docs/', import.meta.url);
  const current = (name: string): string => readFileSync(new URL(name, docs), 'utf8');
  assert.is(current('config.md'), configMarkdown(), 'run npm run docs:config');
  assert.is(current('config.schema.json'), configJsonSchema(), 'run npm run docs:config');
});

process.stdout.write(`SEED=${SEED}\n`);
test('burst auto: small where threads hand over to one another, large where a device stands behind the stack itself', () => {
  const burstOf = (...sets: string[]): number => load({ sets: ['address=192.0.2.2/24', 'workers=1', ...sets] }).values.burst;
  assert.is(burstOf('nic=switch', 'layout=inline'), 16);
  assert.is(burstOf('nic=packet:veth1', 'layout=dispatcher'), 16);
  assert.is(burstOf('nic=packet:veth1', 'layout=inline'), 64);
  assert.is(burstOf('nic=tap:tap0', 'layout=run-to-completion'), 64);
  assert.is(burstOf('nic=tap:tap0', 'layout=inline', 'burst=16'), 16);
});

test.run();
