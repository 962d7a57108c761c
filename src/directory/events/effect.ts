/**
 * What a security event brings about here, as a plain value (TRUST.md R1, R5; CAEP 1.0, RISC 1.0, OAuth event types).
 * Pure: it reads the event and nothing else. Whom a subject means, and what is written for it, is said by `admin/events/apply.ts`.
 * An event that we cannot read in favour of somebody is read against them: signing in anew puts it right, a missed revocation does not.
 */
import type { EventSubject, SecurityEvent } from '../../lib/security-event.ts';

/** Whom something falls on. */
export type EventTarget =
  | { readonly on: 'person'; readonly who: EventSubject }
  /** The sender's own session id; `who`: the person, if the event names one, too. */
  | { readonly on: 'session'; readonly session: string; readonly who: EventSubject | null }
  | { readonly on: 'client'; readonly client: string }
  | { readonly on: 'grant'; readonly grant: string }
  | { readonly on: 'token'; readonly issuer: string; readonly tokenId: string };

export type EventEffect =
  /** The stream lives; nothing else happened. */
  | { readonly act: 'contact' }
  /** Kept in the log for people to read. */
  | { readonly act: 'record' }
  /** A type that we do not know. */
  | { readonly act: 'unknown_type' }
  /** It should do something, but names nobody in a way that could be understood. */
  | { readonly act: 'no_subject' }
  | { readonly act: 'void'; readonly target: EventTarget }
  /** Void, and the person is inactive from now on. */
  | { readonly act: 'disable'; readonly target: EventTarget & { readonly on: 'person' } }
  | { readonly act: 'enable'; readonly target: EventTarget & { readonly on: 'person' } };

const NO_SUBJECT: EventEffect = { act: 'no_subject' };
const RECORD: EventEffect = { act: 'record' };

export function effectOf(event: SecurityEvent): EventEffect {
  const { name, members, subject } = event;
  switch (name) {
    case null:
      return { act: 'unknown_type' };
    case 'verification':
      return { act: 'contact' };
    case 'session-revoked':
      return sessionRevoked(subject);
    case 'credential-change':
      // A further credential takes nothing away from anybody.
      return members['change_type'] === 'create' ? RECORD : onPerson('void', subject);
    case 'assurance-level-change':
      return members['change_direction'] === 'increase' ? RECORD : onPerson('void', subject);
    case 'token-claims-change':
    case 'credential-compromise':
    case 'account-credential-change-required':
    case 'sessions-revoked':
      return onPerson('void', subject);
    case 'account-disabled':
    case 'account-purged':
      return onPerson('disable', subject);
    case 'account-enabled':
      return onPerson('enable', subject);
    case 'token-revoked':
      return tokenRevoked(event);
    case 'tokens-revoked':
      return subject?.format === 'opaque' ? onClient(subject) : onPerson('void', subject);
    case 'client-disabled':
    case 'client-credential-changed':
      return onClient(subject);
    case 'stream-updated':
    case 'device-compliance-change':
    case 'session-established':
    case 'session-presented':
    case 'risk-level-change':
    case 'identifier-changed':
    case 'identifier-recycled':
    case 'opt-in':
    case 'opt-out-initiated':
    case 'opt-out-cancelled':
    case 'opt-out-effective':
    case 'recovery-activated':
    case 'recovery-information-changed':
    case 'client-enabled':
      return RECORD;
    default:
      return name satisfies never;
  }
}

/** The user of a complex subject counts; its device and tenant would only narrow what ends. */
function onPerson(act: 'void' | 'disable' | 'enable', subject: EventSubject | null): EventEffect {
  const who = subject?.format === 'complex' ? subject.user : subject;
  if (who === null) return NO_SUBJECT;
  if (who.format === 'jwt_id')
    return act === 'void' ? { act, target: { on: 'token', issuer: who.issuer, tokenId: who.tokenId } } : NO_SUBJECT;
  return { act, target: { on: 'person', who } };
}

/** An opaque id is the session's, alone or as the part `session`; without one everything of the person up to that moment ends. */
function sessionRevoked(subject: EventSubject | null): EventEffect {
  if (subject?.format === 'opaque') return { act: 'void', target: { on: 'session', session: subject.id, who: null } };
  if (subject?.format === 'complex' && subject.session?.format === 'opaque')
    return { act: 'void', target: { on: 'session', session: subject.session.id, who: subject.user } };
  return onPerson('void', subject);
}

/** Our authorization server names a grant by `grant_id`; others name one token by its id. */
function tokenRevoked({ members, subject }: SecurityEvent): EventEffect {
  const grant = members['grant_id'];
  if (typeof grant === 'string' && grant !== '' && grant.length <= 200)
    return { act: 'void', target: { on: 'grant', grant } };
  return subject?.format === 'jwt_id' ? onPerson('void', subject) : NO_SUBJECT;
}

function onClient(subject: EventSubject | null): EventEffect {
  if (subject?.format !== 'opaque') return NO_SUBJECT;
  return { act: 'void', target: { on: 'client', client: subject.id } };
}
