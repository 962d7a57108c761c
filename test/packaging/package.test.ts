/**
 * The package as it is published: packed, laid out as an installation without the network, compiled code run by Node.
 * Its own imports can only reach its declared dependencies: development dependencies are not linked into the installation.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { builtinModules } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ROOT, read } from './repository.ts';

const folder = mkdtempSync(join(tmpdir(), 'remit-package-'));
const app = join(folder, 'app');
const installed = join(app, 'node_modules', 'remit-gateway');
const dist = join(installed, 'dist');

function run(program: string, args: readonly string[], cwd = app) {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd, timeout: 60_000, maxBuffer: 1e8 });
  return { status, out: stdout.toString(), err: stderr.toString() };
}

/** Runs a module inside the installation, as a program of somebody who depends on the package. */
const script = (text: string) => {
  writeFileSync(join(app, 'script.js'), text);
  return run(process.execPath, ['script.js']);
};

beforeAll(() => {
  const packed = run('npm', ['pack', '--silent', '--pack-destination', folder], ROOT);
  expect(packed).toMatchObject({ status: 0 });
  mkdirSync(installed, { recursive: true });
  const tarball = join(folder, packed.out.trim().split('\n').at(-1)!);
  expect(run('tar', ['-xzf', tarball, '-C', installed, '--strip-components=1'])).toMatchObject({ status: 0 });

  const { packages } = JSON.parse(read('package-lock.json')) as { packages: Record<string, { dev?: boolean }> };
  for (const [path, { dev }] of Object.entries(packages)) {
    const name = /^node_modules\/((?:@[^/]+\/)?[^/]+)$/.exec(path)?.[1];
    if (name === undefined || dev || !existsSync(join(ROOT, path))) continue;
    mkdirSync(dirname(join(app, 'node_modules', name)), { recursive: true });
    symlinkSync(join(ROOT, path), join(app, 'node_modules', name));
  }
  writeFileSync(join(app, 'package.json'), '{"type":"module"}');
}, 120_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('holds what it should and nothing else', () => {
  expect(readdirSync(installed).sort()).toEqual([
    'ARCHITECTURE.md',
    'CHANGELOG.md',
    'CONTRIBUTING.md',
    'LICENSE',
    'README.md',
    'SECURITY.md',
    'dist',
    'docs',
    'package.json',
    'samples',
  ]);
  const sources = readdirSync(join(ROOT, 'src'), { recursive: true }).map(String);
  // A `.d.ts` among the sources tells our compiler what a dependency leaves out. It makes no code, and no published type needs it.
  const wanted = sources
    .filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts'))
    .flatMap((path) => [path.replace(/\.ts$/, '.js'), path.replace(/\.ts$/, '.d.ts')]);
  const files = readdirSync(dist, { recursive: true })
    .map(String)
    .filter((path) => /\.\w+$/.test(path));
  expect(files.sort()).toEqual(wanted.sort());
});

test('the public entries are pinned', () => {
  const manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as Record<string, unknown>;
  expect(manifest['exports']).toEqual({
    '.': { types: './dist/index.d.ts', default: './dist/index.js' },
    './verify': { types: './dist/verify/index.d.ts', default: './dist/verify/index.js' },
    './package.json': './package.json',
  });
  expect(manifest['bin']).toEqual({ remit: 'dist/cli/main.js', 'remit-verify': 'dist/verify/main.js' });
  expect(manifest['engines']).toEqual({ node: '>=24' });
  expect(manifest['type']).toBe('module');
});

test('the names that an embedder can import are pinned', () => {
  const { out, err } = script(
    "console.log(JSON.stringify([Object.keys(await import('remit-gateway')), Object.keys(await import('remit-gateway/verify'))]))",
  );
  expect(err).toBe('');
  expect(JSON.parse(out)).toEqual([
    ['VERSION', 'isFault', 'startAuthServer', 'startGateway'],
    [
      'DEFAULT_GAP_MS',
      'FormatError',
      'checkNote',
      'consistencyHolds',
      'inclusionHolds',
      'leafHash',
      'openCheckpoint',
      'parseCheckpoint',
      'parseNote',
      'parseProof',
      'parseVkey',
      'runVerify',
      'verifyLog',
      'verifyReceipt',
    ],
  ]);
});

test('everything else of it is closed to importers', () => {
  const { status, err } = script("await import('remit-gateway/dist/gateway/gateway.js')");
  expect(status).toBe(1);
  expect(err).toContain('ERR_PACKAGE_PATH_NOT_EXPORTED');
});

test.each([
  ['remit', 'cli/main.js', /^Usage: remit /m],
  ['remit-verify', 'verify/main.js', /remit-verify/],
])('%s is executable and explains itself', (_name, file, says) => {
  const path = join(dist, file);
  accessSync(path, constants.X_OK);
  const { status, out, err } = run(path, ['--help']);
  expect({ status, err }).toEqual({ status: 0, err: '' });
  expect(out).toMatch(says);
});

test('remit --version is the version of the package', () => {
  const { version } = JSON.parse(read('package.json')) as { version: string };
  expect(run(join(dist, 'cli/main.js'), ['--version']).out.trim()).toBe(version);
});

test('a TypeScript consumer gets types', () => {
  const consumer = join(app, 'consumer.ts');
  const compile = (text: string) => {
    writeFileSync(consumer, text);
    const types = join(ROOT, 'node_modules', '@types');
    const args = [
      '--noEmit',
      '--strict',
      '--module',
      'nodenext',
      '--target',
      'es2024',
      '--types',
      'node',
      '--typeRoots',
      types,
      consumer,
    ];
    return run(join(ROOT, 'node_modules/.bin/tsc'), args);
  };
  const imports = "import { startGateway } from 'remit-gateway';\nimport { verifyLog } from 'remit-gateway/verify';\n";
  const right = `${imports}const gateway = await startGateway('remit.yaml');\nconst url: string = gateway.mcpUrl;\nvoid verifyLog; void url;\n`;
  expect(compile(right)).toMatchObject({ status: 0, out: '' });
  expect(compile(`${imports}const port: number = verifyLog;\nvoid startGateway(port);\n`).out).toContain(
    'error TS2322',
  );
});

/** Specifiers a compiled module imports. What `import type` names is gone by then. */
function importsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  const pattern =
    /^\s*(?:import|export)\s[^'"]*?from\s*['"]([^'"]+)['"]|^\s*import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/gm;
  return [...text.matchAll(pattern)].map((match) => match[1] ?? match[2] ?? match[3]!);
}

