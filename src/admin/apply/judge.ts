/**
 * One resource of a plan: read by the schema of its row, looked through for secrets, judged by the handler of its row on the stage. All that is
 * wrong with it is told at once. Who may not make the change is told nothing of how the record stands.
 */
import { z } from 'zod';
import { digestOf } from '../../lib/canonical-json.ts';
import { withoutLiteralSecrets as withoutSecrets } from '../../lib/definition-secrets.ts';
import type { JsonObject } from '../../lib/json.ts';
import { permit } from '../authenticate.ts';
import type { AdminContext } from '../context.ts';
import type { Problem } from '../problem.ts';
import type { AdminCaller, Route } from '../route.ts';
import { difference } from './difference.ts';
import { rowOf, saidBy, standing, view, type Kind } from './kind.ts';
import { kindOf } from './kinds.ts';
import { nameOf, type FieldChange, type PlanRow, type Resource, type RowProblem } from './resources.ts';
import { literalSecrets } from './secrets.ts';
import type { Stage } from './stage.ts';

export interface Making {
  readonly ctx: AdminContext;
  readonly who: AdminCaller;
  readonly routes: readonly Route[];
  readonly reason: string;
  readonly stage: Stage;
  /** Of records that are in some set: its name. */
  readonly owners: ReadonlyMap<string, string>;
  readonly taken: Map<string, string>;
}

const SECRET_REMEDY =
  'Refer to it: credential:ID, env:NAME, file:PATH or vault:MOUNT/PATH#FIELD. If it was real, it has been shown to this file: rotate it.';

const API_DOCUMENT = '/api/v1/openapi.json';

