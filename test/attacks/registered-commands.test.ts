/**
 * EX-02: a command that somebody registers is text until somebody else has agreed to it. Replays of the registrations that ran commands
 * (CVE-2026-90898, CVE-2025-49596, CVE-2025-54136, the disclosure on stdio configurations of 2026-04). The oracle is what the command writes
 * into a folder that it is given: nothing there, nothing ran.
 */
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import { startPlane } from '../admin/plane.ts';
import { startRig, type Answer, type Headers, type Rig } from '../support/rig.ts';
import { REPOSITORY, SINK_PROGRAM } from '../support/upstreams/open.ts';

let rig: Rig;
const root = mkdtempSync(join(tmpdir(), 'remit-registered-'));
const [app, out] = [join(root, 'app'), join(root, 'out')];
beforeAll(async () => {
  for (const folder of [root, app, out]) {
    mkdirSync(folder, { recursive: true });
    chmodSync(folder, 0o777);
  }
  copyFileSync(join(REPOSITORY, SINK_PROGRAM), join(app, 'sink.ts'));
  for (const name of ['one', 'other'])
    writeFileSync(
      join(app, `${name}.mjs`),
      `import { writeFileSync } from 'node:fs';\nwriteFileSync('/out/${name}', 'ran');\nawait import('./sink.ts');\n`,
    );
  rig = await startRig({ servers: {}, admin: true });
});
afterAll(async () => {
  await rig.stop();
  rmSync(root, { recursive: true, force: true });
});
/** What ran since the last look. */
const ran = (): readonly string[] => readdirSync(out).toSorted();
beforeEach(() => {
  for (const name of readdirSync(out)) rmSync(join(out, name));
});

const server = (
  command: readonly string[],
  digest = `sha256:${'0'.repeat(64)}`,
  more: JsonObject = {},
): JsonObject => ({
  title: 'Local',
  owner: 'omar',
  purpose: 'runs what it is told',
  environment: 'development',
  dataClasses: ['internal'],
  riskTier: 'low',
  revocation: 'remove it',
  reviewBy: 4_102_444_800_000,
  timeoutMs: 10_000,
  source: { vendor: 'Example', version: '1.0.0', digest },
  upstream: {
    transport: 'stdio',
    command: [...command],
    mounts: [
      { from: app, to: '/app', mode: 'read' },
      { from: out, to: '/out', mode: 'write' },
    ],
    ...more,
  },
});
const CANARY = ['/bin/sh', '-c', 'echo ran > /out/canary'];
const ABSENT = { 'if-none-match': '*' };
const put = (person: string, id: string, body: JsonObject, headers: Headers = ABSENT) =>
  rig.admin(person, 'PUT', `/servers/${id}`, { reason: 'test', server: body }, headers);
const step = async (person: string, id: string, verb: string): Promise<Answer> => {
  const { headers } = await rig.admin(person, 'GET', `/servers/${id}`);
  return rig.admin(
    person,
    'POST',
    `/servers/${id}/${verb}`,
    { reason: 'test' },
    { 'if-match': headers['etag'] as string },
  );
};
const stateOf = (id: string) => rig.gateway.snapshot().servers.get(id)?.record.state;
/** Everything that makes the gateway use a server. */
async function used(id: string): Promise<void> {
  for (const person of ['omar', 'ada']) await rig.admin(person, 'POST', `/servers/${id}/refresh`, {});
  await rig.look(id).catch(() => undefined);
  await rig.call(id, 'echo', { text: 'x' }, { as: 'omar' });
  await rig.ask(id, 'tools/list', {}, { as: 'omar' });
  await rig.ask('', 'tools/list', {}, { as: 'omar' });
}
/** Registered with the digest of what is there, reviewed by somebody else, and looked at. */
async function enabled(id: string, command: readonly string[], more: JsonObject = {}): Promise<void> {
  expect((await put('ada', id, server(command, undefined, more))).status).toBe(201);
  const { body } = await rig.admin('sven', 'GET', `/servers/${id}/identity`);
  const { headers } = await rig.admin('ada', 'GET', `/servers/${id}`);
  const digested = server(command, body['digest'] as string, more);
  expect((await put('ada', id, digested, { 'if-match': headers['etag'] as string })).status).toBe(200);
  expect((await step('ada', id, 'submit')).status).toBe(200);
  const reply = await step('sven', id, 'enable');
  expect([reply.status, reply.text]).toEqual([200, expect.any(String)]);
  await rig.look(id);
}

