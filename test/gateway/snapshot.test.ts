/** The picture of the state: what cannot be read is left out, and where leaving out would permit more, everything is refused. */
import { describe, expect, test } from 'vitest';
import { callerStands } from '../../src/gateway/guards/caller-stands.ts';
import { snapshotIsFresh } from '../../src/gateway/guards/snapshot-is-fresh.ts';
import { lockOn } from '../../src/gateway/standing.ts';
import { visible } from '../../src/policy/decide.ts';
import type { Call } from '../../src/gateway/call.ts';
import { buildSnapshot, resolveUri, touchedBy } from '../../src/gateway/snapshot.ts';
import type { Snapshot } from '../../src/gateway/snapshot.ts';
import { principalOf } from '../../src/gateway/principal.ts';
import { callerLike } from '../support/caller.ts';
import { BASE, ISSUER, NOW, READ, item, lock, pictureOf, policy, person, server, stored, tool } from './state.ts';

const sees = (snapshot: Snapshot, id = 'dana'): boolean =>
  snapshot.policies !== null &&
  visible(
    snapshot.policies,
    { person: { id, roles: ['developer'], groups: [] }, agent: 'a', at: NOW },
    { server: 'notes', name: 'read_note' },
  );
const CALLER = callerLike({ issuer: ISSUER, subject: 'dana@corp' });

/** What the guard says of this caller's standing in a picture. */
const standing = (snapshot: Snapshot, now = NOW) =>
  callerStands.decide(callOn(snapshot), principalOf(snapshot, CALLER, now));

const callOn = (snapshot: Snapshot): Call =>
  ({
    snapshot,
    facts: { caller: CALLER },
  }) as unknown as Call;

describe('a whole picture', () => {
  test('holds everything, frozen', () => {
    const snapshot = pictureOf(BASE);
    expect(Object.isFrozen(snapshot)).toBe(true);
    expect([...snapshot.problems.values()].flat()).toEqual([]);
    expect([...snapshot.servers.get('notes')!.tools.keys()]).toEqual(['read_note', 'write_note']);
    expect(snapshot.servers.get('notes')!.tools.get('read_note')!.facts).toEqual({
      server: 'notes',
      name: 'read_note',
      kind: 'tool',
      risk: 'read',
      scope: 'notes:read',
      environment: 'production',
      dataClasses: ['internal'],
    });
    expect(sees(snapshot)).toBe(true);
  });

  test('keeps what did not change, and only that', () => {
    const before = pictureOf(BASE);
    const locked = pictureOf([...BASE, lock('l1', 'user', 'dana')], {
      previous: before,
      changed: ['lock'],
      revision: 2,
    });
    for (const part of ['people', 'servers', 'policies', 'approvals', 'organisation'] as const)
      expect(locked[part]).toBe(before[part]);
    expect(locked.locks).not.toBe(before.locks);
    expect(lockOn(locked, { person: 'dana' }, NOW)).toMatchObject({ id: 'l1' });
    const moved = pictureOf([...BASE, server('other')], { previous: locked, changed: ['server'], revision: 3 });
    expect(moved.locks).toBe(locked.locks);
    expect(moved.servers.has('other')).toBe(true);
    // The policies know the tools of the servers, so they move along.
    expect(moved.policies).not.toBe(locked.policies);
    expect(moved.policyDigest).toBe(locked.policyDigest);
  });
});

describe('groups', () => {
  const group = (roles: readonly string[], more: object = {}) =>
    stored('group', 'ops', { name: 'Ops', roles, ...more });
  const step = (record: ReturnType<typeof group> | undefined) => {
    const before = pictureOf([...BASE, group(['operator'])]);
    const after = record ? [...BASE, record] : BASE;
    const next = buildSnapshot({
      org: 'default',
      revision: 2,
      at: NOW,
      records: (kind) => after.filter((one) => one.kind === kind),
      previous: before,
      changed: new Set(['group']),
      touched: touchedBy([{ kind: 'group', org: 'default', id: 'ops' }], 'default', () => record),
    });
    return [next.groupsRevision, next.rulesRevision];
  };

  test.each<[string, ReturnType<typeof group> | undefined, readonly number[]]>([
    ['written with its members', group(['operator'], { provisioned: { connection: 'corp' } }), [1, 1]],
    ['given another role', group(['operator', 'auditor']), [2, 2]],
    ['without its roles', group([]), [2, 2]],
    ['removed', undefined, [2, 2]],
  ])('a group that is %s', (_title, record, revisions) => {
    expect(step(record)).toEqual(revisions);
  });
});

