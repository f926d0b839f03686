// Bytes that prove themselves. Each connection sends its own stretch of one pseudo-random sequence; whoever gets them back
// knows from the position alone what each must be. The period is prime, so that no power-of-two mistake (a lost or doubled
// segment, a wrapped buffer) maps the sequence onto itself.
const PERIOD = 65521;

/** Two periods and a bit: any `room` bytes of the sequence stand in one piece. */
export function makePattern(room, seed = 0x2545f491) {
  const bytes = Buffer.alloc(PERIOD + room);
  let x = seed;
  for (let i = 0; i < bytes.length; i++) {
    if (i < PERIOD) {
      // xorshift32 (Marsaglia 2003)
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      bytes[i] = x >>> 11;
    } else bytes[i] = bytes[i - PERIOD];
  }
  return bytes;
}

/** Where connection `k` begins. */
export const patternStart = (k) => (k * 40503) % PERIOD;

/** Where it goes on after `n` bytes. */
export const patternAfter = (at, n) => (at + n) % PERIOD;

/** How many of the `n` bytes in `got` differ from the pattern at `at`. */
export function wrongBytes(pattern, at, got, n) {
  if (n > 128 && pattern.compare(got, 0, n, at, at + n) === 0) return 0;
  let wrong = 0;
  for (let i = 0; i < n; i++) if (got[i] !== pattern[at + i]) wrong++;
  return wrong;
}
