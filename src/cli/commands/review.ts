/** `remit review …`: who still needs what they have: campaigns over grants, with the evidence of their last use. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { systemClock } from '../../lib/clock.ts';
import { seg } from '../api.ts';
import {
  apiOf,
  change,
  duration,
  group,
  remote,
  wholeNumber,
  type ReasonOptions,
  type RemoteOptions,
} from '../command.ts';
import { show, table, time, visible } from '../output.ts';
import { openPrivateFolder } from '../private-folder.ts';

interface Evidence {
  readonly lastUsedAt: number;
  readonly index: number;
  readonly uses: number;
}
interface Access {
  readonly who: { readonly kind: string; readonly id: string };
  readonly what: { readonly server: string; readonly items?: readonly string[]; readonly risks?: readonly string[] };
}
interface Review {
  readonly id: string;
  readonly title: string;
  readonly state: string;
  readonly dueAt: number;
  readonly grants: number;
  readonly pending: number;
  readonly kept: number;
  readonly revoked: number;
  readonly lapsed: number;
}
interface Item {
  readonly grant: string;
  readonly reviewer: string;
  readonly decision: string;
  readonly by: string | null;
  readonly evidence: Evidence | null;
  readonly access: Access | null;
}

const accessText = (access: Access | null): string =>
  access === null
    ? 'gone'
    : `${access.who.kind}/${access.who.id} on ${access.what.server}: ${(access.what.items ?? access.what.risks ?? []).join(', ')}`;
const useText = (evidence: Evidence | null): string =>
  evidence === null ? 'never' : `${time(evidence.lastUsedAt)} (entry ${evidence.index})`;

export function reviewCommands(program: Command): void {
  const review = group(program, 'review', 'Ask who still needs what they have', 'remit review list');

  remote(review, 'list', 'List access reviews and how far they are', 'remit review list').action(
    async (options: RemoteOptions) => {
      const { body } = await apiOf(options).get<{ reviews: Review[] }>('/reviews');
      show(options, body, ({ reviews }) =>
        table(
          ['ID', 'TITLE', 'STATE', 'DUE', 'GRANTS', 'PENDING', 'KEPT', 'REVOKED', 'LAPSED'],
          reviews.map((one) => [
            one.id,
            one.title,
            one.state,
            time(one.dueAt),
            one.grants,
            one.pending,
            one.kept,
            one.revoked,
            one.lapsed,
          ]),
          'No reviews.',
        ),
      );
    },
  );

  change(
    review,
    'open',
    'Open a review over grants; what nobody attests by the due date is suspended',
    'remit review open --title "Q4" --purpose "quarterly" --due 14d --server files --reason "policy 7"',
  )
    .requiredOption('--title <title>', 'what people call it')
    .requiredOption('--purpose <purpose>', 'why it is made')
    .requiredOption('--due <duration>', 'from now on, for example 14d', duration)
    .option('--server <server>', 'grants on this server only')
    .option('--group <group>', 'grants to this group only')
    .option('--reviewer <reviewer>', 'a person, or group/ID (default: who answers for each server)')
    .action(
      async (
        options: ReasonOptions & {
          title: string;
          purpose: string;
          due: number;
          server?: string;
          group?: string;
          reviewer?: string;
        },
      ) => {
        const { title, purpose, due, server, group: of, reviewer } = options;
        const { body } = await apiOf(options).post<{ id: string; grants: number }>('/reviews', {
          reason: options.reason,
          review: {
            title,
            purpose,
            dueAt: systemClock.now() + due,
            ...(server !== undefined && { server }),
            ...(of !== undefined && { group: of }),
            ...(reviewer !== undefined && { reviewer }),
          },
        });
        show(options, body, ({ id, grants }) => `${id} asks about ${grants} grants.`);
      },
    );

  remote(
    review,
    'show <review>',
    'Show a review: each grant, its last use, its reviewer',
    'remit review show review_01k…',
  )
    .option('--mine', 'only what waits for you', false)
    .action(async (id: string, options: RemoteOptions & { mine: boolean }) => {
      const { body } = await apiOf(options).get<Review & { items: Item[] }>(
        `/reviews/${seg(id)}${options.mine ? '?mine=true' : ''}`,
      );
      show(options, body, ({ items }) =>
        table(
          ['GRANT', 'ACCESS', 'LAST USED', 'REVIEWER', 'DECISION', 'BY'],
          items.map((one) => [
            one.grant,
            accessText(one.access),
            useText(one.evidence),
            one.reviewer,
            one.decision,
            one.by ?? '',
          ]),
          'Nothing.',
        ),
      );
    });

  const decide = (verb: 'keep' | 'revoke', summary: string): void => {
    change(
      review,
      `${verb} <review> <grant>`,
      summary,
      `remit review ${verb} review_01k… grant_01k… --reason "still on call"`,
    ).action(async (id: string, grant: string, options: ReasonOptions) => {
      const { body } = await apiOf(options).post<{ decision: string; revision: number }>(
        `/reviews/${seg(id)}/items/${seg(grant)}/${verb}`,
        { note: options.reason },
      );
      show(options, body, ({ decision, revision }) => `${visible(grant)} is ${decision} at revision ${revision}.`);
    });
  };
  decide('keep', 'Attest that a grant is still needed; never your own');
  decide('revoke', 'End a grant that is not needed');

  change(
    review,
    'cancel <review>',
    'Give a review up; what was said stays',
    'remit review cancel review_01k… --reason "wrong scope"',
  ).action(async (id: string, options: ReasonOptions) => {
    const { body } = await apiOf(options).post<{ revision: number }>(`/reviews/${seg(id)}/cancel`, {
      reason: options.reason,
    });
    show(options, body, ({ revision }) => `${visible(id)} is cancelled at revision ${revision}.`);
  });

  remote(review, 'unused', 'Grants in force that nobody has used for so many days', 'remit review unused --days 90')
    .option('--days <days>', 'how long', wholeNumber, 90)
    .action(async (options: RemoteOptions & { days: number }) => {
      const { body } = await apiOf(options).get<{
        grants: Array<Access & { id: string; since: number; evidence: Evidence | null }>;
      }>(`/reviews/unused-grants?days=${options.days}`);
      show(options, body, ({ grants }) =>
        table(
          ['GRANT', 'ACCESS', 'LAST USED', 'UNUSED SINCE'],
          grants.map((one) => [one.id, accessText(one), useText(one.evidence), time(one.since)]),
          `Every grant was used within ${options.days} days.`,
        ),
      );
    });

  remote(
    review,
    'export <review>',
    'Write a review and the receipt of its digest, to check offline',
    'remit review export review_01k… --out evidence',
  )
    .requiredOption('--out <folder>', 'folder for review.json, entry.json, receipt.tlog-proof')
    .action(async (id: string, options: RemoteOptions & { out: string }) => {
      const { body } = await apiOf(options).get<{
        document: unknown;
        digest: string;
        entry: { index: number; text: string };
        receipt: string;
        verifierKey: string;
      }>(`/reviews/${seg(id)}/export`);
      openPrivateFolder(options.out, 'review.json');
      writeFileSync(join(options.out, 'review.json'), `${JSON.stringify(body.document, null, 2)}\n`, { mode: 0o600 });
      writeFileSync(join(options.out, 'entry.json'), body.entry.text, { mode: 0o600 });
      writeFileSync(join(options.out, 'receipt.tlog-proof'), body.receipt, { mode: 0o600 });
      show(
        options,
        { ...body, document: undefined },
        ({ digest, entry }) =>
          `${join(options.out, 'review.json')} has the digest ${digest}, which entry ${entry.index} of the log names.\n` +
          `Check: remit-verify --receipt ${join(options.out, 'receipt.tlog-proof')} --entry ${join(options.out, 'entry.json')} --vkey ${body.verifierKey}`,
      );
    });
}