describe('EX-02: registering a command', () => {
  const resource = { kind: 'server', id: 'canary', spec: server(CANARY) };
  test.each([
    ['PUT', '/api/v1/servers/canary', { reason: 'x', server: server(CANARY) }],
    ['POST', '/api/v1/servers', { reason: 'x', server: server(CANARY) }],
    ['POST', '/api/v1/servers/canary/enable', { reason: 'x' }],
    ['POST', '/api/v1/servers/canary/refresh', {}],
    ['POST', '/api/v1/apply/plan', { resources: [resource] }],
    ['POST', '/api/v1/apply', { resources: [resource], digest: 'x', reason: 'x' }],
  ] as const)('EX-02: %s %s without a token, and on a fresh installation, is refused', async (method, path, body) => {
    const headers = { 'content-type': 'application/json', ...ABSENT };
    const answer = await rig.send(method, path, headers, JSON.stringify(body), rig.adminUrl!);
    expect([401, 404]).toContain(answer.status);
    expect([rig.gateway.snapshot().servers.has('canary'), ran()]).toEqual([false, []]);
    // CVE-2026-90898: nobody administers it yet, and that is no reason to let everybody.
    const fresh = await startPlane({ people: [] });
    try {
      const first = await fresh.raw(method, path, headers, JSON.stringify(body));
      expect([401, 404]).toContain(first.status);
      expect(fresh.snapshot().servers.size).toBe(0);
    } finally {
      await fresh.close();
    }
  });

  test.each(['nobody', 'dana', 'petra', 'aiko'])('EX-02: %s may not', async (person) => {
    const answer = await put(person, 'canary', server(CANARY));
    expect(answer.status).toBe(403);
    const spec = { kind: 'server', id: 'canary', spec: server(CANARY) };
    const planned = await rig.admin(person, 'POST', '/apply/plan', { resources: [spec] });
    expect(planned.body['digest'] ?? null).toBeNull();
    await used('canary');
    expect([rig.gateway.snapshot().servers.has('canary'), ran()]).toEqual([false, []]);
  });

  test.each(['omar', 'ada'])(
    'EX-02: %s may, and nothing is started before somebody else has agreed to it',
    async (person) => {
      const id = `of-${person}`;
      const { digest } = (await identity(id, person)) as { digest: string };
      expect(stateOf(id)).toBe('draft');
      await used(id);
      expect((await step(person, id, 'submit')).status).toBe(200);
      expect(stateOf(id)).toBe('in_review');
      await used(id);
      const own = await step(person, id, 'enable');
      const why = person === 'omar' ? 'role_missing' : 'two_people';
      expect([own.status, own.text.includes(why), stateOf(id), ran()]).toEqual([403, true, 'in_review', []]);
      // Nor by files, nor by writing the state into the record.
      const spec = { ...server(CANARY, digest), state: 'enabled' };
      const planned = await rig.admin(person, 'POST', '/apply/plan', { resources: [{ kind: 'server', id, spec }] });
      expect(planned.body['digest'] ?? null).toBeNull();
      const { headers } = await rig.admin(person, 'GET', `/servers/${id}`);
      expect((await put(person, id, spec, { 'if-match': headers['etag'] as string })).status).toBe(422);
      await used(id);
      expect([stateOf(id), ran()]).toEqual(['in_review', []]);

      // Twin: the agreement of somebody else is what was missing.
      expect((await step('sven', id, 'enable')).status).toBe(200);
      await used(id);
      await rig.until('the command to run', () => ran().includes('canary'));
      expect((await step('ada', id, 'retire')).status).toBe(200);
    },
  );
  async function identity(id: string, person: string): Promise<JsonObject> {
    expect((await put(person, id, server(CANARY))).status).toBe(201);
    const { body } = await rig.admin('sven', 'GET', `/servers/${id}/identity`);
    const { headers } = await rig.admin(person, 'GET', `/servers/${id}`);
    await put(person, id, server(CANARY, body['digest'] as string), { 'if-match': headers['etag'] as string });
    return body;
  }
});

