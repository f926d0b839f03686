// Links between the documents, to their headings, and to the source, lead somewhere; npm scripts exist, both as named and as defined.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
const pages = [
  'README.md',
  'CHANGELOG.md',
  ...readdirSync(join(ROOT, 'docs'))
    .filter((f) => f.endsWith('.md'))
    .map((f) => `docs/${f}`),
];

/** Anchors of a page's headings, as GitHub makes them. */
const anchorsOf = (text: string): string[] =>
  [...text.replace(/```[\s\S]*?```/g, '').matchAll(/^#+ +(.+)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replace(/ /g, '-'),
  );

for (const page of pages) {
  test(`links of ${page}`, () => {
    const text = readFileSync(join(ROOT, page), 'utf8').replace(/```[\s\S]*?```/g, '');
    for (const [, target, anchor] of text.matchAll(/\]\(([^)\s#]*)(?:#([^)]*))?\)/g)) {
      if (/^https?:/.test(target!)) continue;
      const file = target === '' ? join(ROOT, page) : join(ROOT, dirname(page), target!);
      if (anchor !== undefined && file.endsWith('.md') && existsSync(file))
        assert.ok(
          anchorsOf(readFileSync(file, 'utf8')).includes(anchor),
          `${page} links to ${target}#${anchor}, which has no such heading`,
        );
      assert.ok(existsSync(file), `${page} links to ${target}, which does not exist`);
    }
  });
}

test('the README leads to every page', () => {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
  for (const page of pages) if (page.startsWith('docs/')) assert.ok(readme.includes(`(${page})`), `README.md does not link to ${page}`);
});

test('pages name every file of their room', () => {
  for (const [page, room] of [
    ['docs/tcp.md', 'src/stack/tcp'],
    ['docs/udp.md', 'src/stack/udp'],
    ['docs/wire.md', 'src/wire'],
    ['docs/main.md', 'src/main'],
  ] as const) {
    const text = readFileSync(join(ROOT, page), 'utf8');
    const files = readdirSync(join(ROOT, room), { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.ts'));
    assert.ok(files.length > 3);
    for (const file of files)
      if (!/^(?:burst|cli|config)\//.test(file)) assert.ok(text.includes(`](../${room}/${file})`), `${page} does not name ${room}/${file}`);
  }
});

test('npm scripts that the documents name exist', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> };
  for (const page of pages) {
    const text = readFileSync(join(ROOT, page), 'utf8');
    for (const [, name] of text.matchAll(/npm run ([a-z:]+)/g)) assert.ok(name! in scripts, `${page}: npm run ${name}`);
  }
});

test('scripts run files that exist', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> };
  for (const [name, command] of Object.entries(scripts)) {
    for (const [, file] of command.matchAll(/\bnode ((?:scripts|bin|dist)\/\S+)/g)) {
      const source = file!.startsWith('dist/') ? file!.replace(/^dist\//, '').replace(/\.js$/, '.ts') : file!;
      assert.ok(existsSync(join(ROOT, source)), `npm run ${name}: ${source} does not exist`);
    }
  }
});

test.run();
