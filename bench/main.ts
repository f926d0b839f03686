/**
 * `npm run bench`: asks questions, prints their answers.
 *
 * Exit codes: 0 every case that could run did, 1 a case failed (a wrong answer, a broken connection, a server that ended) or
 * `--check` found a row below its baseline or no sound baseline, 2 usage.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { BaselineError, check, type Finding, findingLine, readBaseline } from './check.ts';
import { loadConfig } from '../src/main/config/load.ts';
import { chooseCores, describeEnvironment, environmentOf } from './environment.ts';
import { isEnding, ROOT } from './program.ts';
import { type Plan, PORTS, type PortName, type Question, Sheet } from './question.ts';
import { QUESTIONS } from './questions.ts';
import { type Answer, report, scalingDocument } from './report.ts';
import { table } from './table.ts';
import { readProfiles } from './targets.ts';

const DOCUMENT = join(ROOT, 'docs/benchmarks.md');
const SCALING = join(ROOT, 'docs/scaling.md');
const RESULTS = join(ROOT, 'bench/results');

const USAGE = `npm run bench -- QUESTION… | all [options]
  --json            the last line of stdout is the whole answer, one object (several questions: a line each)
  --seconds S       of one round of one side (0.1 to 60)
  --rounds N        rounds a side, in turn (1 to 100)
  --warm S          how long each side works before it is measured, default 3
  --port PORT       switch, tap or packet; may be given several times; default all
  --set KEY=VALUE   configuration of ours, as in flowring run; may be given several times
  --out DIR         writes DIR/QUESTION.json too; with all, docs/benchmarks.md is made anew from DIR
  --report          only makes docs/benchmarks.md and docs/scaling.md anew from bench/results
  --check           holds the answer against the baseline: exit code 1 when the 95 % interval of a row's paired ratio lies wholly
                    below 0.85 of the baseline's, or a count is more than 5 % above it
  --baseline DIR    where the baselines are, default bench/results
`;

class UsageError extends Error {}

interface Options {
  questions: readonly Question[];
  all: boolean;
  json: boolean;
  seconds: number | null;
  rounds: number | null;
  warm: number;
  ports: readonly PortName[];
  sets: readonly string[];
  out: string | null;
  report: boolean;
  check: boolean;
  baseline: string;
}

function numberOf(text: string | undefined, name: string, min: number, max: number, whole: boolean): number | null {
  if (text === undefined) return null;
  const n = Number(text);
  if (text === '' || !(n >= min && n <= max) || (whole && !Number.isInteger(n)))
    throw new UsageError(`--${name} ${text}: must be a ${whole ? 'whole ' : ''}number from ${min} to ${max}`);
  return n;
}

function questionsOf(names: readonly string[]): Question[] {
  if (names.includes('all')) return [...QUESTIONS];
  return names.map((name) => {
    const q = QUESTIONS.find((x) => x.name === name);
    if (q === undefined) throw new UsageError(`no question "${name}"; there are ${QUESTIONS.map((x) => x.name).join(', ')}, and all`);
    return q;
  });
}

/** What a check without names asks. */
function questionsWithBaseline(directory: string): Question[] {
  const asked = QUESTIONS.filter((q) => existsSync(join(directory, `${q.name}.json`)));
  if (asked.length === 0) throw new UsageError(`no baseline in ${directory}`);
  return asked;
}

function portsOf(names: readonly string[]): PortName[] {
  const unknown = names.find((p) => !(PORTS as readonly string[]).includes(p));
  if (unknown !== undefined) throw new UsageError(`--port ${unknown}: must be one of ${PORTS.join(', ')}`);
  return PORTS.filter((p) => names.length === 0 || names.includes(p));
}

