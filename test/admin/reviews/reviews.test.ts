/**
 * NH-09, NH-10: campaigns over grants on a virtual clock: who may attest, what lapses, what the evidence is, and an export that is checked
 * with nothing of ours but the verifier.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { AdminContext } from '../../../src/admin/context.ts';
import { unusedSince } from '../../../src/admin/reviews/campaigns.ts';
import { watchReviews } from '../../../src/admin/reviews/due.ts';
import type { Looking } from '../../../src/admin/looking.ts';
import { readEvidence } from '../../../src/admin/reviews/evidence.ts';
import { callEntry } from '../../../src/audit/entries.ts';
import { digestOf } from '../../../src/lib/canonical-json.ts';
import { manualClock } from '../../../src/lib/clock.ts';
import type { JsonObject } from '../../../src/lib/json.ts';
import { Grant } from '../../../src/policy/grants.ts';
import { parseVkey } from '../../../src/verify/note.ts';
import { verifyReceipt } from '../../../src/verify/proof.ts';
import { startPlane } from '../plane.ts';
import type { Name, Plane, Reply } from '../plane.ts';

const DAY = 86_400_000;
let plane: Plane;
let ctx: AdminContext;
let clock: ReturnType<typeof manualClock>;
let watch: Looking;
beforeAll(async () => {
  clock = manualClock(Date.now());
  plane = await startPlane({ wrap: (plain) => (ctx = { ...plain, clock }) });
  watch = watchReviews(ctx);
});
afterAll(async () => {
  await watch.close();
  await plane.close();
});
/** As at the beginning: no review is open, nobody has used anything, both grants are in force. */
beforeEach(async () => {
  clock.set(Date.now());
  for (const { id, body } of Array.from(ctx.follower.records.list('campaign', ctx.org)))
    if (body['state'] === 'open') await put('campaign', id, { ...body, state: 'cancelled' });
  for (const { kind, id } of [
    ...ctx.follower.records.list('evidence', ctx.org),
    ...ctx.follower.records.list('attestation', ctx.org),
  ])
    await put(kind, id, null);
  await put('evidence_cursor', ctx.audit.log.log, { next: await ctx.audit.ledger.size(ctx.audit.log.log) });
  await put('server', 'files', SERVER);
  await put('grant', 'grant_dana', grant('dana'));
  await put('grant', 'grant_omar', grant('omar'));
});

const SERVER = {
  title: 'Files',
  owner: 'abel',
  purpose: 'files',
  environment: 'production',
  dataClasses: ['internal'],
  state: 'enabled',
  upstream: { transport: 'http', url: 'https://files.example/mcp' },
};
const grant = (person: string, more: object = {}): object =>
  Grant.parse({
    who: { kind: 'person', id: person },
    what: { server: 'files', items: ['read_file'] },
    conditions: [],
    approval: 'by_risk',
    justification: 'needs it',
    expiresAt: null,
    state: 'active',
    requestedBy: person,
    requestedAt: Date.now() - 400 * DAY,
    decidedBy: 'sven',
    decidedAt: Date.now() - 400 * DAY,
    note: null,
    ...more,
  });
async function put(kind: string, id: string, body: object | null): Promise<void> {
  const { revision } = await ctx.state.commit({
    actor: 'test',
    reason: 'test',
    writes: [{ kind, org: ctx.org, id, body: body as JsonObject | null }],
  });
  await ctx.follower.advanceTo(revision);
}
const open = async (more: object = {}): Promise<string> => {
  const review = { title: 'Q4', purpose: 'quarterly', dueAt: clock.now() + 14 * DAY, ...more };
  const reply = await plane.as('ada', 'POST', '/reviews', { reason: 'policy 7', review });
  expect(reply.status, reply.text).toBe(201);
  return reply.body['id'] as string;
};
const say = (who: Name, review: string, grantId: string, verb: 'keep' | 'revoke'): Promise<Reply> =>
  plane.as(who, 'POST', `/reviews/${review}/items/${grantId}/${verb}`, { note: 'on call until March' });
const stateOf = (id: string): unknown => ctx.follower.records.get('grant', ctx.org, id)?.body['state'];
/** An admitted call that this grant decided. */
async function use(grantId: string): Promise<number> {
  const { log } = ctx.audit;
  const { index } = await log.record(
    callEntry(log.stamp(), {
      actor: { issuer: 'https://i.example', subject: 's', person: 'dana', client: 'c', chain: [], token: 't' },
      call: {
        id: 'call_1',
        era: 'modern',
        method: 'tools/call',
        server: 'files',
        tool: 'read_file',
        definition: null,
        args: null,
        risk: 'read',
      },
      decision: {
        verdict: 'allow',
        reason: null,
        rules: [`grant.${grantId}`],
        revision: 1,
        policy: null,
        approval: null,
        guard: null,
      },
      outcome: { status: 'ok', detail: null, result: null } as never,
    }),
  );
  return index;
}

