/**
 * Whether one set of content rules lets through what another one did not: every class that either speaks of, for every risk class, server and
 * data class that could make a difference, by the rules as calls read them. A comparison that would be too long counts as yes.
 */
import { INSPECTED_RISKS, familyOf } from '../content/records.ts';
import type { InspectedDataClass, InspectionPolicy } from '../content/records.ts';
import { compileRules } from '../content/rules.ts';
import { FAMILIES } from '../content/terms.ts';
import type { Action, Direction } from '../content/terms.ts';

const STRENGTH: Readonly<Record<Action, number>> = { label: 1, redact: 2, hold: 3, withhold: 4, block: 5 };
const strengthOf = (action: Action | null): number => (action === null ? 0 : STRENGTH[action]);

/** Classes whose default is not that of their family stand for themselves. */
const SOFT = ['secret.entropy', 'link.data', 'media.mismatch'];
const DATA_CLASSES: readonly InspectedDataClass[] = ['public', 'internal', 'confidential', 'regulated'];
const SUBSETS = Array.from({ length: 15 }, (_, at) => DATA_CLASSES.filter((_one, bit) => ((at + 1) >> bit) & 1));
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
  if (distinct.length * servers.length * sets.length * INSPECTED_RISKS.length * 2 > MAX_QUESTIONS)
    return ['there are too many rules to compare'];

  const [old, now] = [compileRules(before), compileRules(after)];
  const found = new Map<string, Set<string>>();
  for (const direction of ['out', 'in'] as readonly Direction[])
    for (const risk of INSPECTED_RISKS)
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
  return [...found].map(([what, risks]) =>
    risks.size === INSPECTED_RISKS.length ? `${what} in all calls` : `${what} in ${[...risks].join(', ')} calls`,
  );
}