/** Checked here, so that a mistake is one line of usage and not a failed case. */
function setsOf(sets: readonly string[]): readonly string[] {
  try {
    loadConfig({ code: { layout: 'inline', workers: 1, address: '192.0.2.2/24' }, sets: [...sets] });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  return sets;
}

function optionsOf(args: string[]): Options {
  const one = { type: 'string' as const };
  const flag = { type: 'boolean' as const, default: false };
  const spec = {
    json: flag,
    report: flag,
    check: flag,
    baseline: one,
    seconds: one,
    rounds: one,
    warm: one,
    out: one,
    port: { ...one, multiple: true as const },
    set: { ...one, multiple: true as const },
  };
  let parsed: ReturnType<typeof parseArgs<{ options: typeof spec; allowPositionals: true }>>;
  try {
    parsed = parseArgs({ args, allowPositionals: true, options: spec });
  } catch (error) {
    throw new UsageError((error as Error).message.split('. ')[0]);
  }
  const { values, positionals } = parsed;
  const baseline = resolve(values.baseline ?? RESULTS);
  const rounds = numberOf(values.rounds, 'rounds', 1, 100, true);
  return {
    questions: values.check && positionals.length === 0 ? questionsWithBaseline(baseline) : questionsOf(positionals),
    all: positionals.includes('all'),
    json: values.json,
    seconds: numberOf(values.seconds, 'seconds', 0.1, 60, false),
    rounds,
    warm: numberOf(values.warm, 'warm', 0, 60, false) ?? 3,
    ports: portsOf(values.port ?? []),
    sets: setsOf(values.set ?? []),
    out: values.out === undefined ? null : resolve(values.out),
    report: values.report,
    check: values.check,
    baseline,
  };
}

async function ask(q: Question, o: Options): Promise<{ answer: Answer; failed: boolean }> {
  const cores = chooseCores();
  const [seconds, rounds] = [o.seconds ?? q.seconds, o.rounds ?? q.rounds];
  const say = (line: string): void => void process.stderr.write(`bench ${q.name}: ${line}\n`);
  const plan: Plan = { seconds, rounds, warmSeconds: o.warm, ports: o.ports, cores, sets: o.sets, say };
  const environment = environmentOf(plan);
  const sheet = new Sheet();
  try {
    await q.run(plan, sheet);
  } catch (error) {
    say(`FAILED: ${(error as Error).stack}`);
    sheet.fail(q.name, (error as Error).message);
  }
  return {
    answer: { question: q.name, environment, rows: sheet.rows, skipped: sheet.skipped, exhibits: sheet.exhibits },
    failed: sheet.failed,
  };
}

function print(q: Question, answer: Answer, json: boolean): void {
  if (json) process.stdout.write(`${JSON.stringify(answer)}\n`);
  else process.stdout.write(`# ${q.name}: ${q.asks}\n${describeEnvironment(answer.environment).join('\n')}\n${table(answer)}\n`);
}

/**
 * Says what of an answer held. False when a row fell; under CI=true also when nothing at all could be compared, since a check that
 * never runs would pass for ever.
 */
function judge(findings: readonly Finding[], o: Options): boolean {
  const of = (verdict: Finding['verdict']): number => findings.filter((f) => f.verdict === verdict).length;
  const lines = [...findings.map(findingLine), `check: ${of('held')} held, ${of('fell')} fell, ${of('not compared')} not compared`];
  (o.json ? process.stderr : process.stdout).write(`${lines.join('\n')}\n`);
  return of('fell') === 0 && (of('held') > 0 || process.env.CI !== 'true');
}

/** Makes docs/benchmarks.md from every answer in a directory. */
function writeReport(directory: string): void {
  const files = readdirSync(directory).filter((f) => f.endsWith('.json'));
  const answers = files.map((f) => JSON.parse(readFileSync(join(directory, f), 'utf8')) as Answer);
  if (answers.length === 0) throw new UsageError(`no results in ${directory}: run npm run bench -- all --json --out bench/results`);
  writeFileSync(DOCUMENT, report(answers, QUESTIONS, readProfiles(directory)));
  process.stderr.write(`bench: wrote ${DOCUMENT}\n`);
  const scaling = answers.find((a) => a.question === 'scaling');
  if (scaling === undefined) return;
  writeFileSync(SCALING, scalingDocument(scaling));
  process.stderr.write(`bench: wrote ${SCALING}\n`);
}

async function main(args: string[]): Promise<number> {
  const o = optionsOf(args);
  if (o.report) {
    writeReport(o.out ?? RESULTS);
    return 0;
  }
  if (o.questions.length === 0) {
    process.stdout.write(`${USAGE}\n${QUESTIONS.map((q) => `  ${q.name.padEnd(8)} ${q.asks}`).join('\n')}\n`);
    return 0;
  }
  const baselines = o.check ? o.questions.map((q) => readBaseline(o.baseline, q.name)) : [];
  let failed = false;
  for (const [i, q] of o.questions.entries()) {
    const a = await ask(q, o);
    if (isEnding()) return 130;
    failed ||= a.failed;
    print(q, a.answer, o.json);
    if (o.check && !judge(check(a.answer, baselines[i]!), o)) failed = true;
    if (o.out === null) continue;
    mkdirSync(o.out, { recursive: true });
    writeFileSync(join(o.out, `${q.name}.json`), `${JSON.stringify(a.answer, null, 2)}\n`);
  }
  if (o.all && o.out !== null) writeReport(o.out);
  return failed ? 1 : 0;
}

process.exitCode = await main(process.argv.slice(2)).catch((error: Error) => {
  const told = error instanceof UsageError || error instanceof BaselineError;
  process.stderr.write(told ? `bench: ${error.message}\n` : `bench: ${error.stack}\n`);
  return error instanceof UsageError ? 2 : 1;
});
