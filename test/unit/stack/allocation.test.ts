// What runs for every frame allocates nothing: the heap stands still over hundreds of thousands of calls.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { MSG_CONFIRM, MSG_RESOLVE, NB_REACHABLE, NB_STALE } from '../../../src/rings/hostState.ts';
import {
  D_DATA,
  D_FLAGS_GSO,
  D_FRAME,
  D_OFFSETS,
  D_REGION_GEN,
  D_SEGS_VLAN,
  D_TOTAL,
  DESC_WORDS,
  HEADROOM,
  OWNER_RING,
} from '../../../src/rings/layout.ts';
import * as m from '../../../src/api/mtcp.ts';
import { FakeWorker } from '../api/fakeWorker.ts';
import { createArena, SharedArena } from '../../../src/rings/arena.ts';
import { STEER_RETA, STEERING_BYTES, Steering } from '../../../src/rings/steering.ts';
import { createIcmp } from '../../../src/stack/icmp.ts';
import { createNeighbor } from '../../../src/stack/neighbor.ts';
import { Scoreboard } from '../../../src/stack/tcp/recovery/scoreboard.ts';
import { Tcb } from '../../../src/stack/tcp/tcb.ts';
import type { Ipv4Out } from '../../../src/stack/transmit.ts';
import { Classified, classify } from '../../../src/wire/flow.ts';
import { parseOptions, TcpOptions } from '../../../src/wire/tcpOptions.ts';
import { exactView, GOLDEN_NAMES, goldenBytes } from '../wire/golden.ts';
import { datagram } from './datagrams.ts';
import { HostRig, ip, mac, OUR_MAC, OURS, PEER, PEER_MAC, replyHex } from './hostRig.ts';
import { pattern, Trace } from './trace.ts';
import { WorkerRig } from './workerRig.ts';

const CALLS = 200_000;
/** Bytes the measurement itself may cost, and what the optimiser leaves behind late. */
const SLACK = 16_384;

/** Heap growth over CALLS calls, the least of five attempts after a warm-up: a collection or the compiler may disturb one. */
function growth(run: (calls: number) => void): number {
  run(CALLS);
  run(CALLS);
  let least = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < 5; attempt++) {
    const before = process.memoryUsage().heapUsed;
    run(CALLS);
    const grown = process.memoryUsage().heapUsed - before;
    if (grown >= 0 && grown < least) least = grown;
  }
  return least;
}

test('the measure sees one small object a call', () => {
  const kept: unknown[] = [null];
  assert.ok(
    growth((n) => {
      for (let i = 0; i < n; i++) kept[0] = { i };
    }) > SLACK,
  );
});

test('classify and steering, over every golden frame', () => {
  const views = GOLDEN_NAMES.map((name) => exactView(goldenBytes(name)));
  const block = new SharedArrayBuffer(STEERING_BYTES);
  Steering.format(block, 0, 3, STEER_RETA);
  const steering = new Steering(block, 0);
  steering.serve(0, 80, 1, true);
  const seen = new Classified();
  let mixed = 0;
  assert.ok(
    growth((n) => {
      let sum = 0;
      for (let i = 0; i < n; i++) {
        const v = views[i % views.length]!;
        classify(v, 0, v.byteLength, seen);
        sum = (sum + steering.owner(seen.steer, seen.hash, seen.localPort)) & 0xffff;
      }
      mixed = sum;
    }) < SLACK,
  );
  assert.type(mixed, 'number');
});

test('the SACK scoreboard: blocks, holes, the pipe, SND.UNA moving', () => {
  const words = new SharedArena(createArena(1 << 21));
  const t = new Tcb(words, 4);
  const board = new Scoreboard(words, t, 256);
  const o = new TcpOptions();
  t.sackHead[0] = -1;
  t.mss[0] = 100;
  let sum = 0;
  assert.ok(
    growth((n) => {
      for (let i = 0; i < n; i++) {
        t.sndMax[0] = (t.sndUna[0]! + 20_000) | 0;
        o.sackCount = 4;
        for (let b = 0; b < 4; b++) {
          o.sack[b * 2] = (t.sndUna[0]! + 100 + ((i + b) % 40) * 200) | 0;
          o.sack[b * 2 + 1] = (o.sack[b * 2]! + 100) | 0;
        }
        sum = (sum + board.update(0, o) + board.pipe(0)) | 0;
        board.hole(0, t.highRxt[0]!);
        board.resent(0, board.holeAt, board.holeEnd);
        t.sndUna[0] = (t.sndUna[0]! + 90) | 0;
        board.advance(0);
      }
    }) < SLACK,
  );
  assert.type(sum, 'number');
});

test('TCP options, fast and slow', () => {
  const syn = exactView(goldenBytes('tcpSyn'));
  const data = exactView(goldenBytes('tcpData'));
  const o = new TcpOptions();
  assert.ok(
    growth((n) => {
      for (let i = 0; i < n; i++) {
        parseOptions(syn, 34, 40, o);
        parseOptions(data, 34, 32, o);
      }
    }) < SLACK,
  );
});

test('ARP heard, answered, confirmed and ticked', () => {
  let taken = 0;
  const rig = new HostRig(0, { takeFrame: () => taken++ & 1, send: () => undefined });
  rig.host.message(MSG_RESOLVE, ip(PEER));
  rig.hear(Buffer.from(replyHex(PEER_MAC, PEER, OUR_MAC, OURS), 'hex'));
  const request = rig.place(goldenBytes('arpRequest'));
  let now = 0;
  assert.ok(
    growth((n) => {
      for (let i = 0; i < n; i++) {
        rig.host.input(request, 42);
        rig.host.message(MSG_CONFIRM, ip0);
        rig.host.tick(now);
        now = (now + 1) | 0;
      }
    }) < SLACK,
  );
  assert.ok(taken > CALLS);
});

