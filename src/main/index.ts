/**
 * The root export, for the main thread: typed configuration, and runtimes opened from code.
 *
 * @example
 * import { open } from 'flowring';
 * const runtime = await open({ nic: 'tap:tap0', address: '192.0.2.2/24', workers: 2 });
 * await runtime.run(new URL('./server.js', import.meta.url));
 * console.log(runtime.figures());
 * await runtime.close();
 */
export { ConfigError, PrivilegeError } from './config/configError.ts';
export { type Config, type ConfigInput, defineConfig } from './config/schema.ts';
export { open, type OpenRuntime } from './openFromCode.ts';
export type { ThreadFigures } from './figures.ts';
