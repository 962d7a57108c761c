import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import type { Parameters } from '../../src/lib/typed-arguments.ts';
import { canonicalArguments, facetsOf, parameterTable } from '../../src/lib/typed-arguments.ts';

const read = (given: JsonObject, parameters: Parameters) => canonicalArguments(given, parameterTable(parameters)!);
const plain = (given: JsonObject, parameters: Parameters): unknown => {
  const result = read(given, parameters);
  return result.ok ? result.value.arguments : result.error;
};

test('nothing typed is nothing to do', () => {
  expect(parameterTable(undefined)).toBeNull();
  expect(parameterTable({})).toBeNull();
});

describe('canonicalArguments', () => {
  test.each([
    [{ path: '/a//b', other: '/a//b' }, { '/path': 'path' }, { path: '/a/b', other: '/a//b' }],
    [{ to: ['A@B.com', 'c@D.com'] }, { '/to': 'domain' }, { to: ['A@b.com', 'c@d.com'] }],
    [
      { edits: [{ file: './a' }, { file: 'b' }, {}] },
      { '/edits/file': 'path' },
      { edits: [{ file: 'a' }, { file: 'b' }, {}] },
    ],
    [{ at: { 'a/b': { '~': '/x/' } } }, { '/at/a~1b/~0': 'path' }, { at: { 'a/b': { '~': '/x' } } }],
    [{ list: ['./a', './b'] }, { '/list/1': 'path' }, { list: ['./a', 'b'] }],
    [
      { sum: 12.5, id: 7 },
      { '/sum': 'amount', '/id': 'identifier' },
      { sum: 12.5, id: 7 },
    ],
    [{ sum: '12.5' }, { '/sum': 'amount' }, { sum: '12.50' }],
    [{ path: null }, { '/path': 'path' }, { path: null }],
    [{ path: 'x' }, { '/path/deep': 'path' }, { path: 'x' }],
  ] as Array<[JsonObject, Parameters, JsonObject]>)('%j with %j is %j', (given, parameters, want) =>
    expect(plain(given, parameters)).toEqual(want),
  );

  test('what is spelt so already is the same object', () => {
    const given = { path: '/a', to: ['a@b.com'], more: { x: [1] } };
    const result = read(given, { '/path': 'path', '/to': 'domain' });
    expect(result.ok && result.value.arguments).toBe(given);
  });

  test('says every place that has none, without the value', () => {
    expect(
      plain(
        { path: '../x', to: ['a@b.com', 'secret,x@y.com'], n: true },
        { '/path': 'path', '/to': 'domain', '/n': 'amount' },
      ),
    ).toEqual([
      '/n must be text or a number',
      '/path leads out of the folder it is relative to',
      '/to/1 must be one plain e-mail address, such as ana@example.com',
    ]);
    expect(plain({ path: { x: 1 } }, { '/path': 'path' })).toEqual(['/path must be text']);
    expect(plain({ to: Array.from({ length: 2_001 }, () => 'a.com') }, { '/to': 'domain' })).toEqual([
      'more than 2000 values are paths, URLs, domains, amounts or identifiers',
    ]);
  });

  test('a name like a prototype is only a name', () => {
    const given = JSON.parse('{"__proto__":{"path":"/a//b"}}') as JsonObject;
    expect(JSON.stringify(plain(given, { '/__proto__/path': 'path' }))).toBe('{"__proto__":{"path":"/a/b"}}');
    expect(plain({ a: 'x' }, { '/constructor/name': 'path' })).toEqual({ a: 'x' });
  });
});

test('facets of several values are what holds for all of them', () => {
  const facets = (given: JsonObject, parameters: Parameters): unknown => {
    const result = read(given, parameters);
    return result.ok && Object.fromEntries(result.value.typed.flatMap(facetsOf));
  };
  expect(facets({ p: '/a/b' }, { '/p': 'path' })).toEqual({ under: ['/', '/a', '/a/b'] });
  expect(facets({ p: ['/a/b', '/a/c'] }, { '/p': 'path' })).toEqual({ under: ['/', '/a'] });
  expect(facets({ p: ['/a/b', '/c'] }, { '/p': 'path' })).toEqual({ under: ['/'] });
  expect(facets({ p: [] }, { '/p': 'path' })).toEqual({});
  expect(facets({}, { '/p': 'path' })).toEqual({});
  expect(facets({ to: ['x@a.b.com', 'y@c.b.com'] }, { '/to': 'domain' })).toEqual({
    host: ['a.b.com', 'c.b.com'],
    hostUnder: ['.b.com', '.com'],
  });
  expect(facets({ to: 'x@a.com' }, { '/to': 'domain' })).toEqual({ host: 'a.com', hostUnder: ['a.com', '.com'] });
  expect(facets({ sums: [1, 2] }, { '/sums': 'amount' })).toEqual({});
  expect(facets({ rows: [{ sum: 1 }] }, { '/rows/sum': 'amount' })).toEqual({});
  expect(facets({ sum: 0.1 }, { '/sum': 'amount' })).toEqual({ minor: 10 });
});
