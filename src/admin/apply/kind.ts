/**
 * What `apply` has to know of a kind of record: which rows of the route table make, change and end it, and how a record reads as a file would
 * say it. The kinds themselves: kinds.ts. Pure.
 */
import { z } from 'zod';
import { isJsonObject, type JsonObject } from '../../lib/json.ts';
import type { Records } from '../../store/state.ts';
import type { Route } from '../route.ts';

type RowName = `${Route['method']} /${string}`;

export interface Kind {
  readonly kind: string;
  readonly stored: z.ZodType<object>;
  /** Of the body that holds the spec. */
  readonly member: string;
  /** The parameter of the path that holds the id. */
  readonly param: string;
  readonly read: RowName;
  /** Null: there is one already, always. */
  readonly create: RowName | null;
  /** Null: what was said once is not changed. */
  readonly change: RowName | null;
  /** How it goes when it left the file; null: it has ended already. Left out: it never goes. */
  readonly end?: (record: JsonObject) => { readonly row: RowName; readonly action: 'delete' | 'retire' } | null;
  readonly id: RegExp;
  /** What to do about an id that is none; left out: as ids are written. */
  readonly idRemedy?: string;
  /** An id that once was somebody's never comes again: memberships and policies may still name it. */
  readonly idOnce?: true;
  /** Said when it is made and never changed. */
  readonly fixed?: readonly string[];
  /** What its row wants and no file says, with what it is at first: whoever changes it by hand is not overruled. */
  readonly kept?: JsonObject;
  /** Members of the spec that this record has no more, or has otherwise, because of where it stands in its life: no difference. */
  readonly spent?: (record: JsonObject) => readonly string[];
  /** The same for any state it may come to: no drift. */
  readonly moving?: (record: JsonObject) => readonly string[];
  /** Members that are another at every attempt: times, and words of whoever applies. No part of a plan. */
  readonly volatile?: readonly string[];
  /** What the server side writes inside of a member of the spec. */
  readonly said?: (record: JsonObject) => JsonObject;
  /** The record, under the same id, and its member in which what somebody else has to agree to waits: for files it stands already. */
  readonly waits?: { readonly kind: string; readonly member: string };
  /** Two resources of one file may not say the same. */
  readonly unique?: (spec: JsonObject) => string;
  /** All that is wrong with a spec, one by one; the handler says the same in one sentence. */
  readonly check?: (
    spec: JsonObject,
  ) => ReadonlyArray<{ readonly field: string; readonly message: string; readonly code: string }>;
}

/** The row behind a name; a kind whose rows are not served is a defect of ours. */
export function rowOf(routes: readonly Route[], name: RowName): Route {
  const row = routes.find(({ method, path }) => `${method} ${path.replace(/^\/api\/v1/, '')}` === name);
  if (row === undefined) throw new Error(`no row of the route table is ${name}`);
  return row;
}

/** The members that a file says of this kind: those of the schema of the row that makes it. */
export function saidBy(kind: Kind, routes: readonly Route[]): readonly string[] {
  const { body } = rowOf(routes, kind.create ?? kind.change ?? kind.read).handler;
  const spec: unknown = body instanceof z.ZodObject ? body.shape[kind.member] : null;
  if (!(spec instanceof z.ZodObject)) throw new Error(`the body of ${kind.kind} does not name its members`);
  return Object.keys(spec.shape).filter((name) => kind.kept?.[name] === undefined);
}

/** What there is of a record as files see it: what waits for somebody's yes, else what is in force. */
export function standing(
  { kind, waits }: Kind,
  records: Pick<Records, 'get'>,
  org: string,
  id: string,
): JsonObject | undefined {
  const waiting = waits && waitingIn(waits.member, records.get(waits.kind, org, id)?.body);
  return waiting ?? records.get(kind, org, id)?.body;
}

export function waitingIn(member: string, proposal: JsonObject | null | undefined): JsonObject | undefined {
  const waiting = proposal?.[member];
  return waiting !== undefined && isJsonObject(waiting) ? waiting : undefined;
}

/** A record as a file would say it; null when it does not fit its schema. Defaults are filled in, so that leaving one out is no difference. */
export function view(kind: Kind, said: readonly string[], body: JsonObject | null | undefined): JsonObject | null {
  const parsed = body ? kind.stored.safeParse(body) : undefined;
  if (!parsed?.success) return null;
  const without = kind.spent?.(body as JsonObject) ?? [];
  return Object.fromEntries(
    Object.entries(kind.said?.(parsed.data as JsonObject) ?? (parsed.data as JsonObject)).filter(
      ([name]) => said.includes(name) && !without.includes(name),
    ),
  );
}
