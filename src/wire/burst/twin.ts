/** The bursts in TypeScript: the reference that native code is compared with, and what runs where there is no addon. */
import type { Bursts } from '../../rings/bursts.ts';
import type { FrameTable } from '../../rings/frameTable.ts';
import { runCopies, runFromUser, runToUser } from './copy.ts';
import { Emitter } from './emit.ts';
import { Inspector } from './inspect.ts';
import { BurstMemory } from './memory.ts';

class TwinBursts implements Bursts {
  readonly native = false;
  private readonly m: BurstMemory;
  private readonly inspector: Inspector;
  private readonly emitter: Emitter;

  constructor(m: BurstMemory) {
    this.m = m;
    this.inspector = new Inspector(m);
    this.emitter = new Emitter(m);
  }

  // hot: per burst
  inspect(at: number, n: number, coalesce: number): number {
    return this.inspector.inspect(at, n, coalesce);
  }

  // hot: per burst
  emit(at: number, n: number, copyAt: number, copies: number, work: number, outAt: number): number {
    return this.emitter.emit(at, n, copyAt, copies, work, outAt);
  }

  // hot: per burst
  copy(copyAt: number, copies: number): void {
    runCopies(this.m, copyAt, copies);
  }

  // hot: per burst
  toUser(user: Uint8Array, copyAt: number, copies: number): void {
    runToUser(this.m, user, copyAt, copies);
  }

  // hot: per burst
  fromUser(user: Uint8Array, copyAt: number, copies: number): void {
    runFromUser(this.m, user, copyAt, copies);
  }

  badEntries(): number {
    return this.m.bad;
  }
}

/** Bursts over a region's frames and a worker's arena, for one thread. */
export function createTwinBursts(frames: FrameTable, arenaMemory: SharedArrayBuffer): Bursts {
  return new TwinBursts(new BurstMemory(frames, arenaMemory));
}
