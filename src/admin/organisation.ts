/** The organisation of this deployment: its title and what becomes of new agents. Its issuers are the configuration's. */
import { z } from 'zod';
import { Organisation } from '../directory/records.ts';
import { err, ok } from '../lib/result.ts';
import { commitChange, expected } from './commit.ts';
import { notFound } from './problem.ts';
import { itemOf } from './records.ts';
import { handler, Reason } from './route.ts';

export const getOrganisation = handler({
  run: async ({ ctx }) => {
    const organisation = itemOf(ctx, 'organisation', ctx.org, Organisation);
    return organisation
      ? ok({ body: organisation, revision: organisation.revision })
      : err(notFound('organisation', ctx.org));
  },
});

export const putOrganisation = handler({
  body: z.strictObject({ reason: Reason, organisation: Organisation.omit({ issuers: true }) }),
  run: async (ask) => {
    const { ctx, body } = ask;
    const found = itemOf(ctx, 'organisation', ctx.org, Organisation);
    if (!found) return err(notFound('organisation', ctx.org));
    const revision = expected(ask.seen, found.revision);
    if (!revision.ok) return revision;
    const after: Organisation = { ...body.organisation, issuers: found.issuers };
    const done = await commitChange(ask, {
      what: 'organisation.changed',
      subject: `organisation/${ctx.org}`,
      reason: body.reason,
      facts: {
        title: after.title,
        newAgents: after.newAgents ?? 'pending',
        newAgentsBefore: found.newAgents ?? 'pending',
      },
      writes: [
        {
          kind: 'organisation',
          org: ctx.org,
          id: ctx.org,
          body: after,
          expectedRevision: revision.value,
        },
      ],
    });
    return done.ok ? ok({ body: { id: ctx.org, revision: done.value }, revision: done.value }) : done;
  },
});
