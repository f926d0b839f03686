/** How often unacceptable segments are answered (RFC 5961 sections 7 and 10). */

/** Out-of-window replies of one connection are this far apart (Linux's figure). */
const GAP_MS = 500;
/** And all connections together send about this many challenge ACKs a second, randomised so that it cannot be counted. */
const PER_SECOND = 1000;

export class ChallengeLimit {
  /** When each connection was answered last; 0 never. */
  private readonly atMs: Int32Array;
  private readonly random: () => number;
  private secondMs = 0;
  private budget = 0;

  constructor(atMs: Int32Array, random: () => number) {
    this.atMs = atMs;
    this.random = random;
  }

  /** Whether connection `c` may be answered now. A difference below 0 is more than 24 days. */
  allow(c: number, nowMs: number): boolean {
    const last = this.atMs[c];
    const since = (nowMs - last) | 0;
    if (last !== 0 && since >= 0 && since < GAP_MS) return false;
    const second = (nowMs - this.secondMs) | 0;
    if (second >= 1000 || second < 0) {
      this.secondMs = nowMs;
      this.budget = (PER_SECOND >> 1) + ((this.random() >>> 1) % PER_SECOND);
    }
    if (this.budget <= 0) return false;
    this.budget--;
    this.atMs[c] = nowMs === 0 ? 1 : nowMs;
    return true;
  }
}
