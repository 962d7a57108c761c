/**
 * One security event token, from its bytes to its effect: the same for push and poll (RFC 8935, 8936; TRUST.md R1, R5).
 * Promises: `accepted` is answered only after the effect is durable, in force on this node and in the audit log; a token that comes
 * again changes nothing and is accepted; a refusal is recorded with the code that its sender is told. What we could not do is `unavailable`.
 * CRASH between commit and answer: the token comes again and is known by its id.
 */
import { LRUCache } from 'lru-cache';
import { adminEntry } from '../../audit/entries.ts';
import { effectOf } from '../../directory/events/effect.ts';
import { EventStream } from '../../directory/records.ts';
import { eventVerifier } from '../../identity/security-event.ts';
import type { EventError, EventProblem, EventVerifier } from '../../identity/security-event.ts';
import { isFault } from '../../lib/fault.ts';
import { newId } from '../../lib/ids.ts';
import type { SecurityEvent } from '../../lib/security-event.ts';
import { guardedJson } from '../../upstream/dial.ts';
import { commitBy } from '../commit.ts';
import type { AdminContext } from '../context.ts';
import { consequenceOf, seenId } from './apply.ts';
import type { Stream } from './apply.ts';
import { contactWrite, noteContact } from './contact.ts';

export type Received =
  /** `again`: it was known already. */
  | { readonly kind: 'accepted'; readonly tokenId: string; readonly again: boolean }
  | { readonly kind: 'refused'; readonly code: EventError; readonly description: string }
  | { readonly kind: 'unavailable'; readonly description: string };

export interface EventReceiver {
  /** The stream as it is on record now; undefined when there is none that is active. */
  stream(id: string): Stream | undefined;
  /** Never rejects. Does not check the stream's bearer token: the caller has. */
  receive(stream: Stream, token: string): Promise<Received>;
  /** Also an empty answer to a poll is a word. Never rejects. */
  contact(stream: Stream): Promise<void>;
  /** Records what was refused before it was a token. Never rejects. */
  refused(stream: Stream, code: EventError, description: string): Promise<void>;
}

/** Of one stream in one minute; more is for later. */
const MAX_PER_MINUTE = 6_000;
/** Refusals of one stream that are recorded one by one in a minute. */
const MAX_REFUSALS_PER_MINUTE = 60;
const TRIES = 4;

