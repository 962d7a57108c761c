/**
 * The register of exceptions (AP-08): everything in force, or once in force and over, that is wider than the rules of the house, each with who
 * answers for it, why, and until when. It is read from the records that decide, so it cannot miss one; what is over is shown as over because it
 * is out of force by itself, not because somebody wrote so.
 */
import { z } from 'zod';
import { Credential } from '../inventory/credentials.ts';
import { ok } from '../lib/result.ts';
import { compilePolicies, parseDate } from '../policy/compile.ts';
import { grantStanding } from '../policy/grant-machine.ts';
import { Grant } from '../policy/grants.ts';
import { PolicyRecord } from '../policy/records.ts';
import type { AdminContext } from './context.ts';
import { itemsOf } from './records.ts';
import { handler } from './route.ts';

export const EXCEPTION_KINDS = ['policy', 'grant', 'credential_sharing', 'unsafe_setting'] as const;

export interface Exception {
  readonly kind: (typeof EXCEPTION_KINDS)[number];
  /** Id of the record, or the dotted name of the setting. */
  readonly id: string;
  readonly title: string;
  /** Directory id of who brought or agreed to it; null: the operator of the installation, by its configuration. */
  readonly owner: string | null;
  readonly reason: string;
  /** ms since the epoch; null: it has no end. */
  readonly until: number | null;
  readonly inForce: boolean;
}

/** Those in force first, the next to end first among them. `at`: ms since the epoch. */
export async function exceptionsAt(ctx: AdminContext, at: number): Promise<Exception[]> {
  const found = [...(await policies(ctx, at)), ...grants(ctx, at), ...sharing(ctx, at), ...settings(ctx)];
  const order = ({ inForce, until, kind, id }: Exception): string =>
    [inForce ? 0 : 1, String(until ?? Number.MAX_SAFE_INTEGER).padStart(16, '0'), kind, id].join(' ');
  return found.sort((a, b) => (order(a) < order(b) ? -1 : 1));
}

async function policies(ctx: AdminContext, at: number): Promise<Exception[]> {
  const found: Exception[] = [];
  for (const { id, text, description, state } of itemsOf(ctx, 'policy', PolicyRecord)) {
    if (state !== 'active') continue;
    const known = ctx.snapshot().policies?.policies.find((policy) => policy.id === id);
    const compiled = known ? null : compilePolicies({ policies: [{ id, text }], tools: [] });
    const json = known?.json ?? (compiled?.ok ? compiled.value.policies[0]?.json : undefined);
    const reason = json?.annotations?.['exception'];
    if (reason === undefined) continue;
    const until = parseDate(json?.annotations?.['until'] ?? '');
    found.push({
      kind: 'policy',
      id,
      title: description,
      owner: await authorOf(ctx, id, text),
      reason,
      until: Number.isNaN(until) ? null : until,
      // A permit ends at its `@until` whatever its state says.
      inForce: Number.isNaN(until) || until > at,
    });
  }
  return found;
}

/** Who brought this text: from the history, which nobody writes by hand. */
async function authorOf(ctx: AdminContext, id: string, text: string): Promise<string | null> {
  const changes = await ctx.state.history('policy', ctx.org, id);
  return changes.find(({ body }) => body?.['text'] === text)?.actor ?? null;
}

/** A grant for whatever a server has, now or later, and every emergency that was open. */
function grants(ctx: AdminContext, at: number): Exception[] {
  return itemsOf(ctx, 'grant', Grant).flatMap((grant): Exception[] => {
    const { id, what, state, requestedBy, justification, expiresAt } = grant;
    const opened = state === 'active' || state === 'suspended' || (grant.breakGlass && state === 'ended');
    if (!opened || (what.items && !grant.breakGlass)) return [];
    const about = what.items?.join(', ') ?? `all that is ${what.risks?.join(' or ') ?? 'there'}`;
    const title = `${grant.breakGlass ? 'emergency, no approvals: ' : ''}${grant.who.kind} ${grant.who.id}: ${about} on ${what.server}`;
    const inForce = grantStanding(grant, at) === 'active';
    return [{ kind: 'grant', id, title, owner: requestedBy, reason: justification, until: expiresAt, inForce }];
  });
}

function sharing(ctx: AdminContext, at: number): Exception[] {
  return itemsOf(ctx, 'credential', Credential).flatMap(({ id, title, owner, state, sharing: shared }): Exception[] =>
    shared === undefined || state === 'retired'
      ? []
      : [
          {
            kind: 'credential_sharing',
            id,
            title,
            owner: shared.by || owner,
            reason: shared.reason,
            until: shared.until,
            inForce: shared.until > at,
          },
        ],
  );
}

function settings(ctx: AdminContext): Exception[] {
  return ctx.facts.unsafeKeys.map((key) => ({
    kind: 'unsafe_setting' as const,
    id: key,
    title: key,
    owner: null,
    reason: 'set in the configuration of this installation',
    until: null,
    inForce: true,
  }));
}

export const listExceptions = handler({
  query: z.strictObject({
    standing: z.enum(['in_force', 'over', 'all']).default('in_force'),
    kind: z.enum(EXCEPTION_KINDS).optional(),
  }),
  run: async ({ ctx, query }) => {
    const at = ctx.clock.now();
    const all = await exceptionsAt(ctx, at);
    const exceptions = all.filter(
      ({ inForce, kind }) =>
        (query.kind === undefined || query.kind === kind) &&
        (query.standing === 'all' || inForce === (query.standing === 'in_force')),
    );
    return ok({ body: { at, exceptions } });
  },
});
