/**
 * `/grants` and `/grants/:id`: requests for access, what a yes would do, and the decision. The form carries the revision and the digest of the
 * effect that the page showed: whoever agrees agrees to that, or nothing happens (AZ-08, AZ-11). Reads and decides by the rows of the API.
 */
import { z } from 'zod';
import { markup, type Markup } from '../../lib/html.ts';
import { err, ok, type Result } from '../../lib/result.ts';
import { stepGrant } from '../../policy/grant-machine.ts';
import { GrantMembers } from '../../policy/grants.ts';
import type { AdminContext } from '../context.ts';
import { handOf } from '../grants.ts';
import type { Problem } from '../problem.ts';
import type { AdminCaller } from '../route.ts';
import type { Body } from './approvals-pages.ts';
import { shown } from './arguments.ts';
import { timeText } from './frame.ts';
import { personText } from './held-facts.ts';
import { visibleText } from './visible.ts';

/** A GET row of the API, as this person: its body. */
export type Read = (
  path: string,
  params?: Readonly<Record<string, string>>,
  query?: Readonly<Record<string, string>>,
) => Promise<Result<unknown, Problem>>;

const ShownGrant = GrantMembers.extend({
  id: z.string(),
  revision: z.number(),
  standing: z.string(),
  whoName: z.string().nullable(),
});
type ShownGrant = z.infer<typeof ShownGrant>;
const ShownGrants = z.object({ grants: z.array(ShownGrant) });
const ShownEffect = z.object({
  digest: z.string(),
  counts: z.record(z.string(), z.number()),
  triples: z.array(
    z.object({
      kind: z.string(),
      person: z.string(),
      personName: z.string().nullable(),
      agent: z.string(),
      agentTitle: z.string().nullable(),
      item: z.string(),
    }),
  ),
  next: z.number().nullable(),
  assumes: z.array(z.string()),
});

const TRIPLES = 100;
const EACH_CALL: Readonly<Record<ShownGrant['approval'], string>> = {
  always: 'needs an approval',
  by_risk: 'needs an approval if it is destructive, executing or regulated',
  waived: 'needs no approval: this is an emergency',
};

export async function grantsBody(ctx: AdminContext, read: Read): Promise<Result<Body, Problem>> {
  const waiting = await read('/grants', {}, { standing: 'requested', limit: '200' });
  if (!waiting.ok) return waiting;
  const mine = await read('/grants', {}, { mine: 'true', limit: '200' });
  if (!mine.ok) return mine;
  return ok({
    title: 'Access',
    body: markup`<div class="card">
<h1>Requests for access that wait</h1>
${rows(ctx, ShownGrants.parse(waiting.value).grants)}
</div>
<div class="card"><h2>What you asked for or have</h2>
${rows(ctx, ShownGrants.parse(mine.value).grants)}
</div>`,
  });
}

const rows = (ctx: AdminContext, grants: readonly ShownGrant[]): Markup =>
  grants.length === 0
    ? markup`<p class="note">None.</p>`
    : markup`<ul class="rows">
${grants.map(
  (
    grant,
  ) => markup`<li><a href="/grants/${grant.id}">${visibleText(grant.what.server)} for ${visibleText(grant.whoName ?? grant.who.id)}</a><br>
asked by ${shown(personText(ctx, grant.requestedBy))}, ${timeText(grant.requestedAt)}: <strong>${grant.standing}</strong></li>
`,
)}</ul>`;

export async function grantBody(
  ctx: AdminContext,
  who: AdminCaller,
  id: string,
  formToken: string,
  read: Read,
): Promise<Result<Body, Problem>> {
  const found = await read('/grants/:grant', { grant: id });
  if (!found.ok) return found;
  const parsed = ShownGrant.safeParse(found.value);
  if (!parsed.success) return err({ status: 500, code: 'internal', message: 'The record does not fit.' });
  const grant = parsed.data;
  const { id: _, revision: _revision, standing: _standing, whoName: _name, ...record } = grant;
  const may = (step: 'approve' | 'cancel'): boolean =>
    !(record.breakGlass && step === 'approve') &&
    stepGrant(record, step, handOf(ctx, ctx.snapshot(), who, record), null, ctx.clock.now()).ok;
  const waits = grant.state === 'requested';
  // What a yes would do matters while there is one to give; working it out is not free.
  const effect =
    waits && may('approve') ? await read('/grants/:grant/effect', { grant: id }, { limit: String(TRIPLES) }) : null;
  const seen = effect?.ok === true ? ShownEffect.parse(effect.value) : null;
  return ok({
    title: `Access to ${grant.what.server}`,
    body: markup`<div class="card">
<h1>${effect === null ? 'Access' : 'Agree to this access?'}</h1>
${factsOf(ctx, grant)}
</div>
${seen === null ? null : effectMarkup(seen)}
${effect?.ok === false ? markup`<p class="bad" role="alert">It cannot be agreed to: ${effect.error.message}</p>` : null}
<div class="card">
${effect === null ? markup`<p class="note">${waits ? (grant.breakGlass ? `An emergency is confirmed at the command line: remit break-glass confirm ${grant.id}` : 'This decision is not yours.') : `Nothing waits here: ${grant.standing}.`}</p>` : decisionForm(grant, seen?.digest ?? null, formToken)}
${
  waits && may('cancel')
    ? markup`<form method="post" action="/grants/${grant.id}/cancel">
<input type="hidden" name="form_token" value="${formToken}">
<div class="row"><button type="submit" class="quiet">Take the request back</button></div>
</form>`
    : null
}
</div>`,
  });
}

