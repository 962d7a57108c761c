/** The receiver by push over a real admin plane: what is refused and how it is recorded, what takes effect, and that it does so once. */
import { createHash, generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AdminContext } from '../../../src/admin/context.ts';
import { StoreFault } from '../../../src/store/state.ts';
import type { CommitRequest } from '../../../src/store/state.ts';
import { startPlane } from '../plane.ts';
import type { Plane } from '../plane.ts';
import type { IssuerKey, Members } from '../../support/issuer.ts';
import { AUDIENCE, BEARER, CAEP, OAUTH, RISC, SSF, issSub, push, startTransmitter } from './transmitter.ts';
import type { EventTransmitter } from './transmitter.ts';

let plane: Plane;
let sender: EventTransmitter;
/** Between the plane and its store and log: set by a test, taken away by it. */
const faults: { commit: (() => void) | null; audit: (() => void) | null; commits: CommitRequest[] } = {
  commit: null,
  audit: null,
  commits: [],
};

beforeAll(async () => {
  sender = await startTransmitter();
  plane = await startPlane({
    wrap: (ctx: AdminContext): AdminContext => ({
      ...ctx,
      state: {
        ...ctx.state,
        commit: async (request) => {
          faults.commit?.();
          faults.commits.push(request);
          return ctx.state.commit(request);
        },
      },
      audit: {
        ...ctx.audit,
        log: {
          ...ctx.audit.log,
          record: async (entry) => {
            faults.audit?.();
            return ctx.audit.log.record(entry);
          },
        },
      },
    }),
  });
  await plane.seed([
    plane.put('event_stream', 'idp', sender.stream()),
    plane.put('event_stream', 'off', sender.stream({ state: 'disabled' })),
  ]);
});
afterAll(async () => {
  await plane?.close();
  await sender?.close();
});

const url = (stream = 'idp'): string => `${plane.url}/events/${stream}`;
const dana = (): Members => issSub(plane.issuer.issuer, 'dana');
const revoked = (more: Members = {}): string => sender.event(`${CAEP}session-revoked`, {}, { ...dana(), ...more });
const lastEntry = async (what: string) =>
  (await plane.entries('admin')).filter(({ event }) => event?.['what'] === what).at(-1)?.event;
const voids = (): string[] =>
  faults.commits.flatMap(({ writes }) =>
    writes.flatMap(({ kind, body }) => {
      const subject = body?.['subject'] as { kind: string; value: string } | undefined;
      return kind === 'void' && subject ? [`${subject.kind} ${subject.value}`] : [];
    }),
  );

