/**
 * Keyed hashes of connection identities: HalfSipHash (Aumasson and Bernstein; the 32-bit sibling of SipHash), and the
 * initial sequence numbers and timestamp offsets made of them.
 */

// hot: per packet
/** HalfSipHash-c-d over three words (12 bytes) with a 64-bit key; int32. */
export function halfSip(k0: number, k1: number, a: number, b: number, m: number, c: number, d: number): number {
  let v0 = k0;
  let v1 = k1;
  let v2 = k0 ^ 0x6c796765;
  let v3 = k1 ^ 0x74656462;
  const last = 12 << 24;
  // Words 0..2 are the message, word 3 its length; then d rounds after 0xff.
  for (let w = 0; w < 5; w++) {
    let x = 0;
    let rounds = c;
    if (w === 0) x = a;
    else if (w === 1) x = b;
    else if (w === 2) x = m;
    else if (w === 3) x = last;
    else {
      v2 ^= 0xff;
      rounds = d;
    }
    v3 ^= x;
    for (let r = 0; r < rounds; r++) {
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
    }
    v0 ^= x;
  }
  return v1 ^ v3;
}

/**
 * RFC 6528: ISN = M + F(localip, localport, remoteip, remoteport, secretkey). M ticks every 4 microseconds, as RFC 9293
 * section 3.4.1 asks; F is HalfSipHash-2-4 under a secret drawn when the stack is made. Identities differ in all bits;
 * the same identity's ISNs grow with time, so that a new incarnation starts above the old one's window.
 */
export class IsnGenerator {
  private readonly k0: number;
  private readonly k1: number;
  private readonly t0: number;
  private readonly t1: number;
  private lastUs: number;
  private ticks: number;
  private restUs = 0;

  constructor(random: () => number, nowUs: number) {
    this.k0 = random() | 0;
    this.k1 = random() | 0;
    this.t0 = random() | 0;
    this.t1 = random() | 0;
    this.ticks = random() | 0;
    this.lastUs = nowUs;
  }

  next(remoteIp: number, localIp: number, ports: number, nowUs: number): number {
    // nowUs wraps every 71 minutes: ticks are accumulated from differences, so that M itself never jumps back. The
    // difference is unsigned: M goes on after more than 35 quiet minutes too.
    const passed = ((nowUs - this.lastUs) >>> 0) + this.restUs;
    this.ticks = (this.ticks + Math.floor(passed / 4)) | 0;
    this.restUs = passed & 3;
    this.lastUs = nowUs;
    return (this.ticks + halfSip(this.k0, this.k1, remoteIp, localIp, ports, 2, 4)) | 0;
  }

  /** RFC 7323 section 5.4: timestamp clocks offset per identity, the same for all incarnations (RFC 6191 needs that). */
  timestampOffset(remoteIp: number, localIp: number, ports: number): number {
    return halfSip(this.t0, this.t1, remoteIp, localIp, ports, 2, 4);
  }
}
