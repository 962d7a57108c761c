/**
 * Asks: what a server wants from the person behind a call (decision 0008): a form, a visit to a URL, a model's words, the roots.
 * Which kind a question is, who declared it, how a client of any revision is asked, and whether an answer fits its question (PH-05, L14).
 * Not done here: whether this server may ask (PH-08), inspection of the texts, who is asked.
 */
import { randomUUID } from 'node:crypto';
import { type Json, type JsonObject, isJsonObject } from '../lib/json.ts';
import { type Result, err, ok } from '../lib/result.ts';
import { checkForm, formFor } from './forms.ts';
import { checkSample, samplingFor } from './sampling.ts';
import { type SessionCapability, sessionCapabilities } from './session.ts';
import { type ProtocolVersion, has } from './versions.ts';

const ASK_KINDS = ['elicitation.form', 'elicitation.url', 'sampling', 'roots'] as const;
export type AskKind = (typeof ASK_KINDS)[number];

export interface Ask {
  readonly method: string;
  readonly params: JsonObject;
}

const ELICITATION = 'elicitation/create';
const SAMPLING = 'sampling/createMessage';
const ROOTS = 'roots/list';

export const isAskMethod = (method: string): boolean =>
  method === ELICITATION || method === SAMPLING || method === ROOTS;

/** Null: no question the protocol has. Elicitation without a mode is a form. */
export function askKindOf(method: string, params: JsonObject): AskKind | null {
  if (method === SAMPLING) return 'sampling';
  if (method === ROOTS) return 'roots';
  if (method !== ELICITATION) return null;
  const { mode = 'form' } = params;
  return mode === 'form' || mode === 'url' ? `elicitation.${mode}` : null;
}

/** What a modern client says it can be asked, in the envelope of the request. */
export const declared = (capabilities: JsonObject): ReadonlySet<AskKind> =>
  declaredBySession(sessionCapabilities(capabilities));

export const declaredBySession = (list: readonly SessionCapability[]): ReadonlySet<AskKind> =>
  new Set(ASK_KINDS.filter((kind) => list.includes(kind)));

/** What to declare to a server so that it asks these kinds and no others. */
export function capabilitiesFor(kinds: ReadonlySet<AskKind>, more: { readonly samplingTools: boolean }): JsonObject {
  const form = kinds.has('elicitation.form');
  const url = kinds.has('elicitation.url');
  return {
    ...(form || url ? { elicitation: { ...(form ? { form: {} } : {}), ...(url ? { url: {} } : {}) } } : {}),
    ...(kinds.has('sampling') ? { sampling: more.samplingTools ? { tools: {} } : {} } : {}),
    ...(kinds.has('roots') ? { roots: {} } : {}),
  };
}

/**
 * The question as a client of this revision is asked it: the members that revision has and no others. Null: it cannot be asked,
 * because the revision has no such question or the question is malformed. ATTACKER-CONTROLLED: all of it.
 */
export function askForClient(
  ask: Ask,
  version: ProtocolVersion,
  options: { readonly samplingTools: boolean } = { samplingTools: false },
): Ask | null {
  const { method, params } = ask;
  const kind = askKindOf(method, params);
  if (kind === null) return null;
  const shown = PARAMS[kind](params, version, options.samplingTools);
  return shown && { method, params: shown };
}

/**
 * The answer as the server may have it: of the shape its question calls for, without members nobody defined.
 * The error is one sentence that repeats nothing of the answer but names of the question's own fields.
 */
export function checkAnswer(ask: Ask, answer: Json): Result<JsonObject, string> {
  if (!isJsonObject(answer)) return err('the answer is not an object');
  const kind = askKindOf(ask.method, ask.params);
  if (kind === null) return err('the question is none');
  if (kind === 'sampling') return checkSample(ask.params, answer);
  if (kind === 'roots') return checkRoots(answer);
  const { action, content } = answer;
  if (action !== 'accept' && action !== 'decline' && action !== 'cancel') {
    return err('action is none of accept, decline and cancel');
  }
  // What somebody who declined typed is nobody's business; after a visit to a URL there is nothing to say.
  if (action !== 'accept' || kind === 'elicitation.url') return ok({ action });
  const form = checkForm(ask.params['requestedSchema'], content ?? {});
  return form.ok ? ok({ action, content: form.value }) : form;
}

type Params = (params: JsonObject, version: ProtocolVersion, samplingTools: boolean) => JsonObject | null;

const PARAMS: Readonly<Record<AskKind, Params>> = {
  'elicitation.form': ({ message, requestedSchema }, version) => {
    const schema = formFor(requestedSchema, version);
    if (!has(version, 'elicitation') || typeof message !== 'string' || schema === null) return null;
    return { ...(has(version, 'urlElicitation') ? { mode: 'form' } : {}), message, requestedSchema: schema };
  },
  'elicitation.url': ({ message, url, elicitationId }, version) => {
    if (!has(version, 'urlElicitation') || typeof message !== 'string' || !isVisitable(url)) return null;
    // 2025-11-25 knows a question again by its id; later the retry says everything.
    const id = typeof elicitationId === 'string' && elicitationId.length <= 256 ? elicitationId : randomUUID();
    return { mode: 'url', message, ...(has(version, 'resultType') ? {} : { elicitationId: id }), url };
  },
  sampling: samplingFor,
  roots: () => ({}),
};

const MAX_URL = 2048;

/** A person is sent there: no scripts, no files, nothing that looks like another host than it is. */
function isVisitable(url: Json | undefined): url is string {
  if (typeof url !== 'string' || url.length > MAX_URL) return false;
  const parsed = URL.parse(url);
  if (parsed === null || (parsed.protocol !== 'https:' && parsed.protocol !== 'http:')) return false;
  return parsed.username === '' && parsed.password === '';
}

const MAX_ROOTS = 100;

function checkRoots({ roots }: JsonObject): Result<JsonObject, string> {
  if (!Array.isArray(roots)) return err('roots is not an array');
  if (roots.length > MAX_ROOTS) return err(`roots has more than ${MAX_ROOTS} entries`);
  const kept: JsonObject[] = [];
  for (const root of roots as readonly Json[]) {
    if (!isJsonObject(root)) return err('a root is not an object');
    const { uri, name } = root;
    if (typeof uri !== 'string' || !uri.startsWith('file://') || !URL.canParse(uri)) {
      return err('a root has no file:// URI');
    }
    if (name !== undefined && typeof name !== 'string') return err('the name of a root is not a string');
    kept.push({ uri, ...(name === undefined ? {} : { name }) });
  }
  return ok({ roots: kept });
}
