/** Where a program does not parse: a worker's SyntaxError loses file and line on its way, `node --check` says them. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';

function checked(path: string): Promise<string> {
  return new Promise((done) => {
    execFile(process.execPath, ['--check', path], { timeout: 10_000, encoding: 'utf8' }, (_error, _stdout, stderr) => done(stderr));
  });
}

/**
 * `error`, or if it is a SyntaxError that does not tell, one with file, line and the line's text in front of its stack. One
 * of a module that the program imports names the program at least.
 */
export async function locateSyntaxError(error: Error, url: string): Promise<Error> {
  if (error?.name !== 'SyntaxError' || !url.startsWith('file:') || /^\s*at async .*\bfile:|^file:/m.test(error.stack ?? '')) return error;
  const said = await checked(fileURLToPath(url));
  // "path:line", the line, a caret, an empty line, the error
  const place = said.slice(0, Math.max(0, said.indexOf('\n\n')));
  const stack = place === '' ? `${error.stack}\n    in a module that ${url} imports` : `${place}\n${error.stack}`;
  // A new one: the stack of an error that came from a thread is read-only in Node 26.
  return Object.assign(new SyntaxError(error.message), { stack });
}
