/**
 * The sockets of all workers, read from the columns they keep in shared memory (stack/tcp/tcb.ts, stack/udp/table.ts) while
 * they go on working: each row is read as it stands, and read again when its connection changed state meanwhile.
 */
import { idOf, Tcb, TCB_ROW, T_DEAD, T_PERSIST } from '../stack/tcp/tcb.ts';
import { CLOSED, LISTEN, STATE_NAME, STATES, TIME_WAIT } from '../stack/tcp/states.ts';
import { U_BOUND, U_CONNECTED, U_OPEN, UdpTable } from '../stack/udp/table.ts';
import { formatIpv4 } from '../wire/ipv4.ts';
import { H_TCB, H_UDP } from '../rings/layout.ts';

export interface SocketRow {
  proto: 'tcp' | 'udp';
  worker: number;
  /** Name of the worker's thread: a process may have several runtimes. */
  thread: string;
  /** Its number among the worker's sockets of this kind. */
  id: number;
  localAddress: string;
  localPort: number;
  /** 0.0.0.0 and 0 when there is none. */
  remoteAddress: string;
  remotePort: number;
  /** RFC 9293's name; of a UDP socket CONNECTED or UNCONNECTED. */
  state: string;
  /** Bytes the program has not read, of UDP with 16 more a datagram and padded to 16; of a listener, connections it has not accepted. */
  recvQ: number;
  /** Bytes the peer has not acknowledged, sent or not; of a listener, its backlog. */
  sendQ: number;
  /** What the next timer is: `retransmit`, `persist`, `ack`, `timewait` (also FIN_WAIT_2's), or `off`. */
  timer: string;
  /** Milliseconds until it fires, 0 when due. */
  timerMs: number;
  /** Times in a row that it fired, for `retransmit` and `persist`. */
  retransmits: number;
}

export interface SocketFilter {
  tcp: boolean;
  udp: boolean;
  /** Listeners only; of UDP, sockets that are not connected. */
  listening: boolean;
}

function timerOf(t: Tcb, c: number, nowMs: number): Pick<SocketRow, 'timer' | 'timerMs' | 'retransmits'> {
  let [timer, at] = ['off', 0];
  const earlier = (name: string, when: number): void => {
    if (when !== 0 && (at === 0 || ((when - at) | 0) < 0)) [timer, at] = [name, when];
  };
  const persist = (t.flags[c]! & T_PERSIST) !== 0;
  earlier(persist ? 'persist' : 'retransmit', t.rtoAt[c]!);
  earlier('ack', t.ackAt[c]!);
  earlier('timewait', t.lifeAt[c]!);
  return { timer, timerMs: at === 0 ? 0 : Math.max(0, (at - nowMs) | 0), retransmits: persist ? t.probes[c]! : t.retries[c]! };
}

/** Whose columns are read: a worker, the name of its thread, and its clock. */
export interface SocketOwner {
  worker: number;
  thread: string;
  nowMs: number;
}

function tcpRow(t: Tcb, { worker, thread, nowMs }: SocketOwner, c: number): SocketRow {
  const state = t.state[c]!;
  const listens = state === LISTEN;
  const over = state === CLOSED || state === TIME_WAIT;
  return {
    proto: 'tcp',
    worker,
    thread,
    id: idOf(c),
    localAddress: formatIpv4(t.localIp[c]!),
    localPort: t.ports[c]! & 0xffff,
    remoteAddress: listens ? '0.0.0.0' : formatIpv4(t.remoteIp[c]!),
    remotePort: listens ? 0 : t.ports[c]! >>> 16,
    state: STATE_NAME[state]!,
    recvQ: listens ? t.acceptCount[c]! : t.rbLen[c]! + t.pfLen[c]!,
    sendQ: listens ? t.backlog[c]! : over ? 0 : t.sbLen[c]!,
    ...(listens ? { timer: 'off', timerMs: 0, retransmits: 0 } : timerOf(t, c, nowMs)),
  };
}

/** The TCP sockets of one worker that are in use, or only its listeners; none while its stack is not made. */
function tcpSockets(arena: SharedArrayBuffer, owner: SocketOwner, listening: boolean): SocketRow[] {
  if (new Int32Array(arena)[H_TCB] === 0) return [];
  const t = new Tcb(arena);
  const rows: SocketRow[] = [];
  for (let c = 0; c < t.end; c += TCB_ROW) {
    for (let look = 0; look < 3; look++) {
      const state = t.state[c]!;
      if (state === CLOSED || state >= STATES || (listening && state !== LISTEN) || (t.flags[c]! & T_DEAD) !== 0) break;
      const row = tcpRow(t, owner, c);
      if (t.state[c] !== state) continue;
      rows.push(row);
      break;
    }
  }
  return rows;
}

/** The UDP sockets of one worker that have a port, or only those that are not connected. */
function udpSockets(arena: SharedArrayBuffer, { worker, thread }: SocketOwner, listening: boolean): SocketRow[] {
  if (new Int32Array(arena)[H_UDP] === 0) return [];
  const t = new UdpTable(arena);
  const rows: SocketRow[] = [];
  for (let u = 0; u < t.sockets; u++) {
    const flags = t.flags[u]!;
    const connected = (flags & U_CONNECTED) !== 0;
    if ((flags & (U_OPEN | U_BOUND)) !== (U_OPEN | U_BOUND) || (listening && connected)) continue;
    rows.push({
      proto: 'udp',
      worker,
      thread,
      id: u,
      localAddress: formatIpv4(t.localIp[u]!),
      localPort: t.ports[u]! & 0xffff,
      remoteAddress: connected ? formatIpv4(t.remoteIp[u]!) : '0.0.0.0',
      remotePort: connected ? t.ports[u]! >>> 16 : 0,
      state: connected ? 'CONNECTED' : 'UNCONNECTED',
      recvQ: t.bytes[u]!,
      sendQ: 0,
      timer: 'off',
      timerMs: 0,
      retransmits: 0,
    });
  }
  return rows;
}

/** The sockets in a worker's arena. */
export function listSockets(arena: SharedArrayBuffer, owner: SocketOwner, filter: SocketFilter): SocketRow[] {
  const tcp = filter.tcp ? tcpSockets(arena, owner, filter.listening) : [];
  return filter.udp ? [...tcp, ...udpSockets(arena, owner, filter.listening)] : tcp;
}
