// What failed, in one line each, out of what a test file or an inner run printed.

const MESSAGE_MAX = 400;
const LINES_MAX = 12;

/** uvu's report of a test: its name in a line, then the message and what differs, then where. */
const BLOCK = /^ +FAIL +(?:(\S.*) +)?"(.*)"$/;
const PLACE = /^\s+at /;
const INNER = /^FAILED (.*)$/;

const oneLine = (lines) => {
  const text = lines
    .map((l) => l.trim())
    .filter((l) => l !== '')
    .slice(0, LINES_MAX)
    .join(' | ');
  return text.length > MESSAGE_MAX ? `${text.slice(0, MESSAGE_MAX)}…` : text;
};

/**
 * Lines `FAILED <name> "<test>": <message>`. Those of inner runs are passed on with the name in front; a failure that no test tells
 * is told by `why` and the last lines printed.
 */
export function failures(name, why, output) {
  const lines = output.split('\n');
  const found = [];
  for (let i = 0; i < lines.length; i++) {
    const inner = INNER.exec(lines[i]);
    if (inner !== null) found.push(`FAILED ${name} ${inner[1]}`);
    const block = BLOCK.exec(lines[i]);
    if (block === null) continue;
    const from = i + 1;
    while (i + 1 < lines.length && !PLACE.test(lines[i + 1]) && !BLOCK.test(lines[i + 1])) i++;
    const suite = block[1] === undefined ? '' : `${block[1].trim()} `;
    found.push(`FAILED ${name} ${suite}"${block[2]}": ${oneLine(lines.slice(from, i + 1))}`);
  }
  if (found.length > 0) return found;
  const said = oneLine(lines.filter((l) => l.trim() !== '').slice(-5));
  return [`FAILED ${name}: ${[why, said].filter((t) => t !== '').join(': ')}`];
}
