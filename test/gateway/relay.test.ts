/**
 * What comes before a reply: progress, log lines, questions; and what ends a call early. Real SDKs in all pairs of eras, then sinks.
 * Nothing of it leaves before a record of the call is durable, nothing after a lock, and nothing uninspected (PH-07).
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { AuditEntry } from '../../src/audit/entry.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { startEverything } from '../conformance/everything.ts';
import { SDKS, connectSdk, isModern } from '../support/clients.ts';
import { ERAS, startRig, textTool } from '../support/rig.ts';
import type { CallOptions, Era, Rig } from '../support/rig.ts';
import type { SinkCall } from '../support/upstreams/sink.ts';
import { CAN_FILL, FORM, TOOL_CALL, asksOnce, firstLeg, retry } from './asks-support.ts';

const closers: Array<() => Promise<unknown>> = [];
let rig: Rig;

beforeAll(async () => {
  const everything = await Promise.all(ERAS.map((era) => startEverything(era)));
  closers.push(...everything.map((one) => () => one.close()));
  const real = Object.fromEntries(ERAS.map((era, at) => [`real-${era}`, { era, url: everything[at]!.url }]));
  const tools = [textTool('read_note', 'read', 'notes:read'), textTool('write_note', 'write', 'notes:write')];
  const sinks = Object.fromEntries(ERAS.map((era) => [era, { era, tools }]));
  rig = await startRig({ servers: { ...real, ...sinks } });
  closers.unshift(() => rig.stop());
  await rig.policy('all', 'permit (principal, action, resource);');
});
afterAll(async () => {
  for (const close of closers) await close();
});
afterEach(() => {
  rig.faults.before = null;
  rig.faults.after = null;
});

const PAIRS = SDKS.flatMap((sdk) => ERAS.map((era) => [sdk, era] as const));

describe.each(PAIRS)('an SDK %s client at a %s server', (sdk, era) => {
  test('hears progress as it comes', async () => {
    const client = await connectSdk(rig, sdk, `real-${era}`);
    const heard: unknown[] = [];
    const { text } = await client.call('test_tool_with_progress', {}, { onprogress: (one) => heard.push(one) });
    expect(text).toBe('Reported progress.');
    expect(heard).toEqual([0, 50, 100].map((progress) => ({ progress, total: 100 })));
    await client.close();
  });

  test('hears log lines of its call, of the level it wants', async () => {
    const client = await connectSdk(rig, sdk, `real-${era}`, { logLevel: 'info' });
    if (!isModern(sdk)) await client.setLevel('info');
    await client.call('test_tool_with_logging');
    expect(client.heard.map(({ params }) => params['data'])).toEqual(['started', 'working', 'finished']);
    await client.close();
  });

  test('hears none that are below the level it wants', async () => {
    const client = await connectSdk(rig, sdk, `real-${era}`, { logLevel: 'error' });
    if (!isModern(sdk)) await client.setLevel('error');
    await client.call('test_tool_with_logging');
    expect(client.heard).toEqual([]);
    await client.close();
  });

  test('cancels its call', async () => {
    const client = await connectSdk(rig, sdk, era);
    let gone = false;
    const cancels = (): number => rig.sink(era).wire().split('notifications/cancelled').length;
    const cancelled = cancels();
    rig.sink(era).onCall(async (call) => {
      await Promise.race([call.gone, rig.until('', () => cancels() > cancelled, 20_000)]);
      gone = true;
      return { content: [] };
    });
    const before = rig.sink(era).calls().length;
    const stop = new AbortController();
    const call = client.call('write_note', { text: 'x' }, { signal: stop.signal });
    await rig.until('the server was called', () => rig.sink(era).calls().length > before);
    stop.abort();
    await expect(call).rejects.toThrow();
    await rig.until('the server heard of it', () => gone);
    await rig.until('the outcome is in the log', async () => (await lastOutcome())?.outcome?.status === 'cancelled');
    await client.close();
  });
});

test('a modern client that does not ask for log lines gets none', async () => {
  const client = await connectSdk(rig, 'v2-modern', 'real-legacy');
  await client.call('test_tool_with_logging');
  expect(client.heard).toEqual([]);
  await client.close();
});

const lastOutcome = async (): Promise<AuditEntry | undefined> => (await rig.entries('outcome', 'call')).at(-1);
const events = (text: string): readonly JsonObject[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('data: {'))
    .map((line) => JSON.parse(line.slice(6)) as JsonObject);
const params = (event: JsonObject | undefined): JsonObject => (event?.['params'] ?? {}) as JsonObject;
const tokenOf = ({ message }: SinkCall): unknown =>
  (message['params'] as { _meta?: Record<string, unknown> })._meta?.['progressToken'];
const done = { content: [{ type: 'text', text: 'done' }] };
const say = (era: Era, how: CallOptions, tool = 'write_note') =>
  rig.ask(era, 'tools/call', { ...TOOL_CALL, name: tool }, how);
const CROSS = ERAS.flatMap((client) => ERAS.map((server) => [client, server] as const));
const LOG: JsonObject = { 'io.modelcontextprotocol/logLevel': 'debug' };
/** Wants everything that can come. */
const wants = (era: Era, token: string | number = 't'): CallOptions => ({
  era,
  meta: { progressToken: token, ...(era === 'modern' && LOG) },
});

