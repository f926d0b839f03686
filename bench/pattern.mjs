// The bytes that clients and servers of the benches send one another: byte i of a stream is byte (start + i) % PERIOD of this. The
// period is a prime, so that a lost piece of any round size shows. bench/clients/load.c has the same.
export const PERIOD = 65521;
/** Longest run that can be taken from any place in the period. */
export const RUN_MAX = 65536;

/** One period and RUN_MAX bytes more. */
export const PATTERN = Buffer.alloc(PERIOD + RUN_MAX);
for (let i = 0; i < PATTERN.length; i++) PATTERN[i] = Math.imul(i % PERIOD, 0x9e3779b1) >>> 24;

const WORDS = new DataView(PATTERN.buffer, PATTERN.byteOffset, PATTERN.length);
/** Views of the last buffer compared: a program has one it reads into. */
let viewed = PATTERN;
let words = WORDS;

/** A short run, by words: byte by byte a good part of a small message's time is the client's own. */
function isShortPattern(bytes, from, n, at) {
  if (bytes !== viewed) {
    viewed = bytes;
    words = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }
  const whole = n & ~3;
  for (let i = 0; i < whole; i += 4) if (words.getInt32(from + i) !== WORDS.getInt32(at + i)) return false;
  for (let i = whole; i < n; i++) if (bytes[from + i] !== PATTERN[at + i]) return false;
  return true;
}

/** Whether `bytes[from, from + n)` is the pattern from `at` (below PERIOD) on. */
export function isPattern(bytes, from, n, at) {
  let done = 0;
  while (done < n) {
    const run = Math.min(n - done, RUN_MAX);
    if (run <= 128) {
      if (!isShortPattern(bytes, from + done, run, at)) return false;
    } else if (PATTERN.compare(bytes, from + done, from + done + run, at, at + run) !== 0) return false;
    done += run;
    at = (at + run) % PERIOD;
  }
  return true;
}

/** The ends of a piece compared, and each 16th piece whole: comparing all of a bulk stream would measure the comparison. */
export function looksLikePattern(bytes, n, at, turn) {
  if (n < 64 || turn % 16 === 0) return isPattern(bytes, 0, n, at);
  return isPattern(bytes, 0, 16, at) && isPattern(bytes, n - 16, 16, (at + n - 16) % PERIOD);
}
