/** What a RawPeer exchanges with the kernel, every byte compared. */
import { createHash, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import * as assert from 'uvu/assert';
import { KERNEL_IP, STACK_IP } from './namespace.ts';
import type { RawPeer } from './rawPeer.ts';

/** A datagram through the kernel to the peer and back. */
export async function echo(peer: RawPeer, data: Buffer): Promise<void> {
  const socket = createSocket('udp4');
  try {
    socket.bind(0, KERNEL_IP);
    await once(socket, 'listening');
    let answer: Buffer | null = null;
    socket.on('message', (m) => {
      answer = m;
    });
    socket.send(data, 7, STACK_IP);
    await peer.run(() => answer !== null);
    assert.equal(answer, data);
  } finally {
    socket.close();
  }
}

interface Kernel {
  server: Server;
  port: number;
  accepted: Promise<Socket>;
}

async function listen(): Promise<Kernel> {
  const server = createServer();
  const accepted = once(server, 'connection').then((x) => x[0] as Socket);
  server.listen(0, KERNEL_IP);
  await once(server, 'listening');
  return { server, port: (server.address() as AddressInfo).port, accepted };
}

const digest = (b: Buffer): string => createHash('sha256').update(b).digest('hex');

/** `bytes` each way over one connection, trains of `gso` out, `mss` said to the kernel. Returns the largest frame seen. */
export async function transfer(peer: RawPeer, bytes: number, gso: number, mss: number, localPort: number): Promise<number> {
  const kernel = await listen();
  peer.seen.length = 0;
  peer.connect(localPort, kernel.port, mss);
  await peer.run(() => peer.state === 'open');
  const socket = await kernel.accepted;
  const got: Buffer[] = [];
  socket.on('data', (b) => got.push(b));
  const out = randomBytes(bytes);
  // Never more than one train behind the acknowledgements: the peer does not retransmit.
  for (let done = 0; done < bytes; ) {
    const n = Math.min(gso * Math.min(44, Math.floor(48000 / gso)), bytes - done);
    peer.write(out.subarray(done, done + n), gso);
    done += n;
    await peer.run(() => peer.sndUna === peer.sndNxt);
  }
  await peer.run(() => got.reduce((s, b) => s + b.length, 0) === bytes);
  assert.is(digest(Buffer.concat(got)), digest(out), 'what the kernel read is what was sent');
  const back = randomBytes(bytes);
  socket.write(back);
  await peer.run(() => peer.received.reduce((s, b) => s + b.length, 0) >= bytes, 10000);
  assert.is(digest(Buffer.concat(peer.received)), digest(back), 'what the peer read is what the kernel sent');
  socket.end();
  await peer.run(() => peer.state === 'finished');
  peer.finish();
  await peer.run(() => peer.sndUna === peer.sndNxt);
  kernel.server.close();
  return Math.max(...peer.seen.map((s) => s.total));
}
