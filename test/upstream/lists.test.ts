/** The four lists of a server, over a scripted connection: capabilities, pages, caps, and what is refused. */
import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import { UpstreamFault } from '../../src/upstream/connection.ts';
import type { Connection, UpstreamReply } from '../../src/upstream/connection.ts';
import { LIST_KINDS, listItems } from '../../src/upstream/lists.ts';
import type { ListKind } from '../../src/upstream/lists.ts';

const NEVER = new AbortController().signal;
const LIMITS = { maxPages: 3, maxItems: 4, maxBytes: 500 };

// prettier-ignore
const KINDS: Record<ListKind, { method: string; member: string; capability: string; item: (name: string) => JsonObject; noun: string; nameMember: string }> = {
  tool: { method: 'tools/list', member: 'tools', capability: 'tools', item: (name) => ({ name }), noun: 'tool', nameMember: 'name' },
  prompt: { method: 'prompts/list', member: 'prompts', capability: 'prompts', item: (name) => ({ name }), noun: 'prompt', nameMember: 'name' },
  resource: { method: 'resources/list', member: 'resources', capability: 'resources', item: (name) => ({ uri: name, name: 'same' }), noun: 'resource', nameMember: 'uri' },
  template: { method: 'resources/templates/list', member: 'resourceTemplates', capability: 'resources', item: (name) => ({ uriTemplate: name, name: 'same' }), noun: 'resource template', nameMember: 'uriTemplate' },
};

/** Answers page after page; says what it was asked. */
function scripted(
  capability: string | null,
  pages: ReadonlyArray<JsonObject | { readonly error: number }>,
): { connection: Connection; asked: Array<[string, JsonObject]> } {
  const asked: Array<[string, JsonObject]> = [];
  const connection: Connection = {
    identity: {
      era: 'modern',
      protocolVersion: '2026-07-28',
      serverInfo: {},
      instructions: null,
      capabilities: capability === null ? {} : { [capability]: {} },
    },
    request: ({ method, params }): Promise<UpstreamReply> => {
      const page = pages[Math.min(asked.length, pages.length - 1)]!;
      asked.push([method, params]);
      return Promise.resolve(
        typeof page['error'] === 'number'
          ? { kind: 'error', error: { code: page['error'], message: 'no' } }
          : { kind: 'result', result: page },
      );
    },
    onChange: () => () => undefined,
    watch: () => undefined,
    closed: new Promise(() => undefined),
    close: () => Promise.resolve(),
  };
  return { connection, asked };
}

test('there are four lists', () => {
  expect(LIST_KINDS).toEqual(Object.keys(KINDS));
});

describe.each(LIST_KINDS)('%s', (kind) => {
  const { method, member, capability, item, noun, nameMember } = KINDS[kind];
  const page = (names: readonly string[], more: JsonObject = {}): JsonObject => ({
    [member]: names.map(item),
    ...more,
  });
  const fault = async (pages: ReadonlyArray<JsonObject | { readonly error: number }>): Promise<string> => {
    const error = await listItems(scripted(capability, pages).connection, kind, NEVER, LIMITS).catch((e: unknown) => e);
    return error instanceof UpstreamFault ? `${error.code}: ${error.message}` : 'no fault';
  };

  test('without the capability it is empty, and not asked for', async () => {
    const { connection, asked } = scripted(null, [page(['x:a'])]);
    expect(await listItems(connection, kind, NEVER)).toEqual({ items: [], unknownMethod: null });
    expect(asked).toEqual([]);
  });

  test('is read to the end of its pages, in order, the empty cursor included', async () => {
    const { connection, asked } = scripted(capability, [
      page(['x:b'], { nextCursor: '' }),
      page(['x:a'], { nextCursor: 'two' }),
      page(['x:c']),
    ]);
    const { items } = await listItems(connection, kind, NEVER, LIMITS);
    expect(items).toEqual(['x:b', 'x:a', 'x:c'].map(item));
    expect(asked).toEqual([
      [method, {}],
      [method, { cursor: '' }],
      [method, { cursor: 'two' }],
    ]);
  });

  test('advertised and not known to the server is empty, and said', async () => {
    const { connection } = scripted(capability, [{ error: -32601 }]);
    expect(await listItems(connection, kind, NEVER)).toEqual({ items: [], unknownMethod: method });
  });

  test.each([
    ['another error', [{ error: -32603 }], `upstream_protocol: ${method} was answered with error -32603`],
    [
      'a method unknown from the second page on',
      [page(['x:a'], { nextCursor: 'x' }), { error: -32601 }],
      `upstream_protocol: ${method} was answered with error -32601`,
    ],
    ['no array', [{ [member]: {} }], `upstream_protocol: the result of ${method} has no array \`${member}\``],
    [
      'an element that is none',
      [{ [member]: ['x'] }],
      `upstream_protocol: an element of \`${member}\` is not an object`,
    ],
    ['an element without a name', [{ [member]: [{}] }], `upstream_protocol: a ${noun} has no ${nameMember}`],
    [
      'one name twice, over pages',
      [page(['x:a'], { nextCursor: 'x' }), page(['x:a'])],
      `upstream_protocol: two ${noun}s have the ${nameMember} "x:a"`,
    ],
    ['a cursor that is no string', [page([], { nextCursor: 7 })], 'upstream_protocol: `nextCursor` is not a string'],
    [
      'cursors in a circle',
      [page([], { nextCursor: 'x' })],
      `upstream_protocol: the cursors of ${method} go round in a circle`,
    ],
    [
      'too many pages',
      ['1', '2', '3', '4'].map((nextCursor) => page([], { nextCursor })),
      `upstream_too_large: the ${noun} list has more than 3 pages`,
    ],
    [
      'too many items',
      [page(['x:1', 'x:2', 'x:3', 'x:4', 'x:5'])],
      `upstream_too_large: the server offers more than 4 ${noun}s`,
    ],
    [
      'too many bytes',
      [{ [member]: [{ ...item('x:a'), description: 'x'.repeat(500) }] }],
      `upstream_too_large: the ${noun} definitions exceed 500 bytes`,
    ],
  ])('refuses %s', async (_what, pages, text) => {
    expect(await fault(pages)).toBe(text);
  });
});
