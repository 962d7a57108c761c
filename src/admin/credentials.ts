/**
 * Credentials towards servers as governed identities: register, give a value, review, enable, suspend, retire. A value comes in once and never
 * goes out: it is sealed before it is stored, and what stands in records, answers, entries and findings is a keyed fingerprint (AN-12).
 * Enabled is only what ends in time, is of its servers' environment and serves one server, or has an exception that ends (NH-03, NH-07, NH-08);
 * somebody else than whoever wrote it enables it. A new value of an enabled one is everyday work: it is in use with the commit.
 */
import { z } from 'zod';
import { ownerStands } from '../directory/owners.ts';
import {
  Credential,
  CredentialId,
  SealedSecret,
  aroundProblems,
  endOf,
  inUse,
  problemsOf,
  sealedSecretId,
  type KnownCredential,
} from '../inventory/credentials.ts';
import { checkTransition, missingFor, worksIn, type Missing } from '../inventory/lifecycle.ts';
import { Server } from '../inventory/records.ts';
import { isFault } from '../lib/fault.ts';
import { newId } from '../lib/ids.ts';
import { err, ok, type Result } from '../lib/result.ts';
import type { Write } from '../store/state.ts';
import { commitChange, expected } from './commit.ts';
import type { AdminContext } from './context.ts';
import { conflict, invalid, notFound, type Problem } from './problem.ts';
import { itemOf, itemsOf, type Item } from './records.ts';
import { handler, Reason, type Ask } from './route.ts';
import { somebodyElse } from './second-person.ts';

/** Values of before that stay readable, for whoever has to take a rotation back. */
const KEPT_VERSIONS = 2;

export const listCredentials = handler({
  run: async ({ ctx }) => ok({ body: { credentials: itemsOf(ctx, 'credential', Credential).map(shown) } }),
});

export const getCredential = handler({
  run: async ({ ctx, params }) => {
    const id = params['credential'] ?? '';
    const credential = itemOf(ctx, 'credential', id, Credential);
    if (credential === undefined) return err(notFound('credential', id));
    return ok({
      body: { ...credential, endsAt: endOf(credential), lacks: credentialLacks(ctx, id, credential) },
      revision: credential.revision,
    });
  },
});

/** `by` of an exception is whoever writes it; state and values are not written here. */
const Written = Credential.omit({ state: true, versions: true, sharing: true }).extend({
  sharing: Credential.shape.sharing.unwrap().omit({ by: true }).exactOptional(),
});

/** What a reviewer agreed to: a change of it goes before one again. */
const reviewed = ({ servers, environment, source, sharing, maxAgeDays }: Omit<Credential, 'versions'>): string =>
  JSON.stringify([servers.toSorted(), environment, source, sharing?.reason, sharing?.until, maxAgeDays]);

export const putCredential = handler({
  body: z.strictObject({ reason: Reason, credential: Written }),
  run: async (ask) => {
    const { ctx, body, params, seen, who } = ask;
    const named = CredentialId.safeParse(params['credential']);
    if (!named.success)
      return err(
        invalid(
          'credential',
          'This is not an id of a credential.',
          'Use 1 to 63 lower-case letters, digits and inner hyphens.',
        ),
      );
    const id = named.data;
    const before = itemOf(ctx, 'credential', id, Credential);
    const revision = expected(seen, before?.revision);
    if (!revision.ok) return revision;
    const { sharing, ...rest } = body.credential;
    const same = before?.sharing !== undefined && sameSharing(before.sharing, sharing);
    const next = {
      ...rest,
      ...(sharing !== undefined && { sharing: same ? before.sharing! : { ...sharing, by: who.person } }),
      // A value of one place is none of another.
      versions: before !== undefined && same_(before.source, rest.source) ? before.versions : [],
    };
    const kept = before !== undefined && reviewed(before) === reviewed({ ...next, state: before.state });
    const state = before === undefined || before.state === 'draft' ? 'draft' : kept ? before.state : 'in_review';
    const moved = checkTransition('credential', before?.state ?? null, state);
    if (moved !== null || before?.state === 'retired')
      return err(
        conflict(
          'credential_transition',
          sentence(moved ?? 'a retired credential is not written any more'),
          'Register it under another id.',
        ),
      );
    const credential: Credential = { ...next, state };
    // What works keeps everything that had to be said of it, and somebody who answers for it.
    const problems =
      shapeProblems(credential, ctx.clock.now()) ??
      (worksIn('credential', state)
        ? refusal(lifeLacks(ctx, credential), 'An enabled credential does not lose what it was enabled by')
        : null);
    if (problems !== null) return err(problems);
    return commitCredential(ask, id, credential, revision.value, {
      // Nobody finds them any more: they go with the record that named them.
      writes: credential.versions.length === 0 ? removals(ctx, id, before?.versions ?? []) : [],
      what: before === undefined ? 'credential.registered' : 'credential.changed',
      reason: body.reason,
      ...(before !== undefined && { before }),
    });
  },
});

