/** What `flowring run` is given: a path to an ES module, or the name of an example in extras/examples. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { ConfigError } from '../config/configError.ts';

// dist/src/main/cli/ is four levels below the package
const EXAMPLES = new URL('../../../../extras/examples/', import.meta.url);

export function exampleNames(): string[] {
  const directory = fileURLToPath(EXAMPLES);
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .filter((f) => f.endsWith('.mjs'))
    .map((f) => f.slice(0, -4))
    .sort();
}

const isFile = (path: string): boolean => existsSync(path) && statSync(path).isFile();

/** file: URL of the module. Throws ConfigError when there is none. */
export function resolveModule(name: string, cwd: string = process.cwd()): string {
  const examples = exampleNames();
  const path = resolve(cwd, name);
  const isPath = /[\\/]/.test(name) || /\.[cm]?[jt]s$/.test(name);
  if (isPath || (isFile(path) && !examples.includes(name))) {
    if (isFile(path)) return pathToFileURL(path).href;
    throw new ConfigError(`no module ${name}: ${existsSync(path) ? 'it is not a file' : 'no such file'}`);
  }
  if (examples.includes(name)) return new URL(`${name}.mjs`, EXAMPLES).href;
  throw new ConfigError(`no file and no example "${name}"; the examples are ${examples.join(', ')}`);
}
