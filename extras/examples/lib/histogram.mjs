// Latencies in buckets of at most 3 % width: percentiles of any number of samples in 16 KiB, nothing allocated per sample.
const SUB = 64;
const POWERS = 32;

export class Histogram {
  counts = new Float64Array(SUB * POWERS);
  samples = 0;
  max = 0;

  /** `us` microseconds, 0 and more. */
  add(us) {
    const n = us < 0 ? 0 : us > 0x7fffffff ? 0x7fffffff : Math.round(us);
    this.samples++;
    if (n > this.max) this.max = n;
    // Below SUB exact; above, the leading bits after the first one choose among SUB buckets of each power of two
    const power = n < SUB ? 0 : 31 - Math.clz32(n) - 5;
    this.counts[power * SUB + (n >> power)]++;
  }

  /** Microseconds that the share `p` (0..1) of the samples does not exceed: the bucket's upper end. */
  percentile(p) {
    const rank = Math.max(1, Math.ceil(this.samples * p));
    let seen = 0;
    for (let i = 0; i < this.counts.length; i++) {
      seen += this.counts[i];
      if (seen >= rank) {
        const power = Math.floor(i / SUB);
        return Math.min((((i % SUB) + 1) << power) - 1, this.max);
      }
    }
    return this.max;
  }
}
