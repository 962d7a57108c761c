/**
 * What one policy looks at, read from its JSON form: which single people, groups, agents, servers and tools it names, and whether it
 * reads anything that only a call knows. Errs on the careful side: what is not recognised counts as read per call.
 */
import type { Clause, EntityUidJson, Expr, PolicyJson, TypeAndId } from '@cedar-policy/cedar-wasm/nodejs';
import { ALL_BITS, BIT, COPIED, FROM, LABELS } from './labels.ts';
import { signInReads } from './sign-in.ts';
import type { SignInReads } from './sign-in.ts';

export interface Reads {
  /** Ids that stand in the policy as literals. Everybody else is the same to it. */
  readonly persons: ReadonlySet<string>;
  readonly groups: ReadonlySet<string>;
  readonly agents: ReadonlySet<string>;
  readonly namesRoles: boolean;
  readonly namesServers: boolean;
  readonly namesTools: boolean;
  /** Reads arguments, the scope list, the time, the sign-in or who acts: must be evaluated for every call. */
  readonly perCall: boolean;
  /** What it compares the sign-in with; null when it does not read it. */
  readonly signIn: SignInReads | null;
  /** Attributes of `context` that it reads; `*` when it uses the context as a whole. */
  readonly context: ReadonlySet<string>;
  /** Attributes of `resource` that it reads. */
  readonly resource: ReadonlySet<string>;
}

/** Bits and a name: small enough to keep an answer per value. Everything else in the context is per call. */
const KEPT_CONTEXT = new Set(['scopeHeld', 'approved', ...LABELS, 'copied', 'agent']);

/** Labels of the trace, and what flows into the call, of which it may say something else (decision 0012), as bits. */
export function labelsRead({ context }: Reads): number {
  if (context.has('*')) return ALL_BITS | COPIED | FROM;
  let mask = context.has('copied') || context.has('copiedFrom') ? COPIED : 0;
  if (context.has('receivedFrom')) mask |= FROM;
  for (const label of LABELS) if (context.has(label)) mask |= BIT[label];
  return mask;
}

interface Found {
  readonly entities: TypeAndId[];
  readonly context: Set<string>;
  readonly resource: Set<string>;
}

export function readsOf(policy: PolicyJson): Reads {
  const found: Found = { entities: [], context: new Set(), resource: new Set() };
  walk({ principal: policy.principal, resource: policy.resource, conditions: policy.conditions }, found);
  const ids = (type: string): string[] => found.entities.filter((uid) => uid.type === type).map((uid) => uid.id);
  return {
    persons: new Set(ids('Remit::Person')),
    groups: new Set(ids('Remit::Group')),
    agents: new Set(ids('Remit::Agent')),
    namesRoles: ids('Remit::Role').length > 0,
    namesServers: ids('Remit::Server').length > 0,
    namesTools: ids('Remit::Tool').length > 0,
    perCall: [...found.context].some((name) => !KEPT_CONTEXT.has(name)),
    signIn: signInReads(policy.conditions, found.context),
    context: found.context,
    resource: found.resource,
  };
}

/**
 * The policy as a list must see it, when arguments are not known yet: of a permit, the conditions that need the call are dropped
 * (it might permit); a forbid that needs the call is dropped whole (it might not forbid). So a list shows at least what can be called.
 */
export function withoutCallContext(policy: PolicyJson): PolicyJson | null {
  if (!readsOf(policy).perCall) return policy;
  if (policy.effect === 'forbid') return null;
  const conditions = policy.conditions
    .flatMap((clause): Clause[] =>
      clause.kind === 'when' ? conjuncts(clause.body).map((body) => ({ kind: 'when', body })) : [clause],
    )
    .filter((clause) => !readsOf({ ...policy, conditions: [clause] }).perCall);
  return { ...policy, conditions };
}

export function conjuncts(expression: Expr): Expr[] {
  if (!('&&' in expression)) return [expression];
  const { left, right } = expression['&&'] as { left: Expr; right: Expr };
  return [...conjuncts(left), ...conjuncts(right)];
}

export function uidOf(uid: EntityUidJson): TypeAndId {
  return '__entity' in uid ? uid.__entity : uid;
}

/** The one person or group that the head of a policy names. Null: it may concern others. */
export function principalOf({
  principal,
}: PolicyJson): { readonly kind: 'Person' | 'Group'; readonly id: string } | null {
  const head = principal.op === 'is' ? principal.in : principal.op === 'All' ? null : principal;
  if (!head || !('entity' in head)) return null;
  const { type, id } = uidOf(head.entity);
  if (type === 'Remit::Person') return { kind: 'Person', id };
  return type === 'Remit::Group' ? { kind: 'Group', id } : null;
}

/** The server or tool that the head of a policy names; empty when it may concern any tool. */
export function targetsOf({ resource }: PolicyJson): readonly string[] {
  const head = resource.op === 'is' ? resource.in : resource.op === 'All' ? null : resource;
  if (!head || !('entity' in head)) return [];
  const { type, id } = uidOf(head.entity);
  return [`${type} ${id}`];
}

/** INVARIANT: the one shortcut (`context.name`) has exactly the shape of an attribute access, which no record literal can take. */
function walk(node: unknown, found: Found): void {
  if (Array.isArray(node)) {
    for (const item of node) walk(item, found);
    return;
  }
  if (typeof node !== 'object' || node === null) return;
  const object = node as Record<string, unknown>;
  if (typeof object['type'] === 'string' && typeof object['id'] === 'string') {
    found.entities.push({ type: object['type'], id: object['id'] });
    return;
  }
  for (const [key, value] of Object.entries(object)) {
    const attribute = key === '.' || key === 'has' ? attributeOf(value) : null;
    if (attribute?.of === 'context') found.context.add(attribute.name);
    else if (attribute?.of === 'resource') found.resource.add(attribute.name);
    else if (key === 'Var' && value === 'context') found.context.add('*');
    else walk(value, found);
  }
}

function attributeOf(access: unknown): { of: string; name: string } | null {
  if (typeof access !== 'object' || access === null) return null;
  const { left, attr } = access as { left?: unknown; attr?: unknown };
  const name: unknown = Array.isArray(attr) ? attr[0] : attr;
  if (typeof left !== 'object' || left === null || typeof name !== 'string') return null;
  const variable = (left as { Var?: unknown }).Var;
  return typeof variable === 'string' ? { of: variable, name } : null;
}
