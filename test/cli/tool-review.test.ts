/** `remit tool`: two people from the proposal to the way back, as they type it; and what a server is (`remit server identity`). */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { READ_FILE, SERVER, seenTool, startPlane, type Name, type Plane } from '../admin/plane.ts';
import { remit } from './remit.ts';

let plane: Plane;
beforeAll(async () => {
  plane = await startPlane();
});
afterAll(() => plane.close());
const run = (name: Name, ...args: string[]) =>
  remit(args, { env: { REMIT_ADMIN_URL: plane.url, REMIT_TOKEN: plane.tokenOf(name) } });
const done = async (name: Name, ...args: string[]) => {
  const ran = await run(name, ...args, '--json');
  expect([args.join(' '), ran.code, ran.err]).toEqual([args.join(' '), 0, '']);
  return ran.json();
};
const see = async (description: string): Promise<string> => {
  const tool = seenTool('docs', { ...READ_FILE, name: 'put_file', description });
  const before = plane.snapshot().servers.get('docs')?.tools.get('put_file')?.record;
  const { observed } = tool.body as { observed: object };
  await plane.seed([plane.put('tool', tool.id, before ? { ...before, observed } : tool.body)]);
  return tool.digest;
};

test(
  'AP-01: one proposes, another approves, and the last good definition comes back',
  { timeout: 120_000 },
  async () => {
    await plane.seed([plane.put('server', 'docs', { ...SERVER, state: 'enabled' })]);
    const first = await see('Puts a file.');
    const judgement = ['--risk', 'write', '--scope', 'docs:write', '--justification', 'the docs team edits'];
    const propose = (digest: string) =>
      run(
        'omar',
        'tool',
        'propose',
        'docs/put_file',
        '--digest',
        digest,
        ...judgement,
        '--parameter',
        '/path=path',
        '--approvals',
        '2',
        '--json',
      );
    const alone = await run('sven', 'tool', 'approve', 'docs/put_file', '--digest', first, ...judgement);
    expect([alone.code, alone.err]).toEqual([1, expect.stringContaining('needs_second_person')]);

    const both = async (digest: string) => {
      const proposed = await propose(digest);
      expect([proposed.code, proposed.err]).toEqual([0, '']);
      const { proposal } = proposed.json() as { proposal: string };
      const shown = await run('sven', 'tool', 'show', 'docs/put_file');
      expect(shown.out).toContain(proposal);
      expect(shown.out).toContain('write, docs:write, by omar: the docs team edits');
      // Who agrees to a proposal agrees to all of it.
      expect(shown.out).toMatch(/^proposed rules: +\/path is a path; 2 must agree to a held call$/m);
      return done(
        'sven',
        'tool',
        'approve',
        'docs/put_file',
        '--digest',
        digest,
        '--proposal',
        proposal,
        '--justification',
        'read it',
      );
    };
    expect(await both(first)).toMatchObject({ standing: 'approved' });
    expect(plane.snapshot().servers.get('docs')?.tools.get('put_file')?.approved).toMatchObject({
      parameters: { '/path': 'path' },
      approvals: 2,
      by: 'sven',
      proposedBy: 'omar',
    });

    const second = await see('Puts a file and tells everybody.');
    const diff = await run('sven', 'tool', 'diff', 'docs/put_file');
    expect(diff.out).toContain('/description  wording: description changed');
    expect(diff.out).toContain('Puts a [-file.-]{+file and tells everybody.+}');
    await both(second);
    expect(await done('sven', 'tool', 'rollback', 'docs/put_file', '--reason', 'it tells everybody')).toMatchObject({
      standing: 'changed',
    });
    const history = await run('aiko', 'tool', 'history', 'docs/put_file');
    expect(history.out).toMatch(/restored +sven +sha256:[0-9a-f]{64} +it tells everybody/);
    expect(history.out).toContain(`${second} (write, docs:write)`);
  },
);

test.each([
  ['a parameter without a type', ['--parameter', '/path']],
  ['a parameter that is no pointer', ['--parameter', 'path=path']],
  ['a type nobody knows', ['--parameter', '/path=pth']],
  ['no number of approvals', ['--approvals', 'two']],
])('a mistake is a usage error: %s', async (_title, more) => {
  const judgement = ['--risk', 'write', '--scope', 's', '--justification', 'x', '--digest', `sha256:${'0'.repeat(64)}`];
  const ran = await run('omar', 'tool', 'propose', 'docs/put_file', ...judgement, ...more);
  expect([ran.code, ran.err.includes('    at ')]).toEqual([2, false]);
});

test(
  'TD-08: what is installed for a server is shown with the digest for its record',
  { timeout: 120_000 },
  async () => {
    const command = ['node', '@modelcontextprotocol/server-memory'];
    await plane.seed([
      plane.put('server', 'memory', { ...SERVER, state: 'draft', upstream: { transport: 'stdio', command } }),
      plane.put('server', 'gone', {
        ...SERVER,
        state: 'draft',
        upstream: { transport: 'stdio', command: ['node', 'not-here'] },
      }),
    ]);
    expect(await done('sven', 'server', 'identity', 'memory')).toMatchObject({
      package: '@modelcontextprotocol/server-memory',
      digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
      same: false,
    });
    const gone = await run('sven', 'server', 'identity', 'gone');
    expect([gone.code, gone.err]).toEqual([1, expect.stringContaining('cannot be read now')]);
  },
);

test(
  'the steps of a server and a credential say what is missing, and which revision a reviewer agrees to',
  { timeout: 120_000 },
  async () => {
    await plane.seed([plane.put('server', 'notes', { ...SERVER, state: 'draft', reviewBy: 1 })]);
    const submitted = await run('omar', 'server', 'submit', 'notes', '--reason', 'ready');
    expect([submitted.code, submitted.err]).toEqual([0, '']);
    expect(submitted.out).toMatch(/^missing: reviewBy: /m);
    const next = /remit server enable notes --revision (\d+) /.exec(submitted.out);
    const shown = await run('sven', 'server', 'show', 'notes');
    expect(shown.out).toMatch(new RegExp(`^revision: +${next?.[1]}$`, 'm'));
    expect(shown.out).toMatch(/^watched: +\S/m);
    const blind = await run('sven', 'credential', 'enable', 'github', '--reason', 'read it');
    expect([blind.code, blind.err]).toEqual([
      2,
      expect.stringMatching(/--revision.*the revision that you read[^]*Try remit credential enable --help/),
    ]);
  },
);
