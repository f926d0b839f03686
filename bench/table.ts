/** An answer as a table for a terminal. */
import Table from 'cli-table3';
import type { Answer } from './report.ts';

const number = (x: number): string => (Math.abs(x) >= 1000 ? Math.round(x).toLocaleString('en-US') : String(x));

export function table(a: Answer): string {
  const t = new Table({
    head: ['case', 'port', 'unit', 'ours', 'peer', 'ratio', 'to best', 'CPU', 'spread', 'peer is'],
    style: { head: [], border: [] },
    colAligns: ['left', 'left', 'left', 'right', 'right', 'right', 'right', 'right', 'right', 'left'],
  });
  for (const r of a.rows)
    t.push([
      r.case,
      r.port,
      r.unit,
      number(r.ours),
      number(r.peer),
      r.ratio.toFixed(2),
      r.ratioBest.toFixed(2),
      r.cpuRatio === null ? '–' : r.cpuRatio.toFixed(2),
      `${(r.spread * 100).toFixed(1)} %`,
      r.peerName,
    ]);
  const exhibits = (a.exhibits ?? []).map((e) => {
    const x = new Table({ head: [...e.head], style: { head: [], border: [] } });
    for (const row of e.rows) x.push([...row]);
    return `\n${e.title}\n${e.text.join('\n')}\n${x.toString()}`;
  });
  const skipped = a.skipped.map((s) => `skipped: ${s.case}: ${s.reason}`);
  return [
    ...(a.rows.length > 0 ? [t.toString()] : []),
    ...exhibits,
    ...skipped,
    'ratio: ours / peer; larger is better, except for µs, instructions and CPU',
  ].join('\n');
}
