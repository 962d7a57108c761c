/**
 * Results per era and version. Besides the exact shape, the schemas of the two official SDKs judge them: what they refuse,
 * clients in the field refuse.
 */
import * as modern from '@modelcontextprotocol/core';
import * as legacy from '@modelcontextprotocol/sdk/types.js';
import { describe, expect, test } from 'vitest';
import type { Json, JsonObject } from '../../src/lib/json.ts';
import {
  type Facing,
  discoverResult,
  emptyResult,
  initializeResult,
  toolError,
  toolsCallResult,
  listResult,
} from '../../src/protocol/results.ts';
import { LEGACY_VERSIONS, MODERN, type LegacyVersion } from '../../src/protocol/versions.ts';

const serverInfo = { name: 'remit', version: '0.1.0' };
const NEW: Facing = { era: 'modern', version: MODERN, serverInfo };
const old = (version: LegacyVersion = '2025-11-25') => ({ era: 'legacy', version, serverInfo }) as const;
const SERVER = { 'io.modelcontextprotocol/serverInfo': serverInfo };
const CARD = { capabilities: { tools: {} }, instructions: 'Ask first.' };
const text = { type: 'text', text: 'hello' };

describe('what we say ourselves', () => {
  test('initialize carries the negotiated version and no sign of the modern era', () => {
    const result = initializeResult(old('2025-06-18'), CARD);
    expect(result).toEqual({
      protocolVersion: '2025-06-18',
      capabilities: { tools: {} },
      serverInfo,
      instructions: 'Ask first.',
    });
    expect(legacy.InitializeResultSchema.safeParse(result).success).toBe(true);
  });

  test('server/discover names envelope versions only, is private and complete', () => {
    const result = discoverResult(NEW, { ...CARD, instructions: null }, 1000);
    expect(result).toEqual({
      resultType: 'complete',
      supportedVersions: ['2026-07-28'],
      capabilities: { tools: {} },
      ttlMs: 1000,
      cacheScope: 'private',
      _meta: SERVER,
    });
    expect(modern.DiscoverResultSchema.safeParse(result).success).toBe(true);
  });

  test('an empty result is exactly {} for legacy clients, which refuse any other member', () => {
    expect(emptyResult(old())).toEqual({});
    expect(legacy.EmptyResultSchema.safeParse(emptyResult(old())).success).toBe(true);
    expect(legacy.EmptyResultSchema.safeParse(emptyResult(NEW)).success).toBe(false);
    expect(emptyResult(NEW)).toEqual({ resultType: 'complete', _meta: SERVER });
  });

  test('a list has cache hints for modern clients and none for legacy ones', () => {
    const tools = [{ name: 'a', inputSchema: { type: 'object' } }];
    expect(listResult(NEW, 'tools', tools, { nextCursor: 'c', ttlMs: -5 })).toEqual({
      resultType: 'complete',
      tools,
      nextCursor: 'c',
      ttlMs: 0,
      cacheScope: 'private',
      _meta: SERVER,
    });
    expect(listResult(old(), 'tools', tools, { nextCursor: null, ttlMs: 5 })).toEqual({ tools });
  });

  test('a refused call is an error the model can read, with our reference', () => {
    const meta = { 'com.example/ref': 'ref_1' };
    expect(toolError(NEW, 'Not allowed.', meta)).toEqual({
      resultType: 'complete',
      content: [{ type: 'text', text: 'Not allowed.' }],
      isError: true,
      _meta: { ...meta, ...SERVER },
    });
    expect(toolError(old(), 'Not allowed.')).toEqual({
      content: [{ type: 'text', text: 'Not allowed.' }],
      isError: true,
    });
  });
});

