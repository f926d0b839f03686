/**
 * The command line: `flowring run | demo | doctor | top | netstat`. This file parses, loads the configuration and turns whatever is
 * thrown into a line and an exit code; the commands are in files of their own, imported when used.
 *
 * Exit codes: 0 fine, also after a drain; 1 a failed run, check or audit; 2 configuration, usage or privilege, one line
 * on stderr; 130/143 when forced by a second signal.
 */
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { resolve } from 'node:path';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { ConfigError } from '../config/configError.ts';
import { helpKeys, printConfig, printConfigJson } from '../config/describe.ts';
import { type LoadOptions, loadConfig, type ResolvedConfig } from '../config/load.ts';
import { checkAddressOwnership, checkPrivileges } from '../config/ownership.ts';
import { allSpecs, type ConfigInput } from '../config/schema.ts';
import { resolveModule } from './modulePath.ts';

/** What `run` is given: a configuration that is valid by itself; opening the port checks the machine. */
export interface RunOptions {
  config: ResolvedConfig;
  /** file: URL of the user's module. */
  module: string;
  /** What followed `--`. */
  args: readonly string[];
}

/** What `demo` is given. */
export interface DemoOptions {
  config: ResolvedConfig;
  /** What `config` was loaded from: loadConfig({ ...load, code }) puts other defaults under it. */
  load: LoadOptions;
  seconds: number;
  /** Client stacks, connections of each, bytes of a message. */
  clients: number;
  connections: number;
  size: number;
  json: boolean;
}

/** A command's end: the exit code. */
export type Exit = Promise<number>;

const CONFIGURED = allSpecs().filter((s) => s.flag !== undefined);

/** Adds --config, --set and the options that the schema gives keys of their own. */
function withConfig(command: Command): Command {
  command.option('--config <file>', 'configuration file: JSON with comments, or key = value lines');
  for (const spec of CONFIGURED) command.option(spec.flag!, spec.help);
  command.option('--set <key=value>', 'sets any key; may be repeated', (one: string, all: string[]) => [...all, one], [] as string[]);
  return command.addHelpText('after', `\n${helpKeys()}`);
}

type Raw = Record<string, unknown>;

/** A configuration written as a module: its `config` export, or its default one. */
async function codeOf(file: string): Promise<ConfigInput> {
  let module: { config?: ConfigInput; default?: ConfigInput };
  try {
    module = (await import(pathToFileURL(resolve(file)).href)) as typeof module;
  } catch (e) {
    throw new ConfigError(`cannot load the configuration: ${(e as Error).message.split('\n')[0]}`, file);
  }
  const config = module.config ?? module.default;
  if (typeof config !== 'object' || config === null)
    throw new ConfigError('exports no config; write: export const config = defineConfig({ … })', file);
  return config;
}

async function loadOptionsOf(raw: Raw): Promise<LoadOptions> {
  const file = raw.config as string | undefined;
  const flags = Object.fromEntries(CONFIGURED.map((s) => [s.key, raw[s.key] as string | undefined]));
  const sets = raw.set as string[];
  if (file !== undefined && /\.[cm]?[jt]s$/.test(file)) return { code: await codeOf(file), codePlace: file, flags, sets };
  return { file, flags, sets };
}

const say = (line: string): void => void process.stderr.write(`flowring: ${line}\n`);

async function configured(raw: Raw): Promise<{ load: LoadOptions; config: ResolvedConfig }> {
  const load = await loadOptionsOf(raw);
  const config = loadConfig(load);
  for (const warning of config.warnings) say(warning);
  return { load, config };
}

function print(config: ResolvedConfig, json: boolean): number {
  process.stdout.write(`${json ? printConfigJson(config) : printConfig(config)}\n`);
  return 0;
}

async function run(module: string | undefined, args: string[], raw: Raw): Exit {
  const { config } = await configured(raw);
  if (raw.printConfig === true) return print(config, raw.json === true);
  if (module === undefined) throw new ConfigError('missing the module or example to run, as: flowring run echo-server');
  const url = resolveModule(module);
  // before anything is loaded or opened, so that these lines do not depend on the addon
  checkPrivileges(config.values, config.origin('nic'));
  checkAddressOwnership(config.values, undefined, config.origin('address'));
  const { runCommand } = await import('./run.ts');
  return runCommand({ config, module: url, args });
}

async function demo(raw: Raw): Exit {
  const { load, config } = await configured(raw);
  const json = raw.json === true;
  const { demoCommand, serverConfig } = await import('./demo.ts');
  if (raw.printConfig === true) return print(serverConfig({ config, load }), json);
  const { seconds, clients, connections, size } = raw as { seconds: number; clients: number; connections: number; size: number };
  return demoCommand({ config, load, seconds, clients, connections, size, json });
}

function positive(text: string): number {
  const n = Number(text);
  if (!(n > 0) || n > 86400) throw new InvalidArgumentError('It wants a number above 0 and up to 86400.');
  return n;
}

const whole =
  (most: number) =>
  (text: string): number => {
    const n = Number(text);
    if (!Number.isInteger(n) || n < 1 || n > most) throw new InvalidArgumentError(`It wants a whole number from 1 to ${most}.`);
    return n;
  };

