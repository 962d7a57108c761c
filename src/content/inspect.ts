/**
 * What may be passed on of what a peer said (CI-02 to CI-06, CI-09, CI-11): shape, size and depth are checked, every text looked at on the
 * given terms. Pure, one walk; the result is a new object and the given one is not touched. What goes to a server is never changed.
 * Not done here: the tool's own outputSchema. Pictures, sound and binary resources are passed on unread and say so in `inspected`.
 */
import type { Json, JsonObject } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import { HIDDEN, HIDDEN_VERSION } from './detectors/all.ts';
import { activeOf, lookOver } from './look.ts';
import type { Look } from './look.ts';
import { isBase64 } from './media.ts';
import type { Finding, Terms } from './terms.ts';
import { walkOver } from './walk.ts';
import type { Walk, WalkLimits, WithholdReason } from './walk.ts';

export interface ResultLimits extends WalkLimits {
  /** Blocks, messages or contents of one result. */
  readonly contentBlocks: number;
}
export const RESULT_LIMITS: ResultLimits = { size: 4_194_304, depth: 64, contentBlocks: 1000 };

/** Where nobody says otherwise: hidden characters and credentials of known shape do not go on. */
export const PLAIN_TERMS: Terms = {
  direction: 'in',
  actionFor: (findingClass) => {
    if (findingClass === 'secret.entropy' || findingClass === 'secret.assigned') return null;
    return findingClass.startsWith('hidden.') || findingClass.startsWith('secret.') ? 'redact' : null;
  },
  linkHosts: new Set(),
  own: null,
  planted: null,
  onFault: 'refuse',
  budgetMs: 1_000,
};

export interface Looked {
  /** `hidden_text`, `<family>:<kind>`, `uninspected:<what>`. Sorted, each once. */
  readonly labels: readonly string[];
  /** What looked at it and what did not, and what was found where, for the audit entry (AE-11). */
  readonly inspected: readonly string[];
  /** At most 200. */
  readonly findings: readonly Finding[];
  /** Detectors that failed or were late (CI-11). */
  readonly faults: readonly string[];
}
export type Inspection = Looked &
  (
    | { readonly verdict: 'pass' | 'redact'; readonly result: JsonObject }
    | { readonly verdict: 'withhold'; readonly reason: WithholdReason; readonly result: null }
  );

/** Of what goes to a server. `reason`: the class that decided, or why it could not be looked at. */
export type OutInspection = Looked &
  (
    | { readonly verdict: 'pass'; readonly reason: null }
    | { readonly verdict: 'hold'; readonly reason: string }
    | { readonly verdict: 'block'; readonly reason: string }
  );

/** A `tools/call` result, strictly parsed. ATTACKER-CONTROLLED: all of it, here and below. */
export function inspectResult(result: JsonObject, limits = RESULT_LIMITS, terms = PLAIN_TERMS): Inspection {
  const { isError } = result;
  const sound = isError === undefined || typeof isError === 'boolean';
  return inspectParts(result, 'content', limits, terms, sound, (block, walk) => cleanBlock(block, 2, walk));
}

/** A `prompts/get` result. */
export function inspectPrompt(result: JsonObject, limits = RESULT_LIMITS, terms = PLAIN_TERMS): Inspection {
  return inspectParts(result, 'messages', limits, terms, true, (message, walk) => {
    if (!isJsonObject(message)) return walk.refuse('result_malformed');
    const { content = null, ...rest } = message;
    return { ...walk.members(rest, 2), content: walk.at('content', () => cleanBlock(content, 3, walk)) };
  });
}

/** A `resources/read` result. */
export function inspectResource(result: JsonObject, limits = RESULT_LIMITS, terms = PLAIN_TERMS): Inspection {
  return inspectParts(result, 'contents', limits, terms, true, (contents, walk) => {
    const kind = contentsKind(contents);
    if (kind === null || !isJsonObject(contents)) return walk.refuse('result_malformed');
    if (kind === 'text_resource') return walk.value(contents, 2);
    return walk.around(contents, 'blob', 'blob', 2);
  });
}

/** Any other object: completions, notifications, questions, answers, list entries. Pictures and sound in it are passed on unread. */
export function inspectMembers(object: JsonObject, limits = RESULT_LIMITS, terms = PLAIN_TERMS): Inspection {
  const walk = walkOver(limits, lookOver(terms), true);
  return verdictOf(walk, walk.members(object, 0));
}

/** One text, for errors and progress messages of a server. What may not go on at all is `[withheld]`. */
export function inspectText(text: string, terms = PLAIN_TERMS): Looked & { readonly text: string } {
  const look = lookOver(terms);
  const seen = look.text(text.toWellFormed(), () => '');
  return { text: look.stop === null ? seen : '[withheld]', ...lookedAt(look, []) };
}

