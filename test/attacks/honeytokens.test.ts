/**
 * CI-07: a planted secret that somebody read at one server is moved into another one any way there is: in eight encodings and more, in
 * arguments, over several fields, in `_meta`, in a completion, in a URI, in what a prompt is given, in an answer to a question, in a task.
 * The oracle is the other server: none of it arrives, and the alarm is there at once. The twin without the guard shows that it would.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import { asksOnce, askedIn, retry } from '../gateway/asks-support.ts';
import { ERAS, startRig, tableWith, textTool } from '../support/rig.ts';
import type { Answer, Era, Rig, RigOptions } from '../support/rig.ts';
import { JOBS, TASKS, begin, reaches } from '../support/tasks.ts';
import type { Sink } from '../support/upstreams/sink.ts';
import { SPELLINGS } from './spellings.ts';

const OPEN: JsonObject = { type: 'object' };
const FREE = textTool('send', 'write', 'notes:write', { inputSchema: OPEN });

const offers = (sink: Sink): void => {
  sink.offer({
    prompts: [{ name: 'greet', arguments: [{ name: 'who' }] }],
    resourceTemplates: [{ uriTemplate: 'mail://{box}', name: 'box' }],
    resources: [{ uri: 'mail://inbox', name: 'inbox' }],
  });
  sink.on('completion/complete', () => ({ completion: { values: ['done'] } }));
};
const ASKS = ['elicitation.form', 'sampling', 'roots'] as const;

async function world(options: Partial<RigOptions> = {}) {
  const rig = await startRig({
    admin: true,
    servers: {
      files: {},
      mail: { tools: [FREE], script: offers, record: { asks: [...ASKS] } },
      old: { era: 'legacy', tools: [FREE], script: offers, record: { asks: [...ASKS] } },
      jobs: { tools: JOBS },
    },
    ...options,
  });
  await rig.policy('all', 'permit (principal, action, resource);');
  const made = await rig.admin('sven', 'POST', '/honeytokens', {
    id: 'crm-backup',
    title: 'CRM backup',
    placed: 'a note that the server files reads',
    owner: 'omar',
    reason: 'test',
  });
  if (made.status !== 201) throw new Error(made.text);
  await rig.caughtUp();
  return { rig, value: made.body['value'] as string };
}

let rig: Rig;
let value: string;
beforeAll(async () => void ({ rig, value } = await world()));
afterAll(() => rig.stop());

const flat = (text: string): string =>
  text
    .normalize('NFKC')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]/g, '');
/** Whatever the servers received holds the value in none of its spellings. */
function nothingArrived(one: Rig, secret: string): void {
  for (const server of ['mail', 'old', 'jobs']) {
    const wire = flat(one.sink(server).wire());
    for (const [name, spell] of Object.entries(SPELLINGS))
      expect([server, name, wire.includes(flat(spell(secret)))]).toEqual([server, name, false]);
  }
}
const refusedFor = (answer: Answer): void => {
  expect(answer.text).toContain('a credential');
  expect(answer.text).toContain('may not be sent to this server');
  expect(answer.text).not.toContain('crm-backup');
  expect(answer.text).not.toContain('honeytoken');
};