function pid(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('It wants a process id.');
  return Number(text);
}

function version(): string {
  // dist/src/main/cli/ is four levels below the package
  const text = readFileSync(new URL('../../../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** The parser; `done` is given each command's end. Exported for tests. */
export function program(done: (exit: Exit) => void): Command {
  const root = new Command('flowring').description('A user-level TCP/IP stack for Node.js').version(version());
  const json = (text: string): Option => new Option('--json', text);
  withConfig(root.command('run'))
    .description('run a module, or an example by name, beside the stack of every worker')
    .argument('[module]', 'path of an ES module, or the name of an example')
    .argument('[args...]', 'after --: process.argv.slice(2) of the module')
    .option('--print-config', 'print every value and where it came from, and end')
    .addOption(json('with --print-config: print one object'))
    .action((module: string | undefined, args: string[], raw: Raw) => done(run(module, args, raw)));
  withConfig(root.command('demo'))
    .description('servers and clients over the in-memory switch, with figures per thread (npm start)')
    .option('--seconds <n>', 'seconds of measured traffic', positive, 10)
    .option('--clients <n>', 'client stacks, each on a thread of its own (1..22)', whole(22), 2)
    .option('--connections <n>', 'connections of each client (1..10000)', whole(10000), 32)
    .option('--size <bytes>', 'bytes of a message (1..65536)', whole(65536), 1024)
    .option('--print-config', 'print every value and where it came from, and end')
    .addOption(json('the last line of stdout is one object; progress goes to stderr'))
    .action((raw: Raw) => done(demo(raw)));
  withConfig(root.command('doctor'))
    .description('what this machine lacks to run with these options, each line with the fix; exit 1 if it cannot')
    .addOption(json('print one object'))
    .action((raw: Raw) =>
      done(
        Promise.all([import('./doctor.ts'), loadOptionsOf(raw)]).then(([d, load]) => d.doctorCommand({ load, json: raw.json === true })),
      ),
    );
  root
    .command('top')
    .description('figures per thread of a running process')
    .argument('[pid]', 'the process; the only one running by default', pid)
    .addOption(new Option('--pid <pid>', 'the same').argParser(pid).hideHelp())
    .option('--once', 'measure once and end')
    .option('--interval <seconds>', 'seconds between two looks (default 1, with --once 0.5)', positive)
    .addOption(json('print objects, one a line'))
    .action((process: number | undefined, raw: Raw) => {
      const seconds = (raw.interval as number | undefined) ?? (raw.once === true ? 0.5 : 1);
      const options = { pid: process ?? (raw.pid as number | undefined), once: raw.once === true, json: raw.json === true, seconds };
      done(import('./top.ts').then((t) => t.topCommand(options)));
    });
  root
    .command('netstat')
    .description('sockets of all workers of a running process')
    .argument('[pid]', 'the process; the only one running by default', pid)
    .option('--listening', 'listeners only')
    .option('--tcp', 'TCP sockets only')
    .option('--udp', 'UDP sockets only')
    .option('--statistics', 'counters, and drops by reason, instead')
    .addOption(json('print one object: sockets and statistics'))
    .action((process: number | undefined, raw: Raw) => {
      const both = raw.tcp === raw.udp;
      const filter = { tcp: both || raw.tcp === true, udp: both || raw.udp === true, listening: raw.listening === true };
      const options = { pid: process, json: raw.json === true, statistics: raw.statistics === true, filter };
      done(import('./netstat.ts').then((n) => n.netstatCommand(options)));
    });
  for (const command of [root, ...root.commands]) {
    command.exitOverride();
    command.configureOutput({ outputError: () => undefined });
    command.showSuggestionAfterError(true);
  }
  return root;
}

/** The exit code of an error, after saying it on stderr: one line for what the user can mend, the stack for the rest. */
function report(error: unknown): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0;
    // without a command commander has printed the help, to stderr
    if (error.code !== 'commander.help') say(error.message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' '));
    return 2;
  }
  const e = error as { message?: string; code?: unknown; exitCode?: unknown; stack?: string };
  const ours = typeof e?.code === 'string' && e.code.startsWith('FLOWRING_');
  const refused = e?.code === 'EPERM' || e?.code === 'EACCES';
  if (!ours && !refused) {
    say(e?.stack ?? String(error));
    return 1;
  }
  say(String(e.message).replace(/\s*\n\s*/g, ' '));
  return typeof e.exitCode === 'number' ? e.exitCode : refused ? 2 : 1;
}

/** Parses `argv` (node's own: executable, script, then the words), runs the command and sets `process.exitCode`. */
export async function main(argv: readonly string[]): Promise<void> {
  // `flowring top | head`: a closed pipe is the reader's choice, not an error
  process.stdout.on('error', (e: NodeJS.ErrnoException) => process.exit(e.code === 'EPIPE' ? 0 : 1));
  let exit: Exit = Promise.resolve(0);
  try {
    program((e) => {
      exit = e;
    }).parse(argv as string[]);
    process.exitCode = await exit;
  } catch (error) {
    process.exitCode = report(error);
  }
}
