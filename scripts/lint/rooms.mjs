// The room rule: which part of src may know which. It holds for what a file imports and for all that this imports in turn,
// types included, because a type from another room is knowledge of it too.
//
//   wire              nothing                 bytes
//   wire/burst        wire, rings             the bursts' TypeScript twins
//   rings             nothing                 what threads share
//   ports             wire, rings
//   stack             wire, rings             pure: no node:*, no packages
//   api               stack, types of rings
//   workers, main     all above
//
// Two files of rings are vocabulary, the names of drop reasons and of counters; wire and api may use their constants.
// Only src/ports/native.ts loads the addon. A violation names the import chain that leads to it.
import { walk } from './source.mjs';

/** Direct imports allowed to a room, besides its own. A trailing `:type` allows types only. */
const ALLOWED = {
  wire: [],
  'wire/burst': ['wire', 'rings'],
  rings: [],
  ports: ['wire', 'wire/burst', 'rings'],
  stack: ['wire', 'rings'],
  api: ['stack', 'rings:type'],
  workers: ['wire', 'wire/burst', 'rings', 'ports', 'stack', 'api'],
  main: ['wire', 'wire/burst', 'rings', 'ports', 'stack', 'api', 'workers'],
};
/** Rooms that run anywhere: no runtime, no packages. */
const PURE = new Set(['wire', 'wire/burst', 'rings', 'stack']);
const ADDON_LOADER = 'src/ports/native.ts';
// Requires the user's program, by its own path; still may name no .node file and no dlopen.
const PROGRAM_LOADER = 'src/workers/importModule.ts';
/** Names of numbers that a room may use although the rest of their room is closed to it. */
const VOCABULARY = { wire: ['src/rings/drops.ts'], api: ['src/rings/drops.ts', 'src/rings/counters.ts'] };
/** Prints for people: makes strings, so threads that move packets may not know it. */
const FOR_PEOPLE = 'src/wire/describe.ts';
const FOR_PEOPLE_NOT_IN = new Set(['stack', 'workers']);

/** The room of a path, or '' outside of all rooms. */
export function roomOf(path) {
  if (path.startsWith('src/wire/burst/')) return 'wire/burst';
  const room = /^src\/([^/]+)\//.exec(path)?.[1] ?? '';
  return room in ALLOWED ? room : '';
}

/** `./x.ts` seen from `from`, as a path from the root. */
function resolve(from, specifier) {
  const parts = from.split('/').slice(0, -1);
  for (const part of specifier.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '.') parts.push(part);
  }
  return parts.join('/').replace(/\.js$/, '.ts');
}

const typeOnly = (statement, kind) =>
  statement[kind] === 'type' || ((statement.specifiers?.length ?? 0) > 0 && statement.specifiers.every((s) => s[kind] === 'type'));

/** Every import, re-export, dynamic import and import type of a parsed file: { to, relative, types, line }. */
export function importsOf(file) {
  const found = [];
  const add = (node, specifier, types) => {
    const relative = specifier.startsWith('.');
    found.push({ to: relative ? resolve(file.path, specifier) : specifier, relative, types, line: file.lineOf(node.start) });
  };
  walk(file.program, (node) => {
    switch (node.type) {
      case 'ImportDeclaration':
        add(node, node.source.value, typeOnly(node, 'importKind'));
        break;
      case 'ExportNamedDeclaration':
      case 'ExportAllDeclaration':
        if (node.source) add(node, node.source.value, typeOnly(node, 'exportKind'));
        break;
      case 'ImportExpression':
        if (node.source.type === 'Literal') add(node, node.source.value, false);
        break;
      case 'TSImportType': {
        const specifier = node.source?.value ?? node.argument?.value ?? node.argument?.literal?.value;
        if (specifier !== undefined) add(node, specifier, true);
        break;
      }
    }
  });
  return found;
}

