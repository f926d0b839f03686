/**
 * The types that follow from the table of keys, and look-ups in it. In a `Config` the key `tcp.time-wait-ms` is flat
 * camelCase: `tcpTimeWaitMs`.
 */
import type { KeySpec } from './keySpec.ts';
import { SCHEMA } from './keys.ts';

export type { KeySpec } from './keySpec.ts';

type Entry = (typeof SCHEMA)[number];
export type Key = Entry['key'];

type Cap<S extends string> = S extends `${infer H}-${infer T}` ? `${Capitalize<H>}${Cap<T>}` : Capitalize<S>;
type FromKebab<S extends string> = S extends `${infer H}-${infer T}` ? `${H}${Cap<T>}` : S;
/** `tcp.time-wait-ms` → `tcpTimeWaitMs`. */
export type Camel<S extends string> = S extends `${infer G}.${infer R}` ? `${G}${Cap<R>}` : FromKebab<S>;

type ValueOf<E extends KeySpec> = E['type'] extends 'int' | 'size' | 'duration' | 'rate' | 'fraction'
  ? number
  : E['type'] extends 'bool'
    ? boolean
    : E extends { readonly type: 'word'; readonly choices: readonly (infer C)[] }
      ? C
      : E['type'] extends 'pairs'
        ? readonly string[]
        : E['type'] extends 'ip' | 'mac'
          ? string | null
          : string;

type InputOf<E extends KeySpec> = ValueOf<E> | (E['type'] extends 'pairs' | 'word' | 'bool' ? never : string);
type EntryOf<K extends Key> = Extract<Entry, { key: K }>;
type Group = Exclude<Key extends infer K ? (K extends `${infer G}.${string}` ? G : never) : never, Key>;

/** The effective configuration: every key, flat camelCase, `auto` already resolved. Structured-cloneable. */
export type Config = { -readonly [E in Entry as Camel<E['key']>]: ValueOf<E> };

/** What code may write: dotted keys, nested groups or the camelCase of `Config`; sizes and durations also as text (`64K`, `2s`). */
export type ConfigInput = { readonly [K in Key]?: InputOf<EntryOf<K>> } & {
  readonly [E in Entry as Camel<E['key']>]?: InputOf<E>;
} & {
  readonly [G in Group]?: { readonly [K in Key as K extends `${G}.${infer R}` ? R | FromKebab<R> : never]?: InputOf<EntryOf<K>> };
};

const specs: readonly KeySpec[] = SCHEMA;
const byKey = new Map(specs.map((s) => [s.key, s]));

export const camelOf = (key: string): keyof Config => key.replace(/[.-](\w)/g, (_, c: string) => c.toUpperCase()) as keyof Config;

const byCamel = new Map(specs.map((s) => [camelOf(s.key) as string, s]));

/** The key's entry, or undefined. */
export const specOf = (key: string): KeySpec | undefined => byKey.get(key);
/** The entry of a camelCase name as code writes it. */
export const specOfCamel = (name: string): KeySpec | undefined => byCamel.get(name);
export const allSpecs = (): readonly KeySpec[] => specs;
/** Names before the dot that are not keys themselves. */
export const isGroup = (name: string): boolean => specs.some((s) => s.key.startsWith(`${name}.`));

/** Typed configuration in code: `export const config = defineConfig({ nic: 'tap:tap0', address: '192.0.2.2/24' })`. */
export const defineConfig = (config: ConfigInput): ConfigInput => config;
