/**
 * What a bench is made of: questions, the rows of their answers, and what a question is given to answer with. One file a question;
 * questions.ts lists them.
 */

export type PortName = 'switch' | 'tap' | 'packet';
export const PORTS: readonly PortName[] = ['switch', 'tap', 'packet'];

/** One figure of ours beside one of a peer's. This is the contract of `--json`: names stay. */
export interface Row {
  /** The work: echo 64, bulk 1, http keep-alive … */
  case: string;
  port: PortName | 'none';
  /** Larger is better, except for µs and instructions. */
  unit: string;
  /** Medians over the rounds. */
  ours: number;
  peer: number;
  peerName: string;
  /** Median of ours over the peer's median. */
  ratio: number;
  /** Median of ours over the peer's best round. */
  ratioBest: number;
  /** CPU of the server per operation, ours over the peer's; null where nobody serves or it cannot be told. */
  cpuRatio: number | null;
  /** The larger of the two relative spreads: median absolute deviation of the rounds over their median. */
  spread: number;
  /** 95 % interval of the ratio of paired rounds; null of a single round, and of a count. */
  interval: readonly [number, number] | null;
}

/** A further table of an answer, beside its rows: a trace, costs, a model. Cells are text. */
export interface Exhibit {
  title: string;
  /** What it shows and how it was measured: paragraphs of the document, before the table. */
  text: readonly string[];
  head: readonly string[];
  rows: readonly (readonly string[])[];
}

export interface Skipped {
  case: string;
  reason: string;
}

/** The two CPUs of a run; -1 where programs are not pinned. */
export interface Cores {
  server: number;
  client: number;
}

/** What a question is asked with. */
export interface Plan {
  /** Of one round of one side. */
  seconds: number;
  rounds: number;
  /** How long each side works before it is measured. */
  warmSeconds: number;
  /** Ports to look at. A question without ports gives rows of port `none` and ignores this. */
  ports: readonly PortName[];
  cores: Cores;
  /** Configuration of ours, KEY=VALUE, beside the defaults. */
  sets: readonly string[];
  /** Progress, a line on stderr. */
  say(line: string): void;
}

/** Where a question writes its answer. */
export class Sheet {
  readonly rows: Row[] = [];
  readonly skipped: Skipped[] = [];
  readonly exhibits: Exhibit[] = [];
  /** A case gave wrong answers, or broke: the exit code is 1. */
  failed = false;

  skip(what: string, reason: string): void {
    this.skipped.push({ case: what, reason });
  }

  fail(what: string, reason: string): void {
    this.failed = true;
    this.skip(what, `failed: ${reason}`);
  }
}

export interface Question {
  name: string;
  /** One line: what it asks. */
  asks: string;
  /** How it is measured, for the reader of docs/benchmarks.md: one paragraph. */
  method: string;
  /** Defaults of --seconds and --rounds; the whole question stays within eight minutes. */
  seconds: number;
  rounds: number;
  run(plan: Plan, sheet: Sheet): Promise<void>;
}
