// What becomes of a request's body: a file, or nothing. Both count down `left`; `finish` gives the status to answer, 0 for none.
import { closeSync, openSync, renameSync, statSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** A body that nobody wants, of a GET for example: it has to be read past to get to the next request. */
export class Discard {
  constructor(bytes) {
    this.left = bytes;
  }

  write(bytes) {
    this.left -= bytes.length;
  }

  finish() {
    return 0;
  }

  abandon() {}
}

/** PUT: written beside its place under a name of its own, and moved there when it is complete. */
export class Upload {
  /** `path` begins with a slash and has no `..`; `unique` makes the temporary name. Throws 403, 404 or 500. */
  constructor(directory, path, request, unique) {
    this.request = request;
    this.left = request.bodyBytes;
    this.path = join(directory, path);
    this.temporary = `${this.path}.${unique}.part`;
    this.fd = this.attempt(() => openSync(this.temporary, 'w'));
  }

  attempt(operation) {
    try {
      return operation();
    } catch (error) {
      throw { EACCES: 403, EISDIR: 403, ENOENT: 404, ENOTDIR: 404, ENOSPC: 507 }[error.code] ?? 500;
    }
  }

  write(bytes) {
    this.left -= bytes.length;
    this.attempt(() => {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.fd, bytes, at);
    });
  }

  finish() {
    const existed = statSync(this.path, { throwIfNoEntry: false }) !== undefined;
    closeSync(this.fd);
    this.fd = -1;
    this.attempt(() => renameSync(this.temporary, this.path));
    return existed ? 204 : 201;
  }

  /** The connection broke, or the disk did: no trace is left. */
  abandon() {
    if (this.fd < 0) return;
    closeSync(this.fd);
    this.fd = -1;
    unlinkSync(this.temporary);
  }
}
