/**
 * Three switches of a server, each on its own and together, turned through the admin API (AZ-14), and environments that do not mix (NH-07).
 * What a switch takes away is in no list, is answered like a name that was made up, reaches no server and is cut off where it runs.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { learn } from '../../src/gateway/guard.ts';
import { itemNamed } from '../../src/gateway/snapshot.ts';
import { ToolRecord, toolId } from '../../src/integrity/records.ts';
import { Agent, agentKey } from '../../src/inventory/agents.ts';
import type { Environment } from '../../src/inventory/records.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { ERAS, ORG, startRig, tableWith, textTool } from '../support/rig.ts';
import type { Answer, Rig, RigOptions } from '../support/rig.ts';

/** By name: whether it writes, and whether it touches production data. */
const KINDS = {
  read_live: { writes: false, live: true },
  read_test: { writes: false, live: false },
  write_live: { writes: true, live: true },
  write_test: { writes: true, live: false },
} as const;
type Name = keyof typeof KINDS;
const NAMES = Object.keys(KINDS) as Name[];
const SWITCHES = ['reachable', 'productionData', 'writes'] as const;
type Switches = Readonly<Record<(typeof SWITCHES)[number], boolean>>;
const ON: Switches = { reachable: true, productionData: true, writes: true };

async function startSwitched(options: RigOptions = {}): Promise<Rig> {
  const tools = NAMES.map((name) =>
    textTool(name, KINDS[name].writes ? 'write' : 'read', KINDS[name].writes ? 'notes:write' : 'notes:read'),
  );
  const rig = await startRig({ admin: true, servers: { notes: { tools } }, ...options });
  await rig.commit(
    NAMES.filter((name) => !KINDS[name].live).map((name) => {
      const id = toolId('notes', name);
      const record = ToolRecord.parse(rig.view.get('tool', ORG, id)!.body);
      const body = { ...record, approved: { ...record.approved!, productionData: false } };
      return { kind: 'tool', org: ORG, id, body };
    }),
  );
  return rig;
}

async function turn(rig: Rig, wanted: Switches, person = 'ada'): Promise<void> {
  const answer = await rig.admin(person, 'POST', '/servers/notes/switches', { ...wanted, reason: 'under test' });
  if (answer.status !== 409) expect(answer.status, answer.text).toBe(200);
}

let rig: Rig;
beforeAll(async () => {
  rig = await startSwitched();
});
afterAll(() => rig.stop());

const bit = (at: number, place: number): boolean => Math.floor(at / 2 ** place) % 2 === 0;
const MATRIX = Array.from({ length: 8 }, (_, at): Switches => ({
  reachable: bit(at, 0),
  productionData: bit(at, 1),
  writes: bit(at, 2),
}));
const there = (name: Name, { reachable, productionData, writes }: Switches): boolean =>
  reachable && (writes || !KINDS[name].writes) && (productionData || !KINDS[name].live);
const text = (switches: Switches): string =>
  SWITCHES.map((name) => `${name} ${switches[name] ? 'on' : 'off'}`).join(', ');
/** Without what differs from message to message. */
const told = ({ status, error }: Answer): string =>
  `${status} ${error?.code} ${error?.message.replaceAll(/\b[a-z]+_[0-9a-z]{20,}\b/g, 'REF')}`;

