/**
 * Local ports of our own choice, TCP's and UDP's: the range they are taken from, where a search begins, and whether what a
 * peer sends to one comes home to this worker.
 */
import type { StackEnv } from './env.ts';

/** Linux's range. */
const EPHEMERAL_FIRST = 32768;
export const EPHEMERAL_COUNT = 28232;

/** The port at place `k` of the range, which begins again behind its end. */
export const ephemeralPort = (k: number): number => EPHEMERAL_FIRST + (k % EPHEMERAL_COUNT);

/** A place to begin a search at that nobody can guess (RFC 6056). */
export const randomPlace = (env: StackEnv): number => (env.random() >>> 1) % EPHEMERAL_COUNT;

/** Whether what ip:port sends to local:localPort is steered to this worker, by the table of protocol `proto`. */
export function comesHome(env: StackEnv, proto: number, local: number, ip: number, port: number, localPort: number): boolean {
  return env.steering.owner(proto, env.flowHash(ip, local, port, localPort), localPort) === env.worker;
}
