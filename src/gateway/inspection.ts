/**
 * Content of one call, looked at on the terms of its server, risk class and direction: what goes out is blocked, held or let through as it is;
 * what comes in is cleaned by whoever passes it on. What was found becomes notes for the log, alarms and labels here, in one place.
 * Terms are kept by item, so a call looks them up and makes nothing. Not done here: the detectors (content/), what a caller is told (wire.ts).
 */
import { isDeepStrictEqual } from 'node:util';
import { RESULT_LIMITS } from '../content/inspect.ts';
import type { Inspection, OutInspection } from '../content/inspect.ts';
import type { Inspector } from '../content/inspector.ts';
import { KINDS } from '../content/kinds.ts';
import type { CameKind } from '../content/kinds.ts';
import { compileRules } from '../content/rules.ts';
import type { Rules } from '../content/rules.ts';
import type { Direction, Terms } from '../content/terms.ts';
import type { JsonObject } from '../lib/json.ts';
import type { SomeLabels } from '../policy/labels.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import { actorOf, callFacts } from './entry-facts.ts';
import type { Incident } from './incidents.ts';
import type { InspectionBooks } from './inspection-books.ts';
import type { ToolEntry } from './snapshot.ts';
import { USES } from './uses.ts';
import type { UseFamily } from './uses.ts';

export interface InspectionPort {
  readonly books: InspectionBooks;
  readonly inspector: Inspector;
  /** Never throws, holds nobody up. */
  readonly report: (incident: Incident) => void;
}

/** What was seen in the content of a call besides its result; written by `noted` alone. */
export interface Content {
  /** What was found in arguments, questions, answers and notifications, for the entry of its end. Bounded. */
  readonly notes: string[];
  /** Alarms raised, each once in a call. */
  readonly raised: string[];
  /** What its trace receives with it, besides what its item always gives. */
  labels: SomeLabels | undefined;
}

const MAX_NOTES = 24;
const UNREADABLE = compileRules(null);

interface Kept {
  readonly rules: Rules;
  readonly books: InspectionBooks;
  readonly out: Terms;
  readonly in: Terms;
}
const KEPT = new WeakMap<ToolEntry, Kept>();

/** On which terms content of this call goes in that direction. Of a call whose item is established. */
export function termsFor(call: Call, direction: Direction, { books }: Pick<InspectionPort, 'books'>): Terms {
  const tool = known(call, 'tool');
  const rules = call.snapshot.inspection ?? UNREADABLE;
  let kept = KEPT.get(tool);
  if (kept?.rules !== rules || kept.books !== books) KEPT.set(tool, (kept = keptFor(call, tool, rules, books)));
  return kept[direction];
}

function keptFor(call: Call, tool: ToolEntry, rules: Rules, books: InspectionBooks): Kept {
  const server = known(call, 'server');
  const { dataClasses } = server.record;
  const { own, planted } = books;
  const asked = { risk: tool.facts?.risk ?? null, server: tool.server, dataClasses, own, planted };
  return {
    rules,
    books,
    out: rules.terms({ ...asked, direction: 'out', except: server.ownSecrets }),
    in: rules.terms({ ...asked, direction: 'in' }),
  };
}

/** Everything of the request that is forwarded and not made by this gateway, as the server will read it. */
export function outgoing(call: Call): JsonObject {
  const { message, subject } = call;
  const family = message.rule?.family;
  const params = family === 'subscribe' ? { uri: subject.name ?? '' } : USES[family as UseFamily].params(call);
  const { rest } = message.meta;
  return Object.keys(rest).length === 0 ? params : { ...params, _meta: rest };
}

/** What is about to go to the server of this call. The value is not changed, whatever is found. A promise only where it is large. */
export function inspectOut(
  call: Call,
  value: JsonObject,
  port: Pick<InspectionPort, 'books' | 'inspector'>,
): OutInspection | Promise<OutInspection> {
  const terms = termsFor(call, 'out', port);
  const before = LOOKED_AT.get(call);
  if (before !== undefined && isSame(before, value, terms)) return sentOn(terms, before.inspection);
  // Whoever sends something large waits behind what they sent before.
  const from = `out ${call.facts.caller?.clientId ?? ''}`;
  const books = booksOf(terms);
  const looked = port.inspector.look('goes', value, RESULT_LIMITS, terms, from, call.inflight.signal);
  if (!(looked instanceof Promise)) return sentOn(terms, looked);
  return looked.then((inspection) => {
    if (books !== null && inspection.faults.length === 0) LOOKED_AT.set(call, { value, terms, books, inspection });
    return sentOn(terms, inspection);
  });
}

/**
 * What large values came to. A call is asked again when the state moved meanwhile: one whose arguments take longer than the state stands
 * still would never get through. INVARIANT: only where the same is looked for, on the same rules, in the same value.
 */
const LOOKED_AT = new WeakMap<Call, LookedAt>();
interface LookedAt {
  readonly value: JsonObject;
  readonly terms: Terms;
  readonly books: readonly unknown[];
  readonly inspection: OutInspection;
}

function isSame(before: LookedAt, value: JsonObject, terms: Terms): boolean {
  const books = booksOf(terms);
  return (
    books !== null &&
    terms.recipe !== undefined &&
    books.every((book, at) => book === before.books[at]) &&
    isDeepStrictEqual(terms.recipe, before.terms.recipe) &&
    isDeepStrictEqual(value, before.value)
  );
}

/** What is looked for now, each a new object when it changes; null: nobody knows. */
function booksOf({ own, planted }: Terms): readonly unknown[] | null {
  try {
    return [own?.book?.(), planted?.book?.()];
  } catch {
    return null;
  }
}

