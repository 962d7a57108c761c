/**
 * Vulnerable twins of AN-02, AN-05, AN-06, AN-08, ID-01, ID-03, ID-05 and ID-09: each attack first meets the product and then the same house
 * with one guard replaced, or one part wrapped, as gateways without the control have it. The oracle is what the server received.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startFixture } from '../authserver/fixture.ts';
import { startPlane } from '../admin/plane.ts';
import type { Plane } from '../admin/plane.ts';
import { callerStands } from '../../src/gateway/guards/caller-stands.ts';
import { learn } from '../../src/gateway/guard.ts';
import type { Guard } from '../../src/gateway/guard.ts';
import { principalOf } from '../../src/gateway/principal.ts';
import type { TokenVerifier } from '../../src/identity/access-token.ts';
import type { Caller } from '../../src/identity/caller.ts';
import { agentKey } from '../../src/inventory/agents.ts';
import { voidIndex } from '../../src/directory/voids.ts';
import { personKey } from '../../src/directory/records.ts';
import type { Role } from '../../src/directory/records.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { callerLike } from '../support/caller.ts';
import { ALL_SCOPES, ERAS, ORG, modernHeaders, modernMessage, startRig, tableWith } from '../support/rig.ts';
import type { Answer, Rig, RigOptions } from '../support/rig.ts';

const ARGS = { text: 'x' };
const sent = (on: Rig): number => on.sink().calls().length;

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig.stop());

async function inTwin(options: RigOptions, use: (twin: Rig) => Promise<void>): Promise<void> {
  const twin = await startRig(options);
  try {
    await use(twin);
  } finally {
    await twin.stop();
  }
}

/** The verifier of the product; what it says of a caller is changed afterwards. */
function believing(verifier: TokenVerifier, change: (caller: Caller) => Caller): TokenVerifier {
  return {
    ...verifier,
    cached: () => undefined,
    verify: async (...given) => {
      const found = await verifier.verify(...given);
      return found.ok ? { ok: true, value: change(found.value) } : found;
    },
  };
}

describe('AN-02: the gateway is no authorization server', () => {
  const PROBES = ['/token', '/authorize', '/jwks', '/.well-known/oauth-authorization-server'];

  test('AN-02 twin: the same requests find every endpoint of a process that is one', async () => {
    const found = async (origin: string): Promise<string[]> => {
      const answers = await Promise.all(PROBES.map((path) => fetch(origin + path, { redirect: 'manual' })));
      return PROBES.filter((_, at) => answers[at]!.status !== 404);
    };
    const authserver = await startFixture();
    try {
      expect([await found(rig.url), await found(authserver.server.issuer)]).toEqual([[], PROBES]);
    } finally {
      await authserver.stop();
    }
  });

  test('AN-02 twin: one document for the whole gateway gives out tokens that open every server behind it', async () => {
    const resourceOf = async (on: Rig, server: string): Promise<unknown> =>
      (await on.send('GET', `/.well-known/oauth-protected-resource/mcp/default/${server}`)).body['resource'];
    const servers = { notes: {}, pay: {} };
    await inTwin({ servers }, async (on) => {
      const [notes, pay] = [await resourceOf(on, 'notes'), await resourceOf(on, 'pay')];
      expect(notes).not.toBe(pay);
      const token = on.token('dana', { audience: notes });
      await on.call('notes', 'read_note', ARGS, { token });
      expect((await on.call('pay', 'read_note', ARGS, { token })).status).toBe(401);
      expect([on.sink('notes').calls().length, on.sink('pay').calls().length]).toEqual([1, 0]);
    });
    const wrap: RigOptions['wrap'] = (deps) => ({
      ...deps,
      verifier: { ...deps.verifier, cached: () => undefined, verify: (token) => deps.verifier.verify(token, ALL) },
    });
    const ALL = 'https://gateway.example';
    await inTwin({ servers, wrap }, async (on) => {
      const token = on.token('dana', { audience: ALL });
      for (const server of ['notes', 'pay']) await on.call(server, 'read_note', ARGS, { token });
      expect([on.sink('notes').calls().length, on.sink('pay').calls().length]).toEqual([1, 1]);
    });
  });
});

describe('AN-05: a token in the URL', () => {
  const params = { name: 'read_note', arguments: ARGS };
  const inUrl = (on: Rig, token: string): Promise<Answer> =>
    on.send(
      'POST',
      `${on.endpoint('notes')}?access_token=${token}`,
      { 'content-type': 'application/json', ...modernHeaders('tools/call', params) },
      JSON.stringify(modernMessage('tools/call', params)),
    );

  test('AN-05 twin: a gateway that takes it from there serves whoever read the log of a proxy, and fills its own', async () => {
    const stolen = rig.token('dana');
    const before = sent(rig);
    expect((await inUrl(rig, stolen)).status).toBe(401);
    expect(sent(rig)).toBe(before);
    expect(JSON.stringify(rig.logged)).not.toContain(stolen);

    const lines: string[] = [];
    const fallback: Guard['decide'] = ({ rawUrl }) => {
      lines.push(`POST ${rawUrl}`);
      const token = new URL(rawUrl, 'http://gateway').searchParams.get('access_token') ?? '';
      const { iss, sub } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as {
        iss: string;
        sub: string;
      };
      return learn({
        caller: callerLike({ issuer: iss, subject: sub, scopes: new Set(ALL_SCOPES), issuedAt: 1e9 }),
      });
    };
    await inTwin({ table: tableWith({ 'token-is-ours': fallback }) }, async (twin) => {
      const token = twin.token('dana');
      expect((await inUrl(twin, token)).status).toBe(200);
      expect(sent(twin)).toBe(1);
      expect(lines.join()).toContain(token);
    });
  });
});

