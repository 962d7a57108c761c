/** Resources for tests of `apply`, and the whole governance state as one value to compare. */
import type { Plane, Reply } from '../plane.ts';
import { SERVER } from '../plane.ts';

export interface Sent {
  readonly kind: string;
  readonly id: string;
  readonly spec: object;
}

export const server = (id: string, more: object = {}): Sent => ({ kind: 'server', id, spec: { ...SERVER, ...more } });
export const group = (id: string, roles: readonly string[] = [], name = `Group ${id}`): Sent => ({
  kind: 'group',
  id,
  spec: { name, roles },
});
export const policy = (id: string, role = 'operator', more: object = {}): Sent => ({
  kind: 'policy',
  id,
  spec: {
    description: 'a test',
    text: `permit (principal in Remit::Role::"${role}", action == Remit::Action::"callTool", resource in Remit::Server::"files") when { context.scopeHeld };`,
    ...more,
  },
});
export const agent = (plane: Plane, id: string, more: object = {}): Sent => ({
  kind: 'agent',
  id,
  spec: {
    issuer: plane.issuer.issuer,
    clientId: `client-${id}`,
    title: id,
    kind: 'delegate',
    roles: [],
    ceiling: {},
    ...more,
  },
});
export const mapping = (plane: Plane, more: object = {}): Sent => ({
  kind: 'mapping',
  id: 'main',
  spec: { issuer: plane.issuer.issuer, newcomers: 'refuse', rules: [], ...more },
});

export const plan = (plane: Plane, who: string, resources: readonly Sent[], more: object = {}): Promise<Reply> =>
  plane.as(who, 'POST', '/apply/plan', { resources, ...more });

/** Plans and applies what was planned. */
export async function applied(
  plane: Plane,
  who: string,
  resources: readonly Sent[],
  more: object = {},
): Promise<Reply> {
  const planned = await plan(plane, who, resources, more);
  if (planned.body['digest'] === null) return planned;
  return plane.as(who, 'POST', '/apply', { resources, ...more, digest: planned.body['digest'], reason: 'a test' });
}

export interface Row {
  readonly index: number | null;
  readonly kind: string;
  readonly id: string;
  readonly action: string;
  readonly changes: ReadonlyArray<{ readonly field: string; readonly before: unknown; readonly after: unknown }>;
  readonly problems: ReadonlyArray<{
    readonly code: string;
    readonly message: string;
    readonly path: readonly string[];
  }>;
}
export const rowsOf = (reply: Reply): readonly Row[] => reply.body['rows'] as Row[];
export const actions = (reply: Reply): readonly string[] =>
  rowsOf(reply).map(({ kind, id, action }) => `${action} ${kind}/${id}`);
export const problems = (reply: Reply): readonly string[] =>
  rowsOf(reply).flatMap((row) =>
    row.problems.map(({ code, path }) => `${row.kind}/${row.id} ${path.join('.')}: ${code}`),
  );
export const codeOf = (reply: Reply): readonly unknown[] => [reply.status, reply.body.error?.['code']];

/** Head and every record: what must not move when something is refused. */
export async function everything(plane: Plane): Promise<string> {
  const { revision, records } = await plane.state.load();
  const rows = records.filter(({ kind }) => kind !== 'contact').map((record) => JSON.stringify(record));
  return JSON.stringify([revision, rows.sort()]);
}

/** Puts a draft in force as a reviewer does: with the effect that was read. */
export async function activated(plane: Plane, who: string, id: string): Promise<number> {
  const effect = await plane.as(who, 'GET', `/policies/${id}/effect`);
  const reply = await plane.as(
    who,
    'POST',
    `/policies/${id}/activate`,
    { reason: 'reviewed', effect: effect.body['digest'] },
    { 'if-match': effect.headers.get('etag') ?? '' },
  );
  return reply.status;
}
