// Options of the examples: what follows `--` on the command line of `flowring run`, read with node:util's parseArgs.
// A mistake ends the run with one line and exit code 2: FLOWRING_USAGE is what the runner knows as the user's error.
import { parseArgs } from 'node:util';
import { FlowringError, parseAddress } from 'flowring/mtcp';

export function usageError(text) {
  return Object.assign(new FlowringError('FLOWRING_USAGE', text), { exitCode: 2 });
}

/** Values of the options in `spec`, node:util's form. `usage` is shown with every mistake. */
export function readOptions(usage, spec) {
  try {
    return parseArgs({ options: spec }).values;
  } catch (error) {
    throw usageError(`${error.message.split('. ')[0]}. Usage: ${usage}`);
  }
}

/** The number an option gives, or undefined when it was left out. */
export function number(values, name, min, max = Number.MAX_SAFE_INTEGER) {
  const text = values[name];
  if (text === undefined) return undefined;
  const n = Number(text);
  if (text === '' || !(n >= min && n <= max)) throw usageError(`--${name} ${text}: must be a number from ${min} to ${max}`);
  return n;
}

/** The same, whole numbers only. */
export function integer(values, name, min, max = Number.MAX_SAFE_INTEGER) {
  const n = number(values, name, min, max);
  if (n !== undefined && !Number.isInteger(n)) throw usageError(`--${name} ${values[name]}: must be a whole number`);
  return n;
}

/** '192.0.2.1:80' or ':80' or '80' → { address, port }, the address as int32, 0 where there is none. */
export function endpoint(text, name) {
  const [, ip, port] = /^(?:([0-9.]*):)?([0-9]{1,5})$/.exec(text) ?? [];
  if (port === undefined || Number(port) < 1 || Number(port) > 65535) {
    throw usageError(`--${name} ${text}: must be a port, or ADDRESS:PORT such as 192.0.2.1:7`);
  }
  return { address: ip ? parseAddress(ip) : 0, port: Number(port) };
}

/** Where a client connects to: '192.0.2.1:80' → { address, port }. */
export function peer(text, name) {
  if (!text) throw usageError(`--${name} is missing: say ADDRESS:PORT, as --${name} 192.0.2.1:7`);
  const to = endpoint(text, name);
  if (to.address === 0) throw usageError(`--${name} ${text}: has no address; say ADDRESS:PORT, as --${name} 192.0.2.1:${to.port}`);
  return to;
}

/** This worker's part of `total` things: each worker runs the program, the first ones take one more when it does not divide. */
export function share(total, worker, workers) {
  return Math.floor(total / workers) + (worker < total % workers ? 1 : 0);
}
