import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type SseEvent, SSE_KEEP_ALIVE, primingEvent, sseEvent, sseReader } from '../../src/protocol/sse.ts';

function collect(options: { maxEventBytes?: number; maxStreamBytes?: number } = {}) {
  const events: SseEvent[] = [];
  const retries: number[] = [];
  const reader = sseReader({
    maxEventBytes: 10_000,
    ...options,
    onEvent: (event) => void events.push(event),
    onRetry: (ms) => void retries.push(ms),
  });
  return { events, retries, reader };
}

describe('writing', () => {
  test('one event, with name and id', () => {
    expect(sseEvent({ event: 'message', id: '1', data: '{"a":1}' })).toBe('event: message\nid: 1\ndata: {"a":1}\n\n');
  });

  test('how long to wait before coming back, and the event that only says where to come back to', () => {
    expect(sseEvent({ data: 'x', retryMs: 1500.7 })).toBe('retry: 1500\ndata: x\n\n');
    expect(primingEvent('s-1', -1)).toBe('id: s-1\nretry: 0\ndata: \n\n');
    const { events, retries, reader } = collect();
    reader.feed(Buffer.from(primingEvent('s-1', 500)));
    expect([events, retries]).toEqual([[{ id: 's-1', data: '' }], [500]]);
  });

  test('data of several lines keeps its lines and cannot end the event', () => {
    expect(sseEvent({ data: 'a\n\nevent: x\rb\r\nc' })).toBe('data: a\ndata: \ndata: event: x\ndata: b\ndata: c\n\n');
  });

  test.each(['a\nb', 'a\rb', 'a\0b'])('refuses %j as name and as id', (text) => {
    expect(() => sseEvent({ event: text, data: '' })).toThrow('an SSE field cannot hold a line break or NUL');
    expect(() => sseEvent({ id: text, data: '' })).toThrow('an SSE field cannot hold a line break or NUL');
  });
});

