/**
 * Which connection a request comes from: its bearer token, by hash (ID-05: the token alone says which connection, and a connection is of one
 * organisation). Nothing is remembered between requests but parsed records, so that disabling and expiry count at once.
 */
import { ScimConnection } from '../../directory/records.ts';
import { readBearer } from '../../identity/bearer.ts';
import { sameText, sha256Hex } from '../../lib/bytes.ts';
import type { StoredRecord } from '../../store/state.ts';
import type { AdminContext } from '../context.ts';

export const TOKEN_PREFIX = 'remit_scim_';

export interface Connected {
  readonly id: string;
  readonly connection: ScimConnection;
}

const PARSED = new WeakMap<StoredRecord, ScimConnection | null>();

/** Null where the record does not fit: such a connection is nobody. */
function parsed(record: StoredRecord): ScimConnection | null {
  let known = PARSED.get(record);
  if (known === undefined) {
    const result = ScimConnection.safeParse(record.body);
    known = result.success ? result.data : null;
    PARSED.set(record, known);
  }
  return known;
}

/** The connection behind the request's token, active and with the token unexpired; null for everything else, without saying which. */
export function connectionOf(
  ctx: Pick<AdminContext, 'org' | 'clock' | 'follower'>,
  request: { readonly rawHeaders: readonly string[]; readonly url: string },
): Connected | null {
  const bearer = readBearer(request.rawHeaders, request.url);
  if (!bearer.ok || !bearer.value.startsWith(TOKEN_PREFIX)) return null;
  const sha256 = sha256Hex(bearer.value);
  const now = ctx.clock.now();
  let found: Connected | null = null;
  // Every hash is compared whole, whatever was found before: the time tells nothing.
  for (const record of ctx.follower.records.list('scim_connection', ctx.org)) {
    const connection = parsed(record);
    if (connection === null) continue;
    for (const token of connection.tokens) {
      const same = sameText(token.sha256, sha256);
      if (same && token.expiresAt > now && connection.state === 'active') found = { id: record.id, connection };
    }
  }
  return found;
}
