/** The names by which programs import this package, and the files that answer. */
export const OWN_NAMES: Readonly<Record<string, URL>> = {
  flowring: new URL('../main/index.js', import.meta.url),
  'flowring/background': new URL('../api/background.js', import.meta.url),
  'flowring/mtcp': new URL('../api/mtcp.js', import.meta.url),
};
