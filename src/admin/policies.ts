/**
 * Policies: drafts, and what is in force. A text is stored only if it compiles against the schema and lint does not refuse it;
 * it takes effect only when somebody else than its author activates it (AZ-11), together with everything else in force.
 * What is in force is never edited in place: a new draft takes its place in one step, so that there is no moment without it.
 * Which ones it displaces is written by its author: whoever activates agrees to that list or does not, and cannot lengthen it.
 */
import { z } from 'zod';
import { DigestText } from '../integrity/records.ts';
import { err, ok, type Result } from '../lib/result.ts';
import { candidateOf } from '../policy/candidate.ts';
import { compilePolicies } from '../policy/compile.ts';
import type { PolicySource } from '../policy/compile.ts';
import type { Effect } from '../policy/effect-book.ts';
import { grantOf } from '../policy/grant-policies.ts';
import { lintPolicy, warningsOf } from '../policy/lint.ts';
import { PolicyRecord } from '../policy/records.ts';
import type { Write } from '../store/state.ts';
import { commitChange, expected } from './commit.ts';
import type { AdminContext } from './context.ts';
import { EffectQuery, POLICIES_BROKEN, effectBody, effectChanged, effectIn } from './effects.ts';
import { conflict, forbidden, invalid, notFound, type Problem } from './problem.ts';
import { itemOf, itemsOf, type Item } from './records.ts';
import { handler, Reason } from './route.ts';

export const listPolicies = handler({
  run: async ({ ctx }) => ok({ body: { policies: itemsOf(ctx, 'policy', PolicyRecord) } }),
});

export const getPolicy = handler({
  run: async ({ ctx, params }) => {
    const id = params['policy'] ?? '';
    const policy = itemOf(ctx, 'policy', id, PolicyRecord);
    return policy === undefined ? err(notFound('policy', id)) : ok({ body: policy, revision: policy.revision });
  },
});

export const checkPolicy = handler({
  body: z.strictObject({ id: z.string().default('check'), text: PolicyRecord.shape.text }),
  run: async ({ ctx, body }) => {
    const checked = checkPolicyText(ctx, body.id, body.text);
    return checked.ok ? ok({ body: { ok: true, warnings: checked.value } }) : checked;
  },
});

export const putPolicy = handler({
  body: z.strictObject({ reason: Reason, policy: PolicyRecord.omit({ state: true }) }),
  run: async (ask) => {
    const { ctx, body, params, seen } = ask;
    const id = params['policy'] ?? '';
    const before = itemOf(ctx, 'policy', id, PolicyRecord);
    if (before?.state === 'active') {
      return err(
        conflict(
          'policy_active',
          'A policy in force is not edited in place.',
          'Store the new text under another id, with this one under `replaces`; somebody else activates it.',
        ),
      );
    }
    const revision = expected(seen, before?.revision);
    if (!revision.ok) return revision;
    const checked = checkPolicyText(ctx, id, body.policy.text);
    if (!checked.ok) return checked;
    const replaced = displaced(ctx, id, body.policy.replaces);
    if (!replaced.ok) return replaced;
    const done = await commitChange(ask, {
      what: 'policy.drafted',
      subject: `policy/${id}`,
      reason: body.reason,
      facts: { replaces: body.policy.replaces },
      writes: [write(ctx, id, { ...body.policy, state: 'draft' }, revision.value)],
    });
    return done.ok
      ? ok({
          status: before === undefined ? 201 : 200,
          body: { id, state: 'draft', revision: done.value, warnings: checked.value },
          revision: done.value,
        })
      : done;
  },
});

export const activatePolicy = handler({
  body: z.strictObject({
    reason: Reason,
    effect: DigestText.optional().describe('`digest` of the effect that you read. Without it nothing is activated.'),
    replaces: z
      .never('belongs to the draft: its author stores it there (PUT of the policy), and somebody else activates that.')
      .optional(),
  }),
  run: async (ask) => {
    const { ctx, who, body, params, seen } = ask;
    const id = params['policy'] ?? '';
    const found = itemOf(ctx, 'policy', id, PolicyRecord);
    if (found === undefined) return err(notFound('policy', id));
    const { id: _, revision, ...policy } = found;
    if (policy.state === 'active')
      return err(conflict('policy_state', 'The policy is in force already.', 'Nothing needs to be done.'));
    if (!ctx.facts.unsafeAuthorMayActivate && (await authorsOf(ctx, id, policy)).has(who.person)) {
      return err(
        forbidden(
          'policy_author',
          'Nobody activates a policy they wrote.',
          'Ask another security reviewer or administrator.',
        ),
      );
    }
    const others = displaced(ctx, id, policy.replaces);
    if (!others.ok) return others;
    const replaced: Write[] = [];
    // What was in force before proves no second will: who takes it out and puts it back could name any forbid on the way.
    const fresh = ctx.facts.unsafeAuthorMayActivate || !(await wasInForce(ctx, id, policy.text));
    for (const { id: other, revision: seenRevision, ...rest } of others.value) {
      if (!fresh && forbids(other, rest.text)) return err(NEEDS_TWO);
      replaced.push(write(ctx, other, { ...rest, state: 'draft' }, seenRevision));
    }
    const checked = checkPolicyText(ctx, id, policy.text);
    if (!checked.ok) return checked;
    const read = expected(seen, revision);
    if (!read.ok) return read;
    if (body.effect === undefined) return err(EFFECT_UNREAD);
    // What they agree to is what they saw. The same change has another effect once people, agents, items or other policies changed.
    const effect = await effectOfChange(ctx, id, { text: policy.text, replaces: policy.replaces });
    if (!effect.ok) return effect;
    if (effect.value.digest !== body.effect) return err(effectChanged(effect.value, `/policies/${id}/effect`));
    const done = await commitChange(ask, {
      what: 'policy.activated',
      subject: `policy/${id}`,
      reason: body.reason,
      facts: { replaces: policy.replaces, effect: effect.value.digest, ...effect.value.counts },
      // The list is spent: putting the same policy back in force later displaces nothing by itself.
      writes: [write(ctx, id, { ...policy, state: 'active', replaces: [] }, revision), ...replaced],
    });
    return done.ok
      ? ok({
          body: { id, state: 'active', replaced: policy.replaces, revision: done.value, warnings: checked.value },
          revision: done.value,
        })
      : done;
  },
});

