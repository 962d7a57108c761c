/**
 * What gateways have to be told, kept until they took it. Written after what it tells of is durable and before that is answered.
 * CRASH between the two: whoever asked got no answer and asks again, and the ending tells again (endings.ts).
 */
import type { DatabaseSync } from 'node:sqlite';
import type { Clock } from '../../lib/clock.ts';
import { sha256Hex } from '../../lib/bytes.ts';
import { newId } from '../../lib/ids.ts';
import type { JsonObject } from '../../lib/json.ts';
import type { EventName } from '../../lib/security-event.ts';
import { EVENT_TYPES } from '../../lib/security-event.ts';
import type { EventSource, OutgoingEvent } from '../../upstream/event-delivery.ts';
import type { Revoked } from '../endings.ts';

export interface WaitingEvent extends OutgoingEvent {
  readonly id: number;
}

export interface Outbox {
  add(peer: string, revoked: Revoked): void;
  /** Of one gateway, oldest first. */
  source(peer: string, audience: string, sign: (claims: JsonObject) => Promise<string>): EventSource<WaitingEvent>;
  /** Forgets what nobody can need: every token that it could void has expired. */
  sweep(): void;
}

/** Beyond it the oldest go: their tokens expire soonest. */
const MOST_WAITING = 20_000;

/** `tokenSeconds`: longest life of an access token. */
export function outbox(db: DatabaseSync, clock: Clock, issuer: string, tokenSeconds: number): Outbox {
  const insert = db.prepare('INSERT INTO event_outbox (peer, jti, event, created_at) VALUES (?, ?, ?, ?)');
  const oldest = db.prepare('SELECT id, jti, event, created_at FROM event_outbox WHERE peer = ? ORDER BY id LIMIT 1');
  const remove = db.prepare('DELETE FROM event_outbox WHERE id = ?');
  const expire = db.prepare('DELETE FROM event_outbox WHERE created_at < ?');
  const bound = db.prepare(
    'DELETE FROM event_outbox WHERE peer = ?1 AND id <= (SELECT max(id) FROM event_outbox WHERE peer = ?1) - ?2',
  );
  return {
    add(peer, revoked) {
      insert.run(
        peer,
        sha256Hex(newId('ref', clock)).slice(0, 40),
        JSON.stringify(claimsOf(revoked, issuer)),
        clock.now(),
      );
      bound.run(peer, MOST_WAITING);
    },
    source: (peer, audience, sign) => ({
      next: async () => {
        const row = oldest.get(peer);
        if (row === undefined) return null;
        const claims = JSON.parse(String(row['event'])) as JsonObject;
        const jti = String(row['jti']);
        return {
          id: Number(row['id']),
          at: Number(row['created_at']),
          sign: () => sign({ iss: issuer, aud: audience, iat: Math.floor(clock.now() / 1_000), jti, ...claims }),
        };
      },
      settled: async ({ id }) => void remove.run(id),
    }),
    // What is told late voids nothing any more; a minute more, for clocks.
    sweep: () => void expire.run(clock.now() - (tokenSeconds + 60) * 1_000),
  };
}

/** The claims that say what happened, under the names of docs/decisions/0009. */
function claimsOf(revoked: Revoked, issuer: string): JsonObject {
  const event = (name: EventName, members: JsonObject, subject?: JsonObject): JsonObject => ({
    ...(subject && { sub_id: subject }),
    events: { [EVENT_TYPES[name]]: { event_timestamp: revoked.at / 1_000, ...members } },
  });
  const person = (sub: string): JsonObject => ({ format: 'iss_sub', iss: issuer, sub });
  switch (revoked.kind) {
    case 'grant':
      return event(
        'token-revoked',
        { grant_id: revoked.grantId },
        revoked.sub === null ? undefined : person(revoked.sub),
      );
    case 'client':
      return event('tokens-revoked', {}, { format: 'opaque', id: revoked.clientId });
    case 'person':
      return event('tokens-revoked', {}, person(revoked.sub));
    case 'session':
      return event('session-revoked', {}, { format: 'opaque', id: revoked.sid });
    case 'token':
      return event('token-revoked', {}, { format: 'jwt_id', iss: issuer, jti: revoked.jti });
    default:
      return revoked satisfies never;
  }
}
