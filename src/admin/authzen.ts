/**
 * AuthZEN Authorization API 1.0 over the decisions of this gateway: access evaluation and evaluations, for other enforcement points of the
 * organisation. Subjects are people and agents of the directory, resources are reviewed items; what else a caller says of them (`properties`) is
 * not believed. Fails closed: what is not said is not had (no scopes, no agent), and whatever cannot be judged is `false` with its reason.
 * What the whole request is wrong about is a 400; what one of many is wrong about is that one's `false` (section "Errors"). Nothing is recorded,
 * held or used up.
 */
import { z } from 'zod';
import type { Caller } from '../identity/caller.ts';
import type { Json, JsonObject } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import type { Result } from '../lib/result.ts';
import { err, ok } from '../lib/result.ts';
import type { ItemKind } from '../integrity/records.ts';
import { itemKey } from '../integrity/records.ts';
import { agentOf, tenantClaims } from './access.ts';
import type { AdminContext } from './context.ts';
import { explainCall } from './explain-call.ts';
import type { ExplainedCall } from './explain-call.ts';
import type { Problem } from './problem.ts';
import { handler, type Route } from './route.ts';

export const EVALUATION_PATH = '/access/v1/evaluation';
export const EVALUATIONS_PATH = '/access/v1/evaluations';
export const AUTHZEN_METADATA_PATH = '/.well-known/authzen-configuration';

const MOST_EVALUATIONS = 100;

const Entity = z.object({
  type: z.string().min(1),
  id: z.string().min(1),
  properties: z.record(z.string(), z.json()).optional(),
});
const Context = z.object({
  agent: z.string().min(1).max(512).optional(),
  scopes: z.array(z.string()).max(500).optional(),
  arguments: z.record(z.string(), z.json()).optional(),
  actors: z.array(z.string().min(1)).max(10).optional(),
  time: z
    .string()
    .regex(
      /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:\d{2})$/,
      'must be a time such as 2027-01-31T12:00:00Z',
    )
    .optional(),
  auth_time: z.number().int().min(0).optional(),
  amr: z.array(z.string()).max(20).optional(),
  acr: z.string().optional(),
  /** What the trace has received: output of strangers, private data (decision 0012). */
  untrusted: z.boolean().optional(),
  private: z.boolean().optional(),
  confidential: z.boolean().optional(),
  regulated: z.boolean().optional(),
  secret: z.boolean().optional(),
  copied: z.boolean().optional(),
  copiedFrom: z.array(z.string()).max(1_000).optional(),
  receivedFrom: z.array(z.string()).max(1_000).optional(),
});
/** Unknown members are left alone: the specification wants them ignored. */
const Evaluation = z.object({
  subject: Entity,
  action: z.object({ name: z.string().min(1), properties: z.record(z.string(), z.json()).optional() }),
  resource: Entity,
  context: Context.optional(),
});
type Evaluation = z.infer<typeof Evaluation>;

const SEMANTICS = ['execute_all', 'deny_on_first_deny', 'permit_on_first_permit'] as const;
const Batch = z.object({
  evaluations: z
    .array(z.record(z.string(), z.json()))
    .max(MOST_EVALUATIONS, `holds more than ${MOST_EVALUATIONS} requests`),
  options: z.object({ evaluations_semantic: z.enum(SEMANTICS).default('execute_all') }).prefault({}),
});

export interface AuthzenDecision {
  readonly decision: boolean;
  readonly context?: JsonObject;
}

/** The kind of item, and the action by which it is used: ours, or the method of the protocol. */
const KINDS: Readonly<Record<string, { readonly kind: ItemKind; readonly method: string }>> = {
  tool: { kind: 'tool', method: 'tools/call' },
  prompt: { kind: 'prompt', method: 'prompts/get' },
  resource: { kind: 'resource', method: 'resources/read' },
  template: { kind: 'template', method: 'resources/read' },
};

const refused = (reason: string, more: JsonObject = {}): AuthzenDecision => ({
  decision: false,
  context: { reason, ...more },
});

