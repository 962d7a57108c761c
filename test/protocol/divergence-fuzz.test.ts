/**
 * Where two could see two things in one message: the era, which only the body decides (G4), and values that stand in a header and in the
 * body (M5, M6, C2). What one side of this gateway writes, the other reads as the same; what was changed on the way is noticed.
 */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import { META } from '../../src/protocol/meta.ts';
import { checkParamHeaders, paramHeadersFor } from '../../src/protocol/param-headers.ts';
import { LEGACY_VERSIONS, MODERN } from '../../src/protocol/versions.ts';
import { ENVELOPE, read } from './requests.ts';

const VERSIONS = [MODERN, ...LEGACY_VERSIONS, '2099-01-01', ''] as const;

test('no header changes the era of a message: the body alone says it', () => {
  const methods = ['tools/call', 'tools/list', 'initialize', 'ping', 'server/discover', 'notifications/initialized'];
  const claim = fc.option(fc.constantFrom(...VERSIONS), { nil: undefined });
  const headers = fc.record(
    {
      'mcp-protocol-version': fc.constantFrom(...VERSIONS),
      'mcp-method': fc.constantFrom(...methods),
      'mcp-name': fc.constant('read_file'),
      'mcp-session-id': fc.string({ maxLength: 8 }),
      'last-event-id': fc.string({ maxLength: 8 }),
    },
    { requiredKeys: [] },
  );
  const seen = { modern: 0, legacy: 0 };
  fc.assert(
    fc.property(claim, headers, fc.constantFrom(...methods), fc.boolean(), (version, more, method, request) => {
      const meta = version === undefined ? {} : { ...ENVELOPE, [META.protocolVersion]: version };
      const named = method === 'tools/call' ? { name: 'read_file', arguments: {} } : {};
      const hello =
        method === 'initialize' ? { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'c' } } : {};
      const body = { jsonrpc: '2.0', ...(request && { id: 1 }), method, params: { ...named, ...hello, _meta: meta } };
      const result = read(JSON.stringify(body), { 'content-type': 'application/json', ...more });
      if (!result.ok || result.value.kind === 'reply') return;
      expect(result.value.era).toBe(version === undefined ? 'legacy' : 'modern');
      // A modern message was modern in its header, too, or it had none.
      if (version !== undefined) expect(more['mcp-protocol-version'] ?? version).toBe(version);
      else if (request) expect(more['mcp-protocol-version']).not.toBe(MODERN);
      seen[result.value.era]++;
    }),
    { seed: 41, numRuns: 6_000 },
  );
  expect(seen.modern).toBeGreaterThan(20);
  expect(seen.legacy).toBeGreaterThan(100);
});

const SCHEMA: JsonObject = {
  type: 'object',
  properties: {
    region: { type: 'string', 'x-mcp-header': 'Region' },
    count: { type: 'integer', 'x-mcp-header': 'Count' },
    dry: { type: 'boolean', 'x-mcp-header': 'Dry-Run' },
    inner: { type: 'object', properties: { zone: { type: 'string', 'x-mcp-header': 'Zone' } } },
  },
};
const args = fc.record(
  {
    region: fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('', ' a ', '=?base64?YQ==?=', 'a\r\nb', '\u0000')),
    count: fc.oneof(fc.maxSafeInteger(), fc.constantFrom(0, -1, Number.MAX_SAFE_INTEGER)),
    dry: fc.boolean(),
    inner: fc.record({ zone: fc.oneof(fc.string({ unit: 'grapheme' }), fc.constant(null)) }, { requiredKeys: [] }),
  },
  { requiredKeys: [] },
) as fc.Arbitrary<JsonObject>;
const sent = (given: JsonObject): Record<string, string> => {
  const headers = paramHeadersFor(given, SCHEMA);
  if (!headers.ok) throw new Error(headers.error.problem);
  return Object.fromEntries(headers.value.map(([name, value]) => [name.toLowerCase(), value]));
};

test('the headers made from arguments say those arguments, and no others', () => {
  fc.assert(
    fc.property(args, args, (given, other) => {
      const headers = sent(given);
      // What node and every proxy on the way take as a header value.
      for (const value of Object.values(headers))
        expect(value).toMatch(/^(?:[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?$/);
      expect(checkParamHeaders(headers, given, SCHEMA, 1)).toBeNull();
      const same = JSON.stringify(sent(other)) === JSON.stringify(headers);
      expect(checkParamHeaders(headers, other, SCHEMA, 1) === null).toBe(same);
    }),
    { seed: 42, numRuns: 3_000 },
  );
});
