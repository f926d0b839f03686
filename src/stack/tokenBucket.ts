/** A rate limit: so many a millisecond on average, so many at once. Allocates nothing, reads no clock of its own. */
export class TokenBucket {
  private readonly perMs: number;
  private readonly most: number;
  private tokens: number;
  private lastMs: number;

  /** `perMs` tokens come in a millisecond, up to `most`; it begins full. */
  constructor(perMs: number, most: number, nowMs: number) {
    this.perMs = perMs;
    this.most = most;
    this.tokens = most;
    this.lastMs = nowMs;
  }

  /** One token, if there is one. */
  take(nowMs: number): boolean {
    const passed = (nowMs - this.lastMs) | 0;
    if (passed !== 0) {
      this.lastMs = nowMs;
      // More time than fills it, or more than an int32 of milliseconds holds: full.
      if (passed < 0 || passed > this.most) this.tokens = this.most;
      else this.tokens = Math.min(this.most, this.tokens + passed * this.perMs);
    }
    if (this.tokens < 1) return false;
    this.tokens--;
    return true;
  }
}
