/**
 * What somebody should look at: servers, agents and credentials nobody answers for or whose review is over, secrets that are too old, clients
 * that wait (NH-05, AN-14). Read from the records at this moment, so an owner who leaves is in the list with the commit that took them away.
 * Not here: suspending what nobody answers for (owner-watch.ts), and what a credential's value is like (its own findings).
 */
import { ownerStands } from '../directory/owners.ts';
import { Agent } from '../inventory/agents.ts';
import { Credential } from '../inventory/credentials.ts';
import { missingFor, worksIn, type Identity, type LifeKind } from '../inventory/lifecycle.ts';
import { Server } from '../inventory/records.ts';
import { ok } from '../lib/result.ts';
import { FINDINGS } from './agent-states.ts';
import { findingsOf } from './agents.ts';
import { artifactFindings } from './artifact-watch.ts';
import type { AdminContext } from './context.ts';
import { credentialFindings } from './credential-findings.ts';
import { emergencyFindings } from './emergency-review.ts';
import { endOfNotice, noticeOf } from './owner-watch.ts';
import { incidentFindings } from './incidents.ts';
import { itemsOf, type Item } from './records.ts';
import { handler } from './route.ts';
import { toolFindings } from './tool-findings.ts';

export interface Found {
  readonly kind: LifeKind;
  readonly id: string;
  readonly title: string;
  readonly code: string;
  readonly message: string;
  /** When it is suspended unless somebody else answers for it by then; ms since the epoch. */
  readonly suspendedAt?: number;
}

export const listFindings = handler({
  run: async ({ ctx }) => {
    const now = ctx.clock.now();
    return ok({
      body: {
        findings: [
          ...incidentFindings(ctx),
          ...findings(ctx),
          ...artifactFindings(ctx),
          ...toolFindings(ctx, now),
          ...emergencyFindings(ctx, now),
        ],
      },
    });
  },
});

export function findings(ctx: AdminContext): readonly Found[] {
  const agents = itemsOf(ctx, 'agent', Agent).flatMap((agent) =>
    findingsOf(ctx, agent).map((code) => found(ctx, 'agent', agent, code, FINDINGS[code])),
  );
  const servers = itemsOf(ctx, 'server', Server).flatMap((server) => [
    ...lifeFindings(ctx, 'server', server),
    ...pinFindings(ctx, server),
    ...networkFindings(ctx, server),
  ]);
  const credentials = itemsOf(ctx, 'credential', Credential).flatMap((one) => lifeFindings(ctx, 'credential', one));
  return [...servers, ...credentials, ...credentialFindings(ctx), ...agents];
}

/** What the one table says of a server or credential that is past its draft. */
function lifeFindings(
  ctx: AdminContext,
  kind: 'server' | 'credential',
  record: Item<Identity & { readonly title: string; readonly owner: string; readonly state: string }>,
): readonly Found[] {
  if (record.state === 'retired' || record.state === 'draft') return [];
  const now = ctx.clock.now();
  const list: Found[] = [];
  if (!ownerStands(ctx.snapshot(), record.owner))
    list.push(
      found(
        ctx,
        kind,
        record,
        'owner_gone',
        `Its owner ${record.owner} is gone or inactive. Name another owner, or suspend it.`,
      ),
    );
  if (worksIn(kind, record.state)) {
    const lacks = missingFor(kind, record.state, record, { now, ownerStands: () => true }).filter(
      ({ field }) => field !== 'reviewBy' || record.reviewBy === undefined,
    );
    if (lacks.length > 0)
      list.push(
        found(
          ctx,
          kind,
          record,
          'incomplete',
          `It works and would not be enabled today; it lacks ${lacks.map(({ field }) => field).join(', ')}.`,
        ),
      );
  }
  if (record.reviewBy !== undefined && record.reviewBy <= now)
    list.push(found(ctx, kind, record, 'review_due', 'The day when somebody should have looked at it again is over.'));
  return list;
}

/** A server elsewhere that says which keys it shows cannot be replaced unseen. */
function pinFindings(ctx: AdminContext, server: Item<Server>): readonly Found[] {
  const { upstream, state } = server;
  if (!worksIn('server', state) || upstream.transport === 'stdio' || upstream.pins !== undefined) return [];
  if (!upstream.url.startsWith('https:')) return [];
  return [
    found(
      ctx,
      'server',
      server,
      'unpinned',
      'Whoever holds a certificate for its name could take its place; pin its key.',
    ),
  ];
}

/** A local server on the network of the host reaches what the host reaches, whatever its record says. */
function networkFindings(ctx: AdminContext, server: Item<Server>): readonly Found[] {
  const { upstream, state } = server;
  if (!worksIn('server', state) || upstream.transport !== 'stdio' || upstream.network !== 'host') return [];
  const message = ctx.facts.unsafeKeys.includes('sandbox.unsafeHostNetwork')
    ? 'It has the network of the host and reaches whatever the host reaches; name the hosts it needs in egress.'
    : 'It asks for the network of the host, which the configuration does not allow: it does not start. Name the hosts it needs in egress.';
  return [found(ctx, 'server', server, 'network_open', message)];
}

function found(
  ctx: AdminContext,
  kind: LifeKind,
  { id, title }: { readonly id: string; readonly title: string },
  code: string,
  message: string,
): Found {
  const notice = code === 'owner_gone' ? noticeOf(ctx, kind, id) : null;
  const end = notice === null ? {} : { suspendedAt: endOfNotice(ctx, notice) };
  return { kind, id, title, code, message, ...end };
}
