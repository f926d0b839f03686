/**
 * Imports the user's program. A program that owns its loop runs while its module is evaluated, and `import()` evaluates
 * modules from a microtask, inside which V8 runs no further microtasks: its promises would wait until the loop ends. So it
 * is loaded by `require` from a macrotask where the runtime can require ES modules (Node 20.19, 22.12 and later), and by
 * `import()` elsewhere and where it has a top-level await.
 */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/** Not evaluated yet: `import()` may still do it. */
const ELSEWHERE = new Set([
  'ERR_REQUIRE_ESM',
  'ERR_REQUIRE_ASYNC_MODULE',
  'ERR_MODULE_NOT_FOUND',
  'MODULE_NOT_FOUND',
  'ERR_PACKAGE_PATH_NOT_EXPORTED',
]);

/** Resolves when the module has been evaluated; rejects with what it threw. */
export async function importModule(url: string): Promise<void> {
  const required = await new Promise<boolean>((done, fail) => {
    setImmediate(() => {
      try {
        createRequire(url)(fileURLToPath(url));
        done(true);
      } catch (error) {
        if (ELSEWHERE.has((error as NodeJS.ErrnoException | null)?.code ?? '')) done(false);
        else fail(error);
      }
    });
  });
  if (!required) await import(url);
}