describe('NH-10: a campaign', () => {
  test('NH-10: asks who answers for the server; what is kept says who, why and with what evidence', async () => {
    const index = await use('grant_dana');
    const evidence = readEvidence(ctx);
    await evidence.look();
    await evidence.close();
    const id = await open();
    const read = await plane.as('abel', 'GET', `/reviews/${id}?mine=true`);
    expect(read.body['items']).toMatchObject([
      { grant: 'grant_dana', reviewer: 'abel', decision: 'pending', evidence: { index, uses: 1 } },
      { grant: 'grant_omar', reviewer: 'abel', decision: 'pending', evidence: null },
    ]);
    const kept = await say('abel', id, 'grant_dana', 'keep');
    expect(kept.status, kept.text).toBe(200);
    expect(ctx.follower.records.get('grant', ctx.org, 'grant_dana')?.body).toMatchObject({
      state: 'active',
      attested: { by: 'abel', campaign: id, note: 'on call until March' },
    });
    expect((await plane.entries('admin')).at(-1)).toMatchObject({
      event: { what: 'review.kept', subject: 'grant/grant_dana', review: id, evidence: index, uses: 1 },
      actor: { person: 'abel' },
    });
  });

  test('NH-10: what is revoked ends with the word, and cannot be decided again', async () => {
    const id = await open();
    expect((await say('abel', id, 'grant_dana', 'revoke')).status).toBe(200);
    expect(stateOf('grant_dana')).toBe('ended');
    const again = await say('abel', id, 'grant_dana', 'keep');
    expect([again.status, again.body.error?.['code']]).toEqual([409, 'review_decided']);
  });

  test('NH-10: what nobody attests is suspended at the due date and not a moment earlier', async () => {
    const id = await open();
    await say('abel', id, 'grant_dana', 'keep');
    clock.advance(14 * DAY - 1);
    await watch.look();
    expect([stateOf('grant_dana'), stateOf('grant_omar')]).toEqual(['active', 'active']);
    clock.advance(1);
    await watch.look();
    expect([stateOf('grant_dana'), stateOf('grant_omar')]).toEqual(['active', 'suspended']);
    expect(ctx.follower.records.get('campaign', ctx.org, id)?.body['state']).toBe('closed');
    const said = [...ctx.follower.records.list('attestation', ctx.org)].map(({ body }) => [
      body['grant'],
      body['decision'],
    ]);
    expect(said).toEqual([
      ['grant_dana', 'kept'],
      ['grant_omar', 'lapsed'],
    ]);
    expect((await plane.entries('admin')).map(({ event }) => event?.['what'])).toEqual(
      expect.arrayContaining(['review.opened', 'review.kept', 'review.lapsed', 'review.closed']),
    );
  });

  test('NH-10, twin: without the look at the due date nothing is suspended', async () => {
    await open();
    clock.advance(30 * DAY);
    expect(stateOf('grant_omar')).toBe('active');
  });

  test('NH-10: after the due date nobody attests what is about to lapse', async () => {
    const id = await open();
    await put('campaign', id, { ...ctx.follower.records.get('campaign', ctx.org, id)!.body, dueAt: clock.now() });
    const late = await say('abel', id, 'grant_dana', 'keep');
    expect([late.status, late.body.error?.['code']]).toEqual([409, 'review_state']);
  });

  test('NH-10: a cancelled campaign suspends nothing', async () => {
    const id = await open();
    expect((await plane.as('sven', 'POST', `/reviews/${id}/cancel`, { reason: 'wrong scope' })).status).toBe(200);
    clock.advance(20 * DAY);
    await watch.look();
    expect(stateOf('grant_dana')).toBe('active');
  });
});

describe('NH-10: who may attest', () => {
  test.each<[string, Name, string, string, number, string | null]>([
    ['somebody who is no reviewer', 'petra', 'grant_dana', 'keep', 403, 'review_not_yours'],
    ['who has the access', 'dana', 'grant_dana', 'keep', 403, 'review_own'],
    ['a security reviewer in the place of the reviewer', 'sven', 'grant_dana', 'keep', 200, null],
    ['who has the access, giving it up', 'dana', 'grant_dana', 'revoke', 200, null],
  ])('%s', async (_title, who, grantId, verb, status, code) => {
    const id = await open({ reviewer: who === 'dana' ? 'dana' : 'abel' });
    const reply = await say(who, id, grantId, verb as 'keep' | 'revoke');
    expect([reply.status, reply.body.error?.['code'] ?? null], reply.text).toEqual([status, code]);
    if (status !== 200) expect(stateOf(grantId)).toBe('active');
  });

  test.each([
    ['a due date in the past', { dueAt: 1 }, 'review.dueAt'],
    ['an unknown server', { server: 'nowhere' }, 'review.server'],
    ['an unknown group', { group: 'nobody' }, 'review.group'],
    ['a reviewer who is not there', { reviewer: 'ghost' }, 'review.reviewer'],
  ])('refuses %s, and nothing is opened', async (_title, change, field) => {
    const review = { title: 'x', purpose: 'x', dueAt: clock.now() + 14 * DAY, ...change };
    const reply = await plane.as('ada', 'POST', '/reviews', { reason: 'x', review });
    expect([reply.status, reply.body.error?.['field']]).toEqual([422, field]);
    const { reviews } = (await plane.as('ada', 'GET', '/reviews')).body as { reviews: Array<{ state: string }> };
    expect(reviews.filter(({ state }) => state === 'open')).toEqual([]);
  });
});

