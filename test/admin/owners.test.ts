/** NH-05: what becomes of servers, agents that act alone and credentials when nobody of their owners is left, by whatever path they left. */
import { afterEach, describe, expect, test } from 'vitest';
import type { AdminContext } from '../../src/admin/context.ts';
import { watchOwners } from '../../src/admin/owner-watch.ts';
import { personKey } from '../../src/directory/records.ts';
import { agentKey } from '../../src/inventory/agents.ts';
import { manualClock } from '../../src/lib/clock.ts';
import { SERVER, startPlane, type Plane } from './plane.ts';

const HOUR = 3_600_000;
const open: Array<() => Promise<void>> = [];
afterEach(async () => {
  for (const close of open.splice(0).toReversed()) await close();
});

/** Olga answers for three things that work, for two that do not, and through a group for a fourth. */
async function orphanage(facts: Partial<AdminContext['facts']> = {}) {
  const clock = manualClock(Date.now());
  let ctx!: AdminContext;
  const plane: Plane = await startPlane({ facts, wrap: (plain) => (ctx = { ...plain, clock }) });
  open.push(() => plane.close());
  const person = (id: string, more: object = {}) =>
    plane.put(
      'person',
      id,
      { issuer: plane.issuer.issuer, subject: id, name: id, state: 'active', roles: ['operator'], ...more },
      personKey(plane.issuer.issuer, id),
    );
  const { dataClasses: _d, source: _s, upstream: _u, timeoutMs: _t, ...governed } = SERVER;
  const server = (id: string, more: object) => plane.put('server', id, { ...SERVER, state: 'enabled', ...more });
  await plane.seed([
    person('olga', { groups: ['desk'] }),
    person('otis', { groups: ['desk'], state: 'inactive' }),
    plane.put('group', 'desk', { name: 'Desk', roles: [] }),
    server('hers', { owner: 'olga' }),
    server('shared', { owner: 'group/desk' }),
    server('waiting', { owner: 'olga', state: 'in_review' }),
    server('over', { owner: 'olga', state: 'retired' }),
    server('theirs', { owner: 'omar' }),
    plane.put(
      'agent',
      'robot',
      {
        ...governed,
        owner: 'olga',
        issuer: plane.issuer.issuer,
        clientId: 'robot',
        kind: 'autonomous',
        state: 'active',
        roles: ['developer'],
        ceiling: {},
      },
      agentKey(plane.issuer.issuer, 'robot'),
    ),
    plane.put('credential', 'key', {
      ...governed,
      owner: 'olga',
      state: 'enabled',
      source: { kind: 'sealed' },
      servers: ['hers'],
      maxAgeDays: 90,
      versions: [],
    }),
  ]);
  const watch = () => {
    const watching = watchOwners(ctx);
    open.push(() => watching.close());
    return watching;
  };
  const state = (kind: string, id: string) => ctx.follower.records.get(kind, 'default', id)?.body['state'];
  const states = () =>
    [
      ['server', 'hers'],
      ['server', 'shared'],
      ['agent', 'robot'],
      ['credential', 'key'],
    ].map(([kind = '', id = '']) => `${id} ${state(kind, id) as string}`);
  const found = async () =>
    ((await plane.as('aiko', 'GET', '/findings')).body['findings'] as Array<{ id: string; code: string }>)
      .filter(({ code }) => code === 'owner_gone')
      .map(({ id }) => id);
  const events = async () =>
    (await plane.entries('admin'))
      .map(({ event }) => event as Record<string, unknown>)
      .filter(({ source }) => source === 'remit:owners')
      .map(({ what, subject }) => `${String(what)} ${String(subject)}`);
  return { plane, clock, watch, state, states, found, events, person };
}

const WORKS = ['hers enabled', 'shared enabled', 'robot active', 'key enabled'];
const STOPPED = ['hers suspended', 'shared suspended', 'robot suspended', 'key suspended'];

type World = Awaited<ReturnType<typeof orphanage>>;
const LEAVING: ReadonlyArray<readonly [string, (world: World) => Promise<unknown>]> = [
  ['made inactive', ({ plane, person }) => plane.seed([person('olga', { groups: ['desk'], state: 'inactive' })])],
  ['deleted', ({ plane }) => plane.seed([{ kind: 'person', org: 'default', id: 'olga', body: null }])],
  ['unreadable', ({ plane }) => plane.seed([plane.put('person', 'olga', { name: 7 })])],
];

