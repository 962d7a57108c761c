/** `remit apply` as a child process against a real admin plane: exit codes, places, what is asked and what is shown. */
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startPlane, type Name, type Plane } from '../admin/plane.ts';
import { everything } from '../admin/apply/files.ts';
import { SECRETS } from '../support/secrets.ts';
import { remit } from './remit.ts';

let plane: Plane;
let dir: string;
beforeAll(async () => {
  plane = await startPlane();
  dir = mkdtempSync(join(tmpdir(), 'remit-apply-'));
  cpSync(join(import.meta.dirname, '../../samples/governance'), join(dir, 'governance'), { recursive: true });
});
afterAll(async () => {
  await plane.close();
  rmSync(dir, { recursive: true, force: true });
});

const as = (name: Name, args: readonly string[], input = '') =>
  remit(['apply', ...args], { cwd: dir, input, env: { REMIT_ADMIN_URL: plane.url, REMIT_TOKEN: plane.tokenOf(name) } });

describe('the sample folder', () => {
  test(
    'is planned (2), not applied without a yes (2), applied (0), then as it is (0), and drifts (2)',
    { timeout: 120_000 },
    async () => {
      const before = await everything(plane);
      const planned = await as('ada', ['-f', 'governance', '--set', 'main', '--plan']);
      expect([planned.code, planned.err]).toEqual([2, '']);
      expect(planned.out).toMatch(/ACTION +RECORD +FIELD +NOW +THEN/);
      expect(planned.out).toMatch(/create +server\/docs +state +- +draft/);
      expect(planned.out).toContain('4 to create');
      const unasked = await as('ada', ['-f', 'governance', '--set', 'main', '--reason', 'TICKET-31']);
      expect([unasked.code, unasked.err]).toEqual([2, expect.stringContaining('There is nobody to ask.')]);
      expect(await everything(plane)).toBe(before);

      const done = await as('ada', ['-f', 'governance', '--set', 'main', '--reason', 'TICKET-31', '--yes']);
      expect([done.code, done.out]).toEqual([
        0,
        expect.stringMatching(/^Applied: 4 to create\. Now at revision \d+\.\n$/),
      ]);
      expect(done.err).toContain('create');
      const again = await as('ada', ['-f', 'governance', '--set', 'main', '--plan', '--json']);
      expect([again.code, (again.json()['counts'] as { unchanged: number }).unchanged]).toEqual([0, 4]);
      const clean = await as('ada', ['--drift', '--set', 'main']);
      expect([clean.code, clean.out]).toEqual([
        0,
        expect.stringContaining('All 4 records of main are as they were applied'),
      ]);

      const group = await plane.as('ada', 'GET', '/groups/docs-readers');
      await plane.as(
        'abel',
        'PUT',
        '/groups/docs-readers',
        { reason: 'by hand', group: { name: 'Readers of the documents', roles: ['developer'] } },
        { 'if-match': group.headers.get('etag')! },
      );
      const drifted = await as('ada', ['--drift', '--set', 'main']);
      expect(drifted.code).toBe(2);
      expect(drifted.out).toMatch(/group\/docs-readers +changed +roles +\["member"\] +\["developer"\]/);
      expect(drifted.out).toContain('abel: by hand');
    },
  );
});

describe('problems', () => {
  test(
    'of all files are told with file, line and field, in one go, and nothing leaves for the API with a secret',
    { timeout: 120_000 },
    async () => {
      const [, secret] = SECRETS.find(([vendor]) => vendor === 'slack')!;
      mkdirSync(join(dir, 'bad'));
      writeFileSync(join(dir, 'bad', 'a.yaml'), `kind: server\nid: a\nspec:\n  title: A\n  purpose: ${secret}\n`);
      writeFileSync(join(dir, 'bad', 'b.yaml'), 'kind: group\nid: b\nid: c\nspec: {}\n');
      const before = await everything(plane);
      const ran = await as('ada', ['-f', 'bad', '--reason', 'x', '--yes']);
      expect(ran.code).toBe(1);
      expect(ran.err).toContain('there are 2 problems');
      expect(ran.err).toContain('bad/a.yaml:5: spec.purpose: looks like a literal secret');
      expect(ran.err).toContain('bad/b.yaml:3: id: this key stands twice');
      expect(`${ran.out}${ran.err}`).not.toContain(secret);
      expect(await everything(plane)).toBe(before);
    },
  );

  test('that only the API knows have their places, too', { timeout: 120_000 }, async () => {
    const text = `kind: server\nid: c\nspec:\n  title: C\n  owner: omar\n  purpose: tests\n  environment: development\n  dataClasses: [internal]\n  upstream:\n    transport: http\n    url: http://c.example/\n  colour: red\n---\nkind: group\nid: d\nspec:\n  name: D\n  roles: [emperor]\n`;
    const ran = await as('ada', ['-f', '-', '--plan', '--json'], text);
    expect([ran.code, ran.out]).toEqual([1, '']);
    const { problems } = (
      JSON.parse(ran.err) as { error: { problems: Array<{ file: string; line: number; field: string }> } }
    ).error;
    expect(problems.map(({ file, line, field }) => `${file}:${line} ${field}`)).toEqual([
      '(standard input):12 spec.colour',
      '(standard input):18 spec.roles.0',
    ]);
  });

  test.each([
    [['-f', 'x.yaml', '--yes'], 'Say why.'],
    [['--reason', 'x'], 'No files are named.'],
    [['-f', 'x.yaml', '--prune', '--reason', 'x'], '--prune needs to know which set.'],
    [['--drift'], '--drift needs to know which set.'],
    [['--drift', '--set', 'a', '-f', 'x.yaml'], '--drift compares with what was applied'],
  ])('%j is wrong usage', async (args, message) => {
    const ran = await as('ada', args);
    expect([ran.code, ran.err]).toEqual([2, expect.stringContaining(message)]);
  });

  test('roles that are missing are told for each resource', { timeout: 120_000 }, async () => {
    const ran = await as('omar', ['-f', 'governance', '--set', 'other', '--reason', 'x', '--yes']);
    expect(ran.code).toBe(1);
    expect(ran.err).toMatch(/people\.yaml:2: This needs one of the roles: administrator\./);
    expect(ran.err).toMatch(/policies\/docs\.yaml:2: This needs one of the roles: security_reviewer, administrator\./);
  });
});