describe('AZ-14: three switches', () => {
  const CASES = MATRIX.flatMap((switches) => ERAS.map((era) => [text(switches), era, switches] as const));

  test.each(CASES)(
    'AZ-14: %s, %s client: lists and calls agree, and the server hears of the rest',
    async (_t, era, on) => {
      await turn(rig, on);
      const expected = NAMES.filter((name) => there(name, on));
      if (on.reachable) expect([...(await rig.names('notes', { era }))].toSorted()).toEqual([...expected].toSorted());
      else expect((await rig.ask('notes', 'tools/list', {}, { era })).status).toBe(403);
      for (const name of NAMES) {
        const before = rig.sink().calls().length;
        const answer = await rig.call('notes', name, { text: 'x' }, { era });
        expect([name, rig.sink().calls().length - before]).toEqual([name, expected.includes(name) ? 1 : 0]);
        if (expected.includes(name)) continue;
        const made = await rig.call('notes', 'made_up', { text: 'x' }, { era });
        expect(told(answer)).toBe(told(made));
        const why = (await rig.about(answer.reference))[0]?.decision?.reason;
        const by = KINDS[name].writes && !on.writes ? 'writes' : 'productionData';
        expect(why).toBe(on.reachable ? `tool_switched_off:${by}` : 'server_switched_off');
      }
    },
  );

  test('AZ-14: turning does not put the server in review, and a review does not turn anything back on', async () => {
    await turn(rig, { ...ON, writes: false });
    expect(rig.gateway.snapshot().servers.get('notes')?.record.state).toBe('enabled');
    const read = await rig.admin('omar', 'GET', '/servers/notes');
    const {
      id: _i,
      revision,
      url: _u,
      watching: _w,
      lacks: _l,
      isolation: _n,
      state: _s,
      switches: _o,
      ...server
    } = read.body;
    const put = (more: JsonObject) =>
      rig.admin(
        'omar',
        'PUT',
        '/servers/notes',
        { reason: 'x', server: { ...server, ...more } },
        { 'if-match': `"${revision as number}"` },
      );
    expect((await put({ switches: ON })).status).toBe(422);
    expect((await put({})).body).toMatchObject({ state: 'in_review' });
    expect(rig.gateway.snapshot().servers.get('notes')?.record.switches).toEqual({ ...ON, writes: false });
    await rig.setServer('notes', { state: 'enabled' });
    await rig.look('notes');
    await turn(rig, ON);
  });

  test('AZ-14: whoever is on call turns off; giving back takes a reviewer who signed in a moment ago', async () => {
    await turn(rig, ON);
    const by = (person: string, body: JsonObject) =>
      rig.admin(person, 'POST', '/servers/notes/switches', { ...body, reason: 'x' });
    expect((await by('dana', { writes: false })).status).toBe(403);
    expect((await by('omar', { writes: false })).status).toBe(200);
    expect([
      (await by('omar', { writes: true })).status,
      (await by('omar', { writes: true, reachable: false })).status,
    ]).toEqual([403, 403]);
    expect(rig.gateway.snapshot().servers.get('notes')?.record.switches).toEqual({ ...ON, writes: false });
    expect((await by('sven', { writes: true })).status).toBe(200);
    for (const body of [{}, { writes: 'off' }, { Writes: false }, { writes: null }])
      expect((await by('ada', body as JsonObject)).status).toBe(422);
    expect(rig.gateway.snapshot().servers.get('notes')?.record.switches).toEqual(ON);
    expect((await rig.entries('admin')).at(-1)?.event).not.toMatchObject({ what: 'server.switched', writes: false });
  });

  test.each([
    ['writes', 'write_test', 'read_live'],
    ['productionData', 'read_live', 'write_test'],
    ['reachable', 'read_test', null],
  ] as const)('AZ-14: %s off cuts off what runs under it, and nothing else', async (name, hit, spared) => {
    await turn(rig, ON);
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    rig
      .sink()
      .onCall((call) =>
        Promise.race([call.gone, released]).then(() => ({ content: [{ type: 'text', text: 'SECRET RESULT' }] })),
      );
    const before = rig.sink().calls().length;
    const cut = rig.call('notes', hit, { text: 'x' });
    const kept = spared === null ? null : rig.call('notes', spared, { text: 'x' });
    await rig.until('the server has them', () => rig.sink().calls().length === before + (kept ? 2 : 1));
    await turn(rig, { ...ON, [name]: false });
    const answer = await cut;
    expect(answer.text).toContain('Access was withdrawn while the call ran');
    expect(answer.text).not.toContain('SECRET RESULT');
    release();
    if (kept) expect((await kept).text).toContain('SECRET RESULT');
    rig.sink().onCall(() => ({ content: [{ type: 'text', text: 'ok' }] }));
    await turn(rig, ON);
  });

  test('AZ-14 twin: without the two guards that ask, every switch that is off lets the same calls through', async () => {
    const open = await startSwitched({
      table: tableWith({
        'server-is-enabled': (call) => learn({ server: call.snapshot.servers.get('notes')! }),
        'item-is-theirs': (call) =>
          learn({ tool: itemNamed(call.snapshot.servers.get('notes')!, 'tool', call.subject.name!)! }),
      }),
    });
    try {
      for (const name of SWITCHES) {
        await turn(open, { ...ON, [name]: false });
        const before = open.sink().calls().length;
        await open.call('notes', 'write_live', { text: 'x' });
        expect([name, open.sink().calls().length - before]).toEqual([name, 1]);
        await turn(open, ON);
      }
    } finally {
      await open.stop();
    }
  });
});

