/** What one person proposes and another agrees to, at the command line: whoever agrees names what they read, and nothing else is agreed to. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startPlane, type Name, type Plane } from '../admin/plane.ts';
import { remit, type Ran } from './remit.ts';

let plane: Plane;
beforeAll(async () => void (plane = await startPlane()));
afterAll(() => plane.close());

const as = (name: Name, ...args: readonly string[]): Promise<Ran> =>
  remit(args, { env: { REMIT_ADMIN_URL: plane.url, REMIT_TOKEN: plane.tokenOf(name) } });
const done = async (name: Name, ...args: readonly string[]): Promise<string> => {
  const ran = await as(name, ...args);
  expect([args.join(' '), ran.code, ran.err]).toEqual([args.join(' '), 0, '']);
  return ran.out;
};
const digestIn = (text: string): string => /sha256:[0-9a-f]{64}/.exec(text)?.[0] ?? 'none';
const WHY = ['--reason', 'TICKET-1'];

const read = async (path: string): Promise<Record<string, unknown>> => (await plane.as('ada', 'GET', path)).body;
const change = async (method: string, at: string, path: string, body: object) =>
  expect((await plane.afterReading('sven', at, method, path, { reason: 'TICKET-2', ...body })).status).toBe(200);

test('AZ-11: a wider scope', { timeout: 120_000 }, async () => {
  const put = await done('sven', 'scope', 'put', 'files:admin', 'files:read', ...WHY);
  const digest = digestIn(await done('ada', 'scope', 'show', 'files:admin'));
  expect(put).toContain(`remit scope approve files:admin --digest ${digest}`);
  const unnamed = await as('ada', 'scope', 'approve', 'files:admin', ...WHY);
  expect([unnamed.code, unnamed.err]).toEqual([2, expect.stringContaining('--digest')]);
  const scope = { title: 'Files', includes: ['files:read', 'files:purge'] };
  await change('PUT', '/scopes/files:admin', '/scopes/files:admin', { scope });
  const moved = await as('ada', 'scope', 'approve', 'files:admin', '--digest', digest, ...WHY);
  expect([moved.code, moved.err]).toEqual([1, expect.stringContaining('Something else is proposed by now.')]);
  const { proposed } = (await read('/scopes/files:admin')) as { readonly proposed: { readonly digest: string } };
  expect(await done('ada', 'scope', 'approve', 'files:admin', '--digest', proposed.digest, ...WHY)).toContain(
    'files:admin includes files:purge files:read',
  );
});

test('AZ-11: a honeytoken that is looked for no longer', { timeout: 120_000 }, async () => {
  const planted = { id: 'trap', title: 'Trap', placed: 'row 7', owner: 'sven', reason: 'test' };
  expect((await plane.as('sven', 'POST', '/honeytokens', planted)).status).toBe(201);
  const early = await done('sven', 'honeytoken', 'retire', 'trap', ...WHY);
  expect(early).toContain('trap is still looked for.');
  expect(await done('ada', 'honeytoken', 'keep', 'trap', ...WHY)).toContain('trap stays planted');
  const { honeytokens } = (await read('/honeytokens')) as { readonly honeytokens: [{ readonly revision: number }] };
  const match = { 'if-match': `"${honeytokens[0].revision}"` };
  await plane.as('sven', 'POST', '/honeytokens/trap/retire', { reason: 'TICKET-2' }, match);
  const list = await done('ada', 'honeytoken', 'list');
  expect(list).toContain('sven wants trap retired: TICKET-2');
  expect(digestIn(list)).not.toBe(digestIn(early));
  const agreed = await done('ada', 'honeytoken', 'approve', 'trap', '--digest', digestIn(list), ...WHY);
  expect(agreed).toContain('trap is retired');
});

test('AZ-11: weaker content rules; what holds is shown with its reason', { timeout: 120_000 }, async () => {
  const rule = { classes: ['personal.*'], direction: 'out', risks: ['write'], action: 'block' };
  const set = { reason: 'test', inspection: { rules: [rule] } };
  expect((await plane.as('sven', 'PUT', '/inspection', set, { 'if-none-match': '*' })).status).toBe(200);
  await change('PUT', '/inspection', '/inspection', { inspection: { rules: [] } });
  const shown = await done('ada', 'inspection', 'show');
  expect(shown).toMatch(/^out +personal\.\* +write none +all +all +block +rule 1$/m);
  expect(shown).toMatch(/^out +personal\.\* +read destructive execute regulated +all +all +label +default$/m);
  expect(shown).toMatch(/^in +secret\.\* +all +all +all +redact +default$/m);
  expect(shown).toContain('personal.other towards servers in write calls and outside of calls');
  await done('ada', 'inspection', 'approve', '--digest', digestIn(shown), ...WHY);
  const { effective } = (await as('omar', 'inspection', 'show', '--json')).json();
  expect(effective).toContainEqual(expect.objectContaining({ direction: 'out', class: 'personal.*', from: 'default' }));
});
