/**
 * Alarms as people work on them (CI-07): listed, read and closed with a word on what was found. What was seen, when and by whom stands in
 * the log; a closed one opens again by itself when the same is seen once more. Not done here: opening them (gateway/incidents.ts).
 */
import { z } from 'zod';
import { INCIDENTS, IncidentRecord } from '../inventory/incidents.ts';
import { err, ok } from '../lib/result.ts';
import { commitChange, expected } from './commit.ts';
import type { AdminContext } from './context.ts';
import { conflict, notFound } from './problem.ts';
import { itemOf, itemsOf, type Item } from './records.ts';
import { handler } from './route.ts';

/** Of what closed incidents a list shows, the newest. */
const MAX_CLOSED = 200;

export interface IncidentFinding {
  readonly kind: 'incident';
  readonly id: string;
  readonly title: string;
  readonly code: 'incident_open';
  readonly message: string;
}

const VULNERABLE =
  'It runs a version that is known to be vulnerable. Upgrade the server, or lock or suspend it, then close this.';
const WORDS: Readonly<Partial<Record<IncidentRecord['what'], string>>> = {
  honeytoken: 'A planted secret was seen: somebody or something reads where it lies. Find out who, then close it.',
  own_secret:
    'A secret that Remit holds was seen where it does not belong. Replace it, find out how it got there, then close it.',
  artifact: 'What a server runs is not what was reviewed. Look at the server, then close it.',
};

export function incidentFindings(ctx: AdminContext): readonly IncidentFinding[] {
  return itemsOf(ctx, 'incident', IncidentRecord)
    .filter(({ closed }) => closed === undefined)
    .map(({ id, what, subject, facts }) => ({
      kind: 'incident',
      id,
      title: subject,
      code: 'incident_open',
      message:
        what === 'artifact' && facts['why'] === 'known_vulnerable'
          ? VULNERABLE
          : (WORDS[what] ?? `${what}: look at it, then close it.`),
    }));
}

export const listIncidents = handler({
  query: z.strictObject({ state: z.enum(['open', 'closed', 'all']).default('open') }),
  run: async ({ ctx, query }) => {
    const all = itemsOf(ctx, 'incident', IncidentRecord).sort((a, b) => b.openedAt - a.openedAt);
    const open = all.filter(({ closed }) => closed === undefined);
    const closed = all.filter((one) => one.closed !== undefined).slice(0, MAX_CLOSED);
    const { state } = query;
    const incidents = [...(state === 'closed' ? [] : open), ...(state === 'open' ? [] : closed)];
    return ok({ body: { incidents: incidents.map(shown) } });
  },
});

export const getIncident = handler({
  run: async ({ ctx, params }) => {
    const id = params['incident'] ?? '';
    const incident = itemOf(ctx, 'incident', id, IncidentRecord);
    return incident ? ok({ body: shown(incident), revision: incident.revision }) : err(notFound('incident', id));
  },
});

export const closeIncident = handler({
  body: z.strictObject({ reason: z.string().min(1, 'say what you found').max(1_000) }),
  run: async (ask) => {
    const { ctx, who, body, params, seen } = ask;
    const found = itemOf(ctx, 'incident', params['incident'] ?? '', IncidentRecord);
    if (!found) return err(notFound('incident', params['incident'] ?? ''));
    const { id, revision, ...incident } = found;
    if (incident.closed)
      return err(conflict('incident_closed', `It was closed by ${incident.closed.by}.`, 'Nothing is left to do.'));
    const read = expected(seen, revision);
    if (!read.ok) return read;
    const { what, subject } = incident;
    const closed = { by: who.person, at: ctx.clock.now(), reason: body.reason };
    const done = await commitChange(ask, {
      what: 'incident.closed',
      subject: `incident/${id}`,
      reason: body.reason,
      facts: { incident: what, about: subject },
      writes: [{ kind: 'incident', org: ctx.org, id, body: { ...incident, closed }, expectedRevision: read.value }],
    });
    return done.ok ? ok({ body: { id, revision: done.value }, revision: done.value }) : done;
  },
});

const shown = (incident: Item<IncidentRecord>) => ({ ...incident, severity: INCIDENTS[incident.what] });
