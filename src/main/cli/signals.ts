/** SIGINT and SIGTERM: the first drains, the second forces (exit code 130 or 143). */

export interface Signals {
  draining(): boolean;
  remove(): void;
}

export function drainOnSignals(drain: () => Promise<void>): Signals {
  let first: NodeJS.Signals | null = null;
  const on = (signal: NodeJS.Signals): void => {
    if (first !== null) process.exit(signal === 'SIGINT' ? 130 : 143);
    first = signal;
    process.stderr.write(`flowring: ${signal}: draining; once more to force\n`);
    drain().catch(() => {});
  };
  process.on('SIGINT', on);
  process.on('SIGTERM', on);
  return {
    draining: () => first !== null,
    remove: () => {
      process.off('SIGINT', on);
      process.off('SIGTERM', on);
    },
  };
}