const ip0 = ip(PEER);

test('neighbour look-ups, reachable and stale in turn', () => {
  const rig = new WorkerRig();
  const neighbor = createNeighbor(rig.env);
  rig.publisher.put(ip(PEER), NB_REACHABLE, ...mac(PEER_MAC));
  rig.publisher.put(ip('192.0.2.9'), NB_STALE, ...mac(PEER_MAC));
  const other = ip('192.0.2.9');
  assert.ok(
    growth((n) => {
      for (let i = 0; i < n; i++) {
        neighbor.resolve((i & 1) === 0 ? ip0 : other);
        neighbor.confirm(ip0);
      }
    }) < SLACK,
  );
});

test('echo requests answered', () => {
  const rig = new WorkerRig();
  let finished = 0;
  const out: Ipv4Out = {
    l4: rig.frames.offset[3]! + 224,
    start: () => 3,
    finish: () => {
      finished++;
    },
  };
  const icmp = createIcmp(rig.env, out, { tcp: () => false, udp: () => false });
  const at = rig.receive(goldenBytes('echoRequest'));
  rig.env.bursts.inspect(at, 1, 0);
  assert.is(rig.env.arena.i32[at + D_OFFSETS]! >>> 16, 34);
  assert.ok(
    growth((n) => {
      for (let i = 0; i < n; i++) icmp.input(at);
    }) < SLACK,
  );
  assert.ok(finished > CALLS);
});

test('datagrams received, taken and answered, in breaths of a whole stack', () => {
  const t = new Trace({ config: { timeWaitMs: 1 } });
  const { sockets, stack, broker, frames } = t;
  const s = sockets.openDatagram();
  assert.is(sockets.bind(s, 0, 7), 0);
  // Longer ones are copied by a burst, whose twin makes a view each.
  const request = datagram({ data: pattern(0, 100) });
  const buffer = new Uint8Array(2048);
  const from = { address: 0, port: 0 };
  const d = new Int32Array(DESC_WORDS);
  let answered = 0;
  function echo(): void {
    const f = t.takeFrame();
    frames.u8.set(request, frames.offset[f]! + HEADROOM);
    frames.length[f] = request.length;
    frames.next[f] = -1;
    d[D_FRAME] = f;
    d[D_DATA] = (HEADROOM << 16) | request.length;
    d[D_TOTAL] = request.length;
    d[D_REGION_GEN] = frames.generation[f]! & 0xffff;
    d[D_FLAGS_GSO] = 0;
    d[D_SEGS_VLAN] = 1;
    t.put(d);
    stack.begin();
    const n = sockets.receiveFrom(s, buffer, 0, 2048, 0, from);
    if (n === 100 && sockets.sendTo(s, buffer, 0, n, from.address, from.port) === n) answered++;
    stack.end();
    t.port.flush();
    for (let k = broker.tx.readyNow(); k > 0; k--) {
      const sent = broker.tx.words[broker.tx.slot(0) + D_FRAME]!;
      broker.tx.take(1);
      // What was sent becomes credit again.
      broker.grant.room(1);
      frames.owner[sent] = OWNER_RING;
      broker.grant.words[broker.grant.slot(0)] = sent;
      broker.grant.put(1);
    }
    for (let k = broker.recycle.readyNow(); k > 0; k--) {
      t.home(broker.recycle.words[broker.recycle.slot(0)]!);
      broker.recycle.take(1);
    }
    broker.flush();
  }
  const grown = growth((n) => {
    // A breath each: a tenth of the calls is work enough.
    for (let i = 0; i < n / 10; i++) echo();
  });
  assert.ok(grown < SLACK, `${grown} bytes`);
  assert.ok(answered > CALLS / 2, `${answered} answered`);
});

test('the mTCP calls: vectors through a pipe, epoll, options', () => {
  const t = new Trace();
  const worker = new FakeWorker();
  Object.defineProperty(worker, 'sockets', { value: t.sockets });
  const mctx = m.createContext();
  const ids = new Int32Array(2);
  assert.is(m.pipe(mctx, ids), 0);
  const [r, w] = [ids[0]!, ids[1]!];
  const tcp = m.socket(mctx, m.AF_INET, m.SOCK_STREAM, 0);
  const ep = m.epollCreate(mctx);
  const events = new m.EpollEvents(4);
  m.epollCtl(mctx, ep, m.EPOLL_CTL_ADD, r, { events: m.EPOLLIN | m.EPOLLET });
  mctx.inHandler = true;
  const bytes = new Uint8Array(256);
  const parts = [
    { buffer: bytes, offset: 3, length: 40 },
    { buffer: bytes, offset: 64, length: 60 },
  ];
  const linger = { onoff: 1, linger: 9 };
  const info = new m.TcpInfo();
  let moved = 0;
  assert.ok(
    growth((n) => {
      for (let i = 0; i < n; i++) {
        moved += m.writev(mctx, w, parts);
        if (m.epollWait(mctx, ep, events, 4, 0) === 1) moved -= m.readv(mctx, r, parts);
        m.setsockopt(mctx, tcp, m.SOL_SOCKET, m.SO_LINGER, linger);
        m.getsockopt(mctx, tcp, m.SOL_SOCKET, m.SO_LINGER, linger);
        m.getsockopt(mctx, tcp, m.IPPROTO_TCP, m.TCP_INFO, info);
        m.socketIoctl(mctx, r, m.FIONREAD);
      }
    }) < SLACK,
  );
  assert.is(moved, 0);
});

test.run();
