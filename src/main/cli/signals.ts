/** SIGINT and SIGTERM: the first drains, the second forces (exit code 130 or 143). Others as the programs ask. */
import { constants } from 'node:os';

export interface Signals {
  draining(): boolean;
  /** From now on signal number `n` is told too, and does nothing else. */
  forward(n: number): void;
  remove(): void;
}

const nameOf = (n: number): NodeJS.Signals | undefined =>
  (Object.keys(constants.signals) as NodeJS.Signals[]).find((name) => constants.signals[name] === n);

/** `tell` hears of every signal before what follows from it. */
export function drainOnSignals(drain: () => Promise<void>, tell: (n: number) => void = () => {}): Signals {
  let first: NodeJS.Signals | null = null;
  const on = (signal: NodeJS.Signals): void => {
    if (first !== null) process.exit(signal === 'SIGINT' ? 130 : 143);
    first = signal;
    process.stderr.write(`flowring: ${signal}: draining; once more to force\n`);
    tell(constants.signals[signal]);
    drain().catch(() => {});
  };
  const told = (signal: NodeJS.Signals): void => tell(constants.signals[signal]);
  const forwarded = new Set<NodeJS.Signals>();
  process.on('SIGINT', on);
  process.on('SIGTERM', on);
  return {
    draining: () => first !== null,
    forward: (n) => {
      const name = nameOf(n);
      if (name === undefined || name === 'SIGINT' || name === 'SIGTERM' || forwarded.has(name)) return;
      forwarded.add(name);
      process.on(name, told);
    },
    remove: () => {
      process.off('SIGINT', on);
      process.off('SIGTERM', on);
      for (const name of forwarded) process.off(name, told);
    },
  };
}
