/** A copy of the built package in a directory of its own, in which one file is then another: the same program, one part changed. */
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** dist/test/cli/ is three levels below the package. */
export const REPOSITORY = fileURLToPath(new URL('../../../', import.meta.url));

export class PackageCopy {
  readonly root = mkdtempSync(join(tmpdir(), 'flowring-copy-'));

  constructor() {
    for (const part of ['package.json', 'bin', 'dist/src', 'extras/examples']) {
      cpSync(join(REPOSITORY, part), join(this.root, part), { recursive: true });
    }
    for (const part of ['node_modules', 'build', 'scripts']) {
      if (existsSync(join(REPOSITORY, part))) symlinkSync(join(REPOSITORY, part), join(this.root, part));
    }
  }

  /** Puts `to` where `from` stood, which must be there exactly once. */
  replace(path: string, from: string, to: string): void {
    const at = join(this.root, path);
    const pieces = readFileSync(at, 'utf8').split(from);
    if (pieces.length !== 2) throw new Error(`${path} holds ${JSON.stringify(from)} ${pieces.length - 1} times, not once`);
    writeFileSync(at, pieces.join(to));
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}