async function decideOne(
  ctx: AdminContext,
  { subject, action, resource, context = {} }: Evaluation,
): Promise<AuthzenDecision> {
  const item = Object.hasOwn(KINDS, resource.type) ? KINDS[resource.type] : undefined;
  if (!item) return refused('resource_type_unknown');
  if (action.name !== 'callTool' && action.name !== item.method) return refused('action_unknown');
  const slash = resource.id.indexOf('/');
  const [server, name] = [resource.id.slice(0, Math.max(slash, 0)), resource.id.slice(slash + 1)];
  const view = ctx.snapshot();
  if (!view.servers.get(server)?.tools.has(itemKey(item.kind, name))) return refused('resource_unknown');
  const alone = subject.type === 'agent' ? agentOf(view, subject.id) : undefined;
  const person = subject.type === 'person' ? view.people.byId(subject.id) : undefined;
  if (subject.type !== 'agent' && subject.type !== 'person') return refused('subject_type_unknown');
  const who = alone ?? person;
  if (!who) return refused('subject_unknown');
  const client = alone?.clientId ?? context.agent;
  if (client === undefined) return refused('agent_unsaid');
  const at = context.time === undefined ? ctx.clock.now() : Date.parse(context.time);
  const caller: Caller = {
    issuer: who.issuer,
    subject: alone ? alone.clientId : person!.subject,
    clientId: client,
    alone: alone !== undefined,
    scopes: new Set(context.scopes),
    tokenId: 'authzen',
    // A token that was fetched now: what was void before it is not asked here.
    issuedAt: Math.floor(Math.max(at, ctx.clock.now()) / 1_000) + 1,
    expiresAt: Math.floor(at / 1_000) + 60,
    actChain: context.actors ?? [],
    grantId: null,
    sessionId: null,
    authTime: context.auth_time ?? null,
    amr: context.amr ?? [],
    acr: context.acr ?? null,
    keyThumbprint: 'authzen',
    attributes: tenantClaims(view, who.issuer),
  };
  const explained = await explainCall(
    view,
    {
      server,
      kind: item.kind,
      name,
      caller,
      arguments: context.arguments ?? null,
      approved: false,
      labels: context,
    },
    at,
  );
  return explained.verdict === 'allow'
    ? { decision: true, context: { policies: [...explained.rules] } }
    : { decision: false, context: whyNot(explained) };
}

function whyNot({ verdict, reason, rules, requiredScopes, stepUp, problems }: ExplainedCall): JsonObject {
  return {
    reason: reason ?? 'not_permitted',
    verdict,
    policies: [...rules],
    ...(requiredScopes && { required_scopes: [...requiredScopes] }),
    ...(stepUp && stepUp.acrValues.length > 0 && { acr_values: stepUp.acrValues.join(' ') }),
    ...(stepUp && stepUp.maxAgeSeconds !== null && { max_age: stepUp.maxAgeSeconds }),
    ...(problems && { problems: [...problems] }),
  };
}

function read<T>(schema: z.ZodType<T>, value: unknown): Result<T, string> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return ok(parsed.data);
  return err(
    parsed.error.issues
      .slice(0, 20)
      .map(({ path, message }) => `${path.map(String).join('.') || 'body'}: ${message}`)
      .join('; '),
  );
}

const badRequest = (message: string): Problem => ({ status: 400, code: 'bad_request', message });

const evaluation = handler({
  body: z.json(),
  run: async ({ ctx, body }) => {
    const asked = read(Evaluation, body);
    return asked.ok ? ok({ body: await decideOne(ctx, asked.value) }) : err(badRequest(asked.error));
  },
});

const evaluations = handler({
  body: z.json(),
  run: async ({ ctx, body }) => {
    if (!isJsonObject(body)) return err(badRequest('body: must be an object'));
    const given: Json | undefined = body['evaluations'];
    // Without any it is the single request, as the specification has it.
    if (given === undefined || (Array.isArray(given) && given.length === 0)) {
      const asked = read(Evaluation, body);
      return asked.ok ? ok({ body: await decideOne(ctx, asked.value) }) : err(badRequest(asked.error));
    }
    const batch = read(Batch, body);
    if (!batch.ok) return err(badRequest(batch.error));
    const { subject, action, resource, context } = body;
    const defaults = Object.fromEntries(
      Object.entries({ subject, action, resource, context }).filter(([, value]) => value !== undefined),
    );
    const { evaluations_semantic: semantic } = batch.value.options;
    const decisions: AuthzenDecision[] = [];
    for (const one of batch.value.evaluations) {
      const asked = read(Evaluation, { ...defaults, ...one });
      const decision: AuthzenDecision = asked.ok
        ? await decideOne(ctx, asked.value)
        : { decision: false, context: { error: { status: 400, message: asked.error } } };
      decisions.push(decision);
      if (semantic === 'deny_on_first_deny' && !decision.decision) break;
      if (semantic === 'permit_on_first_permit' && decision.decision) break;
    }
    return ok({ body: { evaluations: decisions } });
  },
});

const STAFF: Route['roles'] = ['operator', 'auditor', 'security_reviewer', 'administrator'];

/** Outside of `/api/v1`, where the specification has them; the same token, scope and roles as there. */
export const AUTHZEN_ROUTES: readonly Route[] = [
  {
    method: 'POST',
    path: EVALUATION_PATH,
    scope: 'admin:read',
    roles: STAFF,
    sensitive: false,
    handler: evaluation,
    summary: 'AuthZEN access evaluation',
  },
  {
    method: 'POST',
    path: EVALUATIONS_PATH,
    scope: 'admin:read',
    roles: STAFF,
    sensitive: false,
    handler: evaluations,
    summary: 'AuthZEN access evaluations',
  },
];

/** `origin` is the identifier of this decision point. */
export const authzenMetadata = (origin: string): JsonObject => ({
  policy_decision_point: origin,
  access_evaluation_endpoint: `${origin}${EVALUATION_PATH}`,
  access_evaluations_endpoint: `${origin}${EVALUATIONS_PATH}`,
});

/** What may come back as it came. */
export const REQUEST_ID = /^[\x21-\x7e](?:[\x20-\x7e]{0,254}[\x21-\x7e])?$/;
