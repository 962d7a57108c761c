/**
 * Mappings: how tokens of one issuer are read for this organisation. One per issuer, and only of an issuer that it trusts.
 * Whoever may change claims at the issuer has the roles that a mapping gives for them. So `administrator` is not given by a claim
 * unless the mapping is stored with `unsafeAdministratorByClaim`, which the audit log then names.
 */
import { z } from 'zod';
import { Mapping } from '../directory/records.ts';
import { err, ok } from '../lib/result.ts';
import { SLUG } from '../lib/slug.ts';
import { commitChange, expected } from './commit.ts';
import type { AdminContext } from './context.ts';
import { changesOwnClaims, ownStanding } from './own-standing.ts';
import { conflict, forbidden, invalid, notFound, type Problem } from './problem.ts';
import { itemOf, itemsOf } from './records.ts';
import { handler, Reason } from './route.ts';

export const listMappings = handler({
  run: async ({ ctx }) => ok({ body: { mappings: itemsOf(ctx, 'mapping', Mapping) } }),
});

export const getMapping = handler({
  run: async ({ ctx, params }) => {
    const id = params['mapping'] ?? '';
    const mapping = itemOf(ctx, 'mapping', id, Mapping);
    return mapping ? ok({ body: mapping, revision: mapping.revision }) : err(notFound('mapping', id));
  },
});

export const putMapping = handler({
  body: z.strictObject({
    reason: Reason,
    mapping: Mapping,
    unsafeAdministratorByClaim: z
      .boolean()
      .default(false)
      .describe(
        'true: a rule may give the role administrator. Then whoever keeps the claims of the issuer owns the gateway.',
      ),
  }),
  run: async (ask) => {
    const { ctx, who, body, params } = ask;
    const id = params['mapping'] ?? '';
    if (!SLUG.test(id))
      return err(
        invalid(
          'mapping',
          'This is not an id for a mapping.',
          'Use 1 to 63 lower-case letters, digits and inner hyphens.',
        ),
      );
    const before = itemOf(ctx, 'mapping', id, Mapping);
    const revision = expected(ask.seen, before?.revision);
    if (!revision.ok) return revision;
    const { mapping, unsafeAdministratorByClaim } = body;
    const wrong = refusal(ctx, id, mapping, unsafeAdministratorByClaim);
    if (wrong) return err(wrong);
    if (before && before.issuer !== mapping.issuer)
      return err(
        invalid(
          'mapping.issuer',
          'The issuer of a mapping does not change: the tokens of the other one would be read without it.',
          'Put another mapping for the other issuer.',
        ),
      );
    if (changesOwnClaims(ctx, who, before, mapping)) return err(ownStanding('nor those that a claim of theirs gives'));
    const done = await commitChange(ask, {
      what: before ? 'mapping.changed' : 'mapping.added',
      subject: `mapping/${id}`,
      reason: body.reason,
      facts: {
        issuer: mapping.issuer,
        newcomers: mapping.newcomers,
        tenant: mapping.tenant === undefined ? '' : `${mapping.tenant.claim}=${mapping.tenant.value}`,
        rules: mapping.rules.length,
        ...(unsafeAdministratorByClaim && { unsafeAdministratorByClaim: 1 }),
      },
      // The key keeps a second mapping of the issuer out although two are put at once.
      writes: [
        {
          kind: 'mapping',
          org: ctx.org,
          id,
          key: mapping.issuer,
          body: mapping,
          expectedRevision: revision.value,
        },
      ],
    });
    return done.ok
      ? ok({ status: before ? 200 : 201, body: { id, revision: done.value }, revision: done.value })
      : done;
  },
});

export const deleteMapping = handler({
  body: z.strictObject({ reason: Reason }),
  run: async (ask) => {
    const { ctx, who, body, params } = ask;
    const id = params['mapping'] ?? '';
    const before = itemOf(ctx, 'mapping', id, Mapping);
    if (!before) return err(notFound('mapping', id));
    if (changesOwnClaims(ctx, who, before, null)) return err(ownStanding('nor those that a claim of theirs gives'));
    if (before.tenant)
      return err(
        forbidden(
          'mapping_tenant',
          'Without this mapping tokens of every tenant of the issuer would be ours.',
          'Take the issuer out of `issuers` in the configuration first, or put a mapping without `tenant` and say why.',
        ),
      );
    const done = await commitChange(ask, {
      what: 'mapping.removed',
      subject: `mapping/${id}`,
      reason: body.reason,
      facts: { issuer: before.issuer },
      writes: [{ kind: 'mapping', org: ctx.org, id, body: null, expectedRevision: before.revision }],
    });
    return done.ok ? ok({ body: { id, revision: done.value }, revision: done.value }) : done;
  },
});

function refusal(ctx: AdminContext, id: string, mapping: Mapping, administratorByClaim: boolean): Problem | null {
  const issuers = ctx.snapshot().organisation?.issuers ?? [];
  if (!issuers.includes(mapping.issuer))
    return invalid(
      'mapping.issuer',
      'This organisation does not trust this issuer.',
      `Use one of: ${issuers.join(', ') || 'none yet'}. Issuers are trusted by the key \`issuers\` of the configuration.`,
    );
  const other = itemsOf(ctx, 'mapping', Mapping).find((one) => one.issuer === mapping.issuer && one.id !== id);
  if (other)
    return conflict('mapping_exists', `The mapping ${other.id} reads this issuer already.`, 'Change that one.');
  const rule = mapping.rules.findIndex(({ roles }) => roles.includes('administrator'));
  if (rule !== -1 && !administratorByClaim)
    return invalid(
      `mapping.rules.${rule}.roles`,
      'A claim does not make an administrator: whoever keeps the claims of the issuer would own the gateway.',
      'Give the role to a person or to a group, or send unsafeAdministratorByClaim: true (`--unsafe-administrator-by-claim`).',
    );
  return null;
}
