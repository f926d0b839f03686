/** The programs of docs/mtcp.md run as they stand there: the server echoes, the client greets it and prints the answer. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { injectContext } from '../../../src/api/context.ts';
import * as mtcp from '../../../src/api/mtcp.ts';
import { FakeLink } from '../api/fakeLink.ts';
import { FakeWorker } from '../api/fakeWorker.ts';
import { outcomeOf } from './program.ts';

const page = readFileSync(new URL('../../../../docs/mtcp.md', import.meta.url), 'utf8');
// Within the package, so that `flowring/mtcp` means this one
const directory = mkdtempSync(join(fileURLToPath(new URL('.', import.meta.url)), 'docs-'));

async function runText(name: string, text: string, worker: FakeWorker): Promise<void> {
  const file = join(directory, `${name}.mjs`);
  writeFileSync(file, text);
  injectContext(worker);
  await import(file);
}

test('the server and the client of the page', async () => {
  const programs = [...page.matchAll(/```js\n(.*?)```/gs)].map((m) => m[1]!);
  assert.is(programs.length, 2);
  const [server, client] = [new FakeWorker(), new FakeWorker()];
  await runText('server', programs[0]!, server);
  const link = new FakeLink(client, server, 1);
  const { lines } = await outcomeOf(() => runText('client', programs[1]!, client));
  assert.equal(lines.join(''), 'hello');
  assert.is(client.stopped, 1);
  link.client.sockets.close(0);
  for (let i = 0; i < 9; i++) link.turn();
  assert.is(server.sockets.inUse(), 1, 'the server closed its side: only the listener is left');
});

test('every function that is exported stands on the page, with the names the module has', () => {
  for (const [name, value] of Object.entries(mtcp)) {
    if (typeof value === 'function' && name !== 'formatAddress') assert.ok(page.includes(`${name}(`) || page.includes(`\`${name}`), name);
  }
  for (const [, name] of page.matchAll(/mtcp\.([A-Za-z_]+)/g)) assert.ok(name! in mtcp, name);
});

test.after(() => rmSync(directory, { recursive: true }));
test.run();