describe('what is refused', () => {
  const other = (): IssuerKey => {
    const pair = generateKeyPairSync('rsa', { modulusLength: 2048 });
    return { kid: sender.issuer.currentKey().kid, algorithm: 'RS256', ...pair };
  };
  const type = `${CAEP}session-revoked`;
  const made = (claims: Members, header: Members = {}, options = {}): string =>
    sender.sign({ ...sender.claims(type, {}, dana()), ...claims }, header, options);
  const flip = (token: string, part: number): string => {
    const parts = token.split('.');
    const bytes = Buffer.from(parts[part]!, 'base64url');
    bytes[Math.floor(bytes.length / 2)]! ^= 1;
    parts[part] = bytes.toString('base64url');
    return parts.join('.');
  };

  const CASES: ReadonlyArray<readonly [string, () => string, code: string, said: RegExp]> = [
    ['no typ', () => made({}, { typ: undefined }), 'invalid_request', /typ/],
    ['typ of an ordinary JWT', () => made({}, { typ: 'JWT' }), 'invalid_request', /typ/],
    ['typ of an access token', () => made({}, { typ: 'at+jwt' }), 'invalid_request', /typ/],
    ['typ in another case', () => made({}, { typ: 'SecEvent+JWT' }), 'invalid_request', /typ/],
    ['alg none without a signature', () => made({}, { alg: 'none' }, { unsigned: true }), 'invalid_key', /alg/],
    ['alg none with the signature left', () => made({}, { alg: 'none' }), 'invalid_key', /alg/],
    ['an algorithm that the record does not list', () => made({}, { alg: 'PS256' }), 'invalid_key', /alg/],
    [
      'HMAC with the public key as the secret',
      () =>
        made(
          {},
          { alg: 'HS256' },
          { hmacSecret: sender.issuer.currentKey().publicKey.export({ format: 'pem', type: 'spki' }) as string },
        ),
      'invalid_key',
      /alg/,
    ],
    ['another key under the same id', () => made({}, {}, { key: other() }), 'invalid_key', /signature/],
    ['a key id that nobody published', () => made({}, { kid: 'nobody' }), 'invalid_key', /no such key/],
    ['no key id', () => made({}, { kid: undefined }), 'invalid_key', /kid/],
    ['a key that comes along', () => made({}, { jwk: { kty: 'RSA' } }), 'invalid_request', /jwk/],
    ['a key address that comes along', () => made({}, { jku: 'https://evil.example/jwks' }), 'invalid_request', /jku/],
    ['a critical extension', () => made({}, { crit: ['x'], x: 1 }), 'invalid_request', /crit/],
    ['no signature', () => made({}, {}, { unsigned: true }), 'invalid_key', /signature/],
    ['a flipped bit in the claims', () => flip(made({ txn: 'a'.repeat(64) }), 1), 'invalid_', /./],
    ['a flipped bit in the signature', () => flip(made({}), 2), 'invalid_key', /signature/],
    ['another issuer', () => made({ iss: 'https://evil.example' }), 'invalid_issuer', /iss/],
    ['the issuer with a slash more', () => made({ iss: `${sender.issuer.issuer}/` }), 'invalid_issuer', /iss/],
    ['no issuer', () => made({ iss: undefined }), 'invalid_issuer', /iss/],
    ['another audience', () => made({ aud: 'https://other.example' }), 'invalid_audience', /aud/],
    ['our audience among others', () => made({ aud: [AUDIENCE, 'https://other.example'] }), 'invalid_audience', /aud/],
    ['no audience', () => made({ aud: undefined }), 'invalid_audience', /aud/],
    ['an empty list of audiences', () => made({ aud: [] }), 'invalid_audience', /aud/],
    [
      'two events',
      () => made({ events: { [type]: {}, [`${RISC}account-disabled`]: {} } }),
      'invalid_request',
      /exactly one/,
    ],
    ['no event', () => made({ events: {} }), 'invalid_request', /exactly one/],
    ['events as a list', () => made({ events: [type] }), 'invalid_request', /object/],
    ['an event that is no object', () => made({ events: { [type]: 'yes' } }), 'invalid_request', /object/],
    ['no jti', () => made({ jti: undefined }), 'invalid_request', /jti/],
    ['a jti that is a number', () => made({ jti: 7 }), 'invalid_request', /jti/],
    ['a jti of a thousand characters', () => made({ jti: 'x'.repeat(1000) }), 'invalid_request', /jti/],
    ['no iat', () => made({ iat: undefined }), 'invalid_request', /iat/],
    ['an iat of next week', () => made({ iat: sender.nowSeconds() + 604_800 }), 'invalid_request', /future/],
    ['an iat of last month', () => made({ iat: sender.nowSeconds() - 30 * 86_400 }), 'invalid_request', /seven days/],
    ['a subject that is no object', () => made({ sub_id: 'dana' }), 'invalid_request', /subject/],
    [
      'a subject without its members',
      () => made({ sub_id: { format: 'iss_sub', iss: 'x' } }),
      'invalid_request',
      /subject/,
    ],
    [
      'two subjects that differ',
      () => made({ events: { [type]: { subject: { format: 'iss_sub', iss: plane.issuer.issuer, sub: 'omar' } } } }),
      'invalid_request',
      /differ/,
    ],
    [
      'an access token that the transmitter signed',
      () => sender.issuer.mint({ aud: AUDIENCE, scope: 'admin:write' }),
      'invalid_request',
      /typ/,
    ],
    ['an access token of our own issuer', () => plane.tokenOf('ada'), 'invalid_request', /typ/],
    [
      'an ID token relabelled as an event',
      () => sender.issuer.mint({ aud: AUDIENCE }, { typ: 'secevent+jwt' }),
      'invalid_request',
      /events/,
    ],
    ['four segments', () => `${made({})}.e30`, 'invalid_request', /JWS/],
    [
      'two JSON members of one name',
      () =>
        sender.issuer.mintRaw(
          `{"alg":"RS256","typ":"secevent+jwt","kid":"${sender.issuer.currentKey().kid}"}`,
          `{"iss":"${sender.issuer.issuer}","iss":"x"}`,
        ),
      'invalid_request',
      /JWS/,
    ],
    ['text', () => 'hello', 'invalid_request', /JWS/],
    ['nothing', () => '', 'invalid_request', /./],
    ['JSON', () => JSON.stringify(sender.claims(type)), 'invalid_request', /JWS/],
  ];

  test.for(CASES)('%s', async ([, make, code, said]) => {
    const revision = plane.snapshot().revision;
    const before = (await plane.entries('admin')).length;
    const { status, body } = await push(url(), make());
    expect([status, body.err]).toEqual([400, code === 'invalid_' ? body.err : code]);
    expect(body.err).toMatch(new RegExp(`^${code}`));
    expect(body.description).toMatch(said);
    const entries = await plane.entries('admin');
    expect(entries.length).toBe(before + 1);
    expect(entries.at(-1)?.event).toMatchObject({ what: 'event.refused', stream: 'idp', code: body.err });
    expect(plane.snapshot().revision).toBe(revision);
  });

  test('the unchanged token of these cases is taken', async () => {
    expect((await push(url(), made({}))).status).toBe(202);
  });

  test.for([
    ['as JSON', 'application/json'],
    ['as a plain JWT', 'application/jwt'],
    ['without a type', undefined],
  ] as const)('a body sent %s', async ([, type]) => {
    const { status, body } = await push(url(), revoked(), { 'content-type': type });
    expect([status, body.err]).toEqual([400, 'invalid_request']);
    expect(body.description).toContain('application/secevent+jwt');
    expect(await lastEntry('event.refused')).toMatchObject({ code: 'invalid_request' });
  });

  test('a body larger than 64 KiB', async () => {
    const { status, body } = await push(url(), revoked({ txn: 'x'.repeat(70_000) }));
    expect([status, body.err, body.description]).toEqual([400, 'invalid_request', 'The token is larger than 64 KiB.']);
  });

  test.for([
    ['no bearer token', 'idp', undefined],
    ['another bearer token', 'idp', 'Bearer nonsense-nonsense-nonsense'],
    ['a token of the admin API', 'idp', 'admin'],
    ['a stream that is not there', 'nobody', `Bearer ${BEARER}`],
    ['a stream that is off', 'off', `Bearer ${BEARER}`],
  ] as const)('%s, before the body is read, in words that tell nothing', async ([, stream, authorization]) => {
    const bearer = authorization === 'admin' ? `Bearer ${plane.tokenOf('ada')}` : authorization;
    const { status, body } = await push(url(stream), revoked(), { authorization: bearer });
    expect([status, body]).toEqual([
      400,
      { err: 'authentication_failed', description: 'The bearer token is not one of this stream, or it has ended.' },
    ]);
  });

  test('a bearer token that has ended', async () => {
    const tokens = [
      {
        id: 't',
        sha256: createHash('sha256').update(BEARER).digest('hex'),
        createdAt: 0,
        expiresAt: Date.now() - 1,
        by: 'ada',
      },
    ];
    await plane.seed([plane.put('event_stream', 'ended', sender.stream({ delivery: { method: 'push', tokens } }))]);
    expect((await push(url('ended'), revoked())).body.err).toBe('authentication_failed');
  });

  test('an RSA key of 1024 bits', async () => {
    const weak = generateKeyPairSync('rsa', { modulusLength: 1024 });
    const key: IssuerKey = { kid: 'weak', algorithm: 'RS256', ...weak };
    sender.issuer.setPublished([
      { ...weak.publicKey.export({ format: 'jwk' }), kid: 'weak', alg: 'RS256', use: 'sig' },
    ]);
    await plane.seed([plane.put('event_stream', 'weak', sender.stream())]);
    const { body } = await push(url('weak'), sender.sign(sender.claims(type, {}, dana()), {}, { key }));
    sender.issuer.setPublished(null);
    expect([body.err, body.description]).toEqual(['invalid_key', expect.stringContaining('2048 bits')]);
  });

  test('503, not 400, when the key set cannot be read: the event must come again', async () => {
    sender.issuer.setMode('down');
    await plane.seed([plane.put('event_stream', 'down', sender.stream())]);
    const first = await push(url('down'), revoked());
    sender.issuer.setMode('up');
    expect(first.status).toBe(503);
  });

  test('a key that was rotated in is found, one that was withdrawn is not', async () => {
    await plane.seed([plane.put('event_stream', 'rotating', sender.stream())]);
    const old = sender.issuer.currentKey();
    expect((await push(url('rotating'), revoked())).status).toBe(202);
    sender.issuer.rotate();
    await plane.seed([plane.put('event_stream', 'rotating', sender.stream({ title: 'asks anew' }))]);
    expect((await push(url('rotating'), revoked())).status).toBe(202);
    sender.issuer.rotate({ withdraw: true });
    await plane.seed([plane.put('event_stream', 'rotating', sender.stream({ title: 'asks anew again' }))]);
    const withOld = sender.sign(sender.claims(type, {}, dana()), {}, { key: old });
    expect((await push(url('rotating'), withOld)).body.err).toBe('invalid_key');
    await plane.seed([plane.put('event_stream', 'idp', sender.stream())]);
  });
});

