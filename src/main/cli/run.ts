/** `flowring run <module|example> [-- args]`: one runtime, the module in every worker, until it ends or a signal drains it. */
import { formatIpv4 } from '../../wire/ipv4.ts';
import { openRuntime } from '../open.ts';
import { reconcile } from '../reconcile.ts';
import type { RunOptions } from './cli.ts';
import { drainOnSignals } from './signals.ts';

/**
 * Runs to the end. Resolves to the exit code: 0, the highest code a worker's program set, or 1 when a worker failed, a frame
 * did not come home, or a sum does not hold.
 */
export async function runCommand(options: RunOptions): Promise<number> {
  const runtime = openRuntime(options.config, (line) => process.stderr.write(`flowring: ${line}\n`));
  runtime.onListening = (address, port) => process.stdout.write(`listening ${formatIpv4(address)}:${port}\n`);
  runtime.onTrouble = (text) => process.stderr.write(`flowring: ${text === '' ? 'the interface is back' : text}\n`);
  const signals = drainOnSignals(
    () => runtime.close(),
    (n) => runtime.signal(n),
  );
  runtime.onSignalAsked = signals.forward;
  let code = 0;
  let refused: NodeJS.ErrnoException | null = null;
  try {
    await runtime.start({ url: options.module, args: [...options.args] });
    await runtime.finished();
  } catch (error) {
    if (!signals.draining()) {
      const e = error as NodeJS.ErrnoException;
      // What a program says of its own options, or asks of the configuration, is the user's to mend: a line, no stack.
      if (typeof e.code === 'string' && e.code.startsWith('FLOWRING_')) refused = e;
      else process.stderr.write(`flowring: a worker failed: ${e.stack ?? String(error)}\n`);
      code = 1;
    }
  }
  await runtime.close().catch((error: Error) => {
    if (code === 0) process.stderr.write(`flowring: while stopping: ${error.message}\n`);
    code = 1;
  });
  signals.remove();
  if (refused !== null) throw refused;
  const audit = runtime.audit();
  if (code === 0 && audit.free !== audit.total) {
    const { workers, ...rest } = audit;
    process.stderr.write(
      `flowring: ${audit.total - audit.free} of ${audit.total} frames did not come home: ${JSON.stringify({ ...rest, workers: [...workers] })}\n`,
    );
    code = 1;
  }
  for (const problem of code === 0 ? reconcile([runtime.figures()]) : []) {
    process.stderr.write(`flowring: sums do not hold: ${problem}\n`);
    code = 1;
  }
  return Math.max(code, runtime.exitCode);
}
