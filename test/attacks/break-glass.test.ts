/**
 * Emergencies over the whole gateway and admin plane (AP-03, AP-08, AZ-07): what the sink received is what counts. Two people open it, time ends
 * it, and nothing but the approval is waived. Where a control is taken out the same attack lands.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { callerMay } from '../../src/gateway/guards/caller-may.ts';
import { itemIsTheirs } from '../../src/gateway/guards/item-is-theirs.ts';
import { noticesOf } from '../../src/admin/notify/notices.ts';
import { definitionDigest } from '../../src/integrity/definition.ts';
import { manualClock } from '../../src/lib/clock.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { Grant } from '../../src/policy/grants.ts';
import { SERVER, startPlane } from '../admin/plane.ts';
import type { Reply } from '../admin/plane.ts';
import { ERAS, ORG, startRig, tableWith } from '../support/rig.ts';
import type { Answer, Rig, RigOptions } from '../support/rig.ts';

const clock = manualClock(Date.now());
const PEOPLE = {
  mia: ['member'],
  omar: ['operator'],
  olaf: ['operator'],
  twice: ['operator', 'security_reviewer', 'administrator', 'approver'],
  sven: ['security_reviewer'],
  sara: ['security_reviewer'],
  ada: ['administrator'],
  aiko: ['auditor'],
  petra: ['approver'],
  owen: ['member'],
} as const;

const start = (options: RigOptions = {}): Promise<Rig> =>
  startRig({
    clock,
    admin: true,
    freshnessLimitMs: 86_400_000,
    people: PEOPLE,
    servers: { notes: { record: { owner: 'owen' } } },
    ...options,
  });

const WANTED = {
  who: 'mia',
  what: { server: 'notes', items: ['delete_note'] },
  minutes: 30,
  justification: 'incident 7',
};
const SCOPES = ['notes:delete', 'notes:read', 'notes:run'];
/** With a token of this moment: the clock runs on for hours. */
const wipe = (rig: Rig, { as = 'mia', scopes = SCOPES, era = 'modern', tool = 'delete_note' }: Wish = {}) =>
  rig.call('notes', tool, { text: 'x' }, { era, token: rig.token(as, { scopes, server: 'notes' }) });
interface Wish {
  readonly as?: string;
  readonly scopes?: readonly string[];
  readonly era?: (typeof ERAS)[number];
  readonly tool?: string;
}
const reached = (rig: Rig): number => rig.sink('notes').calls().length;
const code = ({ status, body }: Answer) => [status, (body['error'] as JsonObject | undefined)?.['code']];

async function open(rig: Rig, by = 'omar', over: object = {}): Promise<string> {
  const answer = await rig.admin(by, 'POST', '/break-glass', { ...WANTED, ...over });
  expect(answer.status, answer.text).toBe(201);
  return answer.body['id'] as string;
}
async function confirm(rig: Rig, by: string, id: string): Promise<Answer> {
  const revision = rig.view.get('grant', ORG, id)!.revision;
  return rig.admin(by, 'POST', `/break-glass/${id}/confirm`, { note: null }, { 'if-match': `"${revision}"` });
}
async function opened(rig: Rig, over: object = {}): Promise<string> {
  const id = await open(rig, 'omar', over);
  const answer = await confirm(rig, 'sven', id);
  expect(answer.status, answer.text).toBe(200);
  return id;
}
const end = (rig: Rig, id: string, by = 'ada') =>
  rig.admin(by, 'POST', `/break-glass/${id}/end`, { reason: 'repaired' });
async function unreviewed(rig: Rig): Promise<readonly string[]> {
  const { body } = await rig.admin('sven', 'GET', '/findings');
  const found = body['findings'] as ReadonlyArray<{ readonly id: string; readonly code: string }>;
  return found.filter((one) => one.code === 'break_glass_unreviewed').map(({ id }) => id);
}
async function review(rig: Rig, id: string, by = 'sara'): Promise<Answer> {
  const revision = rig.view.get('grant', ORG, id)!.revision;
  return rig.admin(by, 'POST', `/break-glass/${id}/review`, { note: 'read' }, { 'if-match': `"${revision}"` });
}

