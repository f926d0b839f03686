/** A segment wholly beyond the window: dropped and answered, and nothing else of it counts (RFC 9293 section 3.10.7.4). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { C_DROP } from '../../../src/rings/counters.ts';
import { DROP_UNACCEPTABLE } from '../../../src/rings/drops.ts';
import { ACK, FIN, trace } from './trace.ts';

const WINDOW = 4096;

for (const bits of [ACK, ACK | FIN]) {
  test(
    `data${bits === ACK ? '' : ' and FIN'} at and beyond the right edge: an ACK of where we are, its own ACK not taken`,
    trace({ config: { rcvbuf: WINDOW } }, (t) => {
      const s = t.accepted();
      assert.is(t.write(s, 'abcdef'), 6);
      t.breath();
      t.sends(ACK, { seq: 1, len: 6 });
      for (const seq of [1 + WINDOW, 1 + WINDOW + 1000]) {
        t.recv(bits, { seq, ack: 7, len: 100 });
        t.sends(ACK, { seq: 7, ack: 1 });
      }
      assert.is(t.counters.v[C_DROP + DROP_UNACCEPTABLE], 2);
      assert.is(t.sockets.readable(s), 0);
      // Its ACK of our six bytes was not believed: the timer sends them again.
      t.pass(1000);
      t.sends(ACK, { seq: 1, len: 6 });
    }),
  );
}

test.run();
