/** The names by which programs import this package, and the files that answer. */
export const OWN_NAMES: Readonly<Record<string, URL>> = {
  flowring: new URL('../main/index.js', import.meta.url),
  'flowring/background': new URL('../api/background.js', import.meta.url),
  'flowring/mtcp': new URL('../api/mtcp.js', import.meta.url),
  // dist/src/workers/ is three levels below the package
  'flowring/package.json': new URL('../../../package.json', import.meta.url),
};

/**
 * The file behind one of our names; undefined for everybody else's. Throws for a name within this package that there is not,
 * as Node does for a package that is installed: that ours is not need not be the program's concern.
 */
export function ownUrl(specifier: string, context: unknown): string | undefined {
  const own = OWN_NAMES[specifier];
  if (own !== undefined || !specifier.startsWith('flowring/')) return own?.href;
  const from = (context as { parentURL?: string } | undefined)?.parentURL;
  throw Object.assign(
    new Error(
      `there is no "${specifier}"; there are ${Object.keys(OWN_NAMES).join(', ')}${from === undefined ? '' : `; imported from ${from}`}`,
    ),
    { code: 'ERR_PACKAGE_PATH_NOT_EXPORTED' },
  );
}