const same_ = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
const sameSharing = (
  before: NonNullable<Credential['sharing']>,
  now: { readonly reason: string; readonly until: number } | undefined,
): boolean => before.reason === now?.reason && before.until === now.until;

function shapeProblems({ servers, sharing }: Credential, now: number): Problem | null {
  if (new Set(servers).size !== servers.length)
    return invalid('credential.servers', 'One server is named twice.', 'Name each server once.');
  if (sharing !== undefined && sharing.until <= now)
    return invalid('credential.sharing.until', 'The exception would be over already.', 'Give a time in the future.');
  return null;
}

const ExpiresAt = z.number().int().nullable().default(null).describe('ms since the epoch; null: it does not end');

export const addCredentialVersion = handler({
  body: z.strictObject({
    reason: Reason,
    /** Of a sealed credential. A reference is read instead. */
    value: z.string().min(1).max(65_536).exactOptional(),
    expiresAt: ExpiresAt,
  }),
  run: async (ask) => {
    const { ctx, params, body, who, seen } = ask;
    const id = params['credential'] ?? '';
    const before = itemOf(ctx, 'credential', id, Credential);
    if (before === undefined) return err(notFound('credential', id));
    const at = seen.kind === 'unsaid' ? ok(before.revision) : expected(seen, before.revision);
    if (!at.ok) return at;
    const { id: _, revision, ...credential } = before;
    if (credential.state === 'retired')
      return err(conflict('credential_state', 'A retired credential gets no value.', 'Register it under another id.'));
    const now = ctx.clock.now();
    if (body.expiresAt !== null && body.expiresAt <= now)
      return err(invalid('expiresAt', 'The value would have ended already.', 'Give a time in the future.'));
    const given = await valueOf(ask, credential, body.value);
    if (!given.ok) return given;
    const { fingerprint, ends } = given.value;
    const version = newId('ver', ctx.clock);
    const expiresAt = earliest(body.expiresAt, ends);
    const known = inUse(credential);
    if (known?.fingerprint === fingerprint && known.expiresAt === expiresAt)
      return err(
        conflict(
          'credential_version',
          'This value is in use already.',
          'Make a new one at its issuer, then hand it in.',
        ),
      );
    const versions = [...credential.versions, { id: version, fingerprint, at: now, by: who.person, expiresAt }].slice(
      -10,
    );
    const next: Credential = { ...credential, versions };
    // What works keeps every rule it was enabled by.
    if (worksIn('credential', next.state)) {
      const refused = refusal(
        problemsOf({ ...next, id }, others(ctx, id), serverOf(ctx), now).map(asMissing),
        'This value cannot be taken',
      );
      if (refused !== null) return err(refused);
    }
    const writes: Write[] = [];
    if (body.value !== undefined) {
      const jwe = await ctx.credentials.seal(body.value, id, version);
      writes.push({
        kind: 'sealed_secret',
        org: ctx.org,
        id: sealedSecretId(id, version),
        body: { jwe },
        expectedRevision: null,
      });
    }
    const over = credential.versions.slice(0, -(KEPT_VERSIONS - 1));
    return commitCredential(ask, id, next, revision, {
      what: 'credential.rotated',
      reason: body.reason,
      before,
      writes: [...writes, ...removals(ctx, id, over)],
      facts: { version, ...(expiresAt !== null && { expiresAt }) },
      status: 201,
    });
  },
});

const earliest = (a: number | null, b: number | null): number | null =>
  a === null ? b : b === null ? a : Math.min(a, b);

