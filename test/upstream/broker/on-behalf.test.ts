/**
 * On behalf of the caller from the listener to the server: the token of the call is exchanged at the issuer that made it and nowhere else, each
 * person acts by their own, and a lock gives back what was got. The oracle is what the sink and both authorization servers were sent.
 */
import { afterEach, expect, test } from 'vitest';
import { createTokenVerifier } from '../../../src/identity/access-token.ts';
import type { TokenVerifier } from '../../../src/identity/access-token.ts';
import { agentKey } from '../../../src/inventory/agents.ts';
import { Server } from '../../../src/inventory/records.ts';
import type { AuthTarget } from '../../../src/upstream/oauth/auth-target.ts';
import { startIssuer } from '../../support/issuer.ts';
import { ALL_SCOPES, ORG, startRig } from '../../support/rig.ts';
import { until } from '../../support/upstreams/open.ts';
import { type AuthorizationSite, startAuthorizationSite, startProtected } from '../../support/upstreams/protected.ts';
import { COMMON, secretRef } from '../oauth-rig.ts';

const closers: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

const TYPE = 'urn:ietf:params:oauth:token-type:';
const client = { method: 'client_secret_basic', id: 'remit', secret: secretRef } as const;
const subjectOf = (jwt: string): string =>
  String((JSON.parse(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString()) as { sub?: unknown }).sub);

/** Whom a token is of stands in its name: `at-<subject>-<n>`, from the token or assertion that was shown for it. */
function naming(site: AuthorizationSite): void {
  let count = 0;
  site.metadata = { revocation_endpoint: `${site.issuer}/revoke` };
  site.token = ({ form }) => {
    const shown = form['subject_token'] ?? form['assertion'];
    const jag = form['requested_token_type'] === `${TYPE}id-jag`;
    const who = shown === undefined ? 'gateway' : shown.startsWith('jag.') ? shown.split('.')[1] : subjectOf(shown);
    const token = jag ? `jag.${who}.${++count}` : `at-${who}-${++count}`;
    if (!jag) site.given.push(token);
    return {
      body: {
        access_token: token,
        token_type: jag ? 'N_A' : 'Bearer',
        expires_in: 3600,
        ...(form['subject_token'] !== undefined && { issued_token_type: `${TYPE}${jag ? 'id-jag' : 'access_token'}` }),
      },
    };
  };
}

/** `idp` makes the tokens of the callers; `site` is the authorization server of the server, the same one or another. */
async function world(apart: boolean, authOf: (site: string, idp: string) => AuthTarget) {
  const idp = await startAuthorizationSite();
  const site = apart ? await startAuthorizationSite() : idp;
  for (const one of new Set([idp, site])) {
    closers.push(one.close);
    naming(one);
  }
  const sink = await startProtected(site);
  closers.push(sink.close);
  sink.admit = ({ headers }) =>
    site.given.some((token) => headers['authorization'] === `Bearer ${token}`)
      ? null
      : { status: 401, challenge: `Bearer ${sink.challenge}` };
  const keys = await startIssuer();
  closers.push(() => keys.close());
  const other = createTokenVerifier({
    issuers: [{ issuer: idp.issuer, jwksUri: keys.jwksUri }],
    fetchJwks: async (url) => (await fetch(url)).json(),
  });
  const rig = await startRig({
    servers: {},
    admin: true,
    wrap(deps) {
      const { verifier } = deps;
      const both: TokenVerifier = {
        ...verifier,
        verify: async (...asked) => {
          const found = await verifier.verify(...asked);
          return found.ok ? found : other.verify(...asked);
        },
        cached: (...asked) => verifier.cached(...asked) ?? other.cached(...asked),
      };
      return { ...deps, verifier: both };
    },
  });
  closers.push(() => rig.stop());
  const agent = { issuer: idp.issuer, title: 'x', state: 'active', ceiling: {} };
  const robot = { ...agent, clientId: 'robot', kind: 'autonomous', roles: ['developer'], owner: 'omar' };
  await rig.commit([
    {
      kind: 'organisation',
      org: ORG,
      id: ORG,
      body: { title: 'Test', issuers: [rig.issuer.issuer, idp.issuer], newAgents: 'active' },
    },
    {
      kind: 'agent',
      org: ORG,
      id: 'desk',
      key: agentKey(idp.issuer, 'agent-1'),
      body: { ...agent, clientId: 'agent-1', kind: 'delegate', roles: [] },
    },
    {
      kind: 'agent',
      org: ORG,
      id: 'robot',
      key: agentKey(idp.issuer, 'robot'),
      body: { ...robot, purpose: 'tests', environment: 'production' },
    },
  ]);
  for (const id of ['dana', 'dora'])
    await rig.setPerson(id, ['developer'], { also: [{ issuer: idp.issuer, subject: id }] });
  await rig.policy('all', 'permit (principal, action, resource);');
  const server = Server.parse({
    title: 'Notes',
    owner: 'omar',
    purpose: 'acts for whoever calls',
    environment: 'production',
    dataClasses: ['internal'],
    state: 'enabled',
    upstream: {
      transport: 'http',
      url: sink.url,
      allowedNetworks: ['127.0.0.1/32'],
      auth: authOf(site.issuer, idp.issuer),
    },
  });
  await rig.commit([{ kind: 'server', org: ORG, id: 'notes', body: server }]);
  await rig.look('notes');
  await rig.approveTool('notes', 'echo', 'read', 'notes:read');
  const tokenOf = (sub: string, clientId = 'agent-1') =>
    keys.mint({
      iss: idp.issuer,
      sub,
      client_id: clientId,
      scope: ALL_SCOPES.join(' '),
      aud: rig.resource('notes'),
    });
  const call = (token: string, text: string) => rig.call('notes', 'echo', { text }, { token });
  /** By the text of the call: whose token came with it. */
  const bearers = (text: string): readonly string[] =>
    sink
      .calls()
      .filter(({ body }) => body.includes(`"${text}"`))
      .map(({ headers }) => String(headers['authorization']).replace(/^Bearer at-(.*)-\d+$/, '$1'));
  const givenBack = (): readonly string[] =>
    site.asked.filter(({ path }) => path === '/revoke').map(({ form }) => form['token']!.replace(/-\d+$/, ''));
  return { rig, sink, site, idp, tokenOf, call, bearers, givenBack };
}

