/**
 * Signals on their way to a worker's program. The process's signals reach main; main sets the signal's bit in each worker's
 * thread record and rings; the worker calls the program's handlers between breaths, never within a call of the stack.
 */
import * as controlNumbers from '../rings/control.ts';
import type { ThreadRecord } from '../rings/control.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { T_SIGNALS } = controlNumbers;

export type SignalHandler = (signal: number) => void;

export class WorkerSignals {
  private readonly record: ThreadRecord;
  private readonly asked: (signal: number) => void;
  private readonly handlers = new Map<number, SignalHandler>();
  private came = false;

  /** `asked` is told of each signal that gets its first handler: main listens for it from then on. */
  constructor(record: ThreadRecord, asked: (signal: number) => void) {
    this.record = record;
    this.asked = asked;
  }

  /** One handler a signal; null takes it away. */
  set(signal: number, handler: SignalHandler | null): void {
    if (handler === null) {
      this.handlers.delete(signal);
      return;
    }
    if (!this.handlers.has(signal)) this.asked(signal);
    this.handlers.set(signal, handler);
  }

  // hot: per burst
  pending(): boolean {
    return this.record.words[this.record.at + T_SIGNALS] !== 0;
  }

  /** Calls the handlers of what is pending, lowest signal first. */
  deliver(): void {
    if (!this.pending()) return;
    const bits = Atomics.exchange(this.record.words, this.record.at + T_SIGNALS, 0);
    for (let signal = 1; signal < 32; signal++) {
      if ((bits & (1 << signal)) === 0) continue;
      const handler = this.handlers.get(signal);
      if (handler === undefined) continue;
      this.came = true;
      handler(signal);
    }
  }

  /** Whether a handler was called since the last time this was asked. */
  take(): boolean {
    const came = this.came;
    this.came = false;
    return came;
  }
}
