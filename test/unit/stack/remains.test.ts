/** What the columns of a dead worker say its peers are owed. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { HostView } from '../../../src/rings/hostState.ts';
import { LEN_ETHERNET } from '../../../src/wire/ethernet.ts';
import { LEN_IPV4 } from '../../../src/wire/ipv4.ts';
import * as tcp from '../../../src/wire/tcp.ts';
import { planControl } from '../../../src/rings/control.ts';
import { LEN_RESET_FRAME, Remains } from '../../../src/stack/tcp/remains.ts';
import { ACK, PSH, RST, SYN, type Trace, trace } from './trace.ts';

const HEADER = LEN_ETHERNET + LEN_IPV4;

interface Owed {
  port: number;
  flags: number;
  /** From our ISS. */
  seq: number;
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

test.run();