interface Way {
  readonly method: string;
  readonly params: (secret: string) => JsonObject;
  readonly meta?: (secret: string) => JsonObject;
}
const call = (args: JsonObject): JsonObject => ({ name: 'send', arguments: args });
const argument = (secret: string): JsonObject => ({ name: 'box', value: secret });
const half = (secret: string): readonly [string, string] => [secret.slice(0, 20), secret.slice(20)];
const WAYS: Readonly<Record<string, Way>> = {
  'an argument': { method: 'tools/call', params: (secret) => call({ text: `hello ${secret} there` }) },
  'an argument deep inside': { method: 'tools/call', params: (secret) => call({ a: [{ b: { c: [1, secret] } }] }) },
  'the name of an argument': { method: 'tools/call', params: (secret) => call({ [secret]: 1 }) },
  'two fields': { method: 'tools/call', params: (secret) => call({ a: half(secret)[0], b: half(secret)[1] }) },
  'a list of pieces': { method: 'tools/call', params: (secret) => call({ a: secret.match(/.{1,4}/g) }) },
  '_meta': { method: 'tools/call', params: () => call({}), meta: (secret) => ({ 'x/note': secret }) },
  'the name of a member of _meta': { method: 'tools/call', params: () => call({}), meta: (secret) => ({ [`x/${secret}`]: 1 }) },
  'an argument and _meta together': { method: 'tools/call', params: (secret) => call({ a: half(secret)[0] }), meta: (secret) => ({ 'x/b': half(secret)[1] }) },
  'an argument of a prompt': { method: 'prompts/get', params: (secret) => ({ name: 'greet', arguments: { who: secret } }) },
  'a URI': { method: 'resources/read', params: (secret) => ({ uri: `mail://${secret}` }) },
  'a completion': { method: 'completion/complete', params: (secret) => ({ ref: { type: 'ref/resource', uri: 'mail://{box}' }, argument: argument(secret) }) },
  'what else a completion was given': {
    method: 'completion/complete',
    params: (secret) => ({ ref: { type: 'ref/resource', uri: 'mail://{box}' }, argument: argument('d'), context: { arguments: { a: secret } } }),
  },
}; // prettier-ignore

describe.each(ERAS)('a %s client', (era) => {
  const take = (way: Way, spelled: string, server: string, one = rig): Promise<Answer> =>
    one.ask(server, way.method, way.params(spelled), { era, ...(way.meta && { meta: way.meta(spelled) }) });

  describe.each(['mail', 'old'])('towards the server %s', (server) => {
    test.each(Object.entries(WAYS))('CI-07: nothing arrives by %s', async (_name, way) => {
      refusedFor(await take(way, value, server));
      nothingArrived(rig, value);
    });

    test('CI-07: nothing arrives in any encoding', async () => {
      for (const [name, spell] of Object.entries(SPELLINGS)) {
        const answer = await take(WAYS['an argument']!, spell(value), server);
        expect([name, answer.text.includes('may not be sent')]).toEqual([name, true]);
      }
      nothingArrived(rig, value);
    });

    test('what is planted nowhere arrives by each of these ways', async () => {
      const other = value
        .split('')
        .toReversed()
        .map((one) => (one === 'a' ? 'b' : one))
        .join('x');
      for (const way of Object.values(WAYS)) await take(way, other, server);
      const wire = rig.sink(server).wire();
      expect(wire).toContain(other);
    });
  });

  test('CI-07: nothing arrives in an answer to a question', async () => {
    const params = {
      mode: 'form',
      message: 'Which colour?',
      requestedSchema: { type: 'object', properties: { colour: { type: 'string' } }, required: ['colour'] },
    };
    for (const server of ['mail', 'old']) {
      asksOnce(rig.sink(server), 'elicitation.form', params);
      const content = { action: 'accept', content: { colour: value } };
      const capabilities = { elicitation: { form: {} } };
      if (era === 'legacy') {
        const live = await rig.live(server, 'tools/call', call({}), { era, capabilities });
        const question = await live.event('elicitation/create');
        await live.say({ id: question['id']!, result: content });
        await live.answer;
      } else {
        const asked = askedIn(await rig.ask(server, 'tools/call', call({}), { capabilities }));
        const first = await retry(rig, server, asked, content, { capabilities }, call({}));
        expect(first.result).toMatchObject({ resultType: 'input_required' });
        // The question is open still; a clean answer ends it.
        const clean = { action: 'accept', content: { colour: 'red' } };
        const second = await retry(rig, server, askedIn(first), clean, { capabilities }, call({}));
        expect(second.text).toContain('red');
      }
      nothingArrived(rig, value);
    }
  });
});

test('CI-07: nothing arrives in a task', async () => {
  const how = { capabilities: TASKS };
  const answer = await rig.ask('jobs', 'tools/call', { name: 'optional_job', arguments: { text: value } }, how);
  refusedFor(answer);
  nothingArrived(rig, value);
  const there = { ...how, server: 'jobs' };
  const id = await begin(rig, 'optional_job', there);
  await reaches(rig, id, 'completed', there);
});

