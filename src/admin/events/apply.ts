/**
 * From the effect of an event to records: whom its subject means here, what is written, in one commit with the memory of its id.
 * INVARIANT: the id is remembered in the same commit as the effect, so an event takes effect once, whatever is sent again, on whichever node.
 */
import type { EventFacts } from '../../audit/entries.ts';
import type { EventEffect, EventTarget } from '../../directory/events/effect.ts';
import type { EventStream } from '../../directory/records.ts';
import { Person, personKey } from '../../directory/records.ts';
import { saysInactive } from '../../directory/scim/resources.ts';
import type { Void } from '../../directory/voids.ts';
import { agentKey } from '../../inventory/agents.ts';
import { EVENT_MEMORY_MS } from '../../identity/security-event.ts';
import { sha256Hex } from '../../lib/bytes.ts';
import type { EventSubject, SecurityEvent } from '../../lib/security-event.ts';
import type { Write } from '../../store/state.ts';
import type { AdminContext } from '../context.ts';
import { endingWrites } from '../leaving.ts';

export type Stream = EventStream & { readonly id: string };

export interface Consequence {
  /** Of the audit entry: `event.applied`, `event.recorded`, `event.unknown_subject`, … */
  readonly what: string;
  /** `kind/id` of what it fell on. */
  readonly subject: string;
  readonly facts: EventFacts;
  /** Empty: nothing changes. */
  readonly writes: readonly Write[];
}

type Parts = Pick<AdminContext, 'org' | 'clock' | 'follower' | 'facts' | 'snapshot' | 'state'>;
type Falls =
  | { readonly kind: 'person'; readonly id: string }
  | { readonly kind: 'other'; readonly voids: readonly Void['subject'][] }
  | { readonly kind: 'nobody' };

/** Ids older than this are forgotten, and tokens that old refused. A day more, for clocks. */
const REMEMBER_MS = EVENT_MEMORY_MS + 86_400_000;
const SWEEP = 20;
const NOBODY: Falls = { kind: 'nobody' };

export const seenId = (stream: string, tokenId: string): string => sha256Hex(`${stream} ${tokenId}`).slice(0, 40);

/** @throws StoreFault when the history of a person cannot be read. */
export async function consequenceOf(
  ctx: Parts,
  stream: Stream,
  event: SecurityEvent,
  effect: EventEffect,
): Promise<Consequence> {
  const facts = {
    stream: stream.id,
    event: event.type,
    jti: event.tokenId,
    happenedAt: event.happenedAt === null ? 'unsaid' : new Date(event.happenedAt).toISOString(),
    receivedAt: new Date(ctx.clock.now()).toISOString(),
  };
  const nothing = (what: string, more: EventFacts = {}): Consequence => ({
    what,
    subject: `event_stream/${stream.id}`,
    facts: { ...facts, ...more },
    writes: [],
  });
  switch (effect.act) {
    case 'contact':
      return nothing('event.verification');
    case 'record':
      return nothing('event.recorded', about(ctx, stream, event));
    case 'unknown_type':
      return nothing('event.unknown_type');
    case 'no_subject':
      return nothing('event.unknown_subject', { why: 'it names nobody that an event of its type can fall on' });
    case 'void':
    case 'disable':
    case 'enable': {
      const falls = whom(ctx, stream, effect.target);
      if (falls.kind === 'nobody')
        return nothing('event.unknown_subject', { why: 'nobody is known under its subject' });
      const writes = await writesFor(ctx, stream, event, effect.act, falls);
      if (writes === null) return nothing('event.recorded', { why: 'somebody else made this person inactive' });
      const subject =
        falls.kind === 'person'
          ? `person/${falls.id}`
          : falls.voids.map(({ kind, value }) => `${kind}/${value}`).join(' ');
      return { what: 'event.applied', subject, facts: { ...facts, act: effect.act }, writes };
    }
    default:
      return effect satisfies never;
  }
}

async function writesFor(
  ctx: Parts,
  stream: Stream,
  event: SecurityEvent,
  act: 'void' | 'disable' | 'enable',
  falls: Exclude<Falls, { kind: 'nobody' }>,
): Promise<readonly Write[] | null> {
  const by = `event_stream:${stream.id}`;
  const reason = `${event.name ?? 'security event'} by ${stream.title}`;
  const writes: Write[] = [];
  if (falls.kind === 'other') {
    // Whatever the clock of the sender says: a session, grant or client that ended has no good tokens from before now.
    writes.push(
      ...endingWrites(
        ctx,
        falls.voids.map((subject) => ({ subject, reason, by })),
      ),
    );
  } else {
    const record = ctx.follower.records.get('person', ctx.org, falls.id);
    const person = record === undefined ? undefined : Person.safeParse(record.body).data;
    if (record === undefined || person === undefined) return null;
    const put = (state: Person['state']): Write => ({
      kind: 'person',
      org: ctx.org,
      id: falls.id,
      key: personKey(person.issuer, person.subject),
      body: { ...person, state },
      expectedRevision: record.revision,
    });
    if (act === 'enable') {
      if (person.state === 'active') return rememberedOnly(ctx, stream, event);
      // Who provisions them has said since that they are inactive: an event does not undo that.
      if (saysInactive(person.provisioned) || (await whoMadeInactive(ctx, falls.id)) !== by) return null;
      writes.push(put('active'));
    } else {
      // A person who is made inactive has no good token at all; otherwise what was issued after the event stays good.
      const before = act === 'disable' || event.happenedAt === null ? ctx.clock.now() : event.happenedAt;
      if (act === 'disable' && person.state === 'active') writes.push(put('inactive'));
      writes.push(...endingWrites(ctx, [{ subject: { kind: 'person', value: falls.id }, reason, by, before }]));
    }
  }
  return [...writes, ...rememberedOnly(ctx, stream, event)];
}

