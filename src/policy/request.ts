/**
 * One question in Cedar's terms: the person with their roles and those of their groups that policies name, the tool with its server, and the context.
 * Only these entities travel into the engine: each costs about 25 us there, and no policy can see more.
 */
import type { Request } from './engine.ts';
import { COPIED, labelsOf } from './labels.ts';
import type { ToolFacts } from './schema.ts';
import { POLICY_ROLES } from './schema.ts';
import { NO_SIGN_IN } from './sign-in.ts';

/** Who asks, reduced to what policies can see. */
export interface Who {
  readonly roles: number;
  /** '' unless a policy names this person, this agent or a group of theirs. */
  readonly named: string;
  /** Those of the person's groups that policies name, sorted. */
  readonly groups: readonly string[];
  readonly person: string;
  readonly agent: string;
  /** What the trace has received, and the call carries: `flowBits`. */
  readonly labels: number;
}

const ROLE_BITS: ReadonlyMap<string, number> = new Map(POLICY_ROLES.map((role, index) => [role, 1 << index]));

/** One bit per role; null when a role is unknown, which denies. */
export function roleBits(roles: readonly string[]): number | null {
  let bits = 0;
  for (const role of roles) {
    const bit = ROLE_BITS.get(role);
    if (bit === undefined) return null;
    bits |= bit;
  }
  return bits;
}

const entity = (type: string, id: string): { type: string; id: string } => ({ type: `Remit::${type}`, id });
const reference = (type: string, id: string): { __entity: { type: string; id: string } } => ({
  __entity: entity(type, id),
});
const ARGUMENTS = {
  strings: reference('Strings', 'arguments'),
  numbers: reference('Numbers', 'arguments'),
  flags: reference('Flags', 'arguments'),
  lists: reference('Lists', 'arguments'),
};

const SIGN_IN = { ...NO_SIGN_IN, factors: [...NO_SIGN_IN.factors] };

/** The part of a request that a kept answer may depend on; everything that only a call knows stands at neutral values. */
export function requestFor(tool: ToolFacts, who: Who, scopeHeld: boolean, approved: boolean): Request {
  const { server, name, kind, risk, environment, dataClasses, outward = false } = tool;
  const principal = entity('Person', who.person);
  const resource = entity('Tool', `${server}/${name}`);
  return {
    principal,
    resource,
    context: {
      agent: reference('Agent', who.agent),
      scopeHeld,
      approved,
      ...labelsOf(who.labels),
      copied: (who.labels & COPIED) !== 0,
      copiedFrom: [],
      receivedFrom: [],
      scopes: [],
      at: 0,
      signIn: SIGN_IN,
      alone: false,
      actors: [],
      arguments: ARGUMENTS,
    },
    entities: [
      {
        uid: principal,
        attrs: {},
        parents: [
          ...POLICY_ROLES.filter((role) => (who.roles & (ROLE_BITS.get(role) ?? 0)) !== 0).map((role) =>
            entity('Role', role),
          ),
          ...who.groups.map((group) => entity('Group', group)),
        ],
      },
      {
        uid: resource,
        attrs: {
          kind: reference('Kind', kind),
          risk: reference('Risk', risk),
          environment: reference('Environment', environment),
          dataClasses: dataClasses.map((dataClass) => reference('DataClass', dataClass)),
          outward,
        },
        parents: [entity('Server', server)],
      },
    ],
  };
}
