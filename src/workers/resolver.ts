/**
 * A program outside any package that has flowring installed may still `import 'flowring/mtcp'`: when the default
 * resolution fails, this package answers for its own name. One instance per thread either way.
 */
import { register } from 'node:module';

let installed = false;

export function installResolver(): void {
  if (installed) return;
  installed = true;
  register(new URL('./resolverHook.js', import.meta.url));
}
