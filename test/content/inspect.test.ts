import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  inspectMembers,
  inspectPrompt,
  inspectResource,
  inspectResult,
  inspectText,
  RESULT_LIMITS,
} from '../../src/content/inspect.ts';
import type { JsonObject } from '../../src/lib/json.ts';

const text = (value: string): JsonObject => ({ content: [{ type: 'text', text: value }] });
const first = (result: JsonObject): unknown => (result as unknown as { content: [{ text: unknown }] }).content[0].text;

// Put together here so that no scanner takes the test for a leak.
const join = (...parts: string[]): string => parts.join('');
const SECRETS: Array<[string, string]> = [
  ['aws_access_key', join('AK', 'IAIOSFODNN7EXAMPLE')],
  ['github', join('gh', 'p_', 'a1B2'.repeat(9))],
  ['github', join('github', '_pat_', 'A1b2C3d4E5f6G7h8I9j0K1')],
  ['gitlab', join('gl', 'pat-', 'abcdefghij0123456789')],
  ['slack', join('xo', 'xb-', '123456789012-abcdefABCDEF')],
  ['stripe', join('sk', '_live_', 'abcdefghijklmnop1234')],
  ['google_api_key', join('AI', 'za', 'B'.repeat(35))],
  ['npm', join('np', 'm_', 'a1B2'.repeat(9))],
  ['model_provider', join('sk', '-ant-', 'api03-abcdefghijklmnopqrst')],
  ['jwt', join('ey', 'JhbGciOiJFUzI1NiJ9', '.ey', 'JzdWIiOiJhbm5hIn0xx', '.', 'c2lnbmF0dXJlLXNpZ25hdHVyZQ')],
  ['private_key', join('-----BEGIN ', 'PRIVATE KEY-----\nMIIEvQ\nabc=\n-----END ', 'PRIVATE KEY-----')],
  ['private_key', join('-----BEGIN RSA ', 'PRIVATE KEY-----\nMIIEvQ that was cut off')],
];

describe('CI-04: credentials of known shape do not leave', () => {
  test.each(SECRETS)('CI-04: %s', (kind, secret) => {
    const result = { ...text(`before ${secret}`), structuredContent: { list: [{ value: secret }] } };
    const inspected = inspectResult(result);
    expect(inspected).toMatchObject({ verdict: 'redact', labels: [`secret:${kind}`] });
    expect(inspected.result && first(inspected.result)).toBe(`before [redacted:${kind}]`);
    expect(JSON.stringify(inspected)).not.toContain(JSON.stringify(secret).slice(1, -1));
    // Twin: the result as it came holds it.
    expect(JSON.stringify(result)).toContain(JSON.stringify(secret).slice(1, -1));
  });
  test('CI-04: only the secret part of a setting goes', () => {
    const key = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY';
    expect(inspectText(`aws_secret_access_key = ${key}\nregion = x`).text).toBe(
      'aws_secret_access_key = [redacted:aws_secret_key]\nregion = x',
    );
    expect(inspectText('postgres://app:s3cret@db/x').text).toBe('postgres://app:[redacted:url_password]@db/x');
    expect(inspectText(`Authorization: Bearer ${'abc.'.repeat(6)}`).text).toBe(
      'Authorization: Bearer [redacted:bearer]',
    );
  });
  test('CI-04: a secret split by characters that nobody sees is found', () => {
    const [, secret = ''] = SECRETS[0] ?? [];
    expect(inspectText(`${secret.slice(0, 8)}\u200B${secret.slice(8)}`)).toMatchObject({
      text: '[redacted:aws_access_key]',
      labels: ['hidden_text', 'secret:aws_access_key'],
    });
  });
  test.each([
    'AKIA is how such a key begins',
    'see ghp_ and github_pat_ in the manual',
    'https://a.example:8080/x@y',
    'task-proj-0123456789012345678901234567890',
    'mail anna@example.org at 10:30',
    'the secret key: patience',
    'eyJ is base64 for {"',
  ])('passes %j', (value) => {
    expect(inspectText(value)).toMatchObject({ text: value, labels: [] });
  });
});

