/**
 * One core's stack, and its breath.
 *
 *   begin:  pull descriptors from the rx ring and the other workers' redirect rings · check them · one inspect burst ·
 *           TCP, UDP and ICMP take what is theirs · neighbours that resolved release what waited · timers fire
 *   (the application runs)
 *   end:    what it did not read moves to chunks, frames go home · output says what there is to say · one emit burst ·
 *           descriptors stand in the tx ring; the driver publishes and rings
 */
import * as counterIndex from '../rings/counters.ts';
import * as dropReasons from '../rings/drops.ts';
import { frameValid } from '../rings/frameTable.ts';
import * as layoutNumbers from '../rings/layout.ts';
import type { RingConsumer } from '../rings/spsc.ts';
import * as steeringNumbers from '../rings/steering.ts';
import type { StackEnv } from './env.ts';
import { createIcmp } from './icmp.ts';
import { IcmpErrors } from './icmpErrors.ts';
import { createNeighbor } from './neighbor.ts';
import { socketIds } from './socketIds.ts';
import type { Stack } from './sockets.ts';
import { Pipes } from './pipe.ts';
import * as socketsNumbers from './sockets.ts';
import { SocketTable } from './socketTable.ts';
import { createAcceptQueues } from './tcp/accept.ts';
import { TcpSockets } from './tcp/calls.ts';
import { createCongestion } from './tcp/congestion/newreno.ts';
import { Ending } from './tcp/ending.ts';
import { createHandshake } from './tcp/handshake.ts';
import { createTcpInput } from './tcp/input.ts';
import { icmpError } from './tcp/icmpError.ts';
import { createKeepalive } from './tcp/keepalive.ts';
import { Machine } from './tcp/machine.ts';
import { createOutput } from './tcp/output.ts';
import { createReassembly } from './tcp/reassembly.ts';
import { createReceiveBuffer } from './tcp/receiveBuffer.ts';
import { createReset } from './tcp/reset.ts';
import { createNewReno } from './tcp/recovery/newreno.ts';
import { createRtoEstimator } from './tcp/recovery/rto.ts';
import { createSackRecovery } from './tcp/recovery/sack.ts';
import { createSegments } from './tcp/segments.ts';
import { createSendBuffer } from './tcp/sendBuffer.ts';
import { createTimers } from './tcp/timers.ts';
import { SocketOptions } from './tcp/socketOptions.ts';
import { Touch } from './tcp/touch.ts';
import { UserCopy } from './tcp/userCopy.ts';
import { Transmit } from './transmit.ts';
import { createUdp } from './udp/udp.ts';

// A module's own constants are folded, imported ones loaded at every use: wire/flow.ts.
const { C_DROP, C_RX_BURSTS, C_RX_BYTES, C_RX_DELIVERED, C_RX_PACKETS, C_TRAINS_RX } = counterIndex;
const { DROP_BAD_DESCRIPTOR, DROP_FRAGMENT, DROP_NONE, DROP_RATE_LIMIT, DROP_UNKNOWN_PROTOCOL } = dropReasons;
const {
  D_DATA,
  D_FLAGS_GSO,
  D_FRAME,
  D_HASH,
  D_OFFSETS,
  D_REGION_GEN,
  D_SEGS_VLAN,
  D_TOTAL,
  DESC_WORDS,
  F_BAD,
  F_CSUM_OK,
  F_FRAGMENT,
  F_ICMP,
  F_IPCSUM_OK,
  F_PARSED,
  F_TCP,
  F_TRAIN,
  F_UDP,
  TRAIN_LINKS_MAX,
} = layoutNumbers;
const { STEER_TCP, STEER_UDP } = steeringNumbers;
const { EPOLLOUT } = socketsNumbers;

const CHECKED = F_PARSED | F_CSUM_OK | F_IPCSUM_OK;

/** Makes a stack. Throws RangeError when the arena is smaller than arenaBytes(config). */
export function createStack(env: StackEnv): Stack {
  return assembleStack(env).stack;
}

