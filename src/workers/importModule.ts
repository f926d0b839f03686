/**
 * Imports the user's program. A program that owns its loop runs while its module is evaluated, and `import()` evaluates
 * modules from a microtask, inside which V8 runs no further microtasks: its promises would wait until the loop ends. So it
 * is loaded by `require` from a macrotask where the runtime can require ES modules (Node 20.19, 22.12 and later), and by
 * `import()` elsewhere and where it has a top-level await.
 */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { OWN_NAMES } from './ownNames.ts';
import { installResolver, RESOLVER_TAKES_THREAD } from './resolver.ts';

/** Not evaluated yet: `import()` may still do it. */
const ELSEWHERE = new Set([
  'ERR_REQUIRE_ESM',
  'ERR_REQUIRE_ASYNC_MODULE',
  'ERR_MODULE_NOT_FOUND',
  'MODULE_NOT_FOUND',
  'ERR_PACKAGE_PATH_NOT_EXPORTED',
]);

/** Whether a module finds this very package by Node's own rules: its own module, or one that has it in its node_modules. */
function findsUs(module: string): boolean {
  const name = 'flowring/mtcp';
  try {
    return createRequire(module).resolve(name) === fileURLToPath(OWN_NAMES[name]!);
  } catch {
    return false;
  }
}

/** Resolves when the module has been evaluated; rejects with what it threw. */
export async function importModule(url: string): Promise<void> {
  // A program that finds us needs no answer: the start of a worker is spared a thread, some 40 of its 250 ms of CPU.
  if (!RESOLVER_TAKES_THREAD || !findsUs(url)) installResolver();
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
  if (required) return;
  installResolver();
  await import(url);
}
