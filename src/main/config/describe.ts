/** The schema for people and editors: docs/config.md, the JSON Schema, the key list of --help, and --print-config. */
import { TRAIN_LINKS_MAX } from '../../rings/layout.ts';
import type { ResolvedConfig } from './load.ts';
import { allSpecs, camelOf, type Key, type KeySpec } from './schema.ts';
import { allowed } from './value.ts';

/** A value as a configuration file or a flag would write it. */
export function formatValue(spec: KeySpec, value: unknown): string {
  if (value === null) return spec.none === true ? 'none' : 'auto';
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.join(',');
  return String(value);
}

const defaultText = (spec: KeySpec): string => formatValue(spec, spec.default);

/** `key = value  # origin`, a line each: loads as a configuration file again. */
export function printConfig(config: ResolvedConfig): string {
  const rows = allSpecs().map((spec) => [
    `${spec.key} = ${formatValue(spec, config.values[camelOf(spec.key)])}`,
    config.origin(spec.key as Key),
  ]);
  const width = Math.max(...rows.map(([left]) => left!.length));
  return rows.map(([left, origin]) => `${left!.padEnd(width)}  # ${origin}`).join('\n');
}

/** The same as one JSON object: `{ "nic": { "value": "switch", "origin": "default" }, … }`. */
export function printConfigJson(config: ResolvedConfig): string {
  const entries = allSpecs().map((spec) => [spec.key, { value: config.values[camelOf(spec.key)], origin: config.origin(spec.key as Key) }]);
  return JSON.stringify(Object.fromEntries(entries));
}

/** The keys for --help: what no option of its own sets. */
export function helpKeys(): string {
  const rows = allSpecs().filter((s) => s.flag === undefined);
  const width = Math.max(...rows.map((s) => s.key.length));
  const lines = rows.map((s) => `  ${s.key.padEnd(width)}  ${s.help} (default ${defaultText(s)})`);
  return `Keys for --set and --config (docs/config.md has ranges):\n${lines.join('\n')}`;
}

const escapeBars = (text: string): string => text.replace(/\|/g, '\\|');
/** Text of a cell; within a code span only bars mean something. */
const escapeCell = (text: string): string => escapeBars(text).replace(/</g, '&lt;');

function section(title: string, specs: readonly KeySpec[]): string {
  const rows = specs.map((s) => {
    const auto = s.auto === undefined ? '' : ` \`auto\`: ${escapeCell(s.auto)}.`;
    const alias =
      s.aliases === undefined
        ? ''
        : ` Also understood: ${Object.entries(s.aliases)
            .map(([from, to]) => `\`${from}\` (${to})`)
            .join(', ')}.`;
    const flag = s.flag === undefined ? '' : ` Option \`${escapeBars(s.flag)}\`.`;
    return `| \`${s.key}\` | \`${defaultText(s)}\` | ${escapeCell(allowed(s))} | ${s.since} | ${escapeCell(s.help)}${auto}${alias}${flag} |`;
  });
  return `## ${title}\n\n| key | default | allowed | since | meaning |\n|---|---|---|---|---|\n${rows.join('\n')}\n`;
}

const TITLES: Readonly<Record<string, string>> = {
  rings: 'Rings',
  offload: 'Offloads',
  tcp: 'TCP',
  udp: 'UDP',
  arp: 'ARP',
  switch: 'Switch port',
  packet: 'Packet port',
  supervise: 'When a worker dies',
  background: 'Background pool',
};

