// HTTP/1.x messages as bytes (RFC 9110, RFC 9112): heads in and out, and body lengths. No sockets here.
export const STATUS = {
  200: 'OK',
  201: 'Created',
  204: 'No Content',
  206: 'Partial Content',
  304: 'Not Modified',
  400: 'Bad Request',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  411: 'Length Required',
  416: 'Range Not Satisfiable',
  417: 'Expectation Failed',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  503: 'Service Unavailable',
  505: 'HTTP Version Not Supported',
  507: 'Insufficient Storage',
};
export const HEAD_BYTES_MAX = 16384;
const END = Buffer.from('\r\n\r\n');
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Head at the start of `bytes`: { line, headers, length }, null while it is incomplete; throws a status number. */
function parseHead(bytes, tooLong) {
  const end = bytes.indexOf(END);
  if (end < 0 ? bytes.length > HEAD_BYTES_MAX : end > HEAD_BYTES_MAX) throw tooLong;
  if (end < 0) return null;
  const [line, ...fields] = bytes.latin1Slice(0, end).split('\r\n');
  const headers = new Map();
  for (const field of fields) {
    const colon = field.indexOf(':');
    const name = field.slice(0, colon);
    // No white space before the colon, no folded lines (RFC 9112 sections 5.1 and 5.2)
    if (colon < 1 || !TOKEN.test(name)) throw 400;
    const key = name.toLowerCase();
    const value = field.slice(colon + 1).trim();
    // Two different lengths in one message are an attack (RFC 9112 section 6.3)
    if (key === 'content-length' && headers.has(key) && headers.get(key) !== value) throw 400;
    headers.set(key, headers.has(key) && key !== 'content-length' ? `${headers.get(key)}, ${value}` : value);
  }
  return { line, headers, length: end + 4 };
}

const listed = (headers, name, word) =>
  (headers.get(name) ?? '')
    .toLowerCase()
    .split(',')
    .some((item) => item.trim() === word);

function contentLength(headers) {
  const text = headers.get('content-length');
  if (text === undefined) return -1;
  if (!/^[0-9]{1,15}$/.test(text)) throw 400;
  return Number(text);
}

/**
 * Request at the start of `bytes`, null while its head is incomplete:
 * { method, target, headers, keepAlive, version, bodyBytes, length }. Throws the status number of the error to answer.
 */
export function parseRequest(bytes) {
  const head = parseHead(bytes, 431);
  if (head === null) return null;
  const { line, headers, length } = head;
  const [, method, target, major, minor] = /^(\S+) (\S+) HTTP\/([0-9])\.([0-9])$/.exec(line) ?? [];
  if (method === undefined || !TOKEN.test(method)) throw 400;
  if (major !== '1') throw 505;
  const version = Number(minor);
  if (version >= 1 && !headers.has('host')) throw 400;
  if (headers.has('transfer-encoding') && headers.has('content-length')) throw 400;
  const keepAlive = version >= 1 ? !listed(headers, 'connection', 'close') : listed(headers, 'connection', 'keep-alive');
  const bodyBytes = headers.has('transfer-encoding') ? -2 : contentLength(headers);
  return { method, target, headers, keepAlive, version, bodyBytes, length };
}

/** Response head, null while incomplete: { status, headers, bodyBytes (-1: until the end), chunked, keepAlive, length }. */
export function parseResponse(bytes) {
  const head = parseHead(bytes, 431);
  if (head === null) return null;
  const { line, headers, length } = head;
  const [, minor, code] = /^HTTP\/1\.([0-9]) ([0-9]{3})/.exec(line) ?? [];
  if (code === undefined) throw 400;
  const status = Number(code);
  const chunked = listed(headers, 'transfer-encoding', 'chunked');
  const bodiless = status < 200 || status === 204 || status === 304;
  const bodyBytes = bodiless ? 0 : chunked ? -1 : contentLength(headers);
  const persistent = Number(minor) >= 1 ? !listed(headers, 'connection', 'close') : listed(headers, 'connection', 'keep-alive');
  return { status, headers, bodyBytes, chunked, keepAlive: persistent && (bodyBytes >= 0 || chunked), length };
}

let date = { text: '', at: 0 };

/** Bytes of a response's head. `fields` are whole lines without their ends. */
export function responseHead(status, request, keepAlive, fields) {
  const now = Date.now();
  if (now - date.at >= 1000) date = { text: new Date(now).toUTCString(), at: now };
  let text = `HTTP/1.1 ${status} ${STATUS[status]}\r\nServer: flowring\r\nDate: ${date.text}\r\n`;
  for (const field of fields) text += `${field}\r\n`;
  if (!keepAlive) text += 'Connection: close\r\n';
  else if (request.version === 0) text += 'Connection: keep-alive\r\n';
  return Buffer.from(`${text}\r\n`, 'latin1');
}

/** Takes a chunked body apart (RFC 9112 section 7.1). `push` gives the bytes of the data to `sink`; `done` says it ended. */
export class ChunkedBody {
  done = false;
  line = '';
  /** Bytes left of the chunk; -1 in its size line, -2 in its CRLF, -3 in the trailer. */
  left = -1;

  /** Returns how many bytes of `bytes` belong to the body. */
  push(bytes, sink) {
    let at = 0;
    while (at < bytes.length && !this.done) {
      if (this.left > 0) {
        const n = Math.min(this.left, bytes.length - at);
        sink(bytes.subarray(at, at + n));
        at += n;
        this.left -= n;
        if (this.left === 0) this.left = -2;
        continue;
      }
      const c = String.fromCharCode(bytes[at++]);
      if (c !== '\n') {
        this.line += c;
        if (this.line.length > HEAD_BYTES_MAX) throw 400;
      } else this.endOfLine();
    }
    return at;
  }

  endOfLine() {
    const line = this.line.replace(/\r$/, '');
    this.line = '';
    if (this.left === -3) this.done = line === '';
    else if (this.left === -2 && line === '') this.left = -1;
    else if (this.left === -1 && /^[0-9a-fA-F]{1,12}[ \t]*(;|$)/.test(line)) this.left = Number.parseInt(line, 16) || -3;
    else throw 400;
  }
}
