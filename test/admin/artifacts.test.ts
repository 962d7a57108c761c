/**
 * NH-11: a version that is known to be vulnerable is not enabled, nor one that depends on such a version; one that works already is a finding
 * and one alarm. Real feed files, real packages on disk, the real admin plane.
 */
import { mkdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openAdvisories, type Advisories } from '../../src/admin/artifact-feed.ts';
import { watchArtifacts } from '../../src/admin/artifact-watch.ts';
import type { AdminContext } from '../../src/admin/context.ts';
import { incidentLog } from '../../src/gateway/incidents.ts';
import { manualClock } from '../../src/lib/clock.ts';
import { MCP_REMOTE } from '../support/advisories.ts';
import { SERVER, startPlane, type Plane } from './plane.ts';

let plane: Plane;
let context: AdminContext;
let advisories: Advisories | null = null;
let file: string;
let folder: string;
const logged: string[] = [];
const log = {
  debug: () => undefined,
  warn: (_: object, message: string) => void logged.push(message),
  error: () => undefined,
};
let turn = 0;
/** Another time of change each, because two writes may fall into one tick of the file system. */
const write = (text: string, at = file): void => {
  writeFileSync(at, text);
  utimesSync(at, ++turn, turn);
};
const read = async (path: string | undefined = file) =>
  void (advisories = await openAdvisories(path, { clock: manualClock(0), log }));

beforeAll(async () => {
  plane = await startPlane({
    wrap: (ctx) => {
      folder = ctx.artifacts.folder;
      context = { ...ctx, artifacts: { folder, advisories: () => advisories?.current() ?? { kind: 'none' } } };
      return context;
    },
  });
  file = join(plane.dir, 'advisories.json');
});
afterAll(() => plane.close());
beforeEach(async () => {
  logged.length = 0;
  write(JSON.stringify([MCP_REMOTE]));
  await read();
});

const source = (version: string) => ({
  vendor: 'Example',
  package: 'mcp-remote',
  version,
  digest: `sha256:${'a'.repeat(64)}`,
});
const remote = (version: string) => ({
  ...SERVER,
  source: source(version),
  upstream: { transport: 'http', url: 'https://mcp.example.com/mcp' },
});
const local = (version: string, command = ['node', 'mcp-remote']) => ({
  ...SERVER,
  source: source(version),
  upstream: { transport: 'stdio', command },
});
let count = 0;
async function enabling(server: object) {
  const id = `server-${++count}`;
  await plane.as('omar', 'PUT', `/servers/${id}`, { reason: 'x', server }, { 'if-none-match': '*' });
  await plane.as('omar', 'POST', `/servers/${id}/submit`, { reason: 'x' });
  const reply = await plane.afterReading('sven', `/servers/${id}`, 'POST', `/servers/${id}/enable`, { reason: 'x' });
  return { id, reply, state: plane.snapshot().servers.get(id)?.record.state };
}
/** As an installation leaves it, with what it depends on. */
function installed(version: string, inside: Readonly<Record<string, string>>, name = 'mcp-remote'): void {
  const modules = join(folder, name, version, 'node_modules');
  for (const [one, its] of Object.entries({ [name]: version, ...inside })) {
    mkdirSync(join(modules, one), { recursive: true });
    const more = one === name ? { bin: 'run.js', dependencies: inside } : {};
    writeFileSync(join(modules, one, 'package.json'), JSON.stringify({ name: one, version: its, ...more }));
    writeFileSync(join(modules, one, 'run.js'), '');
  }
}

describe('enabling', () => {
  test.each([
    ['an HTTP server', remote],
    ['a local server', local],
  ])('NH-11: %s of a vulnerable version is refused, named and told which version has the fix', async (_what, made) => {
    for (const version of ['0.0.5', '0.1.15']) {
      const { id, reply, state } = await enabling(made(version));
      expect([reply.status, state, reply.body.error]).toEqual([
        422,
        'in_review',
        {
          code: 'known_vulnerable',
          field: 'server.source.version',
          message: `The server cannot be enabled. mcp-remote@${version} is known to be vulnerable: GHSA-6xpm-ggf7-wc3p (CVE-2025-6514).`,
          remedy: 'Install and review a version that has the fix (0.1.16 or newer).',
          ref: expect.any(String) as string,
        },
      ]);
      const shown = await plane.as('omar', 'GET', `/servers/${id}`);
      expect(shown.body['lacks']).toEqual([expect.objectContaining({ field: 'source.version' })]);
    }
    for (const version of ['0.0.4', '0.1.16']) expect((await enabling(made(version))).state).toBe('enabled');
  });

  test('NH-11: what it depends on counts, as it is installed', async () => {
    installed('2.0.0', { 'mcp-remote': '0.1.0' }, 'mail');
    const server = { ...local('2.0.0', ['node', 'mail', '--x']), source: { ...source('2.0.0'), package: 'mail' } };
    const { reply, state } = await enabling(server);
    expect([reply.status, state, reply.body.error?.['code']]).toEqual([422, 'in_review', 'known_vulnerable']);
    expect(reply.body.error?.['message']).toContain(
      'It depends on mcp-remote@0.1.0, which is known to be vulnerable: GHSA-6xpm-ggf7-wc3p',
    );
    expect(reply.body.error?.['remedy']).toContain(
      'a version of the server that depends on mcp-remote 0.1.16 or newer',
    );
  });

  test('NH-11: a record that leaves the package out, or names another version, does not hide what is installed', async () => {
    installed('0.1.15', {});
    const { package: _, ...unnamed } = source('0.1.15');
    const refused = await enabling({ ...local('0.1.15'), source: unnamed });
    expect([refused.state, refused.reply.body.error]).toEqual([
      'in_review',
      expect.objectContaining({
        code: 'invalid',
        field: 'server.source.package',
        message: 'The server cannot be enabled. The command runs the package mcp-remote, and the record names none.',
      }),
    ]);
    installed('0.1.17', {});
    writeFileSync(
      join(folder, 'mcp-remote/0.1.17/node_modules/mcp-remote/package.json'),
      '{"name":"mcp-remote","version":"0.1.15","bin":"run.js"}',
    );
    const { reply, state } = await enabling(local('0.1.17'));
    expect([state, reply.body.error?.['code']]).toEqual(['in_review', 'known_vulnerable']);
    expect(reply.body.error?.['message']).toContain('The record says 0.1.17, and what would run is mcp-remote@0.1.15.');
  });

  test('NH-11: twin: without a feed the same version is enabled', async () => {
    advisories = null;
    expect((await enabling(remote('0.1.15'))).state).toBe('enabled');
  });
});