describe('an emergency', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await start();
  });
  afterAll(() => rig.stop());
  afterEach(async () => {
    for (const { id, body } of Array.from(rig.view.records('grant', ORG)))
      if (body['state'] === 'active' || body['state'] === 'requested') await end(rig, id);
  });

  test.each(ERAS)(
    'AP-03: %s: nothing passes before the second person, and everything named passes after',
    async (era) => {
      const before = reached(rig);
      const id = await open(rig);
      await wipe(rig, { era });
      expect(reached(rig)).toBe(before);
      expect(code(await confirm(rig, 'sven', id))).toEqual([200, undefined]);
      const answer = await wipe(rig, { era });
      expect(answer.error, answer.text).toBeUndefined();
      expect(reached(rig)).toBe(before + 1);
      // Nobody agreed to the call, and its entry says which emergency let it through.
      const [entry] = await rig.about(answer.reference);
      expect(entry?.decision).toMatchObject({ verdict: 'allow', rules: [`grant.${id}`] });
      expect(entry?.decision?.approval ?? null).toBeNull();
      // What was not named stays closed.
      await wipe(rig, { era, tool: 'run_job' });
      expect(reached(rig)).toBe(before + 1);
    },
  );

  test.each([
    ['who asked', 'twice', 'twice', { who: 'mia' }, 'grant_requester'],
    ['who asked for themselves', 'twice', 'twice', { who: 'twice' }, 'grant_requester'],
    ['who gets it', 'omar', 'twice', { who: 'twice' }, 'grant_beneficiary'],
    ['who gets it and owns the server', 'omar', 'owen', { who: 'owen' }, 'grant_beneficiary'],
    ['an approver', 'omar', 'petra', {}, 'not_found'],
    ['an auditor', 'omar', 'aiko', {}, 'grant_not_yours'],
  ] as const)('AP-03: %s does not confirm, whatever roles they have', async (_t, by, second, over, why) => {
    const before = reached(rig);
    const id = await open(rig, by, over);
    const answer = await confirm(rig, second, id);
    expect(answer.status).toBe(why === 'not_found' ? 404 : 403);
    expect(code(answer)[1]).toBe(why);
    await wipe(rig);
    await wipe(rig, { as: 'twice' });
    await wipe(rig, { as: 'owen' });
    expect(reached(rig)).toBe(before);
  });

  test.each(['olaf', 'sven', 'ada', 'owen'])('AP-03: %s confirms as a second person', async (by) => {
    const id = await open(rig);
    expect(code(await confirm(rig, by, id))).toEqual([200, undefined]);
  });

  test('AP-03: the ordinary ways neither ask for one nor open one', async () => {
    const grant = {
      who: { kind: 'person', id: 'mia' },
      what: WANTED.what,
      justification: 'x',
      lastsMs: 60_000,
    };
    for (const over of [{ approval: 'waived' }, { breakGlass: true }, { approval: 'waived', breakGlass: true }])
      expect(code(await rig.admin('sven', 'POST', '/grants', { grant: { ...grant, ...over } }))).toEqual([
        422,
        'invalid',
      ]);
    const spec = { ...grant, approval: 'waived', breakGlass: true };
    const plan = await rig.admin('sven', 'POST', '/apply/plan', {
      set: 'prod',
      resources: [{ kind: 'grant', id: 'emergency', spec }],
    });
    expect(plan.text).toMatch(/breakGlass|waived/);
    expect(JSON.stringify(plan.body['changes'] ?? [])).not.toContain('"create"');
    const before = reached(rig);
    const id = await open(rig);
    const revision = rig.view.get('grant', ORG, id)!.revision;
    const approve = await rig.admin('ada', 'POST', `/grants/${id}/approve`, {}, { 'if-match': `"${revision}"` });
    expect(code(approve)).toEqual([409, 'grant_break_glass']);
    await confirm(rig, 'sven', id);
    await rig.admin('ada', 'POST', `/grants/${id}/suspend`, { reason: 'x' });
    const resume = await rig.admin(
      'ada',
      'POST',
      `/grants/${id}/resume`,
      {},
      {
        'if-match': `"${rig.view.get('grant', ORG, id)!.revision}"`,
      },
    );
    expect(code(resume)).toEqual([409, 'grant_break_glass']);
    await wipe(rig);
    expect(reached(rig)).toBe(before);
  });

  test.each([
    ['more than four hours', { minutes: 241 }],
    ['no time', { minutes: 0 }],
    ['items and classes', { what: { server: 'notes', items: ['delete_note'], risks: ['destructive'] } }],
    ['a whole server', { what: { server: 'notes' } }],
    ['a tool that is not there', { what: { server: 'notes', items: ['made_up'] } }],
    ['nobody', { who: 'made-up' }],
    ['no reason', { justification: '' }],
  ])('an emergency for %s is refused', async (_t, over) => {
    const answer = await rig.admin('omar', 'POST', '/break-glass', { ...WANTED, ...over });
    expect(code(answer)).toEqual([422, 'invalid']);
  });

  test.each(['mia', 'aiko', 'petra', 'owen'])('%s opens none', async (by) => {
    expect((await rig.admin(by, 'POST', '/break-glass', WANTED)).status).toBe(403);
  });

  test('AZ-07: it ends to the millisecond, and nobody writes anything', async () => {
    const before = reached(rig);
    await opened(rig, { minutes: 240 });
    const { revision } = rig.gateway.snapshot();
    clock.advance(240 * 60_000 - 1);
    await wipe(rig);
    expect(reached(rig)).toBe(before + 1);
    clock.advance(1);
    await wipe(rig);
    expect(reached(rig)).toBe(before + 1);
    expect(rig.gateway.snapshot().revision).toBeLessThanOrEqual(revision + 1);
  });

  test('AP-05: a request that nobody confirmed within an hour opens nothing', async () => {
    const before = reached(rig);
    const id = await open(rig);
    clock.advance(3_600_000);
    expect(code(await confirm(rig, 'sven', id))).toEqual([409, 'break_glass_stale']);
    await wipe(rig);
    expect(reached(rig)).toBe(before);
  });

  test.each(['omar', 'sven', 'ada', 'owen', 'mia'])('%s ends it at once', async (by) => {
    const before = reached(rig);
    const id = await opened(rig);
    await wipe(rig);
    expect(code(await end(rig, id, by))).toEqual([200, undefined]);
    await wipe(rig);
    expect(reached(rig)).toBe(before + 1);
  });

  test('AZ-01: a lock, a forbid, a switch and a missing scope stop it', async () => {
    await opened(rig);
    const before = reached(rig);
    const tried = async (how: string): Promise<void> => {
      await wipe(rig);
      expect([how, reached(rig)]).toEqual([how, before]);
    };
    const lock = await rig.lock({ kind: 'tool', value: 'notes/delete_note' });
    await tried('lock');
    await rig.unlock(lock);
    await rig.policy('never', 'forbid (principal, action, resource == Remit::Tool::"notes/delete_note");');
    await tried('forbid');
    await rig.policy('never', null);
    await rig.setServer('notes', { switches: { reachable: true, productionData: true, writes: false } });
    await tried('switch');
    await rig.setServer('notes', { switches: { reachable: true, productionData: true, writes: true } });
    await wipe(rig, { scopes: ['notes:read'] });
    expect(reached(rig)).toBe(before);
    // The twin: with all of that gone again the same call arrives.
    await wipe(rig);
    expect(reached(rig)).toBe(before + 1);
  });

  test('AP-08: it is a finding until somebody who took no part closes it, and the log says what was done', async () => {
    const id = await opened(rig);
    await wipe(rig);
    await wipe(rig);
    expect(await unreviewed(rig)).not.toContain(id);
    expect(code(await review(rig, id))).toEqual([409, 'break_glass_state']);
    clock.advance(30 * 60_000);
    expect(await unreviewed(rig)).toContain(id);
    expect(code(await review(rig, id, 'sven'))).toEqual([403, 'break_glass_part']);
    expect((await review(rig, id, 'ada')).status).toBe(403);
    const read = await rig.admin('sara', 'GET', `/break-glass/${id}`);
    const log = await rig.entries();
    const mine = log.flatMap(({ decision, kind }, index) =>
      kind === 'intent' && decision?.rules.includes(`grant.${id}`) ? [index] : [],
    );
    expect(read.body['calls']).toMatchObject({ count: 2, first: mine[0], last: mine[1], complete: true });
    const done = await review(rig, id);
    expect(code(done)).toEqual([200, undefined]);
    expect(await unreviewed(rig)).not.toContain(id);
    expect((await rig.entries('admin')).at(-1)?.event).toMatchObject({ what: 'break_glass.reviewed', calls: 2 });
    expect(rig.view.get('grant', ORG, id)?.body['postMortem']).toMatchObject({ by: 'sara', calls: 2, note: 'read' });
    expect(code(await review(rig, id))).toEqual([409, 'break_glass_state']);
  });

  test('AP-08: opening it tells security reviewers and the owner, the log and the process log', async () => {
    const id = await opened(rig);
    const [asking, ...changes] = await rig.state.history('grant', ORG, id);
    const facts = { org: ORG, state: rig.state, snapshot: () => rig.gateway.snapshot() };
    const [asked] = await noticesOf([asking!], facts);
    expect(asked).toMatchObject({ type: 'access.requested', title: 'Emergency access to notes is asked for' });
    expect([...asked!.concerns].toSorted()).toEqual(['owen', 'sara', 'sven', 'twice']);
    const [notice, ...more] = await noticesOf(changes, facts);
    expect(more).toEqual([]);
    expect(notice).toMatchObject({
      type: 'break_glass.opened',
      data: { grant: id, server: 'notes', for: 'person/mia', requester: 'omar', confirmedBy: 'sven' },
    });
    expect([...notice!.concerns].toSorted()).toEqual(['owen', 'sara', 'sven', 'twice']);
    expect((await rig.entries('admin')).at(-1)?.event).toMatchObject({
      what: 'break_glass.opened',
      subject: `grant/${id}`,
      requester: 'omar',
    });
    const warned = rig.logged.filter(({ level, message }) => level === 'warn' && message.includes('emergency'));
    expect(warned.at(-1)?.fields).toMatchObject({ grant: id, by: ['omar', 'sven'] });
  });
});

