/** The commands as child processes against a real admin plane. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { requestApproval } from '../../src/approvals/machine.ts';
import { definitionDigest } from '../../src/integrity/definition.ts';
import { READ_FILE, SERVER, seenTool, startPlane, type Name, type Plane } from '../admin/plane.ts';
import { remit, type RunOptions } from './remit.ts';

let plane: Plane;
let dir: string;
beforeAll(async () => {
  plane = await startPlane();
  dir = mkdtempSync(join(tmpdir(), 'remit-cli-'));
});
afterAll(async () => {
  await plane.close();
  rmSync(dir, { recursive: true, force: true });
});

const as = (name: Name, args: readonly string[], options: RunOptions = {}) =>
  remit(args, {
    cwd: dir,
    ...options,
    env: { REMIT_ADMIN_URL: plane.url, REMIT_TOKEN: plane.tokenOf(name), ...options.env },
  });
const done = async (name: Name, ...args: string[]) => {
  const ran = await as(name, [...args, '--json']);
  expect([args.join(' '), ran.code, ran.err]).toEqual([args.join(' '), 0, '']);
  return ran.json();
};

describe('governing', () => {
  test('the life of a server and a tool, each step by whom it is for', { timeout: 120_000 }, async () => {
    writeFileSync(
      join(dir, 'files.yaml'),
      `id: files\n${JSON.stringify(SERVER)
        .slice(1, -1)
        .replaceAll(
          /,(?="(?:owner|purpose|environment|dataClasses|riskTier|source|revocation|reviewBy|timeoutMs|upstream)")/g,
          '\n',
        )
        .replaceAll(/^"(\w+)":/gm, '$1: ')}\n`,
    );
    expect(await done('omar', 'server', 'add', '-f', 'files.yaml', '--reason', 'asked for')).toMatchObject({
      id: 'files',
      state: 'draft',
    });
    const again = await as('omar', ['server', 'add', '-f', 'files.yaml', '--reason', 'x']);
    expect([again.code, again.err]).toEqual([1, expect.stringContaining('precondition_failed')]);
    expect(await done('omar', 'server', 'add', '-f', 'files.yaml', '--reason', 'again', '--replace')).toMatchObject({
      state: 'draft',
    });

    const tool = seenTool('files', { ...READ_FILE, description: 'Reads.\u001b[31m\u202e' });
    await plane.seed([plane.put('tool', tool.id, tool.body)]);
    const shown = await as('sven', ['tool', 'diff', 'files/read_file']);
    expect(shown.out).toContain('⟨U+001B⟩');
    expect(shown.out).toContain('⟨U+202E⟩');
    // eslint-disable-next-line no-control-regex
    expect(/[\u001b\u202e]/.test(shown.out)).toBe(false);
    const refused = await as('sven', [
      'tool',
      'approve',
      'files/read_file',
      '--digest',
      tool.digest,
      '--risk',
      'read',
      '--scope',
      'files:read',
      '--justification',
      'x',
    ]);
    expect([refused.code, refused.err]).toEqual([1, expect.stringContaining('hides something')]);

    const clean = seenTool('files', READ_FILE);
    await plane.seed([plane.put('tool', clean.id, clean.body)]);
    const approve = [
      'tool',
      'approve',
      'files/read_file',
      '--digest',
      definitionDigest(READ_FILE),
      '--risk',
      'read',
      '--scope',
      'files:read',
      '--justification',
      'reads docs',
    ];
    expect(await done('sven', ...approve)).toMatchObject({ standing: 'approved' });
    const { revision } = await done('omar', 'server', 'submit', 'files', '--reason', 'ready');
    const enable = ['server', 'enable', 'files', '--reason', 'reviewed', '--revision'];
    const stale = await as('sven', [...enable, '1']);
    expect([stale.code, stale.err]).toEqual([1, expect.stringContaining('precondition_failed')]);
    expect(await done('sven', ...enable, String(revision))).toMatchObject({ state: 'enabled' });
    expect(await done('sven', 'policy', 'explain', 'dana', 'files/read_file')).toMatchObject({ verdict: 'allow' });

    const lock = await done('omar', 'lock', 'add', 'tool', 'files/read_file', '--reason', 'incident', '--for', '2h');
    expect(await done('sven', 'policy', 'explain', 'dana', 'files/read_file')).toMatchObject({
      verdict: 'deny',
      reason: 'locked:tool',
    });
    await done('sven', 'lock', 'lift', String(lock['id']), '--reason', 'over');
    expect(await done('omar', 'lock', 'list')).toEqual({ locks: [] });
    expect(await done('omar', 'tool', 'withdraw', 'files/read_file', '--reason', 'incident')).toMatchObject({
      standing: 'unreviewed',
    });
  });

  test(
    'items of every kind: one by its key, the rest of a kind at once, each by the digest in the list',
    { timeout: 120_000 },
    async () => {
      const page = (i: number, more: object = {}) =>
        seenTool('docs', { uri: `docs://a b/${i}`.replace(' ', '%20'), name: `page ${i}`, ...more }, 'resource');
      const greeting = seenTool('docs', { name: 'greeting' }, 'prompt');
      const [one, two, hiding] = [page(1), page(2), page(3, { description: 'Hi\u202e' })];
      const { id: _, ...server } = { id: 'docs', ...SERVER };
      await plane.seed([
        plane.put('server', 'docs', { ...server, state: 'draft' }),
        ...[greeting, one, two, hiding].map(({ id, body }) => plane.put('tool', id, body)),
      ]);
      const listed = await as('sven', ['tool', 'list', 'docs', '--kind', 'resource']);
      expect(listed.out).toMatch(/^KIND +NAME +STANDING/);
      expect(listed.out).toMatch(/^resource +docs:\/\/a%20b\/1 +unreviewed +\(read\?\)/m);
      expect(listed.out).not.toContain('greeting');
      expect((await as('sven', ['tool', 'show', 'docs/prompt greeting'])).out).toMatch(
        /^item: +docs\/prompt greeting$/m,
      );

      const review = ['--risk', 'read', '--scope', 'docs:read', '--justification', 'the public manual'];
      const all = await as('sven', ['tool', 'approve', 'docs', '--all', '--kind', 'resource', ...review, '--json']);
      expect([all.code, all.json()]).toEqual([
        1,
        {
          server: 'docs',
          kind: 'resource',
          items: [
            {
              tool: 'docs/resource docs://a%20b/1',
              digest: one.digest,
              findings: '',
              standing: 'approved',
              problem: null,
            },
            {
              tool: 'docs/resource docs://a%20b/2',
              digest: two.digest,
              findings: '',
              standing: 'approved',
              problem: null,
            },
            {
              tool: 'docs/resource docs://a%20b/3',
              digest: hiding.digest,
              findings: 'block:hidden_bidi',
              standing: 'unreviewed',
              problem: expect.stringContaining('hides something'),
            },
          ],
        },
      ]);
      const stands = (await done('sven', 'tool', 'list', 'docs'))['tools'] as ReadonlyArray<{
        key: string;
        standing: string;
      }>;
      expect(stands.filter(({ standing }) => standing === 'approved').map(({ key }) => key)).toEqual([
        'resource docs://a%20b/1',
        'resource docs://a%20b/2',
      ]);
      const shown = await as('omar', ['server', 'show', 'docs']);
      expect(shown.out).toMatch(/^may ask: +nothing$/m);
      expect(shown.out).toMatch(/^connections: +shared$/m);
    },
  );

  test(
    'what a server may ask, its extensions and its connections are set with the record and shown',
    { timeout: 120_000 },
    async () => {
      const record = {
        id: 'asking',
        ...SERVER,
        asks: ['elicitation.form', 'sampling'],
        extensions: ['io.modelcontextprotocol/ui'],
        connections: 'person',
        clientsOverSse: true,
      };
      writeFileSync(join(dir, 'asking.json'), JSON.stringify(record));
      await done('omar', 'server', 'add', '-f', 'asking.json', '--reason', 'x');
      const { out } = await as('omar', ['server', 'show', 'asking']);
      expect(out).toMatch(/^may ask: +elicitation\.form, sampling$/m);
      expect(out).toMatch(/^extensions: +io\.modelcontextprotocol\/ui$/m);
      expect(out).toMatch(/^connections: +one per person and agent$/m);
      expect(out).toMatch(/^clients over HTTP\+SSE: +yes/m);
      writeFileSync(join(dir, 'asking.json'), JSON.stringify({ ...record, asks: ['roots', 'roots'] }));
      const twice = await as('omar', ['server', 'add', '-f', 'asking.json', '--replace', '--reason', 'x']);
      expect([twice.code, twice.err]).toEqual([1, expect.stringContaining('asks names one thing twice')]);
    },
  );

  test('policies by two people, roles by an administrator', { timeout: 120_000 }, async () => {
    const text =
      'permit (principal in Remit::Role::"developer", action == Remit::Action::"callTool", resource)\nwhen { resource.risk == Remit::Risk::"destructive" } when { context.scopeHeld };';
    writeFileSync(join(dir, 'p.cedar'), text);
    const put = ['policy', 'put', 'team.one', '-f', 'p.cedar', '--description', 'x', '--reason', 'x'];
    await done('sven', ...put);
    await done('sven', ...put);
    const own = await as('sven', ['policy', 'activate', 'team.one', '--yes', '--reason', 'mine']);
    expect([own.code, own.err]).toEqual([
      1,
      expect.stringMatching(/remit: Nobody activates a policy they wrote\. \[policy_author, ref_\w+\]\nAsk another/),
    ]);
    expect(await done('ada', 'policy', 'activate', 'team.one', '--yes', '--reason', 'reviewed')).toMatchObject({
      state: 'active',
    });
    expect((await as('ada', ['policy', 'show', 'team.one'])).out).toContain('context.scopeHeld');
    const next = ['policy', 'put', 'team.next', '-f', 'p.cedar', '--description', 'x', '--reason', 'x'];
    await done('sven', ...next, '--replaces', 'team.one');
    expect((await as('ada', ['policy', 'show', 'team.next'])).out).toMatch(/^replaces: +team\.one$/m);
    const unasked = await as('ada', ['policy', 'activate', 'team.next', '--reason', 'reviewed']);
    expect([unasked.code, unasked.err]).toEqual([2, expect.stringMatching(/Nobody gains or loses[^]*--effect/)]);
    const said = await as('ada', ['policy', 'activate', 'team.next', '--yes', '--reason', 'reviewed']);
    expect([said.code, said.out]).toEqual([
      0,
      expect.stringMatching(/^team\.next is in force at revision \d+\.\nteam\.one is no longer in force\.\n$/),
    ]);

    await done('ada', 'person', 'set', 'nobody', '--roles', 'developer,approver', '--reason', 'joined');
    expect(await done('ada', 'person', 'show', 'nobody')).toMatchObject({ roles: ['developer', 'approver'] });
    const self = await as('ada', [
      'person',
      'set',
      'ada',
      '--roles',
      'administrator,auditor',
      '--reason',
      'x',
      '--json',
    ]);
    expect([self.code, JSON.parse(self.err)]).toEqual([
      1,
      { error: expect.objectContaining({ code: 'own_standing' }) },
    ]);
  });

  test('an approver sees exactly what will run and decides it', async () => {
    const call = requestApproval(
      {
        org: 'default',
        person: 'dana',
        agent: 'agent-1',
        server: 'files',
        tool: 'wipe',
        definition: `sha256:${'1'.repeat(64)}`,
        arguments: { path: '/srv\u202e' },
        terms: {},
      },
      Date.now(),
      120_000,
    );
    await plane.seed([plane.put('approval', 'apr_x', call)]);
    expect((await as('petra', ['approval', 'list'])).out).toMatch(/apr_x +pending +dana +agent-1 +files\/wipe/);
    const shown = await as('petra', ['approval', 'show', 'apr_x']);
    expect(shown.out).toContain('"path": "/srv⟨U+202E⟩"');
    expect(await done('petra', 'approval', 'approve', 'apr_x', '--call', call.call, '--note', 'checked')).toMatchObject(
      { state: 'approved' },
    );
  });
});

describe('evidence', () => {
  test('export, verify, and one changed byte', { timeout: 120_000 }, async () => {
    const exported = await as('aiko', ['audit', 'export', 'evidence', '--json']);
    expect([exported.code, exported.err]).toEqual([0, '']);
    const verify = () => remit(['verify', 'evidence', '--vkey', plane.verifierKey, '--json'], { cwd: dir });
    const good = await verify();
    expect([good.code, good.json()['verified']]).toEqual([0, true]);
    const bundles = join(dir, 'evidence', 'tile', 'entries');
    const partial = readdirSync(bundles).find((name) => name.endsWith('.p'))!;
    const file = join(bundles, partial, readdirSync(join(bundles, partial))[0]!);
    const bytes = readFileSync(file);
    bytes[50] = bytes[50]! ^ 1;
    writeFileSync(file, bytes);
    const bad = await verify();
    expect([bad.code, bad.json()['verified']]).toEqual([1, false]);
  });

  test('tail, show, receipt', async () => {
    const tail = await as('aiko', ['audit', 'tail', '-n', '3', '--kind', 'admin']);
    expect(tail.out.split('\n')[0]).toMatch(/^INDEX +TIME +KIND +WHO +WHAT +RESULT +REF/);
    expect(tail.out.trim().split('\n')).toHaveLength(4);
    expect(await done('aiko', 'audit', 'show', '0')).toMatchObject({ index: 0 });
    await done('aiko', 'audit', 'receipt', '0', '--out', 'r.tlog-proof', '--entry-out', 'e.json');
    const checked = await remit(
      ['verify', '--receipt', 'r.tlog-proof', '--entry', 'e.json', '--vkey', plane.verifierKey],
      { cwd: dir },
    );
    expect([checked.code, checked.out]).toEqual([0, expect.stringContaining('VERIFIED')]);
    const twice = await as('aiko', ['audit', 'receipt', '0', '--out', 'r.tlog-proof']);
    expect([twice.code, twice.err]).toEqual([1, expect.stringContaining('exists already')]);
  });
});

describe('how commands fail', () => {
  test.each([
    ['unknown command', ['serve'], 2],
    ['missing argument', ['server', 'show'], 2],
    ['missing reason', ['server', 'enable', 'x'], 2],
    ['bad duration', ['lock', 'add', 'agent', 'x', '--reason', 'x', '--for', 'soon'], 2],
    ['bad lock kind', ['lock', 'add', 'planet', 'x', '--reason', 'x'], 2],
    ['bad tool name', ['tool', 'show', 'files'], 2],
    [
      'one approval without a digest',
      ['tool', 'approve', 'a/b', '--risk', 'read', '--scope', 's', '--justification', 'x'],
      2,
    ],
    [
      'all approvals without a kind',
      ['tool', 'approve', 'a', '--all', '--risk', 'read', '--scope', 's', '--justification', 'x'],
      2,
    ],
    [
      'all approvals of one item',
      ['tool', 'approve', 'a/b', '--all', '--kind', 'tool', '--risk', 'read', '--scope', 's', '--justification', 'x'],
      2,
    ],
    ['bad kind', ['tool', 'list', 'a', '--kind', 'planet'], 2],
    ['missing file', ['server', 'add', '-f', 'nowhere.yaml', '--reason', 'x'], 2],
    ['address with a path', ['server', 'list', '--url', 'http://127.0.0.1:1/api'], 2],
    ['plain http elsewhere', ['server', 'list', '--url', 'http://admin.example.com'], 2],
    ['missing configuration', ['gateway', '--config', 'nowhere.yaml'], 2],
    ['what is not there', ['server', 'show', 'nothing'], 1],
    ['what is not allowed', ['person', 'list'], 1],
  ] as const)('%s: exit code, a sentence, no stack', async (_name, args, code) => {
    for (const json of [[], ['--json']]) {
      const ran = await as('dana', [...args, ...json]);
      expect([ran.code, ran.out]).toEqual([code, '']);
      expect(ran.err).not.toMatch(/\bat .+:\d+:\d+|node:internal|Error:/);
      if (json.length > 0)
        expect(JSON.parse(ran.err)).toMatchObject({ error: { code: expect.any(String), message: expect.any(String) } });
      else expect(ran.err.length).toBeGreaterThan(20);
    }
  });

  test('3 without a sign-in, and with a token that is not accepted', async () => {
    const none = await remit(['server', 'list', '--url', plane.url], { cwd: dir });
    expect([none.code, none.err]).toEqual([3, expect.stringContaining('Run `remit login`')]);
    const bad = await as('dana', ['server', 'list'], { env: { REMIT_TOKEN: 'abc' } });
    expect([bad.code, bad.err]).toEqual([3, expect.stringContaining('invalid_token')]);
  });

  test('4 when nothing answers, or something else does', async () => {
    const closed = await as('dana', ['server', 'list', '--url', 'http://127.0.0.1:1']);
    expect([closed.code, closed.err]).toEqual([4, expect.stringContaining('Nothing answers at http://127.0.0.1:1')]);
    const other = createServer((_request, response) =>
      response.writeHead(500, { 'content-type': 'text/html' }).end('<h1>oops</h1>'),
    );
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const ran = await as('dana', [
      'server',
      'list',
      '--url',
      `http://127.0.0.1:${(other.address() as AddressInfo).port}`,
    ]);
    expect([ran.code, ran.err]).toEqual([4, expect.stringContaining('not as a Remit admin API')]);
    other.close();
  });

  test('never follows a redirect with the token', async () => {
    let reached = 0;
    const trap = createServer((_request, response) => {
      reached++;
      response.end('{}');
    });
    await new Promise<void>((resolve) => trap.listen(0, '127.0.0.1', resolve));
    const bounce = createServer((_request, response) =>
      response.writeHead(307, { location: `http://127.0.0.1:${(trap.address() as AddressInfo).port}/` }).end(),
    );
    await new Promise<void>((resolve) => bounce.listen(0, '127.0.0.1', resolve));
    const ran = await as('dana', ['whoami', '--url', `http://127.0.0.1:${(bounce.address() as AddressInfo).port}`]);
    expect([ran.code, reached]).toEqual([4, 0]);
    trap.close();
    bounce.close();
  });

  test('remit verify --help shows the verifier, --version the version', async () => {
    expect((await remit(['verify', '--help'])).out).toContain('remit-verify DIR --vkey KEY');
    const version = await remit(['--version']);
    expect([version.code, version.out]).toEqual([0, expect.stringMatching(/^\d+\.\d+\.\d+\n$/)]);
  });
});

test('status shows the revision, the log and what is relaxed', async () => {
  expect(await done('omar', 'status')).toMatchObject({
    node: 'node-1',
    fresh: true,
    notReady: [],
    unsafe: [],
    audit: { gate: 'open' },
  });
  expect((await as('omar', ['status'])).out).toMatch(/^node: +node-1 of default/);
});

describe('local commands', () => {
  test('init writes once, and doctor accepts what it wrote', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'remit-init-'));
    expect((await remit(['init', '--json'], { cwd: folder })).json()).toEqual({ file: 'remit.yaml' });
    const twice = await remit(['init'], { cwd: folder });
    expect([twice.code, twice.err]).toEqual([1, expect.stringContaining('exists already and is left as it is')]);
    const doctor = await remit(['doctor', '--json'], { cwd: folder });
    const checks = doctor.json()['checks'] as Array<{ check: string; status: string; remedy?: string }>;
    expect(checks.map(({ check }) => check)).toEqual(
      expect.arrayContaining([
        'Node',
        'clock',
        'isolation',
        'configuration',
        'issuers',
        'dataDir',
        'MCP listener',
        'admin listener',
      ]),
    );
    for (const check of checks)
      if (check.status !== 'ok') expect([check.check, typeof check.remedy]).toEqual([check.check, 'string']);
    rmSync(folder, { recursive: true, force: true });
  });

  test('doctor fails with a remedy for a taken port, an open folder and a wrong key', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'remit-doctor-'));
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    writeFileSync(
      join(folder, 'a.yaml'),
      `dataDir: /tmp\npublic: {port: ${(taken.address() as AddressInfo).port}}\nadmin: {port: 0}\n`,
    );
    const ran = await remit(['doctor', '--config', 'a.yaml', '--json'], { cwd: folder });
    const failed = (ran.json()['checks'] as Array<{ check: string; status: string; remedy: string }>).filter(
      ({ status }) => status === 'fail',
    );
    expect([ran.code, failed.map(({ check }) => check)]).toEqual([1, ['dataDir', 'MCP listener']]);
    writeFileSync(join(folder, 'c.yaml'), 'admin: {port: 0}\npublic: {port: 0}\nauthserver: {issuer: 7}\n');
    const auth = await remit(['doctor', '--config', 'c.yaml'], { cwd: folder });
    expect([auth.code, auth.out]).toEqual([1, expect.stringContaining('authserver.issuer: ')]);
    writeFileSync(join(folder, 'b.yaml'), 'pubic: 1\n');
    const wrong = await remit(['doctor', '--config', 'b.yaml'], { cwd: folder });
    expect([wrong.code, wrong.out]).toEqual([
      1,
      expect.stringContaining('b.yaml:1:1: pubic: this key is not known. Did you mean `public`?'),
    ]);
    taken.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test('connect prints for every client, merges into a file, and never writes over another entry', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'remit-connect-'));
    const url = 'http://127.0.0.1:8787/mcp/default/files';
    for (const client of ['claude-code', 'cursor', 'vscode', 'inspector', 'sdk']) {
      const ran = await remit(['connect', client, url], { cwd: folder });
      expect([client, ran.code, ran.out.includes(url)]).toEqual([client, 0, true]);
    }
    writeFileSync(join(folder, '.mcp.json'), '{"mcpServers":{"other":{"url":"x"}},"kept":1}');
    const write = ['connect', 'claude-code', url, '--write', '--json'];
    expect((await remit(write, { cwd: folder })).json()).toMatchObject({ changed: true });
    expect((await remit(write, { cwd: folder })).json()).toMatchObject({ changed: false });
    expect(JSON.parse(readFileSync(join(folder, '.mcp.json'), 'utf8'))).toEqual({
      mcpServers: { other: { url: 'x' }, files: { type: 'http', url, oauth: { clientId: 'claude-code' } } },
      kept: 1,
    });
    const clash = await remit(
      ['connect', 'claude-code', 'http://127.0.0.1:8787/mcp/default/x', '--name', 'files', '--write'],
      { cwd: folder },
    );
    expect([clash.code, clash.err]).toEqual([1, expect.stringContaining('another entry called files')]);
    for (const bad of [
      'http://mcp.example.com/mcp/default/x',
      'https://mcp.example.com/other',
      'javascript:alert(1)',
      'https://u:p@mcp.example.com/mcp/default/x',
    ])
      expect([bad, (await remit(['connect', 'cursor', bad], { cwd: folder })).code]).toEqual([bad, 2]);
    rmSync(folder, { recursive: true, force: true });
  });

  test('a credentials file that others can read is refused', async () => {
    const home = mkdtempSync(join(tmpdir(), 'remit-home-'));
    const { writeCredentials, credentialsFile } = await import('../../src/cli/credentials.ts');
    const env = { XDG_CONFIG_HOME: home };
    writeCredentials(env, { current: plane.url, logins: {} });
    expect(statSync(credentialsFile(env)).mode & 0o777).toBe(0o600);
    const { chmodSync } = await import('node:fs');
    chmodSync(credentialsFile(env), 0o644);
    const ran = await remit(['server', 'list'], { env });
    expect([ran.code, ran.err]).toEqual([1, expect.stringContaining('can be read by other users')]);
    rmSync(home, { recursive: true, force: true });
  });
});
