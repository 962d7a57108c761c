/**
 * Whether one set of content rules lets through what another one did not: every class that either speaks of, for every risk class, server and
 * data class that could make a difference, by the rules as calls read them. A comparison that would be too long counts as yes.
 */
import { INSPECTED_RISKS, familyOf } from '../content/records.ts';
import type { InspectedDataClass, InspectionPolicy } from '../content/records.ts';
import { compileRules } from '../content/rules.ts';
import { FAMILIES } from '../content/terms.ts';
import type { Action, Direction } from '../content/terms.ts';
import { SOFT } from './inspection-effective.ts';

const STRENGTH: Readonly<Record<Action, number>> = { label: 1, redact: 2, hold: 3, withhold: 4, block: 5 };
const strengthOf = (action: Action | null): number => (action === null ? 0 : STRENGTH[action]);

const DATA_CLASSES: readonly InspectedDataClass[] = ['public', 'internal', 'confidential', 'regulated'];
const SUBSETS = Array.from({ length: 16 }, (_, at) => DATA_CLASSES.filter((_one, bit) => (at >> bit) & 1));
/** Null: what belongs to no item, of which every rule counts whatever risk classes it names. */
const RISKS = [...INSPECTED_RISKS, null];
const ONLY_ONE: ReadonlyArray<readonly InspectedDataClass[]> = [['internal']];
const MAX_QUESTIONS = 400_000;

/** Letters in which things are named one by one; the record holds 500. */
const NAMED = 400;

/** What is let through now that was not, in words; null: nothing. */
export function relaxes(before: InspectionPolicy, after: InspectionPolicy): string | null {
  const found = [
    ...after.linkHosts.filter((host) => !before.linkHosts.includes(host)).map((host) => `links to ${host} are loaded`),
    ...INSPECTED_RISKS.filter((risk) => before.onFault[risk] === 'refuse' && after.onFault[risk] === 'label').map(
      (risk) => `a failing detector lets ${risk} calls through`,
    ),
    ...(after.budgetMs < before.budgetMs ? ['detectors have less time'] : []),
    ...relaxedClasses(before, after),
  ];
  let text: string | null = null;
  for (const [at, whole] of found.entries()) {
    const one = whole.length > NAMED ? `${whole.slice(0, NAMED)}…` : whole;
    const longer: string = text === null ? one : `${text}; ${one}`;
    if (text !== null && longer.length > NAMED) return `${text}; ${found.length - at} more`;
    text = longer;
  }
  return text;
}

function relaxedClasses(before: InspectionPolicy, after: InspectionPolicy): readonly string[] {
  const rules = [...before.rules, ...after.rules];
  const named = new Set(rules.flatMap(({ classes }) => classes));
  const classes = [...SOFT, ...FAMILIES.map((family) => `${family}.other`)];
  for (const one of named) classes.push(one.endsWith('.*') ? `${familyOf(one)}.other` : one);
  const servers = [...new Set(rules.flatMap((rule) => rule.servers ?? [])), ''];
  const sets = rules.some((rule) => rule.dataClasses !== undefined) ? SUBSETS : ONLY_ONE;
  const distinct = [...new Set(classes)];
  if (distinct.length * servers.length * sets.length * RISKS.length * 2 > MAX_QUESTIONS)
    return ['there are too many rules to compare'];

  const [old, now] = [compileRules(before), compileRules(after)];
  const found = new Map<string, Set<string | null>>();
  for (const direction of ['out', 'in'] as readonly Direction[])
    for (const risk of RISKS)
      for (const server of servers)
        for (const dataClasses of sets) {
          const asked = { direction, risk, server, dataClasses, own: null, planted: null };
          const [was, is] = [old.terms(asked), now.terms(asked)];
          for (const one of distinct)
            if (strengthOf(is.actionFor(one)) < strengthOf(was.actionFor(one))) {
              const what = `${one} ${direction === 'out' ? 'towards' : 'from'} ${server === '' ? 'servers' : server}`;
              found.set(what, (found.get(what) ?? new Set()).add(risk));
            }
        }
  return [...found].map(([what, risks]) => {
    if (risks.size === RISKS.length) return `${what} in all calls`;
    const calls = [...risks].filter((risk) => risk !== null).join(', ');
    const where = [...(calls === '' ? [] : [`in ${calls} calls`]), ...(risks.has(null) ? ['outside of calls'] : [])];
    return `${what} ${where.join(' and ')}`;
  });
}
