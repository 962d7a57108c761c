/**
 * Against people's agreement (TRUST.md section 7): whoever wants a call through that nobody agreed to, twice what one agreed to, or
 * something else than they read; and whoever asks until somebody says yes. The oracle is the sink.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { deny } from '../../src/gateway/guard.ts';
import { manualClock, systemClock } from '../../src/lib/clock.ts';
import type { Clock, ManualClock } from '../../src/lib/clock.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { toolId } from '../../src/integrity/records.ts';
import { ORG, startRig, tableWith } from '../support/rig.ts';
import type { Answer, CallOptions, Rig, RigOptions } from '../support/rig.ts';

const PEOPLE = {
  dana: ['developer'],
  omar: ['operator'],
  otto: ['operator', 'approver'],
  petra: ['approver'],
  paul: ['approver'],
  pia: ['approver'],
  sven: ['security_reviewer'],
  ada: ['administrator'],
} as const;

let clock: ManualClock;
let rig: Rig;
let serial = 0;
const start = (more: RigOptions = {}, at: Clock = clock): Promise<Rig> =>
  startRig({
    admin: true,
    people: PEOPLE,
    clock: at,
    freshnessLimitMs: 86_400_000,
    approvals: { openPerCaller: 10 },
    ...more,
  });
beforeAll(async () => {
  clock = manualClock(Date.now());
  rig = await start();
});
afterAll(() => rig.stop());

let before = 0;
beforeEach(() => {
  // What an earlier test left open is over.
  clock.advance(16 * 60_000);
  before = rig.sink().calls().length;
});
const made = (on = rig): number => on.sink().calls().length - (on === rig ? before : 0);
const fresh = (): JsonObject => ({ text: `agreed ${++serial}` });
const remove = (args: JsonObject, how: CallOptions = {}, on = rig): Promise<Answer> =>
  on.call('notes', 'delete_note', args, {
    as: 'omar',
    token: on.token(how.as ?? 'omar', { client: how.client ?? 'agent-1' }),
    ...how,
  });
const idOf = ({ text }: Answer): string => /approval \((apr_[0-9a-z]+), until /.exec(text)?.[1] ?? '';
const read = async (id: string, on = rig): Promise<JsonObject> =>
  (await on.admin('petra', 'GET', `/approvals/${id}`)).body;
const say = async (who: string, id: string, what: 'approve' | 'deny' = 'approve', on = rig): Promise<string> => {
  const call = on.view.get('approval', ORG, id)!.body['call']!;
  const { status, error, body } = await on.admin(who, 'POST', `/approvals/${id}/${what}`, { call });
  return status === 200 ? (body['state'] as string) : String(error?.code);
};
const passed = ({ result }: Answer): boolean => result !== undefined && result['isError'] !== true;

/** Changes what the review says of a tool, as if it had been reviewed again. */
async function review(change: JsonObject, on = rig): Promise<void> {
  const id = toolId('notes', 'delete_note');
  const { body } = on.view.get('tool', ORG, id)!;
  const approved = { ...(body['approved'] as JsonObject), ...change };
  for (const [key, value] of Object.entries(change))
    if (value === null) delete (approved as Record<string, unknown>)[key];
  await on.commit([{ kind: 'tool', org: ORG, id, body: { ...body, approved } }]);
}

describe('what cannot be undone', () => {
  beforeAll(() => review({ irreversible: true }));
  afterAll(() => review({ irreversible: null }));

  test('AP-03: takes two people; one of them twice is one', async () => {
    const args = fresh();
    const id = idOf(await remove(args));
    expect(await say('petra', id)).toBe('pending');
    expect(await say('petra', id)).toBe('approval_twice');
    expect(idOf(await remove(args))).toBe(id);
    expect(made()).toBe(0);
    expect(await say('paul', id)).toBe('approved');
    expect([passed(await remove(args)), made()]).toEqual([true, 1]);
  });

  test('AP-03: one no ends it, whoever said yes before', async () => {
    const args = fresh();
    const id = idOf(await remove(args));
    expect(await say('petra', id)).toBe('pending');
    expect(await say('paul', id, 'deny')).toBe('denied');
    expect(await say('pia', id)).toBe('approval_state');
    expect([passed(await remove(args)), made()]).toEqual([false, 0]);
  });

  test('AP-03: a yes whose giver lost the role before the last yes does not count, nor one that is lost before the use', async () => {
    const args = fresh();
    const id = idOf(await remove(args));
    await say('petra', id);
    await rig.setPerson('petra', ['developer']);
    expect(await say('paul', id)).toBe('pending');
    expect(await say('pia', id)).toBe('approved');
    await rig.setPerson('pia', ['approver'], { state: 'inactive' });
    const again = await remove(args);
    expect([passed(again), made()]).toEqual([false, 0]);
    expect(idOf(again)).not.toBe(id);
    expect(rig.view.get('approval', ORG, id)?.body).toMatchObject({
      state: 'cancelled',
      ended: 'who agreed may not do so any more',
    });
    await rig.setPerson('pia', ['approver']);
    await rig.setPerson('petra', ['approver']);
  });

  test('AP-03 twin: where one yes were enough for it, petra alone deletes', async () => {
    await review({ irreversible: null });
    const args = fresh();
    const id = idOf(await remove(args));
    expect(await say('petra', id)).toBe('approved');
    expect([passed(await remove(args)), made()]).toEqual([true, 1]);
    await review({ irreversible: true });
  });
});

