/**
 * Where raw values come from: JSON with comments, mTCP's `.conf`, code, flags. Each source becomes a list of
 * (key, raw value, place), in the order written.
 */
import { type Node, type ParseError, parseTree, printParseErrorCode } from 'jsonc-parser';
import { ConfigError } from './configError.ts';
import { allSpecs, camelOf, isGroup, type KeySpec, specOf, specOfCamel } from './schema.ts';

export interface RawValue {
  spec: KeySpec;
  raw: unknown;
  place: string;
}

/** Edit distance with transpositions, for "did you mean". */
function distance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, i) => i)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let d = Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, rows[i - 1]![j - 1]! + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) d = Math.min(d, rows[i - 2]![j - 2]! + 1);
      row.push(d);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}

/** The known key, or one of `others`, nearest to `key`, or undefined when none is near. A right name in a wrong or missing group counts as near. */
export function nearestKey(key: string, others: readonly string[] = []): string | undefined {
  const fold = (s: string): string =>
    s
      .replace(/([a-z])([A-Z])/g, '$1-$2')
      .toLowerCase()
      .replace(/_/g, '-');
  const want = fold(key);
  let best: string | undefined;
  let bestScore = Number.POSITIVE_INFINITY;
  for (const known of [...allSpecs().map((s) => s.key), ...others]) {
    const name = fold(known);
    const whole = distance(want, name);
    const tail = distance(want.split('.').at(-1)!, name.split('.').at(-1)!) + 1;
    const score = Math.min(whole, tail);
    if (score < bestScore) [best, bestScore] = [known, score];
  }
  // of a word of three letters, two changed ones leave nothing
  return bestScore <= Math.min(want.length - 2, Math.max(2, Math.floor(want.length / 3))) ? best : undefined;
}

/** The group nearest to what stands in front of a nested object. */
function nearestGroup(name: string): string | undefined {
  const groups = [...new Set(allSpecs().flatMap((s) => (s.key.includes('.') ? [s.key.slice(0, s.key.indexOf('.'))] : [])))];
  const [best] = groups.map((g) => [distance(name.toLowerCase(), g), g] as const).sort(([a], [b]) => a - b);
  return best !== undefined && best[0] <= 2 ? best[1] : undefined;
}

/** What is no key: a group without keys, an object under an unknown name, or an unknown key. */
function noKey(key: string, place: string, isObject: boolean): ConfigError {
  if (isGroup(key)) {
    const members = allSpecs().flatMap((s) => (s.key.startsWith(`${key}.`) ? [s.key] : []));
    return new ConfigError(`"${key}" is a group of keys; write one of ${members.join(', ')}`, place);
  }
  const group = isObject ? nearestGroup(key) : undefined;
  if (group !== undefined) return new ConfigError(`unknown group "${key}", did you mean "${group}"?`, place);
  return unknownKey(key, place);
}

export function unknownKey(key: string, place: string): ConfigError {
  const near = nearestKey(key);
  const tail = near === undefined ? 'docs/config.md lists the keys' : `did you mean "${near}"?`;
  return new ConfigError(`unknown key "${key}", ${tail}`, place);
}

function lineOf(text: string, offset: number): number {
  let line = 1;
  for (let i = 0; i < offset; i++) if (text.charCodeAt(i) === 10) line++;
  return line;
}

function jsonValue(node: Node): unknown {
  if (node.type === 'array') return (node.children ?? []).map(jsonValue);
  if (node.type === 'object') return {};
  return node.value;
}

/** JSON with comments and trailing commas. Groups may be written nested or with dots. */
export function readJson(text: string, file: string): RawValue[] {
  const errors: ParseError[] = [];
  const root = parseTree(text, errors, { allowTrailingComma: true, disallowComments: false });
  const first = errors[0];
  if (first !== undefined) {
    const what = printParseErrorCode(first.error)
      .replace(/([a-z])([A-Z])/g, '$1 $2')
      .toLowerCase();
    throw new ConfigError(`not valid JSON: ${what}`, `${file}:${lineOf(text, first.offset)}`);
  }
  if (root?.type !== 'object') throw new ConfigError('the configuration is not a JSON object', `${file}:1`);
  const out: RawValue[] = [];
  const seen = new Map<string, string>();
  const walk = (object: Node, prefix: string): void => {
    for (const property of object.children ?? []) {
      const [name, value] = property.children as [Node, Node | undefined];
      const key = prefix + String(name.value);
      const place = `${file}:${lineOf(text, name.offset)}`;
      if (key === '$schema') continue;
      if (value?.type === 'object' && isGroup(key)) {
        walk(value, `${key}.`);
        continue;
      }
      const spec = specOf(key);
      if (spec === undefined) throw noKey(key, place, value?.type === 'object');
      if (seen.has(key)) throw new ConfigError(`${key}: set twice, first at ${seen.get(key)}; keep one`, place);
      seen.set(key, place);
      out.push({ spec, raw: value === undefined ? undefined : jsonValue(value), place });
    }
  };
  walk(root, '');
  return out;
}

/** An object in code: dotted keys, nested groups, or the camelCase names of a `Config`. Undefined means "not set". */
export function readObject(object: object, place: string): RawValue[] {
  const out: RawValue[] = [];
  const walk = (o: object, prefix: string): void => {
    for (const [name, raw] of Object.entries(o)) {
      if (raw === undefined) continue;
      const key = prefix + name;
      const spec = specOf(key) ?? (/^[a-zA-Z0-9]+$/.test(name) ? specOfCamel(camelOf(key)) : undefined);
      if (spec === undefined && typeof raw === 'object' && raw !== null && !Array.isArray(raw) && isGroup(key)) walk(raw, `${key}.`);
      else if (spec === undefined) throw noKey(key, place, typeof raw === 'object');
      else out.push({ spec, raw, place });
    }
  };
  walk(object, '');
  return out;
}

/** `--set key=value`. */
export function readSet(text: string): RawValue {
  const at = text.indexOf('=');
  if (at < 1) throw new ConfigError(`"${text}" is not key=value`, '--set');
  const key = text.slice(0, at).trim();
  const spec = specOf(key);
  if (spec === undefined) throw noKey(key, '--set', false);
  return { spec, raw: text.slice(at + 1).trim(), place: '--set' };
}
