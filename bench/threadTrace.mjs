// What a program's thread of a bench saw of its own stalls: between two beats, which a busy thread has every few microseconds, longer
// than `quietMs`. For each: when, how much of the time since the last stall the thread had no CPU, its context switches, its garbage
// collections, and whether its event loop had a turn. Nothing is read while nothing stalls, so that the trace does not make what it
// looks for.
import { loadNative } from '../dist/src/ports/native.js';

const STALLS_MAX = 10_000;

export class ThreadTrace {
  stalls = [];
  missed = 0;
  turnedAt = 0;
  running = true;

  constructor(quietMs) {
    this.quietMs = quietMs;
    this.native = loadNative();
    if (this.native === null) throw new Error('a trace needs the native addon');
    this.native.watchGc();
    // Milliseconds of this thread's clock to those of the machine's monotonic one, which all threads share.
    this.offset = -Infinity;
    // The best of many tries: between two clocks a thread may be late, never early.
    for (let i = 0; i < 100; i++) this.offset = Math.max(this.offset, this.native.nowNs() / 1e6 - performance.now());
    this.last = performance.now();
    this.look();
    const turn = () => {
      this.turnedAt = performance.now();
      if (this.running) setImmediate(turn);
    };
    turn();
  }

  look() {
    const n = this.native;
    this.at = performance.now();
    this.cpuNs = n.threadCpuNs();
    this.involuntary = n.involuntarySwitches();
    this.voluntary = n.voluntarySwitches();
    this.gcCount = n.gcCount();
    this.gcNs = n.gcNs();
  }

  beat() {
    const now = performance.now();
    if (now - this.last > this.quietMs) this.stalled(now);
    else this.last = now;
  }

  stalled(now) {
    const { at, cpuNs, involuntary, voluntary, gcCount, gcNs, last, turnedAt, offset } = this;
    this.look();
    this.last = performance.now();
    if (this.stalls.length >= STALLS_MAX) {
      this.missed++;
      return;
    }
    this.stalls.push({
      from: last + offset,
      to: now + offset,
      offMs: Math.max(0, this.at - at - (this.cpuNs - cpuNs) / 1e6),
      involuntary: this.involuntary - involuntary,
      voluntary: this.voluntary - voluntary,
      gcs: this.gcCount - gcCount,
      gcMs: (this.gcNs - gcNs) / 1e6,
      turned: turnedAt >= last,
    });
  }

  end() {
    this.running = false;
    return { stalls: this.stalls, missed: this.missed };
  }
}

/** The client's: also every round trip that took longer than `slowMs`. */
export class TripTrace extends ThreadTrace {
  trips = [];

  constructor(slowMs, quietMs) {
    super(quietMs);
    this.slowMs = slowMs;
  }

  trip(begunMs, now) {
    this.beat();
    if (now - begunMs > this.slowMs && this.trips.length < STALLS_MAX)
      this.trips.push({ from: begunMs + this.offset, to: now + this.offset });
  }

  end() {
    return { ...super.end(), trips: this.trips };
  }
}
