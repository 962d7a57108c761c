/**
 * Published attacks by arguments (CONTROLS 2.14): paths that leave their folder, options where a name was meant, an address of the metadata
 * service. No detector looks: reviewers said what the argument is, and a grant says which ones. The oracle is what the server received.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../../src/lib/json.ts';
import { Grant } from '../../../src/policy/grants.ts';
import { ERAS, ORG } from '../../support/rig.ts';
import type { Rig, ToolSpec } from '../../support/rig.ts';
import { got, passed, stage } from './scene.ts';

const tool = (name: string, argument: string, more: JsonObject = {}): ToolSpec => ({
  definition: {
    name,
    description: `Does ${name}.`,
    inputSchema: {
      type: 'object',
      properties: { [argument]: { type: 'string', ...more } },
      required: [argument],
      additionalProperties: false,
    },
  },
  risk: 'read',
  scope: 'notes:read',
});

interface Replay {
  readonly name: string;
  readonly tool: string;
  readonly argument: string;
  readonly type: 'path' | 'url' | 'identifier';
  readonly condition: JsonObject;
  readonly good: string;
  readonly bad: readonly string[];
}

const REPLAYS: readonly Replay[] = [
  {
    name: 'filesystem server (CVE-2025-53109, CVE-2025-53110): a folder whose name begins alike, and the way up',
    tool: 'read_file',
    argument: 'path',
    type: 'path',
    condition: { argument: '/path', is: 'path_under', values: ['/work/allowed'] },
    good: '/work/allowed/notes.txt',
    bad: [
      '/work/allowed_evil/notes.txt',
      '/work/allowed-2',
      '/work/allowed/../secret',
      '/work/allowed/./../../etc/passwd',
      '/work/allowed/%2e%2e/secret',
      '/work//allowed/..//secret',
      String.raw`/work/allowed\..\secret`,
      '/work/allowed\u0000/../secret',
      '/etc/passwd',
      '',
    ],
  },
  {
    name: 'git server (CVE-2025-68143, -68144, -68145): a repository elsewhere',
    tool: 'git_init',
    argument: 'repo_path',
    type: 'path',
    condition: { argument: '/repo_path', is: 'path_under', values: ['/work/repos'] },
    good: '/work/repos/site',
    bad: ['/work/repos/../../home/omar/.ssh', '/', '/work', 'work/repos/site', '~/x'],
  },
  {
    name: 'git server (CVE-2025-68144): an option where a branch was meant',
    tool: 'git_diff',
    argument: 'target',
    type: 'identifier',
    condition: { argument: '/target', is: 'one_of', values: ['main', 'release'] },
    good: 'main',
    bad: ['--output=/work/repos/site/.git/config', '--output /tmp/x', '-O/tmp/x', ' main', 'main\n--output=x', 'Main'],
  },
  {
    name: 'Azure MCP server (CVE-2026-26118): an address of the metadata service',
    tool: 'fetch_resource',
    argument: 'url',
    type: 'url',
    condition: { argument: '/url', is: 'host_in', values: ['.vault.azure.example'] },
    good: 'https://team.vault.azure.example/keys',
    bad: [
      'http://169.254.169.254/metadata/identity/oauth2/token',
      'http://169.254.169.254.nip.example/',
      'http://2852039166/',
      'http://0xa9fea9fe/',
      'http://[::ffff:169.254.169.254]/',
      'https://team.vault.azure.example@169.254.169.254/',
      'https://169.254.169.254#.vault.azure.example',
      String.raw`https://169.254.169.254\.vault.azure.example`,
      'https://vault.azure.example.attacker.example/',
      'file:///etc/passwd',
    ],
  },
];

const start = async (typed: boolean): Promise<Rig> => {
  const rig = await stage(
    {
      people: { mia: ['member'], petra: ['approver'] },
      servers: { tools: { tools: REPLAYS.map((one) => tool(one.tool, one.argument)) } },
    },
    typed
      ? Object.fromEntries(
          REPLAYS.map((one) => [`tools/${one.tool}`, { parameters: { [`/${one.argument}`]: one.type } }]),
        )
      : {},
  );
  const stamp = { approval: 'by_risk', justification: 'T-1', expiresAt: null, state: 'active', note: null } as const;
  const now = Date.now();
  await rig.commit(
    REPLAYS.map((one) => ({
      kind: 'grant',
      org: ORG,
      id: one.tool.replaceAll('_', '-'),
      body: Grant.parse({
        who: { kind: 'person', id: 'mia' },
        what: { server: 'tools', items: [one.tool] },
        conditions: typed ? [one.condition] : [],
        ...stamp,
        requestedBy: 'petra',
        requestedAt: now,
        decidedBy: 'petra',
        decidedAt: now,
      }),
    })),
  );
  return rig;
};

const call = (rig: Rig, one: Replay, value: string, era?: (typeof ERAS)[number]) =>
  rig.call('tools', one.tool, { [one.argument]: value }, { as: 'mia', scopes: ['notes:read'], ...(era && { era }) });

describe('what a reviewer and a grant said of an argument', () => {
  let rig: Rig;
  beforeAll(async () => void (rig = await start(true)));
  afterAll(() => rig.stop());
  describe.each(ERAS)('a %s client', (era) => {
    test.each(REPLAYS)('CI-01, AZ-03: $name: never arrives', async (one) => {
      const before = got(rig, 'tools').length;
      expect(passed(await call(rig, one, one.good, era))).toBe(true);
      expect(got(rig, 'tools')).toHaveLength(before + 1);
      for (const value of one.bad) expect(passed(await call(rig, one, value, era)), value).toBe(false);
      expect(got(rig, 'tools')).toHaveLength(before + 1);
    });
  });
});

describe('twins', () => {
  test('CI-01, AZ-03: twin: where nobody said what the argument is, each of them arrives', async () => {
    const rig = await start(false);
    try {
      for (const one of REPLAYS) for (const value of one.bad.slice(0, 3)) await call(rig, one, value);
      const sent = REPLAYS.flatMap(({ argument, bad }) =>
        bad.slice(0, 3).map((value) => JSON.stringify({ [argument]: value })),
      );
      expect(got(rig, 'tools')).toEqual(sent);
    } finally {
      await rig.stop();
    }
  });
});
