/**
 * Nothing later than a client's revision reaches it (L10-L14). What each revision has is written down here a second time, from the
 * schemas of the specification, and every result of every family is held against it; then the SDK of its era judges the whole.
 */
import * as modern from '@modelcontextprotocol/core';
import * as legacy from '@modelcontextprotocol/sdk/types.js';
import { describe, expect, test } from 'vitest';
import { type Json, type JsonObject, isJsonObject } from '../../src/lib/json.ts';
import {
  type Facing,
  completionResult,
  listResult,
  promptResult,
  resourceResult,
  toolsCallResult,
} from '../../src/protocol/results.ts';
import { LEGACY_VERSIONS, MODERN, type ProtocolVersion } from '../../src/protocol/versions.ts';

const VERSIONS: readonly ProtocolVersion[] = [MODERN, ...LEGACY_VERSIONS];
const serverInfo = { name: 'remit', version: '0.1.0' };
const facing = (version: ProtocolVersion): Facing => ({
  era: version === MODERN ? 'modern' : 'legacy',
  version,
  serverInfo,
});
const SERVER = { 'io.modelcontextprotocol/serverInfo': serverInfo };

interface Revision {
  readonly kinds: readonly string[];
  /** Members a block, contents or annotations may have beyond those of 2024-11-05. */
  readonly members: readonly string[];
}
const OLDEST = ['type', 'text', 'data', 'mimeType', 'resource', 'uri', 'blob', 'annotations', 'audience', 'priority'];
const LINK = ['name', 'title', 'description', 'size'];
const REVISIONS: Readonly<Record<ProtocolVersion, Revision>> = {
  '2024-11-05': { kinds: ['text', 'image', 'resource'], members: [] },
  '2025-03-26': { kinds: ['text', 'image', 'resource', 'audio'], members: [] },
  '2025-06-18': {
    kinds: ['text', 'image', 'resource', 'audio', 'resource_link'],
    members: [...LINK, '_meta', 'lastModified'],
  },
  '2025-11-25': {
    kinds: ['text', 'image', 'resource', 'audio', 'resource_link'],
    members: [...LINK, '_meta', 'lastModified', 'icons'],
  },
  '2026-07-28': {
    kinds: ['text', 'image', 'resource', 'audio', 'resource_link'],
    members: [...LINK, '_meta', 'lastModified', 'icons'],
  },
};

/** Everything any revision has, and what none has. */
const more = {
  annotations: { audience: ['user'], priority: 1, lastModified: '2026-01-01T00:00:00Z' },
  _meta: { 'com.example/x': 1, progressToken: 'theirs' },
  surprise: 'x',
};
const contents = { uri: 'file:///a', mimeType: 'text/plain', _meta: more._meta, surprise: 'x' };
const BLOCKS: Readonly<Record<string, JsonObject>> = {
  text: { type: 'text', text: 't', ...more },
  image: { type: 'image', data: 'AAAA', mimeType: 'image/png', ...more },
  audio: { type: 'audio', data: 'AAAA', mimeType: 'audio/wav', ...more },
  link: {
    type: 'resource_link',
    uri: 'file:///a',
    name: 'a',
    title: 'A',
    description: 'd',
    mimeType: 'text/plain',
    size: 1,
    icons: [{ src: 'https://example.com/i.png' }],
    ...more,
  },
  resource: { type: 'resource', resource: { ...contents, text: 't' }, ...more },
  bytes: { type: 'resource', resource: { ...contents, blob: 'AAAA' }, ...more },
};

const cases = VERSIONS.flatMap((version) => Object.keys(BLOCKS).map((kind) => [version, kind] as const));
const value = (result: { ok: boolean; value?: JsonObject }): JsonObject => {
  if (result.value === undefined) throw new Error('refused');
  return result.value;
};