describe('PH-07: reading', () => {
  const message = JSON.stringify({
    jsonrpc: '2.0',
    method: 'notifications/message',
    params: { data: 'grüße 世界 😀 secret' },
  });
  const stream = Buffer.from(
    `\uFEFF${SSE_KEEP_ALIVE}retry: 500\n\nevent: message\nid: 7\r\ndata: ${message}\r\n\r\ndata: one\ndata: two\n\n: note\ndata:tail\r\r`,
  );
  const expected = [{ event: 'message', id: '7', data: message }, { data: 'one\ntwo' }, { data: 'tail' }];

  test('split at every byte offset, the same events come out', () => {
    for (let at = 0; at <= stream.length; at++) {
      const { events, retries, reader } = collect();
      expect(reader.feed(stream.subarray(0, at)).ok).toBe(true);
      expect(reader.feed(stream.subarray(at)).ok).toBe(true);
      expect(reader.end().ok).toBe(true);
      expect(events).toEqual(expected);
      expect(retries).toEqual([500]);
    }
  });

  test('one byte at a time, and in random pieces', () => {
    const cuts = fc.array(fc.nat(stream.length), { maxLength: 20 });
    fc.assert(
      fc.property(fc.oneof(cuts, fc.constant<number[]>([...stream.keys()])), (points) => {
        const { events, reader } = collect();
        const sorted = [0, ...[...points].sort((a, b) => a - b), stream.length];
        for (let i = 1; i < sorted.length; i++) reader.feed(stream.subarray(sorted[i - 1], sorted[i]));
        expect(events).toEqual(expected);
      }),
      { seed: 7, numRuns: 300 },
    );
  });

  test('whatever is written, split at every byte offset, is what is read', () => {
    const data = fc.string({ unit: 'grapheme', maxLength: 20 });
    fc.assert(
      fc.property(fc.array(data, { minLength: 1, maxLength: 3 }), (texts) => {
        const written = Buffer.from(texts.map((one) => sseEvent({ data: one, event: 'message' })).join(SSE_KEEP_ALIVE));
        const wanted = texts.map((one) => ({ data: one.replaceAll(/\r\n|\r/g, '\n'), event: 'message' }));
        for (let at = 0; at <= written.length; at++) {
          const { events, reader } = collect();
          reader.feed(written.subarray(0, at));
          reader.feed(written.subarray(at));
          expect(events).toEqual(wanted);
        }
      }),
      { seed: 8, numRuns: 40 },
    );
  });

  test('what is written is what is read', () => {
    const field = fc.string({ unit: 'grapheme-ascii', minLength: 1 });
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), field, (data, event) => {
        const { events, reader } = collect();
        reader.feed(Buffer.from(sseEvent({ data, event })));
        // `{data: ''}` is an event for this reader: an empty data line is still a data line.
        expect(events).toEqual([{ data: data.replaceAll(/\r\n|\r/g, '\n'), event }]);
      }),
      { seed: 7, numRuns: 300 },
    );
  });

  test('an event without its blank line is none', () => {
    const { events, reader } = collect();
    reader.feed(Buffer.from('data: half\n'));
    expect(reader.end()).toEqual({ ok: true, value: undefined });
    expect(events).toEqual([]);
  });

  test('bytes that are not UTF-8 stop it; events before were delivered, none after', () => {
    const { events, reader } = collect();
    expect(reader.feed(Buffer.from('data: ok\n\n')).ok).toBe(true);
    expect(reader.feed(Uint8Array.from([0x64, 0xff]))).toEqual({ ok: false, error: 'not_utf8' });
    expect(reader.feed(Buffer.from('data: more\n\n'))).toEqual({ ok: false, error: 'not_utf8' });
    expect(events).toEqual([{ data: 'ok' }]);
  });

  test('half a code point at the end is an error', () => {
    const { reader } = collect();
    expect(reader.feed(Uint8Array.from([0x3a, 0xe2, 0x82])).ok).toBe(true);
    expect(reader.end()).toEqual({ ok: false, error: 'not_utf8' });
  });
});

describe('caps', () => {
  test('an event larger than the cap is not delivered, in one piece', () => {
    const { events, reader } = collect({ maxEventBytes: 100 });
    expect(reader.feed(Buffer.from(`data: ${'x'.repeat(101)}\n\ndata: next\n\n`))).toEqual({
      ok: false,
      error: 'event_too_large',
    });
    expect(events).toEqual([]);
  });

  test('nor in many pieces, nor in many lines, and it is noticed before it is complete', () => {
    for (const piece of ['x'.repeat(50), `x\ndata: `]) {
      const { events, reader } = collect({ maxEventBytes: 100 });
      reader.feed(Buffer.from('data: '));
      let fed = 0;
      while (reader.feed(Buffer.from(piece)).ok && fed++ < 2000) continue;
      expect(fed).toBeLessThan(2000);
      expect(reader.feed(Buffer.from('\n\n'))).toEqual({ ok: false, error: 'event_too_large' });
      expect(events).toEqual([]);
    }
  });

  test('the cap counts bytes, not characters', () => {
    const { reader } = collect({ maxEventBytes: 100 });
    expect(reader.feed(Buffer.from(`data: ${'é'.repeat(50)}\n\n`)).ok).toBe(true);
    expect(reader.feed(Buffer.from(`data: ${'é'.repeat(51)}\n\n`))).toEqual({ ok: false, error: 'event_too_large' });
  });

  test('a stream of comments ends at the cap of the stream', () => {
    const { reader } = collect({ maxStreamBytes: 30 });
    for (let i = 0; i < 10; i++) expect(reader.feed(Buffer.from(SSE_KEEP_ALIVE)).ok).toBe(true);
    expect(reader.feed(Buffer.from(':'))).toEqual({ ok: false, error: 'stream_too_large' });
  });
});