/** What is about to go to a server: arguments, answers. The value is not changed, whatever is found. */
export function inspectArguments(value: JsonObject, terms: Terms, limits: WalkLimits = RESULT_LIMITS): OutInspection {
  const look = lookOver(terms);
  const walk = walkOver(limits, look, true);
  walk.members(value, 0);
  const looked = lookedAt(look, walk.unread);
  if (walk.stop !== null) return { verdict: 'block', reason: walk.stop.replace(/^result_/, 'arguments_'), ...looked };
  if (look.worst === 'block' || look.worst === 'hold') {
    const decisive = look.findings.find(({ action }) => action === look.worst);
    return { verdict: look.worst, reason: decisive?.class ?? 'more', ...looked };
  }
  return { verdict: 'pass', reason: null, ...looked };
}

/** A result whose `member` is an array of parts with a meaning; the rest of it is cleaned as it is. */
function inspectParts(
  result: JsonObject,
  member: string,
  limits: ResultLimits,
  terms: Terms,
  sound: boolean,
  cleanPart: (part: Json, walk: Walk) => Json,
): Inspection {
  const walk = walkOver(limits, lookOver(terms));
  const { [member]: parts, ...rest } = result;
  const { _meta: meta, resultType } = rest;
  const finished = resultType === undefined || resultType === 'complete';
  if (!Array.isArray(parts) || !sound || !finished || !(meta === undefined || isJsonObject(meta))) {
    walk.refuse('result_malformed');
    return verdictOf(walk, {});
  }
  if (parts.length > limits.contentBlocks) walk.refuse('result_too_many_blocks');
  if (walk.stop) return verdictOf(walk, {});
  const cleaned = walk.at(member, () =>
    (parts as readonly Json[]).map((part, index) => (walk.stop ? null : walk.at(index, () => cleanPart(part, walk)))),
  );
  return verdictOf(walk, { [member]: cleaned, ...walk.members(rest, 0) });
}

function verdictOf(walk: Walk, cleaned: JsonObject): Inspection {
  const looked = lookedAt(walk.look, walk.unread);
  if (walk.stop) return { verdict: 'withhold', reason: walk.stop, result: null, ...looked };
  return { verdict: walk.look.worst === 'redact' ? 'redact' : 'pass', result: cleaned, ...looked };
}

const MAX_SAID = 16;
const MAX_POINTER = 120;

function lookedAt(look: Look, unread: readonly string[]): Looked {
  const { findings, faults } = look;
  const inspected = ['size', 'shape'];
  if (look.terms.actionFor('hidden.*') !== null && !faults.includes(HIDDEN))
    inspected.push(`${HIDDEN}@${HIDDEN_VERSION}`);
  for (const { name, version } of activeOf(look.terms)) {
    if (!faults.includes(name)) inspected.push(`${name}@${version}`);
  }
  inspected.push(...unread);
  for (const name of faults) inspected.push(`uninspected:${name}`);
  for (let i = 0; i < findings.length && i < MAX_SAID; i++) inspected.push(said(findings[i]!));
  const more = findings.length - MAX_SAID + look.more;
  if (more > 0) inspected.push(`found:more:${more}`);
  const labels = [...look.labels, ...unread, ...faults.map((name) => `uninspected:${name}`)].toSorted();
  return { labels, inspected, findings, faults };
}

const said = ({ class: findingClass, at, span, action }: Finding): string =>
  `found:${findingClass}@${at.slice(0, MAX_POINTER)}${span === null ? '' : `[${span[0]},${span[1]}]`}=${action}`;

function cleanBlock(block: Json, depth: number, walk: Walk): Json {
  const kind = blockKind(block);
  if (!kind || !isJsonObject(block)) return walk.refuse('result_malformed');
  if (kind === 'text' || kind === 'resource_link' || kind === 'text_resource') return walk.value(block, depth);
  if (kind !== 'blob') return walk.around(block, 'data', kind, depth);
  const { resource, ...rest } = block;
  return {
    ...walk.members(rest, depth),
    resource: isJsonObject(resource)
      ? walk.at('resource', () => walk.around(resource, 'blob', 'blob', depth + 1))
      : null,
  };
}

type BlockKind = 'text' | 'resource_link' | 'text_resource' | 'image' | 'audio' | 'blob';

function blockKind(block: Json): BlockKind | null {
  if (!isJsonObject(block)) return null;
  const { type, text, data, mimeType, resource, uri } = block;
  if (type === 'text') return typeof text === 'string' ? 'text' : null;
  if (type === 'image' || type === 'audio') {
    return isBase64(data) && typeof mimeType === 'string' && mimeType.startsWith(`${type}/`) ? type : null;
  }
  if (type === 'resource_link') return typeof uri === 'string' ? 'resource_link' : null;
  return type === 'resource' ? contentsKind(resource ?? null) : null;
}

function contentsKind(contents: Json): 'text_resource' | 'blob' | null {
  if (!isJsonObject(contents) || typeof contents['uri'] !== 'string') return null;
  const { text, blob } = contents;
  if (typeof text === 'string') return blob === undefined ? 'text_resource' : null;
  return isBase64(blob) ? 'blob' : null;
}
