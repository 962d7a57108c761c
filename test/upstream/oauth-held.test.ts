/** CI-03: tokens that Remit got for itself are known to whoever looks for its secrets, for as long as they live. */
import { describe, expect, test } from 'vitest';
import { Server } from '../../src/inventory/records.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { manualClock } from '../../src/lib/clock.ts';
import { nobody } from '../../src/upstream/oauth/client.ts';
import { endpointOf } from '../../src/upstream/oauth/grants.ts';
import { MAX_CHARACTERS, MAX_TOKENS, heldTokens, tokenOf } from '../../src/upstream/oauth/held-tokens.ts';
import type { Link } from '../../src/upstream/oauth/link.ts';
import { ORG, type RigOptions, startRig, textTool } from '../support/rig.ts';
import { startAuthorizationSite, startProtected } from '../support/upstreams/protected.ts';
import { COMMON, consented, credentials, secretRef, startOAuthRig } from './oauth-rig.ts';

/** Of no known shape, and nothing that anybody writes. */
const token = (name: string): string => `${name}9fK2mQ7xR4tW8zL3vB6n`;
const answering = (n: number) => ({
  body: { access_token: token(`a${n}`), token_type: 'Bearer', expires_in: 60, refresh_token: token(`r${n}`) },
});

describe('what an account holds', () => {
  test('CI-03: what it was given, until it is replaced, and nothing after it was given back', async () => {
    const clock = manualClock(Date.now());
    const rig = await startOAuthRig({ clock });
    const auth = consented();
    let n = 0;
    rig.site.token = () => answering(++n);
    const held = (accounts = rig.accounts): string[] => [...accounts.held.values()].map(({ value }) => value);
    await rig.finish(auth, rig.callback((await rig.begin(auth)).url));
    expect([...rig.accounts.held.values()].map(({ id }) => id)).toEqual(['token:sink', 'token:sink']);
    expect(held()).toEqual([token('a1'), token('r1')]);
    clock.advance(50_000);
    const before = rig.accounts.held.revision();
    await rig.pass(auth);
    expect(held()).toEqual([token('a2'), token('r2')]);
    expect(rig.accounts.held.revision()).toBeGreaterThan(before);

    // One that is renewed without a new refresh token keeps the old one, in another process as well.
    rig.site.token = () => ({ body: { access_token: token('a3'), token_type: 'Bearer', expires_in: 60 } });
    const later = rig.restarted();
    expect(held(later)).toEqual([]);
    await rig.pass(auth, later);
    expect(held(later)).toEqual([token('a3'), token('r2')]);

    await rig.accounts.unlink('sink', rig.target(auth), null);
    expect(held()).toEqual([]);
    await later.forget('sink');
    expect(held(later)).toEqual([]);
  });

  test('CI-03: a lock takes the token and leaves what was consented to; what was taken back elsewhere is forgotten', async () => {
    const clock = manualClock(Date.now());
    const rig = await startOAuthRig({ clock });
    const auth = consented();
    rig.site.token = () => answering(1);
    const held = (): string[] => [...rig.accounts.held.values()].map(({ value }) => value);
    await rig.finish(auth, rig.callback((await rig.begin(auth)).url));
    await rig.accounts.revoke('sink');
    expect(held()).toEqual([token('r1')]);
    rig.site.token = () => ({ status: 400, body: { error: 'invalid_grant' } });
    await expect(rig.pass(auth)).rejects.toMatchObject({ code: 'upstream_auth' });
    expect(held()).toEqual([]);
  });

  test('CI-03: a token of the gateway itself, without anybody’s consent', async () => {
    const rig = await startOAuthRig();
    rig.site.token = () => answering(1);
    await rig.pass(credentials(rig.site.issuer));
    expect([...rig.accounts.held.values()]).toMatchObject([
      { id: 'token:sink', value: token('a1') },
      { id: 'token:sink', value: token('r1') },
    ]);
  });
});

