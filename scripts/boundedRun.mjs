// Commands with a time bound, each in a process group of its own, so that what it leaves behind ends with it.
import { spawn } from 'node:child_process';

const OUTPUT_BYTES_MAX = 4 << 20;
const groups = new Set();

function killGroup(pid) {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // the group has ended
  }
}

/** Ends what runs, at once: whoever runs commands calls it when it ends itself. */
export function endRunning() {
  for (const pid of groups) killGroup(pid);
}

/**
 * Resolves with `{ code, signal, output, timedOut, seconds }`; `code` is null when a signal ended it, 127 when it could not be
 * started. `echo` is given everything it prints, as it comes; `output` stops at 4 MiB.
 */
export function boundedRun(command, args, { cwd, env, seconds, echo = null }) {
  return new Promise((resolve) => {
    const started = Date.now();
    const child = spawn(command, args, { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    const { pid } = child;
    if (pid !== undefined) groups.add(pid);
    let output = '';
    let timedOut = false;
    const take = (chunk) => {
      if (output.length < OUTPUT_BYTES_MAX) output += chunk;
      echo?.write(chunk);
    };
    child.stdout.setEncoding('utf8').on('data', take);
    child.stderr.setEncoding('utf8').on('data', take);
    const bound = setTimeout(() => {
      timedOut = true;
      killGroup(pid);
    }, seconds * 1000);
    const end = (code, signal) => {
      clearTimeout(bound);
      groups.delete(pid);
      resolve({ code, signal, output, timedOut, seconds: (Date.now() - started) / 1000 });
    };
    child.on('error', (error) => {
      output += `${error.message}\n`;
      end(127, null);
    });
    // What it left running would keep the pipes open: its group ends when it has ended itself.
    child.on('exit', () => killGroup(pid));
    child.on('close', end);
  });
}