describe('NH-07: production and everything else do not mix', () => {
  const SERVERS: Readonly<Record<string, Environment>> = {
    live: 'production',
    trial: 'staging',
    bench: 'development',
    play: 'evaluation',
  };
  const servers = Object.fromEntries(
    Object.entries(SERVERS).map(([id, environment]) => [
      id,
      { tools: [textTool('read_note', 'read', 'notes:read')], record: { environment } },
    ]),
  );
  let mixed: Rig;
  beforeAll(async () => {
    mixed = await startRig({ servers });
    for (const client of ['agent-1', 'agent-2']) await mixed.call('live', 'read_note', { text: 'x' }, { client });
    await mixed.caughtUp();
  });
  afterAll(() => mixed.stop());

  async function mark(on: Rig, environment: Environment | undefined, client = 'agent-1'): Promise<void> {
    const known = on.gateway.snapshot().agents.get(agentKey(on.issuer.issuer, client))!;
    const { id, environment: _, ...agent } = known;
    const body = Agent.parse({ ...agent, ...(environment !== undefined && { environment }) });
    await on.commit([{ kind: 'agent', org: ORG, id, key: agentKey(agent.issuer, agent.clientId), body }]);
  }
  const CASES = [undefined, 'production', 'staging', 'development', 'evaluation'] as const;
  const meets = (agent: (typeof CASES)[number], server: Environment): boolean =>
    agent === undefined || (agent === 'production') === (server === 'production');

  test.each(CASES.flatMap((environment) => ERAS.map((era) => [environment ?? 'none', era, environment] as const)))(
    'NH-07: an agent marked %s, %s client, reaches and is shown one side only',
    async (_title, era, environment) => {
      await mark(mixed, environment);
      for (const [id, of] of Object.entries(SERVERS)) {
        const before = mixed.sink(id).calls().length;
        const answer = await mixed.call(id, 'read_note', { text: 'x' }, { era });
        const shown = await mixed.names(id, { era });
        const reaches = meets(environment, of);
        expect([id, shown, mixed.sink(id).calls().length - before]).toEqual([
          id,
          reaches ? ['read_note'] : [],
          reaches ? 1 : 0,
        ]);
        if (!reaches) expect(told(answer)).toBe(told(await mixed.call(id, 'made_up', { text: 'x' }, { era })));
      }
    },
  );

  test('NH-07: through an agent of the other side nobody reaches anything', async () => {
    await mark(mixed, 'production');
    await mark(mixed, 'staging', 'agent-2');
    const counts = () => Object.keys(SERVERS).map((id) => mixed.sink(id).calls().length);
    const before = counts();
    for (const id of Object.keys(SERVERS)) {
      const token = mixed.token('dana', { server: id, client: 'agent-1', claims: { act: { sub: 'agent-2' } } });
      await mixed.call(id, 'read_note', { text: 'x' }, { token });
    }
    expect(counts()).toEqual(before);
    await mark(mixed, undefined);
    await mark(mixed, undefined, 'agent-2');
  });

  test('NH-07 twin: without the guard that asks for the ceiling, the agent of staging is in production', async () => {
    const open = await startRig({
      servers,
      table: tableWith({
        'item-is-theirs': (call) => learn({ tool: itemNamed(call.facts.server!, 'tool', call.subject.name!)! }),
      }),
    });
    try {
      await open.call('live', 'read_note', { text: 'x' });
      await open.caughtUp();
      await mark(open, 'staging');
      const before = open.sink('live').calls().length;
      await open.call('live', 'read_note', { text: 'x' });
      expect(open.sink('live').calls().length - before).toBe(1);
    } finally {
      await open.stop();
    }
  });
});