describe('who may not agree', () => {
  /** otto asks through agent-1, which is somebody's. */
  const owned = async (owner: string | null): Promise<void> => {
    const known = [...rig.view.records('agent', ORG)].find(({ body }) => body['clientId'] === 'agent-1')!;
    const { owner: _owner, ...rest } = known.body;
    const key = `${rig.issuer.issuer} agent-1`;
    const body = owner === null ? rest : { ...rest, owner };
    await rig.commit([{ kind: 'agent', org: ORG, id: known.id, key, body }]);
  };
  const rows: ReadonlyArray<readonly [string, string, () => Promise<unknown>, string]> = [
    ['who asked', 'otto', async () => null, 'approval_self'],
    ['who owns the agent that asked', 'petra', () => owned('petra'), 'approval_self'],
    [
      'a member of the group that owns the agent that asked',
      'petra',
      async () => {
        await rig.commit([{ kind: 'group', org: ORG, id: 'team', body: { name: 'Team', roles: [] } }]);
        await owned('group/team');
        await rig.setPerson('petra', ['approver'], { groups: ['team'] });
      },
      'approval_self',
    ],
    ['an administrator who is no approver', 'ada', async () => null, 'approval_role'],
    ['a reviewer who is no approver', 'sven', async () => null, 'approval_role'],
    ['an approver who was locked out', 'petra', () => rig.lock({ kind: 'user', value: 'petra' }), 'undefined'],
  ];
  test.each(rows)('AP-03: %s', async (_what, who, make, code) => {
    const lockOrNot = await make();
    const args = fresh();
    const id = idOf(await remove(args, { as: 'otto' }));
    const said = await say(who, id);
    if (code === 'undefined') expect(said).not.toBe('approved');
    else expect(said).toBe(code);
    expect(await say(who, id, 'deny')).not.toBe('denied');
    expect([passed(await remove(args, { as: 'otto' })), made()]).toEqual([false, 0]);
    if (typeof lockOrNot === 'string') await rig.unlock(lockOrNot);
    await rig.setPerson('petra', ['approver']);
    await owned(null);
  });

  test('AP-03: where the server names groups, their members decide and nobody else, whatever their role', async () => {
    await rig.commit([{ kind: 'group', org: ORG, id: 'payers', body: { name: 'Payers', roles: [] } }]);
    await rig.setPerson('dana', ['developer'], { groups: ['payers'] });
    await rig.setPerson('otto', ['operator', 'approver'], { groups: ['payers'] });
    await rig.setServer('notes', { approvers: ['payers'] });
    const args = fresh();
    const id = idOf(await remove(args, { as: 'otto' }));
    expect(await say('petra', id)).toBe('approval_role');
    expect(await say('otto', id)).toBe('approval_self');
    expect(await say('dana', id)).toBe('approved');
    expect([passed(await remove(args, { as: 'otto' })), made()]).toEqual([true, 1]);
    const { approvers: _approvers, ...plain } = rig.view.get('server', ORG, 'notes')!.body;
    await rig.commit([{ kind: 'server', org: ORG, id: 'notes', body: plain }]);
    await rig.setPerson('dana', ['developer']);
    await rig.setPerson('otto', ['operator', 'approver']);
  });
});

