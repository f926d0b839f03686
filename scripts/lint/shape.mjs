// The shape of a file: erasable TypeScript only, named exports only, nouns for names, nothing left to do, and sizes.
// Sizes are a sense of proportion: they warn, everything else is an error.
import { basename } from 'node:path';
import { hotFunctions } from './hot.mjs';
import { walk } from './source.mjs';

const FILE_LINES_MAX = 500;
const FUNCTION_LINES_MAX = 60;
const HOT_FUNCTION_LINES_MAX = 80;
const VAGUE_NAMES = /^(utils?|helpers?|misc|common|index)\.(ts|mjs|js)$/;
const LEFT_TO_DO = /\b(TODO|FIXME|XXX|HACK)\b/;
const FUNCTIONS = new Set(['FunctionDeclaration', 'FunctionExpression', 'ArrowFunctionExpression']);

const NOT_ERASABLE = {
  TSEnumDeclaration: 'enum is not erasable: export constants',
  TSModuleDeclaration: 'namespace is not erasable: a file is a module',
  TSParameterProperty: 'parameter property is not erasable: declare the field and assign it',
  TSImportEqualsDeclaration: 'import = is not erasable: use import',
  TSExportAssignment: 'export = is not erasable: use named exports',
};

/** Findings about one file's shape; `warning` is true for sizes. */
export function checkShape(file) {
  const findings = [];
  const add = (line, text, warning = false) => findings.push({ path: file.path, line, text, warning });
  for (const error of file.errors) add(file.lineOf(error.labels?.[0]?.start ?? 0), `does not parse: ${error.message}`);
  if (VAGUE_NAMES.test(basename(file.path)) && file.path !== 'src/main/index.ts') add(1, 'a file is named for what it holds');
  if (file.lines > FILE_LINES_MAX) add(FILE_LINES_MAX, `${file.lines} lines: more than ${FILE_LINES_MAX}`, true);
  for (const comment of file.comments) {
    const left = LEFT_TO_DO.exec(comment.value);
    if (left !== null) add(file.lineOf(comment.start), `${left[1]} in a comment: do it or leave it out`);
  }
  const hot = new Set(hotFunctions(file).functions.map((f) => f.node));
  walk(file.program, (node) => {
    const line = file.lineOf(node.start);
    if (node.type === 'ExportDefaultDeclaration') add(line, 'default export: export a name');
    // `declare global` and ambient modules are types, and vanish.
    const erased = node.type === 'TSModuleDeclaration' && (node.declare === true || node.kind === 'global');
    if (node.type in NOT_ERASABLE && !erased) add(line, NOT_ERASABLE[node.type]);
    if (FUNCTIONS.has(node.type) && node.body !== null) {
      const lines = file.lineOf(node.end) - line + 1;
      const most = hot.has(node) ? HOT_FUNCTION_LINES_MAX : FUNCTION_LINES_MAX;
      if (lines > most && !holdsFunctions(node)) add(line, `function of ${lines} lines: more than ${most}`, true);
    }
  });
  return findings;
}

/** A factory whose body declares functions is measured by those: its closure is the module of a thread's columns. */
function holdsFunctions(node) {
  if (node.body.type !== 'BlockStatement') return false;
  return node.body.body.some((s) => s.type === 'FunctionDeclaration');
}
