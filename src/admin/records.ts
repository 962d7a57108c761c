/** Reads governed records of the organisation from this node's view, each with its id and revision. */
import type { z } from 'zod';
import type { AdminContext } from './context.ts';

export type Item<T> = T & { readonly id: string; readonly revision: number };

/** All records of a kind, by id. Records that no longer fit their schema are left out here as they are for calls; `GET /status` names them. */
export function itemsOf<T extends object>(ctx: AdminContext, kind: string, schema: z.ZodType<T>): Item<T>[] {
  return [...ctx.follower.records.list(kind, ctx.org)]
    .flatMap((record) => {
      const parsed = schema.safeParse(record.body);
      return parsed.success ? [{ ...parsed.data, id: record.id, revision: record.revision }] : [];
    })
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** One record, or undefined when there is none that fits the schema. */
export function itemOf<T extends object>(
  ctx: AdminContext,
  kind: string,
  id: string,
  schema: z.ZodType<T>,
): Item<T> | undefined {
  const record = ctx.follower.records.get(kind, ctx.org, id);
  if (record === undefined) return undefined;
  const parsed = schema.safeParse(record.body);
  return parsed.success ? { ...parsed.data, id, revision: record.revision } : undefined;
}
