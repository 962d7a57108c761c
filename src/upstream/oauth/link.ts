/**
 * What an operator's consent left behind: the account of the gateway at one authorization server for one server, so that
 * tokens can be renewed without anybody. Kept as text by whoever keeps it (`LinkStore`), sealed there; read strictly.
 */
import type { JWK } from 'jose';
import { z } from 'zod';

export const Link = z.strictObject({
  /** INVARIANT: shown to nobody but this issuer, for nothing but this resource. */
  issuer: z.string(),
  resource: z.string(),
  client: z.strictObject({
    id: z.string(),
    /** Of a client that was registered for this link; null: the record says how it authenticates. */
    registered: z
      .strictObject({
        method: z.enum(['client_secret_basic', 'client_secret_post', 'none']),
        secret: z.string(),
      })
      .nullable(),
  }),
  /** Null: it cannot be renewed. */
  refreshToken: z.string().nullable(),
  scopes: z.array(z.string()),
  /** That the refresh token is bound to. */
  key: z.custom<JWK>((value) => typeof value === 'object' && value !== null).nullable(),
  by: z.string(),
  /** ms since the epoch. */
  at: z.number(),
});
export type Link = z.infer<typeof Link>;

/** Kept by `linkKey`. */
export interface LinkStore {
  read(key: string): Promise<string | null>;
  /** Null: forget it. Durable when it resolves. */
  write(key: string, text: string | null): Promise<void>;
  keys(): Promise<readonly string[]>;
}

/** The account of everybody at a server, or of one person. Ids of servers hold no slash. */
export const linkKey = (serverId: string, person: string | null): string =>
  person === null ? serverId : `${serverId}/${person}`;

export const isLinkOf = (key: string, serverId: string): boolean => key === serverId || key.startsWith(`${serverId}/`);

/** For a process that keeps nothing. */
export function linksInMemory(): LinkStore {
  const links = new Map<string, string>();
  return {
    read: async (serverId) => links.get(serverId) ?? null,
    write: async (serverId, text) => void (text === null ? links.delete(serverId) : links.set(serverId, text)),
    keys: async () => [...links.keys()],
  };
}

/** Null: there is none, or none that this version can read. */
export async function readLink(links: LinkStore, key: string): Promise<Link | null> {
  const text = await links.read(key);
  if (text === null) return null;
  const parsed = Link.safeParse(JSON.parse(text));
  return parsed.success ? parsed.data : null;
}