function factsOf(ctx: AdminContext, grant: ShownGrant): Markup {
  const { what, who, conditions } = grant;
  const items =
    what.items === undefined
      ? `everything there${what.risks === undefined ? '' : ` that is ${what.risks.join(', ')}`}`
      : what.items.join(', ');
  return markup`<dl>
<dt>Who gets it</dt><dd>${who.kind} ${shown(grant.whoName === null ? who.id : `${grant.whoName} (${who.id})`)}${grant.through === undefined ? null : markup`<br><small>only through <code>${visibleText(grant.through)}</code></small>`}</dd>
<dt>Server</dt><dd>${shown(ctx.snapshot().servers.get(what.server)?.record.title ?? what.server)} <code>${visibleText(what.server)}</code></dd>
<dt>What</dt><dd>${shown(items)}</dd>
<dt>Conditions</dt><dd>${
    conditions.length === 0
      ? 'none'
      : conditions.map(
          (one) =>
            markup`<code>${visibleText(one.argument)}</code> ${one.is.replaceAll('_', ' ')} ${'values' in one ? one.values.map((value) => markup`<code>${visibleText(value)}</code> `) : markup`<code>${one.value}</code>`}<br>`,
        )
  }</dd>
<dt>Each call</dt><dd>${EACH_CALL[grant.approval]}</dd>
<dt>Why</dt><dd>${shown(grant.justification)}</dd>
<dt>Asked by</dt><dd>${shown(personText(ctx, grant.requestedBy))}, ${timeText(grant.requestedAt)}</dd>
<dt>Begins</dt><dd>${grant.startsAt === undefined ? 'with the yes' : timeText(grant.startsAt)}</dd>
<dt>Ends</dt><dd>${grant.expiresAt !== null ? timeText(grant.expiresAt) : grant.lastsMs === undefined ? markup`<strong>when somebody ends it</strong>` : `${Math.round(grant.lastsMs / 60_000)} minutes after the yes`}</dd>
<dt>State</dt><dd><strong>${grant.standing}</strong>${grant.decidedBy === null ? null : markup`, ${shown(personText(ctx, grant.decidedBy))}${grant.decidedAt === null ? '' : `, ${timeText(grant.decidedAt)}`}`}${grant.note === null ? null : markup`<br>${shown(grant.note)}`}</dd>
</dl>`;
}

const effectMarkup = ({
  counts,
  triples,
  next,
  assumes,
}: z.infer<typeof ShownEffect>): Markup => markup`<div class="card">
<h2>What a yes would do</h2>
<p>${Object.entries(counts)
  .map(([kind, count]) => `${count} ${kind.replaceAll('_', ' ')}`)
  .join(', ')}.</p>
<ul>
${triples.map(
  (
    one,
  ) => markup`<li>${one.kind.replaceAll('_', ' ')}: ${shown(one.personName === null ? one.person : `${one.personName} (${one.person})`)} by ${shown(one.agentTitle ?? one.agent)}, <code>${visibleText(one.item)}</code></li>
`,
)}</ul>
${next === null ? null : markup`<p class="warn">These are the first ${TRIPLES}. <code>remit grant</code> shows all.</p>`}
${assumes.map((one) => markup`<p><small>${one}</small></p>`)}
</div>`;

const decisionForm = (
  grant: ShownGrant,
  effect: string | null,
  formToken: string,
): Markup => markup`<h2>Your decision</h2>
<form method="post" action="/grants/${grant.id}/deny">
<input type="hidden" name="form_token" value="${formToken}">
<input type="hidden" name="revision" value="${grant.revision}">
${effect === null ? null : markup`<input type="hidden" name="effect" value="${effect}">`}
<label for="note">Note for the requester and the log <small>(optional)</small></label>
<textarea id="note" name="note" rows="3" maxlength="1000"></textarea>
<div class="row">
${effect === null ? null : markup`<button type="submit" formaction="/grants/${grant.id}/approve">Approve</button>`}
<button type="submit" formaction="/grants/${grant.id}/deny" class="quiet">Deny</button>
</div>
</form>`;