export const deactivatePolicy = handler({
  body: z.strictObject({ reason: Reason }),
  run: async (ask) => {
    const { ctx, body, params } = ask;
    const id = params['policy'] ?? '';
    const found = itemOf(ctx, 'policy', id, PolicyRecord);
    if (found === undefined) return err(notFound('policy', id));
    const { id: _, revision, ...policy } = found;
    if (policy.state !== 'active')
      return err(conflict('policy_state', 'The policy is not in force.', 'Nothing needs to be done.'));
    // Without a permit fewer calls pass. Without a forbid more do, and that takes two people.
    if (!ctx.facts.unsafeAuthorMayActivate && forbids(id, policy.text)) return err(NEEDS_TWO);
    const done = await commitChange(ask, {
      what: 'policy.deactivated',
      subject: `policy/${id}`,
      reason: body.reason,
      writes: [write(ctx, id, { ...policy, state: 'draft' }, revision)],
    });
    return done.ok ? ok({ body: { id, state: 'draft', revision: done.value }, revision: done.value }) : done;
  },
});

/** Of a draft: what activating it would do. Of a policy in force: what taking it out would. */
export const policyEffect = handler({
  query: EffectQuery,
  run: async ({ ctx, params, query }) => {
    const id = params['policy'] ?? '';
    const found = itemOf(ctx, 'policy', id, PolicyRecord);
    if (found === undefined) return err(notFound('policy', id));
    const { state, text, replaces, revision } = found;
    const change = state === 'active' ? 'deactivate' : 'activate';
    const effect = await effectOfChange(ctx, id, state === 'active' ? null : { text, replaces });
    if (!effect.ok) return effect;
    const body = { policy: id, change, replaces, ...effectBody(ctx, effect.value, query) };
    return ok({ body, revision });
  },
});

/** Of a text that nobody has stored. */
export const textEffect = handler({
  query: EffectQuery,
  body: z.strictObject({ text: PolicyRecord.shape.text, replaces: PolicyRecord.shape.replaces }),
  run: async ({ ctx, params, query, body }) => {
    const id = params['policy'] ?? '';
    const checked = checkPolicyText(ctx, id, body.text);
    if (!checked.ok) return checked;
    const others = displaced(ctx, id, body.replaces);
    if (!others.ok) return others;
    const effect = await effectOfChange(ctx, id, body);
    if (!effect.ok) return effect;
    const answer = { policy: id, change: 'activate', replaces: body.replaces, ...effectBody(ctx, effect.value, query) };
    return ok({ body: { ...answer, warnings: checked.value } });
  },
});

/** `draft` null: the policy leaves force. */
async function effectOfChange(
  ctx: AdminContext,
  id: string,
  draft: { readonly text: string; readonly replaces: readonly string[] } | null,
): Promise<Result<Effect, Problem>> {
  const view = ctx.snapshot();
  if (view.policies === null) return err(POLICIES_BROKEN);
  const add: PolicySource[] = draft ? [{ id, text: draft.text }] : [];
  const after = candidateOf(view.policies, { without: [id, ...(draft?.replaces ?? [])], add });
  if (!after.ok)
    return err(invalid('policy', after.error.map(({ policy, message }) => `${policy}: ${message}`).join('; ')));
  const key = `policy ${id} ${after.value.digest}`;
  const effect = await effectIn(view, key, { before: view.policies, after: after.value }, ctx.clock.now());
  // Other rules came into force while this was worked out: then it is the effect of another change.
  return ctx.snapshot().policies === view.policies ? ok(effect) : err(effectChanged(null, `/policies/${id}/effect`));
}

