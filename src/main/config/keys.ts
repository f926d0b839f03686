/**
 * Every configuration key, once. Parsing, validation, the TypeScript type, docs/config.md, the JSON Schema, `--help` and
 * `--print-config` are all made from this table; a key that is not here does not exist.
 *
 * Keys are kebab-case with dotted groups (`tcp.time-wait-ms`). They stand in files by what they are about.
 */
import { PORT_KEYS } from './portKeys.ts';
import { PROCESS_KEYS } from './processKeys.ts';
import { RUNTIME_KEYS } from './runtimeKeys.ts';
import { SOCKET_KEYS } from './socketKeys.ts';

export const SCHEMA = [...RUNTIME_KEYS, ...SOCKET_KEYS, ...PORT_KEYS, ...PROCESS_KEYS] as const;