describe('time', () => {
  test('AP-05: a yes after the time is none, and the call never runs; the record says expired', async () => {
    const args = fresh();
    const id = idOf(await remove(args));
    clock.advance(15 * 60_000);
    expect(await say('petra', id)).toBe('approval_expired');
    await rig.gateway.sweep();
    await rig.caughtUp();
    expect(rig.view.get('approval', ORG, id)?.body['state']).toBe('expired');
    expect(await say('petra', id)).toBe('approval_state');
    expect(
      (await rig.entries('admin')).some(
        ({ event }) => event?.['what'] === 'approval.expired' && event['approval'] === id,
      ),
    ).toBe(true);
    expect(idOf(await remove(args))).not.toBe(id);
    expect(made()).toBe(0);
  });

  test('AP-05: a yes that nobody used in time is void', async () => {
    const args = fresh();
    const id = idOf(await remove(args));
    expect(await say('petra', id)).toBe('approved');
    clock.advance(15 * 60_000);
    expect(idOf(await remove(args))).not.toBe(id);
    expect(rig.view.get('approval', ORG, id)?.body['state']).toBe('expired');
    expect(made()).toBe(0);
  });

  test('AP-05 twin: a clock that stands still on the gateway lets the late yes through', async () => {
    const stands: Clock = {
      now: (
        (at) => () =>
          at
      )(clock.now()),
    };
    const open = await start({}, stands);
    try {
      const args = fresh();
      const id = idOf(await remove(args, {}, open));
      clock.advance(15 * 60_000);
      expect(await say('petra', id, 'approve', open)).toBe('approved');
      expect([passed(await remove(args, {}, open)), made(open)]).toEqual([true, 1]);
    } finally {
      await open.stop();
    }
  });
});

describe('who asks until somebody says yes', () => {
  test('AP-06: two hundred requests put at most ten before people, and say when to come again', async () => {
    const pending = async (): Promise<number> =>
      [...rig.view.records('approval', ORG)].filter(
        ({ body }) => body['state'] === 'pending' && body['agent'] === 'agent-flood',
      ).length;
    const answers = await Promise.all(Array.from({ length: 200 }, () => remove(fresh(), { client: 'agent-flood' })));
    expect(await pending()).toBe(10);
    expect(
      answers.filter(({ text }) => /You have 10 calls waiting for approval .* ends by itself at 20/.test(text)),
    ).toHaveLength(190);
    expect(made()).toBe(0);
  });

  test('AP-06: two hundred equal requests at once are one', async () => {
    const args = fresh();
    const answers = await Promise.all(Array.from({ length: 200 }, () => remove(args)));
    expect(new Set(answers.map(idOf)).size).toBe(1);
    expect(made()).toBe(0);
    // Nobody else’s list is filled by it, and whoever decides finds it.
    const { body } = await rig.admin('petra', 'GET', '/approvals?state=mine-to-decide&limit=1000');
    expect((body['approvals'] as JsonObject[]).map(({ id }) => id)).toContain(idOf(answers[0]!));
    expect(await say('petra', idOf(answers[0]!), 'deny')).toBe('denied');
  });

  test('AP-06 twin: where the bound is high, two hundred requests are two hundred prompts', async () => {
    const open = await start({ approvals: { openPerCaller: 1_000 } });
    try {
      await Promise.all(Array.from({ length: 200 }, () => remove(fresh(), {}, open)));
      expect([...open.view.records('approval', ORG)]).toHaveLength(200);
    } finally {
      await open.stop();
    }
  });
});