describe('a feed that cannot be read', () => {
  test.each([
    ['is not there', () => rmSync(file)],
    ['is no JSON', () => write('[{"id":')],
    ['is empty', () => write('[]')],
    ['has no advisory in it', () => write('{"hello":1}')],
  ])('NH-11: at the start (%s): no local server is enabled, and the finding says why', async (_why, breaks) => {
    breaks();
    await read();
    const { reply, state } = await enabling(local('0.1.16'));
    expect([reply.status, reply.body.error?.['code'], state]).toEqual([409, 'advisories_unreadable', 'in_review']);
    expect((await plane.as('omar', 'GET', '/findings')).body['findings']).toContainEqual(
      expect.objectContaining({ kind: 'advisories', code: 'advisories_unreadable' }),
    );
    expect((await enabling(remote('0.1.16'))).state).toBe('enabled');
    // It becomes readable: nobody has to start anything again.
    write(JSON.stringify([MCP_REMOTE]));
    await advisories!.look();
    expect((await enabling(local('0.1.16'))).state).toBe('enabled');
  });

  test('NH-11: later: the old one stays in force, with a warning', async () => {
    write('[');
    await advisories!.look();
    expect(logged).toEqual(['the new advisories cannot be read; the old ones stay in force']);
    expect((await enabling(local('0.1.15'))).reply.body.error?.['code']).toBe('known_vulnerable');
    expect((await plane.as('omar', 'GET', '/findings')).text).toContain('advisories_stale');
  });

  test('a folder of files is one feed; bad files are named and the rest counts', async () => {
    const many = join(plane.dir, 'osv');
    mkdirSync(many);
    write(JSON.stringify(MCP_REMOTE), join(many, 'GHSA-6xpm-ggf7-wc3p.json'));
    write('no', join(many, 'bad.json'));
    write('no', join(many, 'README.md'));
    await read(many);
    const state = advisories!.current();
    expect(state.kind === 'read' && [state.feed.entries, state.feed.problems]).toEqual([
      1,
      [{ id: 'bad.json', field: '', message: 'is not JSON with an advisory or a list of them' }],
    ]);
    expect((await enabling(local('0.1.15'))).reply.body.error?.['code']).toBe('known_vulnerable');
  });
});

test('NH-11: a feed that turns against a server that works makes a finding and one alarm, and the server goes on', async () => {
  write(JSON.stringify([{ ...MCP_REMOTE, withdrawn: '2026-01-01T00:00:00Z' }]));
  await read();
  const { id, state } = await enabling(remote('0.1.15'));
  expect(state).toBe('enabled');
  const ctx = context;
  const incidents = incidentLog({
    org: 'default',
    clock: ctx.clock,
    audit: ctx.audit.log,
    state: ctx.state,
    record: (one) => ctx.follower.records.get('incident', 'default', one),
    log: () => undefined,
  });
  const mine = async () =>
    (await plane.entries('incident')).filter(({ event }) => event?.['subject'] === `server/${id}`);
  const watching = () => watchArtifacts(ctx, { advisories: advisories!, incidents });
  const first = watching();
  try {
    await first.look();
    expect(await mine()).toEqual([]);
    write(JSON.stringify([MCP_REMOTE]));
    await first.look();
    await first.look();
    expect((await mine()).map(({ event }) => event)).toEqual([
      expect.objectContaining({
        what: 'artifact',
        why: 'known_vulnerable',
        advisories: 'GHSA-6xpm-ggf7-wc3p',
        package: 'mcp-remote',
        version: '0.1.15',
      }),
    ]);
  } finally {
    await first.close();
  }
  await plane.follower.advanceTo(await plane.state.head());
  // After a restart, too, it is the same alarm.
  const second = watching();
  await second.look();
  await second.close();
  expect(await mine()).toHaveLength(1);
  const { findings } = (await plane.as('omar', 'GET', '/findings')).body as {
    findings: Array<Record<string, unknown>>;
  };
  expect(findings.filter((one) => one['id'] === id)).toContainEqual({
    kind: 'server',
    id,
    title: 'Files',
    code: 'known_vulnerable',
    message:
      'mcp-remote@0.1.15 is known to be vulnerable: GHSA-6xpm-ggf7-wc3p (CVE-2025-6514). It works and would not be enabled today.',
  });
  expect(findings.filter(({ title }) => title === `server/${id}`)).toMatchObject([
    {
      kind: 'incident',
      message: expect.stringMatching(/^It runs a version that is known to be vulnerable\. /) as string,
    },
  ]);
  expect(plane.snapshot().servers.get(id)?.record.state).toBe('enabled');
});