export function eventReceiver(ctx: AdminContext): EventReceiver {
  const { clock } = ctx;
  const verifiers = new Map<string, { readonly revision: number; readonly verifier: EventVerifier }>();
  /** Ids of events that changed nothing and are remembered nowhere else: spares the log a second entry. */
  const noted = new LRUCache<string, true>({ max: 5_000 });
  const counts = new LRUCache<string, { readonly minute: number; count: number }>({ max: 1_000 });

  const within = (key: string, most: number): boolean => {
    const minute = Math.floor(clock.now() / 60_000);
    let entry = counts.get(key);
    if (entry?.minute !== minute) counts.set(key, (entry = { minute, count: 0 }));
    return ++entry.count <= most;
  };

  function verifierOf(stream: Stream): EventVerifier {
    const revision = ctx.follower.records.get('event_stream', ctx.org, stream.id)?.revision ?? 0;
    const known = verifiers.get(stream.id);
    if (known?.revision === revision) return known.verifier;
    const { issuer, audience, jwksUri, algorithms, allowedNetworks } = stream;
    const verifier = eventVerifier(
      { issuer, audience, jwksUri, algorithms },
      (url) => guardedJson(url, { rule: { allowedNetworks, requireHttps: true }, timeoutMs: 5_000, maxBytes: 262_144 }),
      clock,
    );
    verifiers.set(stream.id, { revision, verifier });
    return verifier;
  }

  async function record(what: string, stream: Stream, facts: Readonly<Record<string, string>>): Promise<boolean> {
    const ref = newId('ref', clock);
    const event = { ...facts, source: `event_stream:${stream.id}`, what, subject: `event_stream/${stream.id}` };
    try {
      await ctx.audit.log.record(adminEntry(ctx.audit.log.stamp({ ref }), event));
      return true;
    } catch (fault) {
      ctx.log.error({ ref, what, stream: stream.id, err: fault }, 'a security event could not be recorded');
      return false;
    }
  }

  async function refused(stream: Stream, code: EventError, description: string): Promise<void> {
    ctx.log.warn({ stream: stream.id, code, description }, 'security event refused');
    if (within(`refused ${stream.id}`, MAX_REFUSALS_PER_MINUTE))
      await record('event.refused', stream, { stream: stream.id, code, description });
  }

  /** True when the id is remembered and what it brought is in force here. */
  async function knownAlready(stream: Stream, event: SecurityEvent): Promise<boolean> {
    const seen = ctx.follower.records.get('event_seen', ctx.org, seenId(stream.id, event.tokenId));
    if (seen === undefined) return false;
    // The record is readable a moment before the snapshot that carries the effect decides.
    await ctx.follower.advanceTo(seen.revision);
    return true;
  }

  async function apply(stream: Stream, event: SecurityEvent): Promise<Received> {
    const accepted = (again: boolean): Received => ({ kind: 'accepted', tokenId: event.tokenId, again });
    const effect = effectOf(event);
    if (effect.act === 'contact') {
      await noteContact(ctx, stream.id);
      return accepted(false);
    }
    const key = `${stream.id} ${event.tokenId}`;
    for (let tries = 0; tries < TRIES; tries++) {
      if (noted.has(key)) return accepted(true);
      if (await knownAlready(stream, event)) {
        await record('event.replayed', stream, { stream: stream.id, event: event.type, jti: event.tokenId });
        noted.set(key, true);
        return accepted(true);
      }
      const { what, subject, facts, writes } = await consequenceOf(ctx, stream, event, effect);
      if (writes.length === 0) {
        if (!(await record(what, stream, facts as Record<string, string>))) break;
        noted.set(key, true);
        await noteContact(ctx, stream.id);
        return accepted(false);
      }
      const contact = contactWrite(ctx, stream.id);
      const done = await commitBy(
        ctx,
        { name: `event_stream:${stream.id}`, actor: null, ref: newId('ref', clock) },
        {
          what,
          subject,
          facts,
          reason: `security event ${event.name ?? event.type}`,
          writes: contact === null ? writes : [...writes, contact],
        },
      );
      if (done.ok) return accepted(false);
      if (done.error.code !== 'conflict') return { kind: 'unavailable', description: done.error.message };
      // Another delivery of the same token, or a change of the same person: look again at what is there now.
      await ctx.follower.advanceTo(await ctx.state.head());
    }
    return { kind: 'unavailable', description: 'The event could not be recorded now.' };
  }

  function streamNow(id: string): Stream | undefined {
    const record = ctx.follower.records.get('event_stream', ctx.org, id);
    const stream = record === undefined ? undefined : EventStream.safeParse(record.body).data;
    return stream?.state === 'active' ? { ...stream, id } : undefined;
  }

  return {
    stream: streamNow,
    async receive({ id }, token) {
      // As it is when the token is there: while it came, its keys may have been replaced, or all of it taken back.
      const stream = streamNow(id);
      if (stream === undefined)
        return { kind: 'refused', code: 'access_denied', description: 'the stream is not active any more' };
      if (!within(`all ${stream.id}`, MAX_PER_MINUTE))
        return { kind: 'unavailable', description: 'Too many events in this minute.' };
      // An old picture may not know the person that the event is about.
      if (!ctx.follower.isFresh(ctx.facts.freshnessLimitMs))
        return { kind: 'unavailable', description: 'This node does not know the newest state.' };
      try {
        const verified = await verifierOf(stream).verify(token);
        if (verified.ok) return await apply(stream, verified.value);
        const problem: EventProblem = verified.error;
        if (problem.kind === 'refused') await refused(stream, problem.code, problem.description);
        return problem;
      } catch (fault) {
        ctx.log.error(
          { stream: stream.id, code: isFault(fault) ? fault.code : 'unexpected', err: fault },
          'security event failed',
        );
        return { kind: 'unavailable', description: 'The event could not be taken in now.' };
      }
    },
    async contact(stream) {
      await noteContact(ctx, stream.id).catch((fault: unknown) =>
        ctx.log.warn({ stream: stream.id, err: fault }, 'a contact could not be recorded'),
      );
    },
    refused,
  };
}