/** The memory of this id, and a few old ones less. */
function rememberedOnly(ctx: Parts, stream: Stream, event: SecurityEvent): Write[] {
  const now = ctx.clock.now();
  const body = { stream: stream.id, at: now, until: now + REMEMBER_MS };
  const writes: Write[] = [
    { kind: 'event_seen', org: ctx.org, id: seenId(stream.id, event.tokenId), body, expectedRevision: null },
  ];
  let looked = 0;
  for (const { id, body: old } of ctx.follower.records.list('event_seen', ctx.org)) {
    if (looked++ === SWEEP) break;
    if (Number(old['until']) < now) writes.push({ kind: 'event_seen', org: ctx.org, id, body: null });
  }
  return writes;
}

/** Whose change made this person inactive, the latest time. */
async function whoMadeInactive(ctx: Parts, id: string): Promise<string | null> {
  let by: string | null = null;
  let before: unknown = null;
  for (const { actor, body } of await ctx.state.history('person', ctx.org, id)) {
    const state = body?.['state'] ?? null;
    if (state === 'inactive' && before !== 'inactive') by = actor;
    before = state;
  }
  return by;
}

/** An issuer as the stream names it -> as our tokens name it; null: the stream does not speak for it. */
function ours({ issuers }: Stream, issuer: string): string | null {
  if (issuers === undefined) return issuer;
  return Object.hasOwn(issuers, issuer) ? (issuers[issuer] ?? null) : null;
}

/** Events without effect are easier to read with the person in them, if it is one of ours. */
function about(ctx: Parts, stream: Stream, { subject, members }: SecurityEvent): EventFacts {
  const who = subject?.format === 'complex' ? subject.user : subject;
  const person = who === null ? null : personOf(ctx, stream, who);
  const status = members['current_status'] ?? members['status'];
  return {
    ...(person === null ? {} : { person }),
    ...(typeof status === 'string' && status.length <= 100 ? { status } : {}),
  };
}

function whom(ctx: Parts, stream: Stream, target: EventTarget): Falls {
  const own = ours(stream, stream.issuer);
  switch (target.on) {
    case 'person': {
      const id = personOf(ctx, stream, target.who);
      return id === null ? NOBODY : { kind: 'person', id };
    }
    case 'session': {
      // Only who issues our tokens knows the session ids in them. Somebody else's id would void nothing and look like it did.
      const issues = own !== null && (ctx.snapshot().organisation?.issuers.includes(own) ?? false);
      if (issues) return { kind: 'other', voids: [{ kind: 'session', value: `${own} ${target.session}` }] };
      const id = target.who === null ? null : personOf(ctx, stream, target.who);
      return id === null ? NOBODY : { kind: 'person', id };
    }
    case 'grant':
      return own === null ? NOBODY : { kind: 'other', voids: [{ kind: 'grant', value: `${own} ${target.grant}` }] };
    case 'token': {
      const issuer = ours(stream, target.issuer);
      return issuer === null
        ? NOBODY
        : { kind: 'other', voids: [{ kind: 'token', value: `${issuer} ${target.tokenId}` }] };
    }
    case 'client': {
      // A void of a client counts for every issuer, so a stream may only name clients of its own.
      const known = own !== null && ctx.snapshot().agents.has(agentKey(own, target.client));
      return known ? { kind: 'other', voids: [{ kind: 'client', value: target.client }] } : NOBODY;
    }
    default:
      return target satisfies never;
  }
}

/** The one person that a subject means; null when there is none or when it is not certain. */
function personOf(ctx: Parts, stream: Stream, who: EventSubject): string | null {
  const { people } = ctx.snapshot();
  switch (who.format) {
    case 'iss_sub': {
      const issuer = ours(stream, who.issuer);
      if (issuer === null) return null;
      const subject = stream.subject?.replaceAll('{sub}', () => who.subject) ?? who.subject;
      return people.byIdentity(issuer, subject)?.id ?? null;
    }
    case 'email': {
      if (stream.unsafeEmailSubjects !== true) return null;
      const wanted = who.email.toLowerCase();
      let found: string | null = null;
      for (const { id, email } of people.all()) {
        if (email?.toLowerCase() !== wanted) continue;
        if (found !== null) return null;
        found = id;
      }
      return found;
    }
    case 'aliases': {
      const ids = new Set(who.identifiers.flatMap((one) => personOf(ctx, stream, one) ?? []));
      const [only, second] = ids;
      return only !== undefined && second === undefined ? only : null;
    }
    case 'opaque':
    case 'jwt_id':
    case 'complex':
    case 'other':
      return null;
    default:
      return who satisfies never;
  }
}
