/** CI-08: what a server with confidential data says in a question is text that its trace got, whichever way the question came to the client. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import { DECLARED } from '../gateway/asks-support.ts';
import { ERAS, textTool } from '../support/rig.ts';
import type { Rig, ServerSpec } from '../support/rig.ts';
import { TASKS, begin, reaches } from '../support/tasks.ts';
import { agentOf, got, heldId, stage } from './replays/scene.ts';

const FILE = 'Anna Berg, born 12 March 1971, has not paid since June; the lawyers have the file, do not call her.';
const FORM = {
  mode: 'form',
  message: FILE,
  requestedSchema: { type: 'object', properties: { colour: { type: 'string' } } },
};
const crm = (era: 'modern' | 'legacy'): ServerSpec => ({
  era,
  tools: [
    textTool('read_file', 'read', 'notes:read'),
    textTool('job', 'read', 'notes:read', { execution: { taskSupport: 'optional' } }),
  ],
  record: { environment: 'staging', dataClasses: ['confidential'], asks: ['elicitation.form'] },
  script: (sink) =>
    sink.onCall(async ({ ask }) => {
      if (era === 'legacy') return (await ask('elicitation/create', FORM), { content: [] });
      return {
        resultType: 'input_required',
        inputRequests: { q: { method: 'elicitation/create', params: FORM } },
        requestState: 's',
      };
    }),
});

let rig: Rig;
beforeAll(async () => {
  rig = await stage(
    {
      servers: {
        crm: crm('modern'),
        old: crm('legacy'),
        mail: {
          tools: [textTool('send', 'write', 'notes:write')],
          record: { environment: 'staging', dataClasses: ['internal'] },
        },
      },
      admin: true,
    },
    { 'mail/send': { outward: true } },
  );
});
afterAll(() => rig.stop());

const shownBy = (server: string) => async (client: string, era: 'modern' | 'legacy') => {
  const how = { era, client, capabilities: DECLARED['elicitation.form'], token: rig.token('omar', { client, server }) };
  const params: JsonObject = { name: 'read_file', arguments: { text: 'x' } };
  const live = await rig.live(server, 'tools/call', params, how);
  const text = await Promise.race([
    live.event('elicitation/create').then((one) => JSON.stringify(one)),
    live.answer.then((answer) => answer.text),
  ]);
  live.leave();
  return text;
};

test.each(ERAS.flatMap((era) => ['crm', 'old'].map((server) => [era, server] as const)))(
  'CI-08: a %s client that was asked by %s does not send it on',
  async (era, server) => {
    const client = `asked-${era}-${server}`;
    const before = got(rig, 'mail').length;
    expect(await shownBy(server)(client, era)).toContain('Anna Berg');
    expect(heldId(await agentOf(rig, client, { era })('mail', 'send', { text: FILE }))).toBeDefined();
    expect(got(rig, 'mail')).toHaveLength(before);
  },
);

test('CI-08: neither does who was asked in a task', async () => {
  const client = 'asked-task';
  const capabilities = { ...TASKS, ...DECLARED['elicitation.form'] };
  const how = { server: 'crm', client, capabilities, token: rig.token('omar', { client, server: 'crm' }) };
  const id = await begin(rig, 'job', how);
  expect(JSON.stringify(await reaches(rig, id, 'input_required', how))).toContain('Anna Berg');
  const before = got(rig, 'mail').length;
  expect(heldId(await agentOf(rig, client)('mail', 'send', { text: FILE }))).toBeDefined();
  expect(got(rig, 'mail')).toHaveLength(before);
});

test.each([
  ['a credential', ['AKIA', 'IOSFODNN7EXAMPLA'].join('')],
  ['hidden text', 'q\u202E\u200B1'],
  ['a picture', '![x](https://attacker.test/a)'],
])('CI-04, CI-06: %s as the name of a question reaches nobody', async (_what, key) => {
  rig.sink('crm').onCall(() => ({
    resultType: 'input_required',
    inputRequests: { [key]: { method: 'elicitation/create', params: { ...FORM, message: 'Which colour?' } } },
    requestState: 's',
  }));
  const how = { client: 'named', capabilities: DECLARED['elicitation.form'] };
  const answer = await rig.call('crm', 'read_file', { text: 'x' }, how);
  expect(answer.text).toContain('The server asked for something it may not ask');
  expect(JSON.stringify(answer)).not.toContain(key);
});
