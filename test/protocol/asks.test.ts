/** What a server wants to know: kinds, declarations, the question per revision (the SDKs judge), the answer against its question. */
import * as modern from '@modelcontextprotocol/core';
import * as legacy from '@modelcontextprotocol/sdk/types.js';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Json, JsonObject } from '../../src/lib/json.ts';
import {
  type Ask,
  type AskKind,
  askForClient,
  askKindOf,
  capabilitiesFor,
  checkAnswer,
  declared,
  declaredBySession,
} from '../../src/protocol/asks.ts';
import { LEGACY_VERSIONS, MODERN, type ProtocolVersion } from '../../src/protocol/versions.ts';

const elicit = (params: JsonObject): Ask => ({ method: 'elicitation/create', params });
const sample = (params: JsonObject): Ask => ({ method: 'sampling/createMessage', params });
const text = { type: 'text', text: 'hello' };
const SCHEMA = { type: 'object', properties: { name: { type: 'string' } } };
const FORM = elicit({ mode: 'form', message: 'Who?', requestedSchema: SCHEMA, _meta: { progressToken: 1 }, task: {} });
const URL_ASK = elicit({ mode: 'url', message: 'Sign in', url: 'https://example.com/a', elicitationId: 'e1' });
const SAMPLE = sample({
  messages: [{ role: 'user', content: text, _meta: {} }],
  maxTokens: 10,
  systemPrompt: 's',
  temperature: 0.5,
  includeContext: 'allServers',
  stopSequences: ['x'],
  metadata: { a: 1 },
  modelPreferences: { hints: [{ name: 'm' }] },
  'x-more': 1,
});
const ROOTS: Ask = { method: 'roots/list', params: { _meta: { progressToken: 1 } } };

test.each<[string, JsonObject, AskKind | null]>([
  ['elicitation/create', {}, 'elicitation.form'],
  ['elicitation/create', { mode: 'form' }, 'elicitation.form'],
  ['elicitation/create', { mode: 'url' }, 'elicitation.url'],
  ['elicitation/create', { mode: 'voice' }, null],
  ['sampling/createMessage', {}, 'sampling'],
  ['roots/list', {}, 'roots'],
  ['ping', {}, null],
  ['constructor', {}, null],
])('%s with %j is %s', (method, params, kind) => {
  expect(askKindOf(method, params)).toBe(kind);
});

describe('declarations', () => {
  test.each<[JsonObject, AskKind[]]>([
    [{}, []],
    [{ elicitation: {} }, ['elicitation.form']],
    [{ elicitation: { url: {} } }, ['elicitation.url']],
    [
      { elicitation: { form: {}, url: {} }, sampling: { tools: {} }, roots: {} },
      ['elicitation.form', 'elicitation.url', 'sampling', 'roots'],
    ],
    [{ elicitation: true, sampling: 1, roots: null }, []],
  ])('%j', (capabilities, kinds) => {
    expect([...declared(capabilities)]).toEqual(kinds);
  });

  test('a session says the same by its list', () => {
    expect([...declaredBySession(['roots', 'sampling', 'sampling.tools', 'tasks'])]).toEqual(['sampling', 'roots']);
  });

  test.each<[AskKind[], boolean, JsonObject]>([
    [[], true, {}],
    [['elicitation.form'], false, { elicitation: { form: {} } }],
    [['elicitation.url', 'elicitation.form'], false, { elicitation: { form: {}, url: {} } }],
    [['sampling', 'roots'], false, { sampling: {}, roots: {} }],
    [['sampling'], true, { sampling: { tools: {} } }],
  ])('PH-08: a server that may ask %j is told exactly that', (kinds, samplingTools, capabilities) => {
    const told = capabilitiesFor(new Set(kinds), { samplingTools });
    expect(told).toEqual(capabilities);
    expect(new Set(declared(told))).toEqual(new Set(kinds));
  });
});

