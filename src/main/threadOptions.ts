/** The options of the process that a thread of ours is started with. */

/**
 * A thread inherits the process's options, loaders included, as long as nothing is said. --input-type it would choke on, for
 * it runs a file; where that is given, the options are named, without it and without those that no thread may name.
 */
export function threadOptions(): { execArgv?: string[] } {
  const given = process.execArgv;
  if (!given.some((o) => o.startsWith('--input-type'))) return {};
  return { execArgv: given.filter((o) => /^--(import|require|loader|experimental-loader|conditions)=/.test(o)) };
}
