/**
 * Which rows of the route table stand behind a resource. `apply` has no rule of its own: what a file says is sent to the handler that a
 * single request would reach, under the roles of its row. A kind that is not here is not applied.
 */
import { InspectionPolicy } from '../../content/records.ts';
import { EventStream, Group, Mapping, Organisation, ScimConnection } from '../../directory/records.ts';
import { Agent } from '../../inventory/agents.ts';
import { Credential } from '../../inventory/credentials.ts';
import { Server } from '../../inventory/records.ts';
import { checkServer } from '../../inventory/servers.ts';
import { digestOf } from '../../lib/canonical-json.ts';
import { isJsonObject } from '../../lib/json.ts';
import { SLUG } from '../../lib/slug.ts';
import { Grant, ScopeRecord } from '../../policy/grants.ts';
import { PolicyRecord } from '../../policy/records.ts';
import type { Kind } from './kind.ts';

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

/** What is made by hand, and by what. */
const ELSEWHERE: ReadonlyMap<unknown, string> = new Map([
  [
    'honeytoken',
    'Its value is a secret that no file may name and that is shown once: plant it with remit honeytoken create.',
  ],
]);

/** What to do about a kind that is not applied from files. */
export const insteadOf = (name: unknown): string =>
  ELSEWHERE.get(name) ?? `Use one of: ${KINDS.map(({ kind }) => kind).join(', ')}.`;
