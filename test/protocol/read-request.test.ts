/** Every rung of the ladder, in order, with status, code, id and message; then what a message that passes looks like. */
import * as fc from 'fast-check';
import type { IncomingHttpHeaders } from 'node:http';
import { describe, expect, test } from 'vitest';
import type { Json } from '../../src/lib/json.ts';
import { META } from '../../src/protocol/meta.ts';
import { methodRules } from '../../src/protocol/methods.ts';
import { readBody } from '../../src/protocol/read-request.ts';
import { MODERN } from '../../src/protocol/versions.ts';
import { BASE_HEADERS, CALL_HEADERS, ENVELOPE, legacyCall, modernCall, read, readPosted } from './requests.ts';

const without = (key: string) => {
  const { [key]: _, ...rest } = ENVELOPE;
  return rest;
};
const withMeta = (meta: Json) => modernCall({ _meta: meta });
const oldVersion = { ...ENVELOPE, [META.protocolVersion]: '1900-01-01' };

const crowd = (size: number) => Object.fromEntries(Array.from({ length: size }, (_, i) => [`k${i}`, i]));

type Row = readonly [
  title: string,
  body: Json | string | Uint8Array,
  headers: IncomingHttpHeaders,
  status: number,
  code: number,
  id: string | number | null,
  message: string,
];

const MODERN_HEADERS = (method: string): IncomingHttpHeaders => ({
  ...BASE_HEADERS,
  'mcp-protocol-version': MODERN,
  'mcp-method': method,
});
const modern = (method: string, params = {}): Json => ({
  jsonrpc: '2.0',
  id: 7,
  method,
  params: { _meta: ENVELOPE, ...params },
});
const legacy = (method: string, params = {}): Json => ({ jsonrpc: '2.0', id: 7, method, params });

