import { JSONRPCMessageSchema as ModernMessage } from '@modelcontextprotocol/core';
import { JSONRPCMessageSchema as LegacyMessage } from '@modelcontextprotocol/sdk/types.js';
import { describe, expect, test } from 'vitest';
import * as errors from '../../src/protocol/errors.ts';
import { sseReader } from '../../src/protocol/sse.ts';
import { wireAccepted, wireError, wireResponse } from '../../src/protocol/write-response.ts';

const SECURE = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' };

test('a result is one JSON-RPC response that nobody may cache or sniff', () => {
  expect(wireResponse('a', { x: 1 })).toEqual({
    status: 200,
    headers: { 'content-type': 'application/json', ...SECURE },
    body: '{"jsonrpc":"2.0","id":"a","result":{"x":1}}',
  });
});

test('the same as one event for a client that takes only events', () => {
  const { headers, body } = wireResponse(1, { x: 'line\nbreak' }, 'sse');
  expect(headers).toMatchObject({
    'content-type': 'text/event-stream',
    'x-accel-buffering': 'no',
    'x-content-type-options': 'nosniff',
  });
  expect(headers['cache-control']).toContain('no-store');
  const events: string[] = [];
  sseReader({ maxEventBytes: 1000, onEvent: (event) => void events.push(event.data) }).feed(Buffer.from(body));
  expect(events).toEqual([String.raw`{"jsonrpc":"2.0","id":1,"result":{"x":"line\nbreak"}}`]);
});

test('an accepted notification has no body', () => {
  expect(wireAccepted()).toEqual({ status: 202, headers: SECURE, body: '' });
});

describe('errors', () => {
  test.each([
    ['parse error', errors.parseError('x'), 400, -32700],
    ['invalid request', errors.invalidRequest(7, 'x'), 400, -32600],
    ['method not found, modern', errors.methodNotFound(7, 'modern'), 404, -32601],
    ['method not found, legacy', errors.methodNotFound(7, 'legacy'), 200, -32601],
    ['invalid params, modern', errors.invalidParams(7, 'modern', 'x'), 400, -32602],
    ['invalid params, legacy', errors.invalidParams(7, 'legacy', 'x'), 200, -32602],
    ['invalid envelope', errors.invalidEnvelope(7, 'x'), 400, -32602],
    ['internal error', errors.internalError(7), 200, -32603],
    ['header mismatch', errors.headerMismatch(7, 'x'), 400, -32020],
    ['missing capability', errors.missingCapability(7, { sampling: {} }), 400, -32021],
    ['unsupported version', errors.unsupportedVersion(7, '1', ['2']), 400, -32022],
    ['unknown session', errors.sessionNotFound(7), 404, -32600],
    ['no session', errors.sessionRequired(7), 400, -32600],
    ['no resource, modern', errors.resourceNotFound(7, 'modern'), 400, -32602],
    ['no resource, legacy', errors.resourceNotFound(7, 'legacy'), 200, -32002],
  ])('%s has its status and code, and is a message to both SDKs', (_title, error, status, code) => {
    const { status: written, body } = wireError(error);
    const message = JSON.parse(body) as { id?: unknown; error: { code: number } };
    expect([written, message.error.code, message.id]).toEqual([status, code, error.id ?? undefined]);
    expect(ModernMessage.safeParse(message).success).toBe(true);
    expect(LegacyMessage.safeParse(message).success).toBe(true);
  });

  test('no code lies in a range the specification keeps for itself or has given up (M23)', () => {
    const defined = new Set<number>([-32700, -32600, -32601, -32602, -32603, -32020, -32021, -32022]);
    for (const code of Object.values(errors.CODES)) expect(defined.has(code)).toBe(true);
  });

  test('an id that could not be read is left out, not null', () => {
    expect(wireError(errors.parseError('bad')).body).toBe('{"jsonrpc":"2.0","error":{"code":-32700,"message":"bad"}}');
  });

  test('data travels, and an error status is plain JSON even to a client of events', () => {
    const wire = wireError(errors.unsupportedVersion(1, 'old', ['2026-07-28']), 'sse');
    expect(wire.headers['content-type']).toBe('application/json');
    expect(JSON.parse(wire.body)).toMatchObject({ error: { data: { supported: ['2026-07-28'], requested: 'old' } } });
    expect(wireError(errors.methodNotFound(1, 'legacy'), 'sse').headers['content-type']).toBe('text/event-stream');
  });

  // M22, M23, B "Errors": code of the server, modern client, legacy client, legacy client that read a resource.
  test.each([
    [-32700, -32603, -32603, -32603],
    [-32600, -32603, -32603, -32603],
    [-32601, -32601, -32601, -32601],
    [-32602, -32602, -32602, -32002],
    [-32603, -32603, -32603, -32603],
    [-32002, -32602, -32002, -32002],
    [-32042, -32603, -32603, -32603],
    [-32020, -32603, -32603, -32603],
    [-32021, -32603, -32603, -32603],
    [-32022, -32603, -32603, -32603],
    [-32099, -32603, -32603, -32603],
    [-32000, -32603, -32000, -32000],
    [-32019, -32603, -32019, -32019],
    [-32768, -32603, -32603, -32603],
    [-1, -1, -1, -1],
    [404, 404, 404, 404],
    [1.5, -32603, -32603, -32603],
    [Number.NaN, -32603, -32603, -32603],
  ])('a server’s %d is read as %d by modern, %d by legacy clients, %d after a read', (code, modern, legacy, read) => {
    expect(errors.upstreamError(code, 'modern').code).toBe(modern);
    expect(errors.upstreamError(code, 'modern', true).code).toBe(modern);
    expect(errors.upstreamError(code, 'legacy').code).toBe(legacy);
    expect(errors.upstreamError(code, 'legacy', true).code).toBe(read);
  });

  test('M23: whatever a server sends, a modern client never sees a retired or an undefined code', () => {
    for (let code = -32_800; code < -31_900; code++) {
      const shown = errors.upstreamError(code, 'modern', code % 2 === 0);
      if (shown.code >= -32_768 && shown.code <= -32_000) expect([-32601, -32602, -32603]).toContain(shown.code);
      expect([200, 400, 404]).toContain(shown.httpStatus);
      expect(errors.upstreamError(code, 'legacy').httpStatus).toBe(200);
    }
  });
});
