/**
 * A synchronous logger for stack threads. A worker's own stdout travels through main's event loop and this thread's;
 * a program that loops over epollWait never gives either a turn, so its logs would appear when it ends.
 */
import { writeSync } from 'node:fs';

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(fd, bytes, at, bytes.length - at);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'EAGAIN') continue;
      // The reader is gone (EPIPE): nobody misses the rest.
      return;
    }
  }
}

type Done = (error?: Error | null) => void;

/** Makes process.stdout and process.stderr of this thread write straight to descriptors `out` (1, or 2) and 2. */
export function installSyncOutput(out: 1 | 2): void {
  for (const [stream, fd] of [
    [process.stdout, out],
    [process.stderr, 2],
  ] as const) {
    const write = (chunk: Uint8Array | string, encoding?: BufferEncoding | Done, done?: Done): boolean => {
      writeAll(fd, typeof chunk === 'string' ? Buffer.from(chunk, typeof encoding === 'string' ? encoding : 'utf8') : chunk);
      const callback = typeof encoding === 'function' ? encoding : done;
      if (callback !== undefined) queueMicrotask(callback);
      return true;
    };
    stream.write = write as typeof stream.write;
  }
}
