/**
 * PH-02: one body, two readers, two meanings. Every body here makes at least one kind of server run something other than what a
 * gateway with plain JSON.parse inspected and let pass; the strict reader refuses all of them. The oracle is what servers would see.
 */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Json } from '../../src/lib/json.ts';
import { argumentLookalike } from '../../src/protocol/key-fold.ts';
import { whatServersSee } from './lenient-parsers.ts';
import { BASE_HEADERS, read } from './requests.ts';

const call = (params: string, more = ''): string =>
  `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${params}${more}}`;
const OK = '"name":"read_file","arguments":{"path":"a.txt"}';

/** Accepted by JSON.parse, understood differently by some server. */
const SPLIT: readonly (readonly [title: string, body: string, code: number])[] = [
  ['name twice', call('{"name":"delete_file","name":"read_file","arguments":{"path":"a.txt"}}'), -32700],
  ['name twice, once escaped', call(String.raw`{"n\u0061me":"delete_file",${OK}}`), -32700],
  ['method twice', call(`{${OK}}`, ',"method":"tools/call"').replace('"id":1', '"id":1,"method":"admin/run"'), -32700],
  ['params twice', call('{"name":"delete_file"}', `,"params":{${OK}}`), -32700],
  [
    'arguments twice',
    call('{"arguments":{"path":"/etc/shadow"},"name":"read_file","arguments":{"path":"a.txt"}}'),
    -32700,
  ],
  ['one argument twice', call('{"name":"read_file","arguments":{"path":"/etc/shadow","path":"a.txt"}}'), -32700],
  ['Name beside name', call(`{${OK},"Name":"delete_file"}`), -32602],
  ['NAME beside name', call(`{${OK},"NAME":"delete_file"}`), -32602],
  ['Arguments beside arguments', call(`{${OK},"Arguments":{"path":"/etc/shadow"}}`), -32602],
  ['argumentſ with a long s', call(`{${OK},"argument\u017f":{"path":"/etc/shadow"}}`), -32602],
  ['Params beside params', call(`{${OK}}`, ',"Params":{"name":"delete_file"}'), -32600],
  ['PARAMS beside params', call(`{${OK}}`, ',"PARAMS":{"name":"delete_file"}'), -32600],
  ['Method beside method', call(`{${OK}}`, ',"Method":"admin/run"'), -32600],
  ['a NUL behind name', call(String.raw`{${OK},"name\u0000x":"delete_file"}`), -32700],
  ['a NUL behind method', call(`{${OK}}`, String.raw`,"method\u0000":"admin/run"`), -32700],
  [
    'a NUL behind an argument',
    call(String.raw`{"name":"read_file","arguments":{"path":"a.txt","path\u0000":"/etc/shadow"}}`),
    -32700,
  ],
];

describe('PH-02: a body that two servers read differently is refused', () => {
  test.each(SPLIT)('%s', (_title, body, code) => {
    const result = read(body);
    expect(result.ok).toBe(false);
    if (result.ok) return;
    expect(result.error.code).toBe(code);
    expect(result.error.message).toMatch(/^(The body|params has a look-alike|Unknown member)/);
  });

  test.each(SPLIT)('twin: plain JSON.parse lets it through and some server runs something else: %s', (_title, body) => {
    const parsed = JSON.parse(body) as { method: string; params: { name: string; arguments?: { path?: string } } };
    const inspected = JSON.stringify([parsed.method, parsed.params.name, parsed.params.arguments?.path ?? null]);
    expect(inspected).toBe('["tools/call","read_file","a.txt"]');
    const differing = [...whatServersSee(body).values()].filter((seen) => seen !== inspected);
    expect(differing.length).toBeGreaterThan(0);
  });
});

