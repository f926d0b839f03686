/**
 * Two network namespaces for the kernel's half of a bench, and the ways between them:
 *
 *   client namespace                          server namespace
 *   198.51.100.1 ── veth ──────────────────── 198.51.100.2     node's servers
 *   203.0.113.1  ── veth ──────────────────── (no address)     ours on AF_PACKET: 203.0.113.2
 *   192.0.2.1    ── TAP                                        ours on the TAP: 192.0.2.2
 *
 * Addresses of documentation (RFC 5737). Ours has a veth of its own, because a packet socket sees all that passes on its device,
 * the peer's traffic too. Taken away on every way out, and what a killed run left, by the next one.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { call, onEnd } from './program.ts';

const PREFIX = 'flowring-b';
export const NODE_CLIENT_IP = '198.51.100.1';
export const NODE_IP = '198.51.100.2';
export const PACKET_IP = '203.0.113.2';
export const TAP_IP = '192.0.2.2';
export const TAP_DEVICE = 'frbt0';
export const PACKET_DEVICE = 'frbp1';

/**
 * Short connections would use up the client's ports, since each stays in TIME-WAIT for a minute: all ports, and those in
 * TIME-WAIT again after a second (RFC 6191).
 */
const SETTINGS = ['net.ipv4.ip_local_port_range=1024 65535', 'net.ipv4.tcp_tw_reuse=1', 'net.core.somaxconn=4096'];

function removeNamespace(name: string): void {
  spawnSync('ip', ['netns', 'del', name], { stdio: 'ignore', timeout: 10_000 });
}

export class Network {
  readonly client: string;
  readonly server: string;
  private readonly forget: () => void;

  constructor() {
    for (const [, name, pid] of call('ip', 'netns', 'list').matchAll(/^(flowring-b(\d+)-\S*)/gm))
      if (!existsSync(`/proc/${pid}`)) removeNamespace(name!);
    this.client = `${PREFIX}${process.pid}-c`;
    this.server = `${PREFIX}${process.pid}-s`;
    this.forget = onEnd(() => this.remove());
    try {
      for (const ns of [this.client, this.server]) {
        call('ip', 'netns', 'add', ns);
        call('ip', '-n', ns, 'link', 'set', 'lo', 'up');
        for (const setting of SETTINGS)
          spawnSync('ip', ['netns', 'exec', ns, 'sysctl', '-qw', setting], { stdio: 'ignore', timeout: 10_000 });
      }
      this.veth('frbn0', 'frbn1');
      this.veth('frbp0', PACKET_DEVICE);
      this.address(this.client, 'frbn0', NODE_CLIENT_IP);
      this.address(this.server, 'frbn1', NODE_IP);
      this.address(this.client, 'frbp0', '203.0.113.1');
      if (!hasTun()) return;
      call('ip', '-n', this.client, 'tuntap', 'add', 'dev', TAP_DEVICE, 'mode', 'tap', 'vnet_hdr');
      this.address(this.client, TAP_DEVICE, '192.0.2.1');
      call('ip', '-n', this.client, 'link', 'set', TAP_DEVICE, 'up');
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  private veth(inClient: string, inServer: string): void {
    call('ip', '-n', this.client, 'link', 'add', inClient, 'type', 'veth', 'peer', 'name', inServer, 'netns', this.server);
    call('ip', '-n', this.client, 'link', 'set', inClient, 'up');
    call('ip', '-n', this.server, 'link', 'set', inServer, 'up');
  }

  private address(ns: string, device: string, ip: string): void {
    call('ip', '-n', ns, 'address', 'add', `${ip}/24`, 'dev', device);
  }

  /** Super-segments, coalescing and unfinished checksums on the veths: none, or what the kernel gives them, which is all but GRO. */
  offloads(on: boolean): void {
    const state = on ? 'on' : 'off';
    const features = ['gro', 'off', ...['tso', 'gso', 'tx', 'rx'].flatMap((f) => [f, state])];
    for (const [ns, device] of [
      [this.client, 'frbn0'],
      [this.server, 'frbn1'],
      [this.client, 'frbp0'],
      [this.server, PACKET_DEVICE],
    ] as const)
      call('ip', 'netns', 'exec', ns, 'ethtool', '-K', device, ...features);
  }

  /** A command line inside one of the two. The process that runs is the command's own: `ip` replaces itself. */
  within(ns: string, command: readonly string[]): string[] {
    return ['ip', 'netns', 'exec', ns, ...command];
  }

  remove(): void {
    this.forget();
    removeNamespace(this.client);
    removeNamespace(this.server);
  }
}

export const hasTun = (): boolean => existsSync('/dev/net/tun');

/** Why there can be no namespaces here, or null. */
export function networkProblem(): string | null {
  if (process.getuid?.() !== 0) return 'not root';
  const probe = `${PREFIX}${process.pid}-probe`;
  const made = spawnSync('ip', ['netns', 'add', probe], { encoding: 'utf8', timeout: 10_000 });
  if (made.error !== undefined) return 'no program ip';
  if (made.status !== 0) return `no network namespaces (${made.stderr.trim()})`;
  removeNamespace(probe);
  return null;
}
