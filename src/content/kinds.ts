/** What can be asked of a value as a whole, by name: a name can be sent to another thread (inspector.ts), a function cannot. */
import type { JsonObject } from '../lib/json.ts';
import { acrossTexts } from './across.ts';
import { inspectArguments, inspectMembers, inspectPrompt, inspectResource, inspectResult } from './inspect.ts';
import type { Inspection, OutInspection, ResultLimits } from './inspect.ts';
import type { Terms } from './terms.ts';

type Look<I> = (value: JsonObject, limits: ResultLimits, terms: Terms) => I;

/** What comes from a server. */
export type CameKind = 'result' | 'prompt' | 'resource' | 'members';
/** `goes`: what is about to go to one. */
export type Kind = CameKind | 'goes';
export type InspectionOf<K extends Kind> = K extends 'goes' ? OutInspection : Inspection;

export const KINDS: { readonly [K in Kind]: Look<InspectionOf<K>> } = {
  result: inspectResult,
  prompt: inspectPrompt,
  resource: inspectResource,
  members: inspectMembers,
  goes: (value, limits, terms) => acrossTexts(value, terms, inspectArguments(value, terms, limits)),
};