describe('EX-02: a page in the browser of somebody who may (CVE-2025-49596)', () => {
  const body = JSON.stringify({ reason: 'x', server: server(CANARY) });
  const token = (): string =>
    rig.issuer.mint({
      sub: 'ada@corp',
      client_id: 'remit-cli',
      aud: `${rig.adminUrl}/api/v1`,
      scope: 'admin:read admin:write',
    });
  test.each([
    ['another origin', { origin: 'https://evil.example' }, 403],
    ['a sandboxed frame', { origin: 'null' }, 403],
    ['a name that was rebound to this machine', { host: 'evil.example' }, 403],
    ['what needs no leave of the browser', { 'content-type': 'text/plain' }, 415],
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }, 415],
  ] as const)('EX-02: %s, even with a token: refused', async (_what, more, status) => {
    const headers = { authorization: `Bearer ${token()}`, 'content-type': 'application/json', ...ABSENT, ...more };
    const answer = await rig.send('PUT', '/api/v1/servers/page', headers, body, rig.adminUrl!);
    expect(answer.status).toBe(status);
    expect(Object.keys(answer.headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
    expect([rig.gateway.snapshot().servers.has('page'), ran()]).toEqual([false, []]);
  });

  test('EX-02: twin: the same request without the marks of a page is taken, as a draft', async () => {
    const headers = { authorization: `Bearer ${token()}`, 'content-type': 'application/json', ...ABSENT };
    const answer = await rig.send('PUT', '/api/v1/servers/page', headers, body, rig.adminUrl!);
    expect([answer.status, ran()]).toEqual([201, []]);
  });
});

test('EX-02: what a shell would obey arrives as it is', async () => {
  const words = [
    '; touch /out/canary',
    '$(touch /out/canary)',
    '`touch /out/canary`',
    '&& touch /out/canary',
    'a  b',
    '"',
    "'",
    '*',
    '~',
    '$HOME',
    '\n',
    '',
  ];
  await enabled('words', ['node', '/app/one.mjs', ...words], { env: { BEHAVIOUR: 'argv' } });
  await rig.approveTool('words', 'echo', 'read', 'notes:read');
  const answer = await rig.call('words', 'echo', {});
  const [content] = answer.result!['content'] as [{ text: string }];
  expect(JSON.parse(content.text)).toEqual(words);
  expect(ran()).toEqual(['one']);
});

describe('EX-02: the command of a server that works is exchanged (MCPoison, CVE-2025-54136)', () => {
  const SWAPPED = ['/bin/sh', '-c', 'echo ran > /out/poisoned; exec /remit/node /app/other.mjs'];
  /** With the digest of what would run, so that nothing but the review stands in the way. */
  async function changed(command: readonly string[]): Promise<void> {
    expect((await put('ada', 'trusted', server(command), await etag())).status).toBe(200);
    const { body } = await rig.admin('sven', 'GET', '/servers/trusted/identity');
    expect((await put('ada', 'trusted', server(command, body['digest'] as string), await etag())).status).toBe(200);
  }
  const call = (text: string) => rig.call('trusted', 'echo', { text }, { as: 'omar' });
  const heldAs = (answer: Answer): string => /approval \((apr_[0-9a-z]+), until /.exec(answer.text)?.[1] ?? '';
  const etag = async () => ({
    'if-match': (await rig.admin('ada', 'GET', '/servers/trusted')).headers['etag'] as string,
  });

  test('EX-02: it leaves service, what was agreed to ends, and nobody alone brings it back', async () => {
    await enabled('trusted', ['node', '/app/one.mjs']);
    await rig.approveTool('trusted', 'echo', 'destructive', 'notes:delete');
    const id = heldAs(await call('agreed'));
    const { body: approval } = await rig.admin('petra', 'GET', `/approvals/${id}`);
    expect((await rig.admin('petra', 'POST', `/approvals/${id}/approve`, { call: approval['call']! })).status).toBe(
      200,
    );
    expect(ran()).toEqual(['one']);
    rmSync(join(out, 'one'));

    await changed(SWAPPED);
    expect(stateOf('trusted')).toBe('in_review');
    await used('trusted');
    expect((await call('agreed')).result).toBeUndefined();
    expect((await step('ada', 'trusted', 'enable')).status).toBe(403);
    expect((await step('omar', 'trusted', 'enable')).status).toBe(403);
    expect([stateOf('trusted'), ran()]).toEqual(['in_review', []]);

    // Somebody else agrees to a harmless change: what was agreed to for the old command is not for this one.
    await changed(['node', '/app/other.mjs']);
    expect((await step('sven', 'trusted', 'enable')).status).toBe(200);
    await rig.look('trusted');
    const again = await call('agreed');
    expect([again.result?.['isError'], heldAs(again) === id, heldAs(again)]).toEqual([
      true,
      false,
      expect.stringMatching(/^apr_/),
    ]);
    expect(ran()).toEqual(['other']);
  });

  test('EX-02: twin: a record that is exchanged behind the review runs the other command', async () => {
    await rig.setServer('trusted', {
      source: { vendor: 'Example', version: '1.0.0' },
      upstream: server(SWAPPED)['upstream'] as never,
    });
    await rig.look('trusted').catch(() => undefined);
    await rig.until('the other command to run', () => ran().includes('poisoned'));
  });
});
