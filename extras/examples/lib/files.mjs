// The files of one directory, as an HTTP server hands them out: looked up safely, small ones kept in memory, large ones
// read piece by piece where the connection has got to.
import { closeSync, fstatSync, openSync, readSync, realpathSync } from 'node:fs';
import { extname, join, sep } from 'node:path';

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.htm': 'text/html; charset=utf-8',
  '.txt': 'text/plain; charset=utf-8',
  '.md': 'text/markdown; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.xml': 'application/xml',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.jpg': 'image/jpeg',
  '.jpeg': 'image/jpeg',
  '.gif': 'image/gif',
  '.webp': 'image/webp',
  '.ico': 'image/x-icon',
  '.pdf': 'application/pdf',
  '.wasm': 'application/wasm',
  '.woff2': 'font/woff2',
  '.gz': 'application/gzip',
};
/** Files up to this size are kept in memory, and all of them together take at most CACHE_BYTES. */
const CACHED_BYTES_MAX = 1 << 20;
const CACHE_BYTES = 64 << 20;
/** A kept file is compared with the disk when it was looked at longer ago than this. */
const FRESH_MS = 500;
const PIECE = Buffer.allocUnsafe(65536);

export class FileRoot {
  constructor(directory) {
    this.root = realpathSync(directory);
    this.cache = new Map();
    this.cachedBytes = 0;
  }

  /** The decoded path below the root that a request target names; throws 400, 403 or 404. */
  pathOf(target) {
    let path;
    try {
      path = decodeURIComponent(target.replace(/^http:\/\/[^/]*/i, '').replace(/[?#].*$/s, ''));
    } catch {
      throw 400;
    }
    if (!path.startsWith('/') || path.includes('\0') || path.includes('\\')) throw 400;
    // Whatever the dots mean, nobody asks for a file by them in good faith
    if (path.split('/').includes('..')) throw 403;
    return path.endsWith('/') ? `${path}index.html` : path;
  }

  /**
   * { type, size, modified, bytes } for a kept file, { type, size, modified, fd } for a large one; give it to `release`.
   * Throws 400, 403 or 404.
   */
  open(target) {
    const path = this.pathOf(target);
    const kept = this.cache.get(path);
    if (kept !== undefined && Date.now() - kept.looked < FRESH_MS) return kept;
    let fd = -1;
    try {
      const real = realpathSync(join(this.root, path));
      // A symbolic link may lead out
      if (real !== this.root && !real.startsWith(this.root.endsWith(sep) ? this.root : this.root + sep)) throw 403;
      fd = openSync(real, 'r');
      const stat = fstatSync(fd);
      if (!stat.isFile()) throw 404;
      const file = {
        type: TYPES[extname(real).toLowerCase()] ?? 'application/octet-stream',
        size: stat.size,
        modified: stat.mtime.toUTCString(),
      };
      if (stat.size > CACHED_BYTES_MAX) return { ...file, fd };
      const same = kept !== undefined && kept.stamp === stat.mtimeMs && kept.size === stat.size;
      const entry = same ? kept : this.keep(path, { ...file, bytes: wholeFile(fd, stat.size), stamp: stat.mtimeMs, looked: 0 });
      entry.looked = Date.now();
      closeSync(fd);
      return entry;
    } catch (error) {
      if (fd >= 0) closeSync(fd);
      if (typeof error === 'number') throw error;
      throw error.code === 'EACCES' || error.code === 'EPERM' ? 403 : 404;
    }
  }

  keep(path, entry) {
    this.cachedBytes += entry.size - (this.cache.get(path)?.size ?? 0);
    this.cache.delete(path);
    this.cache.set(path, entry);
    // The oldest go first
    for (const [old, { size }] of this.cache) {
      if (this.cachedBytes <= CACHE_BYTES) break;
      this.cache.delete(old);
      this.cachedBytes -= size;
    }
    return entry;
  }

  release(file) {
    if (file.fd !== undefined) closeSync(file.fd);
  }
}

function wholeFile(fd, size) {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size; ) {
    const n = readSync(fd, bytes, at, size - at, at);
    if (n === 0) throw 404;
    at += n;
  }
  return bytes;
}

/** Up to 64 KiB of a file from byte `at` on, for at once: { bytes, from, length }, the bytes valid until the next call. */
export function pieceOf(file, at, left) {
  if (file.bytes !== undefined) return { bytes: file.bytes, from: at, length: left };
  return { bytes: PIECE, from: 0, length: readSync(file.fd, PIECE, 0, Math.min(left, PIECE.length), at) };
}

/** First and last byte that a Range field asks of `size` bytes, null when it is to be ignored; throws 416. */
function rangeOf(field, size) {
  const [, first, last] = /^bytes=([0-9]*)-([0-9]*)$/.exec(field) ?? [];
  if (first === undefined || (first === '' && last === '')) return null;
  if (first !== '' && last !== '' && Number(last) < Number(first)) return null;
  if (first === '' ? Number(last) === 0 || size === 0 : Number(first) >= size) throw 416;
  if (first === '') return { first: Math.max(0, size - Number(last)), last: size - 1 };
  return { first: Number(first), last: last === '' ? size - 1 : Math.min(Number(last), size - 1) };
}

/**
 * The reply to a GET or HEAD: { status, fields, file, at, left }. `file` is to be released when the reply is out.
 * Throws a status number.
 */
export function fileReply(root, { method, target, headers }) {
  const file = root.open(target);
  const { size } = file;
  const fields = [`Content-Type: ${file.type}`, `Last-Modified: ${file.modified}`, 'Accept-Ranges: bytes'];
  const length = (bytes) => [...fields, `Content-Length: ${bytes}`];
  if (headers.get('if-modified-since') === file.modified) return { status: 304, fields, file, at: 0, left: 0 };
  if (method === 'HEAD') return { status: 200, fields: length(size), file, at: 0, left: 0 };
  // A range of another version of the file: all of this one instead (RFC 9110 section 13.1.5)
  const wanted = headers.has('if-range') && headers.get('if-range') !== file.modified ? undefined : headers.get('range');
  try {
    const range = wanted === undefined ? null : rangeOf(wanted, size);
    if (range === null) return { status: 200, fields: length(size), file, at: 0, left: size };
    const { first, last } = range;
    const left = last - first + 1;
    return { status: 206, fields: [...length(left), `Content-Range: bytes ${first}-${last}/${size}`], file, at: first, left };
  } catch (status) {
    return { status, fields: [`Content-Range: bytes */${size}`, 'Content-Length: 0'], file, at: 0, left: 0 };
  }
}
