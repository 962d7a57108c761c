/**
 * `/approvals` and `/approvals/:id`: what waits for a decision of this person, and everything they need to make it (AP-02). The buttons come
 * after the last argument, and the form carries the digest of the call that the page showed. Reads and decides by the functions of the API.
 */
import { Approval } from '../../approvals/records.ts';
import { markup, type Markup } from '../../lib/html.ts';
import { listHeld, readHeld, type HeldView } from '../approvals.ts';
import type { AdminContext } from '../context.ts';
import { itemsOf } from '../records.ts';
import type { AdminCaller } from '../route.ts';
import { argumentsMarkup, shown } from './arguments.ts';
import { timeText } from './frame.ts';
import { decisionsMarkup, factsMarkup, personText, stateWords } from './held-facts.ts';
import { visibleText } from './visible.ts';

const ROWS = 200;
const SIMILAR = 5;

export interface Body {
  readonly title: string;
  readonly body: Markup;
}

type Row = Omit<HeldView, 'arguments'>;

export function inboxBody(ctx: AdminContext, who: AdminCaller): Body {
  const mine = listHeld(ctx, who, { limit: ROWS, state: 'mine-to-decide' });
  const waiting = listHeld(ctx, who, { limit: ROWS, state: 'pending' });
  const toDecide = new Set(mine.rows.map(({ id }) => id));
  const others = waiting.rows.filter(({ id }) => !toDecide.has(id));
  return {
    title: 'Approvals',
    body: markup`<div class="card">
<h1>Waiting for you</h1>
${mine.rows.length === 0 ? markup`<p class="note">Nothing waits for your decision.</p>` : rows(ctx, mine.rows)}
${mine.next === null ? null : markup`<p class="note">These are the newest ${ROWS}. Decide some to see the others.</p>`}
</div>
${
  others.length === 0
    ? null
    : markup`<div class="card"><h2>Waiting for others</h2>
${rows(ctx, others)}</div>`
}`,
  };
}

const rows = (ctx: AdminContext, held: readonly Row[]): Markup => markup`<ul class="rows">
${held.map(
  (row) => markup`<li><a href="/approvals/${row.id}">${visibleText(row.tool)} on ${visibleText(row.server)}</a><br>
asked by ${shown(personText(ctx, row.person))} by <code>${visibleText(row.agent)}</code>, ${timeText(row.requestedAt)}<br>
<small>until ${timeText(row.expiresAt)}; ${row.decisions.filter(({ outcome }) => outcome === 'approved').length} of ${row.needed} agreed</small></li>
`,
)}</ul>`;

/** Null: there is none, or none that this person may see. */
export function approvalBody(ctx: AdminContext, who: AdminCaller, id: string, formToken: string): Body | null {
  const held = readHeld(ctx, who, id);
  if (held === null) return null;
  const { you } = held;
  return {
    title: `${held.tool} on ${held.server}`,
    body: markup`<div class="card">
<h1>${you.mayDecide ? 'Approve this call?' : 'Held call'}</h1>
${factsMarkup(ctx, held)}
${decisionsMarkup(ctx, held)}
${you.asked ? null : similar(ctx, held)}
</div>
<div class="card">
<h2>Arguments</h2>
${held.arguments === null ? markup`<p class="note">You do not see the arguments: they are for who asked and for who decides.</p>` : argumentsMarkup(held.arguments)}
</div>
<div class="card">
${you.mayDecide && held.arguments !== null ? decisionForm(held, formToken) : markup`<p class="note">${whyNot(held)}</p>`}
</div>`,
  };
}

function whyNot(held: HeldView): string {
  if (held.you.asked) return 'You asked for this call, so others decide about it.';
  if (held.state !== 'pending' || held.over !== null) return `Nothing is left to decide: ${stateWords(held)}.`;
  if (held.you.decided) return 'You have decided. It takes others, too.';
  if (held.you.mayDecide) return 'The arguments cannot be opened any more, so nobody can approve this call.';
  return 'This decision is not yours.';
}

const decisionForm = (held: HeldView, formToken: string): Markup => markup`<h2>Your decision</h2>
<p>It is about exactly this call, once. It is recorded with your name.</p>
<form method="post" action="/approvals/${held.id}/deny">
<input type="hidden" name="form_token" value="${formToken}">
<input type="hidden" name="call" value="${held.call}">
<label for="note">Note for the requester and the log <small>(optional)</small></label>
<textarea id="note" name="note" rows="3" maxlength="1000"></textarea>
<div class="row">
<button type="submit" formaction="/approvals/${held.id}/approve">Approve</button>
<button type="submit" formaction="/approvals/${held.id}/deny" class="quiet">Deny</button>
</div>
</form>`;

/** What others decided about the same tool lately. */
function similar(ctx: AdminContext, held: HeldView): Markup | null {
  const found = itemsOf(ctx, 'approval', Approval)
    .filter(
      ({ id, server, tool, decidedAt, state }) =>
        id !== held.id && server === held.server && tool === held.tool && decidedAt !== null && state !== 'pending',
    )
    .toSorted((a, b) => (b.decidedAt ?? 0) - (a.decidedAt ?? 0))
    .slice(0, SIMILAR);
  if (found.length === 0) return null;
  return markup`<h2>Decisions about this tool before</h2>
<ul class="rows">
${found.map(
  (
    one,
  ) => markup`<li><strong>${stateWords({ ...one, over: null })}</strong>, ${timeText(one.decidedAt ?? 0)}, asked by ${shown(personText(ctx, one.person))}${one.decidedBy === null ? null : markup`, decided by ${shown(personText(ctx, one.decidedBy))}`}${one.call === held.call ? ' (exactly this call)' : ''}</li>
`,
)}</ul>`;
}
