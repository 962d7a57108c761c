/**
 * Own and planted secrets that are cut over several texts or names of one message: put together again in their order, and looked for as one
 * (CI-03, CI-07). ATTACKER-CONTROLLED: where a value is cut. Not found: pieces in another order, or with other text between them.
 */
import { isJsonObject } from '../lib/json.ts';
import type { Json, JsonObject } from '../lib/json.ts';
import type { OutInspection } from './inspect.ts';
import type { Finding, Terms } from './terms.ts';

const EXACT = { planted: 'honeytoken', own: 'own_secret' } as const;

/** What is about to go to a server, after each of its texts was looked at alone. */
export function acrossTexts(value: JsonObject, terms: Terms, inspection: OutInspection): OutInspection {
  if (inspection.verdict === 'block' || holdNothing(terms)) return inspection;
  const texts: string[] = [];
  const names: string[] = [];
  const both: string[] = [];
  gather(value, texts, names, both);
  // One part alone was looked at already.
  const whole = [texts, names, both].filter((parts) => parts.length > 1).map((parts) => parts.join(''));
  let seen: OutInspection = inspection;
  for (const name of ['planted', 'own'] as const) {
    try {
      for (const { id } of whole.flatMap((text) => terms[name]?.find(text) ?? [])) {
        const found = {
          class: `${EXACT[name]}.${id}`,
          at: '',
          span: null,
          action: terms.actionFor(`${EXACT[name]}.${id}`),
        };
        if (found.action === 'block') return blockedFor(seen, { ...found, action: found.action });
      }
    } catch {
      seen = failedFor(seen, name, terms);
      if (seen.verdict === 'block') return seen;
    }
  }
  return seen;
}

/** Whether there is nothing to look for. Where nobody knows there may be. */
function holdNothing({ own, planted }: Terms): boolean {
  try {
    return [own, planted].every((matcher) => matcher === null || matcher.book?.().values.length === 0);
  } catch {
    return false;
  }
}

const blockedFor = ({ labels, findings, faults, inspected }: OutInspection, found: Finding): OutInspection => ({
  verdict: 'block',
  reason: found.class,
  labels,
  findings: [...findings, found],
  faults,
  inspected: [...inspected, `found:${found.class}@=${found.action}`],
});

/** The same a detector comes to that fails on one text (CI-11). */
function failedFor(inspection: OutInspection, name: string, { onFault }: Terms): OutInspection {
  const { labels, findings, faults, inspected } = inspection;
  const failed = {
    labels,
    findings,
    faults: faults.includes(name) ? faults : [...faults, name],
    inspected: faults.includes(name) ? inspected : [...inspected, `uninspected:${name}`],
  };
  return onFault === 'refuse'
    ? { verdict: 'block', reason: 'inspection_failed', ...failed }
    : { ...inspection, ...failed };
}

function gather(value: Json, texts: string[], names: string[], both: string[]): void {
  if (typeof value === 'string') {
    texts.push(value);
    both.push(value);
  } else if (Array.isArray(value)) for (const one of value as readonly Json[]) gather(one, texts, names, both);
  else if (isJsonObject(value))
    for (const name of Object.keys(value)) {
      names.push(name);
      both.push(name);
      gather(value[name] as Json, texts, names, both);
    }
}