/** The same with its machine, whose columns tests and post-mortem tools look at. */
export function assembleStack(env: StackEnv): { stack: Stack; machine: Machine } {
  const { port, config, bursts } = env;
  const frames = port.frames;
  const counted = env.counters.v;
  const neighbor = createNeighbor(env);
  const transmit = new Transmit(env, neighbor);
  const m = new Machine(env, transmit, neighbor);
  const user = new UserCopy(env);
  const receive = createReceiveBuffer(m, user);
  const send = createSendBuffer(m, user);
  const reassembly = createReassembly(m, receive);
  const congestion = createCongestion(m);
  const newReno = createNewReno(m, congestion);
  const sack = createSackRecovery(m, congestion);
  const rto = createRtoEstimator(m);
  const reset = createReset(m);
  const keepalive = createKeepalive(m, reset);
  const queues = createAcceptQueues(m, reset);
  const handshake = createHandshake(m, { reset, queues, congestion, rto, keepalive });
  const output = createOutput(m, createSegments(m, send), congestion, sack);
  const timers = createTimers(m, { congestion, rto, reset, keepalive });
  const tcp = createTcpInput(m, { handshake, queues, reset, receive, reassembly, send, newReno, sack, rto });
  const touch = new Touch(m);
  const ids = socketIds(config);
  const ending = new Ending(m, queues, reset);
  const tcpSockets = new TcpSockets(
    m,
    { handshake, queues, reset, receive, send, output, options: new SocketOptions(m, keepalive) },
    ending,
  );
  m.ready.add(tcpSockets, ids.tcpEnd);
  const errors = new IcmpErrors(env, transmit);
  const udp = createUdp(env, m, user, errors, ids.tcpEnd);
  m.ready.add(udp.sockets, ids.udpEnd);
  const pipes = new Pipes(env, user, m.ready, ids.pipeFirst);
  m.ready.add(pipes, ids.total);
  const sockets = new SocketTable(ids, m.ready, tcpSockets, udp.sockets, pipes);
  const icmp = createIcmp(env, transmit, {
    tcp: (remote, local, ports, seq, errno, hard) => icmpError(m, remote, local, ports, seq, errno, hard),
    udp: (remote, local, ports, errno) => udp.sockets.failed(remote, local, ports, errno),
  });
  const pullAt = env.arena.take(config.burst * DESC_WORDS);
  const words = env.arena.i32;
  const mine = port.mine;
  const coalesce = config.coalesce ? 1 : 0;
  const writable = (u: number): void => m.ready.notify(ids.tcpEnd + u, EPOLLOUT);
  /** Per frame pulled this breath: whether it arrived as the head of a train. */
  const arrivedTrain = new Uint8Array(frames.frames);
  let epochSeen = env.host.epoch();
  let pulled = 0;
  let pulledBytes = 0;
  let first = 0;
  /** All pulled descriptors are parsed and vouched for. */
  let vouched = true;

  function drop(reason: number): void {
    counted[C_RX_PACKETS]++;
    counted[C_DROP + reason]++;
  }

  // hot: per packet
  /** Whether the descriptor copied to word `d` may be believed; its frames become ours. A frame that is not ours to touch is left alone. */
  function claim(d: number): boolean {
    const f = words[d + D_FRAME];
    const data = words[d + D_DATA];
    if (!frameValid(frames, f, words[d + D_REGION_GEN] & 0xffff)) {
      drop(DROP_BAD_DESCRIPTOR);
      return false;
    }
    const before = frames.owner[f];
    frames.owner[f] = mine;
    const inFrame = (data >>> 16) + (data & 0xffff);
    if (inFrame > frames.frameBytes || (data & 0xffff) < 14) {
      frames.next[f] = -1;
      port.freeFrame(f);
      drop(DROP_BAD_DESCRIPTOR);
      return false;
    }
    if ((words[d + D_FLAGS_GSO] & F_TRAIN) === 0) {
      frames.next[f] = -1;
      arrivedTrain[f] = 0;
      return true;
    }
    arrivedTrain[f] = 1;
    return claimTrain(d, f, data & 0xffff, before);
  }

  // hot: per packet
  /**
   * The links of a train: a descriptor has link 0's generation only, so a link is known by its owner. Whoever put the train on
   * the ring wrote the same into all of them (`before` is link 0's); a frame that somebody else holds is not touched.
   */
  function claimTrain(d: number, f: number, linear: number, before: number): boolean {
    let bytes = linear;
    let links = 1;
    let last = f;
    let sound = true;
    for (let g = frames.next[f]; g !== -1; g = frames.next[g]) {
      if (!isLink(g, before) || ++links > TRAIN_LINKS_MAX) {
        // Beyond this link nothing can be trusted: what is before it goes home.
        frames.next[last] = -1;
        sound = false;
        break;
      }
      frames.owner[g] = mine;
      bytes += frames.length[g];
      last = g;
    }
    if (sound && bytes === words[d + D_TOTAL]) return true;
    port.freeTrain(f);
    drop(DROP_BAD_DESCRIPTOR);
    return false;
  }

  // hot: per packet
  function isLink(g: number, owner: number): boolean {
    return g >= 0 && g < frames.frames && frames.owner[g] === owner && frames.length[g] > 0 && frames.length[g] <= frames.frameBytes;
  }

  // hot: per burst
  /**
   * The ring outlives this worker and must know what it took. A breath ends with an ACK, so it is bounded in bytes: a peer that
   * gets one a window stands still meanwhile.
   */
  function pull(ring: RingConsumer): void {
    let n = ring.ready();
    if (n > config.burst - pulled) n = config.burst - pulled;
    const from = ring.words;
    let i = 0;
    for (; i < n && pulledBytes < config.burstBytes; i++) {
      const s = ring.slot(i);
      const d = pullAt + pulled * DESC_WORDS;
      // Plain: a loop over DESC_WORDS. Written out as in switchPort.ts, which says what that saves.
      words[d] = from[s];
      words[d + 1] = from[s + 1];
      words[d + 2] = from[s + 2];
      words[d + 3] = from[s + 3];
      words[d + 4] = from[s + 4];
      words[d + 5] = from[s + 5];
      words[d + 6] = from[s + 6];
      words[d + 7] = from[s + 7];
      ring.claiming(i);
      const ours = claim(d);
      ring.claimed(i);
      if (!ours) continue;
      if ((words[d + D_FLAGS_GSO] & CHECKED) !== CHECKED) vouched = false;
      pulledBytes += words[d + D_TOTAL];
      pulled++;
    }
    if (i > 0) ring.take(i);
  }

  // hot: per packet
  function dispatch(d: number): void {
    const flags = words[d + D_FLAGS_GSO];
    // GRO made one train of so many received frames; a train that arrived as one counts once.
    const packets = (flags & F_TRAIN) !== 0 && arrivedTrain[words[d + D_FRAME]] === 0 ? words[d + D_SEGS_VLAN] & 0xffff : 1;
    counted[C_RX_PACKETS] += packets;
    counted[C_RX_BYTES] += words[d + D_TOTAL];
    if ((flags & F_TRAIN) !== 0) counted[C_TRAINS_RX]++;
    let reason = DROP_NONE;
    if ((flags & F_BAD) !== 0) {
      reason = words[d + D_HASH];
      port.freeTrain(words[d + D_FRAME]);
    } else if ((flags & (F_TCP | F_FRAGMENT)) === F_TCP) {
      reason = tcp.input(d, packets);
    } else if ((flags & (F_ICMP | F_FRAGMENT)) === F_ICMP) {
      reason = icmp.input(d);
      port.freeTrain(words[d + D_FRAME]);
    } else if ((flags & (F_UDP | F_FRAGMENT)) === F_UDP) {
      reason = udp.input.input(d);
    } else {
      reason = (flags & F_FRAGMENT) !== 0 ? fragment(d) : unknownProtocol(d);
      port.freeTrain(words[d + D_FRAME]);
    }
    if (reason === DROP_NONE) counted[C_RX_DELIVERED] += packets;
    else counted[C_DROP + reason] += packets;
  }

  /** Nothing is reassembled: the sender learns that of the first fragment. */
  function fragment(d: number): number {
    return errors.reassemblyTimeExceeded(d) ? DROP_FRAGMENT : DROP_RATE_LIMIT;
  }

  /** RFC 1122 section 3.2.2.1: the sender learns that nobody here speaks it. Offsets say whether it is IPv4 at all. */
  function unknownProtocol(d: number): number {
    const spoken = words[d + D_OFFSETS] >>> 16 === 0 || errors.protocolUnreachable(d);
    return spoken ? DROP_UNKNOWN_PROTOCOL : DROP_RATE_LIMIT;
  }

  // hot: per burst
  function begin(): number {
    pulled = 0;
    pulledBytes = 0;
    vouched = true;
    // In turn, the rings from other workers, each breath another one first, and our own: none lets another wait for ever.
    const rings = port.redirectIn.length;
    first = first + 1 >= rings ? 0 : first + 1;
    if ((first & 1) === 0) pull(port.rx);
    for (let k = 0; k < rings; k++) {
      const ring = port.redirectIn[first + k >= rings ? first + k - rings : first + k];
      if (ring !== null) pull(ring);
    }
    if ((first & 1) !== 0) pull(port.rx);
    let n = pulled;
    if (n > 0) {
      counted[C_RX_BURSTS]++;
      if (!vouched) n = bursts.inspect(pullAt, n, coalesce);
      touch.burst(pullAt, n);
      for (let i = 0; i < n; i++) dispatch(pullAt + i * DESC_WORDS);
    }
    const epoch = env.host.epoch();
    if (epoch !== epochSeen) {
      epochSeen = epoch;
      if (m.parkHead >= 0) m.unpark();
    }
    neighbor.poll(transmit.emitWaiting);
    if (m.starveHead >= 0) tcpSockets.feedStarved();
    udp.output.begin(writable);
    return pulled + timers.run();
  }

  // hot: per burst
  function end(): number {
    udp.queue.settleAll();
    receive.settleAll();
    output.run();
    transmit.flush();
    return transmit.takeSent();
  }

  function pending(): boolean {
    if (port.rx.readyNow() > 0 || env.host.epoch() !== epochSeen) return true;
    for (let w = 0; w < port.redirectIn.length; w++) {
      const ring = port.redirectIn[w];
      if (ring !== null && ring.readyNow() > 0) return true;
    }
    // Output that waits for credit is woken by the grant ring's bell; one that waits for ring room must look again.
    return (m.outHead >= 0 || udp.output.waiting > 0) && (port.credit(1) > 0 || transmit.ringFull());
  }

  function destroy(): void {
    udp.queue.settleAll();
    receive.settleAll();
    ending.destroy();
    udp.sockets.destroy();
    transmit.flush();
    neighbor.clear();
    port.returnCredit();
  }

  const stack: Stack = {
    sockets,
    begin,
    end,
    pending,
    nextDeadlineMs: () => m.wheel.nextMs(env.clock[1]),
    stopListening: () => ending.stopAllListening(false),
    busy: () => m.chunks.free + udp.queue.held < m.chunks.chunks,
    withdrawStaleClaims: () => {
      env.steering.servedBy(STEER_TCP, env.worker, (p) => {
        if (m.listenerOf[p] === 0 && m.boundTo[p] === 0) env.steering.serve(STEER_TCP, p, env.worker, false);
      });
      env.steering.servedBy(STEER_UDP, env.worker, (p) => {
        if (!udp.sockets.bound(p)) env.steering.serve(STEER_UDP, p, env.worker, false);
      });
    },
    drain: () => {
      ending.drain();
      udp.input.draining = true;
      udp.sockets.stopServing();
    },
    drained: () => m.live === 0,
    destroy,
  };
  return { stack, machine: m };
}
