/**
 * The effect of a change of policies or grants over this organisation as it is now: who could newly do what with which agent, who no longer,
 * and for whom the answer changes (AZ-08). Worked out in small steps between other work, once per picture and change, and kept until the
 * picture changes. Roles that a mapping reads from a token are not in the directory and so not counted; the answer says so.
 */
import { setImmediate as pause } from 'node:timers/promises';
import { z } from 'zod';
import { standingRoles } from '../directory/roles.ts';
import { personStanding } from '../directory/standing.ts';
import { personFacts } from '../gateway/question.ts';
import type { Snapshot } from '../gateway/snapshot.ts';
import { commonCeiling, withinCeiling } from '../inventory/agents.ts';
import type { KnownAgent } from '../inventory/agents.ts';
import type { PolicySet } from '../policy/compile.ts';
import { effectSteps } from '../policy/effect.ts';
import type { EffectAgent, EffectPerson, EffectWorld } from '../policy/effect.ts';
import { EFFECT_KINDS } from '../policy/effect-book.ts';
import type { Effect } from '../policy/effect-book.ts';
import type { AdminContext } from './context.ts';
import { conflict, type Problem } from './problem.ts';
import { queryNumber } from './route.ts';

/** Calls wait at most this long for a step of ours, ms. */
const STEP_MS = 5;
/** Effects of one picture that are kept: reading page after page works nothing out again. */
const KEPT = 8;

const WORKED = new WeakMap<Snapshot, Map<string, Promise<Effect>>>();

/** `key` names the change within the picture. */
export function effectIn(
  view: Snapshot,
  key: string,
  sets: { readonly before: PolicySet; readonly after: PolicySet },
  at: number,
): Promise<Effect> {
  const known = WORKED.get(view) ?? new Map<string, Promise<Effect>>();
  WORKED.set(view, known);
  let effect = known.get(key);
  if (!effect) {
    effect = inSteps(effectSteps(sets.before, sets.after, worldOf(view), at));
    known.set(key, effect);
    effect.catch(() => known.delete(key));
    const [oldest] = known.keys();
    if (known.size > KEPT && oldest !== undefined) known.delete(oldest);
  }
  return effect;
}

async function inSteps(steps: Generator<void, Effect>): Promise<Effect> {
  for (;;) {
    const until = performance.now() + STEP_MS;
    do {
      const step = steps.next();
      if (step.done) return step.value;
    } while (performance.now() < until);
    await pause();
  }
}

export const POLICIES_BROKEN = conflict(
  'policies_broken',
  'The policies in force cannot be read or do not compile together, so every call is denied.',
  'GET /status names what is wrong; repair that first.',
);

function worldOf(view: Snapshot): EffectWorld {
  return { people: peopleOf(view), agents: agentsOf(view) };
}

/** Everybody who could call: as `principalOf` would find them with a good token and without claims. */
function* peopleOf(view: Snapshot): Generator<EffectPerson> {
  for (const known of view.people.all()) {
    if (known.breakGlass) continue;
    const roles = standingRoles(known, view.groups);
    const person = { ...known, roles: [...roles], groups: (known.groups ?? []).filter((id) => view.groups.has(id)) };
    if (personStanding(person) !== 'active') continue;
    const issuers = [...new Set([known, ...(known.also ?? [])].map(({ issuer }) => issuer))];
    yield { ...personFacts(person), issuers };
  }
}

function agentsOf(view: Snapshot): EffectAgent[] {
  const agents: EffectAgent[] = [];
  for (const agent of view.agents.values()) {
    if (agent?.state !== 'active') continue;
    const ceiling = commonCeiling([agent]);
    agents.push({
      id: agent.id,
      client: agent.clientId,
      issuer: agent.issuer,
      roles: rolesAlone(agent),
      bound: ceiling === null ? '' : JSON.stringify(ceiling),
      reaches: (item) => withinCeiling(ceiling, item),
    });
  }
  return agents.sort((a, b) => (a.id < b.id ? -1 : 1));
}

const rolesAlone = ({ kind, roles }: KnownAgent): readonly string[] | null => (kind === 'autonomous' ? roles : null);

export const EffectQuery = z.strictObject({
  kind: z.enum(EFFECT_KINDS).optional().describe('Only triples of this kind.'),
  offset: queryNumber(0, Number.MAX_SAFE_INTEGER).default(0).describe('`next` of the answer before.'),
  limit: queryNumber(1, 1_000).default(50).describe('Triples of one answer.'),
});

/** An effect as the API shows it: counts and groups whole, triples a page at a time, with the names that people know. */
export function effectBody(
  ctx: AdminContext,
  effect: Effect,
  { kind, offset, limit }: z.infer<typeof EffectQuery>,
): Record<string, unknown> {
  const view = ctx.snapshot();
  const titles = new Map([...view.agents.values()].flatMap((agent) => (agent ? [[agent.id, agent.title]] : [])));
  const triples = effect.page(offset, limit, kind).map((triple) => ({
    ...triple,
    personName: view.people.byId(triple.person)?.name ?? titles.get(triple.person.replace(/^agent\//, '')) ?? null,
    agentTitle: titles.get(triple.agent) ?? null,
  }));
  const all = kind === undefined ? Object.values(effect.counts).reduce((a, b) => a + b, 0) : effect.counts[kind];
  const claims = [...view.mappings.values()].some((mapping) => (mapping?.rules.length ?? 0) > 0);
  return {
    digest: effect.digest,
    counts: effect.counts,
    groups: effect.groups,
    triples,
    next: offset + triples.length < all ? offset + triples.length : null,
    assumes: [
      'Tokens say nothing of the sign-in, so a policy that asks for a better one shows as step_up.',
      'Items count whatever the state of their server.',
      ...(claims ? ['Roles that a mapping reads from claims of a token are not counted.'] : []),
    ],
  };
}

/** `effect` null: other rules came into force while it was worked out, so it is the effect of another change. */
export const effectChanged = (effect: Effect | null, path: string): Problem =>
  conflict(
    'effect_changed',
    effect === null
      ? 'Other rules came into force meanwhile.'
      : `This is not the effect you read. It is now ${effect.digest}: ${wordsOf(effect)}.`,
    `Read the effect again (GET ${path}) and decide anew.`,
  );

const wordsOf = ({ counts }: Effect): string =>
  `${counts.gained} gained, ${counts.lost} lost, ${counts.changed} changed, ${counts.may_change} may change`;
