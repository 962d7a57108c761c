import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BASELINE } from '../../src/policy/baseline.ts';
import { compilePolicies } from '../../src/policy/compile.ts';
import { decide, visible } from '../../src/policy/decide.ts';
import type { Question } from '../../src/policy/decide.ts';
import { effectOf } from '../../src/policy/effect.ts';
import type { EffectAgent, EffectPerson, EffectWorld } from '../../src/policy/effect.ts';
import type { EffectTriple } from '../../src/policy/effect-book.ts';
import { NO_FLOW, combinationsOf, labelsOf, ALL_BITS } from '../../src/policy/labels.ts';
import type { Labels } from '../../src/policy/labels.ts';
import type { PolicySet } from '../../src/policy/compile.ts';
import type { ToolFacts } from '../../src/policy/schema.ts';
import { setOf, tool } from './fixtures.ts';
import { AT, ITEMS, agents, calls, people, policies } from './worlds.ts';

interface Seat {
  readonly person: Omit<EffectPerson, 'issuers'>;
  readonly agent: EffectAgent;
  readonly alone: boolean;
}

/** Everybody with every agent that can act for them, one by one: nothing is grouped. */
function* seats(world: EffectWorld): Generator<Seat> {
  for (const person of world.people)
    for (const agent of world.agents) if (person.issuers.includes(agent.issuer)) yield { person, agent, alone: false };
  for (const agent of world.agents)
    if (agent.roles !== null)
      yield { person: { id: `agent/${agent.id}`, roles: agent.roles, groups: [] }, agent, alone: true };
}

type Call = Pick<Question, 'scopes' | 'approved' | 'arguments' | 'signIn' | 'actors' | 'at'> & Partial<Labels>;

const asked = (set: PolicySet, { person, agent, alone }: Seat, item: ToolFacts, call: Call) =>
  decide(set, { org: 'default', person, agent: agent.client, tool: item, alone, ...NO_FLOW, ...call });

const TABLE: readonly Call[] = [true, false].flatMap((held) =>
  [true, false].flatMap((approved) =>
    combinationsOf(ALL_BITS).map((bits) => ({
      scopes: new Set(held ? ITEMS.map(({ scope }) => scope) : []),
      approved,
      ...labelsOf(bits),
      arguments: {},
      signIn: { authTime: null, amr: [], acr: null },
      actors: [],
      at: AT,
    })),
  ),
);

const name = ({ person, agent, item }: Pick<EffectTriple, 'person' | 'agent' | 'item'>): string =>
  `${person} ${agent} ${item}`;

const world = fc.record({ people, agents });

