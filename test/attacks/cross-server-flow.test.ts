/**
 * Data of one server in a call to another (CI-08), over the whole gateway: an agent reads a customer's file and sends it on. The policy says
 * where it may not go; the oracle is the server that would get it. What recognition cannot see is in the table, too.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startGateway } from '../../src/gateway/gateway.ts';
import type { Gateway, GatewayDeps } from '../../src/gateway/gateway.ts';
import { learn } from '../../src/gateway/guard.ts';
import type { Server } from '../../src/inventory/records.ts';
import { sha256Hex } from '../../src/lib/bytes.ts';
import { manualClock } from '../../src/lib/clock.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { NO_FLOW } from '../../src/policy/labels.ts';
import { openStream } from '../support/event-stream.ts';
import { ERAS, JSON_HEADERS, modernHeaders, tableWith, textTool } from '../support/rig.ts';
import type { Answer, CallOptions, Rig, RigOptions } from '../support/rig.ts';
import { TASKS, onTask } from '../support/tasks.ts';
import { testPool } from '../support/upstreams/open.ts';
import {
  READS_NO_TRACE,
  agentOf,
  got,
  heldId,
  lastOf,
  passed,
  says,
  stage,
  textOf,
  traceparent,
} from './replays/scene.ts';
import type { Use } from './replays/scene.ts';

const WINDOW_MS = 10 * 60_000;
const FILE = 'Anna Berg, born 12 March 1971, has not paid since June; the lawyers have the file, do not call her.';
const clock = manualClock(Date.now());

const WORDS = { type: 'object', properties: { words: { type: 'string' } }, required: ['words'] } as const;
const inside: Partial<Server> = { environment: 'staging', dataClasses: ['internal'] };
const SERVERS: NonNullable<RigOptions['servers']> = {
  crm: {
    tools: [
      textTool('read_file', 'read', 'notes:read'),
      textTool('export_file', 'read', 'notes:read', { execution: { taskSupport: 'optional' } }),
      textTool('answer', 'write', 'notes:write'),
    ],
    record: { environment: 'staging', dataClasses: ['confidential'] },
    script: (sink) => sink.onCall(says(FILE)),
  },
  archive: {
    tools: [textTool('store', 'write', 'notes:write')],
    record: { environment: 'staging', dataClasses: ['confidential'] },
  },
  wiki: {
    tools: [textTool('read_page', 'read', 'notes:read'), textTool('write_page', 'write', 'notes:write')],
    record: inside,
    script: (sink) => sink.onCall(says(`A page: ${FILE.split('').toReversed().join('')}`)),
  },
  mail: {
    tools: [textTool('send', 'write', 'notes:write'), textTool('draft', 'write', 'notes:write')],
    record: inside,
  },
  asking: {
    era: 'legacy',
    tools: [textTool('post', 'write', 'notes:write')],
    record: { ...inside, asks: ['elicitation.form'] },
    script: (sink) =>
      sink.onCall(async ({ ask }) => {
        const answer = await ask('elicitation/create', { message: 'Which words?', requestedSchema: WORDS });
        return { content: [{ type: 'text', text: JSON.stringify(answer['result'] ?? answer['error']) }] };
      }),
  },
};
const SAID = { 'mail/send': { outward: true }, 'asking/post': { outward: true } };

let parts: GatewayDeps | null = null;
const start = (more: RigOptions = {}): Promise<Rig> =>
  stage(
    {
      servers: SERVERS,
      clock,
      wrap: (deps) => (parts = { ...deps, labelWindowMs: WINDOW_MS }),
      ...more,
    },
    SAID,
  );

let rig: Rig;
let use: Use;
let client = '';
let agents = 0;
beforeAll(async () => {
  rig = await start({ admin: true });
});
afterAll(() => rig.stop());
beforeEach(() => {
  client = `agent-${++agents}`;
  use = agentOf(rig, client);
});

describe('a file that was read in one server', () => {
  const table: ReadonlyArray<readonly [string, string, boolean]> = [
    ['copied', FILE, true],
    ['in capitals', FILE.toUpperCase(), true],
    ['cut off after 60 characters', FILE.slice(0, 60), true],
    ['within other words', `As discussed: ${FILE} Regards`, true],
    ['as a short piece', FILE.slice(0, 25), false],
    ['in other words', 'Mrs B. is being sued over an invoice, please leave her alone for the moment.', false],
    ['encoded', Buffer.from(FILE).toString('base64'), false],
  ];
  test.each(table)('CI-08: %s goes out only as the table says', async (_title, text, held) => {
    expect(textOf(await use('crm', 'read_file'))).toBe(FILE);
    const before = got(rig, 'mail').length;
    const answer = await use('mail', 'send', { text });
    expect(heldId(answer) !== undefined, answer.text).toBe(held);
    expect(got(rig, 'mail').slice(before)).toEqual(held ? [] : [JSON.stringify({ text })]);
  });

  test.each(ERAS)('CI-08: %s: is held, agreed to by somebody else, and leaves once, exactly so', async (era) => {
    use = agentOf(rig, client, { era });
    await use('crm', 'read_file');
    const before = got(rig, 'mail').length;
    const first = await use('mail', 'send', { text: FILE });
    const id = heldId(first);
    expect((await rig.about(first.reference))[0]).toMatchObject({
      decision: { verdict: 'hold', reason: 'approval_needed', approval: id },
    });
    const { body } = await rig.admin('petra', 'GET', `/approvals/${id}`);
    expect(body['because']).toEqual([
      expect.stringMatching(/^baseline\.copied-flow: Text that a server /),
      'The arguments hold text that came from crm.',
    ]);
    expect((await rig.admin('petra', 'POST', `/approvals/${id}/approve`, { call: body['call']! })).status).toBe(200);
    expect(heldId(await use('mail', 'send', { text: `${FILE} And more.` }))).not.toBe(id);
    expect(passed(await use('mail', 'send', { text: FILE }))).toBe(true);
    expect(got(rig, 'mail').slice(before)).toEqual([JSON.stringify({ text: FILE })]);
  });

  test('CI-08: goes to no server that is not for such data, to one that is, and back', async () => {
    await use('crm', 'read_file');
    const before = got(rig, 'wiki').length;
    expect(heldId(await use('wiki', 'write_page', { text: FILE }))).toBeDefined();
    expect(heldId(await use('mail', 'draft', { text: FILE }))).toBeDefined();
    expect(got(rig, 'wiki')).toHaveLength(before);
    expect(passed(await use('archive', 'store', { text: FILE }))).toBe(true);
    expect(passed(await use('crm', 'answer', { text: FILE }))).toBe(true);
  });

  test('CI-08: what came from a server without such data passes, and so do own words of who read the file', async () => {
    const page = textOf(await use('wiki', 'read_page'));
    expect(passed(await use('mail', 'send', { text: page }))).toBe(true);
    await use('crm', 'read_file');
    expect(
      passed(await use('mail', 'send', { text: 'The meeting is moved to Thursday at ten, same room as always.' })),
    ).toBe(true);
    expect(
      passed(await use('wiki', 'write_page', { text: 'Opening hours: Monday to Friday from nine to five o’clock.' })),
    ).toBe(true);
  });

  test('CI-08: another agent, and another person, are other traces', async () => {
    await use('crm', 'read_file');
    expect(passed(await agentOf(rig, 'unrelated')('mail', 'send', { text: FILE }))).toBe(true);
    expect(passed(await agentOf(rig, client, { as: 'otto' })('mail', 'send', { text: FILE }))).toBe(true);
  });

  test('CI-08: is forgotten with the window', async () => {
    await use('crm', 'read_file');
    clock.advance(WINDOW_MS - 1);
    expect(heldId(await use('mail', 'send', { text: FILE }))).toBeDefined();
    clock.advance(WINDOW_MS / 8 + 2);
    expect(passed(await use('mail', 'send', { text: FILE }))).toBe(true);
  });
});

describe('it is recognised however it came', () => {
  const sent = async (): Promise<boolean> => {
    const before = got(rig, 'mail').length;
    const held = heldId(await use('mail', 'send', { text: FILE })) !== undefined;
    expect(got(rig, 'mail').length - before).toBe(held ? 0 : 1);
    return held;
  };
  const token = (server: string): string => rig.token('omar', { client, server });

  test('CI-08: and what a server says in an error does not come at all', async () => {
    rig.sink('crm').intercept(({ message }) => {
      if (message?.['method'] !== 'tools/call') return null;
      const body = JSON.stringify({ jsonrpc: '2.0', id: message['id'], error: { code: -32_000, message: FILE } });
      return { status: 200, headers: { 'content-type': 'application/json' }, body };
    });
    const failed = await use('crm', 'read_file');
    rig.sink('crm').intercept(null);
    expect(failed.text).toContain('-32000');
    expect(failed.text).not.toContain('Anna Berg');
  });

  test.each(ERAS)('CI-08: %s: as progress, while the call still runs', async (era) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    rig.sink('crm').onCall(async ({ notify, message }) => {
      const { progressToken } = (message['params'] as { _meta: JsonObject })._meta;
      notify('notifications/progress', { progressToken, progress: 1, message: FILE });
      await promise;
      return { content: [] };
    });
    const params = { name: 'read_file', arguments: { text: 'x' } };
    const running = await rig.live('crm', 'tools/call', params, {
      era,
      token: token('crm'),
      meta: { progressToken: 1 },
    });
    await running.event('notifications/progress');
    expect(await sent()).toBe(true);
    resolve();
    await running.answer;
    rig.sink('crm').onCall(says(FILE));
  });

  test('CI-08: as the result of a task that is fetched when the window of its call is long over', async () => {
    const params = { name: 'export_file', arguments: { text: 'x' } };
    const begun = await rig.ask('crm', 'tools/call', params, { token: token('crm'), capabilities: TASKS });
    const id = begun.result?.['taskId'] as string;
    const look = () => onTask(rig, 'tasks/get', id, { server: 'crm', token: token('crm') });
    await rig.until('the task to be over', async () => (await look()).result?.['status'] === 'completed');
    clock.advance(WINDOW_MS * 2);
    expect((await look()).text).toContain('Anna Berg');
    expect(await sent()).toBe(true);
  });

  test('CI-08: and in what a client answers to a question of the server', async () => {
    const post = async (words: string): Promise<string> => {
      const how = { era: 'legacy', token: token('asking'), capabilities: { elicitation: { form: {} } } } as const;
      const params = { name: 'post', arguments: { text: 'x' } };
      const running = await rig.live('asking', 'tools/call', params, how);
      const { id } = await running.event('elicitation/create');
      await running.say({ id: id!, result: { action: 'accept', content: { words } } });
      return lastOf(await running.answer);
    };
    await use('crm', 'read_file');
    expect(await post('just a plain red')).toContain('plain red');
    const copied = await post(FILE);
    expect(copied).not.toContain('Anna Berg');
    expect(copied).toContain('gave no usable answer');
  });
});

describe('agents that work in one W3C trace', () => {
  const idOf = (name: string): string => sha256Hex(`${client} ${name}`).slice(0, 32);
  const other = (how: CallOptions, name = 'writer'): Use => agentOf(rig, `${client}-${name}`, { as: 'otto', ...how });

  test('CI-08: what one reads, another one sends nowhere; other words leave', async () => {
    const how = traceparent(idOf('one'));
    await agentOf(rig, client, how)('crm', 'read_file');
    const before = ['mail', 'wiki'].map((server) => got(rig, server).length);
    const held = heldId(await other(how)('mail', 'send', { text: FILE }));
    expect((await rig.admin('petra', 'GET', `/approvals/${held}`)).body['because']).toEqual([
      expect.stringMatching(/^baseline\.copied-flow: /),
      'The arguments hold text that came from crm.',
    ]);
    expect(heldId(await other(how)('wiki', 'write_page', { text: FILE }))).toBeDefined();
    expect(['mail', 'wiki'].map((server) => got(rig, server).length)).toEqual(before);
    expect(passed(await other(how)('mail', 'send', { text: 'The meeting is moved to Thursday at ten.' }))).toBe(true);
    expect(passed(await other(how)('archive', 'store', { text: FILE }))).toBe(true);
  });

  test('CI-08: a rule about servers holds for all of them, and who decides reads why', async () => {
    const how = traceparent(idOf('zones'));
    await rig.policy(
      'zones',
      `forbid (principal, action == Remit::Action::"callTool", resource in Remit::Server::"wiki")
    when { context.receivedFrom.contains("crm") } unless { context.approved };`,
    );
    const before = got(rig, 'wiki').length;
    await agentOf(rig, client, how)('crm', 'read_file');
    const held = heldId(await other(how)('wiki', 'write_page'));
    expect((await rig.admin('petra', 'GET', `/approvals/${held}`)).body['because']).toEqual([
      'zones demands it.',
      'Before this call another agent in the same trace received something from crm.',
    ]);
    expect(got(rig, 'wiki')).toHaveLength(before);
    expect(passed(await other({})('wiki', 'write_page'))).toBe(true);
    await rig.policy('zones', null);
  });

  test('CI-08: what a task gave is recognised in the trace in which it began, and in that of who fetches it', async () => {
    const token = (): string => rig.token('omar', { client, server: 'crm' });
    const params = { name: 'export_file', arguments: { text: 'x' } };
    const begun = await rig.ask('crm', 'tools/call', params, {
      token: token(),
      capabilities: TASKS,
      ...traceparent(idOf('begun')),
    });
    const id = begun.result?.['taskId'] as string;
    const look = (how: CallOptions = {}): Promise<Answer> =>
      onTask(rig, 'tasks/get', id, { server: 'crm', token: token(), ...how });
    await rig.until('the task to be over', async () => (await look()).result?.['status'] === 'completed');
    clock.advance(WINDOW_MS * 2);
    const sends = async (name: string): Promise<boolean> =>
      passed(await other(traceparent(idOf(name)), name)('mail', 'send', { text: FILE }));
    const names = ['begun', 'fetched', 'elsewhere'];
    for (const name of names) expect(await sends(name)).toBe(true);
    const before = got(rig, 'mail').length;
    expect((await look(traceparent(idOf('fetched')))).text).toContain('Anna Berg');
    for (const name of names) expect(await sends(name)).toBe(name === 'elsewhere');
    expect(got(rig, 'mail')).toHaveLength(before + 1);
  });
});

describe('on several nodes', () => {
  let node: Gateway;
  let close: () => Promise<void>;
  const begin = async (name: string): Promise<void> => {
    const pool = testPool();
    node = await startGateway({ ...parts!, node: name, pool });
    for (const server of ['crm', 'mail', 'wiki']) await node.refresh(server);
    close = async () => {
      await node.close();
      await pool.closeAll();
    };
  };
  beforeAll(async () => begin('rig-2'));
  afterAll(() => close());
  const there = async (server: string, tool: string, text: string): Promise<string> => {
    const bearer = rig.token('omar', { client, audience: node.listener.resourceUrl(server) });
    const params = { name: tool, arguments: { text } };
    const meta = {
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
      'io.modelcontextprotocol/clientCapabilities': {},
    };
    const answer = await openStream(node.listener.resourceUrl(server), {
      method: 'POST',
      headers: {
        ...JSON_HEADERS,
        authorization: `Bearer ${bearer}`,
        ...modernHeaders('tools/call', params),
        accept: 'application/json',
      },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { ...params, _meta: meta } }),
    });
    await answer.end(20_000);
    return answer.text();
  };

  test('CI-08: a node that did not see the file holds whatever would leave, and only that', async () => {
    await use('crm', 'read_file');
    const before = got(rig, 'mail').length;
    for (const text of [FILE, 'Something else entirely, which this node cannot know is something else.'])
      expect(await there('mail', 'send', text)).toMatch(/approval \(apr_/);
    expect(got(rig, 'mail')).toHaveLength(before);
    expect(await there('wiki', 'write_page', 'Opening hours: Monday to Friday.')).not.toMatch(/approval \(apr_/);
    // The node that saw it tells them apart.
    expect(passed(await use('mail', 'send', { text: 'Something else entirely, which this node does know.' }))).toBe(
      true,
    );
  });

  test('CI-08: so does the node that did, once others saw some of it, too', async () => {
    await use('crm', 'read_file');
    await there('crm', 'read_file', 'x');
    const before = got(rig, 'mail').length;
    expect(heldId(await use('mail', 'send', { text: 'Something else entirely.' }))).toBeDefined();
    expect(got(rig, 'mail')).toHaveLength(before);
  });

  test('CI-08: and one that was started again', async () => {
    await there('crm', 'read_file', 'x');
    expect(await there('mail', 'send', 'Something else.')).not.toMatch(/approval \(apr_/);
    expect(await there('mail', 'send', FILE)).toMatch(/approval \(apr_/);
    await close();
    await begin('rig-2');
    expect(await there('mail', 'send', 'Something else.')).toMatch(/approval \(apr_/);
  });
});

test('CI-08: a reading that is under way, or that failed, is nothing to copy', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  rig.sink('crm').onCall(async () => {
    asked.resolve();
    await promise;
    throw new Error('broken');
  });
  const reading = use('crm', 'read_file');
  await asked.promise;
  expect(passed(await use('mail', 'send', { text: 'Nothing of anybody.' }))).toBe(true);
  resolve();
  expect(passed(await reading)).toBe(false);
  expect(passed(await use('mail', 'send', { text: 'Nothing of anybody.' }))).toBe(true);
  rig.sink('crm').onCall(says(FILE));
});

describe('a rule that looks at no text', () => {
  const RULE = `forbid (principal, action == Remit::Action::"callTool", resource in Remit::Server::"wiki")
    when { context.receivedFrom.contains("crm") };`;
  test('CI-08: nothing from one server reaches another, on no node, for as long as a label lasts', async () => {
    await rig.policy('zones', RULE);
    const before = got(rig, 'wiki').length;
    expect(passed(await use('wiki', 'write_page'))).toBe(true);
    await use('crm', 'read_file');
    const refused = await use('wiki', 'write_page');
    expect((await rig.about(refused.reference))[0]).toMatchObject({ decision: { verdict: 'deny', rules: ['zones'] } });
    expect(got(rig, 'wiki')).toHaveLength(before + 1);
    expect(passed(await use('mail', 'send'))).toBe(true);
    clock.advance((WINDOW_MS * 9) / 8 + 1);
    expect(passed(await use('wiki', 'write_page'))).toBe(true);
    await rig.policy('zones', null);
  });
  test('CI-08: a rule may name whose text it means', async () => {
    await rig.policy(
      'no-crm-in-archive',
      'forbid (principal, action, resource in Remit::Server::"archive") when { context.copiedFrom.contains("crm") };',
    );
    await use('crm', 'read_file');
    expect(passed(await use('archive', 'store', { text: 'something' }))).toBe(true);
    const before = got(rig, 'archive').length;
    expect(passed(await use('archive', 'store', { text: FILE }))).toBe(false);
    expect(got(rig, 'archive')).toHaveLength(before);
    await rig.policy('no-crm-in-archive', null);
  });
});

describe('twins', () => {
  const lands = async (on: Rig, how: CallOptions = {}, writer = client): Promise<void> => {
    try {
      await agentOf(on, client, how)('crm', 'read_file');
      await agentOf(on, writer, how)('mail', 'send', { text: FILE });
      expect(got(on, 'mail')).toEqual([JSON.stringify({ text: FILE })]);
    } finally {
      await on.stop();
    }
  };
  test('CI-08: twin: without the policy the file leaves', async () => {
    const open = await start();
    await open.policy('baseline.copied-flow', null);
    await lands(open);
  });
  test('CI-08: twin: without recognition the file leaves', async () => {
    await lands(await start({ table: tableWith({ 'trace-is-known': () => learn({ flow: NO_FLOW }) }) }));
  });
  test('CI-08: twin: where no W3C trace is read, another agent in it sends the file', async () => {
    await lands(await start({ table: READS_NO_TRACE }), traceparent('ab'.repeat(16)), `${client}-writer`);
  });
});
