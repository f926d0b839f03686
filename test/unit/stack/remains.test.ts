/** What the columns of a dead worker say its peers are owed. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { HostPublisher, HostView } from '../../../src/rings/hostState.ts';
import { LEN_ETHERNET } from '../../../src/wire/ethernet.ts';
import { LEN_IPV4 } from '../../../src/wire/ipv4.ts';
import * as tcp from '../../../src/wire/tcp.ts';
import { planControl } from '../../../src/rings/control.ts';
import { LEN_RESET_FRAME, Remains } from '../../../src/stack/tcp/remains.ts';
import { ESTABLISHED, STATE_NAME, STATES } from '../../../src/stack/tcp/states.ts';
import { T_DEAD, T_HASHED } from '../../../src/stack/tcp/tcb.ts';
import { ACK, FIN, PEER, PEER_ISS, PSH, RST, SYN, type Trace, trace } from './trace.ts';

const HEADER = LEN_ETHERNET + LEN_IPV4;

interface Owed {
  port: number;
  flags: number;
  /** From our ISS. */
  seq: number;
}

/** The one connection of the worker. */
const established = (t: Trace): number => t.row(t.inState(ESTABLISHED));

/** What of the RSTs that can be written `owed` does not say. */
function resets(t: Trace): { mac: string; ack: number }[] {
  const remains = Remains.of(t.arena.memory)!;
  const host = new HostView(t.control, planControl(2, 1).hostAt);
  const view = new DataView(new ArrayBuffer(LEN_RESET_FRAME));
  const found: { mac: string; ack: number }[] = [];
  for (let more = remains.next(1); more >= 0; more = remains.next(1)) {
    if (more === 0) continue;
    const mac = (): string => Buffer.from(view.buffer, 0, 6).toString('hex');
    if (remains.write(view, 0, host, 1)) found.push({ mac: mac(), ack: (tcp.ack(view, HEADER) - PEER_ISS) | 0 });
    remains.told();
  }
  return found;
}

/** Every RST that is due, as the worker stands now. */
function owed(t: Trace): Owed[] {
  const remains = Remains.of(t.arena.memory)!;
  const host = new HostView(t.control, planControl(2, 1).hostAt);
  const view = new DataView(new ArrayBuffer(LEN_RESET_FRAME));
  const found: Owed[] = [];
  for (let more = remains.next(1); more >= 0; more = remains.next(1)) {
    if (more === 0) continue;
    assert.ok(remains.write(view, 0, host, 1));
    found.push({ port: tcp.dstPort(view, HEADER), flags: tcp.flags(view, HEADER), seq: (tcp.seq(view, HEADER) - t.iss) | 0 });
    remains.told();
  }
  return found;
}

test(
  'a listener is owed nothing, a half-open peer a RST without ACK, which it believes if it saw the SYN-ACK',
  trace({}, (t) => {
    t.listen();
    assert.equal(owed(t), []);
    t.recv(SYN, { mss: 1460 });
    t.sends(SYN | ACK, { seq: 0, ack: 1 });
    assert.equal(owed(t), [{ port: 40000, flags: RST, seq: 1 }]);
  }),
);

test(
  'an established peer is owed one at SND.NXT, and one at SND.UNA where they differ',
  trace({}, (t) => {
    const s = t.accepted();
    assert.equal(owed(t), [{ port: 40000, flags: RST | ACK, seq: 1 }]);
    t.write(s, 'hello');
    t.breath();
    t.sends(PSH | ACK, { seq: 1, len: 5 });
    assert.equal(owed(t), [
      { port: 40000, flags: RST | ACK, seq: 6 },
      { port: 40000, flags: RST | ACK, seq: 1 },
    ]);
  }),
);

test(
  'every state, as it stands in the column: the synchronized ones but TIME_WAIT, and SYN_RCVD',
  trace({}, (t) => {
    const s = t.accepted();
    const c = established(t);
    const seen: string[] = [];
    for (let state = 0; state < STATES; state++) {
      t.machine.tcb.state[c] = state;
      if (owed(t).length > 0) seen.push(STATE_NAME[state]!);
    }
    t.machine.tcb.state[c] = ESTABLISHED;
    assert.equal(seen, ['SYN_RCVD', 'ESTABLISHED', 'FIN_WAIT_1', 'FIN_WAIT_2', 'CLOSE_WAIT', 'CLOSING', 'LAST_ACK']);
    assert.ok(s >= 0);
  }),
);

test(
  'half written: identity without the flow table, or with nothing ever sent, or given back, is owed nothing',
  trace({}, (t) => {
    t.accepted();
    const c = established(t);
    const { flags, segsOut } = t.machine.tcb;
    const before = flags[c]!;
    flags[c] = before & ~T_HASHED;
    assert.equal(owed(t), []);
    flags[c] = before | T_DEAD;
    assert.equal(owed(t), []);
    flags[c] = before;
    const sent = segsOut[c]!;
    segsOut[c] = 0;
    assert.equal(owed(t), []);
    segsOut[c] = sent;
    assert.is(owed(t).length, 1);
  }),
);

test(
  'both halves of a close: our FIN counts in the sequence, the peer’s in the acknowledgment',
  trace({}, (t) => {
    const s = t.accepted();
    t.recv(FIN | ACK, { seq: 1, ack: 1 });
    t.sends(ACK, { seq: 1, ack: 2 });
    assert.equal(owed(t), [{ port: 40000, flags: RST | ACK, seq: 1 }]);
    assert.is(resets(t)[0]!.ack, 2);
    t.sockets.close(s);
    t.breath();
    t.sends(FIN | ACK, { seq: 1, ack: 2 });
    assert.equal(
      owed(t).map((o) => o.seq),
      [2, 1],
    );
  }),
);

test(
  'a neighbour that was forgotten is where the last segment went',
  trace({}, (t) => {
    t.accepted();
    const known = resets(t)[0]!.mac;
    new HostPublisher(t.control, planControl(2, 1).hostAt).remove(PEER);
    assert.equal(resets(t)[0]!.mac, known);
    const c = established(t);
    t.machine.tcb.macHi[c] = t.machine.tcb.macLo[c] = 0;
    assert.equal(resets(t), [], 'and without one nothing can be said');
  }),
);

test.run();