describe('what is agreed to is what runs', () => {
  const changes: ReadonlyArray<readonly [string, () => Promise<unknown>, () => Promise<unknown>]> = [
    ['the risk class', () => review({ risk: 'regulated' }), () => review({ risk: 'destructive' })],
    ['the scope', () => review({ scope: 'notes:run' }), () => review({ scope: 'notes:delete' })],
    ['how many must agree', () => review({ approvals: 3 }), () => review({ approvals: null })],
    [
      'the data classes of the server',
      () => rig.setServer('notes', { dataClasses: ['regulated'] }),
      () => rig.setServer('notes', { dataClasses: ['internal'] }),
    ],
    [
      'the version of the server',
      () => rig.setServer('notes', { source: { vendor: 'v', version: '2.0.0' } }),
      () => rig.setServer('notes', { source: { vendor: 'v', version: '1.0.0' } }),
    ],
    [
      'where the server runs',
      () =>
        rig.setServer('notes', {
          upstream: { ...upstream(), headers: [{ name: 'x-other', value: { secret: 'env:HOME' } }] } as never,
        }),
      () => rig.setServer('notes', { upstream: upstream() as never }),
    ],
  ];
  let was: JsonObject | null = null;
  const upstream = (): JsonObject => (was ??= rig.view.get('server', ORG, 'notes')!.body['upstream'] as JsonObject);

  test.each(changes)('AP-07: %s changes, and the yes of before is none', async (_what, change, back) => {
    const args = fresh();
    const id = idOf(await remove(args));
    expect(await say('petra', id)).toBe('approved');
    await change();
    await rig.look('notes').catch(() => undefined);
    const again = await remove(args);
    expect(passed(again)).toBe(false);
    expect(idOf(again)).not.toBe(id);
    await back();
    await rig.look('notes').catch(() => undefined);
    expect(made()).toBe(0);
  });

  test('AP-07: a definition that changed between the hold and the yes: nobody can say yes to it', async () => {
    const args = fresh();
    const id = idOf(await remove(args));
    const { body } = rig.view.get('approval', ORG, id)!;
    await rig.commit([{ kind: 'approval', org: ORG, id, body: { ...body, definition: `sha256:${'0'.repeat(64)}` } }]);
    expect(await say('petra', id)).toBe('approval_void');
    expect(made()).toBe(0);
  });

  test('AP-02: a yes names what was read; the record holds no argument in plain, and opens for who asked and who decides alone', async () => {
    const text = `needle-${++serial}-in-the-haystack`;
    const id = idOf(await remove({ text }));
    expect(JSON.stringify(rig.view.get('approval', ORG, id)?.body)).not.toContain(text);
    expect((await read(id))['arguments']).toEqual({ text });
    expect((await rig.admin('omar', 'GET', `/approvals/${id}`)).body['arguments']).toEqual({ text });
    expect((await rig.admin('ada', 'GET', `/approvals/${id}`)).body['arguments']).toBeNull();
    expect((await rig.admin('dana', 'GET', `/approvals/${id}`)).status).toBe(404);
    expect(
      (await rig.admin('petra', 'POST', `/approvals/${id}/approve`, { call: `sha256:${'0'.repeat(64)}` })).error?.code,
    ).toBe('approval_other_call');
    // Moved to another record it opens as nothing.
    const other = idOf(await remove(fresh()));
    const stolen = {
      ...rig.view.get('approval', ORG, other)!.body,
      sealed: rig.view.get('approval', ORG, id)!.body['sealed']!,
    };
    await rig.commit([{ kind: 'approval', org: ORG, id: other, body: stolen }]);
    expect((await read(other))['arguments']).toBeNull();
  });

  test('AP-02: an approval is no other server’s and no other tool’s', async () => {
    await rig.addServer('mirror');
    const args = fresh();
    const id = idOf(await remove(args));
    await say('petra', id);
    const elsewhere = rig.sink('mirror').calls().length;
    const token = rig.token('omar', { server: 'mirror' });
    const there = await rig.call('mirror', 'delete_note', args, { as: 'omar', token });
    expect([passed(there), rig.sink('mirror').calls().length - elsewhere]).toEqual([false, 0]);
    expect(passed(await rig.call('notes', 'run_job', args, { as: 'omar', token: rig.token('omar') }))).toBe(false);
    expect(made()).toBe(0);
  });
});

describe('storms', () => {
  test('AP-09: twenty retries race the yes, on both eras, and one call is made', async () => {
    const storm = await start({ approvals: { holdMs: 3_000, blockMs: 3_000 } }, systemClock);
    try {
      const args = fresh();
      const racing = Array.from({ length: 20 }, (_, at) =>
        remove(args, { era: at % 2 === 0 ? 'modern' : 'legacy', id: at + 1 }, storm),
      );
      const one = await storm
        .until('somebody was asked', () => [...storm.view.records('approval', ORG)].length > 0)
        .then(() => [...storm.view.records('approval', ORG)]);
      expect(await say('petra', one[0]!.id, 'approve', storm)).toBe('approved');
      const late = Array.from({ length: 20 }, () => remove(args, {}, storm));
      const answers = await Promise.all(racing);
      expect(answers.filter(passed).length).toBeLessThanOrEqual(1);
      expect(storm.sink().calls()).toHaveLength(1);
      // Whoever came after the use is held anew: that is another call.
      for (const { id, body } of storm.view.records('approval', ORG))
        if (body['state'] === 'pending') await say('petra', id, 'deny', storm);
      await Promise.all(late);
      expect(storm.sink().calls()).toHaveLength(1);
    } finally {
      await storm.stop();
    }
  });

  test('AP-09 twin: where a yes is not spent, the same storm lands five times', async () => {
    const table = tableWith({
      'person-agreed': (_call, gathered) => {
        const { held } = gathered as { readonly held: { readonly state: string; readonly id: string } | null };
        if (held?.state !== 'pending') return { pass: true };
        return deny({ reason: 'approval_needed', approval: held.id, expiresAt: Date.now() + 60_000, page: null });
      },
    });
    const open = await start({ table }, systemClock);
    try {
      const args = fresh();
      expect(await say('petra', idOf(await remove(args, {}, open)), 'approve', open)).toBe('approved');
      await Promise.all(Array.from({ length: 5 }, () => remove(args, {}, open)));
      expect(open.sink().calls()).toHaveLength(5);
    } finally {
      await open.stop();
    }
  });
});
