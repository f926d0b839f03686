/**
 * A program need not have flowring installed to `import 'flowring/mtcp'`: in a stack thread this package answers for its
 * own name, so that the program and the thread always share one instance.
 */
import { register } from 'node:module';

let installed = false;

export function installResolver(): void {
  if (installed) return;
  installed = true;
  register(new URL('./resolverHook.js', import.meta.url));
}
