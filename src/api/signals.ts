/** mTCP's `mtcp_register_signal`: the process's signals, handled in the worker beside its stack. */
import { EINVAL } from '../stack/sockets.ts';
import { workerContext } from './mctx.ts';

// Linux's numbers, of the signals that a program may ask for
export const SIGHUP = 1;
export const SIGINT = 2;
export const SIGQUIT = 3;
export const SIGUSR1 = 10;
export const SIGUSR2 = 12;
export const SIGTERM = 15;
export const SIGWINCH = 28;

const SIGNALS: readonly number[] = [SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM, SIGWINCH];

/**
 * Has `handler` called in this worker when the process gets `signal`, one of the SIG… constants above; null takes it away.
 * It runs between breaths, where every call of this module is allowed, and must return soon. A wait it ends returns -EINTR,
 * unless it has events. Every worker that registered gets its own call.
 *
 * SIGINT and SIGTERM end the run besides: the first interrupts every wait for good and lets connections finish, the second
 * forces. Other signals do only what the handler does. 0 or -EINVAL.
 *
 * @throws FlowringError FLOWRING_NO_STACK outside a stack worker.
 *
 * @example
 * registerSignal(SIGHUP, () => console.log(mctx.counters.v[C_APP_OPERATIONS], 'so far'));
 */
export function registerSignal(signal: number, handler: ((signal: number) => void) | null): number {
  const context = workerContext('registerSignal');
  if (!SIGNALS.includes(signal) || (handler !== null && typeof handler !== 'function')) return -EINVAL;
  context.onSignal(signal, handler);
  return 0;
}