const exchange = (issuer: string): AuthTarget => ({ grant: 'token_exchange', issuer, client, ...COMMON });

test('AN-04: tokens of two people are exchanged at the issuer that made them, and the server sees each of them and no token of the call', async () => {
  const { idp, sink, tokenOf, call, bearers } = await world(false, exchange);
  const tokens = { dana: tokenOf('dana'), dora: tokenOf('dora') };
  const answers = await Promise.all(
    (['dana', 'dora', 'dana', 'dora'] as const).map((who) => call(tokens[who], `of ${who}`)),
  );
  for (const answer of answers) expect(answer.result, answer.text).toMatchObject({ content: [{}] });
  expect([bearers('of dana'), bearers('of dora')]).toEqual([
    ['dana', 'dana'],
    ['dora', 'dora'],
  ]);
  const exchanged = idp.tokens().filter(({ form }) => form['subject_token'] !== undefined);
  expect(new Set(exchanged.map(({ form }) => form['subject_token']))).toEqual(new Set(Object.values(tokens)));
  expect(exchanged).toHaveLength(2);
  for (const { form } of exchanged) expect(form).toMatchObject({ resource: sink.url });
  for (const token of Object.values(tokens)) expect(sink.wire()).not.toContain(token);
});

test('AN-04: ID-JAG: only the issuer of the call sees its token, the other authorization server its assertion, the server neither', async () => {
  const { idp, site, sink, tokenOf, call, bearers } = await world(true, (issuer, provider) => ({
    grant: 'enterprise_managed',
    issuer,
    client,
    identityProvider: { issuer: provider, client, subject: 'caller' },
    ...COMMON,
  }));
  const tokens = { dana: tokenOf('dana'), dora: tokenOf('dora') };
  for (const who of ['dana', 'dora'] as const)
    expect((await call(tokens[who], `of ${who}`)).result).toMatchObject({ content: [{}] });
  expect([bearers('of dana'), bearers('of dora')]).toEqual([['dana'], ['dora']]);
  expect(idp.tokens().map(({ form }) => [form['subject_token'], form['audience']])).toEqual([
    [tokens.dana, site.issuer],
    [tokens.dora, site.issuer],
  ]);
  for (const token of Object.values(tokens)) expect(JSON.stringify(site.asked) + sink.wire()).not.toContain(token);
  expect(sink.wire()).not.toContain('jag.');
});

test('NH-06: a lock on a person gives back what was got for them, of nobody else, and their next call does not arrive', async () => {
  const { rig, tokenOf, call, bearers, givenBack } = await world(false, exchange);
  const dana = tokenOf('dana');
  await call(dana, 'one');
  await call(tokenOf('dora'), 'two');
  const lock = await rig.admin('omar', 'POST', '/locks', { kind: 'user', value: 'dana', reason: 'stolen' });
  expect(lock.status, lock.text).toBe(201);
  await until('it is given back', () => givenBack().length > 0);
  expect(givenBack()).toEqual(['at-dana']);
  expect((await call(dana, 'three')).status).toBeGreaterThanOrEqual(400);
  expect(bearers('three')).toEqual([]);
  expect((await call(tokenOf('dora'), 'four')).result).toMatchObject({ content: [{}] });
  const settled = async () => (await rig.entries('admin')).find(({ event }) => event?.['what'] === 'lock.settled');
  await until('it is recorded', async () => (await settled()) !== undefined);
  expect((await settled())!.event).toMatchObject({ tokensRevoked: 1, tokensLeft: 0 });
});

test('NH-06: a lock on an agent that acts alone gives back what was got for it, and a pause gives nothing back', async () => {
  const { rig, tokenOf, call, bearers, givenBack } = await world(false, exchange);
  const answer = await call(tokenOf('robot', 'robot'), 'alone');
  expect(answer.result, answer.text).toMatchObject({ content: [{}] });
  expect(bearers('alone')).toEqual(['robot']);
  await call(tokenOf('dana'), 'of dana');
  const pause = { kind: 'agent', value: 'robot', reason: 'a look', until: rig.clock.now() + 60_000 };
  expect((await rig.admin('omar', 'POST', '/locks', pause)).status).toBe(201);
  const ended = () => rig.entries('admin').then((all) => all.filter(({ event }) => event?.['what'] === 'lock.settled'));
  await until('the pause is settled', async () => (await ended()).length === 1);
  expect(givenBack()).toEqual([]);
  await rig.admin('omar', 'POST', '/locks', { kind: 'agent', value: 'robot', reason: 'gone mad' });
  await until('the lock is settled', async () => (await ended()).length === 2);
  expect(givenBack()).toEqual(['at-robot']);
});
