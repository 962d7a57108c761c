/**
 * What is done about each class of finding, and because of what: the rules of the record where one speaks, the defaults where none does.
 * For whoever reads; calls read the rules themselves (content/rules.ts), and a test holds the two together. Pure.
 */
import { INSPECTED_RISKS, familyOf } from '../content/records.ts';
import type { InspectedDataClass, InspectedRisk, InspectionPolicy } from '../content/records.ts';
import { compileRules } from '../content/rules.ts';
import { FAMILIES } from '../content/terms.ts';
import type { Action, Direction } from '../content/terms.ts';

/** Classes whose default is not that of their family stand for themselves. */
export const SOFT = ['secret.entropy', 'link.data', 'media.mismatch'];

/** Of one direction, class and risk the first row that fits the server decides. A class without rows of its own has those of `family.*`. */
export interface EffectiveRow {
  readonly direction: Direction;
  readonly class: string;
  /** `none`: what belongs to no item, a notification for example. */
  readonly risks: ReadonlyArray<InspectedRisk | 'none'>;
  /** Only there; left out: every server. */
  readonly servers?: readonly string[];
  /** Only servers that hold one of these; left out: every server. */
  readonly dataClasses?: readonly InspectedDataClass[];
  readonly action: Action;
  readonly from: 'record' | 'default';
  /** Place of the rule in the record, from 0 on. */
  readonly rule?: number;
}

const RISKS = [...INSPECTED_RISKS, 'none'] as const;
/** Rows, and servers in them. */
const MAX_ROWS = 20_000;

/** Null: there are too many rules to list all that follows from them. */
export function effectiveRows(policy: InspectionPolicy): EffectiveRow[] | null {
  const defaults = compileRules(null);
  const rows: EffectiveRow[] = [];
  let room = MAX_ROWS;
  for (const direction of ['out', 'in'] as const) {
    const terms = defaults.terms({ direction, risk: 'read', server: '', dataClasses: [], own: null, planted: null });
    const meant = policy.rules
      .map((rule, at) => ({ ...rule, at, names: new Set(rule.classes) }))
      .filter((rule) => rule.direction === direction);
    for (const one of classesOf(meant.flatMap(({ classes }) => classes))) {
      // What another server gave is only looked for on its way out.
      if (direction === 'in' && familyOf(one) === 'copied') continue;
      const speaking = meant.filter(({ names }) => names.has(one) || names.has(`${familyOf(one)}.*`));
      const alike = Map.groupBy(RISKS, (risk) => {
        const fitting = speaking.filter(({ risks }) => risk === 'none' || !risks || risks.includes(risk));
        const last = fitting.findIndex(({ servers, dataClasses }) => !servers && !dataClasses);
        return (last === -1 ? fitting : fitting.slice(0, last + 1)).map(({ at }) => at).join();
      });
      for (const [places, risks] of alike) {
        let open = true;
        for (const rule of places === '' ? [] : places.split(',').map(Number)) {
          const { servers, dataClasses, action } = policy.rules[rule]!;
          const where = { ...(servers && { servers }), ...(dataClasses && { dataClasses }) };
          rows.push({ direction, class: one, risks, ...where, action, from: 'record', rule });
          open = servers !== undefined || dataClasses !== undefined;
          room -= 1 + (servers?.length ?? 0);
        }
        if (open) rows.push({ direction, class: one, risks, action: terms.actionFor(one) ?? 'label', from: 'default' });
        if (--room < 0) return null;
      }
    }
  }
  return rows;
}

/** All families in their order, each followed by what is named of it. */
function classesOf(named: readonly string[]): string[] {
  const single = new Set([...SOFT, ...named.filter((one) => !one.endsWith('.*'))]);
  const ofFamily = Map.groupBy([...single].sort(), familyOf);
  return FAMILIES.flatMap((family) => [`${family}.*`, ...(ofFamily.get(family) ?? [])]);
}
