/** What both pages say of a held call, from this node's picture of the state: who, by which agent, what, as what, until when. */
import { markup, type Markup } from '../../lib/html.ts';
import type { HeldView } from '../approvals.ts';
import type { AdminContext } from '../context.ts';
import { timeText } from './frame.ts';
import { shown } from './arguments.ts';
import { visibleText } from './visible.ts';

const STATE_WORDS: Readonly<Record<HeldView['state'], string>> = {
  pending: 'waits for a decision',
  approved: 'approved, not run yet',
  denied: 'denied',
  expired: 'expired: nobody decided in time',
  cancelled: 'withdrawn',
  failed: 'void: what it was asked for is not there any more',
  used: 'approved and handed to the server once',
};

export const stateWords = (held: Pick<HeldView, 'state' | 'over'>): string =>
  held.over === null ? STATE_WORDS[held.state] : STATE_WORDS[held.over];

/** Name and id, or the id alone: a name is what a directory says, the id is who it is. */
export function personText(ctx: AdminContext, id: string): string {
  const snapshot = ctx.snapshot();
  if (id.startsWith('agent/')) {
    for (const agent of snapshot.agents.values())
      if (agent !== null && `agent/${agent.id}` === id) return `${agent.title} (${id}, acts alone)`;
    return id;
  }
  const person = snapshot.people.byId(id);
  return person === undefined ? id : `${person.name} (${id})`;
}

const HIGH = new Set(['destructive', 'execute', 'regulated']);

export function factsMarkup(ctx: AdminContext, held: HeldView): Markup {
  const server = ctx.snapshot().servers.get(held.server);
  const tool = server?.tools.get(held.tool);
  const risk = held.risk ?? tool?.approved?.risk ?? 'not stated';
  const changed = tool?.approved?.digest !== held.definition;
  const owner = server?.record.owner;
  return markup`<dl>
<dt>Person</dt><dd>${shown(personText(ctx, held.person))}</dd>
<dt>Agent</dt><dd><code>${visibleText(held.agent)}</code>${held.issuer === undefined ? null : markup`<br><small>of ${visibleText(held.issuer)}</small>`}${(held.actors ?? []).map((actor) => markup`<br><small>for <code>${visibleText(actor)}</code></small>`)}</dd>
<dt>Server</dt><dd>${shown(server?.record.title ?? held.server)} <code>${visibleText(held.server)}</code>${
    server === undefined
      ? markup`<br><strong>This server is not there any more.</strong>`
      : markup`<br><small>${server.record.environment}; data: ${server.record.dataClasses.join(', ') || 'not stated'}${owner === undefined ? '' : `; owner: ${visibleText(owner)}`}</small>`
  }</dd>
<dt>Tool</dt><dd><code>${visibleText(held.tool)}</code> <span class="tag${HIGH.has(risk) ? ' high' : ''}">${risk}</span>${tool?.approved?.irreversible === true ? markup` <span class="tag high">cannot be undone</span>` : null}<br><small>definition <code>${held.definition}</code></small>${changed ? markup`<p class="bad" role="alert">The definition in force is another one than when this was asked. It cannot be approved any more.</p>` : null}</dd>
<dt>Why it waits</dt><dd>${held.justification === undefined ? 'A policy demands a decision for this tool.' : shown(held.justification)}${typeof held.policy === 'string' ? markup`<br><small>policies <code>${held.policy}</code></small>` : null}</dd>
${held.because === undefined ? null : markup`<dt>Decided by</dt><dd>${held.because.map((one) => markup`${shown(one)}<br>`)}</dd>`}
${held.found === undefined ? null : markup`<dt>Found in it</dt><dd>${held.found.map((one) => markup`<code>${visibleText(one)}</code> `)}</dd>`}
<dt>Asked</dt><dd>${timeText(held.requestedAt)}</dd>
<dt>Ends</dt><dd>${timeText(held.expiresAt)}</dd>
<dt>State</dt><dd><strong>${stateWords(held)}</strong>${held.ended === undefined ? null : markup`<br>${shown(held.ended)}`}</dd>
<dt>Agreed</dt><dd>${held.decisions.filter(({ outcome }) => outcome === 'approved').length} of ${held.needed}</dd>
<dt>Call digest</dt><dd><code>${held.call}</code></dd>
</dl>`;
}

export const decisionsMarkup = (ctx: AdminContext, held: HeldView): Markup | null =>
  held.decisions.length === 0
    ? null
    : markup`<h2>Decisions so far</h2>
<ul class="rows">
${held.decisions.map(
  ({
    by,
    outcome,
    note,
    at,
  }) => markup`<li><strong>${outcome}</strong> by ${shown(personText(ctx, by))}, ${timeText(at)}${note === null || note === '' ? null : markup`<br>${shown(note)}`}</li>
`,
)}</ul>`;