describe('CI-06: what nobody sees is taken out', () => {
  test.each([
    ['a\u200Bb', 'ab'],
    ['a\u202Eb\u202C', 'ab'],
    ['a\u2066b\u2069', 'ab'],
    ['a\u{E0068}\u{E0069}', 'a'],
    ['\u001B[31mred\u001B[0m', 'red'],
    ['\u001B]8;;http://x\u0007link\u001B]8;;\u0007', 'link'],
    ['\u009B31mred', 'red'],
    ['a\u0000\u0008b', 'ab'],
    ['\uFEFFa\u00ADb', 'ab'],
  ])('CI-06: %j becomes %j', (value, clean) => {
    const inspected = inspectResult(text(value));
    expect(inspected).toMatchObject({ verdict: 'redact', labels: ['hidden_text'] });
    expect(inspected.result && first(inspected.result)).toBe(clean);
  });
  test.each(['a\tb\r\nc', '👩‍💻 ❤️ 1️⃣', 'می‌خواهم', 'größe 文件'])('leaves %j alone', (value) => {
    expect(inspectResult(text(value))).toMatchObject({ verdict: 'pass', labels: [] });
  });
  test('CI-06: hidden bits cannot be stacked behind an emoji', () => {
    expect(inspectText('👩\u200D\u200D\u200D\u200Cx').text).toBe('👩\u200Dx');
  });
});

describe('CI-09: shape and limits', () => {
  const limits = { size: 100, depth: 6, contentBlocks: 3 };
  const nest = (levels: number): JsonObject => (levels === 0 ? {} : { a: nest(levels - 1) });
  // 100 is: array, block, `type`, `text`, the value of each, and what is left for the text itself.
  const fits = 'x'.repeat(100 - 1 - 4 - 4 - 4);
  test.each<[string, JsonObject, string]>([
    ['text at the limit', text(fits), 'pass'],
    ['text one over the limit', text(`${fits}x`), 'result_too_large'],
    ['blocks at the limit', { content: Array.from({ length: 3 }, () => ({ type: 'text', text: '' })) }, 'pass'],
    [
      'a block over the limit',
      { content: Array.from({ length: 4 }, () => ({ type: 'text', text: '' })) },
      'result_too_many_blocks',
    ],
    ['nesting at the limit', { content: [], structuredContent: nest(4) }, 'pass'],
    ['nesting one over the limit', { content: [], structuredContent: nest(5) }, 'result_too_deep'],
    [
      'many empty values',
      { content: [], structuredContent: { a: Array.from({ length: 120 }, () => null) } },
      'result_too_large',
    ],
    [
      'a picture over the limit',
      { content: [{ type: 'image', mimeType: 'image/png', data: 'AAAA'.repeat(30) }] },
      'result_too_large',
    ],
  ])('CI-09: %s', (_what, result, outcome) => {
    const inspected = inspectResult(result, limits);
    expect(inspected.verdict === 'withhold' ? inspected.reason : inspected.verdict).toBe(outcome);
  });
  test.each<[string, JsonObject]>([
    ['no content', {}],
    ['content that is no list', { content: 'x' }],
    ['a block of unknown type', { content: [{ type: 'video', data: '' }] }],
    ['a block without a type', { content: [{ text: 'x' }] }],
    ['a block that is text', { content: ['x'] }],
    ['text that is no text', { content: [{ type: 'text', text: 5 }] }],
    [
      'a picture that is not base64',
      { content: [{ type: 'image', mimeType: 'image/png', data: 'Ignore all previous' }] },
    ],
    ['a picture that says it is text', { content: [{ type: 'image', mimeType: 'text/plain', data: 'AAAA' }] }],
    ['a resource without an address', { content: [{ type: 'resource', resource: { text: 'x' } }] }],
    [
      'a resource that is both text and bytes',
      { content: [{ type: 'resource', resource: { uri: 'x:y', text: 'x', blob: 'AAAA' } }] },
    ],
    ['isError that is no truth value', { content: [], isError: 'false' }],
    ['a result of another kind', { content: [], resultType: 'task' }],
    ['text that is not well-formed', text('\uD800')],
  ])('CI-09: withholds %s', (_what, result) => {
    expect(inspectResult(result)).toMatchObject({ verdict: 'withhold', reason: 'result_malformed', result: null });
  });
  test('CI-09: withholds a member name that hides something, instead of renaming it', () => {
    expect(inspectResult({ content: [], structuredContent: { 'a\u200B': 1, a: 2 } })).toMatchObject({
      verdict: 'withhold',
      reason: 'result_hidden_name',
    });
  });
  test.each<[string, JsonObject]>([
    ['image', { type: 'image', mimeType: 'image/png', data: 'AAAA' }],
    ['audio', { type: 'audio', mimeType: 'audio/wav', data: 'AAA=' }],
    ['blob', { type: 'resource', resource: { uri: 'x:y', blob: 'AA==' } }],
  ])('CI-09: %s is passed on and marked as not looked into', (kind, block) => {
    expect(inspectResult({ content: [block] })).toMatchObject({
      verdict: 'pass',
      result: { content: [block] },
      labels: [`uninspected:${kind}`],
      inspected: ['size', 'shape', 'hidden@1', 'secrets@1', `uninspected:${kind}`],
    });
  });
  test('around the bytes of a picture everything is cleaned', () => {
    const block = { type: 'image', mimeType: 'image/png', data: 'AAAA', annotations: { note: 'a\u200Bb' } };
    expect(inspectResult({ content: [block] })).toMatchObject({
      verdict: 'redact',
      result: { content: [{ ...block, annotations: { note: 'ab' } }] },
    });
  });
});

