/** How sockets end: a FIN after what is queued, what becomes of a connection that nobody holds, and all of them at once. */
import { STEER_TCP } from '../../rings/steering.ts';
import { ECONNABORTED } from '../sockets.ts';
import type { AcceptQueues } from './accept.ts';
import type { Machine } from './machine.ts';
import type { Reset } from './reset.ts';
import { CLOSE_WAIT, CLOSED, ESTABLISHED, FIN_WAIT_1, LAST_ACK, LISTEN, SYN_RCVD, SYN_SENT, TIME_WAIT } from './states.ts';
import { T_CLAIMED, T_DEAD, T_FIN, T_LINGERING, T_OPEN, T_QUEUED, TCB_ROW } from './tcb.ts';

export class Ending {
  private readonly m: Machine;
  private readonly queues: AcceptQueues;
  private readonly reset: Reset;
  private readonly stateOf: Int32Array;
  private readonly flags: Int32Array;

  constructor(m: Machine, queues: AcceptQueues, reset: Reset) {
    this.m = m;
    this.queues = queues;
    this.reset = reset;
    this.stateOf = m.tcb.state;
    this.flags = m.tcb.flags;
  }

  /** A FIN after what is queued (RFC 9293 section 3.10.4), by state; nothing where one was said already. */
  sayFin(c: number): void {
    const state = this.stateOf[c];
    if ((this.flags[c] & T_FIN) !== 0) return;
    // In SYN_RCVD our SYN may still be lost: the FIN waits for ESTABLISHED.
    if (state === ESTABLISHED) this.m.enter(c, FIN_WAIT_1);
    else if (state === CLOSE_WAIT) this.m.enter(c, LAST_ACK);
    else if (state !== SYN_RCVD) return;
    this.flags[c] |= T_FIN;
    this.m.wantOutput(c);
  }

  orphan(c: number): void {
    this.m.endIn(c, this.m.config.finWait2Ms);
  }

  /** Nobody waits in close(): the stack gives the rest so long, then RST. */
  linger(c: number): void {
    this.flags[c] |= T_LINGERING;
    this.m.endIn(c, this.m.tcb.lingerS[c] * 1000);
  }

  stopListening(c: number): void {
    this.m.listenerOf[this.m.tcb.ports[c] & 0xffff] = 0;
    this.queues.abandon(c);
  }

  /**
   * Listeners stop, and what waits to be accepted is reset; connections go on. With `unserve` the port's steering changes at
   * once, so that new connections find other workers; without it connections of several workers that all stop stay theirs.
   */
  stopAllListening(unserve: boolean): void {
    this.m.draining = true;
    for (let c = 0; c < this.m.tcb.end; c += TCB_ROW) {
      if (this.stateOf[c] !== LISTEN || (this.flags[c] & T_DEAD) !== 0) continue;
      this.stopListening(c);
      if (unserve) {
        this.m.env.steering.serve(STEER_TCP, this.m.tcb.ports[c] & 0xffff, this.m.env.worker, false);
        this.flags[c] &= ~T_CLAIMED;
      }
      this.m.enter(c, CLOSED);
    }
  }

  /** Listeners stop, connections get a FIN; what nobody closes by itself is treated as an orphan. */
  drain(): void {
    this.stopAllListening(true);
    for (let c = 0; c < this.m.tcb.end; c += TCB_ROW) {
      const state = this.stateOf[c];
      if (state === CLOSED || (this.flags[c] & T_DEAD) !== 0) continue;
      if (state === SYN_SENT) {
        this.m.terminate(c, ECONNABORTED);
      } else {
        this.sayFin(c);
        if (this.m.tcb.lifeAt[c] === 0) this.orphan(c);
      }
    }
  }

  /** RST for everything that lives, all columns back. */
  destroy(): void {
    for (let c = 0; c < this.m.tcb.end; c += TCB_ROW) {
      const state = this.stateOf[c];
      if (state === CLOSED) {
        // Reset before anybody accepted it, it waits in its queue.
        if ((this.flags[c] & (T_OPEN | T_QUEUED)) !== 0) this.m.free(c);
        continue;
      }
      if (state === LISTEN) this.m.listenerOf[this.m.tcb.ports[c] & 0xffff] = 0;
      else if (state !== SYN_SENT && state !== TIME_WAIT) this.reset.cut(c);
      this.m.free(c);
    }
  }
}
