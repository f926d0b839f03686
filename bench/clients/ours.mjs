// The load generator on our stack. Gets a load as a message, answers with a line of JSON on stdout; stays for the next.
import { parentPort } from 'node:worker_threads';
import * as mtcp from 'flowring/mtcp';
import { TripTrace } from '../threadTrace.mjs';
import { Work } from './work.mjs';

const mctx = mtcp.createContext();
const ep = mtcp.epollCreate(mctx, 4096);
const buffer = Buffer.alloc(262144);
const interest = { events: 0, data: 0 };
/** By socket. */
const wires = [];

class Wire {
  s = -1;
  waits = 0;
  up = false;

  constructor(flow) {
    this.flow = flow;
  }

  /** Carries socket `s` from here on. */
  begin(s) {
    this.s = s;
    this.waits = 0;
    this.up = false;
    wires[s] = this;
    this.watch(mtcp.EPOLLIN | mtcp.EPOLLOUT, mtcp.EPOLL_CTL_ADD);
  }

  watch(events, operation = mtcp.EPOLL_CTL_MOD) {
    if (this.waits === events) return;
    this.waits = interest.events = events;
    interest.data = this.s;
    mtcp.epollCtl(mctx, ep, operation, this.s, interest);
  }

  write(bytes, offset, length) {
    const n = mtcp.write(mctx, this.s, bytes, offset, length);
    if (n < length) this.watch(mtcp.EPOLLIN | mtcp.EPOLLOUT);
    if (n >= 0 || n === -mtcp.EAGAIN) return Math.max(n, 0);
    this.over();
    return 0;
  }

  /** The flow would go on writing: it is called again in the next breath. */
  again() {
    this.watch(mtcp.EPOLLIN | mtcp.EPOLLOUT);
  }

  finish() {
    mtcp.shutdown(mctx, this.s, mtcp.SHUT_WR);
    this.watch(mtcp.EPOLLIN);
  }

  close() {
    if (this.s < 0) return;
    mtcp.close(mctx, this.s);
    wires[this.s] = undefined;
    this.s = -1;
  }

  over() {
    this.close();
    this.flow.ended();
  }

  event(events) {
    if (!this.up && (events & mtcp.EPOLLERR) === 0) {
      this.up = true;
      this.watch(mtcp.EPOLLIN);
      this.flow.opened();
      return;
    }
    if ((events & mtcp.EPOLLIN) !== 0) this.receive();
    else if ((events & mtcp.EPOLLERR) !== 0) this.over();
    if ((events & mtcp.EPOLLOUT) !== 0 && this.s >= 0) {
      this.watch(mtcp.EPOLLIN);
      this.flow.writable();
    }
  }

  receive() {
    const n = mtcp.read(mctx, this.s, buffer);
    if (n > 0) this.flow.received(buffer, n);
    else if (n !== -mtcp.EAGAIN) this.over();
  }
}

/** A socket of datagrams, connected to the server. */
class DatagramWire {
  constructor(s, flow) {
    this.s = s;
    this.flow = flow;
    mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_ADD, s, { events: mtcp.EPOLLIN, data: s });
  }

  write(bytes, offset, length) {
    return Math.max(mtcp.sendto(mctx, this.s, bytes, offset, length), 0);
  }

  close() {
    if (this.s < 0) return;
    mtcp.close(mctx, this.s);
    wires[this.s] = undefined;
    this.s = -1;
  }

  event() {
    for (let i = 0; i < 64 && this.s >= 0; i++) {
      const n = mtcp.recvfrom(mctx, this.s, buffer, 0, buffer.length);
      if (n === -mtcp.EAGAIN) return;
      if (n >= 0) this.flow.received(buffer, n);
      else {
        this.close();
        this.flow.ended();
      }
    }
  }
}

function openDatagrams(load, flow) {
  const s = mtcp.socket(mctx, mtcp.AF_INET, mtcp.SOCK_DGRAM, mtcp.IPPROTO_UDP);
  const result = s < 0 ? s : mtcp.connect(mctx, s, load);
  if (result < 0) throw new Error(`a socket of datagrams: ${mtcp.errnoMessage(result)}`);
  flow.wire = wires[s] = new DatagramWire(s, flow);
  flow.opened();
}

function open(load, flow) {
  if (load.mode === 'udp') return openDatagrams(load, flow);
  const s = mtcp.socket(mctx, mtcp.AF_INET, mtcp.SOCK_STREAM, 0);
  const result = s < 0 ? s : mtcp.connect(mctx, s, load);
  if (result < 0 && result !== -mtcp.EINPROGRESS) {
    flow.wire = null;
    if (s >= 0) mtcp.close(mctx, s);
    setTimeout(() => flow.ended(), 1);
    return;
  }
  flow.wire ??= new Wire(flow);
  flow.wire.begin(s);
}

mtcp.run(mctx, ep, (events, n) => {
  for (let i = 0; i < n; i++) wires[events.data[i]]?.event(events.events[i]);
});

parentPort.on('message', (message) => {
  if (message.mode === undefined) return;
  const load = { ...message, address: mtcp.parseAddress(message.address) };
  const work = new Work(
    message,
    (flow) => open(load, flow),
    (result) => console.log(JSON.stringify(result)),
  );
  if (message.slowMs !== undefined) work.trace = new TripTrace(message.slowMs, message.quietMs);
  work.start();
});
console.log('ready');