describe('a question as each revision has it', () => {
  const versions: readonly ProtocolVersion[] = [MODERN, ...LEGACY_VERSIONS];
  const shown = (ask: Ask, samplingTools = false) =>
    Object.fromEntries(
      versions.map((version) => [version, askForClient(ask, version, { samplingTools })?.params ?? null]),
    );

  test('a form: none before 2025-06-18, a mode from 2025-11-25 on, and nothing reserved', () => {
    const plain = { message: 'Who?', requestedSchema: SCHEMA };
    expect(shown(FORM)).toEqual({
      '2026-07-28': { mode: 'form', ...plain },
      '2025-11-25': { mode: 'form', ...plain },
      '2025-06-18': plain,
      '2025-03-26': null,
      '2024-11-05': null,
    });
  });

  test('a URL: only from 2025-11-25 on, which alone knows it by an id', () => {
    const plain = { mode: 'url', message: 'Sign in', url: 'https://example.com/a' };
    expect(shown(URL_ASK)).toEqual({
      '2026-07-28': plain,
      '2025-11-25': { ...plain, elicitationId: 'e1' },
      '2025-06-18': null,
      '2025-03-26': null,
      '2024-11-05': null,
    });
    const made = askForClient(elicit(plain), '2025-11-25')?.params['elicitationId'];
    expect(made).toMatch(/^[0-9a-f-]{36}$/);
  });

  test.each([
    'javascript:alert(1)',
    'file:///etc/passwd',
    'https://bank.example@evil.example/',
    'no url',
    `https://a/${'x'.repeat(2048)}`,
  ])('nobody is sent to %s', (url) => {
    expect(askForClient(elicit({ mode: 'url', message: 'm', url }), MODERN)).toBeNull();
  });

  test('a sample: no context of other servers, no members nobody defined', () => {
    const { includeContext: _, 'x-more': __, ...rest } = SAMPLE.params;
    for (const [version, params] of Object.entries(shown(SAMPLE))) {
      expect([version, params]).toEqual([version, { ...rest, messages: [{ role: 'user', content: text }] }]);
    }
  });

  test('sound in a sample is words before 2025-03-26, and a list of blocks is a list of messages before 2025-11-25', () => {
    const audio = { type: 'audio', data: 'AAAA', mimeType: 'audio/wav' };
    const ask = sample({ messages: [{ role: 'user', content: [text, audio] }], maxTokens: 1 });
    const words = { type: 'text', text: '[audio/wav left out: protocol version 2024-11-05 has no audio]' };
    const messages = (params: JsonObject | null) => params?.['messages'];
    const all = shown(ask);
    expect(messages(all['2025-11-25'] ?? null)).toEqual([{ role: 'user', content: [text, audio] }]);
    expect(messages(all['2025-06-18'] ?? null)).toEqual([
      { role: 'user', content: text },
      { role: 'user', content: audio },
    ]);
    expect(messages(all['2024-11-05'] ?? null)).toEqual([
      { role: 'user', content: text },
      { role: 'user', content: words },
    ]);
  });

  test('L14: tools in a sample only where they were declared and the revision has them', () => {
    const tools = [{ name: 't', inputSchema: { type: 'object' }, 'x-more': 1 }];
    const use = { type: 'tool_use', id: 'u', name: 't', input: {} };
    const came = { type: 'tool_result', toolUseId: 'u', content: [text] };
    const messages = [
      { role: 'assistant', content: [use] },
      { role: 'user', content: [came] },
    ];
    const ask = sample({ messages, maxTokens: 1, tools, toolChoice: { mode: 'auto', more: 1 } });
    const whole = {
      messages,
      maxTokens: 1,
      tools: [{ name: 't', inputSchema: { type: 'object' } }],
      toolChoice: { mode: 'auto' },
    };
    expect(Object.values(shown(ask, false))).toEqual([null, null, null, null, null]);
    expect(Object.values(shown(ask, true))).toEqual([whole, whole, null, null, null]);
    expect(askForClient(sample({ messages, maxTokens: 1 }), MODERN)).toBeNull();
  });

  test('roots: nothing but the question', () => {
    expect(Object.values(shown(ROOTS))).toEqual([{}, {}, {}, {}, {}]);
  });

  test('what is shown is what the SDKs of both eras take', () => {
    for (const ask of [FORM, URL_ASK, SAMPLE, ROOTS]) {
      for (const version of versions) {
        const asked = askForClient(ask, version);
        if (asked === null) continue;
        const sdk = version === MODERN ? modern : legacy;
        // The schemas the newer SDK shows are those of 2025-11-25 here; on the wire of 2026-07-28 it has no id either.
        if (version === MODERN && ask === URL_ASK) continue;
        const taken = [sdk.ElicitRequestSchema, sdk.CreateMessageRequestSchema, sdk.ListRootsRequestSchema].some(
          (schema) => schema.safeParse(asked).success,
        );
        expect([version, asked.method, taken]).toEqual([version, ask.method, true]);
      }
    }
  });

  test.each<[string, Ask]>([
    ['a form without a message', elicit({ requestedSchema: SCHEMA })],
    ['a form without a schema', elicit({ message: 'm' })],
    ['a URL without a message', elicit({ mode: 'url', url: 'https://a/' })],
    ['an unknown mode', elicit({ mode: 'voice', message: 'm' })],
    ['another method', { method: 'tools/call', params: {} }],
    ['a sample without messages', sample({ maxTokens: 1 })],
    ['a sample without a bound', sample({ messages: [] })],
    ['a message of nobody', sample({ messages: [{ role: 'system', content: text }], maxTokens: 1 })],
    [
      'a message with a link',
      sample({ messages: [{ role: 'user', content: { type: 'resource_link', uri: 'x:y', name: 'n' } }], maxTokens: 1 }),
    ],
    ['a temperature in words', sample({ messages: [], maxTokens: 1, temperature: 'hot' })],
  ])('%s is not asked', (_title, ask) => {
    expect(askForClient(ask, MODERN, { samplingTools: true })).toBeNull();
  });
});