function later(block: Json, { kinds, members }: Revision): string[] {
  if (!isJsonObject(block)) return ['not an object'];
  const found = Object.keys(block).filter((key) => !OLDEST.includes(key) && !members.includes(key));
  if (block['type'] !== undefined && !kinds.includes(block['type'] as string))
    found.push(`type ${block['type'] as string}`);
  for (const child of [block['resource'], block['annotations']]) {
    if (child !== undefined) found.push(...later(child, { kinds, members }));
  }
  const meta = block['_meta'];
  if (isJsonObject(meta) && 'progressToken' in meta) found.push('a reserved key in _meta');
  return found;
}

describe('content', () => {
  test.each(cases)('%s: %s in the result of a call', (version, kind) => {
    const result = value(toolsCallResult(facing(version), { content: [BLOCKS[kind]!], surprise: 1, ttlMs: 5 }));
    const blocks = result['content'] as readonly Json[];
    expect(blocks.flatMap((block) => later(block, REVISIONS[version]))).toEqual([]);
    expect(blocks).toHaveLength(1);
    const schema = version === MODERN ? modern.CallToolResultSchema : legacy.CallToolResultSchema;
    expect(schema.safeParse(result).success).toBe(true);
  });

  test.each(cases)('%s: %s in a prompt', (version, kind) => {
    const upstream = {
      description: 'd',
      messages: [{ role: 'user', content: BLOCKS[kind]!, surprise: 1 }],
      surprise: 1,
    };
    const result = value(promptResult(facing(version), upstream));
    const messages = result['messages'] as readonly JsonObject[];
    expect(messages.flatMap((message) => Object.keys(message))).toEqual(['role', 'content']);
    expect(messages.flatMap(({ content }) => later(content as Json, REVISIONS[version]))).toEqual([]);
    const schema = version === MODERN ? modern.GetPromptResultSchema : legacy.GetPromptResultSchema;
    expect(schema.safeParse(result).success).toBe(true);
  });

  test.each(VERSIONS)('%s: a resource that is read', (version) => {
    const upstream = {
      contents: [
        { ...contents, text: 't' },
        { ...contents, blob: 'AAAA' },
      ],
      ttlMs: 9,
      cacheScope: 'public',
    };
    const result = value(resourceResult(facing(version), upstream, { ttlMs: 5 }));
    expect((result['contents'] as readonly Json[]).flatMap((one) => later(one, REVISIONS[version]))).toEqual([]);
    const schema = version === MODERN ? modern.ReadResourceResultSchema : legacy.ReadResourceResultSchema;
    expect(schema.safeParse(result).success).toBe(true);
  });

  test('what has nothing to lose is passed on as the object it was', () => {
    const block = Object.freeze({ type: 'text', text: 't' });
    const result = value(toolsCallResult(facing('2024-11-05'), { content: [block] }));
    expect((result['content'] as readonly Json[])[0]).toBe(block);
  });
});

describe('around the content', () => {
  const ownMeta = { 'com.example/x': 1, 'io.modelcontextprotocol/serverInfo': { name: 'evil', version: '1' } };

  test.each(VERSIONS)(
    '%s: result type, server and cache hints only where they belong, and the hints are ours',
    (version) => {
      const isModern = version === MODERN;
      const read = value(
        resourceResult(
          facing(version),
          { contents: [], ttlMs: 9_000, cacheScope: 'public', _meta: ownMeta },
          { ttlMs: 5, meta: { r: 1 } },
        ),
      );
      const _meta = { 'com.example/x': 1, r: 1 };
      expect(read).toEqual(
        isModern
          ? { contents: [], ttlMs: 5, cacheScope: 'private', resultType: 'complete', _meta: { ..._meta, ...SERVER } }
          : { contents: [], _meta },
      );
      const prompt = value(promptResult(facing(version), { messages: [] }, { meta: { r: 1 } }));
      expect(prompt).toEqual(
        isModern
          ? { messages: [], resultType: 'complete', _meta: { r: 1, ...SERVER } }
          : { messages: [], _meta: { r: 1 } },
      );
      const done = value(
        completionResult(facing(version), { completion: { values: ['a'], total: 2, hasMore: true, more: 1 } }),
      );
      const completion = { values: ['a'], total: 2, hasMore: true };
      expect(done).toEqual(isModern ? { completion, resultType: 'complete', _meta: SERVER } : { completion });
      const schema = isModern ? modern.CompleteResultSchema : legacy.CompleteResultSchema;
      expect(schema.safeParse(done).success).toBe(true);
    },
  );

  test.each(['tools', 'prompts', 'resources', 'resourceTemplates'] as const)('a list of %s', (member) => {
    const page = { nextCursor: 'c', ttlMs: 1 };
    expect(listResult(facing('2025-11-25'), member, [], page)).toEqual({ [member]: [], nextCursor: 'c' });
    expect(listResult(facing(MODERN), member, [], { ...page, nextCursor: null })).toEqual({
      [member]: [],
      ttlMs: 1,
      cacheScope: 'private',
      resultType: 'complete',
      _meta: SERVER,
    });
  });
});