/** The value that is meant, as its fingerprint: handed in, or read where the reference leads. */
async function valueOf(
  { ctx, ref, params }: Ask<unknown, unknown>,
  { source }: Pick<Credential, 'source'>,
  value: string | undefined,
): Promise<Result<{ readonly fingerprint: string; readonly ends: number | null }, Problem>> {
  if (source.kind === 'sealed') {
    if (value === undefined)
      return err(invalid('value', 'A sealed credential needs its value.', 'Send it in `value`.'));
    if (value.includes('\0')) return err(invalid('value', 'It holds a NUL character.', 'Send it as it was given.'));
    return ok({ fingerprint: ctx.credentials.fingerprint(value), ends: null });
  }
  if (value !== undefined)
    return err(
      invalid(
        'value',
        'The value of this credential lies elsewhere.',
        `Change it at ${source.reference}, and leave out value.`,
      ),
    );
  try {
    const { fingerprint, expiresAt } = await ctx.credentials.inspect(source.reference);
    return ok({ fingerprint, ends: expiresAt });
  } catch (error) {
    if (!isFault(error)) throw error;
    ctx.log.warn(
      { ref, credential: params['credential'], code: error.code, detail: error.message },
      'the place of a credential cannot be read',
    );
    return err(
      error.code === 'secret_unavailable'
        ? {
            status: 503,
            code: error.code,
            message: 'The place of the value does not answer.',
            remedy: 'Try again later.',
          }
        : conflict(
            error.code,
            'The place that the reference names cannot be read.',
            'The process log has the cause under this reference: the name, the rights, or nothing is there.',
          ),
    );
  }
}

/** One handler per target state; which states may follow which is a table of the inventory. */
export const transitionCredential = (to: Credential['state']) =>
  handler({
    body: z.strictObject({ reason: Reason }),
    run: async (ask) => {
      const { ctx, params, body } = ask;
      const id = params['credential'] ?? '';
      const before = itemOf(ctx, 'credential', id, Credential);
      if (before === undefined) return err(notFound('credential', id));
      const { id: _, revision: at, ...credential } = before;
      // Whoever lets it work says which revision they read; taking it away must not fail because somebody wrote meanwhile.
      const revision = worksIn('credential', to) || ask.seen.kind !== 'unsaid' ? expected(ask.seen, at) : ok(at);
      if (!revision.ok) return revision;
      if (credential.state === to)
        return err(conflict('credential_state', `The credential is ${to} already.`, 'Nothing needs to be done.'));
      const moved = checkTransition('credential', credential.state, to);
      if (moved !== null) return err(conflict('credential_transition', sentence(moved), 'Move it there first.'));
      if (worksIn('credential', to)) {
        const refused =
          refusal(credentialLacks(ctx, id, credential), 'The credential cannot be enabled yet') ??
          (await somebodyElse(ctx, ask.who, 'credential', id, Credential));
        if (refused !== null) return err(refused);
      }
      const retired = to === 'retired';
      const done = await commitCredential(ask, id, { ...credential, state: to }, revision.value, {
        what: `credential.${to}`,
        reason: body.reason,
        before,
        // CRASH: nothing of it stays behind, because all of it is one commit.
        writes: retired ? removals(ctx, id, credential.versions) : [],
      });
      if (done.ok && (retired || to === 'suspended'))
        await ctx.credentials.revoke(id).catch((fault: unknown) => {
          ctx.log.error({ ref: ask.ref, credential: id, err: fault }, 'tokens of a credential could not be given back');
        });
      return done;
    },
  });

/** Everything that keeps it from being enabled, at once. */
export function credentialLacks(ctx: AdminContext, id: string, credential: Credential): readonly Missing[] {
  return [
    ...lifeLacks(ctx, credential),
    ...problemsOf({ ...credential, id }, others(ctx, id), serverOf(ctx), ctx.clock.now()).map(asMissing),
    ...aroundProblems(credential, itemsOf(ctx, 'server', Server)).map(asMissing),
  ];
}

const lifeLacks = (ctx: AdminContext, credential: Credential): readonly Missing[] =>
  missingFor('credential', 'enabled', credential, {
    now: ctx.clock.now(),
    ownerStands: (owner) => ownerStands(ctx.snapshot(), owner),
  });

