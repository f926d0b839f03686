// The head of an HTTP/1.1 request, taken apart in place (RFC 9112): request line and every field line are validated byte by byte,
// the fields that frame a message are understood, names and values of all are kept as places in the bytes.
export const HEAD_BYTES_MAX = 16384;
const FIELDS_MAX = 100;
const [SPACE, TAB, CR, LF, COLON] = [32, 9, 13, 10, 58];

/** Characters of a token (RFC 9110 section 5.6.2), of a field value, and lower case by character. */
const isToken = new Uint8Array(256);
const isText = new Uint8Array(256);
const lower = new Uint8Array(256);
for (let c = 0; c < 256; c++) {
  isToken[c] = /[!#$%&'*+.^_`|~0-9A-Za-z-]/.test(String.fromCharCode(c)) && c < 128 ? 1 : 0;
  isText[c] = c === TAB || (c >= SPACE && c !== 127) ? 1 : 0;
  lower[c] = c >= 65 && c <= 90 ? c | 32 : c;
}

const word = (text) => Uint8Array.from(text, (c) => c.charCodeAt(0));
const [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] = ['host', 'connection', 'content-length', 'transfer-encoding'].map(word);
const [CLOSE, KEEP_ALIVE, VERSION] = [word('close'), word('keep-alive'), word('HTTP/1.')];

/** Whether the bytes are `text`, whatever their case. */
function same(bytes, from, to, text) {
  if (to - from !== text.length) return false;
  for (let i = 0; i < text.length; i++) if (lower[bytes[from + i]] !== text[i]) return false;
  return true;
}

/** Whether a comma-separated value lists `text`. */
function lists(bytes, from, to, text) {
  for (let at = from; at < to; ) {
    while (at < to && (bytes[at] === SPACE || bytes[at] === TAB || bytes[at] === 44)) at++;
    let end = at;
    while (end < to && bytes[end] !== 44) end++;
    let last = end;
    while (last > at && (bytes[last - 1] === SPACE || bytes[last - 1] === TAB)) last--;
    if (same(bytes, at, last, text)) return true;
    at = end;
  }
  return false;
}

export class Request {
  /** Places of the last request parsed: method and target in [0..3], then from and to of each name and value. */
  places = new Int32Array(4 + FIELDS_MAX * 4);
  fields = 0;
  minor = 1;
  keepAlive = true;
  host = false;

  /**
   * Parses the request at `at` in `bytes[0, n)`. Returns its length, 0 while it is incomplete, -1 when it is malformed or has a
   * body, which these servers do not take.
   */
  parse(bytes, at, n) {
    let i = this.line(bytes, at, n);
    if (i <= 0) return i;
    this.fields = 0;
    this.host = false;
    this.keepAlive = this.minor === 1;
    for (;;) {
      if (i + 1 >= n) return n - at > HEAD_BYTES_MAX ? -1 : 0;
      if (bytes[i] === CR) {
        if (bytes[i + 1] !== LF || (this.minor === 1 && !this.host)) return -1;
        return i + 2 - at;
      }
      i = this.field(bytes, i, n);
      if (i <= 0) return i;
    }
  }

  /** "GET / HTTP/1.1". Returns where the next line begins, 0 when incomplete, -1 when malformed. */
  line(bytes, at, n) {
    const p = this.places;
    let i = at;
    while (i < n && isToken[bytes[i]] === 1) i++;
    if (i === n) return 0;
    if (i === at || bytes[i] !== SPACE) return -1;
    p[0] = at;
    p[1] = i++;
    p[2] = i;
    while (i < n && bytes[i] > SPACE && bytes[i] < 127) i++;
    if (i + 11 > n) return 0;
    if (i === p[2] || bytes[i] !== SPACE) return -1;
    p[3] = i++;
    for (let k = 0; k < VERSION.length; k++) if (bytes[i + k] !== VERSION[k]) return -1;
    this.minor = bytes[i + 7] - 48;
    if (this.minor < 0 || this.minor > 9 || bytes[i + 8] !== CR || bytes[i + 9] !== LF) return -1;
    return i + 10;
  }

  /** "Name: value". Returns as `line` does. */
  field(bytes, at, n) {
    let i = at;
    while (i < n && isToken[bytes[i]] === 1) i++;
    if (i === n) return 0;
    if (i === at || bytes[i] !== COLON || this.fields === FIELDS_MAX) return -1;
    const nameEnd = i++;
    while (i < n && (bytes[i] === SPACE || bytes[i] === TAB)) i++;
    const value = i;
    while (i < n && isText[bytes[i]] === 1) i++;
    if (i + 1 >= n) return 0;
    if (bytes[i] !== CR || bytes[i + 1] !== LF) return -1;
    let end = i;
    while (end > value && (bytes[end - 1] === SPACE || bytes[end - 1] === TAB)) end--;
    const p = 4 + this.fields++ * 4;
    this.places[p] = at;
    this.places[p + 1] = nameEnd;
    this.places[p + 2] = value;
    this.places[p + 3] = end;
    return this.understand(bytes, at, nameEnd, value, end) ? i + 2 : -1;
  }

  understand(bytes, at, nameEnd, value, end) {
    switch (nameEnd - at) {
      case HOST.length:
        if (same(bytes, at, nameEnd, HOST)) {
          if (this.host) return false;
          this.host = true;
        }
        return true;
      case CONNECTION.length:
        if (same(bytes, at, nameEnd, CONNECTION)) {
          if (lists(bytes, value, end, CLOSE)) this.keepAlive = false;
          else if (lists(bytes, value, end, KEEP_ALIVE)) this.keepAlive = true;
        }
        return true;
      case CONTENT_LENGTH.length:
        return !same(bytes, at, nameEnd, CONTENT_LENGTH) || (end - value === 1 && bytes[value] === 48);
      case TRANSFER_ENCODING.length:
        return !same(bytes, at, nameEnd, TRANSFER_ENCODING);
      default:
        return true;
    }
  }
}
