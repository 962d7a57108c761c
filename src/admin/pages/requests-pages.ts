/**
 * `/requests` and `/requests/:id`: where a person sees what became of what they asked for. A client shows its address to the person; the
 * address opens nothing by itself (PROTOCOL.md C2), and no page here decides anything: not even for an approver who is the requester.
 */
import { markup } from '../../lib/html.ts';
import { listHeld, readHeld, type HeldView } from '../approvals.ts';
import type { AdminContext } from '../context.ts';
import type { AdminCaller } from '../route.ts';
import { decidersInWords } from '../../gateway/approvers.ts';
import type { Body } from './approvals-pages.ts';
import { argumentsMarkup } from './arguments.ts';
import { timeText } from './frame.ts';
import { decisionsMarkup, factsMarkup, stateWords } from './held-facts.ts';
import { visibleText } from './visible.ts';

const ROWS = 100;

export function requestsBody(ctx: AdminContext, who: AdminCaller): Body {
  const { rows } = listHeld(ctx, who, { limit: ROWS, state: 'mine' });
  return {
    title: 'My requests',
    body: markup`<div class="card">
<h1>Calls that you asked for</h1>
${
  rows.length === 0
    ? markup`<p class="note">None of your calls waits, and none did lately.</p>`
    : markup`<ul class="rows">
${rows.map(
  (row) => markup`<li><a href="/requests/${row.id}">${visibleText(row.tool)} on ${visibleText(row.server)}</a><br>
<small>${timeText(row.requestedAt)}: ${stateWords(row)}</small></li>
`,
)}</ul>`
}
</div>`,
  };
}

/** Null: there is none, or none that this person may see. */
export function requestBody(ctx: AdminContext, who: AdminCaller, id: string, formToken: string): Body | null {
  const held = readHeld(ctx, who, id);
  if (held === null) return null;
  const open = (held.state === 'pending' || held.state === 'approved') && held.over === null;
  return {
    title: `Request: ${held.tool} on ${held.server}`,
    body: markup`<div class="card">
<h1>${open && held.state === 'pending' ? 'This call waits for a decision' : `This call: ${stateWords(held)}`}</h1>
<p>${nextWords(ctx, held)}</p>
${factsMarkup(ctx, held)}
${decisionsMarkup(ctx, held)}
</div>
<div class="card">
<h2>Arguments</h2>
${held.arguments === null ? markup`<p class="note">You do not see the arguments: they are for who asked and for who decides.</p>` : argumentsMarkup(held.arguments)}
</div>
${
  held.you.asked && open
    ? markup`<div class="card">
<h2>Take it back</h2>
<p>The call then never runs. You can ask again.</p>
<form method="post" action="/requests/${held.id}/withdraw">
<input type="hidden" name="form_token" value="${formToken}">
<div class="row"><button type="submit" class="quiet">Withdraw</button></div>
</form>
</div>`
    : null
}`,
  };
}

function nextWords(ctx: AdminContext, held: HeldView): string {
  if (held.over !== null || held.state === 'expired')
    return 'Nobody decided in time. It will not run. You can ask again.';
  switch (held.state) {
    case 'pending':
      return `${capital(decidersInWords(ctx.snapshot(), held.server))} decides, until ${timeText(held.expiresAt)}. You cannot decide about it yourself. Reload this page to see what became of it.`;
    case 'approved':
      return `It was approved and can run once until ${timeText(held.expiresAt)}: your client may ask again with the same arguments.`;
    case 'denied':
      return 'It was denied and will not run.';
    case 'cancelled':
    case 'failed':
      return 'It will not run. You can ask again.';
    case 'used':
      return 'It was approved, and the call was made once.';
    default:
      return held.state satisfies never;
  }
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
