/**
 * docs/mtcp.md as a program: the server echoes, the client greets it and prints the answer, and every block of the calls by
 * example runs against that server over simulated hosts, giving at each arrow what stands behind it.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { WorkerContext } from '../../../src/api/context.ts';
import { injectContext } from '../../../src/api/context.ts';
import * as mtcp from '../../../src/api/mtcp.ts';
import { contextOf } from '../../sim/contexts.ts';
import { Simulation } from '../../sim/simulation.ts';
import { outcomeOf, runProgram } from './program.ts';

const SEED = Number(process.env.SEED ?? Date.now() & 0xffff);
console.log(`SEED=${SEED}`);

const page = readFileSync(new URL('../../../../docs/mtcp.md', import.meta.url), 'utf8');
const [server, client, begin, ...blocks] = [...page.matchAll(/```js\n(.*?)```/gs)].map((m) => m[1]!);
// Within the package, so that `flowring/mtcp` means this one
const directory = mkdtempSync(join(fileURLToPath(new URL('.', import.meta.url)), 'docs-'));
let files = 0;

async function runText(text: string, worker: WorkerContext): Promise<void> {
  const file = join(directory, `block${++files}.mjs`);
  writeFileSync(file, text);
  injectContext(worker);
  await import(file);
}

/** `call; // → value: remark` becomes a check; a declaration keeps its name. */
const ARROW = /^((?:const|let) \w+ = )?(.*);\s+\/\/ → ([^:]+?)(?:: .*)?$/gm;
const checked = (text: string): string =>
  text.replace(ARROW, (line, name: string | undefined, call: string, value: string) => {
    return `${name ?? ''}globalThis.arrow(${call}, ${value}, ${JSON.stringify(line)});`;
  });

let arrows = 0;
Object.assign(globalThis, {
  arrow: (got: unknown, wanted: unknown, line: string): unknown => {
    arrows++;
    assert.equal(got, wanted, `${line}\ngave ${typeof got === 'number' && got < 0 ? mtcp.errnoName(got) : got}`);
    return got;
  },
});

async function hosts(): Promise<{ sim: Simulation; asking: ReturnType<typeof contextOf> }> {
  const sim = new Simulation({ seed: SEED, hosts: 3 });
  await runText(server!, contextOf(sim, sim.host(0)));
  await runProgram('udp-echo', contextOf(sim, sim.host(2)), ['--quiet']);
  // A worker has had breaths, and with them frames to send, when its program is imported
  sim.run(10);
  return { sim, asking: contextOf(sim, sim.host(1)) };
}

test('the server and the client of the page', async () => {
  const { sim, asking } = await hosts();
  const { lines } = await outcomeOf(() => runText(client!, asking));
  assert.equal(lines.join(''), 'hello');
  assert.ok(asking.ended);
  sim.run(20_000);
  assert.is(sim.host(0).workers[0]!.sockets.inUse(), 1, 'the server closed its side: only the listener is left');
});

for (const [i, block] of blocks.entries()) {
  test(`block ${i + 1}: ${/mtcp\.\w+|\w+/.exec(block)![0]} …`, async () => {
    const { asking } = await hosts();
    const [wanted, before] = [block.split('// →').length - 1, arrows];
    await runText(`${begin}\n${checked(block)}`, asking);
    assert.is(arrows - before, wanted, 'arrows that were compared');
    assert.ok(wanted > 0);
  });
}

test('every function that is exported stands in a block, and all names exist', () => {
  const code = [server, client, begin, ...blocks].join('\n');
  for (const [name, value] of Object.entries(mtcp)) {
    if (typeof value === 'function' && !/^[A-Z]/.test(name)) assert.ok(code.includes(`mtcp.${name}(`), name);
  }
  for (const [, name] of page.matchAll(/mtcp\.([A-Za-z_]+)/g)) assert.ok(name! in mtcp || name === 'md', name);
});

test.after(() => rmSync(directory, { recursive: true }));
test.run();