const asMissing = ({ field, message }: { readonly field: string; readonly message: string }): Missing => ({
  field,
  message: `It ${message}.`,
  remedy: `Correct ${field}.`,
});

const others = (ctx: AdminContext, id: string): readonly KnownCredential[] =>
  itemsOf(ctx, 'credential', Credential).filter((one) => one.id !== id);

const serverOf =
  (ctx: AdminContext) =>
  (id: string): Server | undefined =>
    itemOf(ctx, 'server', id, Server);

function refusal(lacks: readonly Missing[], what: string): Problem | null {
  const [first] = lacks;
  if (first === undefined) return null;
  return invalid(
    `credential.${first.field}`,
    `${what}. ${lacks.map(({ field, message }) => `${field}: ${message}`).join(' ')}`,
    lacks.map(({ remedy }) => remedy).join(' '),
  );
}

/** Sealed values that are there, as deletions. The history keeps what was sealed, and nobody opens it once its key is destroyed. */
function removals(ctx: AdminContext, id: string, versions: Credential['versions']): Write[] {
  return versions
    .map((version) => sealedSecretId(id, version.id))
    .filter((sealed) => ctx.follower.records.get('sealed_secret', ctx.org, sealed) !== undefined)
    .map((sealed) => ({ kind: 'sealed_secret', org: ctx.org, id: sealed, body: null }));
}

const RESEAL_AT_ONCE = 100;

/** While calls go on: every sealed value lies under the first key afterwards, and the others may be taken out of the configuration. */
export const resealCredentials = handler({
  body: z.strictObject({ reason: Reason }),
  run: async (ask) => {
    const { ctx, body } = ask;
    const { newest } = ctx.credentials.keys;
    const unreadable: string[] = [];
    const writes: Write[] = [];
    for (const { id, revision, jwe } of itemsOf(ctx, 'sealed_secret', SealedSecret)) {
      const [credential = '', version = ''] = id.split('/');
      try {
        const next = await ctx.credentials.reseal(jwe, credential, version);
        if (next !== null)
          writes.push({ kind: 'sealed_secret', org: ctx.org, id, body: { jwe: next }, expectedRevision: revision });
      } catch (error) {
        if (!isFault(error)) throw error;
        unreadable.push(id);
      }
    }
    for (let at = 0; at < writes.length; at += RESEAL_AT_ONCE) {
      const some = writes.slice(at, at + RESEAL_AT_ONCE);
      const done = await commitChange(ask, {
        what: 'credentials.resealed',
        subject: `organisation/${ctx.org}`,
        reason: body.reason,
        writes: some,
        facts: { key: newest, values: some.length },
      });
      if (!done.ok) return done;
    }
    return ok({ body: { key: newest, resealed: writes.length, unreadable } });
  },
});

async function commitCredential(
  ask: Ask<unknown, unknown>,
  id: string,
  credential: Credential,
  expectedRevision: number | null,
  change: {
    readonly what: string;
    readonly reason: string;
    readonly before?: Item<Credential>;
    readonly writes?: readonly Write[];
    readonly facts?: Readonly<Record<string, string | number>>;
    readonly status?: 201;
  },
) {
  const { what, reason, before, writes = [], facts = {} } = change;
  const done = await commitChange(ask, {
    what,
    subject: `credential/${id}`,
    reason,
    facts: { ...facts, state: credential.state, stateBefore: before?.state ?? null, owner: credential.owner },
    writes: [{ kind: 'credential', org: ask.ctx.org, id, body: credential, expectedRevision }, ...writes],
  });
  if (!done.ok) return done;
  const version = inUse(credential);
  return ok({
    status: change.status ?? (before === undefined ? 201 : 200),
    body: {
      id,
      state: credential.state,
      version: version?.id ?? null,
      endsAt: endOf(credential),
      revision: done.value,
    },
    revision: done.value,
  } as const);
}

const shown = (credential: Item<Credential>) => {
  const { id, revision, title, owner, environment, riskTier, state, source, servers, versions } = credential;
  return {
    id,
    revision,
    title,
    owner,
    environment,
    ...(riskTier !== undefined && { riskTier }),
    state,
    source,
    servers,
    versions: versions.length,
    endsAt: endOf(credential),
  };
};

const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
