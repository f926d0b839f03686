/** Module resolution hook; runs on the loader's thread. See resolver.ts. */
import { ownUrl } from './ownNames.ts';

type Resolved = { url: string; shortCircuit?: boolean };
type Next = (specifier: string, context: unknown) => Promise<Resolved>;

export async function resolve(specifier: string, context: unknown, next: Next): Promise<Resolved> {
  const url = ownUrl(specifier, context);
  return url === undefined ? next(specifier, context) : { url, shortCircuit: true };
}