/** Every bare specifier reachable from a compiled module. */
function reach(entry: string): Set<string> {
  const bare = new Set<string>();
  const seen = new Set<string>();
  const queue = [entry];
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (seen.has(file)) continue;
    seen.add(file);
    for (const specifier of importsOf(file)) {
      if (specifier.startsWith('.')) queue.push(resolve(dirname(file), specifier));
      else bare.add(specifier);
    }
  }
  return bare;
}

const isBuiltin = (specifier: string): boolean =>
  specifier.startsWith('node:') && (builtinModules.includes(specifier.slice(5)) || specifier === 'node:sqlite');

test('the compiled verifier reaches nothing but Node', () => {
  for (const entry of ['verify/index.js', 'verify/main.js']) {
    const bare = [...reach(join(dist, entry))];
    expect(bare.length).toBeGreaterThan(0);
    expect(bare.filter((specifier) => !isBuiltin(specifier))).toEqual([]);
  }
  // The walker sees dependencies where there are some.
  expect(reach(join(dist, 'cli/main.js'))).toContain('commander');
});

test('compiled code imports only Node and declared dependencies, and no .ts file', () => {
  const { dependencies } = JSON.parse(read('package.json')) as { dependencies: Record<string, string> };
  const modules = readdirSync(dist, { recursive: true })
    .map(String)
    .filter((path) => path.endsWith('.js'));
  const wrong = modules.flatMap((path) =>
    importsOf(join(dist, path))
      .filter((specifier) => {
        if (specifier.startsWith('.')) return !existsSync(resolve(dist, dirname(path), specifier));
        const name = specifier
          .split('/')
          .slice(0, specifier.startsWith('@') ? 2 : 1)
          .join('/');
        return !isBuiltin(specifier) && !Object.hasOwn(dependencies, name);
      })
      .map((specifier) => `${path} imports ${specifier}`),
  );
  expect(wrong).toEqual([]);
});

