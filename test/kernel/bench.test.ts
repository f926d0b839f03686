// The benches over devices: rows of both ports from one client on the kernel's stack, and nothing left behind, however a run ends.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Answer } from '../../bench/report.ts';
import { missing, REPOSITORY } from './namespace.ts';

const SCRIPT = join(REPOSITORY, 'scripts/bench.mjs');
const SHORT = ['--seconds', '1', '--rounds', '1', '--warm', '0.3'];

/** Namespaces of the run with this process id. */
function namespacesOf(pid: number): string[] {
  const list = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8', timeout: 10_000 }).stdout;
  return list.split('\n').filter((line) => line.startsWith(`flowring-b${pid}-`));
}

/** Processes that a process has started, and theirs. */
function descendants(pid: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc').filter((f) => /^\d+$/.test(f))) {
    try {
      const text = readFileSync(`/proc/${name}/stat`, 'utf8');
      parents.set(Number(name), Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[1]));
    } catch {
      // it has ended meanwhile
    }
  }
  const found = [pid];
  for (const p of found) for (const [child, parent] of parents) if (parent === p) found.push(child);
  return found.slice(1);
}

const t = suite('bench over devices');
const lacks = missing(['ip', 'cc', 'taskset']);

if (lacks.length > 0) process.stdout.write(`SKIP ${lacks.join(', ')}\n`);
else {
  t('udp over tap and packet: every row, every figure, server CPU', () => {
    const args = [SCRIPT, 'udp', '--json', '--port', 'tap', '--port', 'packet', ...SHORT];
    const r = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 120_000 });
    assert.is(r.status, 0, `${r.stdout}${r.stderr}`);
    const a = JSON.parse(r.stdout.trimEnd().split('\n').at(-1)!) as Answer;
    assert.equal(
      a.rows.map((row) => `${row.case}, ${row.port}`),
      ['tap', 'packet'].flatMap((port) => ['udp 64', 'udp 1', 'udp 1 p99'].map((c) => `${c}, ${port}`)),
    );
    assert.equal(a.skipped, []);
    for (const row of a.rows) assert.ok(row.ours > 0 && row.peer > 0 && row.cpuRatio !== null, JSON.stringify(row));
    assert.equal(namespacesOf(r.pid), []);
  });

  t('SIGINT in the middle: exit code 130, no namespace, no process', async () => {
    const child = spawn(process.execPath, [SCRIPT, 'echo', '--port', 'tap', '--seconds', '60'], { stdio: ['ignore', 'pipe', 'pipe'] });
    const bound = setTimeout(() => child.kill('SIGKILL'), 60_000);
    const ended = new Promise<number | null>((done) => child.on('close', done));
    let said = '';
    await new Promise<void>((warming) => {
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        said += text;
        if (said.includes('warming')) warming();
      });
      child.on('close', () => warming());
    });
    // Into the first load.
    await new Promise((done) => setTimeout(done, 700));
    const started = descendants(child.pid!);
    assert.ok(started.length >= 2, `two servers at least, of ${started}: ${said}`);
    assert.is(namespacesOf(child.pid!).length, 2);
    child.kill('SIGINT');
    assert.is(await ended, 130, said);
    clearTimeout(bound);
    assert.equal(namespacesOf(child.pid!), []);
    assert.equal(
      started.filter((pid) => existsSync(`/proc/${pid}`)),
      [],
      said,
    );
  });
}

t.run();
