/** A provisioning connection over a whole admin plane: what an identity provider would see, and what calls are decided by. */
import { sha256Hex } from '../../../src/lib/bytes.ts';
import type { Plane, Reply } from '../plane.ts';

export const USER = 'urn:ietf:params:scim:schemas:core:2.0:User';
export const GROUP = 'urn:ietf:params:scim:schemas:core:2.0:Group';
export const PATCH_OP = 'urn:ietf:params:scim:api:messages:2.0:PatchOp';
export const BULK = 'urn:ietf:params:scim:api:messages:2.0:BulkRequest';

export const DAY = 86_400_000;

export interface Idp {
  readonly id: string;
  readonly token: string;
  (method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Reply>;
}

/** A connection that names people of the plane's issuer by `<id>|{externalId}`, unless told otherwise. */
export async function connect(plane: Plane, id: string, more: Record<string, unknown> = {}): Promise<Idp> {
  const token = `remit_scim_${id}_0123456789abcdef`;
  await plane.seed([
    plane.put('scim_connection', id, {
      title: id,
      state: 'active',
      identities: [{ issuer: plane.issuer.issuer, subject: `${id}|{externalId}` }],
      tokens: [
        { id: 'tok_1', sha256: sha256Hex(token), createdAt: Date.now(), expiresAt: Date.now() + DAY, by: 'ada' },
      ],
      silenceAfterMs: null,
      whenSilent: 'alarm',
      ...more,
    }),
  ]);
  return idpOver(plane, id, token);
}

export function idpOver(plane: Plane, id: string, token: string): Idp {
  const ask = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Reply> =>
    plane.raw(
      method,
      `/scim/v2${path}`,
      {
        authorization: `Bearer ${token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/scim+json' }),
        ...headers,
      },
      body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
    );
  return Object.assign(ask, { id, token });
}

export const patch = (...Operations: unknown[]) => ({ schemas: [PATCH_OP], Operations });

export async function newUser(idp: Idp, name: string, more: object = {}): Promise<string> {
  const reply = await idp('POST', '/Users', {
    schemas: [USER],
    userName: `${name}@example.com`,
    externalId: name,
    displayName: name,
    active: true,
    ...more,
  });
  if (reply.status !== 201) throw new Error(`POST /Users: ${reply.status} ${reply.text}`);
  return reply.body['id'] as string;
}

export async function newGroup(idp: Idp, displayName: string, members: readonly string[] = []): Promise<string> {
  const reply = await idp('POST', '/Groups', {
    schemas: [GROUP],
    displayName,
    members: members.map((value) => ({ value })),
  });
  if (reply.status !== 201) throw new Error(`POST /Groups: ${reply.status} ${reply.text}`);
  return reply.body['id'] as string;
}