describe('AN-06: a missing scope', () => {
  test.each(ERAS)('AN-06 twin: %s: where scopes are not looked at, a token for reading writes', async (era) => {
    const how = { as: 'omar', era, scopes: ['notes:read'] };
    const before = sent(rig);
    expect((await rig.call('notes', 'write_note', ARGS, how)).status).toBe(403);
    expect(sent(rig)).toBe(before);
    const wrap: RigOptions['wrap'] = (deps) => ({
      ...deps,
      verifier: believing(deps.verifier, (caller) => ({ ...caller, scopes: new Set(ALL_SCOPES) })),
    });
    await inTwin({ wrap }, async (twin) => {
      expect((await twin.call('notes', 'write_note', ARGS, how)).status).toBe(200);
      expect(sent(twin)).toBe(1);
    });
  });
});

/** The guard of the product over a picture in which nothing is void. */
const forgetful: Guard['decide'] = (call, found) => {
  const { snapshot, facts } = call;
  const anew = principalOf({ ...snapshot, voids: voidIndex([]) }, facts.caller!, Date.now());
  return callerStands.decide(call, anew.ok ? anew : found);
};

describe('AN-08: what was revoked', () => {
  const now = (): number => Math.floor(Date.now() / 1_000);
  const claims = { jti: 'a-token', grant_id: 'a-grant', sid: 'a-session', client_id: 'a-client' };
  const CASES: ReadonlyArray<readonly [kind: string, value: (on: Rig) => string, own: JsonObject]> = [
    ['token', (on) => `${on.issuer.issuer} one-token`, { jti: 'one-token' }],
    ['grant', (on) => `${on.issuer.issuer} one-grant`, { grant_id: 'one-grant' }],
    ['session', (on) => `${on.issuer.issuer} one-session`, { sid: 'one-session' }],
    ['client', () => 'one-client', { client_id: 'one-client' }],
  ];
  /** How many calls reach the server with a token of this before and after it is revoked. */
  const attempt = async (on: Rig, [kind, value, own]: (typeof CASES)[number]): Promise<readonly number[]> => {
    const token = on.token('dana', { claims: { ...claims, ...own, iat: now() - 60, exp: now() + 300 } });
    const start = sent(on);
    await on.call('notes', 'read_note', ARGS, { token });
    const before = sent(on);
    const at = Date.now();
    const body = { subject: { kind, value: value(on) }, before: at, reason: 'x', by: 'ada', until: at + 3_600_000 };
    await on.commit([{ kind: 'void', org: ORG, id: `void-${kind}`, body }]);
    await on.call('notes', 'read_note', ARGS, { token });
    return [before - start, sent(on) - before];
  };

  test('AN-08 twin: a gateway that trusts a token until it expires lets a revoked token, grant, session and client go on', async () => {
    for (const one of CASES) expect([one[0], ...(await attempt(rig, one))]).toEqual([one[0], 1, 0]);
    await inTwin({ table: tableWith({ 'caller-stands': forgetful }) }, async (twin) => {
      for (const one of CASES) expect([one[0], ...(await attempt(twin, one))]).toEqual([one[0], 1, 1]);
    });
  });
});

describe('ID-01: which organisation somebody is of', () => {
  const mapping = (on: Rig): Promise<number> =>
    on.commit([
      {
        kind: 'mapping',
        org: ORG,
        id: 'm',
        body: {
          issuer: on.issuer.issuer,
          newcomers: 'refuse',
          tenant: { claim: 'tid', value: 'ours' },
          rules: [],
        },
      },
    ]);
  const foreign = (on: Rig): Promise<Answer> =>
    on.call('notes', 'read_note', ARGS, {
      token: on.token('dana', { claims: { tid: 'theirs', email: 'dana@ours.example' } }),
      headers: { 'x-org': 'ours' },
      meta: { org: 'ours' },
    });

  test('AN-03, ID-01 twin: a gateway that believes a header, or the domain of a mail address, serves another company', async () => {
    await inTwin({}, async (on) => {
      await mapping(on);
      const answer = await foreign(on);
      expect(answer.result?.['isError'] ?? true).toBe(true);
      expect(sent(on)).toBe(0);
      // The token of our tenant is let in by the same record.
      await on.call('notes', 'read_note', ARGS, { token: on.token('dana', { claims: { tid: 'ours' } }) });
      expect(sent(on)).toBe(1);
    });
    const believer: Guard['decide'] = (call) => {
      const { headers, snapshot, facts } = call;
      if (headers['x-org'] !== 'ours')
        return callerStands.decide(call, principalOf(snapshot, facts.caller!, Date.now()));
      const person = snapshot.people.byIdentity(facts.caller!.issuer, facts.caller!.subject)!;
      return learn({ person, ceiling: null, owner: null });
    };
    await inTwin({ table: tableWith({ 'caller-stands': believer }) }, async (twin) => {
      await mapping(twin);
      await foreign(twin);
      expect(sent(twin)).toBe(1);
    });
  });
});

