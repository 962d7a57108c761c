/** A call as a question to policy: one place, so that every guard that asks shows policy the same. */
import type { PersonFacts, Question } from '../policy/decide.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import { NO_FLOW } from '../policy/labels.ts';
import type { PersonEntry } from './snapshot.ts';

const NO_GROUPS: readonly string[] = [];

/** `person` with all roles that count and the groups that exist, as `principalOf` gives it. */
export function personFacts({ id, roles, groups }: PersonEntry): PersonFacts {
  return { id, roles, groups: groups ?? NO_GROUPS };
}

/** `approved`: an approval of exactly this call is found and bound. `at`: ms since the epoch. */
export function questionOf(call: Call, approved: boolean, at: number): Question {
  const caller = known(call, 'caller');
  // Before the labels are looked up it is asked whether they matter.
  const flow = call.facts.flow ?? NO_FLOW;
  return {
    org: call.endpoint.org,
    person: personFacts(known(call, 'person')),
    agent: caller.clientId,
    tool: known(call, 'tool').facts!,
    scopes: caller.scopes,
    approved,
    untrusted: flow.untrusted,
    private: flow.private,
    confidential: flow.confidential,
    regulated: flow.regulated,
    secret: flow.secret,
    copied: flow.copied,
    copiedFrom: flow.copiedFrom,
    receivedFrom: flow.receivedFrom,
    arguments: known(call, 'arguments'),
    signIn: caller,
    alone: caller.alone,
    actors: caller.actChain,
    at,
  };
}
