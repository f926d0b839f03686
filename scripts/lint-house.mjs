// The house rules that a general linter does not know: rooms, hot functions, shape. Errors exit 1, warnings do not.
//
//   npm run lint                              the whole repository
//   node scripts/lint-house.mjs --root DIR    another tree of the same form
import { fileURLToPath, pathToFileURL } from 'node:url';
import { checkHot } from './lint/hot.mjs';
import { checkRooms } from './lint/rooms.mjs';
import { checkShape } from './lint/shape.mjs';
import { filesUnder, parseFile } from './lint/source.mjs';

const DIRECTORIES = ['src', 'test', 'bench', 'scripts', 'bin', 'extras'];

/** All findings over a tree, in order of place: { path, line, text, warning? }. */
export function lintHouse(root) {
  const files = DIRECTORIES.flatMap((d) => filesUnder(root, d)).map((path) => parseFile(root, path));
  const findings = checkRooms(files.filter((f) => f.path.startsWith('src/')));
  for (const file of files) findings.push(...checkHot(file), ...checkShape(file));
  return findings.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : a.line - b.line));
}

function main() {
  const at = process.argv.indexOf('--root');
  const root = at < 0 ? fileURLToPath(new URL('..', import.meta.url)) : process.argv[at + 1];
  if (root === undefined) {
    process.stderr.write('lint-house: --root needs a directory\n');
    process.exit(2);
  }
  const findings = lintHouse(root);
  const errors = findings.filter((f) => f.warning !== true);
  for (const f of findings) process.stdout.write(`${f.path}:${f.line}: ${f.warning === true ? 'warning: ' : ''}${f.text}\n`);
  process.stdout.write(`house rules: ${errors.length} errors, ${findings.length - errors.length} warnings\n`);
  process.exitCode = errors.length > 0 ? 1 : 0;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) main();