describe('ID-03: somebody without a role', () => {
  test.each(ERAS)(
    'ID-03 twin: %s: where there is a role for everybody, they are shown tools and call them',
    async (era) => {
      const how = { as: 'nobody', era };
      const told = await rig.ask('notes', 'tools/list', {}, how).then(
        ({ text }) => text,
        (error: unknown) => String(error),
      );
      expect(told).toContain('has no access here.');
      const byDefault: Guard['decide'] = ({ snapshot, facts: { caller } }) => {
        const person = snapshot.people.byIdentity(caller!.issuer, caller!.subject)!;
        const roles: Role[] = person.roles.length > 0 ? person.roles : ['developer'];
        return learn({ person: { ...person, roles }, ceiling: null, owner: null });
      };
      await inTwin({ table: tableWith({ 'caller-stands': byDefault }) }, async (twin) => {
        expect(await twin.names('notes', how)).toContain('read_note');
        await twin.call('notes', 'read_note', ARGS, how);
        expect(sent(twin)).toBe(1);
      });
    },
  );
});

describe('ID-05: a neighbour in the same database', () => {
  test('ID-05 twin: a gateway that reads records of every organisation lets the neighbour’s people in', async () => {
    const neighbour = async (on: Rig): Promise<number> => {
      const { issuer } = on.issuer;
      const person = { issuer, subject: 'rita@corp', name: 'Rita', state: 'active', roles: ['operator'] };
      await on.commit([
        { kind: 'person', org: 'rival', id: 'rita', key: personKey(issuer, 'rita@corp'), body: person },
      ]);
      await on.call('notes', 'read_note', ARGS, { as: 'rita' });
      return sent(on);
    };
    await inTwin({}, async (on) => expect(await neighbour(on)).toBe(0));
    const wrap: RigOptions['wrap'] = (deps) => ({
      ...deps,
      view: {
        ...deps.view,
        get revision() {
          return deps.view.revision;
        },
        records: (kind, org) => [...deps.view.records(kind, org), ...deps.view.records(kind, 'rival')],
        get: (kind, org, id) => deps.view.get(kind, org, id) ?? deps.view.get(kind, 'rival', id),
        onApplied: (listener) =>
          deps.view.onApplied((changed) => listener(changed.map((name) => ({ ...name, org: ORG })))),
      },
    });
    await inTwin({ wrap }, async (twin) => expect(await neighbour(twin)).toBe(1));
  });
});

describe('ID-09: what was given to an agent, at the console', () => {
  const prepared = async (plane: Plane): Promise<void> => {
    const { issuer } = plane.issuer;
    const agent = (clientId: string, more: object) =>
      plane.put(
        'agent',
        `agent-${clientId}`,
        { issuer, clientId, title: clientId, state: 'active', ceiling: {}, ...more },
        agentKey(issuer, clientId),
      );
    await plane.seed([
      agent('robot', { kind: 'autonomous', owner: 'ada', purpose: 'p', roles: ['operator'] }),
      agent('helper', { kind: 'delegate', roles: [] }),
      plane.put(
        'person',
        'robot-person',
        { issuer, subject: 'robot', name: 'robot', state: 'active', roles: ['administrator'] },
        personKey(issuer, 'robot'),
      ),
    ]);
  };
  const CREDENTIALS: ReadonlyArray<readonly [string, string, JsonObject]> = [
    ['an agent that acts alone', 'robot', { client_id: 'robot' }],
    ['an agent that acts for the administrator', 'ada', { act: { sub: 'helper' } }],
    ['the last of a chain of agents', 'ada', { act: { sub: 'helper', act: { sub: 'agent-7' } } }],
  ];
  const clients = ['remit-cli', 'agent-7', 'robot', 'helper'];

  test.each(CREDENTIALS)(
    'ID-09 twin: %s reads the directory where nobody asks who holds the token',
    async (_who, sub, claims) => {
      const attempt = async (plane: Plane): Promise<number> => {
        try {
          await prepared(plane);
          const authorization = `Bearer ${plane.tokenOf(sub, claims)}`;
          return (await plane.raw('GET', '/api/v1/people', { authorization })).status;
        } finally {
          await plane.close();
        }
      };
      expect(await attempt(await startPlane({ facts: { clients } }))).toBe(403);
      const blind = await startPlane({
        facts: { clients },
        wrap: (ctx) => ({
          ...ctx,
          verifier: {
            ...ctx.verifier,
            verify: async (...given) => {
              const found = await ctx.verifier.verify(...given);
              return found.ok ? { ok: true, value: { ...found.value, alone: false, actChain: [] } } : found;
            },
          },
        }),
      });
      expect(await attempt(blind)).toBe(200);
    },
  );
});