describe('what is no result of its family', () => {
  const user = (content: Json): JsonObject => ({ messages: [{ role: 'user', content }] });
  const completion = (more: JsonObject): JsonObject => ({ completion: { values: [], ...more } });
  const read = (upstream: JsonObject) => resourceResult(facing(MODERN), upstream, { ttlMs: 0 });
  const prompt = (upstream: JsonObject) => promptResult(facing(MODERN), upstream);
  const complete = (upstream: JsonObject) => completionResult(facing(MODERN), upstream);

  test.each<[string, { ok: boolean }, string]>([
    ['a prompt without messages', prompt({}), 'messages is not an array'],
    ['a description that is no text', prompt({ messages: [], description: 1 }), 'description is not a string'],
    [
      'a message of nobody',
      prompt({ messages: [{ role: 'system', content: BLOCKS['text']! }] }),
      'a message has no role',
    ],
    ['a message that is text', prompt({ messages: ['x'] }), 'a message has no role'],
    ['a message without content', prompt({ messages: [{ role: 'user' }] }), 'a content block is not an object'],
    ['a message with a list', prompt(user([])), 'a content block is not an object'],
    ['a message with a kind nobody knows', prompt(user({ type: 'video' })), 'a content block has an unknown type'],
    ['a prompt with a _meta that is no object', prompt({ messages: [], _meta: 1 }), '_meta is not an object'],
    ['a read without contents', read({}), 'contents is not an array'],
    ['contents that are text', read({ contents: ['x'] }), 'resource contents are not an object'],
    ['contents without a URI', read({ contents: [{ text: '' }] }), 'resource contents has no uri'],
    [
      'contents of both kinds',
      read({ contents: [{ uri: 'a:b', text: '', blob: '' }] }),
      'resource contents have not exactly one of text and blob',
    ],
    [
      'contents of neither',
      read({ contents: [{ uri: 'a:b' }] }),
      'resource contents have not exactly one of text and blob',
    ],
    ['a completion without one', complete({}), 'completion is not an object'],
    ['values that are numbers', complete(completion({ values: [1] })), 'completion.values is not an array of strings'],
    [
      '101 values',
      complete(completion({ values: Array.from({ length: 101 }, () => 'v') })),
      'completion.values has more than 100 values',
    ],
    ['a total in words', complete(completion({ total: 'many' })), 'completion.total is not an integer'],
    ['more in words', complete(completion({ hasMore: 'yes' })), 'completion.hasMore is not a boolean'],
  ])('%s', (_title, result, problem) => {
    expect(result).toEqual({ ok: false, error: { reason: 'shape', problem } });
  });

  test.each<[string, { ok: boolean }]>([
    ['a prompt', prompt({ messages: [], resultType: 'input_required' })],
    ['a read', read({ contents: [], requestState: 's' })],
    ['a completion', complete({ completion: { values: [] }, inputRequests: {} })],
  ])('L11: %s that is not finished', (_title, result) => {
    expect(result).toEqual({ ok: false, error: { reason: 'result_type', resultType: 'input_required' } });
  });
});