describe('NH-09: grants that nobody uses', () => {
  test('NH-09: are listed with the last use as the log proves it', async () => {
    const index = await use('grant_dana');
    const evidence = readEvidence(ctx);
    await evidence.look();
    const unused = await plane.as('ada', 'GET', '/reviews/unused-grants?days=90');
    expect(unused.body['grants']).toMatchObject([{ id: 'grant_omar', evidence: null }]);
    clock.advance(91 * DAY);
    expect(unusedSince(ctx, 90)).toMatchObject([
      { id: 'grant_omar' },
      { id: 'grant_dana', evidence: { index, uses: 1 } },
    ]);
    await evidence.close();
  });

  test('NH-09: are suspended by themselves where the configuration says so', async () => {
    await use('grant_dana');
    const evidence = readEvidence(ctx);
    await evidence.look();
    await evidence.close();
    const strict = watchReviews({ ...ctx, facts: { ...ctx.facts, unusedGrantsEndAfterDays: 90 } });
    await strict.look();
    await strict.close();
    expect([stateOf('grant_dana'), stateOf('grant_omar')]).toEqual(['active', 'suspended']);
  });

  test('NH-09 twin: where no number of days is set, what nobody uses stays, however long', async () => {
    clock.advance(1_000 * DAY);
    await put('grant', 'grant_omar', grant('omar', { expiresAt: null }));
    const lenient = watchReviews({ ...ctx, facts: { ...ctx.facts, unusedGrantsEndAfterDays: 0 } });
    await lenient.look();
    await lenient.close();
    expect(unusedSince(ctx, 90).map(({ id }) => id)).toContain('grant_omar');
    expect(stateOf('grant_omar')).toBe('active');
  });

  test('NH-09: of two nodes that read the log, each use counts once', async () => {
    for (let i = 0; i < 5; i++) await use('grant_dana');
    const readers = [readEvidence(ctx), readEvidence(ctx)];
    await Promise.all(readers.map((reader) => reader.look()));
    await Promise.all(readers.map((reader) => reader.close()));
    expect(ctx.follower.records.get('evidence', ctx.org, 'grant_dana')?.body['uses']).toBe(5);
  });
});

test('AP-08: the export of a review has every exception in it, with who answers for it and until when', async () => {
  const permit = `@exception("migration") @until("2099-01-01")
permit (principal in Remit::Role::"auditor", action == Remit::Action::"callTool", resource) when { context.scopeHeld };`;
  await put('policy', 'archive', { description: 'archive', text: permit, state: 'active' });
  const id = await open();
  const { document } = (await plane.as('aiko', 'GET', `/reviews/${id}/export`)).body as { document: JsonObject };
  expect(document['exceptions']).toMatchObject([
    { kind: 'policy', id: 'archive', reason: 'migration', until: Date.parse('2099-01-01'), inForce: true },
  ]);
  await put('policy', 'archive', null);
});

test('NH-10: the export is checked offline: the receipt proves the entry, the entry names the digest of the document', async () => {
  const id = await open();
  await say('abel', id, 'grant_dana', 'keep');
  const { body } = await plane.as('aiko', 'GET', `/reviews/${id}/export`);
  const { document, digest, entry, receipt, verifierKey } = body as unknown as {
    document: JsonObject;
    digest: string;
    entry: { text: string };
    receipt: string;
    verifierKey: string;
  };
  expect(digestOf(document)).toBe(digest);
  expect(JSON.parse(entry.text)).toMatchObject({ event: { what: 'review.exported', digest } });
  const vkeys = [parseVkey(verifierKey)];
  expect(verifyReceipt(receipt, Buffer.from(entry.text), vkeys).ok).toBe(true);
  expect(verifyReceipt(receipt, Buffer.from(entry.text.replace(digest, digestOf({}))), vkeys).ok).toBe(false);
  const forged = { ...document, items: [] };
  expect(digestOf(forged)).not.toBe(digest);
});
