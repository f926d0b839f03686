/** Sequence arithmetic modulo 2^32 on int32 (RFC 9293 section 3.4). Never `>>> 0` but for printing. */
export const seqLt = (a: number, b: number): boolean => ((a - b) | 0) < 0;
export const seqLeq = (a: number, b: number): boolean => ((a - b) | 0) <= 0;
export const seqGt = (a: number, b: number): boolean => ((a - b) | 0) > 0;
export const seqGeq = (a: number, b: number): boolean => ((a - b) | 0) >= 0;
/** a - b as a signed distance. */
export const seqDiff = (a: number, b: number): number => (a - b) | 0;
export const seqAdd = (a: number, n: number): number => (a + n) | 0;
export const seqMax = (a: number, b: number): number => (((a - b) | 0) >= 0 ? a : b);