test('CI-07: what a server gives back of it reaches no client and no log, and raises the alarm, too', async () => {
  rig
    .sink('files')
    .onCall(() => ({ content: [{ type: 'text', text: `note: ${value}` }], structuredContent: { a: [value] } }));
  for (const era of ERAS) {
    const answer = await rig.call('files', 'read_note', { text: 'x' }, { era });
    expect(answer.text).not.toContain(value);
    expect(answer.text).toContain('[redacted:');
  }
  expect(rig.disk()).not.toContain(value);
  expect(JSON.stringify([rig.logged, await rig.entries()])).not.toContain(value);
});

test('CI-07: the alarm is a record, a finding and an entry that names who, within the minute', async () => {
  await rig.until('the incident is a record', () => [...rig.view.records('incident', 'default')].length > 0);
  const listed = await rig.admin('omar', 'GET', '/incidents');
  expect(listed.body).toMatchObject({
    incidents: [{ what: 'honeytoken', subject: 'honeytoken/crm-backup', severity: 'alarm', facts: { owner: 'omar' } }],
  });
  const [first] = await rig.entries('incident');
  expect(first).toMatchObject({
    event: { what: 'honeytoken', subject: 'honeytoken/crm-backup', direction: 'out', action: 'block' },
    actor: { person: 'dana' },
  });
  const denied = (await rig.entries('denial')).find(({ ref }) => ref === first!.event!['ref']);
  expect(denied?.decision).toMatchObject({
    guard: 'arguments-are-clean',
    reason: 'content_blocked:honeytoken.crm-backup',
  });
  expect(Date.parse(first!.time) - Date.parse(denied!.time)).toBeLessThan(60_000);
  expect((await rig.admin('omar', 'GET', '/findings')).text).toContain('incident_open');
});

test('a retired one is looked for no longer, and one closed opens again', async () => {
  const here = await world();
  try {
    const send = (secret: string): Promise<Answer> => here.rig.call('mail', 'send', { text: secret });
    const open = () =>
      [...here.rig.view.records('incident', 'default')].filter(({ body }) => body['closed'] === undefined);
    refusedFor(await send(here.value));
    await here.rig.until('it is open', () => open().length === 1);
    const [{ id, revision }] = open() as unknown as [{ id: string; revision: number }];
    const close = { reason: 'test' };
    expect(
      (await here.rig.admin('sven', 'POST', `/incidents/${id}/close`, close, { 'if-match': `"${revision}"` })).status,
    ).toBe(200);
    refusedFor(await send(here.value));
    await here.rig.until('it is open again', () => open().length === 1);
    const planted = here.rig.view.get('honeytoken', 'default', 'crm-backup')!;
    const match = { 'if-match': `"${planted.revision}"` };
    const asked = await here.rig.admin('sven', 'POST', '/honeytokens/crm-backup/retire', { reason: 'over' }, match);
    await here.rig.caughtUp();
    // One person alone turns no alarm off.
    refusedFor(await send(here.value));
    const { digest } = asked.body['retiring'] as { readonly digest: string };
    const agreed = await here.rig.admin('ada', 'POST', '/honeytokens/crm-backup/retire/approve', {
      reason: 'over',
      digest,
    });
    expect(agreed.status).toBe(200);
    await here.rig.caughtUp();
    expect((await send(here.value)).text).not.toContain('may not be sent');
  } finally {
    await here.rig.stop();
  }
});

test.each(ERAS)('CI-07 twin: %s: without the guard all of it arrives', async (era: Era) => {
  const twin = await world({ table: tableWith({ 'arguments-are-clean': null }) });
  try {
    for (const way of Object.values(WAYS))
      await twin.rig.ask('mail', way.method, way.params(twin.value), {
        era,
        ...(way.meta && { meta: way.meta(twin.value) }),
      });
    const wire = twin.rig.sink('mail').wire();
    expect(wire.split(twin.value).length - 1).toBeGreaterThanOrEqual(8);
  } finally {
    await twin.rig.stop();
  }
});