describe.each(CROSS)('a %s client at a %s server', (client, server) => {
  test.each(['a text', 7, 0])(
    'progress has the token of the client, %s, and the server a token of ours',
    async (token) => {
      let theirs: unknown;
      rig.sink(server).onCall((call) => {
        theirs = tokenOf(call);
        call.notify('notifications/progress', { progressToken: theirs, progress: 1, message: 'half' });
        return done;
      });
      const [event] = events((await say(server, wants(client, token))).text);
      expect(event).toMatchObject({ method: 'notifications/progress', params: { progressToken: token, progress: 1 } });
      expect(theirs).not.toBe(token);
    },
  );

  test('progress only rises, has a number, is of this call, and ends with the reply', async () => {
    let after: (() => void) | undefined;
    rig.sink(server).onCall((call) => {
      const say_ = (progress: unknown, progressToken: unknown = tokenOf(call)): void =>
        call.notify('notifications/progress', { progressToken, progress });
      say_(1);
      say_(1);
      say_(0.5);
      say_('2');
      say_(null);
      say_(5, 'of somebody else');
      say_(3);
      after = () => say_(4);
      return done;
    });
    const answer = await say(server, wants(client));
    after?.();
    const heard = events(answer.text);
    expect(heard.map((event) => params(event)['progress'])).toEqual([1, 3, undefined]);
    expect(heard.at(-1)).toHaveProperty('result');
  });

  test('PH-07: secrets and hidden characters in progress and log lines stay here, however deep', async () => {
    const secret = `ghp_${'a1B2'.repeat(9)}`;
    const hidden = `see${String.fromCodePoint(0xe0041, 0xe0042, 0x200b)}n`;
    rig.sink(server).onCall((call) => {
      call.notify('notifications/progress', {
        progressToken: tokenOf(call),
        progress: 1,
        message: `with ${secret} ${hidden}`,
      });
      call.notify('notifications/message', {
        level: 'error',
        logger: secret,
        data: { deep: [{ key: secret, text: hidden }] },
      });
      return done;
    });
    const { text } = await say(server, wants(client));
    expect(events(text)).toHaveLength(3);
    expect(text).not.toContain(secret);
    expect(text).not.toMatch(/[\u{e0000}-\u{e007f}\u200b]/u);
    expect(text).toContain('seen');
  });

  test('PH-07: what is no progress and no log line is not passed on', async () => {
    rig.sink(server).onCall((call) => {
      call.notify('notifications/tools/list_changed', {});
      call.notify('notifications/elicitation/complete', { elicitationId: 'x' });
      call.notify('notifications/initialized', {});
      call.notify('notifications/cancelled', { requestId: 7 });
      call.notify('notifications/progress', {
        progressToken: tokenOf(call),
        progress: 1,
        extra: 'smuggled',
        _meta: { a: 'smuggled' },
      });
      return done;
    });
    const { text } = await say(server, wants(client));
    expect(events(text).map(({ method }) => method)).toEqual(['notifications/progress', undefined]);
    expect(text).not.toContain('smuggled');
  });

  test('PH-07: a flood is cut off, and the reply still comes', async () => {
    rig.sink(server).onCall((call) => {
      for (let at = 1; at <= 2_000; at++)
        call.notify('notifications/progress', { progressToken: tokenOf(call), progress: at });
      return done;
    });
    const heard = events((await say(server, wants(client))).text);
    // At most a second's worth in each of the seconds this took; it did not take ten.
    expect(heard.length).toBeLessThan(1_000);
    expect(heard.at(-1)).toHaveProperty('result');
    const { outcome } = (await lastOutcome())!;
    expect(outcome).toMatchObject({ status: 'ok', sent: { count: heard.length - 1 } });
  });

  test('PH-07: what is long is dropped, and of what is not, not much passes in a second; the reply still comes', async () => {
    rig.sink(server).onCall((call) => {
      const tell = (progress: number, bytes: number): void =>
        call.notify('notifications/progress', {
          progressToken: tokenOf(call),
          progress,
          message: 'x'.repeat(bytes),
        });
      tell(1, 70_000);
      for (let at = 2; at <= 100; at++) tell(at, 50_000);
      return done;
    });
    const heard = events((await say(server, wants(client))).text);
    // Five of these in each of the seconds this took; it did not take ten.
    expect(heard.length).toBeLessThan(50);
    expect(heard[0]).toMatchObject({ params: { progress: 2 } });
    expect(heard.at(-1)).toHaveProperty('result');
  });

  test.each(['read_note', 'write_note'])('no progress of %s leaves before its intent is durable', async (tool) => {
    const { promise: allowed, resolve: allow } = Promise.withResolvers<void>();
    rig.faults.before = (entry) => (entry.kind === 'intent' && tool === 'read_note' ? allowed : undefined);
    rig.sink(server).onCall(async (call) => {
      call.notify('notifications/progress', { progressToken: tokenOf(call), progress: 1 });
      await allowed;
      return done;
    });
    const live = await rig.live(server, 'tools/call', { ...TOOL_CALL, name: tool }, wants(client));
    if (tool === 'read_note') {
      await rig.until('the server was called', () => rig.sink(server).calls().length > 0);
      expect(live.events).toEqual([]);
    }
    allow();
    await live.answer;
    expect(live.events).toHaveLength(2);
    const last = (await rig.entries()).slice(-2).map(({ kind }) => kind);
    expect(last).toEqual(['intent', 'outcome']);
  });

  test('no progress leaves, and no reply, when its intent cannot be recorded', async () => {
    rig.faults.before = () => {
      throw new Error('no');
    };
    rig.sink(server).onCall((call) => {
      call.notify('notifications/progress', { progressToken: tokenOf(call), progress: 1 });
      return done;
    });
    const live = await rig.live(server, 'tools/call', { ...TOOL_CALL, name: 'read_note' }, wants(client));
    const answer = await live.answer;
    expect(answer.text).not.toMatch(/progress|done/);
    expect(answer.status).toBe(503);
  });

  test('the reply is withheld when its outcome cannot be recorded', async () => {
    rig.faults.before = (entry) => {
      if (entry.kind === 'outcome') throw new Error('no');
    };
    rig.sink(server).onCall((call) => {
      call.notify('notifications/progress', { progressToken: tokenOf(call), progress: 1 });
      return done;
    });
    const heard = events((await say(server, wants(client))).text);
    expect(heard.at(-1)).toMatchObject({ error: { code: 5030 } });
    expect(JSON.stringify(heard)).not.toContain('done');
  });

  test('nothing leaves after a lock that fell while it streamed', async () => {
    const { promise: locked, resolve: proceed } = Promise.withResolvers<void>();
    let told: Promise<void> | undefined;
    rig.sink(server).onCall(async (call) => {
      told = call.gone;
      call.notify('notifications/progress', { progressToken: tokenOf(call), progress: 1 });
      await locked;
      call.notify('notifications/progress', { progressToken: tokenOf(call), progress: 2, message: 'too late' });
      return { content: [{ type: 'text', text: 'too late' }] };
    });
    const live = await rig.live(server, 'tools/call', TOOL_CALL, wants(client));
    await live.event('notifications/progress');
    const lock = await rig.lock({ kind: 'tool', value: `${server}/write_note` });
    proceed();
    const { text } = await live.answer;
    await rig.unlock(lock);
    expect(text).not.toContain('too late');
    expect(text).toContain('Access was withdrawn while the call ran');
    if (server === 'modern') await told;
  });

  test('RL-05: a call whose answer was lost is not made again, and its caller is told that it may have been', async () => {
    const before = rig.sink(server).calls().length;
    rig.sink(server).intercept(({ message }) => (message?.['method'] === 'tools/call' ? 'drop' : null));
    const { result, text } = await say(server, wants(client));
    rig.sink(server).intercept(null);
    expect(result ?? events(text).at(-1)?.['result']).toMatchObject({ isError: true });
    expect(text).toContain('Whether the call had an effect is unknown');
    expect(rig.sink(server).calls()).toHaveLength(before + 1);
    expect((await lastOutcome())?.outcome?.status).toBe('failed');
  });

  test('RL-03: a client that leaves: the modern one cancels its call, the legacy one does not', async () => {
    const { promise: proceed, resolve: finish } = Promise.withResolvers<void>();
    let gone = false;
    rig.sink(server).onCall(async (call) => {
      void call.gone.then(() => (gone = true));
      await Promise.race([proceed, call.gone]);
      return done;
    });
    const before = rig.sink(server).calls().length;
    const cancels = (): number => rig.sink(server).wire().split('notifications/cancelled').length;
    const cancelled = cancels();
    const live = await rig.live(server, 'tools/call', TOOL_CALL, { era: client });
    await rig.until('the server was called', () => rig.sink(server).calls().length > before);
    live.leave();
    if (client === 'modern') {
      await rig.until('the server heard of it', () => (server === 'modern' ? gone : cancels() > cancelled));
      await rig.until(
        'the outcome is in the log',
        async () => (await lastOutcome())?.outcome?.detail === 'client_gone',
      );
      expect((await lastOutcome())?.outcome?.status).toBe('cancelled');
    } else {
      await rig.until('the gateway noticed', () => rig.gateway.inflight() === 1);
      expect(gone).toBe(false);
      finish();
      await rig.until('it ended', () => rig.gateway.inflight() === 0);
      expect((await lastOutcome())?.outcome?.status).toBe('ok');
    }
    finish();
  });

  test('`_meta` of the caller passes, reserved keys are ours on both hops', async () => {
    let seen: Record<string, unknown> = {};
    rig.sink(server).onCall(({ message }) => {
      seen = (message['params'] as { _meta: Record<string, unknown> })._meta;
      return {
        ...done,
        _meta: { 'com.example/told': 'yes', 'io.modelcontextprotocol/subscriptionId': 'x', 'remit/receipt': 'forged' },
      };
    });
    const meta = {
      'com.example/own': { a: [1] },
      'io.modelcontextprotocol/subscriptionId': 'y',
      'org.mcp/reserved': 1,
    };
    const { result } = await say(server, { era: client, meta });
    expect(seen).toMatchObject({ 'com.example/own': { a: [1] } });
    expect(Object.keys(seen).filter((key) => /subscriptionId|org\.mcp/.test(key))).toEqual([]);
    expect(result?.['_meta']).toMatchObject({
      'com.example/told': 'yes',
      'remit/receipt': { log: 'remit/default/rig' },
    });
    expect(JSON.stringify(result)).not.toMatch(/subscriptionId|forged/);
  });
});