describe('what cannot be read', () => {
  test('a lock: nobody can be known to be free of it, so every call is refused', () => {
    for (const broken of [
      stored('lock', 'l1', { subject: 'dana' }),
      stored('lock', 'l1', {}),
      lock('l1', 'planet', 'earth'),
    ]) {
      const snapshot = pictureOf([...BASE, broken]);
      expect(snapshot.locks).toBeNull();
      expect(snapshotIsFresh.decide(callOn(snapshot), { ageMs: 0, limitMs: 1 })).toEqual({
        pass: false,
        denial: { reason: 'snapshot_unsound' },
      });
      expect(lockOn(snapshot, { server: 'notes' }, NOW)).toMatchObject({ id: 'unreadable' });
      expect(snapshot.problems.get('lock')?.[0]).toMatch(/^lock l1: /);
    }
  });

  test.each([
    ['is no record', stored('policy', 'p', { text: 1 })],
    ['does not parse', policy('p', 'permit (')],
    ['does not fit the schema', policy('p', 'forbid (principal, action, resource) when { resource.colour == "red" };')],
  ])('a policy that %s: every decision is no', (_title, broken) => {
    const snapshot = pictureOf([...BASE, broken]);
    expect(snapshot.policies).toBeNull();
    expect(sees(snapshot)).toBe(false);
    expect(snapshot.problems.get('policy')?.[0]).toContain('p');
    // Repaired, it decides again.
    expect(sees(pictureOf(BASE, { previous: snapshot, changed: ['policy'] }))).toBe(true);
  });

  test('a draft that does not parse decides nothing and breaks nothing', () => {
    expect(sees(pictureOf([...BASE, policy('p', 'permit (', 'draft')]))).toBe(true);
  });

  test('policies that do not compile stay unusable when servers and tools change', () => {
    const broken = pictureOf([...BASE, policy('p', 'permit (')]);
    expect(pictureOf([...BASE, server('other')], { previous: broken, changed: ['server'] }).policies).toBeNull();
  });

  test('a person, a server, a tool: left out and told, the others stay', () => {
    const snapshot = pictureOf([
      ...BASE,
      stored('person', 'broken', { issuer: ISSUER, subject: 'broken@corp', roles: 'administrator' }),
      server('broken', { upstream: { transport: 'carrier-pigeon' } }),
      stored('tool', 'notes/broken', { server: 'notes', name: 'broken' }),
    ]);
    expect(snapshot.people.byIdentity(ISSUER, 'broken@corp')).toBeUndefined();
    expect(snapshot.servers.has('broken')).toBe(false);
    expect(snapshot.servers.get('notes')!.tools.has('broken')).toBe(false);
    expect(snapshot.people.byIdentity(ISSUER, 'dana@corp')?.id).toBe('dana');
    for (const kind of ['person', 'server', 'tool']) expect(snapshot.problems.get(kind)).toHaveLength(1);
  });

  test('a tool whose digest does not fit its definition, as after a change in the database', () => {
    const spec = tool('notes', { ...READ, definition: { ...READ.definition, name: 'forged' } });
    const approved = spec.body['approved'] as object;
    const forged = stored('tool', 'notes/forged', {
      ...spec.body,
      approved: { ...approved, definition: { ...READ.definition, name: 'forged', description: 'another' } },
    });
    const snapshot = pictureOf([...BASE, forged]);
    expect(snapshot.servers.get('notes')!.tools.has('forged')).toBe(false);
    expect(snapshot.problems.get('tool')).toEqual(['tool notes/forged: its digests do not fit its content']);
  });

  test('an organisation: its issuers cannot be known, so nobody is a person of it', () => {
    const snapshot = pictureOf(
      BASE.map((record) => (record.kind === 'organisation' ? stored('organisation', 'default', {}) : record)),
    );
    expect(snapshot.organisation).toBeNull();
    expect(standing(snapshot)).toEqual({ pass: false, denial: { reason: 'person_unknown' } });
  });
});

