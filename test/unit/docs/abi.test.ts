// docs/abi.md says what the source says.
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CONTROL_SLOTS, CONTROL_WORDS } from '../../../src/rings/portRings.ts';
import { LAYOUT_NUMBERS, PUBLISH_EVERY, RING_SLOTS } from '../../../src/rings/layout.ts';
import { T_BELL, T_COMMAND, T_COUNTERS, T_LISTENERS, T_NAME, T_NOW_US, T_TID, THREADS_AT } from '../../../src/rings/control.ts';

const page = readFileSync(new URL('../../../../docs/abi.md', import.meta.url), 'utf8');

test('the table of numbers is the one that native code asserts', () => {
  const rows = [...page.matchAll(/^\| `([A-Z0-9_]+)` \| (-?\d+) \|$/gm)].map((m) => [m[1]!, Number(m[2])] as const);
  assert.equal(
    rows,
    LAYOUT_NUMBERS.map(([name, value]) => [name, value]),
  );
});

test('every descriptor flag is explained', () => {
  for (const [name] of LAYOUT_NUMBERS) if (/^F_/.test(name)) assert.match(page, new RegExp(`^\\| [^|]*\`${name}\``, 'm'), name);
});

test('words named in the text', () => {
  assert.match(page, new RegExp(`^\\| ${RING_SLOTS}\\.\\. \\| slots`, 'm'));
  assert.match(page, new RegExp(`at least every ${PUBLISH_EVERY} slots`));
  assert.match(page, new RegExp(`\\| ${CONTROL_WORDS}-word message \\| ${CONTROL_SLOTS} \\|`));
  assert.match(page, new RegExp(`Records start at byte ${THREADS_AT}`));
  for (const [word, text] of [
    [T_COMMAND, 'command'],
    [`${T_TID}, ${T_TID + 1}`, 'kernel thread id'],
    [`${T_NOW_US}, ${T_NOW_US + 1}`, 'nowUs, nowMs'],
    [T_LISTENERS, 'listening sockets'],
    [`${T_NAME}..${T_BELL - 1}`, 'name'],
    [`${T_BELL}..${T_COUNTERS - 1}`, 'doorbell'],
    [`${T_COUNTERS}..`, 'counters'],
  ] as const) {
    assert.match(page, new RegExp(`^\\| ${String(word).replaceAll('.', '\\.')} \\| ${text}`, 'm'), text);
  }
});

test.run();
