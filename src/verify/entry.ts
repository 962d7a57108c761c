/**
 * One entry of a log, read strictly: canonical JSON (RFC 8785), known kind, the members this kind must have, each of its shape.
 * docs/audit-format.md is the description; this table is its executable half and is written without looking at the writer's types.
 */

export type ReadEntry =
  | { readonly ok: true; readonly entry: VerifiedEntry; readonly unknown: readonly string[] }
  | { readonly ok: false; readonly code: 'entry_not_canonical' | 'entry_malformed'; readonly message: string };

/** The members that checks across entries read. */
export interface VerifiedEntry {
  readonly kind: string;
  readonly time: string;
  readonly timeMs: number;
  readonly org: string;
  readonly call: string | null;
  readonly prev: number | null;
  /** The outcome says that the client was asked something while the request to the server stayed open. */
  readonly parked: boolean;
  /** Who uses what: equal in a call and in the retries that bring its answers. Null: nobody uses anything. */
  readonly use: string | null;
  readonly event: Readonly<Record<string, unknown>> | null;
}

type Shape = (value: unknown) => boolean;
type Members = Readonly<Record<string, Shape>>;

const isText: Shape = (value) => typeof value === 'string';
const isIndex: Shape = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const isNumber: Shape = (value) => typeof value === 'number' && value >= 0;
const isDigest: Shape = (value) => typeof value === 'string' && /^sha256:[0-9a-f]{64}$/.test(value);
const isTexts: Shape = (value) => Array.isArray(value) && value.every(isText);
const isTime: Shape = (value) =>
  typeof value === 'string' &&
  /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(value) &&
  !Number.isNaN(Date.parse(value)) &&
  new Date(value).toISOString() === value;
const orNull =
  (shape: Shape): Shape =>
  (value) =>
    value === null || shape(value);
const oneOf =
  (...values: readonly string[]): Shape =>
  (value) =>
    typeof value === 'string' && values.includes(value);
const isEvent: Shape = (value) =>
  isObject(value) &&
  isText(value.what) &&
  Object.values(value).every((member) => member === null || typeof member !== 'object' || isTexts(member));

const ACTOR: Members = {
  issuer: isText,
  subject: isText,
  person: orNull(isText),
  client: isText,
  token: isText,
  chain: isTexts,
};
const CALL: Members = {
  id: isText,
  era: oneOf('modern', 'legacy'),
  method: isText,
  server: orNull(isText),
  tool: orNull(isText),
  definition: orNull(isDigest),
  args: orNull(isDigest),
  risk: orNull(isText),
};
const DECISION: Members = {
  verdict: oneOf('allow', 'deny', 'hold', 'challenge'),
  reason: orNull(isText),
  rules: isTexts,
  revision: isIndex,
  policy: orNull(isDigest),
  approval: orNull(isText),
  guard: orNull(isText),
};
const OUTCOME: Members = {
  status: oneOf(
    'ok',
    'tool_error',
    'protocol_error',
    'not_dispatched',
    'failed',
    'cancelled',
    'withheld',
    'input_required',
  ),
  detail: orNull(isText),
  result: orNull(isDigest),
  ms: isNumber,
  inspected: isTexts,
};
const isSent: Shape = (value) => isObject(value) && isIndex(value.count) && isDigest(value.digest);
const OUTCOME_OPTIONAL: Members = { credential: orNull(isText), sent: isSent };

const HEAD: Members = { v: (value) => value === 1, kind: isText, time: isTime, node: isText, org: isText };
const PARTS: Readonly<Record<string, { readonly must: Members; readonly may: Members }>> = {
  // Who answers for an agent that acted alone; left out where a person did.
  actor: { must: ACTOR, may: { owner: isText } },
  call: { must: CALL, may: {} },
  decision: { must: DECISION, may: {} },
  outcome: { must: OUTCOME, may: OUTCOME_OPTIONAL },
};
const PLAIN: Members = { ref: isText, prev: isIndex, trace: isText, event: isEvent };
const KINDS: Readonly<Record<string, readonly string[]>> = {
  intent: ['actor', 'call', 'decision'],
  outcome: ['actor', 'call', 'outcome', 'prev'],
  call: ['actor', 'call', 'decision', 'outcome'],
  denial: ['decision'],
  admin: ['event'],
  key: ['event'],
  clock: [],
  incident: ['event'],
  gate: ['event'],
};
export const ENTRY_KINDS = Object.keys(KINDS);

