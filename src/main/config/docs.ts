/** `npm run docs:config`: writes docs/config.md and docs/config.schema.json from the schema. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { configJsonSchema, configMarkdown } from './describe.ts';

// dist/src/main/config/ is four levels below the package
const docs = fileURLToPath(new URL('../../../../docs/', import.meta.url));
mkdirSync(docs, { recursive: true });
writeFileSync(`${docs}config.md`, configMarkdown());
writeFileSync(`${docs}config.schema.json`, configJsonSchema());
process.stderr.write('wrote docs/config.md and docs/config.schema.json\n');