describe('an upstream result', () => {
  const passed = (facing: Facing, upstream: JsonObject, facts = {}): JsonObject => {
    const result = toolsCallResult(facing, upstream, facts);
    if (!result.ok) throw new Error(JSON.stringify(result.error));
    return result.value;
  };

  test('without resultType is complete, and says so only to modern clients', () => {
    expect(passed(NEW, { content: [text] })).toEqual({ resultType: 'complete', content: [text], _meta: SERVER });
    expect(passed(old(), { content: [text], resultType: 'complete' })).toEqual({ content: [text] });
  });

  test('keeps its own _meta but none of the reserved keys, and gets ours', () => {
    const upstream = {
      content: [text],
      _meta: {
        'com.example/x': 1,
        'io.modelcontextprotocol/serverInfo': { name: 'evil', version: '1' },
        progressToken: 'p',
      },
    };
    expect(passed(NEW, upstream, { meta: { 'com.example/ref': 'r' } })['_meta']).toEqual({
      'com.example/x': 1,
      'com.example/ref': 'r',
      ...SERVER,
    });
    expect(passed(old(), upstream)['_meta']).toEqual({ 'com.example/x': 1 });
  });

  test('loses members that nobody defined', () => {
    expect(passed(old(), { content: [text], isError: false, ttlMs: 5, cacheScope: 'public', surprise: 'x' })).toEqual({
      content: [text],
      isError: false,
    });
  });

  test.each<[string, JsonObject, JsonObject]>([
    [
      'asks for input',
      { resultType: 'input_required', inputRequests: {} },
      { reason: 'result_type', resultType: 'input_required' },
    ],
    ['is a task', { resultType: 'task', taskId: 'x' }, { reason: 'result_type', resultType: 'task' }],
    [
      'is of an unknown kind',
      { resultType: 'surprise', content: [] },
      { reason: 'result_type', resultType: 'surprise' },
    ],
    [
      'has a kind that is no text',
      { resultType: 1, content: [] },
      { reason: 'result_type', resultType: 'not a string' },
    ],
    [
      'asks for input without saying so',
      { content: [], inputRequests: {} },
      { reason: 'result_type', resultType: 'input_required' },
    ],
    [
      'has a request state without saying so',
      { content: [], requestState: 's' },
      { reason: 'result_type', resultType: 'input_required' },
    ],
    [
      'is a task of 2025-11-25',
      { task: { taskId: 'x', status: 'working' } },
      { reason: 'result_type', resultType: 'task' },
    ],
    ['has no content', {}, { reason: 'shape', problem: 'content is not an array' }],
    ['has content that is no list', { content: 'x' }, { reason: 'shape', problem: 'content is not an array' }],
    [
      'has a block that is no object',
      { content: ['x'] },
      { reason: 'shape', problem: 'a content block is not an object' },
    ],
    [
      'has a block of an unknown type',
      { content: [{ type: 'script' }] },
      { reason: 'shape', problem: 'a content block has an unknown type' },
    ],
    [
      'has a block typed like a member of objects',
      { content: [{ type: 'constructor' }] },
      { reason: 'shape', problem: 'a content block has an unknown type' },
    ],
    [
      'has text without text',
      { content: [{ type: 'text' }] },
      { reason: 'shape', problem: 'a text block has no text' },
    ],
    [
      'has an image without data',
      { content: [{ type: 'image', mimeType: 'x' }] },
      { reason: 'shape', problem: 'a image block has no data' },
    ],
    [
      'has a resource without body',
      { content: [{ type: 'resource', resource: { uri: 'a:b' } }] },
      { reason: 'shape', problem: 'a resource block has no uri with text or blob' },
    ],
    [
      'has an isError that is no boolean',
      { content: [], isError: 'false' },
      { reason: 'shape', problem: 'isError is not a boolean' },
    ],
    [
      'has a _meta that is no object',
      { content: [], _meta: 1 },
      { reason: 'shape', problem: '_meta is not an object' },
    ],
  ])('never passes when it %s', (_title, upstream, error) => {
    expect(toolsCallResult(NEW, upstream)).toEqual({ ok: false, error });
    expect(toolsCallResult(old(), upstream)).toEqual({ ok: false, error });
  });

  test('twin: a legacy client takes an unfinished result for an empty success', () => {
    const unfinished = { resultType: 'input_required', inputRequests: {} };
    expect(legacy.CallToolResultSchema.parse(unfinished)).toMatchObject({ content: [] });
    expect(toolsCallResult(old(), unfinished).ok).toBe(false);
  });
});

describe('down-conversion (L13)', () => {
  const audio = { type: 'audio', data: 'AAAA', mimeType: 'audio/wav' };
  const link = { type: 'resource_link', uri: 'file:///a', name: 'a' };
  const said = { type: 'text', text: '[audio/wav left out: protocol version 2024-11-05 has no audio]' };
  const linked = { type: 'text', text: 'a: file:///a' };

  test.each<[LegacyVersion, JsonObject, JsonObject]>([
    ['2024-11-05', audio, said],
    ['2025-03-26', audio, audio],
    ['2024-11-05', link, linked],
    ['2025-03-26', link, linked],
    ['2025-06-18', link, link],
    ['2025-11-25', link, link],
  ])('%s: %j', (version, block, converted) => {
    expect(toolsCallResult(old(version), { content: [block] })).toEqual({ ok: true, value: { content: [converted] } });
  });

  const number = { type: 'number' };
  const object = { type: 'object' };
  test.each<[string, LegacyVersion | typeof MODERN, Json, JsonObject | undefined, Json | undefined]>([
    ['an object', '2025-11-25', { a: 1 }, object, { a: 1 }],
    ['an object without schema', '2025-06-18', { a: 1 }, undefined, { a: 1 }],
    ['a number under a wrapped schema', '2025-11-25', 7, number, { result: 7 }],
    ['an object under a wrapped schema', '2025-11-25', { a: 1 }, { anyOf: [object, number] }, { result: { a: 1 } }],
    ['a list without schema', '2025-11-25', [1], undefined, { result: [1] }],
    ['null without schema', '2025-11-25', null, undefined, { result: null }],
    ['a list where an object was promised', '2025-11-25', [1], object, undefined],
    ['anything for modern clients', MODERN, [1], undefined, [1]],
    ['nothing before it existed', '2025-03-26', { a: 1 }, object, undefined],
  ])('structured content: %s in %s', (_title, version, value, outputSchema, expected) => {
    const facing = { era: version === MODERN ? 'modern' : 'legacy', version, serverInfo } as const;
    const facts = outputSchema === undefined ? {} : { outputSchema };
    const result = toolsCallResult(facing, { content: [text], structuredContent: value }, facts);
    expect(result.ok && result.value['structuredContent']).toEqual(expected);
  });

  test('structured content alone reaches clients that do not know it, as text', () => {
    expect(toolsCallResult(old('2025-03-26'), { structuredContent: { a: 1 } })).toEqual({
      ok: true,
      value: { content: [{ type: 'text', text: '{"a":1}' }] },
    });
  });

  test('what comes out is taken by the SDK of its era', () => {
    const upstream = { content: [text, audio, link], structuredContent: [1, 2], isError: false };
    for (const version of LEGACY_VERSIONS) {
      const result = toolsCallResult(old(version), upstream);
      expect(legacy.CallToolResultSchema.safeParse(result.ok && result.value).success).toBe(true);
    }
    const result = toolsCallResult(NEW, upstream);
    expect(modern.CallToolResultSchema.safeParse(result.ok && result.value).success).toBe(true);
  });
});
