// Wrong options, files and usage end in one clear line on stderr and exit code 2, never in a stack trace.
// (refusals.test.ts has what the machine refuses.)
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const BIN = fileURLToPath(new URL('../../../bin/flowring.js', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'flowring-cli-'));
test.after(() => rmSync(scratch, { recursive: true, force: true }));

interface Outcome {
  status: number | null;
  stdout: string;
  stderr: string;
}

const spawnBounded = (command: string, args: readonly string[]): Outcome =>
  spawnSync(command, args, { encoding: 'utf8', timeout: 30_000, cwd: scratch });
const flowring = (...args: string[]): Outcome => spawnBounded(process.execPath, [BIN, ...args]);

/** One line on stderr that matches, nothing on stdout, exit code 2. */
function refused(r: Outcome, expected: RegExp): void {
  assert.is(r.status, 2, `exit code ${r.status}: ${r.stderr}`);
  assert.is(r.stdout, '');
  assert.is(r.stderr.trimEnd().split('\n').length, 1, `more than one line:\n${r.stderr}`);
  assert.not.match(r.stderr, /^\s+at /m);
  assert.match(r.stderr, expected);
}

const file = (name: string, text: string): string => {
  writeFileSync(join(scratch, name), text);
  return name;
};

const CASES: readonly (readonly [string, string[], RegExp])[] = [
  ['unknown key, with the nearest', ['--set', 'tcp.rcvbuff=1M'], /unknown key "tcp\.rcvbuff".*"tcp\.rcvbuf"/],
  ['CIDR with three numbers', ['--address', '192.0.2/24'], /--address: .*"192\.0\.2\/24".*192\.0\.2\.2\/24/],
  ['CIDR without prefix', ['--address', '192.0.2.2'], /--address: .*"192\.0\.2\.2"/],
  ['CIDR with a prefix beyond 32', ['--address', '192.0.2.2/33'], /--address: .*"192\.0\.2\.2\/33"/],
  ['loopback address', ['--address', '127.0.0.2/8'], /--address: .*127\.0\.0\.2/],
  ['multicast address', ['--address', '224.0.0.5/24'], /--address: .*224\.0\.0\.5/],
  ['network address', ['--address', '192.0.2.0/24'], /--address: .*192\.0\.2\.0/],
  ['broadcast address', ['--address', '192.0.2.255/24'], /--address: .*192\.0\.2\.255/],
  ['gateway that is not on the link', ['--address', '192.0.2.2/24', '--gateway', '198.51.100.1'], /gateway.*198\.51\.100\.1/],
  ['CPU that does not exist', ['--cpus', '4000'], /cpus: CPU 4000 does not exist/],
  ['cpulist that is none', ['--cpus', '0-'], /cpus: .*"0-"/],
  ['ring size that is not a power of two', ['--set', 'rings.rx=1000'], /rings\.rx: "1000" is not a power of two.*1024/],
  ['workers below 1', ['--workers', '0'], /workers: "0"/],
  ['workers beyond 64', ['--workers', '65'], /workers: "65"/],
  ['inline with two workers', ['--layout', 'inline', '--workers', '2'], /inline.*1 worker|workers.*inline/],
  ['layout that is no word of ours', ['--layout', 'dispacher'], /dispacher.*dispatcher/],
  ['packet memory beyond 2 GiB', ['--set', 'frames=1048576', '--set', 'frame-bytes=16K'], /frames.*2 GiB/],
  ['port of an unknown kind', ['--nic', 'e1000:eth0'], /nic: .*"?e1000/],
  ['TAP name that the kernel would cut', ['--nic', 'tap:a-name-that-is-too-long', '--address', '192.0.2.2/24'], /nic: .*15/],
  [
    'packet socket on nothing',
    ['--nic', 'packet:flnone0', '--address', '192.0.2.2/24'],
    /nic: there is no interface flnone0 .*; here are|none is here but lo/,
  ],
  ['packet socket on the loopback', ['--nic', 'packet:lo', '--address', '192.0.2.2/24'], /nic: lo is the loopback.*name a NIC or a veth/],
  ['TAP without an address', ['--nic', 'tap:flnone0'], /address.*--address/],
  ['option that does not exist', ['--nics', 'switch'], /unknown option '--nics'/],
  ['--set without a value', ['--set', 'mtu'], /--set: .*mtu/],
  ['configuration file that is absent', ['--config', 'absent.json'], /absent\.json/],
];

for (const [name, args, expected] of CASES) {
  test(name, () => refused(flowring('run', 'echo-server', ...args), expected));
}

test('unknown key in a file: its line, and the nearest key', () => {
  const path = file('unknown.json', '{\n  // comment\n  "workers": 1,\n  "worker": 2\n}\n');
  refused(flowring('run', 'echo-server', '--config', path), /unknown\.json:4: unknown key "worker".*"workers"/);
});

test('wrong value in a file: its line, in a nested group', () => {
  const path = file('value.json', '{\n  "tcp": {\n    "rcvbuf": "many"\n  }\n}\n');
  refused(flowring('run', 'echo-server', '--config', path), /value\.json:3: tcp\.rcvbuf: "many"/);
});

test('file that is no JSON: the line', () => {
  refused(flowring('run', 'echo-server', '--config', file('broken.json', '{\n  "workers": 1\n  "mtu": 1500\n}\n')), /broken\.json:[23]: /);
});

test('absent module, unknown example, unknown command, absent words', () => {
  refused(flowring('run', './absent.mjs'), /no module \.\/absent\.mjs/);
  refused(flowring('run', 'echo-serve'), /"echo-serve".*echo-server/);
  refused(flowring('rum'), /unknown command 'rum'/);
  refused(flowring('run'), /missing the module or example/);
  refused(flowring('top', '--pid', 'x'), /--pid/);
  refused(flowring('demo', '--seconds', '-1'), /--seconds/);
});

test('what --print-config prints loads as a file again, with the same values', () => {
  const path = file('own.json', '{ "mtu": 1400,\n  "tcp.rcvbuf": "1M" }\n');
  const printed = flowring('run', 'echo-server', '--config', path, '--workers', '1', '--set', 'burst=32', '--print-config');
  assert.equal([printed.status, printed.stderr], [0, '']);
  const again = flowring('run', 'echo-server', '--config', file('again.conf', printed.stdout), '--print-config');
  assert.equal([again.status, again.stderr], [0, '']);
  const values = (text: string): string[] => text.split('\n').map((l) => l.replace(/\s+#.*$/, ''));
  assert.equal(values(again.stdout), values(printed.stdout));
  assert.ok(values(again.stdout).includes('mtu = 1400') && values(again.stdout).includes('burst = 32'));
});

test.run();
