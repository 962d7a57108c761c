/**
 * What a server asks in the middle of a call reaches the person behind it, and only that, in all four pairs of eras, with unmodified
 * SDK clients and servers (decision 0008, PROTOCOL.md B). Adversarial servers and clients are in asks-attacks.test.ts.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ASKS } from '../../src/inventory/records.ts';
import { startEverything } from '../conformance/everything.ts';
import type { Everything } from '../conformance/everything.ts';
import { SDKS, connectSdk } from '../support/clients.ts';
import type { Answers } from '../support/clients.ts';
import { startRig } from '../support/rig.ts';
import type { Era, Rig } from '../support/rig.ts';

const SERVERS: readonly Era[] = ['legacy', 'modern'];
const closers: Array<() => Promise<unknown>> = [];
let rig: Rig;

beforeAll(async () => {
  const everything: Everything[] = await Promise.all(SERVERS.map((era) => startEverything(era)));
  closers.push(...everything.map((one) => () => one.close()));
  const servers = Object.fromEntries(
    SERVERS.map((era, at) => [era, { era, url: everything[at]!.url, record: { asks: [...ASKS] } }]),
  );
  rig = await startRig({ servers });
  closers.unshift(() => rig.stop());
  await rig.policy('all', 'permit (principal, action, resource);');
});
afterAll(async () => {
  for (const close of closers) await close();
});

const PAIRS = SDKS.flatMap((sdk) => SERVERS.map((era) => [sdk, era] as const));

const ANSWERS = {
  form: ({ requestedSchema }) => {
    const { properties } = requestedSchema as { properties: Record<string, unknown> };
    return { action: 'accept', content: Object.fromEntries(Object.keys(properties).map((key) => [key, `my ${key}`])) };
  },
  sampling: () => ({ role: 'assistant', content: { type: 'text', text: 'a haiku' }, model: 'm' }),
  roots: () => ({ roots: [{ uri: 'file:///work', name: 'work' }] }),
} satisfies Answers;

describe.each(PAIRS)('an SDK %s client at a %s server', (sdk, era) => {
  test('answers a form, and the server continues the same call', async () => {
    const client = await connectSdk(rig, sdk, era, { answers: ANSWERS });
    const { text, isError } = await client.call('test_elicitation', { message: 'Your name?' });
    expect(text).toContain('action=accept, content={"response":"my response"}');
    expect(isError).toBe(false);
    await client.close();
  });

  test.each(['decline', 'cancel'])('says %s to a form, and the server hears that and nothing typed', async (action) => {
    const answers = { form: () => ({ action }) };
    const client = await connectSdk(rig, sdk, era, { answers });
    expect((await client.call('test_elicitation', { message: '?' })).text).toContain(`action=${action}, content={}`);
    await client.close();
  });

  test('lends its model', async () => {
    const client = await connectSdk(rig, sdk, era, { answers: ANSWERS });
    expect((await client.call('test_sampling', { prompt: 'A haiku' })).text).toContain('a haiku');
    await client.close();
  });

  test('names its roots', async () => {
    const client = await connectSdk(rig, sdk, era, { answers: ANSWERS });
    expect((await client.call('test_input_required_result_list_roots')).text).toBe('Roots: file:///work');
    await client.close();
  });

  test('is asked twice in one call', async () => {
    const client = await connectSdk(rig, sdk, era, { answers: ANSWERS });
    expect((await client.call('test_input_required_result_multi_round')).text).toBe('my name likes my color');
    await client.close();
  });

  test('is asked three things at once', async () => {
    const client = await connectSdk(rig, sdk, era, { answers: ANSWERS });
    const { text } = await client.call('test_input_required_result_multiple_inputs');
    expect(text).toBe('{"type":"text","text":"a haiku"} my name, 1 roots');
    await client.close();
  });

  test('is asked while it gets a prompt', async () => {
    const client = await connectSdk(rig, sdk, era, { answers: ANSWERS });
    const { messages } = await client.prompt('test_input_required_result_prompt');
    expect(JSON.stringify(messages)).toContain('Mind this context: my context');
    await client.close();
  });

  test('is asked only what it declared', async () => {
    const none = await connectSdk(rig, sdk, era);
    expect((await none.call('test_input_required_result_capabilities')).text).toBe('Nothing can be asked.');
    const refused = await none.call('test_elicitation', { message: '?' }).catch((error: unknown) => String(error));
    expect(JSON.stringify(refused)).not.toContain('User response');
    await none.close();
  });
});

test('a call that is asked has its intent, the question and the end in the log, and each retry entries of its own', async () => {
  const client = await connectSdk(rig, 'v2-modern', 'legacy', { answers: ANSWERS });
  const { result } = await client.call('test_elicitation', { message: '?' });
  const { 'remit/reference': reference } = result['_meta'] as Record<string, string>;
  const about = await rig.about(reference);
  expect(about.map(({ kind, outcome }) => [kind, outcome?.status, outcome?.detail])).toEqual([
    ['intent', undefined, undefined],
    ['outcome', 'input_required', 'parked'],
    ['outcome', 'ok', null],
  ]);
  const [, retried] = (await rig.entries('intent')).slice(-2);
  expect((await rig.about(retried!.ref)).map(({ kind, outcome }) => [kind, outcome?.detail])).toEqual([
    ['intent', undefined],
    ['outcome', 'taken_up'],
  ]);
  await client.close();
});
