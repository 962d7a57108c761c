/**
 * What a new installation starts with, written once and recorded: its organisation, the baseline policies, and the first administrator
 * of the configuration. Later starts change only what the configuration owns: the issuers of the organisation, and agents for the clients of
 * the admin API that have no record.
 * A policy that somebody edited or removed stays as they left it.
 */
import { Organisation, Person, personKey } from '../directory/records.ts';
import { Agent, agentKey } from '../inventory/agents.ts';
import type { JsonObject } from '../lib/json.ts';
import { newId } from '../lib/ids.ts';
import { BASELINE } from '../policy/baseline.ts';
import { PolicyRecord } from '../policy/records.ts';
import type { StateStore, Write } from '../store/state.ts';
import type { LocalView } from './state-view.ts';

export interface FirstPerson {
  readonly issuer: string;
  readonly subject: string;
  readonly name: string;
}

/** What the caller should put into the audit log; null when nothing was changed. */
export interface Founded {
  readonly revision: number;
  readonly wrote: readonly string[];
}

export async function ensureFoundation(
  state: StateStore,
  view: LocalView,
  facts: {
    readonly org: string;
    readonly issuers: readonly string[];
    /** Clients of the admin API: without a record of theirs nobody could review the others. */
    readonly adminClients: readonly string[];
    readonly newAgents: Organisation['newAgents'];
    readonly firstAdministrator?: FirstPerson | undefined;
  },
): Promise<Founded | null> {
  const { org } = facts;
  const writes: Write[] = [];
  const put = (kind: string, id: string, body: object, key?: string, expectedRevision: number | null = null): void => {
    writes.push({ kind, org, id, body: body as JsonObject, expectedRevision, ...(key !== undefined && { key }) });
  };

  const existing = view.get('organisation', org, org);
  const issuers = [...facts.issuers];
  if (!existing) {
    if (issuers.length > 0)
      put('organisation', org, Organisation.parse({ title: org, issuers, newAgents: facts.newAgents }));
    // An installation without an issuer has no organisation record yet, but its policies are somebody's already.
    const begun = [...view.records('policy', org)].length > 0;
    for (const { id, text } of begun ? [] : BASELINE)
      put(
        'policy',
        id,
        PolicyRecord.parse({ description: `Baseline policy, see docs/guides/policy.md`, text, state: 'active' }),
      );
  } else if (issuers.length > 0 && JSON.stringify(existing.body['issuers']) !== JSON.stringify(issuers)) {
    put('organisation', org, Organisation.parse({ ...existing.body, issuers }), undefined, existing.revision);
  }

  const agents = new Set(
    [...view.records('agent', org)].flatMap(({ body }) => {
      const agent = Agent.safeParse(body);
      return agent.success ? [agentKey(agent.data.issuer, agent.data.clientId)] : [];
    }),
  );
  for (const issuer of issuers) {
    for (const clientId of facts.adminClients) {
      const key = agentKey(issuer, clientId);
      if (agents.has(key)) continue;
      const purpose = 'People use the admin API with it.';
      const agent = {
        issuer,
        clientId,
        title: clientId,
        kind: 'delegate',
        state: 'active',
        purpose,
        roles: [],
        ceiling: {},
      };
      put('agent', newId('agent'), Agent.parse(agent), key);
    }
  }

  const first = facts.firstAdministrator;
  if (first && [...view.records('person', org)].length === 0) {
    const person = Person.parse({
      issuer: first.issuer,
      subject: first.subject,
      name: first.name,
      state: 'active',
      roles: ['administrator'],
    });
    put('person', newId('person'), person, personKey(first.issuer, first.subject));
  }
  if (writes.length === 0) return null;
  const { revision } = await state.commit({ actor: 'remit:start', reason: 'foundation of the installation', writes });
  await view.advanceTo(revision);
  return { revision, wrote: writes.map(({ kind, id }) => `${kind}/${id}`) };
}
