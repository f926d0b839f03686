// The house linter against small trees made for the purpose: each rule must fire on its breach, and only there.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

interface Finding {
  path: string;
  line: number;
  text: string;
  warning?: boolean;
}

const LINTER = new URL('../../../../scripts/lint-house.mjs', import.meta.url);
const { lintHouse } = (await import(LINTER.href)) as { lintHouse: (root: string) => Finding[] };

/** Lints a tree given as path -> text. */
function lint(tree: Record<string, string>): Finding[] {
  const root = mkdtempSync(join(tmpdir(), 'flowring-lint-'));
  try {
    for (const [path, text] of Object.entries(tree)) {
      mkdirSync(join(root, dirname(path)), { recursive: true });
      writeFileSync(join(root, path), text);
    }
    return lintHouse(root);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

const texts = (tree: Record<string, string>): string[] => lint(tree).map((f) => `${f.path}:${f.line}: ${f.text}`);

/** Findings of one hot function whose body is `body`. */
const hot = (body: string, params = 'a: number'): string[] =>
  lint({ 'src/stack/x.ts': `// hot: per packet\nexport function f(${params}): void {\n${body}\n}\n` }).map((f) => f.text);

test('a clean tree has no findings', () => {
  assert.equal(
    texts({
      'src/wire/seq.ts': 'export const seqLt = (a: number, b: number): boolean => ((a - b) | 0) < 0;\n',
      'src/rings/layout.ts': 'export const MAGIC = 1;\n',
      'src/wire/burst/twin.ts':
        "import { MAGIC } from '../../rings/layout.ts';\nimport { seqLt } from '../seq.ts';\nexport const t = seqLt(MAGIC, 2);\n",
      'src/stack/stack.ts':
        "import { MAGIC } from '../rings/layout.ts';\nimport { seqLt } from '../wire/seq.ts';\nexport const s = seqLt(MAGIC, 2);\n",
      'src/api/mtcp.ts':
        "import type { R } from '../rings/layout.ts';\nimport { s } from '../stack/stack.ts';\nexport const m = s;\nexport type Q = R;\n",
      'src/main/run.ts':
        "import { readFileSync } from 'node:fs';\nimport { m } from '../api/mtcp.ts';\nexport const r = [readFileSync, m];\n",
    }),
    [],
  );
});

test('a room may not import a room above it, and the finding names the chain', () => {
  assert.equal(
    texts({
      'src/main/cpus.ts': 'export const cpus = 1;\n',
      'src/wire/bytes.ts': "import { cpus } from '../main/cpus.ts';\nexport const b = cpus;\n",
      'src/stack/stack.ts': "import { b } from '../wire/bytes.ts';\nexport const s = b;\n",
    }),
    ['src/wire/bytes.ts:1: wire may not import main: src/stack/stack.ts -> src/wire/bytes.ts -> src/main/cpus.ts'],
  );
});

test('types, re-exports, dynamic imports and import types count as knowledge', () => {
  const outcome = texts({
    'src/stack/env.ts': 'export type E = 1;\n',
    'src/rings/a.ts': "import type { E } from '../stack/env.ts';\nexport type A = E;\n",
    'src/rings/b.ts': "export * from '../stack/env.ts';\n",
    'src/rings/c.ts': "export const c = import('../stack/env.ts');\n",
    'src/rings/d.ts': "export type D = import('../stack/env.ts').E;\n",
  });
  assert.equal(outcome.length, 4);
  for (const line of outcome) assert.match(line, /:1: rings may not import stack: /);
});

test('pure rooms reach no runtime and no package', () => {
  assert.equal(
    texts({
      'src/stack/a.ts': "import { hrtime } from 'node:process';\nexport const a = hrtime;\n",
      'src/rings/b.ts': "import colors from 'picocolors';\nexport const b = colors;\n",
    }),
    [
      'src/rings/b.ts:1: rings is pure and may not import the package picocolors: src/rings/b.ts -> picocolors',
      'src/stack/a.ts:1: stack is pure and may not import node:process: src/stack/a.ts -> node:process',
    ],
  );
});

test('a file outside of all rooms does not carry a room further than it may go', () => {
  const outcome = texts({
    'src/shared.ts': "import { readFileSync } from 'node:fs';\nexport const s = readFileSync;\n",
    'src/stack/a.ts': "import { s } from '../shared.ts';\nexport const a = s;\n",
  });
  assert.ok(outcome.some((t) => t.startsWith('src/shared.ts:1: in no room')));
  assert.ok(
    outcome.some((t) => t.includes('stack is pure and may not import node:fs: src/stack/a.ts -> src/shared.ts -> node:fs')),
    outcome.join('\n'),
  );
});

test('api takes types of rings, counters and reasons, but no machinery', () => {
  const outcome = texts({
    'src/rings/spsc.ts': 'export class Ring {}\n',
    'src/rings/counters.ts': 'export const C_X = 1;\n',
    'src/api/a.ts':
      "import type { Ring } from '../rings/spsc.ts';\nimport { C_X } from '../rings/counters.ts';\nexport const a: Ring | number = C_X;\n",
    'src/api/b.ts': "import { Ring } from '../rings/spsc.ts';\nexport const b = new Ring();\n",
  });
  assert.equal(outcome.length, 1);
  assert.match(outcome[0]!, /^src\/api\/b\.ts:1: api may import only types of rings/);
});

test('only ports/native.ts loads the addon', () => {
  const load = "import { createRequire } from 'node:module';\nexport const n = createRequire(import.meta.url)('x.node');\n";
  assert.equal(texts({ 'src/ports/native.ts': load }), []);
  assert.equal(texts({ 'src/ports/tap.ts': load }).length, 2);
  assert.match(
    texts({ 'src/main/a.ts': "export const n = process.dlopen({ exports: {} }, 'a');\n" })[0]!,
    /only src\/ports\/native\.ts loads the addon/,
  );
});

const FORBIDDEN: readonly (readonly [string, string])[] = [
  ['const o = { a };', 'object literal'],
  ['const o = [a];', 'array literal'],
  ['g(...a);', 'spread'],
  ['const g = () => a;', 'closure'],
  ['const g = function () {};', 'closure'],
  ['function g() {}', 'closure'],
  ['try { a; } finally { a; }', 'try'],
  ['throw a;', 'throw'],
  ['const { x } = this;', 'destructuring'],
  ['const [x] = this;', 'destructuring'],
  ['for (const x of a) x;', 'for-of'],
  ['for (const x in a) x;', 'for-in'],
  ['const v = new DataView(a);', 'new'],
  ['const n = 1n;', 'BigInt'],
  ['const n = BigInt(a);', 'BigInt'],
  ['v.getBigInt64(a);', 'BigInt'],
  ['const s = `a${a}`;', 'string building'],
  ["const s = 'a' + a;", 'string building'],
  ["s += 'a';", 'string building'],
  ['const n = arguments.length;', 'arguments'],
  ['u8.subarray(a);', '.subarray()'],
  ['u8.slice(a);', '.slice()'],
  ['x.map(a);', '.map()'],
  ['x.forEach(a);', '.forEach()'],
  ['const r = /x/;', 'regular expression'],
  ['const u = a >>> 0;', '>>> 0 (leaves int32)'],
];

for (const [body, what] of FORBIDDEN) {
  test(`hot: ${body} is refused`, () => assert.equal(hot(body), [`hot function f: ${what}`]));
}

test('hot: plain integer code, calls and typed-array access pass', () => {
  assert.equal(
    hot(
      'let n = 0;\nfor (let i = 0; i < a; i++) n = (n + w[i]!) | 0;\nif (n > 3) g(n);\nwhile (n-- > 0) h(n >>> 16);\nconst t: { x: number } | null = k;',
    ),
    [],
  );
});

test('hot: parameters are looked at too', () => {
  assert.equal(hot('', '{ a }: { a: number }'), ['hot function f: destructuring']);
  assert.equal(hot('', '...a: number[]'), ['hot function f: rest element']);
});

test('hot: the tag is found before methods, constants, nested functions and documentation comments', () => {
  const outcome = texts({
    'src/stack/x.ts': [
      'export class C {',
      '  // hot: per burst',
      '  /** Doc. */',
      '  private m(): void {',
      '    g([]);',
      '  }',
      '}',
      'export function make(): void {',
      '  // hot: per packet',
      '  function inner(): void {',
      '    g({});',
      '  }',
      '  // hot: per packet',
      '  const arrow = (): void => g([]);',
      '  inner();',
      '  arrow();',
      '}',
      '',
    ].join('\n'),
  });
  assert.equal(outcome, [
    'src/stack/x.ts:5: hot function m: array literal',
    'src/stack/x.ts:11: hot function inner: object literal',
    'src/stack/x.ts:14: hot function arrow: array literal',
  ]);
});

test('hot: a tag with no function behind it, or an unknown one, is a finding', () => {
  assert.match(texts({ 'src/stack/x.ts': '// hot: per packet\nexport const a = 1;\n' })[0]!, /hot tag without a function/);
  assert.match(texts({ 'src/stack/x.ts': '// hot: per frame\nexport function f(): void {}\n' })[0]!, /unknown hot tag/);
});

test('hot: an untagged function may do as it likes', () => {
  assert.equal(texts({ 'src/stack/x.ts': 'export function f(): unknown {\n  return [{}, `a${1}`];\n}\n' }), []);
});

test('hot: hot-ok with a reason excuses its line, without one or without an offence it is a finding', () => {
  assert.equal(hot('// hot-ok: 2.1x faster than the loop above 48 bytes\nu8.subarray(a);'), []);
  assert.equal(hot('u8.subarray(a); // hot-ok: 2.1x faster than the loop above 48 bytes'), []);
  assert.equal(hot('// hot-ok: fast\nu8.subarray(a);'), ['hot-ok without a reason: give the measured one', 'hot function f: .subarray()']);
  assert.equal(hot('// hot-ok: 2.1x faster than the loop above 48 bytes\na;'), ['hot-ok that excuses nothing']);
});

const SHAPES: readonly (readonly [string, RegExp])[] = [
  ['export default 1;\n', /default export/],
  ['export enum E {\n  A,\n}\n', /enum is not erasable/],
  ['export namespace N {\n  export const a = 1;\n}\n', /namespace is not erasable/],
  ['export class C {\n  constructor(private a: number) {}\n}\n', /parameter property/],
  ['// TO' + 'DO later\nexport const a = 1;\n', /in a comment: do it or leave it out/],
  ['export const a = (;\n', /does not parse/],
];

for (const [text, expected] of SHAPES) {
  test(`shape: ${expected.source}`, () => {
    const outcome = lint({ 'src/stack/x.ts': text }).filter((f) => f.warning !== true);
    assert.is(outcome.length, 1);
    assert.match(outcome[0]!.text, expected);
  });
}

test('shape: vague file names, and the one index that is allowed', () => {
  assert.match(texts({ 'src/stack/utils.ts': 'export const a = 1;\n' })[0]!, /named for what it holds/);
  assert.match(texts({ 'src/stack/index.ts': 'export const a = 1;\n' })[0]!, /named for what it holds/);
  assert.equal(texts({ 'src/main/index.ts': 'export const a = 1;\n' }), []);
});

test('shape: `declare global` is a type and passes', () => {
  assert.equal(texts({ 'src/main/a.ts': 'declare global {\n  var x: number;\n}\nexport const a = 1;\n' }), []);
});

test('shape: sizes warn and do not fail', () => {
  const long = lint({ 'src/stack/x.ts': 'export const a = 1;\n'.replace('a', 'a0') + '// line\n'.repeat(500) });
  assert.equal(
    long.map((f) => [f.text, f.warning]),
    [['501 lines: more than 500', true]],
  );
  const fn = lint({ 'src/stack/y.ts': `export function f(): void {\n${'  g();\n'.repeat(60)}}\n` });
  assert.equal(
    fn.map((f) => [f.text, f.warning]),
    [['function of 62 lines: more than 60', true]],
  );
  const hotFn = lint({ 'src/stack/z.ts': `// hot: per packet\nexport function f(): void {\n${'  g();\n'.repeat(60)}}\n` });
  assert.equal(hotFn, []);
});

test('the command prints path:line, and its exit code tells errors from warnings', () => {
  const root = mkdtempSync(join(tmpdir(), 'flowring-lint-'));
  try {
    const run = () => spawnSync(process.execPath, [fileURLToPath(LINTER), '--root', root], { encoding: 'utf8' });
    mkdirSync(join(root, 'src/stack'), { recursive: true });
    writeFileSync(join(root, 'src/stack/x.ts'), '// line\n'.repeat(501));
    const warned = run();
    assert.is(warned.status, 0);
    assert.match(warned.stdout, /^src\/stack\/x\.ts:500: warning: 501 lines/);
    writeFileSync(join(root, 'src/stack/y.ts'), 'export default 1;\n');
    const failed = run();
    assert.is(failed.status, 1);
    assert.match(failed.stdout, /^src\/stack\/y\.ts:1: default export/m);
    assert.match(failed.stdout, /house rules: 1 errors, 1 warnings\n$/);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});

test.run();
