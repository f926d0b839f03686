import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { copyWords, Memory } from '../../../src/stack/wordCopy.ts';
import { ACK, PSH, pattern, trace } from './trace.ts';

const test = suite('copies of few bytes');
const BYTES = 160;

function memory(fill: (i: number) => number, at = 0): Memory {
  const all = new SharedArrayBuffer(BYTES + 8);
  const u8 = new Uint8Array(all, at);
  for (let i = 0; i < u8.length; i++) u8[i] = fill(i);
  return new Memory(u8, new Int32Array(all, at, u8.length >> 2));
}

test('every length from every place to every place arrives whole, and nothing beside it changes', () => {
  for (let src = 0; src < 8; src++)
    for (let dst = 0; dst < 8; dst++)
      for (let n = 0; n <= 70; n++) {
        const from = memory((i) => (i * 7 + 1) & 0xff);
        const to = memory(() => 0xee);
        copyWords(to, dst, from, src, n);
        const want = Uint8Array.from(to.u8, (_, i) => (i >= dst && i < dst + n ? (src + i - dst) * 7 + 1 : 0xee));
        assert.equal(Uint8Array.from(to.u8), want, `${n} bytes from ${src} to ${dst}`);
      }
});

test('the last bytes of both memories are reached, and a memory may begin within its buffer', () => {
  const from = memory((i) => i, 8);
  const to = memory(() => 0, 4);
  const n = 61;
  copyWords(to, to.u8.length - n, from, from.u8.length - n, n);
  assert.equal(Uint8Array.from(to.u8.subarray(-n)), Uint8Array.from(from.u8.subarray(-n)));
});

test(
  'whichever of three buffers a program turns to, each call reads and writes the one it was given',
  trace({}, (t) => {
    const s = t.accepted();
    // Three places in three memories, so that a view or a place of another buffer shows.
    const buffers = [3, 40, 129].map((at, i) => new Uint8Array(new ArrayBuffer(512), at, 100 + i));
    // Every pair of neighbours, also the same buffer twice.
    const turns = [0, 0, 1, 0, 1, 2, 2, 0, 2, 1, 1, 2, 0, 1, 2];
    let stream = 0;
    for (const turn of turns) {
      const b = buffers[turn]!;
      t.recv(ACK | PSH, { seq: 1 + stream, ack: 1 + stream, len: 60 });
      for (const other of buffers) other.fill(0);
      assert.is(t.sockets.read(s, b, 5, 60, false), 60);
      assert.equal(Buffer.from(b.subarray(5, 65)), pattern(stream, 60));
      for (const other of buffers) if (other !== b) assert.ok(other.every((x) => x === 0));
      assert.is(t.sockets.write(s, b, 5, 60), 60);
      t.breath();
      assert.equal(t.out.at(-1)!.data, pattern(stream, 60));
      t.out.length = 0;
      stream += 60;
    }
  }),
);

test.run();
