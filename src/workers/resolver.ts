/**
 * A program need not have flowring installed to `import 'flowring/mtcp'`: in a stack thread this package answers for its
 * own name, so that the program and the thread always share one instance.
 */
import * as nodeModule from 'node:module';
import { ownUrl } from './ownNames.ts';

type Resolved = { url: string; shortCircuit?: boolean };
type NextResolve = (specifier: string, context: unknown) => Resolved;
/** Node 22.15 and later; the older `register` runs its hooks on a thread of their own and is deprecated since Node 26. */
type RegisterHooks = (hooks: { resolve: (specifier: string, context: unknown, next: NextResolve) => Resolved }) => unknown;

const { registerHooks } = nodeModule as unknown as { registerHooks?: RegisterHooks };

/** Whether answering takes a thread of its own, beside each thread that has the answer installed. */
export const RESOLVER_TAKES_THREAD = registerHooks === undefined;

let installed = false;

/** Once a thread. */
export function installResolver(): void {
  if (installed) return;
  installed = true;
  if (registerHooks === undefined) {
    nodeModule.register(new URL('./resolverHook.js', import.meta.url));
    return;
  }
  registerHooks({
    resolve: (specifier, context, next) => {
      const url = ownUrl(specifier, context);
      return url === undefined ? next(specifier, context) : { url, shortCircuit: true };
    },
  });
}
