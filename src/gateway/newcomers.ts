/**
 * Making known who shows a good token and has no record yet: the agent by the organisation's rule for new agents, the person by the mapping
 * of their issuer. Each becomes a record first (owned, listed, lockable) and is judged by it afterwards, never before.
 * ATTACKER-CONTROLLED: who comes. Only an issuer that we trust lets anybody get here, and what waits for a reviewer is bounded.
 */
import { NEW_AGENTS, personKey } from '../directory/records.ts';
import type { Person } from '../directory/records.ts';
import type { Caller } from '../identity/caller.ts';
import { agentKey } from '../inventory/agents.ts';
import type { Agent } from '../inventory/agents.ts';
import type { Clock } from '../lib/clock.ts';
import { isFault } from '../lib/fault.ts';
import { newId } from '../lib/ids.ts';
import type { Result } from '../lib/result.ts';
import { err } from '../lib/result.ts';
import type { StateStore, Write } from '../store/state.ts';
import { principalOf } from './principal.ts';
import type { NoPrincipal, Principal } from './principal.ts';
import type { Snapshot } from './snapshot.ts';

export interface Newcomers {
  /**
   * Writes the records that the rules allow and judges anew by them. `why`: what is missing in `snapshot`.
   * @throws StoreFault when the record cannot be made durable: the guard refuses then.
   */
  admit(snapshot: Snapshot, caller: Caller, why: NoPrincipal): Promise<Result<Principal, NoPrincipal>>;
}

/** Agents that wait for a reviewer; more are refused without a record. */
const MAX_PENDING = 200;

export function newcomers(deps: {
  readonly org: string;
  readonly clock: Clock;
  readonly state: Pick<StateStore, 'commit' | 'head'>;
  readonly snapshot: () => Snapshot;
  readonly advanceTo: (revision: number) => Promise<void>;
  readonly onNew: (
    kind: 'agent' | 'person',
    id: string,
    facts: { readonly state: string; readonly client: string },
  ) => void;
}): Newcomers {
  const { org, clock } = deps;

  /** False: somebody else was quicker; what they wrote counts, and is known here when this resolves. */
  async function commit(write: Write, reason: string): Promise<boolean> {
    try {
      const { revision } = await deps.state.commit({ actor: 'remit:gateway', reason, writes: [write] });
      await deps.advanceTo(revision);
      return true;
    } catch (error) {
      if (!isFault(error, 'store_conflict')) throw error;
      await deps.advanceTo(await deps.state.head());
      return false;
    }
  }

  async function addAgent(snapshot: Snapshot, caller: Caller, client: string): Promise<boolean> {
    const rule: (typeof NEW_AGENTS)[number] = snapshot.organisation?.newAgents ?? 'pending';
    const key = agentKey(caller.issuer, client);
    // Two records under one key: which of them holds is a reviewer's to say.
    if (rule === 'refuse' || snapshot.agents.has(key)) return false;
    const autonomous = caller.alone && client === caller.clientId;
    // Nobody answers for it yet, so it waits, whatever the rule for others is.
    const state = autonomous ? 'pending' : rule;
    if (state === 'pending' && waiting(snapshot) >= MAX_PENDING) return false;
    const id = newId('agent', clock);
    const agent: Agent = {
      issuer: caller.issuer,
      clientId: client,
      title: client.slice(0, 200),
      kind: autonomous ? 'autonomous' : 'delegate',
      state,
      roles: [],
      ceiling: {},
      firstSeenAt: clock.now(),
    };
    const written = await commit(
      { kind: 'agent', org, id, key, body: agent, expectedRevision: null },
      'first call of an agent',
    );
    if (written) deps.onNew('agent', id, { state, client });
    return true;
  }

  async function addPerson(snapshot: Snapshot, caller: Caller): Promise<boolean> {
    const mapping = snapshot.mappings.get(caller.issuer);
    // ID-08: whom a directory took away must not come back by a token, as somebody whom nobody provisions.
    if (snapshot.provisioned.has(caller.issuer)) return false;
    if (caller.alone || mapping?.newcomers !== 'create') return false;
    const id = newId('person', clock);
    const { issuer, subject, clientId: client } = caller;
    const person: Person = { issuer, subject, name: subject.slice(0, 200), state: 'active', roles: [] };
    const key = personKey(issuer, subject);
    const written = await commit(
      { kind: 'person', org, id, key, body: person, expectedRevision: null },
      'first call of a person',
    );
    if (written) deps.onNew('person', id, { state: 'active', client });
    return true;
  }

  return {
    async admit(before, caller, why) {
      let snapshot = before;
      let found: Result<Principal, NoPrincipal> = err(why);
      // One record per round: the client, each actor of its chain, the person.
      for (let round = 0; round < caller.actChain.length + 2 && !found.ok; round++) {
        const { error } = found;
        const added =
          error.reason === 'agent_unknown'
            ? await addAgent(snapshot, caller, error.client)
            : error.reason === 'person_unknown' && (await addPerson(snapshot, caller));
        if (!added) return found;
        snapshot = deps.snapshot();
        found = principalOf(snapshot, caller, clock.now());
      }
      return found;
    },
  };
}

function waiting(snapshot: Snapshot): number {
  let count = 0;
  for (const agent of snapshot.agents.values()) if (agent?.state === 'pending') count++;
  return count;
}
