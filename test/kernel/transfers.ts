/** What the kernel's programs do with our server, each a check that throws with the program's own words. */
import { createHash, randomFillSync } from 'node:crypto';
import { createReadStream, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { type Daemon, FLOWRING, type Namespace, type Result, STACK_IP } from './namespace.ts';

export const KIB = 1024;
export const BULK_BYTES = 100_000_000;

export async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(piece as Buffer);
  return hash.digest('hex');
}

/** Directories and random files for a run: `www` is served, `up` is uploaded into, `got` is where downloads go. */
export class Files {
  readonly root = mkdtempSync(join(tmpdir(), 'flowring-kernel-'));
  private readonly digests = new Map<string, string>();

  constructor() {
    for (const d of ['www', 'up', 'got']) mkdirSync(join(this.root, d));
    process.on('exit', () => this.remove());
  }

  path(directory: 'www' | 'up' | 'got', name: string): string {
    return join(this.root, directory, name);
  }

  /** A file of random bytes to serve and to upload. */
  make(name: string, bytes: number): void {
    const content = randomFillSync(Buffer.allocUnsafe(bytes));
    writeFileSync(this.path('www', name), content);
    this.digests.set(name, createHash('sha256').update(content).digest('hex'));
  }

  async equal(directory: 'up' | 'got', copy: string, name: string): Promise<void> {
    assert.is(await sha256(this.path(directory, copy)), this.digests.get(name), `${copy} differs from ${name}`);
    rmSync(this.path(directory, copy));
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

export interface ServerOptions {
  /** How stack and kernel are joined: a TAP that the stack makes, or a veth, with a packet socket at its far end. Default tap. */
  port?: 'tap' | 'packet';
  layout: 'inline' | 'dispatcher' | 'dispatcher-rx-tx' | 'run-to-completion';
  workers: number;
  settings?: readonly string[];
  boundMs?: number;
}

/** `flowring run http-server` inside; `device` is the kernel's side of the link. */
export async function startServer(ns: Namespace, files: Files, device: string, o: ServerOptions): Promise<Daemon> {
  const settings = (o.settings ?? []).flatMap((s) => ['--set', s]);
  const far = `${device}s`;
  if (o.port === 'packet') ns.veth(device, far);
  const flags = [
    '--nic',
    o.port === 'packet' ? `packet:${far}` : `tap:${device}`,
    '--address',
    `${STACK_IP}/24`,
    '--layout',
    o.layout,
    '--workers',
    String(o.workers),
    ...settings,
  ];
  const program = ['--root', join(files.root, 'www'), '--upload', join(files.root, 'up'), '--listen', '80'];
  const server = ns.start(o.boundMs ?? 120_000, process.execPath, FLOWRING, 'run', 'http-server', ...flags, '--', ...program);
  await server.until('line "listening"', (d) => d.stdout.includes(`listening ${STACK_IP}:80\n`), 20_000);
  if (o.port !== 'packet') ns.tap(device, true);
  return server;
}

/**
 * `count` echo requests, all answered. More are sent behind them, because `ping` waits for the last answer only twice as long
 * as the slowest so far took.
 */
export async function ping(ns: Namespace, count: number, bytes: number): Promise<void> {
  const r = await ns.run(20_000, 'ping', '-n', '-c', String(count + 5), '-i', '0.05', '-s', String(bytes), STACK_IP);
  const answered = new Set(
    [...r.stdout.matchAll(new RegExp(`^${bytes + 8} bytes from ${STACK_IP}: icmp_seq=(\\d+) `, 'gm'))].map((m) => Number(m[1])),
  );
  for (let i = 1; i <= count; i++) assert.ok(answered.has(i), `request ${i} was not answered: ${r.stdout}${r.stderr}`);
  assert.not.match(r.stdout, /DUP|wrong data|corrupt/i, r.stdout);
}

async function curl(ns: Namespace, boundMs: number, ...args: string[]): Promise<string> {
  const r = await ns.run(boundMs, 'curl', '-sS', '--noproxy', '*', '--max-time', String(boundMs / 1000), ...args);
  assert.is(r.code, 0, `curl ${args.join(' ')}: ${r.code ?? r.signal}\n${r.stderr}\n${r.stdout.slice(0, 500)}`);
  return r.stdout;
}

/** Fetches a file; equal SHA-256. Returns what curl measured, in bytes a second. */
export async function download(ns: Namespace, files: Files, name: string, ...more: string[]): Promise<number> {
  const at = files.path('got', name);
  const speed = await curl(ns, 60_000, '--fail', '-o', at, '-w', '%{speed_download}', ...more, `http://${STACK_IP}/${name}`);
  await files.equal('got', name, name);
  return Number(speed);
}

/** Sends a file by PUT; equal SHA-256 where the server put it. */
export async function upload(ns: Namespace, files: Files, name: string): Promise<number> {
  const from = files.path('www', name);
  const out = await curl(
    ns,
    60_000,
    '-o',
    '/dev/null',
    '-w',
    '%{http_code} %{speed_upload}',
    '-T',
    from,
    `http://${STACK_IP}/sent-${name}`,
  );
  assert.match(out, /^20[014] /, `PUT: ${out}`);
  await files.equal('up', `sent-${name}`, name);
  return Number(out.split(' ')[1]);
}

/** HEAD, a range and its two ends, a range that cannot be, and what is not there. */
export async function requests(ns: Namespace, files: Files, name: string, bytes: number): Promise<void> {
  const url = `http://${STACK_IP}/${name}`;
  const head = await curl(ns, 10_000, '-I', url);
  assert.match(head, /^HTTP\/1\.1 200 /);
  assert.match(head, new RegExp(`^content-length: ${bytes}\\r?$`, 'im'));
  const ranges: [string, number, number][] = [
    ['100-199', 100, 200],
    [`${bytes - 10}-`, bytes - 10, bytes],
    ['-1', bytes - 1, bytes],
  ];
  const whole = readFileSync(files.path('www', name));
  for (const [range, from, to] of ranges) {
    const at = files.path('got', 'range');
    assert.is(await curl(ns, 10_000, '-o', at, '-w', '%{http_code}', '-r', range, url), '206', range);
    assert.ok(readFileSync(at).equals(whole.subarray(from, to)), `range ${range}: other bytes`);
  }
  assert.is(await curl(ns, 10_000, '-o', '/dev/null', '-w', '%{http_code}', '-r', `${bytes}-`, url), '416');
  assert.is(await curl(ns, 10_000, '-o', '/dev/null', '-w', '%{http_code}', `http://${STACK_IP}/absent`), '404');
}

/** ApacheBench: every request complete, none failed, none other than 2xx; with keep-alive all of them kept. */
export async function ab(ns: Namespace, count: number, concurrency: number, keepAlive: boolean, name: string): Promise<number> {
  const flags = ['-q', '-n', String(count), '-c', String(concurrency), '-s', '20', ...(keepAlive ? ['-k'] : [])];
  const r = await ns.run(60_000, 'ab', ...flags, `http://${STACK_IP}/${name}`);
  const said = `${r.stdout}\n${r.stderr}`;
  assert.is(r.code, 0, `ab ${flags.join(' ')}: ${r.code ?? r.signal}\n${said}`);
  assert.match(r.stdout, new RegExp(`^Complete requests:\\s+${count}$`, 'm'), said);
  assert.match(r.stdout, /^Failed requests:\s+0$/m, said);
  assert.not.match(r.stdout, /^Non-2xx responses:/m, said);
  if (keepAlive) assert.match(r.stdout, new RegExp(`^Keep-Alive requests:\\s+${count}$`, 'm'), said);
  return Number(/^Requests per second:\s+([\d.]+)/m.exec(r.stdout)![1]);
}

/** wrk for some seconds: requests were answered, no socket error, no answer but 2xx. */
export async function wrk(ns: Namespace, connections: number, seconds: number, name: string): Promise<number> {
  const flags = ['-t2', `-c${connections}`, `-d${seconds}s`, '--timeout', '10s'];
  const r = await ns.run(seconds * 1000 + 30_000, 'wrk', ...flags, `http://${STACK_IP}/${name}`);
  const said = `${r.stdout}\n${r.stderr}`;
  assert.is(r.code, 0, `wrk ${flags.join(' ')}: ${r.code ?? r.signal}\n${said}`);
  assert.not.match(r.stdout, /Socket errors|Non-2xx/, said);
  const perSecond = Number(/^Requests\/sec:\s+([\d.]+)/m.exec(r.stdout)?.[1]);
  assert.ok(perSecond > 0, said);
  return perSecond;
}

/**
 * Frames in a capture that tshark calls malformed, or in error, with the checksum of every IPv4 header verified. TCP's are
 * unfinished where nothing leaves memory, and not looked at. Returns how many frames it has read.
 */
export async function wellFormed(ns: Namespace, capture: string): Promise<number> {
  const fields = ['-T', 'fields', '-e', 'frame.number', '-e', '_ws.expert.message'];
  // An expert severity of "error" (wireshark's epan/proto.h, PI_ERROR)
  const wrong = '_ws.malformed || _ws.expert.severity >= 0x00800000';
  const tshark = (filter: string): Promise<Result> =>
    ns.run(60_000, 'tshark', '-n', '-r', capture, '-o', 'ip.check_checksum:TRUE', '-Y', filter, ...fields);
  const bad = await tshark(wrong);
  assert.is(bad.code, 0, bad.stderr);
  assert.is(bad.stdout, '');
  return (await tshark('tcp')).stdout.split('\n').length - 1;
}

/** The drain: exit 0, no complaint. `run` itself audits frames and counters and says what does not add up. */
export async function drains(server: Daemon): Promise<void> {
  assert.ok(server.running, `it ended before it was asked to: ${server.describe()}`);
  const r = await server.stop('SIGINT', 15_000);
  assert.is(r.code, 0, `exit ${r.code ?? r.signal}: ${server.describe()}`);
  assert.match(r.stderr, /draining/);
  assert.not.match(r.stderr, /did not come home|failed|FAILED|while stopping|sums do not hold/, server.describe());
}

/** Frames of at least `bytes` seen on the device in a capture, by sender. */
export async function framesFrom(ns: Namespace, capture: string, source: string, bytes: number): Promise<number> {
  const filter = `ip.src == ${source} && tcp && frame.len >= ${bytes}`;
  const r = await ns.run(60_000, 'tshark', '-n', '-r', capture, '-Y', filter, '-T', 'fields', '-e', 'frame.len');
  assert.is(r.code, 0, r.stderr);
  return r.stdout.split('\n').filter((line) => line !== '').length;
}

/** Captures on the device while `traffic` runs; `snap` bytes of each frame. Returns the file. */
export async function captured(
  ns: Namespace,
  files: Files,
  device: string,
  snap: number,
  traffic: () => Promise<unknown>,
): Promise<string> {
  const at = files.path('got', `${device}.pcapng`);
  const tshark = ns.start(60_000, 'tshark', '-n', '-q', '-i', device, '-s', String(snap), '-B', '64', '-f', 'tcp', '-w', at);
  await tshark.until('capture', (d) => d.stderr.includes('Capturing on'), 15_000);
  // dumpcap says so before its socket is bound.
  await new Promise((done) => setTimeout(done, 500));
  try {
    await traffic();
    await new Promise((done) => setTimeout(done, 300));
  } finally {
    await tshark.stop('SIGINT');
  }
  return at;
}
