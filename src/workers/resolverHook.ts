/** Module resolution hook; runs on the loader's thread. See resolver.ts. */
const OWN: Readonly<Record<string, URL>> = {
  flowring: new URL('../main/index.js', import.meta.url),
  'flowring/mtcp': new URL('../api/mtcp.js', import.meta.url),
};

type Resolved = { url: string; shortCircuit?: boolean };
type Next = (specifier: string, context: unknown) => Promise<Resolved>;

export async function resolve(specifier: string, context: unknown, next: Next): Promise<Resolved> {
  const own = OWN[specifier];
  if (own === undefined) return next(specifier, context);
  return { url: own.href, shortCircuit: true };
}
