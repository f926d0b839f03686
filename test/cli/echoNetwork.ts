/**
 * What `npm start` builds, in the test's own process: an echo server, behind a dispatcher or in another layout, and its clients on stacks of their
 * own, over the switch. So a test can look at the rings and counters themselves, not only at the summary.
 */
import { formatIpv4 } from '../../src/wire/ipv4.ts';
import { loadConfig, type ResolvedConfig } from '../../src/main/config/load.ts';
import { resolveModule } from '../../src/main/cli/modulePath.ts';
import type { ThreadFigures } from '../../src/main/figures.ts';
import { openSwitch, runtimeOptions } from '../../src/main/open.ts';
import { Runtime } from '../../src/main/runtime.ts';
import type { Switch } from '../../src/ports/switch.ts';

const SERVER = '198.18.0.1';

export interface EchoOptions {
  workers: number;
  clients: number;
  connections: number;
  size: number;
  seconds: number;
  /** The server's; default dispatcher. */
  layout?: string;
  /** `--set` words, for all stacks. */
  sets?: readonly string[];
}

export class EchoNetwork {
  readonly fabric: Switch;
  readonly server: Runtime;
  readonly clients: readonly Runtime[];
  private readonly options: EchoOptions;

  constructor(o: EchoOptions) {
    this.options = o;
    const load = (flags: Record<string, string>): ResolvedConfig => loadConfig({ flags, sets: [...(o.sets ?? [])] });
    const server = load({ layout: o.layout ?? 'dispatcher', workers: String(o.workers), address: `${SERVER}/24` });
    this.fabric = openSwitch(server.values, ['server', ...Array.from({ length: o.clients }, (_, i) => `client${i}`)]);
    const runtime = (c: ResolvedConfig, port: number, name: string): Runtime =>
      new Runtime(runtimeOptions(c.values, this.fabric.handle(port), name, [], null));
    this.server = runtime(server, 0, 'srv-');
    this.clients = Array.from({ length: o.clients }, (_, i) =>
      runtime(load({ layout: 'inline', workers: '1', address: `198.18.0.${i + 2}/24` }), i + 1, `cli${i}-`),
    );
  }

  get all(): readonly Runtime[] {
    return [...this.clients, this.server];
  }

  /** Starts the server, then the clients; resolves when the clients are under way. */
  async start(): Promise<void> {
    const { connections, size, seconds } = this.options;
    const heard: string[] = [];
    this.server.onListening = (address, port) => heard.push(`${formatIpv4(address)}:${port}`);
    await this.server.start({ url: resolveModule('echo-server'), args: ['--listen', '7'] });
    if (heard.length !== 1) throw new Error(`the echo server said ${heard.length} times that it listens: ${heard.join(' ')}`);
    const traffic = ['--connections', String(connections), '--size', String(size), '--seconds', String(seconds)];
    await Promise.all(
      this.clients.map((c) => c.start({ url: resolveModule('echo-client'), args: ['--connect', `${SERVER}:7`, ...traffic] })),
    );
  }

  /** Waits for the clients' end, then takes everything down in order. Counters and rings stay readable. */
  async finish(): Promise<void> {
    await Promise.all(this.clients.map((c) => c.finished()));
    for (const r of this.all) await r.drain();
    for (const r of this.all) await r.quiet();
    // Frames of one stack may be on their way home through another's dispatcher.
    await new Promise((done) => setTimeout(done, 50));
    for (const r of this.all) await r.stop();
    for (const r of this.all) r.release();
  }

  /** For a test that failed on the way: no thread may stay. */
  async abandon(): Promise<void> {
    for (const r of this.all) {
      await r.stop().catch(() => undefined);
      r.release();
    }
  }
}

/** The threads that move frames: dispatchers, brokers inside workers, workers. */
export const movers = (threads: readonly ThreadFigures[]): ThreadFigures[] => threads.filter((f) => f.role !== 'main');
