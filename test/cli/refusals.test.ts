// What the machine, not the options, refuses: no right to a TAP, an address or an interface of the kernel; and configuration
// in code that does not load. One line on stderr and exit code 2, never a stack. (wrongConfig.test.ts has the options.)
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadNative } from '../../src/ports/native.ts';
import { flowring, works } from './command.ts';

const dir = mkdtempSync(join(tmpdir(), 'flowring-cli-'));
test.after(() => rmSync(dir, { recursive: true, force: true }));

function refused(args: readonly string[], message: RegExp, prefix: readonly string[] = []): void {
  const { code, stdout, stderr } = flowring(args, prefix);
  const shown = `${args.join(' ')}: exit ${code}, stderr: ${stderr}`;
  assert.is(code, 2, shown);
  assert.match(stderr, /^flowring: [^\n]+\n$/, `one line: ${shown}`);
  assert.match(stderr, message, shown);
  assert.not.match(stderr, /\n\s+at /, shown);
  assert.is(stdout, '', shown);
}

const run = (...args: string[]): string[] => ['run', 'echo-server', ...args];

test('a configuration in code that does not load, or exports none', () => {
  const path = join(dir, 'flowring.config.mjs');
  writeFileSync(path, 'export const other = 1;\n');
  refused(run('--config', path), /flowring\.config\.mjs: exports no config/);
  writeFileSync(path, 'throw new Error("boom\\nbang");\n');
  refused(run('--config', path), /flowring\.config\.mjs: cannot load the configuration: boom/);
  writeFileSync(path, 'export const config = { workers: 99 };\n');
  refused(run('--config', path), /flowring\.config\.mjs: workers: 99 is above 64/);
});

const root = process.getuid?.() === 0;
const tun = existsSync('/dev/net/tun');
// Root without CAP_NET_ADMIN in its bounding set: reads every file, but may not make a TAP. Others have it not anyway.
const drop = ['setpriv', '--bounding-set', '-net_admin', '--inh-caps', '-all'];
const canDrop = !root || works(drop[0]!, [...drop.slice(1), 'true']);

if (!tun) process.stdout.write('SKIP no privilege for a TAP: /dev/net/tun is absent\n');
else if (!canDrop) process.stdout.write('SKIP no privilege for a TAP: setpriv cannot drop CAP_NET_ADMIN here\n');
else
  test('no privilege for a TAP', () => {
    refused(
      run('--nic', 'tap:flowring-x', '--address', '192.0.2.77/24'),
      /(no privilege \(CAP_NET_ADMIN\)|no permission to open \/dev\/net\/tun)/,
      root ? drop : [],
    );
  });

// A network namespace of its own, whose only address is the kernel's
const inNamespace = ['unshare', '-n', 'sh', '-c', 'ip link set lo up && ip addr add 198.51.100.7/24 dev lo && exec "$0" "$@"'];
if (!(root && tun && works('unshare', ['-n', 'ip', 'link'])))
  process.stdout.write('SKIP address owned by the kernel: needs root, /dev/net/tun, unshare and ip\n');
else
  test('an address that the kernel owns, also on an interface of another name', () => {
    const owned = /address: the kernel owns 198\.51\.100\.7 on lo .* --address 198\.51\.100\.2\/24/;
    refused(run('--nic', 'tap:flowring-x', '--address', '198.51.100.7/24'), owned, inNamespace);
  });

// Another process of ours has the interface before the command is run.
const whileHeld = [
  'unshare',
  '-n',
  'sh',
  '-c',
  `"$0" "$1" run echo-server --nic tap:flowring-b --address 192.0.2.3/24 >/dev/null 2>&1 & first=$!
for i in $(seq 100); do grep -q flowring-b: /proc/net/dev && break; sleep 0.1; done
"$0" "$@"; code=$?; kill $first; wait $first; exit $code`,
];
if (!(root && tun && works('unshare', ['-n', 'ip', 'link'])) || loadNative() === null)
  process.stdout.write('SKIP interface in use: needs the addon, root, /dev/net/tun, unshare and ip\n');
else
  test('an interface that another process has', () => {
    refused(run('--nic', 'tap:flowring-b', '--address', '192.0.2.77/24'), /nic: tap:flowring-b: .*another process holds.*EBUSY/, whileHeld);
  });

if (!(root && tun && works('unshare', ['-n', 'ip', 'link'])))
  process.stdout.write('SKIP interface that is no TAP: needs root, /dev/net/tun, unshare and ip\n');
else
  test('an interface that exists and is no TAP', () => {
    refused(run('--nic', 'tap:lo', '--address', '192.0.2.77/24'), /lo exists and is no TAP device/, ['unshare', '-n']);
  });

test.run();
