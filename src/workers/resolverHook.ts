/** Module resolution hook; runs on the loader's thread. See resolver.ts. */
import { OWN_NAMES } from './ownNames.ts';

type Resolved = { url: string; shortCircuit?: boolean };
type Next = (specifier: string, context: unknown) => Promise<Resolved>;

export async function resolve(specifier: string, context: unknown, next: Next): Promise<Resolved> {
  const own = OWN_NAMES[specifier];
  return own === undefined ? next(specifier, context) : { url: own.href, shortCircuit: true };
}
