/** `open(config)`: a runtime from code, as the command line makes one from flags. */
import { constants } from 'node:os';
import { pathToFileURL } from 'node:url';
import type { BackgroundTask } from '../api/background.ts';
import type { FrameAudit } from '../rings/frameTable.ts';
import type { BackgroundFigures } from './background.ts';
import { loadConfig } from './config/load.ts';
import type { ConfigInput } from './config/schema.ts';
import type { ThreadFigures } from './figures.ts';
import { openRuntime } from './open.ts';

export interface OpenRuntime {
  /**
   * Imports an ES module (file path or file: URL) in every worker and starts the threads. `args` are its
   * `process.argv.slice(2)`. Resolves when every worker has imported it. Once per runtime.
   */
  run(module: string | URL, args?: readonly string[]): Promise<void>;
  /** Resolves when every worker's program has stopped; rejects when a worker failed. */
  finished(): Promise<void>;
  /** Calls back for each address (int32) and port once every worker that listens on it does. */
  onListening(callback: (address: number, port: number) => void): void;
  /** Posts a structured-cloneable value to a worker's `parentPort`. */
  postMessage(worker: number, value: unknown): void;
  /** Has the handlers that programs registered for a signal called in every worker: how a process hands its own on. */
  signal(signal: NodeJS.Signals): void;
  /**
   * Runs a function of an ES module in the background pool (docs/background.md): as `background` of `flowring/background`
   * does in a worker, with the same rejections.
   */
  background(task: BackgroundTask): Promise<unknown>;
  backgroundFigures(): BackgroundFigures;
  /**
   * Ends a worker's thread at once, as a crash would: its connections are reset, and unless `supervise` says fail another
   * thread takes its place. Resolves when the thread has ended. RangeError for a worker that is not there.
   */
  kill(worker: number): Promise<void>;
  /** Workers that have died, and that serve again, since the start. */
  supervised(): { deaths: number; restarts: number };
  figures(): ThreadFigures[];
  /** Frames by owner: when closed, all are free. */
  audit(): FrameAudit;
  /**
   * Drains (up to `drain-ms`), brings every frame home, ends the threads and closes the port. Rejects with the failure of a
   * worker that neither `run` nor `finished` has told; everything is closed then too.
   */
  close(): Promise<void>;
}

/** Runtimes opened so far: the first has the process's own control file, the others a suffix. */
let opened = 0;

/** Opens a port and prepares a runtime. Throws ConfigError (code FLOWRING_CONFIG) for what cannot be. */
export async function open(config: ConfigInput = {}): Promise<OpenRuntime> {
  const loaded = loadConfig({ code: config });
  const warn = (line: string): void => process.emitWarning(line, { code: 'FLOWRING' });
  for (const line of loaded.warnings) warn(line);
  const runtime = openRuntime(loaded, () => {}, opened === 0 ? '' : `.${opened}`);
  opened++;
  let state: 'open' | 'running' | 'closed' = 'open';
  let told: unknown = null;
  const tell = (error: unknown): never => {
    told = error;
    throw error;
  };
  return {
    run: async (module, args = []) => {
      if (state !== 'open')
        throw new Error(state === 'closed' ? 'this runtime is closed; open another' : 'this runtime runs already; open another');
      state = 'running';
      const url = module instanceof URL ? module.href : module.startsWith('file:') ? module : pathToFileURL(module).href;
      await runtime.start({ url, args: [...args] }).catch(tell);
    },
    finished: () => runtime.finished().catch(tell),
    onListening: (callback) => {
      runtime.onListening = callback;
    },
    postMessage: (worker, value) => runtime.postMessage(worker, value),
    signal: (signal) => runtime.signal(constants.signals[signal]),
    background: (task) => runtime.background.run(task),
    backgroundFigures: () => runtime.background.figures(),
    kill: (worker) => runtime.kill(worker),
    supervised: () => runtime.supervised,
    figures: () => runtime.figures(),
    audit: () => runtime.audit(),
    close: async () => {
      state = 'closed';
      // what ends badly while it closes is the same failure
      await runtime.close().catch(() => {});
      const failure = runtime.failed();
      if (failure !== null && told === null) tell(failure);
    },
  };
}
