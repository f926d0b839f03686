/** What the table of keys says of each (keys.ts). */

export type ValueType =
  | 'int'
  | 'size'
  | 'duration'
  | 'rate'
  | 'fraction'
  | 'bool'
  | 'word'
  | 'nic'
  | 'cidr'
  | 'ip'
  | 'mac'
  | 'cpus'
  | 'pairs';

export interface KeySpec {
  readonly key: string;
  readonly type: ValueType;
  /** Unit of a number: bytes, ms, us, frames … */
  readonly unit?: string;
  readonly default: number | boolean | string | null | readonly string[];
  readonly min?: number;
  readonly max?: number;
  readonly powerOfTwo?: boolean;
  /** What the word `auto` (or, for addresses, `none`) resolves to. The word is refused where this is absent. */
  readonly auto?: string;
  readonly none?: boolean;
  /** Words of type `word`. */
  readonly choices?: readonly string[];
  /** Other spellings of a choice, compared without case. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** Command-line option with a place of its own; every other key is reached by --set. */
  readonly flag?: string;
  readonly since: string;
  readonly help: string;
}

/** The version that has had all keys so far. */
export const SINCE = '0.1';
export const MIB = 1024 * 1024;