describe('what happens while a token is on its way', () => {
  async function renewing(meanwhile: (rig: Awaited<ReturnType<typeof startOAuthRig>>) => Promise<unknown>) {
    const clock = manualClock(Date.now());
    const rig = await startOAuthRig({ clock });
    rig.site.metadata = { revocation_endpoint: `${rig.site.issuer}/revoke` };
    const auth = consented();
    rig.site.token = () => answering(1);
    await rig.finish(auth, rig.callback((await rig.begin(auth)).url));
    clock.advance(50_000);
    let done: Promise<unknown> = Promise.resolve();
    rig.site.token = () => {
      done = meanwhile(rig);
      return answering(2);
    };
    const renewal = rig.pass(auth);
    await expect(renewal).rejects.toMatchObject({ code: 'upstream_auth', message: 'the account was given back' });
    await done;
    const link = await rig.links.read('sink');
    const givenBack = rig.site.asked.filter(({ path }) => path === '/revoke').map(({ form }) => form['token']);
    return { rig, auth, link, givenBack, held: [...rig.accounts.held.values()].map(({ value }) => value) };
  }

  test('AN-12: an account that is given back meanwhile stays given back, with the tokens that came', async () => {
    const { link, givenBack, held } = await renewing((rig) =>
      rig.accounts.unlink('sink', rig.target(consented()), null),
    );
    expect([link, held]).toEqual([null, []]);
    expect(new Set(givenBack)).toEqual(new Set([token('a1'), token('a2'), token('r1'), token('r2')]));
  });

  test('an account that is linked anew meanwhile keeps the new link', async () => {
    const { rig, auth, link, held } = await renewing(async (one) => {
      const before = JSON.parse((await one.links.read('sink'))!) as Link;
      const account = one.accounts.of('sink', one.target(consented()));
      const endpoint = endpointOf(await account.context(), nobody);
      const made = { value: token('a9'), type: 'bearer', issuedAt: 0, expiresAt: null, scopes: null } as const;
      await account.linked(
        { ...before, refreshToken: token('r9') },
        { token: { ...made, refreshToken: token('r9') }, endpoint },
      );
    });
    expect(JSON.parse(link!)).toMatchObject({ refreshToken: token('r9') });
    expect(held).toEqual([token('a9'), token('r9')]);
    expect((await rig.pass(auth)).token.value).toBe(token('a9'));
  });
});

describe('the book of all accounts', () => {
  const START = 1_800_000_000_000;
  const one = (value: string, expiresAt: number | null = null) => ({ value, expiresAt });

  test.each([
    'production',
    'organisation-settings-and-members',
    'ThisIsWhatWeCallAVeryLongTitle',
    '2026-11-22T15:37:07.123Z-2026-11-23',
    'short1a2b3c4d',
  ])('ATTACKER-CONTROLLED: a token that reads like something people write is not looked for: %s', (value) => {
    const book = heldTokens(manualClock(START));
    book.hold('evil', 'evil', [one(value)]);
    expect([...book.values()]).toEqual([]);
  });

  test.each([
    ['a UUID', '3f2b8c1e-9d47-4a60-b5e2-71c08f6ad934'],
    ['base64url', 'mQ7xR4tW8zL3vB6nK2fY9cD1'],
    ['hexadecimal', '9fd3a1c07b6e4d2f8a5c3e1b'],
    ['a JWT', 'eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiI0MiIsImV4cCI6MTh9.Zm9vYmFyMTIzNDU2Nzg5MA'],
  ])('%s is', (_what, value) => {
    const book = heldTokens(manualClock(START));
    book.hold('a', 'a', [one(value), one(value)]);
    expect([...book.values()]).toMatchObject([{ id: tokenOf('a'), value }]);
  });

  test('the same again is no change; what ended is let go when something changes', () => {
    const clock = manualClock(START);
    const book = heldTokens(clock);
    book.hold('a', 's', [one(token('a'), START + 1_000), one(token('r'))]);
    const { 0: first } = [...book.values()];
    const revision = book.revision();
    book.hold('a', 's', [one(token('a'), START + 1_000), one(token('r'))]);
    expect(book.revision()).toBe(revision);
    expect([...book.values()][0]).toBe(first);
    clock.advance(1_000);
    book.hold('b', 's', [one(token('b'))]);
    expect([...book.values()].map(({ value }) => value)).toEqual([token('r'), token('b')]);
    book.drop('s');
    expect([...book.values()]).toEqual([]);
    expect(book.revision()).toBe(revision + 2);
  });

  test('is bounded, by number and by length: who was used last is known', () => {
    const book = heldTokens(manualClock(START));
    for (let i = 0; i < MAX_TOKENS + 200; i++) book.hold(`p${i}`, 's', [one(token(`n${i}`))]);
    const values = [...book.values()].map(({ value }) => value);
    expect([values.length, values[0], values.at(-1)]).toEqual([MAX_TOKENS, token('n200'), token('n1199')]);
    const long = (i: number): string => token(`${i}`).repeat(700);
    for (let i = 0; i < 200; i++) book.hold(`p${i}`, 's', [one(long(i))]);
    const characters = [...book.values()].reduce((sum, { value }) => sum + value.length, 0);
    expect(characters).toBeLessThanOrEqual(MAX_CHARACTERS);
    expect(characters).toBeGreaterThan(MAX_CHARACTERS / 2);
    expect([...book.values()].at(-1)?.value).toBe(long(199));
  });

  test.each([
    ['many', (i: number) => token(`evil${i}`)],
    ['long ones', (i: number) => token(`evil${i}`).repeat(600)],
  ])('a server that gives %s does not take the place of what others gave', (_what, evil) => {
    const book = heldTokens(manualClock(START));
    for (const server of ['notes', 'mail']) book.hold(server, server, [one(token(server)), one(token(`r-${server}`))]);
    for (let i = 0; i < MAX_TOKENS + 200; i++) book.hold(`p${i}`, 'evil', [one(evil(i))]);
    const values = [...book.values()].map(({ value }) => value);
    expect(values.slice(0, 4)).toEqual(['notes', 'r-notes', 'mail', 'r-mail'].map(token));
    expect([values.length > 50, values.at(-1)]).toEqual([true, evil(MAX_TOKENS + 199)]);
  });
});

