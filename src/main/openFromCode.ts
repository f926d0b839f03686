/** `open(config)`: a runtime from code, as the command line makes one from flags. */
import { pathToFileURL } from 'node:url';
import type { FrameAudit } from '../rings/frameTable.ts';
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
  figures(): ThreadFigures[];
  /** Frames by owner: when closed, all are free. */
  audit(): FrameAudit;
  /** Drains (up to `drain-ms`), brings every frame home, ends the threads and closes the port. */
  close(): Promise<void>;
}

/** Opens a port and prepares a runtime. Throws ConfigError (code FLOWRING_CONFIG) for what cannot be. */
export async function open(config: ConfigInput): Promise<OpenRuntime> {
  const loaded = loadConfig({ code: config });
  const warn = (line: string): void => process.emitWarning(line, { code: 'FLOWRING' });
  for (const line of loaded.warnings) warn(line);
  const runtime = openRuntime(loaded, () => {});
  return {
    run: (module, args = []) =>
      runtime.start({
        url: module instanceof URL ? module.href : module.startsWith('file:') ? module : pathToFileURL(module).href,
        args: [...args],
      }),
    finished: () => runtime.finished(),
    onListening: (callback) => {
      runtime.onListening = callback;
    },
    postMessage: (worker, value) => runtime.postMessage(worker, value),
    figures: () => runtime.figures(),
    audit: () => runtime.audit(),
    close: () => runtime.close(),
  };
}