describe('what takes effect', () => {
  const EFFECTS: ReadonlyArray<readonly [string, string, () => Members, () => Members, () => readonly string[]]> = [
    ['session-revoked of a person', `${CAEP}session-revoked`, () => ({}), dana, () => ['person dana']],
    ['sessions-revoked', `${RISC}sessions-revoked`, () => ({}), dana, () => ['person dana']],
    [
      'a credential that was revoked',
      `${CAEP}credential-change`,
      () => ({ change_type: 'revoke' }),
      dana,
      () => ['person dana'],
    ],
    [
      'a credential that was changed',
      `${CAEP}credential-change`,
      () => ({ change_type: 'update' }),
      dana,
      () => ['person dana'],
    ],
    ['a further credential', `${CAEP}credential-change`, () => ({ change_type: 'create' }), dana, () => []],
    ['changed claims', `${CAEP}token-claims-change`, () => ({ claims: { role: 'x' } }), dana, () => ['person dana']],
    [
      'less assurance',
      `${CAEP}assurance-level-change`,
      () => ({ change_direction: 'decrease' }),
      dana,
      () => ['person dana'],
    ],
    ['more assurance', `${CAEP}assurance-level-change`, () => ({ change_direction: 'increase' }), dana, () => []],
    [
      'a device that does not comply',
      `${CAEP}device-compliance-change`,
      () => ({ current_status: 'not-compliant' }),
      dana,
      () => [],
    ],
    ['a compromised credential', `${RISC}credential-compromise`, () => ({}), dana, () => ['person dana']],
    [
      'a credential that must be changed',
      `${RISC}account-credential-change-required`,
      () => ({}),
      dana,
      () => ['person dana'],
    ],
    ['an identifier of somebody else now', `${RISC}identifier-recycled`, () => ({}), dana, () => []],
    ['an opt-out', `${RISC}opt-out-effective`, () => ({}), dana, () => []],
    [
      'the subject inside the event, as before SSF 1.0',
      `${CAEP}session-revoked`,
      () => ({ subject: { subject_type: 'iss-sub', iss: plane.issuer.issuer, sub: 'dana' } }),
      () => ({}),
      () => ['person dana'],
    ],
    [
      'a session of a transmitter that issues no tokens here, with its person',
      `${CAEP}session-revoked`,
      () => ({}),
      () => ({
        sub_id: {
          format: 'complex',
          user: { format: 'iss_sub', iss: plane.issuer.issuer, sub: 'dana' },
          session: { format: 'opaque', id: 'their-session' },
        },
      }),
      () => ['person dana'],
    ],
    [
      'aliases that mean one person',
      `${CAEP}session-revoked`,
      () => ({}),
      () => ({
        sub_id: {
          format: 'aliases',
          identifiers: [
            { format: 'email', email: 'dana@example.com' },
            { format: 'iss_sub', iss: plane.issuer.issuer, sub: 'dana' },
          ],
        },
      }),
      () => ['person dana'],
    ],
    [
      'one token by its id',
      `${CAEP}token-claims-change`,
      () => ({}),
      () => ({ sub_id: { format: 'jwt_id', iss: plane.issuer.issuer, jti: 'j1' } }),
      () => [`token ${plane.issuer.issuer} j1`],
    ],
    [
      'an unknown person',
      `${CAEP}session-revoked`,
      () => ({}),
      () => issSub(plane.issuer.issuer, 'nobody-here'),
      () => [],
    ],
    [
      'an unknown issuer',
      `${CAEP}session-revoked`,
      () => ({}),
      () => issSub('https://other.example', 'dana'),
      () => [],
    ],
    [
      'an e-mail address, unless the record allows it',
      `${CAEP}session-revoked`,
      () => ({}),
      () => ({ sub_id: { format: 'email', email: 'dana@example.com' } }),
      () => [],
    ],
    [
      'a phone number',
      `${CAEP}session-revoked`,
      () => ({}),
      () => ({ sub_id: { format: 'phone_number', phone_number: '+1' } }),
      () => [],
    ],
    ['no subject', `${CAEP}session-revoked`, () => ({}), () => ({}), () => []],
    [
      'a client of another issuer',
      `${OAUTH}client-disabled`,
      () => ({}),
      () => ({ sub_id: { format: 'opaque', id: 'agent-7' } }),
      () => [],
    ],
    ['a type that nobody knows', 'https://example.com/event-type/unheard-of', () => ({}), dana, () => []],
    ['a type that is a member of every object', 'constructor', () => ({}), dana, () => []],
  ];

  test.for(EFFECTS)('%s', async ([, type, members, subject, wanted]) => {
    faults.commits = [];
    const token = sender.event(type, members(), subject());
    expect(await push(url(), token)).toMatchObject({ status: 202, text: '' });
    expect(voids()).toEqual(wanted());
    const entry = (await plane.entries('admin')).at(-1)?.event;
    expect(entry).toMatchObject({ stream: 'idp', event: type, what: expect.stringMatching(/^event\./) });
    expect(entry?.['jti']).toBeTypeOf('string');
  });

  test('our own authorization server: grants, clients, sessions by its own ids', async () => {
    const issuer = plane.issuer;
    await plane.seed([
      plane.put('event_stream', 'own', {
        ...sender.stream(),
        issuer: issuer.issuer,
        jwksUri: issuer.jwksUri,
        algorithms: ['ES256'],
      }),
    ]);
    const own = (type: string, members: Members, subject: Members): string =>
      issuer.mint(
        {
          sub: undefined,
          client_id: undefined,
          exp: undefined,
          aud: AUDIENCE,
          events: { [type]: members },
          ...subject,
        },
        { typ: 'secevent+jwt' },
      );
    faults.commits = [];
    const events = [
      own(`${OAUTH}token-revoked`, { grant_id: 'g1' }, {}),
      own(`${OAUTH}tokens-revoked`, {}, { sub_id: { format: 'opaque', id: 'agent-7' } }),
      own(`${CAEP}session-revoked`, {}, { sub_id: { format: 'opaque', id: 's1' } }),
      own(`${OAUTH}tokens-revoked`, {}, issSub(issuer.issuer, 'omar')),
    ];
    for (const token of events) expect((await push(url('own'), token)).status).toBe(202);
    expect(voids()).toEqual([
      `grant ${issuer.issuer} g1`,
      'client agent-7',
      `session ${issuer.issuer} s1`,
      'person omar',
    ]);
  });

  test('R5: tokens of before the event stay refused, tokens of after it are good', async () => {
    const happenedAt = sender.nowSeconds() - 3_600;
    const token = sender.event(
      `${CAEP}session-revoked`,
      { event_timestamp: happenedAt },
      issSub(plane.issuer.issuer, 'petra'),
    );
    expect((await push(url(), token)).status).toBe(202);
    const before = (iat: number): Promise<number> =>
      plane
        .raw('GET', '/api/v1/me', { authorization: `Bearer ${plane.tokenOf('petra', { iat, exp: iat + 600 })}` })
        .then(({ status }) => status);
    expect(plane.snapshot().voids?.get('person petra')).toBe(happenedAt * 1_000);
    expect(await before(sender.nowSeconds())).toBe(200);
    await push(url(), sender.event(`${CAEP}session-revoked`, {}, issSub(plane.issuer.issuer, 'petra')));
    expect(await before(sender.nowSeconds() - 10)).toBe(403);
  });

  test('R1: with 202 the effect is durable and in force on this node, for the very next request', async () => {
    for (let round = 0; round < 10; round++) {
      const bearer = plane.tokenOf('abel', { iat: sender.nowSeconds() - 2 });
      expect((await plane.raw('GET', '/api/v1/me', { authorization: `Bearer ${bearer}` })).status).toBe(
        round === 0 ? 200 : 403,
      );
      const happened = { event_timestamp: sender.nowSeconds() - 1 };
      expect(
        (await push(url(), sender.event(`${CAEP}session-revoked`, happened, issSub(plane.issuer.issuer, 'abel'))))
          .status,
      ).toBe(202);
      expect((await plane.raw('GET', '/api/v1/me', { authorization: `Bearer ${bearer}` })).status).toBe(403);
      expect(await plane.state.head()).toBe(plane.snapshot().revision);
    }
  });

  test('a time of the event in the future voids nothing that does not exist yet', async () => {
    faults.commits = [];
    const token = sender.event(`${CAEP}session-revoked`, { event_timestamp: sender.nowSeconds() + 86_400 }, dana());
    expect((await push(url(), token)).status).toBe(202);
    expect(plane.snapshot().voids?.get('person dana')).toBeLessThanOrEqual(Date.now());
  });

  test('disabled is inactive and void; enabled again only by the stream that disabled, and old tokens stay void', async () => {
    const aiko = issSub(plane.issuer.issuer, 'aiko');
    const before = plane.tokenOf('aiko', { iat: sender.nowSeconds() - 5 });
    expect((await push(url(), sender.event(`${RISC}account-disabled`, {}, aiko))).status).toBe(202);
    expect(stateOf(plane, 'aiko')).toBe('inactive');
    expect((await plane.raw('GET', '/api/v1/me', { authorization: `Bearer ${before}` })).status).toBe(403);
    await plane.seed([plane.put('event_stream', 'second', sender.stream())]);
    expect((await push(url('second'), sender.event(`${RISC}account-enabled`, {}, aiko))).status).toBe(202);
    expect(stateOf(plane, 'aiko')).toBe('inactive');
    expect((await push(url(), sender.event(`${RISC}account-enabled`, {}, aiko))).status).toBe(202);
    expect(stateOf(plane, 'aiko')).toBe('active');
    expect((await plane.raw('GET', '/api/v1/me', { authorization: `Bearer ${before}` })).status).toBe(403);
  });

  test('whom an administrator made inactive no stream makes active', async () => {
    const omar = plane.snapshot().people.byId('omar')!;
    const { id: _, ...body } = omar;
    await plane.seed([plane.put('person', 'omar', { ...body, state: 'inactive' }, `${omar.issuer} ${omar.subject}`)]);
    const token = sender.event(`${RISC}account-enabled`, {}, issSub(plane.issuer.issuer, 'omar'));
    expect((await push(url(), token)).status).toBe(202);
    expect(stateOf(plane, 'omar')).toBe('inactive');
  });

  test('issuers and subjects as the record maps them; an issuer that it does not name is nobody’s', async () => {
    await plane.seed([
      plane.put(
        'event_stream',
        'mapped',
        sender.stream({ issuers: { 'https://okta.example': plane.issuer.issuer }, subject: '{sub}a' }),
      ),
    ]);
    faults.commits = [];
    await push(url('mapped'), sender.event(`${CAEP}session-revoked`, {}, issSub('https://okta.example', 'dan')));
    await push(url('mapped'), sender.event(`${CAEP}session-revoked`, {}, issSub(plane.issuer.issuer, 'dan')));
    expect(voids()).toEqual(['person dana']);
  });

  test('an e-mail address names a person where the record allows it, and only if it is one', async () => {
    await plane.seed([plane.put('event_stream', 'mail', sender.stream({ unsafeEmailSubjects: true }))]);
    const { id: _, ...sven } = plane.snapshot().people.byId('sven')!;
    const mail = { sub_id: { format: 'email', email: 'Sven@Example.com' } };
    const write = (id: string, body: typeof sven) =>
      plane.put('person', id, { ...body, email: 'sven@example.com' }, `${body.issuer} ${body.subject}`);
    await plane.seed([write('sven', sven)]);
    faults.commits = [];
    await push(url('mail'), sender.event(`${CAEP}session-revoked`, {}, mail));
    expect(voids()).toEqual(['person sven']);
    await plane.seed([write('twin', { ...sven, subject: 'twin' })]);
    faults.commits = [];
    await push(url('mail'), sender.event(`${CAEP}session-revoked`, {}, mail));
    expect(voids()).toEqual([]);
  });

  test('verification is a contact and nothing else', async () => {
    await plane.seed([plane.put('event_stream', 'quiet', sender.stream({ silenceAfterMs: 60_000 }))]);
    expect(plane.snapshot().sources.get('quiet')?.contactAt).toBeNull();
    const before = (await plane.entries()).length;
    const token = sender.event(
      `${SSF}verification`,
      { state: 'abc' },
      { sub_id: { format: 'opaque', id: 'stream-1' } },
    );
    expect((await push(url('quiet'), token)).status).toBe(202);
    expect(plane.snapshot().sources.get('quiet')?.contactAt).toBeGreaterThan(Date.now() - 10_000);
    expect((await plane.entries()).length).toBe(before);
  });
});

