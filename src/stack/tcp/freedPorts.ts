/**
 * Local ports that connections to one destination give back while a search has found none free to there. The next connection takes
 * from here: with every port in TIME_WAIT, as behind a client of short connections, a search would look at all of them in vain.
 */
const FREED_MAX = 1024;

export class FreedPorts {
  /** Port 0: no destination is watched. */
  private ip = 0;
  private port = 0;
  private readonly ports = new Uint16Array(FREED_MAX);
  private count = 0;

  /** From here on for ip:port alone; what was noted before is forgotten. Port 0 ends it. */
  watch(ip: number, port: number): void {
    this.ip = ip;
    this.port = port;
    this.count = 0;
  }

  watches(ip: number, port: number): boolean {
    return port === this.port && ip === this.ip;
  }

  // hot: per packet
  /** A connection to `ip` is over; `ports` is remote << 16 | local. With more than FREED_MAX free a search finds one soon. */
  note(ip: number, ports: number): void {
    if (ports >>> 16 !== this.port || ip !== this.ip) return;
    if (this.count < FREED_MAX) this.ports[this.count++] = ports & 0xffff;
    else this.watch(0, 0);
  }

  /** The port noted last, which may be in use again; 0 when none is left. */
  take(): number {
    return this.count === 0 ? 0 : this.ports[--this.count]!;
  }
}