describe('items by key, URIs by item', () => {
  const TEMPLATES = ['docs://{+path}', 'docs://manual/{page}', 'docs://{area}/x', 'note:{a}{b}'];
  const picture = pictureOf([
    ...BASE,
    item('notes', 'prompt', { name: 'greeting', arguments: [{ name: 'who', required: true }] }),
    item('notes', 'resource', { uri: 'docs://manual/cover', name: 'cover' }),
    item('notes', 'resource', { uri: 'docs://manual/draft', name: 'draft' }, { approved: null }),
    item('notes', 'resource', { uri: 'file:///etc/../odd', name: 'odd' }),
    ...TEMPLATES.map((uriTemplate) => item('notes', 'template', { uriTemplate, name: 'x' })),
    item('notes', 'template', { uriTemplate: 'secret://{id}', name: 'x' }, { approved: null }),
    item('notes', 'server', { instructions: 'Be kind.', serverInfo: {} }),
  ]);
  const notes = picture.servers.get('notes')!;

  test('an item stands under its key, with its kind, a check of its own, and facts that policies know by the key', () => {
    expect([...picture.problems.values()].flat()).toEqual([]);
    const prompt = notes.tools.get('prompt greeting')!;
    expect(prompt).toMatchObject({
      kind: 'prompt',
      name: 'greeting',
      key: 'prompt greeting',
      id: 'notes/prompt greeting',
    });
    expect(prompt.facts).toMatchObject({ server: 'notes', name: 'prompt greeting', kind: 'prompt', risk: 'read' });
    expect([prompt.check?.check({ who: 'x' }).ok, prompt.check?.check({}).ok]).toEqual([true, false]);
    expect(prompt.schema).toMatchObject({ required: ['who'] });
    expect(picture.policies!.tools.get('notes')!.has('prompt greeting')).toBe(true);
    expect(notes.tools.get('server instructions')!.facts).not.toBeNull();
    expect([...notes.tools.keys()].filter((key) => !key.includes(' '))).toEqual(['read_note', 'write_note']);
  });

  test('templates stand in one order: the most specific first, then by text; one that cannot be read is not among them', () => {
    expect(notes.templates.map(({ entry }) => entry.name)).toEqual([
      'docs://manual/{page}',
      'docs://{+path}',
      'docs://{area}/x',
    ]);
    expect(notes.tools.get('template note:{a}{b}')).toMatchObject({ check: null, schema: null });
  });

  test.each([
    ['docs://manual/cover', 'resource docs://manual/cover', {}],
    ['docs://manual/7', 'template docs://manual/{page}', { page: '7' }],
    // Nobody approved it as a resource of its own.
    ['docs://manual/draft', 'template docs://manual/{page}', { page: 'draft' }],
    ['docs://a/b', 'template docs://{+path}', { path: 'a/b' }],
    // An approved resource is taken at its word: the reviewer saw this URI.
    ['file:///etc/../odd', 'resource file:///etc/../odd', {}],
  ])('AZ-01: %s belongs to %s', (uri, key, variables) => {
    const found = resolveUri(notes, uri)!;
    expect([found.item.key, found.variables]).toEqual([key, variables]);
  });

  test.each(['secret://1', 'note:ab', 'docs://a/../b', 'DOCS://a', 'docs:', '', 'prompt greeting', 'read_note'])(
    "AZ-01: %j is nobody's, and so not found",
    (uri) => {
      expect(resolveUri(notes, uri)).toBeNull();
    },
  );
});

describe('standing', () => {
  test('two records of one subject stand for nobody', () => {
    const snapshot = pictureOf([...BASE, person('twin', ['administrator'], { subject: 'dana@corp' })]);
    expect(standing(snapshot)).toMatchObject({ pass: false });
  });

  test('an issuer that the organisation no longer trusts speaks for nobody', () => {
    const other = BASE.map((record) =>
      record.kind === 'organisation'
        ? stored('organisation', 'default', { title: 'T', issuers: ['https://other.example'] })
        : record,
    );
    expect(standing(pictureOf(other))).toEqual({
      pass: false,
      denial: { reason: 'person_unknown' },
    });
  });

  test('a lock ends by itself at its time', () => {
    const snapshot = pictureOf([...BASE, lock('l1', 'user', 'dana', NOW + 1_000)]);
    expect(standing(snapshot, NOW + 999)).toMatchObject({
      pass: false,
      denial: { reason: 'locked', on: 'user' },
    });
    expect(standing(snapshot, NOW + 1_000)).toMatchObject({ pass: true });
  });

  test('a picture as old as the limit still decides, a moment older does not', () => {
    const call = callOn(pictureOf(BASE));
    expect(snapshotIsFresh.decide(call, { ageMs: 2_000, limitMs: 2_000 })).toEqual({ pass: true });
    expect(snapshotIsFresh.decide(call, { ageMs: 2_001, limitMs: 2_000 })).toEqual({
      pass: false,
      denial: { reason: 'snapshot_stale', ageMs: 2_001 },
    });
    expect(snapshotIsFresh.decide(call, { ageMs: Number.NaN, limitMs: 2_000 }).pass).toBe(false);
  });
});

describe('AZ-14: what a switch takes away', () => {
  const read = (uriTemplate: string) => ({ uriTemplate, name: uriTemplate });
  const live = item('notes', 'template', read('docs://live/{name}'));
  const plain = item('notes', 'template', read('docs://{+path}'));
  const whole = { ...(plain.body['approved'] as object), productionData: false };
  const records = [
    ...BASE.filter(({ kind }) => kind !== 'server'),
    server('notes', { switches: { productionData: false } }),
    live,
    { ...plain, body: { ...plain.body, approved: whole } as typeof plain.body },
  ];

  test('AZ-14: a URI under a template that is switched off does not fall to another template', () => {
    const notes = pictureOf(records).servers.get('notes')!;
    expect(resolveUri(notes, 'docs://live/x')!.item).toMatchObject({
      key: 'template docs://live/{name}',
      switchedOff: 'productionData',
    });
    expect(resolveUri(notes, 'docs://other')!.item).toMatchObject({ switchedOff: null });
  });

  test('AZ-14 twin: were it gone from the picture, the other template would hand the same URI out', () => {
    const notes = pictureOf(records.filter((record) => record !== live)).servers.get('notes')!;
    expect(resolveUri(notes, 'docs://live/x')!.item).toMatchObject({
      key: 'template docs://{+path}',
      switchedOff: null,
    });
  });
});