/** The same for what a client answers to a server's question, at once: between that and the first byte nobody waits. */
export function inspectAnswer(call: Call, value: JsonObject, port: Pick<InspectionPort, 'books'>): OutInspection {
  return KINDS.goes(value, RESULT_LIMITS, termsFor(call, 'out', port));
}

/** What came from the server of this call. A promise only where it is large. */
export function inspectCame(
  call: Call,
  kind: CameKind,
  result: JsonObject,
  size: number,
  port: InspectionPort,
): Inspection | Promise<Inspection> {
  const limits = { ...RESULT_LIMITS, size };
  const from = `in ${call.subject.server ?? ''}`;
  return port.inspector.look(kind, result, limits, termsFor(call, 'in', port), from, call.inflight.signal);
}

function sentOn(terms: Terms, inspection: OutInspection): OutInspection {
  if (inspection.faults.length === 0 && !SENT.has(terms)) SENT.set(terms, lookedBy(inspection.inspected));
  return inspection;
}

/** What looks at something that is sent on these terms, as one line, when nothing fails. */
const SENT = new WeakMap<Terms, string>();
const lookedBy = (inspected: readonly string[]): string =>
  `sent:${inspected.filter((line) => !line.startsWith('found:') && !line.startsWith('uninspected:')).join(' ')}`;

/** How a note begins: what was looked at. A result needs none, its findings stand in its own list. */
export type Looked = 'sent' | 'answer' | 'question' | 'notification';

/**
 * Writes down what was found: notes for the entry of the call's end, alarms for own and planted secrets, incidents for detectors that failed.
 * `where` null: the findings stand in the entry anyway.
 */
export function noted(
  call: Call,
  direction: Direction,
  where: Looked | null,
  inspection: Pick<Inspection, 'findings' | 'faults' | 'inspected'>,
  port: InspectionPort,
): void {
  const { findings, faults, inspected } = inspection;
  if (where === 'sent' && faults.length > 0) note(call, lookedBy(inspected));
  if (where !== null)
    for (const line of inspected) {
      if (line.startsWith('found:') || line.startsWith('uninspected:')) note(call, `${where}:${line}`);
    }
  for (const finding of findings) {
    const [family, id] = cut(finding.class);
    if (family === 'honeytoken') raise(call, direction, 'honeytoken', `honeytoken/${id}`, finding, port);
    if (family === 'own_secret')
      raise(call, direction, 'own_secret', `${id.includes(':') ? 'secret' : 'credential'}/${id}`, finding, port);
  }
  for (const name of faults) {
    const mode = termsFor(call, direction, port).onFault;
    raise(call, direction, 'detector_failed', `detector/${name}`, { action: mode }, port);
  }
  if (direction === 'in') {
    const labels = labelsIn(inspection);
    if (labels) contentOf(call).labels = { ...call.facts.content?.labels, ...labels };
  }
}

/** What an outcome says was looked at (AE-11): what came back, what was sent, what was found in between. */
export function inspectedIn(
  call: Call,
  result: readonly string[],
  port: Pick<InspectionPort, 'books'>,
): readonly string[] {
  const notes = call.facts.content?.notes ?? [];
  const sent = notes.some((line) => line.startsWith('sent:size')) ? undefined : SENT.get(termsFor(call, 'out', port));
  return sent === undefined ? [...result, ...notes] : [...result, sent, ...notes];
}

const cut = (findingClass: string): readonly [family: string, id: string] => {
  const dot = findingClass.indexOf('.');
  return [findingClass.slice(0, dot), findingClass.slice(dot + 1)];
};

function contentOf(call: Call): Content {
  return (call.facts.content ??= { notes: [], raised: [], labels: undefined });
}

export function note(call: Call, line: string): void {
  const { notes } = contentOf(call);
  if (notes.includes(line)) return;
  if (notes.length < MAX_NOTES) notes.push(line);
  else if (notes.length === MAX_NOTES) notes.push('more');
}

function raise(
  call: Call,
  direction: Direction,
  what: Incident['what'],
  subject: string,
  { action }: { readonly action: string },
  { books, report }: InspectionPort,
): void {
  const { raised } = contentOf(call);
  const key = `${direction} ${subject}`;
  if (raised.includes(key)) return;
  raised.push(key);
  const { caller, person } = call.facts;
  const owner = what === 'honeytoken' ? books.ownerOf(subject.slice('honeytoken/'.length)) : null;
  const { server, tool } = { server: call.subject.server ?? '', tool: call.facts.tool?.key ?? '' };
  report({
    what,
    subject,
    facts: {
      direction,
      action,
      server,
      tool: tool.slice(0, 200),
      ref: call.id,
      person: person?.id ?? null,
      agent: caller?.clientId ?? null,
      ...(owner !== null && { owner }),
    },
    actor: actorOf(call),
    call: callFacts(call),
  });
}

/** Text that gives orders, and secrets that were passed on; also where nobody knows because nobody looked. Undefined: nothing of these. */
function labelsIn({ findings, faults }: Pick<Inspection, 'findings' | 'faults'>): SomeLabels | undefined {
  let untrusted = faults.includes('instructions');
  let secret = faults.includes('secrets');
  for (const { class: found, action } of findings) {
    if (found.startsWith('instruction.')) untrusted = true;
    if (action === 'label' && found.startsWith('secret.') && found !== 'secret.entropy') secret = true;
  }
  return untrusted || secret ? { ...(untrusted && { untrusted }), ...(secret && { secret }) } : undefined;
}
