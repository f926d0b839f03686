/** One end of the two-thread exchange: sends `count` frames to the other port, and checks what it receives. */
import { parentPort, workerData } from 'node:worker_threads';
import { DROP_REASONS } from '../../../src/rings/drops.ts';
import { AWAKE, BELL_MODE, Doorbell, SLEEP_WAIT } from '../../../src/rings/doorbell.ts';
import {
  D_DATA,
  D_FRAME,
  D_REGION_GEN,
  D_SEGS_VLAN,
  D_TOTAL,
  D_FLAGS_GSO,
  D_HASH,
  DESC_WORDS,
  F_TX,
  OWNER_RING,
} from '../../../src/rings/layout.ts';
import { attachSwitchPort } from '../../../src/ports/switchPort.ts';
import type { PortAttachment } from '../../../src/ports/port.ts';
import { setEthernet } from '../../../src/wire/ethernet.ts';

const { attachment, peerHi, peerLo, count } = workerData as { attachment: PortAttachment; peerHi: number; peerLo: number; count: number };
const port = attachSwitchPort(attachment);
const t = port.frames;
const bellWords = new Int32Array(attachment.bell!.block);
const bell = new Doorbell(bellWords, attachment.bell!.at);
const desc = new Int32Array(16 * DESC_WORDS);
const rx = new Int32Array(16 * DESC_WORDS);
const ids = new Int32Array(16);
let built = 0;
let sent = 0;
let received = 0;
let wrong = 0;
let sleeps = 0;

/** The word a frame carries at payload word `k`: sequence and place mixed. */
const word = (sequence: number, k: number): number => Math.imul(sequence ^ (k << 27), 0x9e3779b1) ^ k;

/** A thousand times too slow: on a busy machine a thread may stand still for longer than a peer needs to count as dead. */
const slowUs = (): number => performance.now() | 0;

function build(): void {
  const want = Math.min(16 - (built - sent), count - built);
  const n = want > 0 ? port.alloc(ids, 0, want) : 0;
  for (let i = 0; i < n; i++) {
    const f = ids[i]!;
    const eth = t.offset[f]! + t.headroom;
    setEthernet(t.view, eth, peerHi, peerLo, attachment.macHi, attachment.macLo, 0x0800);
    t.view.setInt32(eth + 14, built);
    for (let k = 0; k < 12; k++) t.view.setInt32(eth + 18 + k * 4, word(built, k));
    t.owner[f] = OWNER_RING;
    t.length[f] = 66;
    t.next[f] = -1;
    const d = (built - sent) * DESC_WORDS;
    desc[d + D_FRAME] = f;
    desc[d + D_DATA] = (t.headroom << 16) | 66;
    desc[d + D_TOTAL] = 66;
    desc[d + D_REGION_GEN] = (t.region << 16) | t.generation[f]!;
    desc[d + D_FLAGS_GSO] = F_TX;
    desc[d + D_SEGS_VLAN] = 1;
    desc[d + D_HASH] = built;
    built++;
  }
}

function breath(): number {
  port.tick(slowUs());
  const n = port.rxBurst(rx, 0, 16);
  for (let i = 0; i < n; i++) {
    const d = i * DESC_WORDS;
    const eth = t.offset[rx[d + D_FRAME]!]! + (rx[d + D_DATA]! >>> 16);
    let ok = t.view.getInt32(eth + 14) === received && rx[d + D_HASH] === received;
    for (let k = 0; k < 12; k++) if (t.view.getInt32(eth + 18 + k * 4) !== word(received, k)) ok = false;
    if (!ok) wrong++;
    received++;
    port.free(rx[d + D_FRAME]!);
  }
  build();
  let gone = 0;
  if (built > sent) {
    gone = port.txBurst(desc, 0, built - sent);
    desc.copyWithin(0, gone * DESC_WORDS, (built - sent) * DESC_WORDS);
    sent += gone;
  }
  port.flush();
  return n + gone;
}

let idle = 0;
while (sent < count || received < count) {
  idle = breath() === 0 ? idle + 1 : 0;
  if (idle < 200) continue;
  const ticket = bell.prepare(SLEEP_WAIT);
  if (!port.pending()) {
    // A lost wake would show as a timeout here, which the test refuses.
    if (!bell.wait(ticket, 10_000)) wrong += 1000;
    sleeps++;
  }
  bell.awake();
  idle = 0;
}
// Nothing more to send or to receive: all that is left are frames on their way home.
const state = new Int32Array(bellWords.buffer, attachment.bell!.at * 4, 3);
if (state[BELL_MODE] !== AWAKE) wrong++;
const until = performance.now() + 10_000;
while (port.available() < attachment.frameCount && performance.now() < until) {
  port.tick(slowUs());
  port.flush();
}
let drops = 0;
for (let r = 0; r < DROP_REASONS; r++) drops += port.drops[r]!;
parentPort!.postMessage({ sent, received, wrong, sleeps, drops, home: port.available(), publishes: port.publishes() });
