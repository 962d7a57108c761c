/**
 * Which rows of the route table stand behind a resource. `apply` has no rule of its own: what a file says is sent to the handler that a
 * single request would reach, under the roles of its row. A kind that is not here is not applied.
 */
import { z } from 'zod';
import { InspectionPolicy } from '../../content/records.ts';
import { EventStream, Group, Mapping, Organisation, ScimConnection } from '../../directory/records.ts';
import { Agent } from '../../inventory/agents.ts';
import { Credential } from '../../inventory/credentials.ts';
import { Server } from '../../inventory/records.ts';
import { checkServer } from '../../inventory/servers.ts';
import { digestOf } from '../../lib/canonical-json.ts';
import { isJsonObject, type JsonObject } from '../../lib/json.ts';
import { SLUG } from '../../lib/slug.ts';
import { Grant, ScopeRecord } from '../../policy/grants.ts';
import { PolicyRecord } from '../../policy/records.ts';
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

const RECORD_ID = /^[a-z0-9](?:[a-z0-9_-]{0,98}[a-z0-9])?$/;
const SCOPE = /^[\x21\x23-\x5B\x5D-\x7E]{1,128}$/;
const POLICY_ID = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,198}[A-Za-z0-9])?$/;

/** In this order they are judged: what others refer to comes first. */
export const KINDS: readonly Kind[] = [
  {
    kind: 'organisation',
    stored: Organisation,
    member: 'organisation',
    param: 'organisation',
    read: 'GET /organisation',
    create: null,
    change: 'PUT /organisation',
    id: RECORD_ID,
  },
  {
    kind: 'group',
    stored: Group,
    member: 'group',
    param: 'group',
    read: 'GET /groups/:group',
    create: 'POST /groups',
    change: 'PUT /groups/:group',
    end: () => ({ row: 'DELETE /groups/:group', action: 'delete' }),
    id: RECORD_ID,
    idOnce: true,
    unique: ({ name }) => digestOf({ name: name ?? null }),
  },
  {
    kind: 'mapping',
    stored: Mapping,
    member: 'mapping',
    param: 'mapping',
    read: 'GET /mappings/:mapping',
    create: 'PUT /mappings/:mapping',
    change: 'PUT /mappings/:mapping',
    end: () => ({ row: 'DELETE /mappings/:mapping', action: 'delete' }),
    id: SLUG,
    unique: ({ issuer }) => digestOf({ issuer: issuer ?? null }),
  },
  {
    kind: 'scim_connection',
    stored: ScimConnection,
    member: 'connection',
    param: 'connection',
    read: 'GET /scim-connections/:connection',
    create: 'PUT /scim-connections/:connection',
    change: 'PUT /scim-connections/:connection',
    end: ({ state }) =>
      state === 'disabled' ? null : { row: 'POST /scim-connections/:connection/disable', action: 'retire' },
    id: SLUG,
    kept: { state: 'active' },
    volatile: ['tokens'],
  },
  {
    kind: 'event_stream',
    stored: EventStream,
    member: 'stream',
    param: 'stream',
    read: 'GET /event-streams/:stream',
    create: 'PUT /event-streams/:stream',
    change: 'PUT /event-streams/:stream',
    end: () => ({ row: 'DELETE /event-streams/:stream', action: 'delete' }),
    id: SLUG,
    kept: { state: 'active' },
    volatile: ['delivery.tokens'],
    // Tokens are made by a row of their own.
    said: ({ delivery, ...rest }) => ({
      ...rest,
      ...(isJsonObject(delivery!) && { delivery: delivery['method'] === 'push' ? { method: 'push' } : delivery }),
    }),
  },
  {
    kind: 'agent',
    stored: Agent,
    member: 'agent',
    param: 'agent',
    read: 'GET /agents/:agent',
    create: 'POST /agents',
    change: 'PUT /agents/:agent',
    end: ({ state }) => (state === 'retired' ? null : { row: 'POST /agents/:agent/retire', action: 'retire' }),
    id: RECORD_ID,
    idOnce: true,
    fixed: ['issuer', 'clientId'],
    unique: ({ issuer, clientId }) => digestOf({ issuer: issuer ?? null, clientId: clientId ?? null }),
  },
  {
    kind: 'credential',
    stored: Credential,
    member: 'credential',
    param: 'credential',
    read: 'GET /credentials/:credential',
    create: 'PUT /credentials/:credential',
    change: 'PUT /credentials/:credential',
    end: ({ state }) =>
      state === 'retired' ? null : { row: 'POST /credentials/:credential/retire', action: 'retire' },
    id: SLUG,
    // Who asked for an exception is written by the server side.
    said: ({ sharing, ...rest }) => ({
      ...rest,
      ...(sharing !== undefined &&
        isJsonObject(sharing) && { sharing: { reason: sharing['reason']!, until: sharing['until']! } }),
    }),
  },
  {
    kind: 'server',
    stored: Server,
    member: 'server',
    param: 'server',
    read: 'GET /servers/:server',
    create: 'PUT /servers/:server',
    change: 'PUT /servers/:server',
    end: ({ state }) =>
      state === 'retired'
        ? null
        : state === 'draft'
          ? { row: 'DELETE /servers/:server', action: 'delete' }
          : { row: 'POST /servers/:server/retire', action: 'retire' },
    id: SLUG,
    check: (spec) => {
      const server = Server.safeParse({ ...spec, state: 'draft' });
      return server.success ? checkServer(server.data) : [];
    },
  },
  {
    kind: 'scope',
    stored: ScopeRecord,
    member: 'scope',
    param: 'scope',
    read: 'GET /scopes/:scope',
    create: 'PUT /scopes/:scope',
    change: 'PUT /scopes/:scope',
    end: () => ({ row: 'DELETE /scopes/:scope', action: 'delete' }),
    id: SCOPE,
    volatile: ['proposed.at'],
    // What waits for somebody else is what the file asked for: asking again would only put the date back.
    said: ({ proposed, ...rest }) => ({
      ...rest,
      ...(proposed !== undefined && isJsonObject(proposed) && { includes: proposed['includes']! }),
    }),
  },
  {
    kind: 'inspection',
    stored: InspectionPolicy,
    member: 'inspection',
    param: 'inspection',
    read: 'GET /inspection',
    create: 'PUT /inspection',
    change: 'PUT /inspection',
    id: /^default$/,
    idRemedy: 'There is one for the organisation: use default.',
    volatile: ['proposed.at'],
    waits: { kind: 'inspection_proposal', member: 'policy' },
  },
  {
    kind: 'policy',
    stored: PolicyRecord,
    member: 'policy',
    param: 'policy',
    read: 'GET /policies/:policy',
    create: 'PUT /policies/:policy',
    change: 'PUT /policies/:policy',
    end: () => ({ row: 'DELETE /policies/:policy', action: 'delete' }),
    id: POLICY_ID,
    // Whoever activates a draft spends the list of what it replaces; the file still has it.
    spent: ({ state }) => (state === 'draft' ? [] : ['replaces']),
    moving: () => ['replaces'],
  },
  {
    kind: 'grant',
    stored: Grant,
    member: 'grant',
    param: 'grant',
    read: 'GET /grants/:grant',
    create: 'POST /grants',
    change: null,
    end: ({ state }) =>
      state === 'requested'
        ? { row: 'POST /grants/:grant/cancel', action: 'retire' }
        : state === 'active' || state === 'suspended'
          ? { row: 'POST /grants/:grant/end', action: 'retire' }
          : null,
    id: RECORD_ID,
    idOnce: true,
    // The yes to an elevation sets its end.
    spent: ({ state, lastsMs }) => (lastsMs !== undefined && state !== 'requested' ? ['expiresAt'] : []),
    moving: ({ lastsMs }) => (lastsMs === undefined ? [] : ['expiresAt']),
    volatile: ['requestedAt', 'decidedAt', 'note'],
  },
];

const BY_NAME = new Map(KINDS.map((kind) => [kind.kind, kind]));
export const kindOf = (name: string): Kind | undefined => BY_NAME.get(name);

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