describe('AZ-08: the effect of a change of policies', () => {
  test('AZ-08: is exactly the brute-force difference of the two decision tables', () => {
    fc.assert(
      fc.property(policies(false), policies(false), world, (one, two, who) => {
        const [before, after] = [setOf(one, ITEMS), setOf(two, ITEMS)];
        const wanted: string[] = [];
        for (const seat of seats(who)) {
          for (const item of ITEMS) {
            if (!seat.agent.reaches(item)) continue;
            const sees = (set: PolicySet): boolean =>
              visible(set, { person: seat.person, agent: seat.agent.client, at: AT }, item);
            const verdicts = (set: PolicySet): string =>
              sees(set) ? TABLE.map((call) => asked(set, seat, item, call).verdict).join() : 'no';
            const [now, then] = [verdicts(before), verdicts(after)];
            if (now === then) continue;
            const kind = now === 'no' ? 'gained' : then === 'no' ? 'lost' : 'changed';
            wanted.push(
              `${kind} ${name({ person: seat.person.id, agent: seat.agent.id, item: `${item.server}/${item.name}` })}`,
            );
          }
        }
        const effect = effectOf(before, after, who, AT);
        const told = effect.page(0, 10_000).map((triple) => `${triple.kind} ${name(triple)}`);
        expect(told.toSorted()).toEqual(wanted.toSorted());
        expect(Object.values(effect.counts).reduce((a, b) => a + b)).toBe(wanted.length);
      }),
      { seed: 8, numRuns: 25, endOnFailure: true },
    );
  }, 180_000);

  test('AZ-08: a triple that is not told is decided as before, whatever the call brings', () => {
    fc.assert(
      fc.property(
        policies(true),
        policies(true),
        world,
        fc.array(calls, { minLength: 6, maxLength: 6 }),
        (one, two, who, tried) => {
          const [before, after] = [setOf(one, ITEMS), setOf(two, ITEMS)];
          const told = new Map(
            effectOf(before, after, who, AT)
              .page(0, 10_000)
              .map((triple) => [name(triple), triple.kind]),
          );
          for (const seat of seats(who)) {
            for (const item of ITEMS) {
              if (!seat.agent.reaches(item)) continue;
              const key = name({ person: seat.person.id, agent: seat.agent.id, item: `${item.server}/${item.name}` });
              for (const call of tried) {
                const [now, then] = [before, after].map((set) => asked(set, seat, item, call).verdict);
                const kind = told.get(key);
                if (kind === undefined) expect([key, then]).toEqual([key, now]);
                if (kind === 'gained') expect([key, now]).toEqual([key, 'deny']);
                if (kind === 'lost') expect([key, then]).toEqual([key, 'deny']);
              }
            }
          }
        },
      ),
      { seed: 9, numRuns: 10, endOnFailure: true },
    );
  }, 180_000);

  test('pages are stable, do not overlap, and together are the whole', () => {
    const who: EffectWorld = {
      people: ['c', 'a', 'b'].map((id) => ({
        id,
        roles: ['developer'],
        groups: id === 'b' ? ['g'] : [],
        issuers: ['i'],
      })),
      agents: ['y', 'x'].map((id) => ({ id, client: id, issuer: 'i', roles: null, bound: '', reaches: () => true })),
    };
    const grant = `permit (principal in Remit::Role::"developer", action == Remit::Action::"callTool", resource in Remit::Server::"files") when { context.scopeHeld };`;
    const held = `permit (principal in Remit::Group::"g", action == Remit::Action::"callTool", resource in Remit::Server::"mail") when { context.scopeHeld && context.approved };`;
    const after = setOf(
      [
        { id: 'a', text: grant },
        { id: 'b', text: held },
      ],
      ITEMS,
    );
    const effect = effectOf(setOf([], ITEMS), after, who, AT);
    expect(effect.counts).toEqual({ gained: 3 * 2 * 3 + 1 * 2 * 2, lost: 0, changed: 0, may_change: 0 });
    const whole = effect.page(0, 1_000);
    const pages = Array.from({ length: 8 }, (_, index) => effect.page(index * 3, 3)).flat();
    expect(pages).toEqual(whole);
    expect(new Set(whole.map(name)).size).toBe(22);
    expect(effect.groups).toMatchObject([
      { kind: 'gained', from: 'deny', to: 'allow', triples: 18, people: 3, agents: 2, items: 3 },
      { kind: 'gained', from: 'deny', to: 'hold', triples: 4, people: 1, agents: 2, items: 2 },
    ]);
    const again = effectOf(
      setOf([], ITEMS),
      setOf(
        [
          { id: 'a', text: grant },
          { id: 'b', text: held },
        ],
        ITEMS,
      ),
      { ...who, people: [...who.people].toReversed() },
      AT,
    );
    expect(again.digest).toBe(effect.digest);
  });

  test.each([
    ['one person more', { people: ['a', 'b'] }],
    ['another agent', { agents: ['y'] }],
  ] as const)('the digest changes with %s', (_, change) => {
    const make = ({
      people: ids = ['a'],
      agents: of = ['x'],
    }: {
      people?: readonly string[];
      agents?: readonly string[];
    }): EffectWorld => ({
      people: ids.map((id) => ({ id, roles: ['developer'], groups: [], issuers: ['i'] })),
      agents: of.map((id) => ({ id, client: id, issuer: 'i', roles: null, bound: '', reaches: () => true })),
    });
    const run = (who: EffectWorld) => effectOf(setOf([], ITEMS), setOf(BASELINE, ITEMS), who, AT).digest;
    expect(run(make(change))).not.toBe(run(make({})));
    expect(run(make({}))).toBe(run(make({})));
  });

  test('a limit on an argument is told as what depends on the call, and its change as what may change', () => {
    const limited = (folder: string) => ({
      id: 'scratch',
      text: `permit (principal in Remit::Role::"developer", action == Remit::Action::"callTool", resource == Remit::Tool::"files/delete")
when { context.scopeHeld && context.arguments.strings.hasTag("/path") && context.arguments.strings.getTag("/path") like "${folder}/*" };`,
    });
    const who: EffectWorld = {
      people: ['developer', 'operator'].map((role) => ({ id: role, roles: [role], groups: [], issuers: ['i'] })),
      agents: [{ id: 'x', client: 'x', issuer: 'i', roles: null, bound: '', reaches: () => true }],
    };
    const none = setOf([], ITEMS);
    const tmp = setOf([limited('/tmp')], ITEMS);
    expect(effectOf(none, tmp, who, AT).page(0, 10)).toEqual([
      {
        kind: 'gained',
        from: 'deny',
        to: 'depends_on_call',
        scopeHeld: true,
        approved: false,
        person: 'developer',
        agent: 'x',
        item: 'files/delete',
      },
    ]);
    expect(effectOf(tmp, setOf([limited('/var')], ITEMS), who, AT).counts).toEqual({
      gained: 0,
      lost: 0,
      changed: 0,
      may_change: 1,
    });
    expect(effectOf(tmp, none, who, AT).counts).toEqual({ gained: 0, lost: 1, changed: 0, may_change: 0 });
  });

  test('50,000 people, 20,000 items and 200 policies take seconds, and the counts are exact', () => {
    const items = Array.from({ length: 20_000 }, (_, at) =>
      tool({
        server: `server-${at % 1_000}`,
        name: `tool-${at}`,
        risk: (['read', 'write', 'destructive', 'execute'] as const)[at % 4]!,
        scope: `scope:${at % 1_000}`,
      }),
    );
    const extra = Array.from({ length: 200 }, (_, at) => ({
      id: `team.${at}`,
      text: `permit (principal in Remit::Group::"group_${at}", action == Remit::Action::"callTool", resource in Remit::Server::"server-${at}") when { context.scopeHeld };`,
    }));
    const compiled = compilePolicies({ policies: [...BASELINE, ...extra], tools: items });
    if (!compiled.ok) throw new Error('does not compile');
    const draft = compilePolicies({
      policies: [
        ...BASELINE,
        ...extra,
        {
          id: 'draft',
          text: `permit (principal in Remit::Role::"developer", action == Remit::Action::"callTool", resource) when { resource.risk == Remit::Risk::"destructive" && context.scopeHeld && context.approved };`,
        },
      ],
      tools: items,
    });
    if (!draft.ok) throw new Error('does not compile');
    const who: EffectWorld = {
      people: Array.from({ length: 50_000 }, (_, at) => ({
        id: `person_${at}`,
        roles: [['developer'], ['operator'], ['approver'], ['developer', 'operator']][at % 4]!,
        groups: [`group_${at % 400}`],
        issuers: ['i'],
      })),
      agents: Array.from({ length: 20 }, (_, at) => ({
        id: `agent_${at}`,
        client: `client-${at}`,
        issuer: 'i',
        roles: null,
        bound: '',
        reaches: () => true,
      })),
    };
    const from = performance.now();
    const effect = effectOf(compiled.value, draft.value, who, AT);
    const took = performance.now() - from;
    // Developers who are no operators, every destructive tool, but the members of a team that has the server already: they have it without an approval.
    const teamed = items
      .filter(({ risk }) => risk === 'destructive')
      .reduce((sum, { server }) => {
        const at = Number(server.slice(7));
        return sum + (at < 200 && at % 4 === 0 ? 50_000 / 400 : 0);
      }, 0);
    expect(effect.counts).toEqual({ gained: (12_500 * 5_000 - teamed) * 20, lost: 0, changed: 0, may_change: 0 });
    expect(took).toBeLessThan(10_000);
    console.info(`effect over 50,000 people x 20 agents x 20,000 items: ${took.toFixed(0)} ms`);
    expect(effect.page(1_000_000, 2)).toHaveLength(2);
  }, 180_000);
});
