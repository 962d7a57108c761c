/**
 * PH-01: what a proxy reads in the headers is what the server reads in the body. Each row changes one thing of a good request.
 * Twin: without the check the same requests are accepted, which the last test shows by what the two readers would act on.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { describe, expect, test } from 'vitest';
import type { Json, JsonObject } from '../../src/lib/json.ts';
import { META } from '../../src/protocol/meta.ts';
import { checkParamHeaders } from '../../src/protocol/param-headers.ts';
import { MODERN } from '../../src/protocol/versions.ts';
import { BASE_HEADERS, CALL_HEADERS, ENVELOPE, legacyCall, modernCall, read } from './requests.ts';

const change = (headers: IncomingHttpHeaders) => ({ ...CALL_HEADERS, ...headers });
const drop = (name: string): IncomingHttpHeaders => {
  const { [name]: _, ...rest } = CALL_HEADERS;
  return rest;
};
const sentinel = (text: string): string => `=?base64?${Buffer.from(text).toString('base64')}?=`;
const list = { jsonrpc: '2.0', id: 7, method: 'tools/list', params: { _meta: ENVELOPE } };
const claims = (version: string): JsonObject => modernCall({ _meta: { ...ENVELOPE, [META.protocolVersion]: version } });

const VERSION = 'MCP-Protocol-Version does not equal the version in params._meta';
const METHOD = 'Mcp-Method does not equal the method of the body';
const NAME = 'Mcp-Name does not equal params.name';
const CHARS = 'Mcp-Name has invalid characters or invalid Base64';

const ROWS: readonly (readonly [title: string, body: Json, headers: IncomingHttpHeaders, message: string])[] = [
  ['version header missing', modernCall(), drop('mcp-protocol-version'), 'MCP-Protocol-Version is missing'],
  ['version header older', modernCall(), change({ 'mcp-protocol-version': '2025-11-25' }), VERSION],
  ['version header unknown', modernCall(), change({ 'mcp-protocol-version': '2099-01-01' }), VERSION],
  ['version header empty', modernCall(), change({ 'mcp-protocol-version': '' }), VERSION],
  ['version header sent twice', modernCall(), change({ 'mcp-protocol-version': `${MODERN}, ${MODERN}` }), VERSION],
  ['body claims an unknown version, header does not', claims('v999.0.0'), CALL_HEADERS, VERSION],
  ['body claims a legacy version, header does not', claims('2025-06-18'), CALL_HEADERS, VERSION],
  ['method header missing', modernCall(), drop('mcp-method'), 'Mcp-Method is missing'],
  ['method header of a harmless method', modernCall(), change({ 'mcp-method': 'tools/list' }), METHOD],
  ['method header in capitals', modernCall(), change({ 'mcp-method': 'TOOLS/CALL' }), METHOD],
  ['method header empty', modernCall(), change({ 'mcp-method': '' }), METHOD],
  ['method header sent twice', modernCall(), change({ 'mcp-method': 'tools/list, tools/call' }), METHOD],
  [
    'method header in Base64, which it may not be',
    modernCall(),
    change({ 'mcp-method': sentinel('tools/call') }),
    METHOD,
  ],
  ['method header with a no-break space', modernCall(), change({ 'mcp-method': 'tools/call\u00a0' }), METHOD],
  ['method header on the body of tools/list', list, change({}), METHOD],
  ['name header missing', modernCall(), drop('mcp-name'), 'Mcp-Name is missing'],
  ['name header of another tool', modernCall(), change({ 'mcp-name': 'list_files' }), NAME],
  ['name header empty', modernCall(), change({ 'mcp-name': '' }), NAME],
  ['name header in other case', modernCall(), change({ 'mcp-name': 'Read_File' }), NAME],
  ['name header a prefix', modernCall(), change({ 'mcp-name': 'read' }), NAME],
  ['name header with more behind it', modernCall(), change({ 'mcp-name': 'read_file;x' }), NAME],
  ['name header sent twice', modernCall(), change({ 'mcp-name': 'read_file, delete_file' }), NAME],
  ['name header percent-encoded', modernCall(), change({ 'mcp-name': 'read%5Ffile' }), NAME],
  ['name header in quotes', modernCall(), change({ 'mcp-name': '"read_file"' }), NAME],
  ['name header encodes another tool', modernCall(), change({ 'mcp-name': sentinel('delete_file') }), NAME],
  ['name header double-encoded', modernCall(), change({ 'mcp-name': sentinel(sentinel('read_file')) }), NAME],
  [
    'name header with the sentinel in capitals',
    modernCall(),
    change({ 'mcp-name': sentinel('read_file').replace('base64', 'BASE64') }),
    NAME,
  ],
  ['name header without closing mark', modernCall(), change({ 'mcp-name': '=?base64?cmVhZF9maWxl' }), NAME],
  ['name header without padding', modernCall({ name: 'Hello' }), change({ 'mcp-name': '=?base64?SGVsbG8?=' }), CHARS],
  [
    'name header with spare bits set',
    modernCall({ name: 'Hello' }),
    change({ 'mcp-name': '=?base64?SGVsbG9=?=' }),
    CHARS,
  ],
  [
    'name header with foreign characters',
    modernCall({ name: 'Hello' }),
    change({ 'mcp-name': '=?base64?SGVs!!!bG8=?=' }),
    CHARS,
  ],
  ['name header in base64url', modernCall({ name: '??>' }), change({ 'mcp-name': '=?base64?Pz8-?=' }), CHARS],
  ['name header encoding invalid UTF-8', modernCall(), change({ 'mcp-name': '=?base64?/w==?=' }), CHARS],
  ['name header in raw latin1', modernCall({ name: 'caf\u00e9' }), change({ 'mcp-name': 'caf\u00e9' }), CHARS],
  ['name header with a control character', modernCall({ name: 'a\u0001b' }), change({ 'mcp-name': 'a\u0001b' }), CHARS],
  [
    'plain name header where the body looks like a sentinel',
    modernCall({ name: sentinel('read_file') }),
    change({ 'mcp-name': sentinel('read_file') }),
    NAME,
  ],
  [
    'name header on a method without a name',
    list,
    change({ 'mcp-method': 'tools/list' }),
    'Mcp-Name was sent for a method that has no name',
  ],
  [
    'legacy request with a foreign method header',
    legacyCall(),
    { ...BASE_HEADERS, 'mcp-method': 'tools/list' },
    METHOD,
  ],
  ['legacy request with a foreign name header', legacyCall(), { ...BASE_HEADERS, 'mcp-name': 'list_files' }, NAME],
];

describe('PH-01: refuses with 400, -32020 and the id', () => {
  test.each(ROWS)('%s', (_title, body, headers, message) => {
    expect(read(body, headers)).toEqual({
      ok: false,
      error: { httpStatus: 400, id: 7, code: -32020, message: `Header mismatch: ${message}` },
    });
  });

  test('there are at least 30 such cases', () => {
    expect(ROWS.length).toBeGreaterThanOrEqual(30);
  });
});

describe('PH-01: accepts', () => {
  test.each([
    ['equal headers', modernCall(), CALL_HEADERS],
    ['white space around the value (RFC 9110 5.5)', modernCall(), change({ 'mcp-name': '  read_file\t' })],
    ['an encoded name', modernCall(), change({ 'mcp-name': sentinel('read_file') })],
    ['an encoded name beyond ASCII', modernCall({ name: 'lies/世界' }), change({ 'mcp-name': sentinel('lies/世界') })],
    ['an empty name and an empty header', modernCall({ name: '' }), change({ 'mcp-name': '' })],
    [
      'legacy requests that send equal headers',
      legacyCall(),
      { ...BASE_HEADERS, 'mcp-method': 'tools/call', 'mcp-name': 'read_file' },
    ],
  ])('%s', (_title, body, headers) => {
    expect(read(body, headers).ok).toBe(true);
  });
});

describe('PH-01: Mcp-Param headers', () => {
  const schema = {
    type: 'object',
    properties: {
      region: { type: 'string', 'x-mcp-header': 'Region' },
      count: { type: 'integer', 'x-mcp-header': 'Count' },
      dry: { type: 'boolean', 'x-mcp-header': 'Dry-Run' },
      where: { type: 'object', properties: { zone: { type: 'string', 'x-mcp-header': 'Zone' } } },
    },
  };
  const args = { region: 'eu', count: 42, dry: false, where: { zone: 'a' } };
  const good = {
    'mcp-param-region': 'eu',
    'mcp-param-count': '42',
    'mcp-param-dry-run': 'false',
    'mcp-param-zone': 'a',
  };
  const without = (name: keyof typeof good): IncomingHttpHeaders => {
    const { [name]: _, ...rest } = good;
    return rest;
  };

  test.each<[string, IncomingHttpHeaders, JsonObject, string]>([
    ['missing', without('mcp-param-region'), args, 'Mcp-Param-Region is missing'],
    ['missing for a nested value', without('mcp-param-zone'), args, 'Mcp-Param-Zone is missing'],
    ['another text', { ...good, 'mcp-param-region': 'us' }, args, 'Mcp-Param-Region does not equal the argument'],
    ['other case', { ...good, 'mcp-param-region': 'EU' }, args, 'Mcp-Param-Region does not equal the argument'],
    ['another integer', { ...good, 'mcp-param-count': '43' }, args, 'Mcp-Param-Count does not equal the argument'],
    [
      'an integer in hexadecimal',
      { ...good, 'mcp-param-count': '0x2a' },
      args,
      'Mcp-Param-Count does not equal the argument',
    ],
    [
      'an integer with an exponent',
      { ...good, 'mcp-param-count': '4.2e1' },
      args,
      'Mcp-Param-Count does not equal the argument',
    ],
    [
      'an integer that rounds to the same double',
      { ...good, 'mcp-param-count': '9007199254740993' },
      { ...args, count: 9007199254740991 },
      'Mcp-Param-Count does not equal the argument',
    ],
    [
      'a boolean in capitals',
      { ...good, 'mcp-param-dry-run': 'False' },
      args,
      'Mcp-Param-Dry-Run does not equal the argument',
    ],
    [
      'a boolean as a number',
      { ...good, 'mcp-param-dry-run': '0' },
      args,
      'Mcp-Param-Dry-Run does not equal the argument',
    ],
    ['sent twice', { ...good, 'mcp-param-region': 'eu, us' }, args, 'Mcp-Param-Region does not equal the argument'],
    [
      'bad Base64',
      { ...good, 'mcp-param-region': '=?base64?ZXU?=' },
      args,
      'Mcp-Param-Region has invalid characters or invalid Base64',
    ],
    [
      'sent for an absent argument',
      good,
      { count: 42, dry: false, where: { zone: 'a' } },
      'Mcp-Param-Region was sent although the argument is absent',
    ],
    [
      'sent for a null argument',
      good,
      { ...args, region: null },
      'Mcp-Param-Region was sent although the argument is absent',
    ],
    [
      'an argument that is no primitive',
      good,
      { ...args, region: ['eu'] },
      'Mcp-Param-Region does not equal the argument',
    ],
  ])('refuses: %s', (_title, headers, changed, message) => {
    expect(checkParamHeaders(headers, changed, schema, 7)).toEqual({
      httpStatus: 400,
      id: 7,
      code: -32020,
      message: `Header mismatch: ${message}`,
    });
  });

  test.each<[string, IncomingHttpHeaders, JsonObject]>([
    ['equal values', good, args],
    ['integers compared as numbers', { ...good, 'mcp-param-count': '42.0' }, args],
    ['an encoded text', { ...good, 'mcp-param-region': sentinel('eu') }, args],
    ['nothing for null and absent arguments', {}, { region: null }],
    ['headers no tool declared', { ...good, 'mcp-param-other': 'x' }, args],
  ])('accepts: %s', (_title, headers, changed) => {
    expect(checkParamHeaders(headers, changed, schema, 7)).toBeNull();
  });

  test('legacy clients need not send them, but must not lie', () => {
    expect(checkParamHeaders({}, args, schema, 7, 'optional')).toBeNull();
    expect(checkParamHeaders({ 'mcp-param-region': 'us' }, args, schema, 7, 'optional')).toMatchObject({
      code: -32020,
    });
  });
});

test('PH-01 twin: with the check removed, header and body name different tools and nobody notices', () => {
  // The vulnerable reader: same ladder, but the headers are made to agree before it looks.
  const unchecked = (body: Json, headers: IncomingHttpHeaders) => {
    const { method, params } = body as { method: string; params: { name?: string } };
    const name = params.name === undefined ? {} : { 'mcp-name': sentinel(params.name) };
    return read(body, {
      ...BASE_HEADERS,
      'mcp-protocol-version': MODERN,
      'mcp-method': method,
      ...name,
      unused: headers['mcp-name'],
    });
  };
  const lied = change({ 'mcp-name': 'list_files' });
  const landed = unchecked(modernCall({ name: 'delete_file' }), lied);
  expect(landed).toMatchObject({ ok: true, value: { name: 'delete_file' } });
  expect(lied['mcp-name']).not.toBe('delete_file');
  expect(read(modernCall({ name: 'delete_file' }), lied)).toMatchObject({ ok: false, error: { code: -32020 } });
});
