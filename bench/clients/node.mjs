// The load generator on node:net and node:dgram. Gets a load as a line of JSON on stdin, answers with one on stdout; stays for the next.
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { Work } from './work.mjs';

class Wire {
  full = false;

  constructor(socket, flow) {
    this.socket = socket;
    this.flow = flow;
    socket.on('connect', () => flow.opened());
    socket.on('data', (data) => flow.received(data, data.length));
    socket.on('drain', () => {
      this.full = false;
      flow.writable();
    });
    socket.on('error', () => socket.destroy());
    socket.on('end', () => {
      socket.destroy();
      this.over();
    });
    socket.on('close', () => this.over());
  }

  /** The flow may have its next connection already. */
  over() {
    if (this.flow.wire === this) this.flow.ended();
  }

  write(bytes, offset, length) {
    if (this.full || this.socket.destroyed) return 0;
    this.full = !this.socket.write(bytes.subarray(offset, offset + length));
    return length;
  }

  again() {
    if (!this.full) setImmediate(() => this.socket.emit('drain'));
  }

  finish() {
    this.socket.end();
  }

  /** FIN, and no further thought: `destroy` would do the same with a turn of the loop in between. */
  close() {
    this.socket.destroy();
  }
}

class DatagramWire {
  constructor(load, flow) {
    this.socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20, sendBufferSize: 4 << 20 });
    this.socket.on('message', (message) => flow.received(message, message.length));
    this.socket.on('error', () => flow.ended());
    this.socket.connect(load.port, load.address, () => flow.opened());
  }

  /** A copy, because the datagram leaves later and its bytes are used again. */
  write(bytes, offset, length) {
    this.socket.send(Buffer.from(bytes.subarray(offset, offset + length)));
    return length;
  }

  close() {
    this.socket.close();
  }
}

function begin(load) {
  const work = new Work(
    load,
    (flow) => {
      if (load.mode === 'udp') flow.wire = new DatagramWire(load, flow);
      else flow.wire = new Wire(connect({ host: load.address, port: load.port, noDelay: true, allowHalfOpen: true }), flow);
    },
    (result) => process.stdout.write(`${JSON.stringify(result)}\n`),
  );
  work.start();
}

createInterface({ input: process.stdin }).on('line', (line) => begin(JSON.parse(line)));
process.stdin.on('end', () => process.exit(0));
process.stdout.write('ready\n');
