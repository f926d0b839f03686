// Runs benches one after the other: all of bench/, or those that are named.
//
//   npm run bench
//   npm run bench -- rings
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** Not a question of its own. */
const SHARED = new Set(['environment']);
const all = readdirSync(`${ROOT}bench`)
  .filter((f) => f.endsWith('.ts'))
  .map((f) => f.slice(0, -3))
  .filter((f) => !SHARED.has(f))
  .sort();
const chosen = process.argv.slice(2);
const unknown = chosen.find((name) => !all.includes(name));
if (unknown !== undefined) {
  process.stderr.write(`bench: no bench "${unknown}"; there are ${all.join(', ')}\n`);
  process.exit(2);
}
for (const name of chosen.length > 0 ? chosen : all) {
  const r = spawnSync(process.execPath, [`${ROOT}dist/bench/${name}.js`], { stdio: 'inherit' });
  if (r.status !== 0) process.exit(r.status ?? 1);
  process.stdout.write('\n');
}