export async function judge(
  making: Making,
  kind: Kind,
  { id, spec }: Resource,
  index: number,
  set: string | null,
  twice: boolean,
): Promise<PlanRow> {
  const { ctx, who, routes, stage } = making;
  const found = ctx.follower.records.get(kind.kind, ctx.org, id);
  const at = { index, kind: kind.kind, id: withoutSecrets(id), revision: found?.revision ?? null };
  const problems: RowProblem[] = [];
  const refuse = (code: string, path: readonly string[], message: string, remedy?: string): void =>
    void problems.push({ code, path, message, ...(remedy !== undefined && { remedy }) });

  const name = found ? (kind.change ?? kind.create) : (kind.create ?? kind.change);
  const row = rowOf(routes, name ?? kind.read);
  // A plan is for whoever may make the change: it shows how the records stand. The rest of the row is asked when it is applied.
  const may = permit(ctx, who, { scope: 'admin:read', roles: row.roles, sensitive: false });
  if (!may.ok) problems.push(fromProblem(kind, may.error));
  if (twice)
    refuse('named_twice', ['id'], 'Another resource of these files has this kind and id.', 'Keep one of them.');
  if (at.id !== id)
    refuse('secret_literal', ['id'], 'looks like a literal secret; it is not repeated here', SECRET_REMEDY);
  else if (!found && !kind.create)
    refuse('not_found', ['id'], `There is no ${kind.kind} of this id.`, `Use ${ctx.org}.`);
  else if (!kind.id.test(id))
    refuse(
      'invalid',
      ['id'],
      'This is not an id for this kind.',
      kind.idRemedy ?? 'Use lower-case letters, digits and inner hyphens.',
    );
  else if (kind.idOnce && !found && (await ctx.state.history(kind.kind, ctx.org, id)).length > 0)
    refuse(
      'id_spent',
      ['id'],
      'Something else once had this id.',
      'Choose another: what still names the old one must not mean the new one.',
    );
  const owner = making.owners.get(nameOf({ kind: kind.kind, id }));
  if (owner !== undefined && owner !== set)
    refuse(
      'in_other_set',
      [],
      `The set ${owner} holds this record.`,
      `Take it out of the files of ${owner} and apply them, or apply it with --set ${owner}.`,
    );
  for (const path of literalSecrets(spec))
    refuse(
      'secret_literal',
      path,
      'looks like a literal secret; it is not stored, and not repeated here',
      SECRET_REMEDY,
    );

  const before = view(kind, saidBy(kind, routes), standing(kind, ctx.follower.records, ctx.org, id));
  const asked = readSpec(making, kind, row, spec, before, found?.body, problems);
  // Who may not change it is told nothing of how it stands, or of what it would meet.
  if (asked === null || !may.ok) return { ...at, action: 'refused', revision: null, changes: [], problems };
  const claim = twice ? undefined : kind.unique?.(asked.whole);
  const other = claim === undefined ? undefined : making.taken.get(`${kind.kind} ${claim}`);
  if (other !== undefined)
    refuse(
      'named_twice',
      [],
      `It says the same as ${kind.kind}/${withoutSecrets(other)}: two of them would be mixed up.`,
      'Keep one of them.',
    );
  else if (claim !== undefined) making.taken.set(`${kind.kind} ${claim}`, id);

  const spent = found && kind.spent ? kind.spent(found.body) : [];
  const said = Object.fromEntries(Object.entries(asked.whole).filter(([name]) => !spent.includes(name)));
  if (before && digestOf(before) === digestOf(said))
    return { ...at, action: problems.length > 0 ? 'refused' : 'unchanged', changes: [], problems };

  if (found && !kind.change) {
    refuse(
      'not_changed',
      [],
      `A ${kind.kind} does not change after it was made.`,
      'Give the other one an id of its own, and let this one go or end.',
    );
    return { ...at, action: 'refused', changes: [], problems };
  }
  if (!found && !kind.create) return { ...at, action: 'refused', changes: [], problems };
  const told = (path: readonly string[]): boolean => problems.some((one) => one.path.join('.') === path.join('.'));
  for (const { code, field, message } of kind.check?.(asked.whole) ?? []) {
    const path = ['spec', ...field.split('.')];
    if (!told(path)) refuse(code, path, withoutSecrets(message));
  }
  // Judged all the same, so that everything that is wrong is told at once; what is refused is not staged.
  const judged = await stage.run({
    keep: problems.length === 0,
    row,
    params: { [kind.param]: id },
    body: asked.body,
    seen: found ? { kind: 'revision', revision: found.revision } : { kind: 'absent' },
  });
  if (!judged.ok) {
    const problem = fromProblem(kind, judged.error);
    const known =
      problem.path.length > 0
        ? told(problem.path)
        : problems.some(({ path, code }) => path.length === 0 && code === problem.code);
    if (!known) problems.push(problem);
  }
  if (problems.length > 0) return { ...at, action: 'refused', changes: [], problems };
  const writes = judged.ok ? (judged.value?.writes ?? []) : [];
  const after = judged.ok ? written(kind.kind, id, writes) : null;
  const changes = [
    ...(after === undefined ? [] : difference(found?.body ?? null, after)),
    ...proposedBy(kind, id, writes, ctx),
  ].filter(({ field }) => !kind.volatile?.includes(field));
  return { ...at, action: found ? 'change' : 'create', changes, problems };
}

/** The body of the row with this spec in it, read as the row reads it; null: told in `problems`. */
function readSpec(
  { reason }: Making,
  kind: Kind,
  row: Route,
  spec: JsonObject | Record<string, unknown>,
  before: JsonObject | null,
  stored: JsonObject | undefined,
  problems: RowProblem[],
): { readonly body: unknown; readonly whole: JsonObject } | null {
  const fixed = before ? (kind.fixed ?? []) : [];
  for (const name of fixed)
    if (spec[name] !== before?.[name])
      problems.push({
        code: 'invalid',
        path: ['spec', name],
        message: `It is said once, when the ${kind.kind} is made, and does not change.`,
      });
  const kept = Object.entries(kind.kept ?? {}).map(([name, first]) => [name, stored?.[name] ?? first] as const);
  for (const [name] of kept) if (Object.hasOwn(spec, name)) problems.push(notSaidHere(['spec', name]));
  const rest = Object.fromEntries([...Object.entries(spec).filter(([name]) => !fixed.includes(name)), ...kept]);
  const parsed = row.handler.body?.safeParse(withReason(row, reason, { [kind.member]: rest }));
  if (!parsed) throw new Error(`the row behind ${kind.kind} takes no body`);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      const { path, message } = issue;
      const at = ['spec', ...path.slice(path[0] === kind.member ? 1 : 0).map((part) => withoutSecrets(String(part)))];
      if (issue.code !== 'unrecognized_keys')
        problems.push({ code: 'invalid', path: at, message: withoutSecrets(message) });
      else for (const key of issue.keys) problems.push(notSaidHere([...at, withoutSecrets(key)]));
    }
    return null;
  }
  const body = parsed.data as Record<string, JsonObject>;
  const said = Object.entries(body[kind.member]!).filter(([name]) => kind.kept?.[name] === undefined);
  return { body, whole: Object.fromEntries([...said, ...fixed.map((name) => [name, before![name]!] as const)]) };
}

