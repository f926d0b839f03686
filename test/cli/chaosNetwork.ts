/**
 * Workers that die under load: a server of several workers, or one with its own broker, whose clients note how each connection
 * ended, and who served it. So a test can tell connections of the dead from connections of survivors.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { loadConfig, type ResolvedConfig } from '../../src/main/config/load.ts';
import { openSwitch, runtimeOptions } from '../../src/main/open.ts';
import { reconcile } from '../../src/main/reconcile.ts';
import { Runtime } from '../../src/main/runtime.ts';
import type { Switch } from '../../src/ports/switch.ts';

const SERVER = '198.18.0.1';
const program = (name: string): string => fileURLToPath(new URL(`../../../test/cli/programs/${name}`, import.meta.url));

export interface End {
  at: number;
  id: number;
  worker: number;
  why: string;
}

interface Life {
  worker: number;
  id: number;
  at: number;
}

export interface ChaosOptions {
  layout: 'dispatcher' | 'inline' | 'dispatcher-rx-tx' | 'run-to-completion';
  workers: number;
  clients: number;
  connections: number;
  size: number;
  sets?: readonly string[];
  /** `--set` words of the server alone, and of the clients. */
  serverSets?: readonly string[];
  clientSets?: readonly string[];
}

/**
 * A connection may end that long after its server died, or, where the server's successor sends the RST, after that one serves: its
 * RST, or the answer to its next segment.
 */
const GRACE_MS = 3000;

export class ChaosNetwork {
  readonly fabric: Switch;
  readonly server: Runtime;
  readonly clients: readonly Runtime[];
  readonly kills: { worker: number; at: number; by: number }[] = [];
  private readonly dir = mkdtempSync(join(tmpdir(), 'flowring-chaos-'));
  private readonly options: ChaosOptions;

  constructor(o: ChaosOptions) {
    this.options = o;
    const common = ['supervise.restarts=100000', 'supervise.backoff-ms=0', 'drain-ms=2000', ...(o.sets ?? []), ...(o.serverSets ?? [])];
    const server = loadConfig({ flags: { layout: o.layout, workers: String(o.workers), address: `${SERVER}/24` }, sets: common });
    const client = (i: number): ResolvedConfig =>
      loadConfig({
        flags: { layout: 'inline', workers: '1', address: `198.18.0.${i + 2}/24` },
        sets: ['supervise=fail', ...(o.clientSets ?? [])],
      });
    this.fabric = openSwitch(server.values, ['server', ...Array.from({ length: o.clients }, (_, i) => `client${i}`)]);
    const runtime = (c: ResolvedConfig, port: number, name: string): Runtime =>
      new Runtime(runtimeOptions(c.values, this.fabric.handle(port), name, [], null));
    this.server = runtime(server, 0, 'srv-');
    this.clients = Array.from({ length: o.clients }, (_, i) => runtime(client(i), i + 1, `cli${i}-`));
  }

  get all(): readonly Runtime[] {
    return [...this.clients, this.server];
  }

  async start(): Promise<void> {
    const { connections, size } = this.options;
    await this.server.start({ url: pathToFileURL(program('namedEcho.mjs')).href, args: [join(this.dir, 'lives')] });
    await Promise.all(
      this.clients.map((c, i) =>
        c.start({
          url: pathToFileURL(program('witness.mjs')).href,
          args: [`${SERVER}:7`, String(connections), String(size), join(this.dir, `ends${i}`)],
        }),
      ),
    );
  }

  /** Kills a worker's thread and waits until another serves in its place. */
  async kill(worker: number): Promise<void> {
    const { restarts } = this.server.supervised;
    const kill = { worker, at: Date.now(), by: Number.POSITIVE_INFINITY };
    this.kills.push(kill);
    await this.server.kill(worker);
    await this.until(() => this.server.supervised.restarts > restarts, `worker ${worker} serves again`);
    const { layout } = this.options;
    kill.by = (layout === 'inline' || layout === 'run-to-completion' ? Date.now() : kill.at) + GRACE_MS;
  }

  async until(condition: () => boolean, what: string): Promise<void> {
    const by = performance.now() + 60_000;
    while (!condition()) {
      const failure = this.server.failed();
      if (failure !== null) throw failure;
      if (performance.now() > by) throw new Error(`not within a minute: ${what}`);
      await new Promise((done) => setTimeout(done, 2));
    }
  }

  /** Lets the clients finish, takes everything down. Counters and rings stay readable. */
  async finish(): Promise<void> {
    for (const c of this.clients) c.postMessage(0, 'finish');
    await Promise.all(this.clients.map((c) => c.finished()));
    for (const r of this.all) await r.drain();
    for (const r of this.all) await r.quiet();
    await new Promise((done) => setTimeout(done, 50));
    for (const r of this.all) await r.stop();
    for (const r of this.all) r.release();
  }

  async abandon(): Promise<void> {
    for (const r of this.all) {
      await r.stop().catch(() => undefined);
      r.release();
    }
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** Messages that came back, and how connections ended. */
  reports(): { messages: number; ends: End[] } {
    const all = this.clients.map(
      (_, i) => JSON.parse(readFileSync(join(this.dir, `ends${i}`), 'utf8')) as { messages: number; ends: End[] },
    );
    return { messages: all.reduce((n, r) => n + r.messages, 0), ends: all.flatMap((r) => r.ends) };
  }

  /** Every programme that served, in the order of its birth. */
  lives(): Life[] {
    return readFileSync(join(this.dir, 'lives'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Life);
  }

  /** One line for each connection whose end no death explains. */
  unexplained(): string[] {
    const died = new Map<number, { at: number; by: number }>();
    for (let w = 0; w < this.options.workers; w++) {
      const lives = this.lives().filter((l) => l.worker === w);
      for (const [i, k] of this.kills.filter((x) => x.worker === w).entries()) died.set(lives[i]!.id, k);
    }
    const explains = (k: { at: number; by: number } | undefined, e: End): boolean =>
      k !== undefined && e.at >= k.at - 2 && e.at <= k.by && e.why === 'ECONNRESET';
    return this.reports()
      .ends.filter((e) => (e.id !== 0 ? !explains(died.get(e.id), e) : !this.kills.some((k) => explains(k, e))))
      .map((e) => `${new Date(e.at).toISOString()} worker ${e.worker}: ${e.why}${died.has(e.id) ? '' : ', and its server had not died'}`);
  }

  /** What does not add up when all is over. */
  problems(): string[] {
    const audit = this.fabric.settle();
    const lost = audit.free === audit.total ? [] : [`frames: ${JSON.stringify({ ...audit, workers: [...audit.workers] })}`];
    return [...lost, ...reconcile(this.all.map((r) => r.figures()))];
  }
}