describe('the twins', () => {
  test('AP-03, the twin: where one person may decide alone, they open an ordinary grant, and still no emergency', async () => {
    const plane = await startPlane({ facts: { unsafeOnePersonMayDecide: true } });
    try {
      const definition = { name: 'wipe', inputSchema: { type: 'object' } };
      const digest = definitionDigest(definition);
      const judged = { risk: 'destructive', scope: 'bank:wipe', justification: 'x', by: 'sven', at: 1 };
      await plane.seed([
        plane.put('server', 'bank', { ...SERVER, state: 'enabled' }),
        plane.put('tool', 'bank/wipe', {
          server: 'bank',
          kind: 'tool',
          name: 'wipe',
          observed: { digest, definition, seenAt: 1 },
          approved: { digest, definition, ...judged },
        }),
      ]);
      const what = { server: 'bank', items: ['wipe'] };
      const grant = { who: { kind: 'person', id: 'dana' }, what, justification: 'x' };
      const asked = await plane.as('sven', 'POST', '/grants', { grant });
      const seen = (reply: Reply) => ({ 'if-match': reply.headers.get('etag') ?? '' });
      const yes = await plane.as('sven', 'POST', `/grants/${String(asked.body['id'])}/approve`, {}, seen(asked));
      expect(yes.body).toMatchObject({ state: 'active' });
      const emergency = { who: 'dana', what, minutes: 30, justification: 'x' };
      const glass = await plane.as('sven', 'POST', '/break-glass', emergency);
      expect(glass.status, glass.text).toBe(201);
      const path = `/break-glass/${String(glass.body['id'])}/confirm`;
      const refused = await plane.as('sven', 'POST', path, {}, seen(glass));
      expect([refused.status, refused.body.error?.['code']]).toEqual([403, 'grant_requester']);
      const second = await plane.as('ada', 'POST', path, {}, seen(glass));
      expect(second.body).toMatchObject({ state: 'active' });
    } finally {
      await plane.close();
    }
  });

  test('AZ-07, the twin: with the moment of the decision taken out it goes on', async () => {
    const started = clock.now();
    const table = tableWith({
      'caller-may': (call) => callerMay.decide(call, started),
      'item-is-theirs': (call, facts) => itemIsTheirs.decide(call, { ...(facts as object), now: started }),
    });
    const rig = await start({ table });
    try {
      await opened(rig, { minutes: 1 });
      clock.advance(60_000);
      await wipe(rig);
      expect(reached(rig)).toBe(1);
    } finally {
      await rig.stop();
    }
  });

  test('AP-02, the twin: the same grant without the waiver holds the call, and an emergency without its time is no grant', async () => {
    const rig = await start();
    try {
      const id = await opened(rig);
      const record = rig.view.get('grant', ORG, id)!.body;
      await rig.commit([{ kind: 'grant', org: ORG, id, body: { ...record, approval: 'by_risk' } }]);
      await wipe(rig);
      expect([reached(rig), [...rig.view.records('approval', ORG)].length]).toEqual([0, 1]);
      for (const forged of [
        { ...record, lastsMs: 5 * 3_600_000, expiresAt: clock.now() + 5 * 3_600_000 },
        Object.fromEntries(Object.entries(record).filter(([name]) => name !== 'breakGlass')),
        Object.fromEntries(Object.entries(record).filter(([name]) => name !== 'lastsMs')),
      ]) {
        expect(Grant.safeParse(forged).success).toBe(false);
        await rig.commit([{ kind: 'grant', org: ORG, id, body: forged }]);
        await wipe(rig);
        expect(reached(rig)).toBe(0);
      }
      // An end that somebody wrote later than its time does not count.
      await rig.commit([{ kind: 'grant', org: ORG, id, body: { ...record, expiresAt: clock.now() + 9e9 } }]);
      clock.advance(30 * 60_000);
      await wipe(rig);
      expect(reached(rig)).toBe(0);
    } finally {
      await rig.stop();
    }
  });
});