// prettier-ignore
const ROWS: readonly Row[] = [
  // media type
  ['no Content-Type', modernCall(), { accept: '*/*' }, 415, -32600, null, 'Content-Type must be application/json in UTF-8'],
  ['a form', modernCall(), { ...CALL_HEADERS, 'content-type': 'application/x-www-form-urlencoded' }, 415, -32600, null, 'Content-Type must be application/json in UTF-8'],
  ['another charset', modernCall(), { ...CALL_HEADERS, 'content-type': 'application/json; charset=utf-16' }, 415, -32600, null, 'Content-Type must be application/json in UTF-8'],
  ['a compressed body', modernCall(), { ...CALL_HEADERS, 'content-encoding': 'gzip' }, 415, -32600, null, 'Content-Encoding is not accepted: send the body as it is'],
  // size and JSON
  ['a body beyond the limit', Buffer.alloc(4_194_305, 0x20), BASE_HEADERS, 413, -32600, null, 'The body is larger than 4194304 bytes'],
  ['bytes that are not UTF-8', Uint8Array.from([0xff]), BASE_HEADERS, 400, -32700, null, 'The body is not well-formed UTF-8 text at offset 0'],
  ['an empty body', '', BASE_HEADERS, 400, -32700, null, 'The body is not valid JSON at offset 0'],
  ['a repeated key', '{"id":1,"id":2}', BASE_HEADERS, 400, -32700, null, 'The body repeats a key "id" at offset 8'],
  ['a forbidden key', '{"__proto__":1}', BASE_HEADERS, 400, -32700, null, 'The body has a forbidden key "__proto__" at offset 1'],
  ['65 levels', '['.repeat(65), BASE_HEADERS, 400, -32700, null, 'The body nests too deeply at offset 64'],
  ['an unsafe integer', '{"id":9007199254740993}', BASE_HEADERS, 400, -32700, null, 'The body has a number that JSON readers do not agree on, send it as a string, at offset 6'],
  // batches as a whole
  ['a batch in the modern era', [modernCall()], CALL_HEADERS, 400, -32600, null, 'Send one message per request: version 2026-07-28 has no batches'],
  ['an empty batch', [], BASE_HEADERS, 400, -32600, null, 'A batch has 1 to 50 messages'],
  ['51 messages', Array(51).fill(legacyCall()), BASE_HEADERS, 400, -32600, null, 'A batch has 1 to 50 messages'],
  ['a batch under Mcp-Method', [legacyCall()], { ...BASE_HEADERS, 'mcp-method': 'tools/call' }, 400, -32020, null, 'Header mismatch: Mcp-Method and Mcp-Name were sent with a batch'],
  ['a batch under Mcp-Name', [legacyCall()], { ...BASE_HEADERS, 'mcp-name': 'read_file' }, 400, -32020, null, 'Header mismatch: Mcp-Method and Mcp-Name were sent with a batch'],
  ['a batch with one id twice', [legacyCall(), legacyCall()], BASE_HEADERS, 400, -32600, null, 'A batch has two requests with the same id'],
  // one message
  ['a string', '"tools/call"', CALL_HEADERS, 400, -32600, null, 'The body must be one JSON-RPC message object'],
  ['null', 'null', CALL_HEADERS, 400, -32600, null, 'The body must be one JSON-RPC message object'],
  // responses
  ['a posted result in the modern era', { jsonrpc: '2.0', id: 'x', result: {} }, MODERN_HEADERS(''), 400, -32600, 'x', 'Responses are not accepted: in this version the server sends no requests'],
  ['a posted result under a version nobody knows', { jsonrpc: '2.0', id: 'x', result: {} }, { ...BASE_HEADERS, 'mcp-protocol-version': '2027-01-01' }, 400, -32600, 'x', 'MCP-Protocol-Version names no version this server supports'],
  ['a posted result under Mcp-Method', { jsonrpc: '2.0', id: 'x', result: {} }, { ...BASE_HEADERS, 'mcp-method': 'ping' }, 400, -32020, 'x', 'Header mismatch: Mcp-Method and Mcp-Name were sent with a response'],
  ['a result with an id that is not ours', { jsonrpc: '2.0', id: 7, result: {} }, BASE_HEADERS, 400, -32600, 7, 'The id of a response must be the one of a request of this server'],
  ['a result without id', { jsonrpc: '2.0', result: {} }, BASE_HEADERS, 400, -32600, null, 'The id of a response must be the one of a request of this server'],
  ['a result that is no object', { jsonrpc: '2.0', id: 'x', result: [] }, BASE_HEADERS, 400, -32600, 'x', 'result must be an object'],
  ['a result and an error', { jsonrpc: '2.0', id: 'x', result: {}, error: { code: 1, message: '' } }, BASE_HEADERS, 400, -32600, 'x', 'A response has either a result or an error'],
  ['an error that is no object', { jsonrpc: '2.0', id: 'x', error: 'no' }, BASE_HEADERS, 400, -32600, 'x', 'error must be an object'],
  ['an error without code', { jsonrpc: '2.0', id: 'x', error: { message: 'no' } }, BASE_HEADERS, 400, -32600, 'x', 'error.code must be an integer'],
  ['an error without message', { jsonrpc: '2.0', id: 'x', error: { code: 1 } }, BASE_HEADERS, 400, -32600, 'x', 'error.message must be a string'],
  ['an error with more', { jsonrpc: '2.0', id: 'x', error: { code: 1, message: '', Code: 2 } }, BASE_HEADERS, 400, -32600, 'x', 'Unknown member "Code": an error has code, message and data'],
  ['a response in JSON-RPC 1', { jsonrpc: '1.0', id: 'x', result: {} }, BASE_HEADERS, 400, -32600, 'x', 'jsonrpc must be "2.0"'],
  ['a request that is a response too', modernCall({}, { result: {} }), CALL_HEADERS, 400, -32600, 7, 'Responses are not accepted: in this version the server sends no requests'],
  ['the same in the legacy era', legacyCall({}, { id: 'x', result: {} }), BASE_HEADERS, 400, -32600, 'x', 'Unknown member "method": a response has jsonrpc, id, and result or error'],
  // shape
  ['a wrong jsonrpc', modernCall({}, { jsonrpc: '1.0' }), CALL_HEADERS, 400, -32600, 7, 'jsonrpc must be "2.0"'],
  ['an unknown member', modernCall({}, { auth: 'x' }), CALL_HEADERS, 400, -32600, 7, 'Unknown member "auth": a message has jsonrpc, id, method and params'],
  ['a method that is no string', modernCall({}, { method: 1 }), CALL_HEADERS, 400, -32600, 7, 'method must be a string of 1 to 256 characters'],
  ['an empty method', modernCall({}, { method: '' }), CALL_HEADERS, 400, -32600, 7, 'method must be a string of 1 to 256 characters'],
  ['params as an array', modernCall({}, { params: [] }), CALL_HEADERS, 400, -32600, 7, 'params must be an object'],
  ['params as null', modernCall({}, { params: null }), CALL_HEADERS, 400, -32600, 7, 'params must be an object'],
  ['a null id', modernCall({}, { id: null }), CALL_HEADERS, 400, -32600, null, 'id must be a string of at most 256 characters or an integer, not null'],
  ['a fractional id', modernCall({}, { id: 1.5 }), CALL_HEADERS, 400, -32600, null, 'id must be a string of at most 256 characters or an integer, not null'],
  ['a huge id', modernCall({}, { id: 'x'.repeat(257) }), CALL_HEADERS, 400, -32600, null, 'id must be a string of at most 256 characters or an integer, not null'],
  ['an Accept we cannot meet', modernCall(), { ...CALL_HEADERS, accept: 'text/html' }, 406, -32600, 7, 'Accept must allow application/json or text/event-stream'],
  ['an Accept that excludes both', modernCall(), { ...CALL_HEADERS, accept: 'application/json;q=0, text/event-stream; q=0.0' }, 406, -32600, 7, 'Accept must allow application/json or text/event-stream'],
  ['a _meta that is no object', withMeta('x'), CALL_HEADERS, 400, -32602, 7, 'params._meta must be an object'],
  ['a look-alike in _meta', withMeta({ ...ENVELOPE, 'io.modelcontextprotocol/ProtocolVersion': MODERN }), CALL_HEADERS, 400, -32602, 7, 'params._meta has a look-alike of a reserved key: "io.modelcontextprotocol/ProtocolVersion"'],
  ['101 members of params', modernCall(crowd(101)), CALL_HEADERS, 400, -32600, 7, 'params and params._meta may have at most 100 members each'],
  ['101 members of _meta', withMeta({ ...ENVELOPE, ...crowd(101) }), CALL_HEADERS, 400, -32600, 7, 'params and params._meta may have at most 100 members each'],
  // era and envelope
  ['a modern header without envelope', legacyCall(), CALL_HEADERS, 400, -32602, 7, 'MCP-Protocol-Version names 2026-07-28 but params._meta lacks io.modelcontextprotocol/protocolVersion and io.modelcontextprotocol/clientCapabilities'],
  ['a modern header without version claim', withMeta(without(META.protocolVersion)), CALL_HEADERS, 400, -32602, 7, 'MCP-Protocol-Version names 2026-07-28 but params._meta lacks io.modelcontextprotocol/protocolVersion'],
  ['a modern header on initialize', legacy('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: {} }), MODERN_HEADERS('initialize'), 400, -32602, 7, 'MCP-Protocol-Version names 2026-07-28 but params._meta lacks io.modelcontextprotocol/protocolVersion and io.modelcontextprotocol/clientCapabilities'],
  ['an envelope without capabilities', withMeta(without(META.clientCapabilities)), CALL_HEADERS, 400, -32602, 7, '_meta lacks the required io.modelcontextprotocol/clientCapabilities'],
  ['a version that is no string', withMeta({ ...ENVELOPE, [META.protocolVersion]: 2026 }), CALL_HEADERS, 400, -32602, 7, '_meta io.modelcontextprotocol/protocolVersion must be a string'],
  ['capabilities that are no object', withMeta({ ...ENVELOPE, [META.clientCapabilities]: [] }), CALL_HEADERS, 400, -32602, 7, '_meta io.modelcontextprotocol/clientCapabilities must be an object'],
  ['a clientInfo without version', withMeta({ ...ENVELOPE, [META.clientInfo]: { name: 'x' } }), CALL_HEADERS, 400, -32602, 7, '_meta io.modelcontextprotocol/clientInfo must be an object with a name and a version'],
  ['an unknown log level', withMeta({ ...ENVELOPE, [META.logLevel]: 'loud' }), CALL_HEADERS, 400, -32602, 7, '_meta io.modelcontextprotocol/logLevel must be one of debug, info, notice, warning, error, critical, alert, emergency'],
  ['a progress token that is an object', withMeta({ ...ENVELOPE, progressToken: {} }), CALL_HEADERS, 400, -32602, 7, '_meta.progressToken must be a string or an integer'],
  // version
  ['an unsupported version', withMeta(oldVersion), { ...CALL_HEADERS, 'mcp-protocol-version': '1900-01-01' }, 400, -32022, 7, 'Unsupported protocol version'],
  ['a legacy version in the envelope', withMeta({ ...ENVELOPE, [META.protocolVersion]: '2025-11-25' }), { ...CALL_HEADERS, 'mcp-protocol-version': '2025-11-25' }, 400, -32022, 7, 'Unsupported protocol version'],
  ['an unknown header version in the legacy era', legacyCall(), { ...BASE_HEADERS, 'mcp-protocol-version': '2027-01-01' }, 400, -32600, 7, 'MCP-Protocol-Version names no version this server supports'],
  // method
  ['an unknown method, modern', modern('skills/list'), MODERN_HEADERS('skills/list'), 404, -32601, 7, 'Method not found'],
  ['an unknown method, legacy', legacy('skills/list'), BASE_HEADERS, 200, -32601, 7, 'Method not found'],
  ['ping in the modern era', modern('ping'), MODERN_HEADERS('ping'), 404, -32601, 7, 'Method not found'],
  ['initialize in the modern era', modern('initialize'), MODERN_HEADERS('initialize'), 404, -32601, 7, 'Method not found'],
  ['server/discover in the legacy era', legacy('server/discover'), BASE_HEADERS, 200, -32601, 7, 'Method not found'],
  ['a notification sent as a request', legacy('notifications/initialized'), BASE_HEADERS, 200, -32601, 7, 'Method not found'],
  ['a method of every object', legacy('constructor'), BASE_HEADERS, 200, -32601, 7, 'Method not found'],
  ['a method in other case', legacy('Tools/Call'), BASE_HEADERS, 200, -32601, 7, 'Method not found'],
  // members
  ['no tool name, modern', modern('tools/call'), CALL_HEADERS, 400, -32602, 7, 'params.name is missing'],
  ['no tool name, legacy', legacy('tools/call'), BASE_HEADERS, 200, -32602, 7, 'params.name is missing'],
  ['a tool name that is no string', modernCall({ name: ['read_file'] }), CALL_HEADERS, 400, -32602, 7, 'params.name must be a string'],
  ['arguments that are no object', modernCall({ arguments: [] }), CALL_HEADERS, 400, -32602, 7, 'params.arguments must be an object'],
  ['a cursor that is no string', modern('tools/list', { cursor: 1 }), MODERN_HEADERS('tools/list'), 400, -32602, 7, 'params.cursor must be a string'],
  ['a state that is no string', modernCall({ requestState: {} }), CALL_HEADERS, 400, -32602, 7, 'params.requestState must be a string'],
  ['answers that are no object', modernCall({ inputResponses: [] }), CALL_HEADERS, 400, -32602, 7, 'params.inputResponses must be an object'],
  ['initialize without a version', legacy('initialize', { capabilities: {}, clientInfo: {} }), BASE_HEADERS, 200, -32602, 7, 'params.protocolVersion is missing'],
  ['a look-alike in params', modernCall({ Name: 'delete_file' }), CALL_HEADERS, 400, -32602, 7, 'params has a look-alike of a member of tools/call: "Name"'],
];

describe('refuses', () => {
  test.each(ROWS)('%s', (_title, body, headers, httpStatus, code, id, message) => {
    const result = read(body, headers);
    expect(result).toMatchObject({ ok: false, error: { httpStatus, code, id, message } });
  });

  test('an unsupported version with the versions that can stand in an envelope', () => {
    const result = read(withMeta(oldVersion), { ...CALL_HEADERS, 'mcp-protocol-version': '1900-01-01' });
    expect(result).toMatchObject({ error: { data: { supported: ['2026-07-28'], requested: '1900-01-01' } } });
  });
});

describe('reads', () => {
  test('a modern call: name, envelope, trace and the sender’s own _meta apart', () => {
    const trace = '00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01';
    const meta = {
      ...ENVELOPE,
      progressToken: 'p',
      traceparent: trace,
      'com.example/x': 1,
      'io.modelcontextprotocol/new': 2,
    };
    const result = read(withMeta(meta), CALL_HEADERS);
    expect(result).toMatchObject({
      ok: true,
      value: {
        kind: 'request',
        era: 'modern',
        id: 7,
        method: 'tools/call',
        name: 'read_file',
        protocolVersion: MODERN,
        accepts: { json: true, sse: true },
        rule: { family: 'call' },
        params: { arguments: { path: 'a.txt' } },
        meta: {
          protocolVersion: MODERN,
          clientInfo: { name: 'client', version: '1' },
          clientCapabilities: {},
          logLevel: null,
          progressToken: 'p',
          trace: { traceId: '0af7651916cd43dd8448eb211c80319c', parentId: '00f067aa0ba902b7', sampled: true },
        },
      },
    });
    expect(result.ok && result.value.meta.rest).toEqual({ 'com.example/x': 1 });
  });

  test('a legacy call with and without the version header', () => {
    expect(read(legacyCall())).toMatchObject({
      ok: true,
      value: { era: 'legacy', name: 'read_file', protocolVersion: null },
    });
    expect(read(legacyCall(), { ...BASE_HEADERS, 'mcp-protocol-version': '2025-06-18' })).toMatchObject({
      ok: true,
      value: { era: 'legacy', protocolVersion: '2025-06-18' },
    });
  });

  test('initialize whatever older or newer version the header names: it is negotiated in the body', () => {
    const body = legacy('initialize', {
      protocolVersion: '2030-01-01',
      capabilities: {},
      clientInfo: { name: 'c', version: '1' },
    });
    expect(read(body, { ...BASE_HEADERS, 'mcp-protocol-version': '2030-01-01' })).toMatchObject({
      ok: true,
      value: { rule: { family: 'initialize' }, params: { protocolVersion: '2030-01-01' } },
    });
  });

  test('every method of the table in each era it has', () => {
    for (const [method, rule] of methodRules()) {
      const params = Object.fromEntries(
        Object.entries(rule.members)
          .filter(([, member]) => member.required)
          .map(([key, member]) => [key, member.type === 'object' ? {} : 'x']),
      );
      for (const era of rule.eras) {
        const meta = era === 'modern' ? { _meta: ENVELOPE } : {};
        const id = rule.kind === 'request' ? { id: 1 } : {};
        const headers = era === 'modern' ? MODERN_HEADERS(method) : BASE_HEADERS;
        const name = rule.name !== null && era === 'modern' ? { 'mcp-name': 'x' } : {};
        const result = read({ jsonrpc: '2.0', method, params: { ...params, ...meta }, ...id }, { ...headers, ...name });
        expect(result).toMatchObject({ ok: true, value: { kind: rule.kind, era, rule: { family: rule.family } } });
      }
    }
  });

  test.each([
    ['the usual pair', 'application/json, text/event-stream', { json: true, sse: true }],
    ['nothing', undefined, { json: true, sse: false }],
    ['anything', '*/*', { json: true, sse: true }],
    ['JSON only', 'application/json', { json: true, sse: false }],
    ['events only', 'text/event-stream', { json: false, sse: true }],
    ['events, JSON excluded', 'application/json;q=0, text/event-stream', { json: false, sse: true }],
    ['capitals and parameters', 'Application/JSON;charset=utf-8', { json: true, sse: false }],
  ])('Accept with %s', (_title, accept, accepts) => {
    const { accept: _, ...rest } = CALL_HEADERS;
    const result = read(modernCall(), accept === undefined ? rest : { ...rest, accept });
    expect(result).toMatchObject({ ok: true, value: { accepts } });
  });

  test('a string id, zero and the empty string as they are', () => {
    for (const id of ['a', '', 0, -1]) expect(read(legacyCall({}, { id }))).toMatchObject({ ok: true, value: { id } });
  });
});

describe('responses of a legacy client', () => {
  const rest = { era: 'legacy', method: 'response', rule: null, params: {}, protocolVersion: null };

  test('a result and an error are read into what was said', () => {
    expect(read({ jsonrpc: '2.0', id: 'ask.n.1', result: { action: 'accept' } })).toMatchObject({
      ok: true,
      value: { kind: 'reply', id: 'ask.n.1', outcome: { kind: 'result', result: { action: 'accept' } }, ...rest },
    });
    const error = { code: -1, message: 'no', data: [1] };
    expect(read({ jsonrpc: '2.0', id: 'ask.n.1', error }, { ...BASE_HEADERS, accept: 'text/html' })).toMatchObject({
      ok: true,
      value: { kind: 'reply', outcome: { kind: 'error', error }, ...rest },
    });
  });

  test('with the header of its version', () => {
    const headers = { ...BASE_HEADERS, 'mcp-protocol-version': '2025-11-25' };
    expect(read({ jsonrpc: '2.0', id: 'x', result: {} }, headers)).toMatchObject({
      ok: true,
      value: { kind: 'reply', protocolVersion: '2025-11-25' },
    });
  });
});

describe('batches', () => {
  const posted = (elements: readonly Json[]) => {
    const result = readPosted(elements, BASE_HEADERS);
    if (!result.ok || result.value.kind !== 'batch') throw new Error('no batch was read');
    return result.value;
  };

  test('every element is read by the whole ladder, in order, and one that fails does not touch the others', () => {
    const { elements, accepts } = posted([
      legacyCall({}, { id: 1 }),
      legacyCall({ Name: 'x' }, { id: 2 }),
      { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 9 } },
      { jsonrpc: '2.0', id: 'ask.n.1', result: {} },
      legacy('skills/list'),
    ]);
    expect(accepts).toEqual({ json: true, sse: true });
    expect(elements).toMatchObject([
      { ok: true, value: { kind: 'request', id: 1, name: 'read_file' } },
      {
        ok: false,
        error: { id: 2, code: -32602, message: 'params has a look-alike of a member of tools/call: "Name"' },
      },
      { ok: true, value: { kind: 'notification', rule: { family: 'cancelled' } } },
      { ok: true, value: { kind: 'reply', id: 'ask.n.1' } },
      { ok: false, error: { id: 7, code: -32601, message: 'Method not found' } },
    ]);
  });

  test.each([
    [
      'initialize',
      legacy('initialize', { protocolVersion: '2025-03-26', capabilities: {}, clientInfo: {} }),
      -32600,
      7,
      'initialize cannot be part of a batch',
    ],
    ['a modern message', modernCall(), -32020, 7, 'Header mismatch: MCP-Protocol-Version is missing'],
    [
      'a modern notification',
      modernCall({}, { id: undefined as unknown as Json }),
      -32600,
      null,
      'Version 2026-07-28 has no batches',
    ],
    ['a batch', [legacyCall()], -32600, null, 'The body must be one JSON-RPC message object'],
    ['a number', 1, -32600, null, 'The body must be one JSON-RPC message object'],
  ])('%s in it is refused by itself', (_title, element, code, id, message) => {
    expect(posted([element, legacyCall({}, { id: 1 })]).elements).toMatchObject([
      { ok: false, error: { code, id, message } },
      { ok: true, value: { id: 1 } },
    ]);
  });

  test('fifty messages are a batch', () => {
    expect(posted(Array.from({ length: 50 }, (_, id) => legacyCall({}, { id }))).elements).toHaveLength(50);
  });
});

describe('notifications', () => {
  const note = (method: string, params = {}): Json => ({ jsonrpc: '2.0', method, params });

  test('the two that have a meaning carry their rule', () => {
    expect(read(note('notifications/initialized'))).toMatchObject({
      ok: true,
      value: { rule: { family: 'initialized' } },
    });
    expect(read(note('notifications/cancelled', { requestId: 7 }))).toMatchObject({
      ok: true,
      value: { kind: 'notification', rule: { family: 'cancelled' }, params: { requestId: 7 } },
    });
  });

  test('cancelling needs a request id, and the error has no id', () => {
    expect(read(note('notifications/cancelled'))).toMatchObject({
      ok: false,
      error: { httpStatus: 400, code: -32602, id: null, message: 'params.requestId is missing' },
    });
  });

  test.each([
    ['an unknown one', note('notifications/surprise'), BASE_HEADERS],
    ['one of the server’s', note('notifications/tools/list_changed'), BASE_HEADERS],
    ['a request without id', legacyCall({}, {}), BASE_HEADERS],
    [
      'cancelled in the modern era, where closing the stream cancels',
      note('notifications/cancelled', { requestId: 7, _meta: ENVELOPE }),
      MODERN_HEADERS('notifications/cancelled'),
    ],
    [
      'cancelled under the modern header without a claim',
      note('notifications/cancelled', { requestId: 7 }),
      MODERN_HEADERS('notifications/cancelled'),
    ],
  ])('PH-06: %s has no rule and is to be dropped', (_title, body, headers) => {
    const { id: _, ...noId } = body as Record<string, Json>;
    expect(read(noId, headers)).toMatchObject({ ok: true, value: { kind: 'notification', rule: null } });
  });
});

describe('fuzz', () => {
  const known = new Set(methodRules().map(([method]) => method));
  const eras = fc.constantFrom('modern', 'legacy');

  test('PH-06: no method outside the table is ever let in, in either era', () => {
    const names = fc.oneof(
      fc.string(),
      fc.constantFrom(
        'resources/read',
        'prompts/get',
        'tasks/get',
        'sampling/createMessage',
        'logging/setLevel',
        'skills/list',
      ),
      fc.constantFrom(...known).map((method) => method.toUpperCase()),
      fc.constantFrom(...known).map((method) => `${method} `),
      fc.constantFrom(...known).map((method) => `${method}\u0000`),
      fc.constantFrom('__proto__', 'hasOwnProperty', 'toString', 'valueOf'),
    );
    fc.assert(
      fc.property(names, eras, fc.jsonValue(), (method, era, extra) => {
        fc.pre(!known.has(method) && method.isWellFormed());
        const headers = era === 'modern' ? { ...MODERN_HEADERS(method) } : BASE_HEADERS;
        const params = { ...(era === 'modern' ? { _meta: ENVELOPE } : {}), extra };
        const result = read({ jsonrpc: '2.0', id: 1, method, params } as Json, headers);
        expect(result.ok).toBe(false);
        if (!result.ok && method.length > 0) expect([-32601, -32020, -32700]).toContain(result.error.code);
      }),
      { seed: 6, numRuns: 500 },
    );
  });

  test('PH-06: in the modern era responses and arrays are refused with -32600 whatever they hold', () => {
    const response = fc.record({ jsonrpc: fc.constant('2.0'), id: fc.nat(), result: fc.jsonValue() });
    const failure = fc.record({ jsonrpc: fc.constant('2.0'), id: fc.string(), error: fc.jsonValue() });
    const posted = fc.oneof(
      response,
      failure,
      fc.array(fc.oneof(response, fc.constant(legacyCall())), { maxLength: 4 }),
    );
    fc.assert(
      fc.property(posted, (body) => {
        const result = readPosted(JSON.stringify(body), CALL_HEADERS);
        expect(result.ok).toBe(false);
        if (!result.ok) expect([-32600, -32700]).toContain(result.error.code);
      }),
      { seed: 6, numRuns: 300 },
    );
  });

  test('never throws, and whatever it accepts is in the table', () => {
    const body = fc.oneof(
      fc.uint8Array({ maxLength: 120 }),
      fc.jsonValue().map((value) => Buffer.from(JSON.stringify(value))),
      fc
        .tuple(fc.constantFrom(modernCall(), legacyCall()), fc.string(), fc.jsonValue())
        .map(([message, key, value]) => Buffer.from(JSON.stringify({ ...message, [key]: value }))),
      fc.tuple(fc.constantFrom(modernCall(), legacyCall()), fc.nat(), fc.nat(255)).map(([message, at, byte]) => {
        const bytes = Buffer.from(JSON.stringify(message));
        bytes[at % bytes.length] = byte;
        return bytes;
      }),
    );
    fc.assert(
      fc.property(body, fc.constantFrom(CALL_HEADERS, BASE_HEADERS), (bytes, headers) => {
        const result = readBody(bytes, headers, { maxBytes: 10_000, maxDepth: 16, maxMembers: 100 });
        if (result.ok && result.value.kind === 'request') expect(known.has(result.value.method)).toBe(true);
      }),
      { seed: 1, numRuns: 3000 },
    );
  });
});
