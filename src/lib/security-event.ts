/**
 * The names of security events that both of our processes speak (OpenID CAEP 1.0, RISC 1.0, SSF 1.0, OAuth event types) and what one is
 * once its token was verified (RFC 8417, RFC 9493). Names and shapes only: what an event brings about is said where it arrives.
 */
import type { JsonObject } from './json.ts';

const BASE = 'https://schemas.openid.net/secevent';

/** Event type URI by the name that logs and messages use. */
export const EVENT_TYPES = {
  'session-revoked': `${BASE}/caep/event-type/session-revoked`,
  'token-claims-change': `${BASE}/caep/event-type/token-claims-change`,
  'credential-change': `${BASE}/caep/event-type/credential-change`,
  'assurance-level-change': `${BASE}/caep/event-type/assurance-level-change`,
  'device-compliance-change': `${BASE}/caep/event-type/device-compliance-change`,
  'session-established': `${BASE}/caep/event-type/session-established`,
  'session-presented': `${BASE}/caep/event-type/session-presented`,
  'risk-level-change': `${BASE}/caep/event-type/risk-level-change`,
  'account-disabled': `${BASE}/risc/event-type/account-disabled`,
  'account-enabled': `${BASE}/risc/event-type/account-enabled`,
  'account-purged': `${BASE}/risc/event-type/account-purged`,
  'account-credential-change-required': `${BASE}/risc/event-type/account-credential-change-required`,
  'credential-compromise': `${BASE}/risc/event-type/credential-compromise`,
  'identifier-changed': `${BASE}/risc/event-type/identifier-changed`,
  'identifier-recycled': `${BASE}/risc/event-type/identifier-recycled`,
  'opt-in': `${BASE}/risc/event-type/opt-in`,
  'opt-out-initiated': `${BASE}/risc/event-type/opt-out-initiated`,
  'opt-out-cancelled': `${BASE}/risc/event-type/opt-out-cancelled`,
  'opt-out-effective': `${BASE}/risc/event-type/opt-out-effective`,
  'recovery-activated': `${BASE}/risc/event-type/recovery-activated`,
  'recovery-information-changed': `${BASE}/risc/event-type/recovery-information-changed`,
  'sessions-revoked': `${BASE}/risc/event-type/sessions-revoked`,
  'token-revoked': `${BASE}/oauth/event-type/token-revoked`,
  'tokens-revoked': `${BASE}/oauth/event-type/tokens-revoked`,
  'client-disabled': `${BASE}/oauth/event-type/client-disabled`,
  'client-enabled': `${BASE}/oauth/event-type/client-enabled`,
  'client-credential-changed': `${BASE}/oauth/event-type/client-credential-changed`,
  verification: `${BASE}/ssf/event-type/verification`,
  'stream-updated': `${BASE}/ssf/event-type/stream-updated`,
} as const;
export type EventName = keyof typeof EVENT_TYPES;

const NAMES: ReadonlyMap<string, EventName> = new Map(
  Object.entries(EVENT_TYPES).map(([name, uri]) => [uri, name as EventName]),
);

/** Null: a type that we do not know. */
export const eventName = (uri: string): EventName | null => NAMES.get(uri) ?? null;

/** Whom an event is about (RFC 9493). `other`: a format that names nobody here. */
export type EventSubject =
  | { readonly format: 'iss_sub'; readonly issuer: string; readonly subject: string }
  | { readonly format: 'email'; readonly email: string }
  | { readonly format: 'opaque'; readonly id: string }
  | { readonly format: 'jwt_id'; readonly issuer: string; readonly tokenId: string }
  | {
      readonly format: 'complex';
      readonly user: EventSubject | null;
      readonly session: EventSubject | null;
      /** Names of its further members. */
      readonly others: readonly string[];
    }
  | { readonly format: 'aliases'; readonly identifiers: readonly EventSubject[] }
  | { readonly format: 'other'; readonly name: string };

/** One verified security event token. */
export interface SecurityEvent {
  readonly tokenId: string;
  /** ms since the epoch, as its sender says. Nothing is ordered by it. */
  readonly issuedAt: number;
  /** Event type URI. ATTACKER-CONTROLLED in so far as a sender may send any: at most 300 characters. */
  readonly type: string;
  readonly name: EventName | null;
  readonly subject: EventSubject | null;
  /** `event_timestamp`, or `toe`: when it happened, ms since the epoch; null when it does not say so readably. */
  readonly happenedAt: number | null;
  /** The event's own members. */
  readonly members: JsonObject;
}