test('the compiled stores find their worker threads: state commits, the ledger appends', () => {
  const at = (path: string): string => JSON.stringify(join(dist, path));
  const { out, err, status } = script(`
    const { openSqliteState } = await import(${at('store/sqlite/state.js')});
    const { openSqliteLedger } = await import(${at('store/sqlite/ledger.js')});
    const state = await openSqliteState(${JSON.stringify(join(folder, 'state.db'))});
    const { revision } = await state.commit({ actor: 'test', reason: 'test', writes: [{ kind: 'thing', org: 'default', id: 'one', body: { a: 1 } }] });
    const ledger = await openSqliteLedger(${JSON.stringify(join(folder, 'ledger.db'))});
    const { index } = await ledger.append('default', '{}');
    console.log(JSON.stringify({ revision, index }));
    await state.close();
    await ledger.close();`);
  expect({ status, err }).toEqual({ status: 0, err: '' });
  expect(JSON.parse(out)).toEqual({ revision: 1, index: 0 });
});

test('an embedder starts and stops a gateway with a configuration file, and is told what is wrong with one', () => {
  const { out, err, status } = script(`
    import { writeFileSync } from 'node:fs';
    import { isFault, startGateway } from 'remit-gateway';
    writeFileSync('remit.yaml', 'dataDir: ./embedded\\npublic: { port: 0 }\\nadmin: { port: 0 }\\nlog: { level: silent }\\n');
    const gateway = await startGateway('remit.yaml');
    const { status } = await fetch(gateway.adminUrl + '/healthz');
    await gateway.close();
    writeFileSync('wrong.yaml', 'dataDirectory: x\\nnode: 7\\n');
    const fault = await startGateway('wrong.yaml').catch((error) => error);
    console.log(JSON.stringify({ status, key: gateway.verifierKey, fault: isFault(fault), code: fault.code, message: fault.message }));`);
  expect({ status, err }).toEqual({ status: 0, err: '' });
  const told = JSON.parse(out) as Record<string, string>;
  expect(told).toMatchObject({ status: 200, fault: true, code: 'config_invalid' });
  expect(told['key']).toMatch(/^remit\/default\/\w+\+[0-9a-f]{8}\+/);
  expect(told['message']).toMatch(/wrong\.yaml[\s\S]*dataDirectory[\s\S]*node/);
});

test('remit up starts everything from compiled code and stops in order', async () => {
  const child = spawn(join(dist, 'cli/main.js'), ['up', '--dir', join(folder, 'data'), '--port', '0', '--json'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: app,
  });
  try {
    let out = '';
    let err = '';
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    const ready = await new Promise<{ mcpUrl: string; servers: Array<{ id: string; tools: number; url: string }> }>(
      (done, fail) => {
        child.stdout.on('data', (chunk: Buffer) => {
          out += chunk.toString();
          if (out.endsWith('\n}\n')) done(JSON.parse(out) as never);
        });
        child.once('exit', (code) => fail(new Error(`it ended with ${String(code)}:\n${err}`)));
      },
    );
    expect(ready.servers.map(({ id }) => id).sort()).toEqual(['everything', 'files']);
    expect(ready.servers.filter(({ tools }) => tools === 0)).toEqual([]);
    const answer = await fetch(ready.servers[0]!.url, { method: 'POST', body: '{}' });
    expect(answer.status).toBe(401);
    child.kill('SIGINT');
    const [code] = (await once(child, 'exit')) as [number | null];
    expect(code).toBe(0);
  } finally {
    if (child.exitCode === null) child.kill('SIGKILL');
  }
}, 120_000);
