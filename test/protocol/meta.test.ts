import { describe, expect, test } from 'vitest';
import { isReservedKey, traceContext, unreserved } from '../../src/protocol/meta.ts';
import { has, isLegacyVersion, isModernVersion, negotiateLegacy } from '../../src/protocol/versions.ts';

describe('reserved keys', () => {
  test.each([
    ['io.modelcontextprotocol/anything', true],
    ['dev.mcp/x', true],
    ['com.mcp.tools/x', true],
    ['org.modelcontextprotocol.api/x', true],
    ['progressToken', true],
    ['traceparent', true],
    ['com.example.mcp/x', false],
    ['com.example/x', false],
    ['mcp/x', false],
    ['plain', false],
    ['', false],
  ])('%s: %s', (key, reserved) => {
    expect(isReservedKey(key)).toBe(reserved);
  });

  test('are left out of what is passed on', () => {
    expect(unreserved({ 'dev.mcp/x': 1, 'com.example/x': 2, baggage: 'a=b' })).toEqual({ 'com.example/x': 2 });
  });
});

describe('W3C trace context', () => {
  const trace = '0af7651916cd43dd8448eb211c80319c';
  const parent = '00f067aa0ba902b7';
  test('is read from a valid traceparent', () => {
    expect(traceContext(`00-${trace}-${parent}-01`)).toEqual({ traceId: trace, parentId: parent, sampled: true });
    expect(traceContext(`00-${trace}-${parent}-00`)?.sampled).toBe(false);
    expect(traceContext(`cc-${trace}-${parent}-01-later`)?.traceId).toBe(trace);
  });

  test.each([
    ['no text', 7],
    ['capitals', `00-${trace.toUpperCase()}-${parent}-01`],
    ['version ff', `ff-${trace}-${parent}-01`],
    ['more than version 00 has', `00-${trace}-${parent}-01-x`],
    ['a zero trace', `00-${'0'.repeat(32)}-${parent}-01`],
    ['a zero parent', `00-${trace}-${'0'.repeat(16)}-01`],
    ['a short trace', `00-${trace.slice(1)}-${parent}-01`],
    ['too long', `cc-${trace}-${parent}-01-${'x'.repeat(300)}`],
  ])('is ignored with %s', (_title, value) => {
    expect(traceContext(value)).toBeNull();
  });
});

describe('versions', () => {
  test('initialize agrees on what was asked if we speak it, else on our newest legacy one (L1)', () => {
    for (const version of ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25'])
      expect(negotiateLegacy(version)).toBe(version);
    for (const version of ['2026-07-28', '2030-01-01', 'DRAFT', ''])
      expect(negotiateLegacy(version)).toBe('2025-11-25');
  });

  test('no version is of both eras', () => {
    expect([isModernVersion('2026-07-28'), isLegacyVersion('2026-07-28')]).toEqual([true, false]);
    expect([isModernVersion('2025-11-25'), isLegacyVersion('2025-11-25')]).toEqual([false, true]);
    expect([isModernVersion('x'), isLegacyVersion('x')]).toEqual([false, false]);
  });

  test('a feature is there from its first revision on', () => {
    expect([has('2024-11-05', 'audio'), has('2025-03-26', 'audio'), has('2026-07-28', 'audio')]).toEqual([
      false,
      true,
      true,
    ]);
    expect([has('2025-11-25', 'anyJsonOutput'), has('2026-07-28', 'anyJsonOutput')]).toEqual([false, true]);
  });
});
