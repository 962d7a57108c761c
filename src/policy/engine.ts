/**
 * The only place that talks to Cedar's evaluator. Promises an answer for every question and never throws: whatever goes wrong
 * (a policy that errs, a malformed request, a trap in the engine) is in `errors`, and `errors` means no (AZ-12).
 * Cedar itself skips a policy that errs, so an erring `forbid` would vanish; nobody may read `permits` without reading `errors`.
 */
import * as cedar from '@cedar-policy/cedar-wasm/nodejs';
import type {
  Context,
  EntityJson,
  EntityUidJson,
  PolicyJson,
  PolicySet,
  TemplateLink,
  TypeAndId,
} from '@cedar-policy/cedar-wasm/nodejs';
import { sha256Hex } from '../lib/bytes.ts';
import { CEDAR_SCHEMA } from './schema.ts';

/** A policy as Cedar takes it: text, JSON form, or a template and what it is linked to. */
export interface Asked {
  readonly id: string;
  /** Of what it says. */
  readonly digest: string;
  /** '' where `json` or `link` says it. */
  readonly text: string;
  readonly json: PolicyJson;
  readonly link: Link | null;
}

export interface Link {
  readonly templateId: string;
  readonly template: PolicyJson;
  readonly values: Readonly<Record<string, EntityUidJson>>;
}

/** A set of policies that is evaluated together, named by its content. */
export interface Slice {
  readonly key: string;
  readonly policies: readonly Asked[];
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
const PLACES = 1_024;
const placeOf = new Map<string, number>();
let schemaParsed = false;

const NOTHING: Answer = { permits: [], forbids: [], errors: [] };

export function sliceOf(policies: readonly Asked[]): Slice {
  const key = sha256Hex(
    JSON.stringify(policies.map(({ id, digest, text, link }) => [id, digest, text === '' && !link])),
  );
  return { key, policies, empty: policies.length === 0 };
}

function asCedar({ policies }: Slice): PolicySet {
  const staticPolicies: Record<string, string | PolicyJson> = {};
  const templates: Record<string, PolicyJson> = {};
  const templateLinks: TemplateLink[] = [];
  for (const { id, text, json, link } of policies) {
    if (!link) staticPolicies[id] = text === '' ? json : text;
    else {
      templates[link.templateId] = link.template;
      templateLinks.push({ templateId: link.templateId, newId: id, values: { ...link.values } });
    }
  }
  return { staticPolicies, templates, templateLinks };
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
  succeed(cedar.preparsePolicySet(`place-${place}`, asCedar(slice)));
  placeOf.set(slice.key, place);
  return `place-${place}`;
}

function succeed(answer: cedar.CheckParseAnswer): void {
  if (answer.type === 'failure') throw new Error(answer.errors.map((error) => error.message).join('; '));
}
