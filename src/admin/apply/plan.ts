/**
 * A plan: what every resource of a file would do, with all problems of all of them, and the staged change that does it. Making one changes
 * nothing. Its digest says which records it saw at which revision and what becomes of them: one plan is committed, never another.
 */
import { digestOf, type Digest } from '../../lib/canonical-json.ts';
import { withoutLiteralSecrets as withoutSecrets } from '../../lib/definition-secrets.ts';
import type { AdminContext } from '../context.ts';
import type { AdminCaller, Route } from '../route.ts';
import { judge, leave, type Making } from './judge.ts';
import { standing } from './kind.ts';
import { insteadOf, kindOf, KINDS } from './kinds.ts';
import { nameOf, type Action, type PlanInput, type PlanRow, type Resource } from './resources.ts';
import { allSets, saidDigest, SET_KIND, setOf, type AppliedSet } from './sets.ts';
import { stageOn, type Stage } from './stage.ts';

export interface Plan {
  readonly rows: readonly PlanRow[];
  /** Null while something is refused: then there is nothing that could be applied. */
  readonly digest: Digest | null;
  /** At which the records were read. */
  readonly revision: number;
  readonly stage: Stage;
}

/** So often other work of the process gets its turn. */
const BREATH = 20;

/** `reason` goes into the staged changes. */
export async function makePlan(
  base: { readonly ctx: AdminContext; readonly who: AdminCaller; readonly ref: string },
  routes: readonly Route[],
  input: PlanInput,
  reason: string,
): Promise<Plan> {
  const { ctx, who, ref } = base;
  const revision = ctx.follower.revision;
  const stage = stageOn(ctx, who, ref);
  const owners = new Map(allSets(ctx).flatMap(({ id, records }) => records.map((one) => [nameOf(one), id] as const)));
  const making: Making = { ctx, who, routes, reason, stage, owners, taken: new Map() };
  const rows: PlanRow[] = [];
  const twice = repeated(input.resources);
  let worked = 0;
  const breathe = async (): Promise<void> => {
    if (++worked % BREATH === 0) await new Promise((resolve) => setImmediate(resolve));
  };

  const numbered = input.resources.map((resource, index) => ({ resource, index }));
  for (const kind of KINDS) {
    for (const { resource, index } of numbered.filter((one) => one.resource.kind === kind.kind)) {
      rows.push(await judge(making, kind, resource, index, input.set ?? null, twice.has(nameOf(resource))));
      await breathe();
    }
    stage.settle();
  }
  for (const { resource, index } of numbered) if (!kindOf(resource.kind)) rows.push(unknownKind(resource, index));
  rows.sort((a, b) => a.index! - b.index!);
  if (input.set !== undefined) {
    const named = new Set(input.resources.map(nameOf));
    const left = (setOf(ctx, input.set)?.records ?? []).filter((one) => !named.has(nameOf(one)));
    // What refers to others goes before them.
    const order = (one: { readonly kind: string }): number => -KINDS.findIndex(({ kind }) => kind === one.kind);
    for (const one of [...left].sort((a, b) => order(a) - order(b))) {
      rows.push(await leave(making, one.kind, one.id, input.prune));
      await breathe();
    }
    if (rows.every(({ action }) => action !== 'refused')) await remember(making, input.set, rows);
  }
  const digest = rows.some(({ action }) => action === 'refused')
    ? null
    : digestOf({
        org: ctx.org,
        set: input.set ?? null,
        setRevision: input.set === undefined ? null : (setOf(ctx, input.set)?.revision ?? null),
        rows: rows.map(({ kind, id, action, revision: at, changes }) => ({ kind, id, action, at, changes })),
      });
  return { rows, digest, revision, stage };
}

/** Stages the set as it will be. A set that says the same already is not written. */
async function remember({ ctx, routes, stage, reason }: Making, name: string, rows: readonly PlanRow[]): Promise<void> {
  const records = rows
    .filter(({ index }) => index !== null)
    .map(({ kind, id }) => ({
      kind,
      id,
      digest: saidDigest(kindOf(kind)!, routes, standing(kindOf(kind)!, stage.records, ctx.org, id)!),
    }))
    .sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  const before = setOf(ctx, name);
  if (before && digestOf(before.records) === digestOf(records)) return;
  const body: AppliedSet = { records };
  stage.add({
    what: before ? 'apply_set.changed' : 'apply_set.added',
    subject: `${SET_KIND}/${name}`,
    reason,
    facts: { records: records.length },
    writes: [{ kind: SET_KIND, org: ctx.org, id: name, body, expectedRevision: before?.revision ?? null }],
  });
}

const unknownKind = ({ kind, id }: Resource, index: number): PlanRow => ({
  index,
  kind: withoutSecrets(kind),
  id: withoutSecrets(id),
  action: 'refused',
  revision: null,
  changes: [],
  problems: [
    {
      code: 'unknown_kind',
      path: ['kind'],
      message: 'Nothing of this kind is applied from files.',
      remedy: insteadOf(kind),
    },
  ],
});

function repeated(resources: readonly Resource[]): ReadonlySet<string> {
  const seen = new Set<string>();
  return new Set(resources.map(nameOf).filter((name) => seen.has(name) || !seen.add(name)));
}

export const count = (rows: readonly PlanRow[], ...actions: readonly Action[]): number =>
  rows.filter(({ action }) => actions.includes(action)).length;
