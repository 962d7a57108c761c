/**
 * The only place that talks to Cedar's evaluator. Promises an answer for every question and never throws: whatever goes wrong
 * (a policy that errs, a malformed request, a trap in the engine) is in `errors`, and `errors` means no (AZ-12).
 * Cedar itself skips a policy that errs, so an erring `forbid` would vanish; nobody may read `permits` without reading `errors`.
 */
import * as cedar from '@cedar-policy/cedar-wasm/nodejs';
import type { Context, EntityJson, PolicyJson, TypeAndId } from '@cedar-policy/cedar-wasm/nodejs';
import { digestOf } from '../lib/canonical-json.ts';
import { CEDAR_SCHEMA } from './schema.ts';

/** A set of policies that is evaluated together, named by its content. */
export interface Slice {
  readonly key: string;
  readonly policies: Readonly<Record<string, string | PolicyJson>>;
  readonly empty: boolean;
}

export interface Answer {
  readonly permits: readonly string[];
  readonly forbids: readonly string[];
  readonly errors: readonly string[];
}

export interface Request {
  readonly principal: TypeAndId;
  readonly resource: TypeAndId;
  readonly context: Context;
  readonly entities: EntityJson[];
}

/**
 * Cedar keeps every parsed set for ever and offers no way to drop one: 2,000 distinct ids cost over 300 MB. So there is a fixed
 * number of places, and the slice that was used longest ago gives up its place. Content-named: a place never outlives its policies.
 */
const PLACES = 128;
const placeOf = new Map<string, number>();
let schemaParsed = false;

const NOTHING: Answer = { permits: [], forbids: [], errors: [] };

export function sliceOf(policies: ReadonlyArray<{ readonly id: string; readonly body: string | PolicyJson }>): Slice {
  const record = Object.fromEntries(policies.map(({ id, body }) => [id, body]));
  return { key: digestOf(record), policies: record, empty: policies.length === 0 };
}

/** Evaluates every policy of the slice. The request is validated against the schema; an ill-typed one is an error. */
export function evaluate(slice: Slice, request: Request): Answer {
  if (slice.empty) return NOTHING;
  try {
    const place = parsedPlace(slice);
    const answer = cedar.statefulIsAuthorized({
      principal: request.principal,
      action: { type: 'Remit::Action', id: 'callTool' },
      resource: request.resource,
      context: request.context,
      entities: request.entities,
      preparsedSchemaName: 'remit',
      preparsedPolicySetId: place,
      validateRequest: true,
    });
    if (answer.type === 'failure') return { ...NOTHING, errors: answer.errors.map((error) => error.message) };
    const { decision, diagnostics } = answer.response;
    const rules = diagnostics.reason.toSorted();
    return {
      permits: decision === 'allow' ? rules : [],
      forbids: decision === 'deny' ? rules : [],
      errors: diagnostics.errors.map(({ policyId, error }) => `${policyId}: ${error.message}`),
    };
  } catch (error) {
    return { ...NOTHING, errors: [error instanceof Error ? error.message : String(error)] };
  }
}

function parsedPlace(slice: Slice): string {
  if (!schemaParsed) {
    succeed(cedar.preparseSchema('remit', CEDAR_SCHEMA));
    schemaParsed = true;
  }
  const known = placeOf.get(slice.key);
  if (known !== undefined) {
    placeOf.delete(slice.key);
    placeOf.set(slice.key, known); // most recently used goes last
    return `place-${known}`;
  }
  const [oldest] = placeOf;
  const full = placeOf.size >= PLACES && oldest !== undefined;
  const place = full ? oldest[1] : placeOf.size;
  if (full) placeOf.delete(oldest[0]);
  // INVARIANT: the name is entered only after the parse succeeded, so a place never answers for policies it does not hold.
  succeed(cedar.preparsePolicySet(`place-${place}`, { staticPolicies: { ...slice.policies } }));
  placeOf.set(slice.key, place);
  return `place-${place}`;
}

function succeed(answer: cedar.CheckParseAnswer): void {
  if (answer.type === 'failure') throw new Error(answer.errors.map((error) => error.message).join('; '));
}