describe('in front of servers', () => {
  const GOT = token('tokenOfNotes-');
  const HEX = Buffer.from(GOT).toString('hex');

  /** `notes` gets tokens by OAuth; `mail` is another server. */
  async function world(more: Partial<RigOptions> = {}) {
    const site = await startAuthorizationSite();
    site.token = () => {
      site.given.push(GOT);
      return { body: { access_token: GOT, token_type: 'Bearer', expires_in: 3600 } };
    };
    const sink = await startProtected(site);
    const tools = [
      textTool('send', 'write', 'notes:write'),
      textTool('look', 'read', 'notes:read', { inputSchema: { type: 'object' } }),
    ];
    const rig = await startRig({ servers: { mail: { tools } }, ...more });
    await rig.policy('all', 'permit (principal, action, resource);');
    const auth = {
      grant: 'client_credentials',
      issuer: site.issuer,
      client: { method: 'client_secret_basic', id: 'remit', secret: secretRef },
      ...COMMON,
    };
    const body = Server.parse({
      title: 'Notes',
      owner: 'omar',
      purpose: 'wants tokens',
      environment: 'production',
      dataClasses: ['internal'],
      state: 'enabled',
      upstream: { transport: 'http', url: sink.url, allowedNetworks: ['127.0.0.1/32'], auth },
    }) as JsonObject;
    await rig.commit([{ kind: 'server', org: ORG, id: 'notes', body }]);
    await rig.look('notes');
    await rig.approveTool('notes', 'echo', 'read', 'notes:read');
    const close = async () => {
      await rig.stop();
      await sink.close();
      await site.close();
    };
    return { rig, sink, close };
  }

  test('CI-03: a token of one server goes to no other and comes from no other, in no spelling; its own may be sent it', async () => {
    const { rig, sink, close } = await world();
    try {
      for (const text of [GOT, HEX, Buffer.from(`x${GOT}`).toString('base64')]) {
        const answer = await rig.call('mail', 'send', { text });
        expect(answer.text).toContain('a credential (at /arguments/text) may not be sent to this server');
      }
      expect(rig.sink('mail').wire()).not.toMatch(new RegExp(`${GOT}|${HEX}`));
      rig.sink('mail').onCall(() => ({ content: [{ type: 'text', text: `it is ${HEX}.` }] }));
      expect((await rig.call('mail', 'look', {})).text).toContain('it is [redacted:own_secret].');
      await rig.call('notes', 'echo', { text: HEX });
      expect(sink.calls().at(-1)?.body).toContain(HEX);
      const incidents = (await rig.entries('incident')).filter(({ event }) => event?.['what'] === 'own_secret');
      expect(incidents[0]).toMatchObject({ event: { subject: 'secret/token:notes', server: 'mail', action: 'block' } });
    } finally {
      await close();
    }
  });

  test('CI-03 twin: where nobody is told of tokens, it arrives', async () => {
    const { rig, close } = await world({
      wrap: (deps) => ({ ...deps, secrets: { revision: () => 1, values: () => [] } }),
    });
    try {
      await rig.call('mail', 'send', { text: HEX });
      expect(rig.sink('mail').wire()).toContain(HEX);
    } finally {
      await close();
    }
  });
});
