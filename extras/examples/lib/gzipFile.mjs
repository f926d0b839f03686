// Work for the background pool: one file of a directory, looked up, read and compressed.
import { readSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { transferred } from 'flowring/background';
import { FileRoot } from './files.mjs';

/** By directory; a pool thread serves many requests. */
const roots = new Map();

function whole(file) {
  if (file.bytes !== undefined) return file.bytes;
  const bytes = Buffer.alloc(file.size);
  for (let at = 0; at < file.size; ) {
    const n = readSync(file.fd, bytes, at, file.size - at, at);
    if (n === 0) throw 404;
    at += n;
  }
  return bytes;
}

/** { status, type, modified, bytes }: `bytes` are gzip's, moved to the asker. A file that cannot be had is a status alone. */
export function gzipFile({ directory, target, level }) {
  if (!roots.has(directory)) roots.set(directory, new FileRoot(directory));
  const root = roots.get(directory);
  try {
    const file = root.open(target);
    try {
      // A copy of its own: what gzipSync gives may share its memory with other buffers
      const bytes = new Uint8Array(gzipSync(whole(file), { level }));
      return transferred({ status: 200, type: file.type, modified: file.modified, bytes }, [bytes.buffer]);
    } finally {
      root.release(file);
    }
  } catch (status) {
    if (typeof status !== 'number') throw status;
    return { status };
  }
}
