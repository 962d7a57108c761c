/** What can be asked of a value as a whole, by name: a name can be sent to another thread (inspector.ts), a function cannot. */
import type { JsonObject } from '../lib/json.ts';
import { acrossResult, acrossTexts } from './across.ts';
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
  result: (value, limits, terms) => acrossResult(inspectResult(value, limits, terms), terms),
  prompt: (value, limits, terms) => acrossResult(inspectPrompt(value, limits, terms), terms),
  resource: (value, limits, terms) => acrossResult(inspectResource(value, limits, terms), terms),
  members: (value, limits, terms) => acrossResult(inspectMembers(value, limits, terms), terms),
  goes: (value, limits, terms) => acrossTexts(value, terms, inspectArguments(value, terms, limits)),
};
