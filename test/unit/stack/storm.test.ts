/** All 64 flag combinations, at and around every edge of the sequence space, in every state: nothing throws, nothing leaks, order holds. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EINPROGRESS, SHUT_WR } from '../../../src/stack/sockets.ts';
import { CLOSED, STATE_NAME, SYN_RCVD } from '../../../src/stack/tcp/states.ts';
import { seededRandom } from '../wire/golden.ts';
import { ACK, FIN, PEER, SYN, Trace } from './trace.ts';

/** Brings a connection of a fresh stack into a state; the peer's port is 40000, ours 80. Returns its id. */
const STATES: Record<string, (t: Trace) => number> = {
  SYN_SENT: (t) => connecting(t),
  SYN_RCVD: (t) => {
    t.listen();
    t.recv(SYN);
    return t.inState(SYN_RCVD);
  },
  'SYN_RCVD of a crossed open': (t) => {
    const s = connecting(t);
    t.recv(SYN, { port: 9000 });
    return s;
  },
  ESTABLISHED: (t) => t.accepted(),
  'ESTABLISHED with a hole, a shut window and data out': (t) => {
    const s = t.accepted({ win: 3000 });
    t.recv(ACK, { seq: 2001, ack: 1, len: 500, win: 3000 });
    t.write(s, Buffer.alloc(9000));
    return s;
  },
  FIN_WAIT_1: (t) => {
    const s = t.accepted();
    t.sockets.shutdown(s, SHUT_WR);
    return s;
  },
  'FIN_WAIT_1 closed': (t) => {
    const s = t.accepted();
    t.sockets.close(s);
    return s;
  },
  FIN_WAIT_2: (t) => {
    const s = t.accepted();
    t.sockets.shutdown(s, SHUT_WR);
    t.breath().recv(ACK, { seq: 1, ack: 2 });
    return s;
  },
  CLOSE_WAIT: (t) => {
    const s = t.accepted();
    t.recv(FIN | ACK, { seq: 1, ack: 1 });
    return s;
  },
  CLOSING: (t) => {
    const s = t.accepted();
    t.sockets.close(s);
    t.breath().recv(FIN | ACK, { seq: 1, ack: 1 });
    return s;
  },
  LAST_ACK: (t) => {
    const s = t.accepted();
    t.recv(FIN | ACK, { seq: 1, ack: 1 });
    t.sockets.close(s);
    return s;
  },
  TIME_WAIT: (t) => {
    const s = t.accepted();
    t.sockets.close(s);
    t.breath().recv(FIN | ACK, { seq: 1, ack: 2 });
    return s;
  },
};

function connecting(t: Trace): number {
  const s = t.sockets.open();
  assert.is(t.sockets.connect(s, PEER, 9000), -EINPROGRESS);
  t.breath();
  return s;
}

function ordered(t: Trace, s: number, edge: number, what: string): number {
  const c = t.row(s);
  const { sndUna, sndNxt, sndMax, rcvNxt, rcvAdv, sbLen } = t.machine.tcb;
  assert.ok(((sndNxt[c]! - sndUna[c]!) | 0) >= 0 && ((sndMax[c]! - sndNxt[c]!) | 0) >= 0, `${what}: SND.UNA <= SND.NXT <= SND.MAX`);
  assert.ok(((rcvAdv[c]! - rcvNxt[c]!) | 0) >= 0, `${what}: RCV.NXT beyond its window`);
  assert.ok(((rcvAdv[c]! - edge) | 0) >= 0, `${what}: the right edge moved back`);
  assert.ok(sbLen[c]! >= 0 && t.sockets.readable(s) <= t.config.rcvbuf, `${what}: lengths`);
  return rcvAdv[c]!;
}

for (const [name, enter] of Object.entries(STATES)) {
  test(name, () => {
    const random = seededRandom(`storm ${name}`);
    const pick = <T>(from: readonly T[]): T => from[(random() >>> 1) % from.length]!;
    for (let round = 0; round < 96; round++) {
      const t = new Trace({ config: { retries: 3, synRetries: 2 }, seed: random() });
      const s = enter(t);
      const tcb = t.machine.tcb;
      const c = t.row(s);
      const from = { port: tcb.ports[c]! >>> 16, to: tcb.ports[c]! & 0xffff };
      let edge = tcb.rcvAdv[c]!;
      let irs = tcb.irs[c]!;
      for (let i = 0; i < 8; i++) {
        const bits = i === 0 ? round & 63 : (random() >>> 8) & 63;
        const near = pick([-70000, -2000, -2, -1, 0, 0, 0, 0, 1, 2, 1000, 2000, 70000]);
        const base = pick([tcb.rcvNxt[c]!, tcb.rcvNxt[c]!, tcb.rcvAdv[c]!, tcb.irs[c]!]);
        const ack = pick([tcb.sndUna[c]!, tcb.sndNxt[c]!, tcb.sndMax[c]!, tcb.iss[c]!]) + pick([-70000, -1, 0, 0, 0, 1, 70000]);
        const segment = { ...from, seq: (base + near) | 0, ack: ack | 0, len: pick([0, 0, 1, 100, 1460]), win: pick([0, 1, 1000, 65535]) };
        t.queue(bits, { ...segment, absolute: true });
        if (pick([0, 1]) === 1) t.breath();
        if (i === 4) t.pass(pick([1, 300, 3000]));
        // An id that was freed and given out again is another connection.
        if (tcb.state[c] === CLOSED) break;
        const what = `${name}, round ${round}, segment ${i}, ${STATE_NAME[tcb.state[c]!]}`;
        if (tcb.irs[c] !== irs) {
          // The peer's SYN only came now, or another connection has this id.
          irs = tcb.irs[c]!;
          edge = tcb.rcvAdv[c]!;
        }
        edge = ordered(t, s, edge, what);
      }
      t.breath().breath();
      // Left alone, everything comes to an end of its own or stays quiet.
      t.pass(200_000);
      t.out.length = 0;
      t.end();
    }
  });
}

test.run();
