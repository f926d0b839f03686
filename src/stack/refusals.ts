/** What every kind of sockets starts from: it has no call, holds nothing and knows nobody. */
import type { DatagramSource, SocketKind } from './sockets.ts';
import { CLOSED } from './tcp/states.ts';

export abstract class Refusals implements SocketKind {
  /** The negated errno of a call that this kind does not have. */
  protected abstract refuse(s: number): number;

  isOpen(_s: number): boolean {
    return false;
  }

  bind(s: number): number {
    return this.refuse(s);
  }

  listen(s: number): number {
    return this.refuse(s);
  }

  accept(s: number): number {
    return this.refuse(s);
  }

  connect(s: number): number {
    return this.refuse(s);
  }

  read(s: number, _buffer: Uint8Array, _offset: number, _length: number, _peek: boolean): number {
    return this.refuse(s);
  }

  write(s: number, _buffer: Uint8Array, _offset: number, _length: number): number {
    return this.refuse(s);
  }

  sendTo(s: number): number {
    return this.refuse(s);
  }

  receiveFrom(s: number, _buffer: Uint8Array, _offset: number, _length: number, _flags: number, _from: DatagramSource | null): number {
    return this.refuse(s);
  }

  close(s: number): number {
    return this.refuse(s);
  }

  abort(s: number): number {
    return this.refuse(s);
  }

  shutdown(s: number): number {
    return this.refuse(s);
  }

  setOption(s: number): number {
    return this.refuse(s);
  }

  getOption(s: number): number {
    return this.refuse(s);
  }

  readable(_s: number): number {
    return 0;
  }

  writable(_s: number): number {
    return 0;
  }

  queued(_s: number): number {
    return 0;
  }

  takeError(): number {
    return 0;
  }

  state(): number {
    return CLOSED;
  }

  localAddress(): number {
    return 0;
  }

  localPort(): number {
    return 0;
  }

  remoteAddress(): number {
    return 0;
  }

  remotePort(): number {
    return 0;
  }

  levels(_s: number): number {
    return 0;
  }

  reap(_s: number): void {}
}