const notSaidHere = (path: readonly string[]): RowProblem => ({
  code: 'unknown_member',
  path,
  message: 'is not said here',
  remedy: `docs/guides/apply.md and ${API_DOCUMENT} have the members of each kind.`,
});

/** Not every row asks for a reason of its own. */
const withReason = ({ handler }: Route, reason: string, body: object): object =>
  handler.body instanceof z.ZodObject && 'reason' in handler.body.shape ? { reason, ...body } : body;

/** What left the files of its set. */
export async function leave(making: Making, kindName: string, id: string, prune: boolean): Promise<PlanRow> {
  const { ctx, who, routes, stage, reason } = making;
  const found = ctx.follower.records.get(kindName, ctx.org, id);
  const at = { index: null, kind: kindName, id, revision: found?.revision ?? null, changes: [] };
  const kind = kindOf(kindName);
  const released: PlanRow = { ...at, action: 'released', problems: [] };
  const refused = (problem: Problem): PlanRow => ({ ...at, action: 'refused', problems: [fromProblem(kind, problem)] });
  if (!kind) return released;
  const end = prune && found && kind.end ? kind.end(found.body) : null;
  const row = rowOf(routes, end?.row ?? kind.change ?? kind.create ?? kind.read);
  // Letting go takes the record out of sight of drift: that is for whoever may change it.
  const may = permit(ctx, who, { scope: 'admin:read', roles: row.roles, sensitive: false });
  if (!may.ok) return refused(may.error);
  if (!end || !found) return released;
  const done = await stage.run({
    keep: true,
    row,
    params: { [kind.param]: id },
    body: { reason },
    seen: { kind: 'revision', revision: found.revision },
  });
  if (!done.ok) return refused(done.error);
  const after = written(kind.kind, id, done.value?.writes ?? []);
  const changes = after ? difference(found.body, after).filter(({ field }) => !kind.volatile?.includes(field)) : [];
  return { ...at, action: end.action, changes, problems: [] };
}

/** The body of this very record; null: deleted; undefined: the change is about others. */
const written = (kind: string, id: string, writes: Writes) =>
  writes.find((write) => write.kind === kind && write.id === id)?.body;
type Writes = ReadonlyArray<{ kind: string; id: string; body: JsonObject | null }>;

/** What begins or ends to wait for somebody's yes. */
function proposedBy({ waits }: Kind, id: string, writes: Writes, { follower, org }: AdminContext): FieldChange[] {
  const after = waits && written(waits.kind, id, writes);
  if (after === undefined) return [];
  const before = follower.records.get(waits!.kind, org, id)?.body ?? null;
  return difference(before, after).map((change) => ({ ...change, field: `proposed.${change.field}` }));
}

/** As the handler says it, with its field named from the resource on. */
function fromProblem(kind: Kind | undefined, { code, message, remedy, field }: Problem): RowProblem {
  const parts = field === undefined ? [] : field.split('.');
  const path = parts[0] !== kind?.member ? [] : parts.length > 1 ? ['spec', ...parts.slice(1)] : ['id'];
  return {
    code,
    path: path.map(withoutSecrets),
    message: withoutSecrets(message),
    ...(remedy !== undefined && { remedy: withoutSecrets(remedy) }),
  };
}
