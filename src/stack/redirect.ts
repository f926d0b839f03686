/**
 * A frame of a flow that lived elsewhere before its port's worker list changed goes to that worker, once, over the ring
 * between the two: the dispatcher places by the list as it is now, the flow by the list as it was.
 */
import { C_REDIRECTED } from '../rings/counters.ts';
import { DROP_RING_FULL_DATA } from '../rings/drops.ts';
import { D_FLAGS_GSO, D_FRAME, DESC_WORDS, F_REDIRECTED, OWNER_RING } from '../rings/layout.ts';
import type { StackEnv } from './env.ts';

/** The frame belongs to another worker now. */
export const REDIRECTED = 1 << 16;

/**
 * Sends the descriptor at word `d` on, a frame of src:ports>>>16 to dst:ports&0xffff, steering table `proto`. Returns
 * REDIRECTED, a drop reason when the ring is full (an answer in its place would end a flow that lives there), -1 when the
 * frame stays here.
 */
export function redirect(env: StackEnv, proto: number, d: number, src: number, dst: number, ports: number): number {
  const words = env.arena.i32;
  if ((words[d + D_FLAGS_GSO] & F_REDIRECTED) !== 0) return -1;
  const before = env.steering.ownerBefore(proto, env.flowHash(src, dst, ports >>> 16, ports & 0xffff), ports & 0xffff);
  if (before < 0 || before === env.worker) return -1;
  const ring = env.port.redirectOut[before];
  if (ring === null || ring === undefined) return -1;
  if (ring.room(1) < 1) return DROP_RING_FULL_DATA;
  const s = ring.slot(0);
  for (let i = 0; i < DESC_WORDS; i++) ring.words[s + i] = words[d + i];
  ring.words[s + D_FLAGS_GSO] |= F_REDIRECTED;
  ring.offer();
  const { next, owner } = env.port.frames;
  for (let f = words[d + D_FRAME]; f >= 0; f = next[f]) owner[f] = OWNER_RING;
  ring.put(1);
  env.counters.v[C_REDIRECTED]++;
  return REDIRECTED;
}
