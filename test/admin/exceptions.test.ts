/** The register of exceptions, and that what is over gives nothing: on a clock that the test moves. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { decide } from '../../src/policy/decide.ts';
import { NO_FLOW } from '../../src/policy/labels.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { definitionDigest } from '../../src/integrity/definition.ts';
import { READ_FILE, SERVER, startPlane, type Plane } from './plane.ts';

let plane: Plane;
let ahead = 0;
const now = (): number => systemClock.now() + ahead;
const HOUR = 3_600_000;
const until = new Date(Date.now() + 2 * HOUR).toISOString().slice(0, 19) + 'Z';
const WIDE = `@exception("migration, ticket 4711")
@until("${until}")
permit (principal in Remit::Role::"auditor", action == Remit::Action::"callTool", resource) when { context.scopeHeld };`;

beforeAll(async () => {
  plane = await startPlane({
    wrap: (ctx) => ({ ...ctx, clock: { ...ctx.clock, now } }),
    facts: { unsafeKeys: ['governance.unsafeAuthorMayActivate'] },
  });
  const digest = definitionDigest(READ_FILE);
  const decided = {
    state: 'active',
    requestedBy: 'omar',
    requestedAt: 1,
    decidedBy: 'sven',
    decidedAt: 1,
    note: null,
    conditions: [],
    approval: 'by_risk',
  };
  const credential = {
    title: 'Key',
    owner: 'omar',
    purpose: 'x',
    environment: 'development',
    state: 'enabled',
    source: { kind: 'sealed' },
    servers: ['docs', 'mail'],
    maxAgeDays: 90,
    versions: [],
  };
  await plane.seed([
    plane.put('server', 'docs', { ...SERVER, state: 'enabled' }),
    plane.put('tool', 'docs/read_file', {
      server: 'docs',
      kind: 'tool',
      name: 'read_file',
      observed: { digest, definition: READ_FILE, seenAt: 1 },
      approved: {
        digest,
        definition: READ_FILE,
        risk: 'read',
        scope: 'docs:read',
        justification: 'x',
        by: 'sven',
        at: 1,
      },
    }),
    plane.put('grant', 'grant_wide', {
      ...decided,
      who: { kind: 'person', id: 'petra' },
      what: { server: 'docs', risks: ['read'] },
      justification: 'incident 7',
      expiresAt: now() + HOUR,
    }),
    plane.put('grant', 'grant_named', {
      ...decided,
      who: { kind: 'person', id: 'petra' },
      what: { server: 'docs', items: ['read_file'] },
      justification: 'x',
      expiresAt: null,
    }),
    plane.put('credential', 'cred_shared', {
      ...credential,
      sharing: { reason: 'one account', until: now() + 3 * HOUR, by: 'ada' },
    }),
    plane.put('credential', 'cred_alone', { ...credential, servers: ['docs'] }),
  ]);
  const stored = await plane.as(
    'sven',
    'PUT',
    '/policies/team.migration',
    { reason: 'x', policy: { description: 'Migration', text: WIDE } },
    { 'if-none-match': '*' },
  );
  expect([stored.status, stored.text]).toEqual([201, stored.text]);
  expect((await plane.activate('ada', 'team.migration')).status).toBe(200);
});
afterAll(() => plane.close());

const listed = async (query = ''): Promise<JsonObject[]> =>
  (await plane.as('aiko', 'GET', `/exceptions${query}`)).body['exceptions'] as JsonObject[];
const may = (id: string, roles: readonly string[]): string =>
  decide(plane.snapshot().policies!, {
    org: 'default',
    person: { id, roles, groups: [] },
    agent: 'remit-cli',
    tool: { server: 'docs', name: 'read_file' },
    scopes: new Set(['docs:read']),
    approved: false,
    ...NO_FLOW,
    arguments: {},
    signIn: { authTime: null, amr: [], acr: null },
    alone: false,
    actors: [],
    at: now(),
  }).verdict;

test('AP-08: every exception is in the register with who answers for it, why and until when; what is no exception is not', async () => {
  expect(await listed()).toMatchObject([
    { kind: 'grant', id: 'grant_wide', owner: 'omar', reason: 'incident 7', inForce: true },
    { kind: 'policy', id: 'team.migration', owner: 'sven', reason: 'migration, ticket 4711', until: Date.parse(until) },
    { kind: 'credential_sharing', id: 'cred_shared', owner: 'ada', reason: 'one account' },
    { kind: 'unsafe_setting', id: 'governance.unsafeAuthorMayActivate', owner: null, until: null },
  ]);
  expect(await listed('?kind=policy')).toHaveLength(1);
  expect((await plane.as('dana', 'GET', '/exceptions')).status).toBe(403);
});

test('AP-08: an exception is out of force at its end with no further action, and the register says so', async () => {
  expect([may('aiko', ['auditor']), may('anna', ['auditor'])]).toEqual(['allow', 'allow']);
  ahead = 2 * HOUR + 60_000;
  expect(may('aiko', ['auditor'])).toBe('deny');
  expect((await listed()).map(({ id }) => id)).toEqual(['cred_shared', 'governance.unsafeAuthorMayActivate']);
  expect((await listed('?standing=over')).map(({ id }) => id)).toEqual(['grant_wide', 'team.migration']);
  ahead = 3 * HOUR + 60_000;
  expect((await listed()).map(({ id }) => id)).toEqual(['governance.unsafeAuthorMayActivate']);
  ahead = 0;
});

test('AP-08 twin: the same permit without its end, written behind the API, goes on; the register shows that it has none', async () => {
  const endless = WIDE.replace(/@until\("[^"]*"\)\n/, '');
  const put = (text: string | null) =>
    plane.seed([
      {
        kind: 'policy',
        org: 'default',
        id: 'team.endless',
        body: text === null ? null : { description: 'x', text, state: 'active' },
      },
    ]);
  await put(endless);
  ahead = 3 * HOUR;
  expect(may('aiko', ['auditor'])).toBe('allow');
  expect(await listed('?kind=policy')).toMatchObject([{ id: 'team.endless', until: null, inForce: true }]);
  await put(null);
  ahead = 0;
});

test('AZ-07: a grant ends at its moment with no further action, to the millisecond', async () => {
  const lasts = 600_000;
  const reply = await plane.as('sven', 'POST', '/grants', {
    grant: {
      who: { kind: 'person', id: 'dana' },
      what: { server: 'docs', items: ['read_file'] },
      justification: 'on call',
      lastsMs: lasts,
    },
  });
  expect([reply.status, reply.text]).toEqual([201, reply.text]);
  const id = String(reply.body['id']);
  expect(may('dana', ['member'])).toBe('deny');
  const done = await plane.as(
    'ada',
    'POST',
    `/grants/${id}/approve`,
    {},
    { 'if-match': reply.headers.get('etag') ?? '' },
  );
  const ends = Number(done.body['expiresAt']);
  const at = (moment: number): string => {
    ahead = moment - systemClock.now();
    return may('dana', ['member']);
  };
  expect(at(ends - 5_000)).toBe('allow');
  expect(at(ends + 1)).toBe('deny');
  expect((await plane.as('aiko', 'GET', `/grants/${id}`)).body).toMatchObject({ state: 'active', standing: 'over' });
  ahead = 0;
});
