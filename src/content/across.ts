/**
 * Own and planted secrets that are cut over several texts or names of one message: put together again in their order, and looked for as one
 * (CI-03, CI-07). ATTACKER-CONTROLLED: where a value is cut. Not found: pieces in another order, or with other text between them, or in media
 * that go on unread.
 */
import { isJsonObject } from '../lib/json.ts';
import type { Json, JsonObject } from '../lib/json.ts';
import type { Inspection, OutInspection } from './inspect.ts';
import { isBase64 } from './media.ts';
import type { Finding, Terms } from './terms.ts';

const EXACT = { planted: 'honeytoken', own: 'own_secret' } as const;

/** What is about to go to a server, after each of its texts was looked at alone. */
export function acrossTexts(value: JsonObject, terms: Terms, inspection: OutInspection): OutInspection {
  if (inspection.verdict === 'block' || holdNothing(terms)) return inspection;
  const whole = joined(value, false);
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

/**
 * What came from a server, after each of its texts was looked at alone and what stood whole in one was taken out. What stands in several
 * cannot be taken out: nothing of it goes on.
 */
export function acrossResult(inspection: Inspection, terms: Terms): Inspection {
  if (inspection.verdict === 'withhold' || holdNothing(terms)) return inspection;
  const whole = joined(inspection.result, true);
  for (const name of ['planted', 'own'] as const) {
    try {
      const [found] = whole.flatMap((text) => terms[name]?.find(text) ?? []);
      if (found === undefined) continue;
      const { labels, findings, faults, inspected } = inspection;
      const kind = `${EXACT[name]}.${found.id}`;
      return {
        verdict: 'withhold',
        reason: 'result_forbidden',
        result: null,
        labels: [...new Set([...labels, `${EXACT[name]}:${found.id}`])].toSorted(),
        findings: [...findings, { class: kind, at: '', span: null, action: 'withhold' }],
        faults,
        inspected: [...inspected, `found:${kind}@=withhold`],
      };
    } catch {
      // Nobody knew what to look for in the single texts either, and what that means was said there (CI-11).
    }
  }
  return inspection;
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

/**
 * All texts in their order, those of blocks without what says that they are blocks, all names, and everything; one part alone was looked at
 * already. @param came from a server: words of the protocol and media are left out, so that one block costs nothing more
 */
function joined(value: Json, came: boolean): readonly string[] {
  const texts: string[] = [];
  const blocks: string[] = [];
  const names: string[] = [];
  const both: string[] = [];
  const gather = (part: Json): void => {
    if (typeof part === 'string') {
      if (came && WORDS.has(part)) return;
      texts.push(part);
      both.push(part);
    } else if (Array.isArray(part)) for (const one of part as readonly Json[]) gather(one);
    else if (isJsonObject(part))
      for (const name of Object.keys(part)) {
        if (!came || !WORDS.has(name)) {
          names.push(name);
          both.push(name);
        }
        const inner = part[name] as Json;
        if (name === 'text' && typeof inner === 'string') blocks.push(inner);
        if (!came || !isMedia(part, name)) gather(inner);
      }
  };
  gather(value);
  return [texts, blocks, names, both].filter((parts) => parts.length > 1).map((parts) => parts.join(''));
}

const WORDS: ReadonlySet<string> = new Set(
  'content contents messages structuredContent isError resultType complete _meta annotations type role text image audio resource user assistant mimeType uri data blob'.split(
    ' ',
  ),
);

/** Whoever hides a piece there could as well put a word between two pieces. */
const isMedia = (object: JsonObject, name: string): boolean =>
  (name === 'data' || name === 'blob') &&
  (object['type'] === 'image' || object['type'] === 'audio' || typeof object['uri'] === 'string') &&
  isBase64(object[name]);
