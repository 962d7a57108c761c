/**
 * What stands in the way of a call before any policy is asked, in one word, and the one change that would take exactly it away. A change is named
 * only if the same guards, asked again over a picture in which it is made, come nearer to a yes. Nothing is changed here.
 */
import type { Denial } from '../gateway/denial.ts';
import type { ServerEntry, Snapshot } from '../gateway/snapshot.ts';
import { judgeCall } from '../gateway/what-if.ts';
import type { Judged, SupposedCall } from '../gateway/what-if.ts';
import { agentKey } from '../inventory/agents.ts';
import type { KnownAgent } from '../inventory/agents.ts';
import { DISTANCE } from '../policy/explain.ts';
import type { Decision } from '../policy/decide.ts';
import { POLICY_ROLES } from '../policy/schema.ts';

export interface Remedy {
  readonly change:
    | 'lift_lock'
    | 'enable_server'
    | 'switch_on'
    | 'activate_agent'
    | 'raise_ceiling'
    | 'activate_person'
    | 'role';
  readonly value: string;
  readonly verdict: Decision['verdict'];
}

/** One word for what stopped it; policies have words of their own. */
export function wordOf(denial: Denial, aboveCeiling: boolean): string {
  switch (denial.reason) {
    case 'locked':
      return `locked:${denial.on}`;
    case 'server_not_enabled':
      return `server_${denial.state}`;
    case 'tool_switched_off':
      return `tool_switched_off:${denial.by}`;
    case 'policy_denied':
      if (aboveCeiling) return 'above_ceiling';
      return denial.because === 'policies_unusable' ? 'policies_broken' : denial.because;
    default:
      return denial.reason;
  }
}

interface Try {
  readonly change: Remedy['change'];
  readonly value: string;
  readonly view: Snapshot;
}

export async function remediesFor(
  view: Snapshot,
  supposed: SupposedCall,
  judged: Judged,
  aboveCeiling: boolean,
  at: number,
): Promise<Remedy[]> {
  if (!judged.denial) return [];
  const found: Remedy[] = [];
  for (const { change, value, view: changed } of triesFor(view, supposed, judged.denial, aboveCeiling)) {
    const { verdict } = await judgeCall(changed, supposed, at);
    if (DISTANCE[verdict] < DISTANCE[judged.verdict]) found.push({ change, value, verdict });
  }
  return found.sort((a, b) => DISTANCE[a.verdict] - DISTANCE[b.verdict]);
}

function triesFor(view: Snapshot, supposed: SupposedCall, denial: Denial, aboveCeiling: boolean): Try[] {
  const { caller } = supposed;
  const clients = [caller.clientId, ...caller.actChain];
  const server = view.servers.get(supposed.server);
  const person = caller.alone ? undefined : view.people.byIdentity(caller.issuer, caller.subject);
  const withPerson = (more: object): Snapshot => ({
    ...view,
    people: view.people.with([[person!.id, { ...person!, ...more }]]),
  });
  if (aboveCeiling)
    return [
      { change: 'raise_ceiling', value: clients.join(' '), view: withAgents(view, supposed, () => ({ ceiling: {} })) },
    ];
  switch (denial.reason) {
    case 'locked': {
      const locks = new Map([...(view.locks ?? [])].filter(([, { id }]) => id !== denial.lock));
      return [{ change: 'lift_lock', value: denial.lock, view: { ...view, locks } }];
    }
    case 'server_not_enabled':
      return server
        ? [
            {
              change: 'enable_server',
              value: server.id,
              view: withServer(view, {
                ...server,
                record: { ...server.record, state: 'enabled' },
                inService: server.record.switches.reachable,
              }),
            },
          ]
        : [];
    case 'server_switched_off':
      return server
        ? [
            {
              change: 'switch_on',
              value: `${server.id} reachable`,
              view: withServer(view, { ...server, inService: true }),
            },
          ]
        : [];
    case 'tool_switched_off': {
      if (!server) return [];
      const tools = new Map([...server.tools].map(([key, tool]) => [key, { ...tool, switchedOff: null }]));
      return [
        { change: 'switch_on', value: `${server.id} ${denial.by}`, view: withServer(view, { ...server, tools }) },
      ];
    }
    case 'agent_not_active':
      return [
        {
          change: 'activate_agent',
          value: clients.join(' '),
          view: withAgents(view, supposed, () => ({ state: 'active' })),
        },
      ];
    case 'person_inactive':
      return person ? [{ change: 'activate_person', value: person.id, view: withPerson({ state: 'active' }) }] : [];
    case 'person_without_role':
      return person
        ? POLICY_ROLES.map((role) => ({
            change: 'role',
            value: role,
            view: withPerson({ roles: [...person.roles, role] }),
          }))
        : [];
    default:
      return [];
  }
}

function withServer(view: Snapshot, server: ServerEntry): Snapshot {
  return { ...view, servers: new Map([...view.servers, [server.id, server]]) };
}

function withAgents(
  view: Snapshot,
  { caller }: SupposedCall,
  change: (agent: KnownAgent) => Partial<KnownAgent>,
): Snapshot {
  const agents = new Map(view.agents);
  for (const client of [caller.clientId, ...caller.actChain]) {
    const key = agentKey(caller.issuer, client);
    const agent = agents.get(key);
    if (agent) agents.set(key, { ...agent, ...change(agent) });
  }
  return { ...view, agents };
}