/** docs/config.md. */
export function configMarkdown(): string {
  const groupOf = (s: KeySpec): string => {
    const [group] = s.key.split('.') as [string];
    return group in TITLES ? group : '';
  };
  const groups = ['', ...Object.keys(TITLES)];
  const sections = groups.map((g) =>
    section(
      g === '' ? 'Port, threads, memory' : TITLES[g]!,
      allSpecs().filter((s) => groupOf(s) === g),
    ),
  );
  return `# Configuration

Made from src/main/config/keys.ts by \`npm run docs:config\`; a test checks that it is current.

A value comes from, later ones winning: the default, code (\`open({…})\`), a file (\`--config FILE\`), an option, \`--set key=value\`.
\`flowring run --print-config\` shows every value and where it came from, in a form that loads as a file again.

Files are JSON with comments; groups may be nested or dotted:

\`\`\`jsonc
{
  "nic": "tap:tap0",
  "address": "192.0.2.2/24",
  "workers": 2,
  "tcp": { "rcvbuf": "1M", "window-scale": 7 }, // the same as "tcp.rcvbuf" and "tcp.window-scale"
}
\`\`\`

Files with \`key = value\` lines and \`#\` comments load too: the keys below, and mTCP's \`num_cores\` (\`workers\`),
\`max_concurrency\` (\`tcp.max-connections\`), \`rcvbuf\`, \`sndbuf\`, \`udp_recv_buffer\`, \`udp_send_buffer\`, \`tcp_timewait\` (seconds,
\`tcp.time-wait-ms\`), \`tcp_timeout\` (seconds, \`tcp.idle-timeout-ms\`) and \`port\` (\`nic\`, when it names a TAP or is written as \`nic\` is). mTCP's other keys are reported on stderr with the reason why they have no effect.
In code the keys may also be written in camelCase (\`tcpRcvbuf\`), or nested (\`tcp: { rcvbuf: '1M', timeWaitMs: '2s' }\`); \`defineConfig\` types them.

Sizes take K, M, G (1024s), rates K, M, G (1000s), durations us, ms, s, fractions a percentage.
A train of frames has at most ${TRAIN_LINKS_MAX} links. A wrong value ends in one line on stderr and exit code 2.

${sections.join('\n')}`;
}

function schemaOf(spec: KeySpec): Record<string, unknown> {
  const base = { description: spec.help };
  const words = [...(spec.auto === undefined ? [] : ['auto']), ...(spec.none === true ? ['none'] : [])];
  const orWords = (own: Record<string, unknown>[]): Record<string, unknown> =>
    own.length === 1 && words.length === 0
      ? { ...base, ...own[0] }
      : { ...base, anyOf: [...own, ...(words.length === 0 ? [] : [{ enum: words }])] };
  const range = { minimum: spec.min, maximum: spec.max };
  switch (spec.type) {
    case 'int':
      return orWords([{ type: 'integer', ...range }]);
    case 'size':
    case 'duration':
    case 'rate':
    case 'fraction':
      return orWords([
        { type: 'number', ...range },
        { type: 'string', pattern: '^[0-9.]+ ?[A-Za-zµ%/]*$' },
      ]);
    case 'bool':
      return { ...base, type: 'boolean' };
    case 'word':
      return { ...base, enum: [...spec.choices!, ...Object.keys(spec.aliases ?? {})] };
    case 'pairs':
      return { ...base, type: 'array', items: { type: 'string' } };
    default:
      return { ...base, type: 'string' };
  }
}

/** JSON Schema of a configuration file (draft 2020-12). */
export function configJsonSchema(): string {
  const properties: Record<string, unknown> = { $schema: { type: 'string' } };
  for (const spec of allSpecs()) {
    const own = schemaOf(spec);
    properties[spec.key] = own;
    const dot = spec.key.indexOf('.');
    const group = spec.key.slice(0, dot);
    if (dot < 0 || allSpecs().some((s) => s.key === group)) continue;
    properties[group] ??= { type: 'object', additionalProperties: false, properties: {} };
    const nested = properties[group] as { properties: Record<string, unknown> };
    nested.properties[spec.key.slice(dot + 1)] = own;
  }
  const schema = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'flowring configuration',
    type: 'object',
    additionalProperties: false,
    properties,
  };
  return `${JSON.stringify(schema, null, 2)}\n`;
}