describe('NH-05: the owner leaves', () => {
  test.each(LEAVING)(
    'NH-05: %s: listed at once, suspended after the set time, written down both times',
    async (_t, leave) => {
      const world = await orphanage();
      const watch = world.watch();
      await watch.look();
      expect([world.states(), await world.found(), await world.events()]).toEqual([WORKS, [], []]);

      await leave(world);
      expect((await world.found()).toSorted()).toEqual(['hers', 'key', 'robot', 'shared', 'waiting']);
      await watch.look();
      expect((await world.events()).toSorted()).toEqual([
        'agent.owner_gone agent/robot',
        'credential.owner_gone credential/key',
        'server.owner_gone server/hers',
        'server.owner_gone server/shared',
      ]);
      world.clock.advance(24 * HOUR - 1);
      await watch.look();
      expect(world.states()).toEqual(WORKS);
      world.clock.advance(1);
      await watch.look();
      expect(world.states()).toEqual(STOPPED);
      expect((await world.events()).slice(4).toSorted()).toEqual([
        'agent.suspended agent/robot',
        'credential.suspended credential/key',
        'server.suspended server/hers',
        'server.suspended server/shared',
      ]);
      expect([
        world.state('server', 'waiting'),
        world.state('server', 'over'),
        world.state('server', 'theirs'),
      ]).toEqual(['in_review', 'retired', 'enabled']);
      // The tokens of the agent went with it.
      expect(world.plane.snapshot().voids?.get('client robot')).toBeDefined();
      await watch.look();
      expect((await world.events()).length).toBe(8);
    },
  );

  test('NH-05: a restart does not begin the time anew', async () => {
    const world = await orphanage();
    const first = world.watch();
    await LEAVING[0]![1](world);
    await first.look();
    await first.close();
    world.clock.advance(24 * HOUR);
    await world.watch().look();
    expect(world.states()).toEqual(STOPPED);
  });

  test('NH-05 twin: with what was noticed kept in memory only, a restart would have given another day', async () => {
    const world = await orphanage();
    const first = world.watch();
    await LEAVING[0]![1](world);
    await first.look();
    await first.close();
    world.clock.advance(24 * HOUR);
    const forgotten = ['server/hers', 'server/shared', 'agent/robot', 'credential/key'];
    await world.plane.seed(forgotten.map((id) => ({ kind: 'ownerless', org: 'default', id, body: null })));
    await world.watch().look();
    expect(world.states()).toEqual(WORKS);
  });

  test('NH-05: whoever is named in time keeps it working, without a review; the group counts while one of it is there', async () => {
    const world = await orphanage();
    const watch = world.watch();
    await LEAVING[0]![1](world);
    await watch.look();
    const name = (who: string, owner: string) =>
      world.plane.as(who, 'POST', '/servers/hers/owner', { owner, reason: 'Olga left' });
    expect((await name('omar', 'omar')).status).toBe(403);
    for (const owner of ['olga', 'nobody-here', 'group/none', 'group/desk', ''])
      expect([owner, (await name('ada', owner)).status]).toEqual([owner, 422]);
    expect((await name('ada', 'omar')).body).toMatchObject({ owner: 'omar', state: 'enabled' });
    await world.plane.seed([world.person('otis', { groups: ['desk'] })]);
    await watch.look();
    expect(await world.found()).toEqual(['waiting', 'key', 'robot']);
    world.clock.advance(25 * HOUR);
    await watch.look();
    expect(world.states()).toEqual(['hers enabled', 'shared enabled', 'robot suspended', 'key suspended']);
  });

  test('NH-05: who was named and leaves, too, has a time of their own', async () => {
    const world = await orphanage();
    const watch = world.watch();
    await LEAVING[0]![1](world);
    await watch.look();
    world.clock.advance(20 * HOUR);
    await world.plane.seed([world.plane.put('server', 'hers', { ...SERVER, state: 'enabled', owner: 'nobody-here' })]);
    await watch.look();
    world.clock.advance(5 * HOUR);
    await watch.look();
    expect(world.states()).toEqual(['hers enabled', 'shared suspended', 'robot suspended', 'key suspended']);
    world.clock.advance(19 * HOUR);
    await watch.look();
    expect(world.states()).toEqual(STOPPED);
  });

  test('NH-05: with 0 hours nothing waits', async () => {
    const world = await orphanage({ ownerlessAfterHours: 0 });
    const watch = world.watch();
    await LEAVING[1]![1](world);
    await watch.look();
    expect(world.states()).toEqual(STOPPED);
  });

  test('NH-05: the list says until when somebody can be named', async () => {
    const world = await orphanage();
    const watch = world.watch();
    await LEAVING[0]![1](world);
    await watch.look();
    const { findings } = (await world.plane.as('aiko', 'GET', '/findings')).body;
    expect(findings).toContainEqual(
      expect.objectContaining({ kind: 'server', id: 'hers', suspendedAt: world.clock.now() + 24 * HOUR }),
    );
  });
});
