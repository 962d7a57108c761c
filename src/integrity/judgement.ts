/**
 * Whether what a reviewer says fits what they say it of: a typed parameter (AZ-03) names an argument that the schema has and whose values can
 * be of that type, what cannot be undone is agreed to by more than one, and a budget sums up numbers. Not checked here: the shape of the judgement (records.ts).
 */
import type { ParameterType } from '../lib/canonical-values.ts';
import type { JsonObject } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import { resolveLocal } from './bound-schema.ts';
import type { ItemKind, Judgement } from './records.ts';

export interface JudgementProblem {
  readonly field: string;
  readonly message: string;
}

const FITTING: Readonly<Record<ParameterType, readonly string[]>> = {
  path: ['string'],
  url: ['string'],
  domain: ['string'],
  amount: ['number', 'integer', 'string'],
  identifier: ['string', 'integer'],
};
const MAX_PARAMETERS = 50;

/** `schema`: what the arguments of the item must fit. The first problem; null: none. */
export function judgementProblem(kind: ItemKind, judgement: Judgement, schema: JsonObject): JudgementProblem | null {
  const { parameters, tasks, irreversible, approvals = 1, risk, idempotent, budget } = judgement;
  if (tasks !== undefined && kind !== 'tool') return { field: 'tasks', message: `a ${kind} never runs as a task` };
  if (irreversible && risk === 'read')
    return { field: 'irreversible', message: 'what is only read leaves nothing to undo; choose another class' };
  if (irreversible && approvals < 2)
    return { field: 'approvals', message: 'must be at least 2 for what cannot be undone' };
  if (idempotent && risk !== 'read')
    return { field: 'idempotent', message: 'only what is read is asked for a second time; choose the class read' };
  const sum = budget?.sum;
  if (budget && kind === 'server') return { field: 'budget', message: 'instructions are not called' };
  if (sum) {
    const field = 'budget.sum.argument';
    const types = typesAt(schema, sum.argument);
    if (types === null) return { field, message: 'is no argument that the schema of this item declares' };
    const counted = parameters?.[sum.argument] === 'amount' ? ['number', 'integer', 'string'] : ['number', 'integer'];
    const unfit = types.filter((one) => !counted.includes(one));
    if (unfit.length > 0) return { field, message: `can be ${unfit.join(' or ')}, which cannot be summed up` };
  }
  const named = Object.entries(parameters ?? {});
  if (named.length > MAX_PARAMETERS)
    return { field: 'parameters', message: `names more than ${MAX_PARAMETERS} arguments` };
  for (const [pointer, type] of named) {
    const field = `parameters.${pointer}`;
    const types = typesAt(schema, pointer);
    if (types === null) return { field, message: 'is no argument that the schema of this item declares' };
    const unfit = types.filter((one) => one !== 'null' && !FITTING[type].includes(one));
    if (types.length > 0 && unfit.length > 0)
      return { field, message: `can be ${unfit.join(' or ')}, which is no ${type}` };
  }
  return null;
}

/** Whether more may be done than before, by somebody, some day. */
export function widerBudget(before: Judgement['budget'], after: Judgement['budget']): boolean {
  if (!before) return false;
  if (!after) return true;
  const shared = before.shared === true && !after.shared;
  const calls = after.calls > before.calls || after.perMinutes < before.perMinutes;
  const { sum } = before;
  const spend = sum && (after.sum?.argument !== sum.argument || after.sum.max > sum.max);
  return shared || calls || spend === true;
}

/** The JSON types that a declared argument may have: empty when the schema does not say, null when there is no such argument. */
function typesAt(root: JsonObject, pointer: string): readonly string[] | null {
  let places: readonly JsonObject[] = [root];
  for (const part of pointer.slice(1).split('/')) {
    const name = part.replaceAll('~1', '/').replaceAll('~0', '~');
    places = places.flatMap((place) => spread(root, place, 0)).flatMap((place) => below(place, name));
    if (places.length === 0) return null;
  }
  const all = places.flatMap((place) => spread(root, place, 0));
  return [...new Set(all.flatMap(typesOf))];
}

/** A schema and what applies to the same value through it. */
function spread(root: JsonObject, schema: JsonObject, depth: number): readonly JsonObject[] {
  if (depth > 20) return [];
  const { $ref: reference } = schema;
  const target = typeof reference === 'string' ? resolveLocal(root, reference) : null;
  const parts = ['allOf', 'anyOf', 'oneOf'].flatMap((keyword) => {
    const list = schema[keyword];
    return Array.isArray(list) ? (list as readonly unknown[]).filter(isJsonObject) : [];
  });
  return [schema, ...(target ? [target] : []), ...parts].flatMap((part) =>
    part === schema ? [part] : spread(root, part, depth + 1),
  );
}

/** Members of objects only: what stands in a list has no name that a policy could speak of. */
function below({ properties }: JsonObject, name: string): readonly JsonObject[] {
  if (!isJsonObject(properties) || !Object.hasOwn(properties, name)) return [];
  const property = properties[name];
  return [isJsonObject(property) ? property : {}];
}

function typesOf({ type, enum: values, const: only }: JsonObject): readonly string[] {
  if (typeof type === 'string') return [type];
  if (Array.isArray(type)) return (type as readonly unknown[]).filter((one) => typeof one === 'string');
  const listed = Array.isArray(values) ? (values as readonly unknown[]) : only === undefined ? [] : [only];
  return listed.map((value) => (value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value));
}
