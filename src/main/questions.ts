/**
 * What other processes may ask a running one: a Unix-domain socket beside the control file, its name with `.sock` behind,
 * open to the same user only (mode 0600). Main answers from shared memory, so that no question reaches the data path.
 *
 * A question is one line of JSON, the answer another, as many as the asker likes:
 *
 *   {"v":1,"ask":"netstat"}      →  {"v":1,"pid":4711,"answer":…}
 *   {"v":1,"ask":"weather"}      →  {"v":1,"pid":4711,"error":"…"}
 *
 * A later version only adds questions and fields; what changes the meaning of one bumps `v`.
 */
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { isMainThread } from 'node:worker_threads';

export const QUESTION_VERSION = 1;
/** What stands behind a control file's name. */
export const QUESTION_SUFFIX = '.sock';
/** Characters a question may have. */
const LINE_MAX = 65536;

/** A question's words, `v` and `ask` among them. */
export type Question = Readonly<Record<string, unknown>>;
/** Answers by the name of their question; what one throws is told to the asker. */
export type Answers = Readonly<Record<string, (question: Question) => unknown>>;

function answerTo(line: string, answers: Answers): object {
  const head = { v: QUESTION_VERSION, pid: process.pid };
  try {
    const question = JSON.parse(line) as Question | null;
    if (typeof question !== 'object' || question === null) return { ...head, error: 'a question is one JSON object a line' };
    if (question.v !== QUESTION_VERSION)
      return { ...head, error: `version ${String(question.v)} is not spoken here, ${QUESTION_VERSION} is` };
    const known = Object.keys(answers);
    const ask = String(question.ask);
    if (!known.includes(ask)) return { ...head, error: `no question "${ask}"; there are ${known.join(', ')}` };
    return { ...head, answer: answers[ask]!(question) };
  } catch (e) {
    return { ...head, error: (e as Error).message };
  }
}

function serve(socket: Socket, answers: Answers): void {
  let text = '';
  // An asker that stays must not keep the process.
  socket.unref();
  socket.on('error', () => socket.destroy());
  socket.setEncoding('utf8').on('data', (more: string) => {
    text += more;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      socket.write(`${JSON.stringify(answerTo(text.slice(0, end), answers))}\n`);
      text = text.slice(end + 1);
    }
    if (text.length > LINE_MAX) socket.destroy();
  });
}

export class Questions {
  private readonly path: string;
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();
  private readonly remove = (): void => rmSync(this.path, { force: true });

  /** Listens at `path` from the next turn of the event loop on. Where that cannot be, nobody can ask: no reason not to run. */
  constructor(path: string, answers: Answers) {
    this.path = path;
    this.server = createServer((socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
      serve(socket, answers);
    });
    this.server.on('error', () => undefined);
    this.server.unref();
    // A process of the same id left it when it was killed.
    this.remove();
    // The socket is made within listen(): never, not for a moment, is it another user's to write to. A thread has no umask to set.
    const before = isMainThread ? process.umask(0o177) : 0;
    this.server.listen(path, () => {
      if (!isMainThread) chmodSync(path, 0o600);
    });
    if (isMainThread) process.umask(before);
    process.on('exit', this.remove);
  }

  /** Idempotent. Removes the socket's file. */
  close(): void {
    process.off('exit', this.remove);
    this.server.close();
    for (const s of this.sockets) s.destroy();
    this.remove();
  }
}
