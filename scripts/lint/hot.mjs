// The hot rules: what a function tagged `// hot: per packet` or `// hot: per burst` may not contain, because it allocates,
// defeats the optimiser or throws. The tag stands in the comments right before the function; a documentation comment may
// stand between. A tag with no function behind it is a finding too: it would guard nothing.
//
// Where a forbidden form wins by measurement, `// hot-ok: why` on its line or the line before lets it pass.
import { walk } from './source.mjs';

const TAG = /^\s*hot: per (packet|burst)\s*$/;
const TAG_LIKE = /^\s*hot\s*:/;
const EXCUSE = /^\s*hot-ok:\s*(.*)$/;

const FUNCTIONS = new Set(['FunctionDeclaration', 'FunctionExpression', 'ArrowFunctionExpression']);

const FORBIDDEN = {
  ObjectExpression: 'object literal',
  ArrayExpression: 'array literal',
  SpreadElement: 'spread',
  RestElement: 'rest element',
  ObjectPattern: 'destructuring',
  ArrayPattern: 'destructuring',
  FunctionDeclaration: 'closure',
  FunctionExpression: 'closure',
  ArrowFunctionExpression: 'closure',
  ClassDeclaration: 'class',
  ClassExpression: 'class',
  TryStatement: 'try',
  ThrowStatement: 'throw',
  ForOfStatement: 'for-of',
  ForInStatement: 'for-in',
  NewExpression: 'new',
  TemplateLiteral: 'string building',
  TaggedTemplateExpression: 'string building',
  AwaitExpression: 'await',
  YieldExpression: 'yield',
};

/** Methods that make a new object or take a closure. */
const ALLOCATING = new Set(['subarray', 'slice', 'map', 'forEach', 'filter', 'reduce', 'concat', 'bind']);
const BIGINT_NAMES = /^(BigInt|BigInt64Array|BigUint64Array|[gs]etBig(Int|Uint)64)$/;

const isString = (node) => node.type === 'TemplateLiteral' || (node.type === 'Literal' && typeof node.value === 'string');

/** What is wrong with one node inside a hot function, or ''. */
function offence(node) {
  const plain = FORBIDDEN[node.type];
  if (plain !== undefined) return plain;
  switch (node.type) {
    case 'Literal':
      if (typeof node.bigint === 'string') return 'BigInt';
      return node.regex ? 'regular expression' : '';
    case 'Identifier':
      if (node.name === 'arguments') return 'arguments';
      return BIGINT_NAMES.test(node.name) ? 'BigInt' : '';
    case 'BinaryExpression':
      if (node.operator === '+' && (isString(node.left) || isString(node.right))) return 'string building';
      if (node.operator === '>>>' && node.right.type === 'Literal' && node.right.value === 0) return '>>> 0 (leaves int32)';
      return '';
    case 'AssignmentExpression':
      return node.operator === '+=' && isString(node.right) ? 'string building' : '';
    case 'CallExpression': {
      const method = node.callee.type === 'MemberExpression' && !node.callee.computed ? node.callee.property.name : '';
      return ALLOCATING.has(method) ? `.${method}()` : '';
    }
    default:
      return '';
  }
}

/** Offset of the first token at or after `offset`, comments skipped. */
function tokenAfter(file, offset) {
  let at = offset;
  for (;;) {
    while (at < file.text.length && /\s/.test(file.text[at])) at++;
    const comment = file.comments.find((c) => c.start === at);
    if (comment === undefined) return at;
    at = comment.end;
  }
}

/** Start offset of every declaration that introduces a function -> that function, the outermost one winning. */
function functionsByStart(file) {
  const starts = new Map();
  walk(file.program, (node, ancestors) => {
    if (!FUNCTIONS.has(node.type)) return;
    const claim = (offset) => {
      if (!starts.has(offset)) starts.set(offset, node);
    };
    claim(node.start);
    for (let i = ancestors.length - 1; i >= 0; i--) {
      const up = ancestors[i];
      if (up.type === 'Program' || up.type === 'BlockStatement' || up.type === 'ClassBody' || FUNCTIONS.has(up.type)) break;
      claim(up.start);
      if (up.type === 'MethodDefinition' || up.type === 'Property' || up.type === 'PropertyDefinition') break;
    }
  });
  return starts;
}

/** Hot functions of a file with their name, and the tags that lead nowhere. */
export function hotFunctions(file) {
  const tags = file.comments.filter((c) => c.type === 'Line' && TAG_LIKE.test(c.value));
  if (tags.length === 0) return { functions: [], stray: [] };
  const starts = functionsByStart(file);
  const functions = [];
  const stray = [];
  for (const tag of tags) {
    const at = tokenAfter(file, tag.end);
    const fn = TAG.test(tag.value) ? starts.get(at) : undefined;
    if (fn === undefined) stray.push(tag);
    else functions.push({ node: fn, name: nameAt(file, at) });
  }
  return { functions, stray };
}

/** A readable name from the declaration's own text. */
function nameAt(file, at) {
  const head = file.text
    .slice(at, at + 200)
    .replace(/^(export|async|private|public|protected|static|override|readonly|const|let|function|get|set|this\.|\s)+/g, '');
  return /^[A-Za-z_$][\w$]*/.exec(head)?.[0] ?? 'function';
}

/** Lines that a `hot-ok` comment speaks for -> that comment; and the findings about comments that give no reason. */
function excuses(file) {
  const byLine = new Map();
  const findings = [];
  for (const comment of file.comments) {
    const why = comment.type === 'Line' ? EXCUSE.exec(comment.value) : null;
    if (why === null) continue;
    const line = file.lineOf(comment.start);
    const alone = file.text.slice(file.text.lastIndexOf('\n', comment.start) + 1, comment.start).trim() === '';
    if (why[1].length < 12) findings.push({ path: file.path, line, text: 'hot-ok without a reason: give the measured one' });
    else byLine.set(alone ? line + 1 : line, { line, used: false });
  }
  return { byLine, findings };
}

/** Findings of the hot rules in one file. */
export function checkHot(file) {
  const { byLine: excused, findings } = excuses(file);
  const { functions, stray } = hotFunctions(file);
  for (const tag of stray) {
    const text = TAG.test(tag.value)
      ? 'hot tag without a function behind it'
      : `unknown hot tag "${tag.value.trim()}": hot: per packet, or hot: per burst`;
    findings.push({ path: file.path, line: file.lineOf(tag.start), text });
  }
  for (const { node, name } of functions) {
    if (node.async) findings.push({ path: file.path, line: file.lineOf(node.start), text: `hot function ${name} is async` });
    if (node.generator) findings.push({ path: file.path, line: file.lineOf(node.start), text: `hot function ${name} is a generator` });
    const look = (inner) => {
      // Types are erased: what stands in them costs nothing.
      if (inner.type.startsWith('TS') && inner.expression === undefined) return false;
      const what = offence(inner);
      if (what === '') return true;
      const line = file.lineOf(inner.start);
      const excuse = excused.get(line);
      if (excuse !== undefined) excuse.used = true;
      else findings.push({ path: file.path, line, text: `hot function ${name}: ${what}` });
      return false;
    };
    for (const part of [...node.params, node.body]) walk(part, look);
  }
  for (const { line, used } of excused.values()) if (!used) findings.push({ path: file.path, line, text: 'hot-ok that excuses nothing' });
  return findings;
}