describe('RL-05: a call that waits for an answer', () => {
  test.each(ERAS)('is not made again by the gateway when the %s server drops it after the answer', async (era) => {
    await rig.setServer(era, { asks: ['elicitation.form'], timeoutMs: 3_000 });
    await rig.look(era);
    asksOnce(rig.sink(era));
    const asked = await firstLeg(rig, era);
    const before = rig.sink(era).calls().length;
    rig.sink(era).onCall(async () => await new Promise(() => undefined));
    rig.sink(era).intercept(({ message }) => {
      const answers = (message?.['params'] as JsonObject | undefined)?.['inputResponses'] !== undefined;
      return message !== null && (message['method'] === undefined || answers) ? 'drop' : null;
    });
    const answer = await retry(rig, era, asked);
    rig.sink(era).intercept(null);
    expect(answer.text).toMatch(/Whether the call had an effect is unknown|it had an effect is unknown/);
    expect(rig.sink(era).calls()).toHaveLength(before + (era === 'modern' ? 1 : 0));
    await rig.setServer(era, { asks: [], timeoutMs: 30_000 });
    await rig.look(era);
  });
});

describe.each(ERAS)('a question of the %s server', (era) => {
  const CLIENTS = ERAS.map((client) => [client] as const);
  let serial = 0;
  const asking = async (): Promise<void> => {
    // Another definition each time: what a test before this one left parked ends with its connection.
    await rig.setServer(era, { asks: ['elicitation.form'], timeoutMs: 10_000 + ++serial });
    await rig.look(era);
  };
  const secret = `ghp_${'a1B2'.repeat(9)}`;

  test.each(CLIENTS)('PH-07: reaches a %s client without the secrets in it', async (client) => {
    await asking();
    const requestedSchema = { type: 'object', properties: { colour: { type: 'string', description: secret } } };
    asksOnce(rig.sink(era), 'elicitation.form', { ...FORM, message: `Is ${secret} yours?`, requestedSchema });
    const live = await rig.live(era, 'tools/call', TOOL_CALL, { ...CAN_FILL, era: client });
    if (client === 'legacy') {
      const question = await live.event('elicitation/create');
      await live.say({ id: question['id']!, result: { action: 'decline' } });
    }
    const { text } = await live.answer;
    expect(text).toContain('colour');
    expect(text).not.toContain(secret);
  });

  test.each(CLIENTS)(
    'is shown to no %s client when its intent cannot be recorded, and nobody waits',
    async (client) => {
      await asking();
      asksOnce(rig.sink(era));
      rig.faults.before = (entry) => {
        if (entry.kind !== 'denial') throw new Error('no');
      };
      const answer = await rig.ask(
        era,
        'tools/call',
        { ...TOOL_CALL, name: 'read_note' },
        { ...CAN_FILL, era: client },
      );
      expect(answer.text).not.toMatch(/Which colour|input_required|elicitation/);
      expect(answer.error?.code).toBe(5030);
      rig.faults.before = null;
      await rig.until('nothing is under way', () => rig.gateway.inflight() === 0);
    },
  );

  test.each(CLIENTS)('is not shown to a %s client after a lock', async (client) => {
    await asking();
    const { promise: locked, resolve: proceed } = Promise.withResolvers<void>();
    const before = rig.sink(era).calls().length;
    rig.sink(era).onCall(async ({ ask }) => {
      await locked;
      if (era === 'modern')
        return { resultType: 'input_required', inputRequests: { q: { method: 'elicitation/create', params: FORM } } };
      await ask('elicitation/create', FORM);
      return done;
    });
    const live = await rig.live(era, 'tools/call', TOOL_CALL, { ...CAN_FILL, era: client });
    await rig.until('the server was called', () => rig.sink(era).calls().length > before);
    const lock = await rig.lock({ kind: 'user', value: 'dana' });
    proceed();
    const { text } = await live.answer;
    await rig.unlock(lock);
    expect(text).not.toContain('Which colour');
    await rig.until('nothing is under way', () => rig.gateway.inflight() === 0);
  });

  test('AZ-09: a posted answer counts only in the session that was asked, once, and only for an open question', async () => {
    await asking();
    asksOnce(rig.sink(era));
    const how = { ...CAN_FILL, era: 'legacy' } as const;
    const live = await rig.live(era, 'tools/call', TOOL_CALL, how);
    const id = (await live.event('elicitation/create'))['id']!;
    const forged = { id, result: { action: 'accept', content: { colour: 'blue' } } };
    for (const other of [
      { as: 'dora' },
      { client: 'agent-2' },
      {
        session: await rig.openSession(era, rig.token('dana', { server: era })),
        token: rig.token('dana', { server: era }),
      },
    ]) {
      const theirs = await rig.live(era, 'ping', {}, { ...how, ...other });
      await theirs.answer;
      const refused = await theirs.say(forged);
      expect([refused.status, refused.error?.code]).toEqual([400, -32600]);
      expect(refused.error?.message).toBe('This answers no question of this server, or not any more');
    }
    const made = await live.say({
      ...forged,
      id: (id as string).replace(/.$/, (last) => (last === 'A' ? 'B' : 'A')),
    });
    expect(made.status).toBe(400);
    expect((await live.say({ id, result: { action: 'accept', content: { colour: 'red' } } })).status).toBe(202);
    const { text } = await live.answer;
    expect(text).toContain('\\"colour\\":\\"red\\"');
    expect(rig.sink(era).wire()).not.toContain('"colour":"blue"');
    expect((await live.say(forged)).status).toBe(400);
  });
});