describe('once', () => {
  test('twin: without the memory of ids the same token takes effect twice', async () => {
    const forgetful = await startPlane({
      wrap: (ctx) => ({
        ...ctx,
        state: {
          ...ctx.state,
          commit: (request) =>
            ctx.state.commit({ ...request, writes: request.writes.filter(({ kind }) => kind !== 'event_seen') }),
        },
      }),
    });
    try {
      await forgetful.seed([forgetful.put('event_stream', 'idp', sender.stream())]);
      const token = sender.event(`${CAEP}session-revoked`, {}, issSub(forgetful.issuer.issuer, 'dana'));
      for (const _ of [1, 2]) expect((await push(`${forgetful.url}/events/idp`, token)).status).toBe(202);
      const records = (await forgetful.state.load()).records.filter(({ kind }) => kind === 'void');
      expect(records.length).toBe(2);
    } finally {
      await forgetful.close();
    }
  });

  test('a token that comes again is acknowledged and changes nothing, also after a restart of the receiver', async () => {
    const token = sender.event(`${CAEP}session-revoked`, {}, dana());
    expect((await push(url(), token)).status).toBe(202);
    const revision = plane.snapshot().revision;
    faults.commits = [];
    expect((await push(url(), token)).status).toBe(202);
    expect((await push(url(), token)).status).toBe(202);
    expect(faults.commits).toEqual([]);
    expect(plane.snapshot().revision).toBe(revision);
    expect(await lastEntry('event.replayed')).toMatchObject({ stream: 'idp', event: `${CAEP}session-revoked` });
  });

  test('twenty copies at once make one change', async () => {
    const voidRecords = async (): Promise<number> =>
      (await plane.state.load()).records.filter(({ kind }) => kind === 'void').length;
    const before = await voidRecords();
    const token = sender.event(`${CAEP}session-revoked`, {}, dana());
    const answers = await Promise.all(Array.from({ length: 20 }, () => push(url(), token)));
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 202));
    expect((await voidRecords()) - before).toBe(1);
  });

  test('the same id from another stream is another event', async () => {
    faults.commits = [];
    const token = sender.event(`${CAEP}session-revoked`, {}, dana());
    await plane.seed([plane.put('event_stream', 'other', sender.stream())]);
    expect((await push(url(), token)).status).toBe(202);
    expect((await push(url('other'), token)).status).toBe(202);
    expect(voids()).toEqual(['person dana', 'person dana']);
  });

  test('CRASH before the answer: committed, not answered, sent again, done once', async () => {
    const token = sender.event(`${CAEP}session-revoked`, {}, dana());
    faults.commits = [];
    let failures = 1;
    faults.audit = () => {
      if (failures-- > 0) throw new Error('the log is gone');
    };
    expect((await push(url(), token)).status).toBe(503);
    faults.audit = null;
    expect(voids()).toEqual(['person dana']);
    expect((await push(url(), token)).status).toBe(202);
    expect(voids()).toEqual(['person dana']);
    expect(await lastEntry('event.replayed')).toMatchObject({ stream: 'idp' });
  });

  test('nothing is acknowledged that could not be committed', async () => {
    const token = sender.event(`${CAEP}session-revoked`, {}, dana());
    faults.commit = () => {
      throw new StoreFault('store_unavailable', 'gone');
    };
    const refused = await push(url(), token);
    faults.commit = null;
    expect([refused.status, refused.text]).toEqual([503, '']);
    expect((await push(url(), token)).status).toBe(202);
  });

  test('an event without effect is acknowledged only once its record is durable', async () => {
    const token = sender.event(`${RISC}opt-in`, {}, dana());
    faults.audit = () => {
      throw new Error('the log is gone');
    };
    expect((await push(url(), token)).status).toBe(503);
    faults.audit = null;
    expect((await push(url(), token)).status).toBe(202);
  });
});

const stateOf = (plane: Plane, id: string): string | undefined => plane.snapshot().people.byId(id)?.state;