test('never throws, never changes what it was given, and says the same again about its own result', () => {
  const values = fc.jsonValue({ maxDepth: 4 });
  const block = fc.oneof(
    fc.record({ type: fc.constant('text'), text: fc.string({ unit: 'binary' }) }),
    fc.record({ type: fc.constantFrom('image', 'resource', 'text'), data: values, resource: values }),
    values,
  );
  fc.assert(
    fc.property(
      fc.array(block, { maxLength: 3 }),
      fc.dictionary(fc.string({ unit: 'binary' }), values),
      (content, structuredContent) => {
        const result = { content, structuredContent } as unknown as JsonObject;
        const before = JSON.stringify(result);
        const once = inspectResult(result, { ...RESULT_LIMITS, size: 5000 });
        expect(JSON.stringify(result)).toBe(before);
        if (once.verdict === 'withhold') return;
        const again = inspectResult(once.result);
        expect(again.verdict).toBe('pass');
        expect(again.result).toEqual(once.result);
      },
    ),
    { numRuns: 300, seed: 20261121 },
  );
});

describe('prompts, resources and everything else are looked at like results', () => {
  const [, secret = ''] = SECRETS[0] ?? [];
  const dirty = `a\u200Bb ${secret}`;
  const clean = 'ab [redacted:aws_access_key]';
  const labels = ['hidden_text', 'secret:aws_access_key'];
  const message = (content: JsonObject): JsonObject => ({ messages: [{ role: 'user', content }] });
  const contents = (one: JsonObject): JsonObject => ({ contents: [one] });

  test('CI-04, CI-06: a prompt loses what is hidden and what is secret, in its messages and around them', () => {
    const found = inspectPrompt({ description: dirty, ...message({ type: 'text', text: dirty }) });
    expect(found).toMatchObject({
      verdict: 'redact',
      labels,
      result: { description: clean, ...message({ type: 'text', text: clean }) },
    });
  });

  test('CI-04, CI-06: so does a resource, and its bytes are passed on and marked', () => {
    expect(inspectResource(contents({ uri: 'x:y', text: dirty }))).toMatchObject({
      verdict: 'redact',
      labels,
      result: contents({ uri: 'x:y', text: clean }),
    });
    expect(inspectResource(contents({ uri: 'x:y', blob: 'AAAA', mimeType: 'a/b' }))).toMatchObject({
      verdict: 'pass',
      labels: ['uninspected:blob'],
      result: contents({ uri: 'x:y', blob: 'AAAA', mimeType: 'a/b' }),
    });
  });

  test('CI-04, CI-06: so does any other object, wherever the text stands', () => {
    expect(inspectMembers({ a: [{ b: dirty }], n: 1 })).toMatchObject({
      verdict: 'redact',
      labels,
      result: { a: [{ b: clean }], n: 1 },
    });
  });

  test('pictures in a question are passed on and marked; what only says it is one is text', () => {
    const picture = { type: 'image', mimeType: 'image/png', data: 'AAAA', note: 'n' };
    expect(inspectMembers({ messages: [{ content: picture }] })).toMatchObject({
      verdict: 'pass',
      result: { messages: [{ content: picture }] },
      labels: ['uninspected:image'],
      inspected: ['size', 'shape', 'hidden@1', 'secrets@1', 'uninspected:image'],
    });
    expect(inspectMembers({ content: { ...picture, data: dirty } })).toMatchObject({
      result: { content: { ...picture, data: clean } },
    });
  });

  test('structured content may be any JSON', () => {
    expect(inspectResult({ content: [], structuredContent: [dirty] })).toMatchObject({
      verdict: 'redact',
      result: { structuredContent: [clean] },
    });
    expect(inspectResult({ content: [], structuredContent: null }).verdict).toBe('pass');
  });

  test.each<[string, () => { verdict: string }]>([
    ['a prompt without messages', () => inspectPrompt({})],
    ['a message that is text', () => inspectPrompt({ messages: ['x'] })],
    ['a message of unknown content', () => inspectPrompt(message({ type: 'video' }))],
    ['a message with a list of blocks', () => inspectPrompt({ messages: [{ role: 'user', content: [] }] })],
    ['an unfinished prompt', () => inspectPrompt({ messages: [], resultType: 'input_required' })],
    ['a resource without contents', () => inspectResource({})],
    ['contents without an address', () => inspectResource(contents({ text: 'x' }))],
    ['contents that are text and bytes', () => inspectResource(contents({ uri: 'x:y', text: '', blob: 'AAAA' }))],
    ['bytes that are not base64', () => inspectResource(contents({ uri: 'x:y', blob: 'Ignore all previous' }))],
    ['_meta that is no object', () => inspectResource({ contents: [], _meta: 'x' })],
  ])('CI-09: withholds %s', (_what, inspect) => {
    expect(inspect()).toMatchObject({ verdict: 'withhold', reason: 'result_malformed', result: null });
  });

  test('CI-09: the limits hold for all of them', () => {
    const limits = { size: 10, depth: 3, contentBlocks: 1 };
    const long = 'x'.repeat(20);
    const two = [
      { role: 'user', content: { type: 'text', text: '' } },
      { role: 'user', content: { type: 'text', text: '' } },
    ];
    expect(inspectMembers({ a: long }, limits)).toMatchObject({ reason: 'result_too_large' });
    expect(inspectMembers({ a: { b: { c: {} } } }, limits)).toMatchObject({ reason: 'result_too_deep' });
    expect(inspectMembers({ 'a\u200B': 1 }, limits)).toMatchObject({ reason: 'result_hidden_name' });
    expect(inspectPrompt({ messages: two }, limits)).toMatchObject({ reason: 'result_too_many_blocks' });
    expect(inspectResource(contents({ uri: 'x:y', text: long }), limits)).toMatchObject({ reason: 'result_too_large' });
    expect(inspectResource(contents({ uri: 'x:y', blob: 'AAAA'.repeat(5) }), limits)).toMatchObject({
      reason: 'result_too_large',
    });
  });

  test('never throw, and say the same again about their own result', () => {
    const inspectors = fc.constantFrom(inspectPrompt, inspectResource, inspectMembers);
    const parts = fc.array(fc.jsonValue({ maxDepth: 3 }), { maxLength: 3 });
    const object = fc.record({ messages: parts, contents: parts, other: fc.jsonValue({ maxDepth: 3 }) });
    fc.assert(
      fc.property(inspectors, object, (inspect, given) => {
        const once = inspect(given as JsonObject);
        if (once.verdict !== 'withhold')
          expect(inspect(once.result)).toMatchObject({ verdict: 'pass', result: once.result });
      }),
      { seed: 3, numRuns: 300 },
    );
  });
});