/** Reads the bytes of one entry. Not checked here: its place in the log and its links. */
export function readEntry(bytes: Uint8Array): ReadEntry {
  const value = parseCanonical(bytes);
  if (!isObject(value)) return refuse('entry_not_canonical', 'is not a canonical JSON object (RFC 8785)');
  for (const [name, shape] of Object.entries(HEAD)) {
    if (!shape(value[name])) return refuse('entry_malformed', `has no valid "${name}"`);
  }
  const needed = Object.hasOwn(KINDS, value.kind as string) ? KINDS[value.kind as string] : undefined;
  if (needed === undefined) return refuse('entry_malformed', 'is of an unknown kind');
  const missing = needed.find((name) => !Object.hasOwn(value, name));
  if (missing !== undefined) return refuse('entry_malformed', `of kind ${value.kind as string} has no "${missing}"`);
  const unknown: string[] = [];
  for (const [name, member] of Object.entries(value)) {
    if (Object.hasOwn(HEAD, name)) continue;
    const part = Object.hasOwn(PARTS, name) ? PARTS[name] : undefined;
    const plain = Object.hasOwn(PLAIN, name) ? PLAIN[name] : undefined;
    if (part !== undefined) {
      const wrong = wrongMember(member, part.must, part.may, unknown, name);
      if (wrong !== null) return refuse('entry_malformed', `has no valid "${wrong}"`);
    } else if (plain === undefined) unknown.push(name);
    else if (!plain(member)) return refuse('entry_malformed', `has no valid "${name}"`);
  }
  const verdict = isObject(value.decision) ? value.decision.verdict : null;
  if (value.kind === 'denial' && verdict === 'allow') return refuse('entry_malformed', 'is a denial that allows');
  if (value.kind === 'intent' && verdict !== 'allow')
    return refuse('entry_malformed', 'is an intent that was not allowed');
  return {
    ok: true,
    unknown,
    entry: {
      kind: value.kind as string,
      time: value.time as string,
      timeMs: Date.parse(value.time as string),
      org: value.org as string,
      call: isObject(value.call) ? (value.call.id as string) : null,
      prev: (value.prev as number | undefined) ?? null,
      parked: isObject(value.outcome) && value.outcome.status === 'input_required' && value.outcome.detail === 'parked',
      use: isObject(value.actor) && isObject(value.call) ? useOf(value.actor, value.call) : null,
      event: isObject(value.event) ? value.event : null,
    },
  };
}

/** The token may be another one by the time somebody answers; person, agent, item and arguments may not. */
function useOf(actor: Readonly<Record<string, unknown>>, call: Readonly<Record<string, unknown>>): string {
  const { issuer, subject, client } = actor;
  const { era, method, server, tool, definition, args } = call;
  return JSON.stringify([issuer, subject, client, era, method, server, tool, definition, args]);
}

/** Time and call id of whatever stands there, to name an entry that may be damaged. Believes nothing. */
export function describeEntry(bytes: Uint8Array): { readonly time: string | null; readonly call: string | null } {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
    if (!isObject(value)) return { time: null, call: null };
    const call = isObject(value.call) ? value.call.id : null;
    return {
      time: typeof value.time === 'string' ? value.time : null,
      call: typeof call === 'string' ? call : null,
    };
  } catch {
    return { time: null, call: null };
  }
}

function refuse(code: 'entry_not_canonical' | 'entry_malformed', message: string): ReadEntry {
  return { ok: false, code, message };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function wrongMember(value: unknown, must: Members, may: Members, unknown: string[], path: string): string | null {
  if (!isObject(value)) return path;
  for (const [name, shape] of Object.entries(must)) if (!shape(value[name])) return `${path}.${name}`;
  for (const [name, member] of Object.entries(value)) {
    if (Object.hasOwn(must, name)) continue;
    const shape = Object.hasOwn(may, name) ? may[name] : undefined;
    if (shape === undefined) unknown.push(`${path}.${name}`);
    else if (!shape(member)) return `${path}.${name}`;
  }
  return null;
}

/** The value, or undefined when these bytes are not the canonical text of it. Duplicate keys fail here too: they are not written twice. */
function parseCanonical(bytes: Uint8Array): unknown {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    const value: unknown = JSON.parse(text);
    return canonical(value, 0) === text ? value : undefined;
  } catch {
    return undefined;
  }
}

const MAX_DEPTH = 8;

function canonical(value: unknown, depth: number): string {
  if (depth > MAX_DEPTH) throw new RangeError('nested too deeply');
  if (typeof value === 'string' && !value.isWellFormed()) throw new RangeError('not Unicode');
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item, depth + 1)).join(',')}]`;
  if (!isObject(value)) return JSON.stringify(value);
  // RFC 8785 section 3.2.3: sorted by UTF-16 code units, which is what sort() does.
  const members = Object.keys(value)
    .sort()
    .map((key) => `${canonical(key, depth + 1)}:${canonical(value[key], depth + 1)}`);
  return `{${members.join(',')}}`;
}