/** Not two meanings but none: some readers take these, others stop, so nothing may pass on what one of them saw. */
describe('PH-02: a body that only lenient readers take is refused', () => {
  test.each<[string, string | Uint8Array, number]>([
    ['data behind the message', `${call(`{${OK}}`)}${call('{"name":"delete_file"}')}`, -32700],
    ['a second message on a second line', `${call(`{${OK}}`)}\n{}`, -32700],
    ['a byte order mark', `\uFEFF${call(`{${OK}}`)}`, -32700],
    ['a comment', call(`{${OK}/*,"x":1*/}`), -32700],
    ['NaN', call('{"name":"read_file","arguments":{"n":NaN}}'), -32700],
    [
      'an overlong slash in UTF-8',
      Buffer.concat([Buffer.from(call(`{${OK}}`).slice(0, -2)), Buffer.from([0xc0, 0xaf])]),
      -32700,
    ],
    ['a surrogate in UTF-8', Buffer.from(call('{"name":"\xed\xa0\x80"}'), 'latin1'), -32700],
    ['a lone surrogate by escape', call(String.raw`{"name":"read_file\ud800"}`), -32700],
    ['__proto__ in arguments', call('{"name":"read_file","arguments":{"__proto__":{"path":"/etc/shadow"}}}'), -32700],
    ['__proto__ in params', call(`{${OK},"__proto__":{"name":"delete_file"}}`), -32700],
    ['an amount no two readers agree on', call('{"name":"pay","arguments":{"cents":90071992547409931}}'), -32700],
    [
      'nesting that overflows recursive readers',
      call(`{"name":"read_file","arguments":{"a":${'['.repeat(5000)}${']'.repeat(5000)}}}`),
      -32700,
    ],
    ['an envelope key in other case', call(`{${OK},"_Meta":{}}`), -32602],
    ['a full-width letter in a key', call(`{${OK},"\uff4eame":"delete_file"}`), -32602],
    ['a zero-width space in a key', call(`{${OK},"na\u200bme":"delete_file"}`), -32602],
    ['a Kelvin sign in a key', call(`{${OK},"tas\u212a":{}}`), -32602],
    ['a space behind a key', call(`{${OK},"name ":"delete_file"}`), -32602],
  ])('%s', (_title, body, code) => {
    const result = read(body);
    expect(result.ok).toBe(false);
    if (!result.ok) expect(result.error.code).toBe(code);
  });
});

describe('PH-02: argument keys that imitate a declared one', () => {
  const schema = {
    type: 'object',
    properties: {
      path: { type: 'string' },
      options: { type: 'object', properties: { recursive: { type: 'boolean' } } },
      files: { type: 'array', items: { type: 'object', properties: { path: { type: 'string' } } } },
    },
  };
  test.each<[string, Json, string | null]>([
    ['none', { path: 'a', options: { recursive: true } }, null],
    ['other case at the root', { path: 'a', Path: '/etc/shadow' }, 'arguments.Path'],
    ['other case alone', { PATH: '/etc/shadow' }, 'arguments.PATH'],
    ['a folding letter', { ['option\u017f']: {} }, 'arguments.optionſ'],
    ['nested', { options: { Recursive: true } }, 'arguments.options.Recursive'],
    ['in a list', { files: [{ path: 'a' }, { Path: 'b' }] }, 'arguments.files[].Path'],
    ['a key the schema says nothing about', { color: 'red', COLOR: 'blue' }, null],
  ])('%s', (_title, args, found) => {
    expect(argumentLookalike(args, schema)).toBe(found);
  });
});

test('PH-02: every server reads a re-serialised accepted message as the gateway read it', () => {
  const key = fc.oneof(
    fc.constantFrom(
      'name',
      'Name',
      'NAME',
      'n\u0061me',
      'name\0',
      'arguments',
      'Arguments',
      'argument\u017f',
      '_meta',
      'x',
      'cursor',
    ),
    fc.string({ maxLength: 6 }),
  );
  const members = fc.array(
    fc.tuple(key, fc.oneof(fc.string({ maxLength: 4 }), fc.constant({ path: 'b' }), fc.constant({ Path: 'c' }))),
    { maxLength: 4 },
  );
  let accepted = 0;
  fc.assert(
    fc.property(members, fc.boolean(), (extra, first) => {
      // Written by hand: JSON.stringify could not repeat a key.
      const more = extra.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`);
      const params = `{${(first ? [...more, OK] : [OK, ...more]).join(',')}}`;
      const result = read(call(params), BASE_HEADERS);
      if (!result.ok || result.value.kind !== 'request') return;
      accepted++;
      const { method, name, params: inspected } = result.value;
      const forwarded = JSON.stringify({
        jsonrpc: '2.0',
        id: 99,
        method,
        params: { name, arguments: inspected['arguments'] ?? {} },
      });
      const expected = JSON.stringify([method, name, 'a.txt']);
      for (const seen of whatServersSee(forwarded).values()) expect(seen).toBe(expected);
    }),
    { seed: 2, numRuns: 2000 },
  );
  expect(accepted).toBeGreaterThan(200);
});
