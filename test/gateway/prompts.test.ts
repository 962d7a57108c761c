/**
 * What a server offers besides tools, through the gateway, with unmodified SDKs in all pairs of eras: prompts, resources, templates,
 * completion, instructions, errors. Who may have what of it is in resources-access.test.ts.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import { startEverything } from '../conformance/everything.ts';
import { PNG } from '../conformance/tool.ts';
import { SDKS, connectSdk, isModern } from '../support/clients.ts';
import type { Sdk, SdkClient } from '../support/clients.ts';
import { ERAS, startRig } from '../support/rig.ts';
import type { Answer, Era, Rig } from '../support/rig.ts';

const closers: Array<() => Promise<unknown>> = [];
let rig: Rig;
const MANY = Array.from({ length: 1_900 }, (_, at) => ({ name: `prompt-${String(at).padStart(4, '0')}` }));

beforeAll(async () => {
  const everything = await Promise.all(ERAS.map((era) => startEverything(era)));
  closers.push(...everything.map((one) => () => one.close()));
  const real = Object.fromEntries(ERAS.map((era, at) => [era, { era, url: everything[at]!.url }]));
  rig = await startRig({
    servers: {
      ...real,
      many: { script: (sink) => sink.offer({ prompts: MANY }) },
      failing: { era: 'legacy', script: failing },
    },
  });
  closers.unshift(() => rig.stop());
  await rig.policy('all', 'permit (principal, action, resource);');

  function failing(sink: ReturnType<Rig['sink']>): void {
    sink.offer({ prompts: [{ name: 'p' }], resources: [{ uri: 'test://r', name: 'r' }] });
    for (const method of ['prompts/get', 'resources/read']) sink.on(method, () => ({ error: said }));
  }
});
afterAll(async () => {
  for (const close of closers) await close();
});
let said: JsonObject = {};

const PAIRS = SDKS.flatMap((sdk) => ERAS.map((era) => [sdk, era] as const));

describe.each(PAIRS)('an SDK %s client at a %s server', (sdk, era) => {
  const open: { client?: SdkClient } = {};
  beforeAll(async () => {
    open.client = await connectSdk(rig, sdk, era);
  });
  afterAll(() => open.client?.close());
  const client = (): SdkClient => open.client!;

  test('reads its instructions as they were approved', () => {
    expect(client().instructions).toBe('A server for the conformance suite.');
  });

  test('lists and gets prompts, with arguments and with all kinds of content', async () => {
    expect((await client().prompts()).map(({ name }) => name)).toContain('test_prompt_with_arguments');
    const got = await client().prompt('test_prompt_with_arguments', { arg1: 'one', arg2: 'two' });
    expect(JSON.stringify(got)).toContain("The arguments are 'one' and 'two'.");
    expect(JSON.stringify(await client().prompt('test_prompt_with_image'))).toContain(PNG);
    const embedded = await client().prompt('test_prompt_with_embedded_resource', { resourceUri: 'test://x' });
    expect(JSON.stringify(embedded)).toContain('The embedded text.');
  });

  test('lists and reads resources: text, binary, and by template', async () => {
    expect((await client().resources()).map(({ uri }) => uri)).toContain('test://static-text');
    expect((await client().templates()).map(({ uriTemplate }) => uriTemplate)).toEqual(['test://template/{id}/data']);
    expect(await client().read('test://static-text')).toMatchObject([{ text: 'The text of a resource.' }]);
    expect(await client().read('test://static-binary')).toMatchObject([{ blob: PNG, mimeType: 'image/png' }]);
    expect(await client().read('test://template/17/data')).toMatchObject([{ text: '{"id":"17","data":"Data of 17"}' }]);
  });

  test('completes arguments of a prompt and of a template', async () => {
    const prompt = { type: 'ref/prompt', name: 'test_prompt_with_arguments' };
    expect(await client().complete(prompt, { name: 'arg1', value: 'par' })).toMatchObject({
      values: ['paris', 'park', 'party'],
    });
    const template = { type: 'ref/resource', uri: 'test://template/{id}/data' };
    expect(await client().complete(template, { name: 'id', value: 'te' })).toMatchObject({
      values: ['test'],
      total: 1,
    });
  });

  test('is told that a prompt or a resource is unknown', async () => {
    await expect(client().prompt('nothing')).rejects.toMatchObject({ code: -32602 });
    // v2 has one error of its own for both codes.
    await expect(client().read('test://nothing')).rejects.toMatchObject({ code: sdk === 'v1' ? -32002 : -32602 });
  });

  test('is told what is missing in its arguments, and nothing is sent', async () => {
    await expect(client().prompt('test_prompt_with_arguments', { arg1: 'one' })).rejects.toThrow(/arg2/);
  });
});

test.each(['v1', 'v2-modern'] as const)('an SDK %s client reads 1,900 prompts, page by page', async (sdk: Sdk) => {
  const client = await connectSdk(rig, sdk, 'many');
  const names = new Set<unknown>();
  let cursor: string | undefined;
  for (let page = 0; page < 10; page++) {
    const answer: Answer = await rig.ask('many', 'prompts/list', cursor === undefined ? {} : { cursor }, {
      era: isModern(sdk) ? 'modern' : 'legacy',
    });
    for (const { name } of (answer.result?.['prompts'] ?? []) as JsonObject[]) names.add(name);
    cursor = answer.result?.['nextCursor'] as string | undefined;
    if (cursor === undefined) break;
  }
  expect(names.size).toBe(1_900);
  // v2 turns the pages by itself, v1 takes the first.
  expect(await client.prompts()).toHaveLength(isModern(sdk) ? 1_900 : 1_000);
  await client.close();
});

test.each<[string, (cursor: string) => string | number, Parameters<Rig['ask']>[3]]>([
  ['altered', (cursor) => cursor.slice(0, -3) + 'AAA', {}],
  ['made up', () => 'eyJwYWdlIjoyfQ', {}],
  ['of another person', (cursor) => cursor, { as: 'dora' }],
  ['of another agent', (cursor) => cursor, { client: 'agent-2' }],
])('AZ-09: a cursor that is %s is refused', async (_title, change, how) => {
  const first = await rig.ask('many', 'prompts/list', {});
  const cursor = change(first.result?.['nextCursor'] as string);
  const { error, status } = await rig.ask('many', 'prompts/list', { cursor }, how);
  expect([status, error?.code]).toEqual([400, -32602]);
  expect(error?.message).toContain('cursor is not one of this list: begin without it');
});

test('a cursor of one list is none of another', async () => {
  const first = await rig.ask('many', 'prompts/list', {});
  const { error } = await rig.ask('many', 'tools/list', { cursor: first.result?.['nextCursor'] as string });
  expect(error?.code).toBe(-32602);
});

// prettier-ignore
const ERRORS: ReadonlyArray<readonly [method: string, theirs: number, modern: number, legacy: number]> = [
  ['prompts/get',    -32602, -32602, -32602],
  ['prompts/get',    -32601, -32601, -32601],
  ['prompts/get',    -32603, -32603, -32603],
  ['prompts/get',    -32021, -32603, -32603],
  ['prompts/get',    -32022, -32603, -32603],
  ['prompts/get',    -32700, -32603, -32603],
  ['prompts/get',      1234,   1234,   1234],
  ['prompts/get',    -32001, -32603, -32001],
  ['resources/read', -32002, -32602, -32002],
  ['resources/read', -32602, -32602, -32002],
];
test.each(ERRORS.flatMap(([...row]) => ERAS.map((era): [Era, ...typeof row] => [era, ...row])))(
  'a %s client is told of the error of %s, %i, in codes it knows, and nothing of the server beside its cleaned words',
  async (era, method, theirs, modern, legacy) => {
    said = { code: theirs, message: `It failed with ghp_${'a1B2'.repeat(9)}`, data: { internal: 'host-7' } };
    const answer = await rig.ask('failing', method, method === 'prompts/get' ? { name: 'p' } : { uri: 'test://r' }, {
      era,
    });
    expect(answer.error?.code).toBe(era === 'modern' ? modern : legacy);
    expect(answer.text).not.toMatch(/ghp_|host-7/);
    expect((await rig.about(answer.reference)).at(-1)?.outcome).toMatchObject({
      status: 'protocol_error',
      detail: `rpc:${theirs}`,
    });
  },
);
