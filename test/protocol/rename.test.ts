import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  prefixName,
  prefixUri,
  renameDefinition,
  renameNotification,
  renameResult,
  unprefixName,
  unprefixUri,
} from '../../src/protocol/rename.ts';

describe('every name has one reading', () => {
  const server = fc.stringMatching(/^[a-z0-9-]{1,63}$/);
  const name = fc.oneof(fc.string({ minLength: 1 }), fc.constantFrom('__', '+', 'a__b', '_x', 'a+b:c'));

  test('prefix and unprefix are each other’s inverse, whatever the server calls its things', () => {
    fc.assert(
      fc.property(server, name, (id, text) => {
        expect(unprefixName(prefixName(id, text))).toEqual({ server: id, name: text });
        expect(unprefixUri(prefixUri(id, text))).toEqual({ server: id, uri: text });
      }),
      { seed: 1, numRuns: 500 },
    );
  });

  test('TD-04: a tool that calls itself another server’s tool stays its own server’s', () => {
    expect(unprefixName(prefixName('evil', 'bank__transfer'))).toEqual({ server: 'evil', name: 'bank__transfer' });
    expect(unprefixUri(prefixUri('evil', 'bank+file:///x'))).toEqual({ server: 'evil', uri: 'bank+file:///x' });
  });

  test.each([
    ['no separator', 'read_file', 'file:///x'],
    ['nothing in front', '__read', '+file:///x'],
    ['nothing behind', 'files__', 'files+'],
    ['a server id in capitals', 'Files__read', 'Files+file:///x'],
    ['a server id that is too long', `${'a'.repeat(64)}__read`, `${'a'.repeat(64)}+file:///x`],
    ['the empty text', '', ''],
  ])('%s belongs to no server', (_title, name, uri) => {
    expect(unprefixName(name)).toBeNull();
    expect(unprefixUri(uri)).toBeNull();
  });
});

describe('definitions', () => {
  test.each([
    ['tool', { name: 'read', title: 'Read' }, { name: 'files__read', title: 'Read' }],
    ['prompt', { name: 'greet' }, { name: 'files__greet' }],
    ['resource', { name: 'notes', uri: 'file:///n' }, { name: 'notes', uri: 'files+file:///n' }],
    ['template', { name: 'any', uriTemplate: '{+path}?{a}' }, { name: 'any', uriTemplate: 'files+{+path}?{a}' }],
  ] as const)('a %s', (kind, definition, renamed) => {
    expect(renameDefinition(kind, definition, 'files')).toEqual(renamed);
  });

  test('the page of a tool is found under its new URI, in both spellings', () => {
    const meta = { ui: { resourceUri: 'ui://a', visibility: ['app'] }, 'ui/resourceUri': 'ui://b', other: 1 };
    expect(renameDefinition('tool', { name: 'x', _meta: meta }, 's')).toEqual({
      name: 's__x',
      _meta: { ui: { resourceUri: 's+ui://a', visibility: ['app'] }, 'ui/resourceUri': 's+ui://b', other: 1 },
    });
  });
});

describe('results', () => {
  test('of a call: links and embedded resources, and nothing that is the server’s own words', () => {
    const result = {
      content: [
        { type: 'text', text: 'see file:///n' },
        { type: 'resource_link', uri: 'file:///n', name: 'n' },
        { type: 'resource', resource: { uri: 'file:///m', text: 'file:///m' } },
      ],
      structuredContent: { uri: 'file:///n' },
      isError: false,
    };
    expect(renameResult(result, 's')).toEqual({
      content: [
        { type: 'text', text: 'see file:///n' },
        { type: 'resource_link', uri: 's+file:///n', name: 'n' },
        { type: 'resource', resource: { uri: 's+file:///m', text: 'file:///m' } },
      ],
      structuredContent: { uri: 'file:///n' },
      isError: false,
    });
  });

  test('of a prompt: the content of each message', () => {
    const link = { type: 'resource_link', uri: 'a:b', name: 'n' };
    expect(
      renameResult(
        {
          description: 'd',
          messages: [
            { role: 'user', content: link },
            { role: 'user', content: [link] },
          ],
        },
        's',
      ),
    ).toEqual({
      description: 'd',
      messages: [
        { role: 'user', content: { ...link, uri: 's+a:b' } },
        { role: 'user', content: [{ ...link, uri: 's+a:b' }] },
      ],
    });
  });

  test('of a read: the URI of each content', () => {
    expect(
      renameResult(
        {
          contents: [
            { uri: 'a:b', text: 't' },
            { uri: 'c:d', blob: '' },
          ],
        },
        's',
      ),
    ).toEqual({
      contents: [
        { uri: 's+a:b', text: 't' },
        { uri: 's+c:d', blob: '' },
      ],
    });
  });

  test('what is renamed twice can be asked for twice: the given object is not touched', () => {
    const result = Object.freeze({ contents: Object.freeze([Object.freeze({ uri: 'a:b', text: '' })]) });
    expect(renameResult(result, 's')).not.toBe(result);
    expect(result.contents[0]?.uri).toBe('a:b');
  });
});

test('only the notification about a resource speaks of a URI', () => {
  const updated = { method: 'notifications/resources/updated', params: { uri: 'a:b' } };
  expect(renameNotification(updated, 's')).toEqual({ ...updated, params: { uri: 's+a:b' } });
  const progress = { method: 'notifications/progress', params: { uri: 'a:b' } };
  expect(renameNotification(progress, 's')).toBe(progress);
});