/** Why `room` may not import `edge` directly, or ''. */
function refusal(room, edge) {
  if (!edge.relative) {
    if (!PURE.has(room)) return '';
    if (edge.to.startsWith('node:')) return `${room} is pure and may not import ${edge.to}`;
    return `${room} is pure and may not import the package ${edge.to}`;
  }
  if (edge.to === FOR_PEOPLE && FOR_PEOPLE_NOT_IN.has(room)) return `${room} may not import ${FOR_PEOPLE}: it makes strings for people`;
  const target = roomOf(edge.to);
  if (target === room) return '';
  if (target === '') return `${edge.to} is in no room`;
  if (VOCABULARY[room]?.includes(edge.to)) return '';
  const allowed = ALLOWED[room];
  if (allowed.includes(target)) return '';
  if (allowed.includes(`${target}:type`)) return edge.types ? '' : `${room} may import only types of ${target}: write import type`;
  return `${room} may not import ${target}`;
}

/** The shortest chain of imports from a file of another room to `path`, as text; '' when nobody else's leads there. */
function chainTo(path, importers) {
  const seen = new Set([path]);
  let frontier = [[path]];
  while (frontier.length > 0) {
    const next = [];
    for (const chain of frontier) {
      for (const importer of importers.get(chain[0]) ?? []) {
        if (seen.has(importer)) continue;
        seen.add(importer);
        const longer = [importer, ...chain];
        if (roomOf(importer) !== roomOf(path)) return longer.join(' -> ');
        next.push(longer);
      }
    }
    frontier = next;
  }
  return '';
}

/** Chains that leave the rooms: a file outside of all of them carries a room's imports further than the room may go. */
function* throughOutsiders(start, edges) {
  const room = roomOf(start);
  const stack = [[start]];
  const seen = new Set([start]);
  while (stack.length > 0) {
    const chain = stack.pop();
    for (const edge of edges.get(chain.at(-1)) ?? []) {
      if (chain.length > 1) {
        const why = roomOf(edge.to) === '' && edge.relative ? '' : refusal(room, edge);
        if (why !== '') yield { why, chain: [...chain, edge.to].join(' -> ') };
      }
      if (edge.relative && roomOf(edge.to) === '' && !seen.has(edge.to)) {
        seen.add(edge.to);
        stack.push([...chain, edge.to]);
      }
    }
  }
}

/** Findings of the room rule over parsed files of src: { path, line, text }. */
export function checkRooms(files) {
  const findings = [];
  const edges = new Map(files.map((f) => [f.path, importsOf(f)]));
  const importers = new Map();
  for (const [path, list] of edges)
    for (const edge of list) if (edge.relative) importers.set(edge.to, [...(importers.get(edge.to) ?? []), path]);

  for (const [path, list] of edges) {
    const room = roomOf(path);
    if (room === '') {
      findings.push({ path, line: 1, text: `in no room: src has ${Object.keys(ALLOWED).join(', ')}` });
      continue;
    }
    for (const edge of list) {
      const why = refusal(room, edge);
      if (why === '') continue;
      const chain = chainTo(path, importers);
      findings.push({ path, line: edge.line, text: `${why}: ${chain === '' ? path : chain} -> ${edge.to}` });
    }
    for (const { why, chain } of throughOutsiders(path, edges)) findings.push({ path, line: 1, text: `${why}: ${chain}` });
  }
  for (const file of files) findings.push(...addonLoads(file));
  return findings;
}

/** Ways to load an addon, outside of the one file that may. */
function addonLoads(file) {
  if (file.path === ADDON_LOADER) return [];
  const findings = [];
  walk(file.program, (node) => {
    const loads =
      (node.type === 'Identifier' && node.name === 'createRequire' && file.path !== PROGRAM_LOADER) ||
      (node.type === 'MemberExpression' && node.property.name === 'dlopen') ||
      (node.type === 'Literal' && typeof node.value === 'string' && node.value.endsWith('.node'));
    if (!loads) return;
    const line = file.lineOf(node.start);
    if (findings.at(-1)?.line !== line) findings.push({ path: file.path, line, text: `only ${ADDON_LOADER} loads the addon` });
  });
  return findings;
}