describe('an answer against its question', () => {
  const model = { role: 'assistant', content: text, model: 'm' };
  const WITH_TOOLS = sample({ messages: [], maxTokens: 1, tools: [] });
  const use = { type: 'tool_use', id: 'u', name: 't', input: {} };

  test.each<[string, Ask, Json, JsonObject]>([
    [
      'a form filled in',
      FORM,
      { action: 'accept', content: { name: 'Ada', more: 1 }, _meta: {} },
      { action: 'accept', content: { name: 'Ada' } },
    ],
    ['a form that needs nothing', FORM, { action: 'accept' }, { action: 'accept', content: {} }],
    ['a declined form keeps nothing', FORM, { action: 'decline', content: { name: 'secret' } }, { action: 'decline' }],
    ['a cancelled form', FORM, { action: 'cancel' }, { action: 'cancel' }],
    ['a visit keeps nothing', URL_ASK, { action: 'accept', content: { name: 'x' } }, { action: 'accept' }],
    ['a sample', SAMPLE, { ...model, stopReason: 'endTurn', more: 1 }, { ...model, stopReason: 'endTurn' }],
    ['one block in a list, where one was asked', SAMPLE, { ...model, content: [text] }, model],
    [
      'the use of a tool that was offered',
      WITH_TOOLS,
      { ...model, content: [text, use] },
      { ...model, content: [text, use] },
    ],
    [
      'roots',
      ROOTS,
      { roots: [{ uri: 'file:///home', name: 'h', more: 1 }, { uri: 'file:///a' }] },
      { roots: [{ uri: 'file:///home', name: 'h' }, { uri: 'file:///a' }] },
    ],
    ['no roots', ROOTS, { roots: [] }, { roots: [] }],
  ])('%s', (_title, ask, answer, kept) => {
    expect(checkAnswer(ask, answer)).toEqual({ ok: true, value: kept });
  });

  test.each<[string, Ask, Json, string]>([
    ['no object', FORM, 'accept', 'the answer is not an object'],
    ['no action', FORM, {}, 'action is none of accept, decline and cancel'],
    ['an unknown action', URL_ASK, { action: 'approve' }, 'action is none of accept, decline and cancel'],
    ['content of the wrong type', FORM, { action: 'accept', content: { name: 1 } }, 'content.name must be a string'],
    ['a sample of nobody', SAMPLE, { ...model, role: 'system' }, 'role is neither user nor assistant'],
    ['a sample of no model', SAMPLE, { role: 'user', content: text }, 'model is not a string'],
    ['two blocks where one was asked', SAMPLE, { ...model, content: [text, text] }, 'content is not one block'],
    ['a tool nobody offered', SAMPLE, { ...model, content: use }, 'a content block has a type that was not asked for'],
    [
      'content of an unknown type',
      SAMPLE,
      { ...model, content: { type: 'video' } },
      'a content block has a type that was not asked for',
    ],
    ['roots that are none', ROOTS, { roots: {} }, 'roots is not an array'],
    ['a root elsewhere', ROOTS, { roots: [{ uri: 'https://a/' }] }, 'a root has no file:// URI'],
    ['a root without a URI', ROOTS, { roots: [{}] }, 'a root has no file:// URI'],
    [
      '101 roots',
      ROOTS,
      { roots: Array.from({ length: 101 }, () => ({ uri: 'file:///' })) },
      'roots has more than 100 entries',
    ],
    ['anything to no question', { method: 'ping', params: {} }, {}, 'the question is none'],
  ])('PH-05: refuses %s', (_title, ask, answer, error) => {
    expect(checkAnswer(ask, answer)).toEqual({ ok: false, error });
  });

  test('whatever comes, nothing throws, and what is taken is taken as it is the second time', () => {
    const asks = fc.constantFrom(FORM, URL_ASK, SAMPLE, WITH_TOOLS, ROOTS);
    const answers = fc.oneof(
      fc.jsonValue({ maxDepth: 3 }),
      fc.record({ action: fc.constantFrom('accept', 'decline', 'x'), content: fc.jsonValue({ maxDepth: 2 }) }),
      fc.record({
        role: fc.constant('user'),
        model: fc.string(),
        content: fc.oneof(fc.constant(text), fc.constant(use), fc.jsonValue({ maxDepth: 2 })),
      }),
    );
    fc.assert(
      fc.property(asks, answers, (ask, answer) => {
        const checked = checkAnswer(ask, answer as Json);
        if (checked.ok) expect(checkAnswer(ask, checked.value)).toEqual(checked);
      }),
      { seed: 9, numRuns: 500 },
    );
  });
});
