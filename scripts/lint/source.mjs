// Reads and parses the sources that the house rules look at.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSync } from 'oxc-parser';

/** Every .ts and .mjs/.js file below `directory` of `root`, as paths from the root with forward slashes. */
export function filesUnder(root, directory, found = []) {
  let entries;
  try {
    entries = readdirSync(join(root, directory), { withFileTypes: true });
  } catch {
    return found;
  }
  for (const entry of entries) {
    const path = `${directory}/${entry.name}`;
    if (entry.isDirectory()) {
      if (entry.name !== 'node_modules' && entry.name !== 'fixtures') filesUnder(root, path, found);
    } else if (/\.(ts|mjs|js)$/.test(entry.name) && !entry.name.endsWith('.d.ts')) found.push(path);
  }
  return found.sort();
}

/** Offsets at which lines begin, for `lineOf`. */
function lineStarts(text) {
  const starts = [0];
  for (let i = text.indexOf('\n'); i >= 0; i = text.indexOf('\n', i + 1)) starts.push(i + 1);
  return starts;
}

/** One parsed file: path, text, syntax tree, comments, module records, and positions as lines. */
export function parseFile(root, path) {
  const text = readFileSync(join(root, path), 'utf8');
  const { program, comments, errors } = parseSync(path, text, { lang: path.endsWith('.ts') ? 'ts' : 'js', sourceType: 'module' });
  const starts = lineStarts(text);
  const lineOf = (offset) => {
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle] <= offset) low = middle;
      else high = middle - 1;
    }
    return low + 1;
  };
  const lines = text.endsWith('\n') ? starts.length - 1 : starts.length;
  return { path, text, program, comments, errors, lines, lineOf };
}

/**
 * Calls `enter(node, ancestors)` for every node below `node`, parents first; a return of `false` keeps out of its children.
 * `ancestors` is reused: copy it to keep it.
 */
export function walk(node, enter, ancestors = []) {
  if (enter(node, ancestors) === false) return;
  ancestors.push(node);
  for (const key in node) {
    const child = node[key];
    if (child === null || typeof child !== 'object' || key === 'parent') continue;
    if (Array.isArray(child)) {
      for (const item of child)
        if (item !== null && typeof item === 'object' && typeof item.type === 'string') walk(item, enter, ancestors);
    } else if (typeof child.type === 'string') walk(child, enter, ancestors);
  }
  ancestors.pop();
}
