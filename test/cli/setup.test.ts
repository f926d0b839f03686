// scripts/setup.mjs in small trees of its own: what is out of date is made, nothing else, by one process at a time.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const REPOSITORY = fileURLToPath(new URL('../../../', import.meta.url));

/** A tree with one source, this repository's compiler, and no lockfile: nothing is installed from anywhere. */
function tree(): string {
  const root = mkdtempSync(join(tmpdir(), 'flowring-setup-'));
  mkdirSync(join(root, 'scripts'));
  mkdirSync(join(root, 'src'));
  mkdirSync(join(root, 'node_modules'));
  copyFileSync(join(REPOSITORY, 'scripts/setup.mjs'), join(root, 'scripts/setup.mjs'));
  copyFileSync(join(REPOSITORY, 'tsconfig.json'), join(root, 'tsconfig.json'));
  symlinkSync(join(REPOSITORY, 'node_modules/typescript'), join(root, 'node_modules/typescript'));
  symlinkSync(join(REPOSITORY, 'node_modules/@types'), join(root, 'node_modules/@types'));
  writeFileSync(join(root, 'package.json'), '{ "type": "module" }\n');
  writeFileSync(join(root, 'src/a.ts'), 'export const a: number = 1;\n');
  return root;
}

const setup = (root: string): { status: number | null; stdout: string; stderr: string } =>
  spawnSync(process.execPath, [join(root, 'scripts/setup.mjs')], { encoding: 'utf8', timeout: 60_000 });

function inTree(body: (root: string) => void | Promise<void>): () => Promise<void> {
  return async () => {
    const root = tree();
    try {
      await body(root);
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  };
}

const compiled = (root: string): string => readFileSync(join(root, 'dist/src/a.js'), 'utf8');

test(
  'compiles what is missing, says so on stderr only, and is silent the second time',
  inTree((root) => {
    const first = setup(root);
    assert.is(first.status, 0, first.stderr);
    assert.is(first.stdout, '');
    assert.match(first.stderr, /compiling TypeScript/);
    assert.match(compiled(root), /a = 1/);
    const second = setup(root);
    assert.equal([second.status, second.stdout, second.stderr], [0, '', '']);
  }),
);

test(
  'compiles again after an edit, a new file and a deleted output',
  inTree((root) => {
    setup(root);
    writeFileSync(join(root, 'src/a.ts'), 'export const a: number = 22;\n');
    assert.match(setup(root).stderr, /compiling/);
    assert.match(compiled(root), /a = 22/);
    writeFileSync(join(root, 'src/b.ts'), 'export const b = 1;\n');
    assert.match(setup(root).stderr, /compiling/);
    assert.ok(existsSync(join(root, 'dist/src/b.js')));
    rmSync(join(root, 'dist/src/a.js'));
    assert.match(setup(root).stderr, /compiling/);
    assert.match(compiled(root), /a = 22/);
  }),
);

test(
  'a source that does not compile ends in exit 1, and is tried again',
  inTree((root) => {
    writeFileSync(join(root, 'src/a.ts'), "export const a: number = 'x';\n");
    for (let i = 0; i < 2; i++) {
      const r = setup(root);
      assert.is(r.status, 1);
      assert.match(r.stderr, /src\/a\.ts\(1,14\): error TS2322/);
      assert.match(r.stderr, /set-up: TypeScript does not compile/);
    }
  }),
);

test(
  'an addon that cannot be built is one warning line, not an error; one that is up to date is not mentioned',
  inTree((root) => {
    const script = join(root, 'scripts/build-native.mjs');
    writeFileSync(script, "process.stderr.write('flowring: native addon not built: no compiler\\n');\nprocess.exitCode = 1;\n");
    setup(root);
    const without = setup(root);
    assert.is(without.status, 0);
    assert.equal(
      without.stderr
        .trimEnd()
        .split('\n')
        .filter((l) => !l.endsWith('building the native addon')),
      ['flowring set-up: warning: native addon not built: no compiler; only the switch port works, and slower (flowring doctor says more)'],
    );
    mkdirSync(join(root, 'build/Release'), { recursive: true });
    writeFileSync(join(root, 'build/Release/flowring.node'), '');
    writeFileSync(script, "process.stdout.write('flowring: native addon is up to date\\n');\n");
    const current = setup(root);
    assert.equal([current.status, current.stdout, current.stderr], [0, '', '']);
  }),
);

const ended = (child: ChildProcess): Promise<{ code: number | null; stderr: string }> =>
  new Promise((resolve) => {
    let stderr = '';
    child.stderr!.setEncoding('utf8').on('data', (chunk: string) => {
      stderr += chunk;
    });
    child.on('close', (code) => resolve({ code, stderr }));
  });

test(
  'of several started at once one works and the others wait for it',
  inTree(async (root) => {
    const start = (): Promise<{ code: number | null; stderr: string }> =>
      ended(spawn(process.execPath, [join(root, 'scripts/setup.mjs')], { stdio: ['ignore', 'ignore', 'pipe'] }));
    const all = await Promise.all([start(), start(), start(), start()]);
    assert.equal(
      all.map((r) => r.code),
      [0, 0, 0, 0],
    );
    assert.is(all.filter((r) => r.stderr.includes('compiling TypeScript')).length, 1);
    assert.not(existsSync(join(root, 'dist/.setup.lock')));
  }),
);

test(
  'the lock of a process that died is broken',
  inTree((root) => {
    const dead = spawnSync(process.execPath, ['-e', '']).pid;
    mkdirSync(join(root, 'dist/.setup.lock'), { recursive: true });
    writeFileSync(join(root, 'dist/.setup.lock/pid'), String(dead));
    const r = setup(root);
    assert.is(r.status, 0, r.stderr);
    assert.not.match(r.stderr, /waiting/);
    assert.ok(existsSync(join(root, 'dist/src/a.js')));
  }),
);

test(
  'packages are installed when node_modules differs from the lockfile, and only then',
  inTree((root) => {
    // A stand-in for npm notes that it was called: whether it is called is what is asked here.
    const npm = join(root, 'npm-cli.cjs');
    writeFileSync(npm, "require('node:fs').appendFileSync(__dirname + '/calls', process.argv[2] + '\\n');\n");
    const lock = (version: string): string =>
      JSON.stringify({
        packages: { '': {}, 'node_modules/typescript': { version }, 'node_modules/other-cpu': { version, optional: true } },
      });
    const run = (): void => {
      const r = spawnSync(process.execPath, [join(root, 'scripts/setup.mjs')], {
        encoding: 'utf8',
        env: { ...process.env, npm_execpath: npm },
      });
      assert.is(r.status, 0, r.stderr);
    };
    const calls = (): number => (existsSync(join(root, 'calls')) ? readFileSync(join(root, 'calls'), 'utf8').split('\n').length - 1 : 0);
    writeFileSync(join(root, 'package-lock.json'), lock('1.0.0'));
    run();
    assert.is(calls(), 1, 'nothing installed yet');
    writeFileSync(
      join(root, 'node_modules/.package-lock.json'),
      JSON.stringify({ packages: { 'node_modules/typescript': { version: '1.0.0' } } }),
    );
    run();
    assert.is(calls(), 1, 'installed, the optional package of another CPU left out');
    writeFileSync(join(root, 'package-lock.json'), lock('1.0.1'));
    run();
    assert.is(calls(), 2, 'another version is wanted');
    assert.is(readFileSync(join(root, 'calls'), 'utf8').split('\n')[0], 'ci');
  }),
);

test.run();