const EFFECT_UNREAD: Problem = {
  status: 428,
  code: 'effect_unread',
  field: 'effect',
  message: 'Say which effect you agree to.',
  remedy: 'Read it (GET /policies/{policy}/effect) and send its digest as `effect`.',
};

export const deletePolicy = handler({
  body: z.strictObject({ reason: Reason }),
  run: async (ask) => {
    const { ctx, body, params } = ask;
    const id = params['policy'] ?? '';
    const found = itemOf(ctx, 'policy', id, PolicyRecord);
    if (found === undefined) return err(notFound('policy', id));
    if (found.state === 'active')
      return err(conflict('policy_active', 'A policy in force is not deleted.', 'Take it out of force first.'));
    const done = await commitChange(ask, {
      what: 'policy.deleted',
      subject: `policy/${id}`,
      reason: body.reason,
      writes: [{ kind: 'policy', org: ctx.org, id, body: null, expectedRevision: found.revision }],
    });
    return done.ok ? ok({ body: { id, revision: done.value }, revision: done.value }) : done;
  },
});

const NEEDS_TWO = forbidden(
  'policy_forbids',
  'A forbid policy is not taken out of force by one person.',
  'Store a new draft with this one under `replaces`; somebody else activates it.',
);

/** The policies a draft displaces, all of them in force; else the draft says something about the others that is not so. */
function displaced(ctx: AdminContext, id: string, replaces: readonly string[]): Result<Item<PolicyRecord>[], Problem> {
  const others: Item<PolicyRecord>[] = [];
  for (const other of new Set(replaces)) {
    const record = other === id ? undefined : itemOf(ctx, 'policy', other, PolicyRecord);
    if (record?.state !== 'active')
      return err(
        invalid(
          'policy.replaces',
          `${JSON.stringify(other)} is not another policy in force.`,
          'Store the draft with `replaces` naming only policies that are in force.',
        ),
      );
    others.push(record);
  }
  return ok(others);
}

function forbids(id: string, text: string): boolean {
  const compiled = compilePolicies({ policies: [{ id, text }], tools: [] });
  return compiled.ok && compiled.value.policies.some(({ json }) => json.effect === 'forbid');
}

/** Whether this text was in force under this id since it was last written. */
async function wasInForce(ctx: AdminContext, id: string, text: string): Promise<boolean> {
  const changes = await ctx.state.history('policy', ctx.org, id);
  const written = changes.findLastIndex(({ body }) => body?.['text'] !== text) + 1;
  return changes.slice(written).some(({ body }) => body?.['state'] === 'active');
}

/** Compiles against the schema, then refuses what is too wide (AZ-05). All problems at once; else what is probably not meant. */
export function checkPolicyText(ctx: AdminContext, id: string, text: string): Result<readonly string[], Problem> {
  if (grantOf(id) !== null)
    return err(invalid('policy', 'Ids that begin with "grant." are those of grants.', 'Choose another id.'));
  const compiled = compilePolicies({ policies: [{ id, text }], tools: [] });
  if (!compiled.ok)
    return err(
      invalid(
        'policy.text',
        compiled.error.map(({ message }) => message).join('; '),
        'docs/guides/policy.md shows what a policy may speak about.',
      ),
    );
  const findings = compiled.value.policies.flatMap((policy) => lintPolicy(policy, ctx.clock.now()));
  if (findings.length === 0) {
    const warnings = compiled.value.policies.flatMap((policy) => warningsOf(policy, ctx.snapshot()));
    return ok(warnings.map(({ code, message }) => `${code}: ${message}`));
  }
  return err(
    invalid(
      'policy.text',
      findings.map(({ code, message }) => `${code}: ${message}`).join('; '),
      'Narrow the policy, or mark it with @exception("reason") and @until("date").',
    ),
  );
}

/**
 * Everybody who ever brought exactly this text under this id, or gave it exactly this list of what it displaces: from the history,
 * which nobody can write by hand. Whoever stored the one or the other last is always among them.
 */
async function authorsOf(ctx: AdminContext, id: string, draft: PolicyRecord): Promise<ReadonlySet<string>> {
  const changes = await ctx.state.history('policy', ctx.org, id);
  const list = listOf(draft);
  const authors = new Set<string>();
  let before: { readonly text: unknown; readonly list: string } | null = null;
  for (const { actor, body } of changes) {
    const now = body === null ? null : { text: body['text'], list: listOf(body) };
    if (now?.text === draft.text) {
      // Activating spends the list; that is not writing it.
      const wroteList = body?.['state'] === 'draft' && now.list === list && before?.list !== list;
      if (before?.text !== draft.text || wroteList) authors.add(actor);
    }
    before = now;
  }
  return authors;
}

/** Records from before the list was part of the draft have none. */
const listOf = ({ replaces }: { readonly replaces?: unknown }): string => JSON.stringify(replaces ?? []);

function write(ctx: AdminContext, id: string, policy: PolicyRecord, expectedRevision: number | null): Write {
  return { kind: 'policy', org: ctx.org, id, body: policy, expectedRevision };
}
