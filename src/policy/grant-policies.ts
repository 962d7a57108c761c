/**
 * A grant as one Cedar policy `grant.<id>`: a template for everything of its kind, linked to who gets it and what it is about. Whatever
 * somebody wrote into a grant stands in it as a literal of the JSON form and never becomes policy text (AZ-03, AZ-05).
 * Promises: needs the scope, never more than the grant says, nothing when it cannot be read. When it begins and ends is prepare.ts's to keep.
 */
import type { Clause, EntityUidJson, Expr, PolicyJson, TypeAndId } from '@cedar-policy/cedar-wasm/nodejs';
import { digestOf } from '../lib/canonical-json.ts';
import type { Result } from '../lib/result.ts';
import { err, ok } from '../lib/result.ts';
import type { CompiledPolicy } from './compile.ts';
import { grantConditions, unfitConditions } from './grant-conditions.ts';
import type { Grant, GrantCondition } from './grants.ts';
import { readsOf, withoutCallContext } from './reads.ts';
import { nextSerial } from './serial.ts';

export const GRANT_PREFIX = 'grant.';
/** The grant behind a policy id; null: a written policy. */
export const grantOf = (policy: string): string | null =>
  policy.startsWith(GRANT_PREFIX) ? policy.slice(GRANT_PREFIX.length) : null;

const uid = (type: string, id: string): TypeAndId => ({ type: `Remit::${type}`, id });
const literal = (type: string, id: string): Expr => ({ Value: { __entity: uid(type, id) } });
const context = (attr: string): Expr => ({ '.': { left: { Var: 'context' }, attr } });
const risk: Expr = { '.': { left: { Var: 'resource' }, attr: 'risk' } };
const among = (members: readonly Expr[], value: Expr): Expr => ({
  contains: { left: { Set: [...members] }, right: value },
});
const when = (body: Expr): Clause => ({ kind: 'when', body });

/** `by_risk`: these are held, every time. */
const HELD = ['destructive', 'execute', 'regulated'] as const;

const BY_RISK: Expr = {
  '||': {
    left: {
      '!': {
        arg: among(
          HELD.map((one) => literal('Risk', one)),
          risk,
        ),
      },
    },
    right: context('approved'),
  },
};

/** Parsed once, compiled once: records are replaced, never changed. */
const COMPILED = new WeakMap<Grant, { readonly id: string; readonly result: Result<CompiledPolicy, string> }>();

/** @returns why it permits nothing, for the operator. Its state is not asked here. */
export function compileGrant(id: string, grant: Grant): Result<CompiledPolicy, string> {
  const known = COMPILED.get(grant);
  if (known?.id === id) return known.result;
  const result = compile(id, grant);
  COMPILED.set(grant, { id, result });
  return result;
}

function compile(id: string, grant: Grant): Result<CompiledPolicy, string> {
  const { who, what, through, conditions, approval, breakGlass, justification, startsAt, lastsMs, decidedAt } = grant;
  const texts = [id, who.id, what.server, ...(what.items ?? []), through ?? '', ...conditions.flatMap(textsOf)];
  if (!texts.every((text) => text.isWellFormed())) return err('has text that is not well-formed');
  if (unfitConditions(conditions).length > 0) return err('names a folder or host that no argument can be in');
  // An elevation ends so long after the yes even where nobody wrote the end into it.
  const lasts = lastsMs === undefined || decidedAt === null ? null : decidedAt + lastsMs;
  // An emergency never outlasts its time, whatever end somebody wrote into it, and none begins without the yes.
  if (breakGlass && lasts === null) return err('is an emergency that nobody confirmed');
  const expiresAt = breakGlass ? Math.min(grant.expiresAt ?? lasts!, lasts!) : (grant.expiresAt ?? lasts);
  if (!what.items && (!what.risks || expiresAt === null))
    return err('is for a whole server without risk classes and an end');

  const [item, ...others] = what.items ?? [];
  const single = item !== undefined && others.length === 0;
  const principal =
    who.kind === 'group' ? uid('Group', who.id) : uid('Person', who.kind === 'agent' ? `agent/${who.id}` : who.id);
  const resource = single ? uid('Tool', `${what.server}/${item}`) : uid('Server', what.server);
  const tools = (what.items ?? []).map((key) => `${what.server}/${key}`);
  const clauses: Clause[] = [
    when(context('scopeHeld')),
    ...(tools.length > 1
      ? [
          when(
            among(
              tools.map((tool) => literal('Tool', tool)),
              { Var: 'resource' },
            ),
          ),
        ]
      : []),
    ...(what.risks
      ? [
          when(
            among(
              what.risks.map((one) => literal('Risk', one)),
              risk,
            ),
          ),
        ]
      : []),
    ...(through === undefined ? [] : [when({ '==': { left: context('agent'), right: literal('Agent', through) } })]),
    ...(approval === 'waived' ? [] : [when(approval === 'always' ? context('approved') : BY_RISK)]),
    ...grantConditions(conditions).map(when),
  ];
  const rest = {
    effect: 'permit' as const,
    action: { op: '==' as const, entity: uid('Action', 'callTool') },
    conditions: clauses,
  };
  const head = <Entity extends { slot: string } | { entity: TypeAndId }>(subject: Entity, object: Entity) => ({
    principal: who.kind === 'group' ? { op: 'in' as const, ...subject } : { op: '==' as const, ...subject },
    resource: single ? { op: '==' as const, ...object } : { op: 'in' as const, ...object },
  });
  const template: PolicyJson = { ...rest, ...head({ slot: '?principal' }, { slot: '?resource' }) };
  const json: PolicyJson = {
    ...rest,
    annotations: { description: justification },
    ...head({ entity: principal }, { entity: resource }),
  };
  const values: Record<string, EntityUidJson> = { '?principal': principal, '?resource': resource };
  return ok({
    id: `${GRANT_PREFIX}${id}`,
    text: '',
    json,
    link: { template, templateId: digestOf(template as never), values },
    digest: digestOf([template, values] as never),
    serial: nextSerial(),
    reads: readsOf(json),
    startsAt: startsAt ?? null,
    expiresAt,
    forLists: withoutCallContext(json),
    targets: tools.length > 0 ? tools.map((tool) => `Remit::Tool ${tool}`) : [`Remit::Server ${what.server}`],
  });
}

const textsOf = (condition: GrantCondition): string[] => [
  condition.argument,
  ...('values' in condition ? condition.values : []),
];
