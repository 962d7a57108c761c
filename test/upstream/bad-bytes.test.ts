/** Streams cut at every byte, and the era classifier against whatever a server may answer. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Json, JsonObject } from '../../src/lib/json.ts';
import { type UpstreamReply, UpstreamFault } from '../../src/upstream/connection.ts';
import { agreeByAsking, eraOfSibling } from '../../src/upstream/era.ts';
import { HttpStatusFault } from '../../src/upstream/http-rules.ts';
import { atStart, streamTaker } from '../../src/upstream/http-stream.ts';
import { isModernAnswer } from '../../src/upstream/handshake.ts';
import { type FromServer, readFromServer } from '../../src/upstream/messages.ts';
import { serverPace } from '../../src/upstream/pace.ts';
import type { Wire } from '../../src/upstream/wire.ts';

const LIMIT = 10_000;
function collect(chunks: readonly Buffer[], maxBytes = LIMIT) {
  const messages: FromServer[] = [];
  const position = atStart();
  const take = streamTaker({
    maxBytes,
    maxStreamBytes: maxBytes * 4,
    ownCredential: () => false,
    pace: serverPace(),
    position,
    onMessage: (message) => {
      messages.push(message);
      return message.kind === 'reply';
    },
  });
  let fault: unknown = null;
  let enough = false;
  for (const chunk of chunks) {
    try {
      if (take(chunk)) {
        enough = true;
        break;
      }
    } catch (error) {
      fault = error;
      break;
    }
  }
  return { messages, position, fault, enough };
}

const STREAM = Buffer.from(
  [
    ': keep-alive',
    '',
    'id: 1',
    'retry: 25',
    'data:',
    '',
    'event: message',
    'id: zwei-2',
    'data: {"jsonrpc":"2.0","method":"notifications/progress",',
    'data: "params":{"text":"hällo \u{1F600}\u2028"}}',
    '',
    'data: {"jsonrpc":"2.0","id":"q","method":"roots/list"}',
    '',
    'data: {"jsonrpc":"2.0","id":1,"result":{"text":"\\u00e4ö"}}',
    '',
    '',
  ].join('\r\n'),
);

describe('PH-07: an event stream', () => {
  const whole = collect([STREAM]);

  test('says the same wherever its bytes are cut', () => {
    expect(whole.messages.map(({ kind }) => kind)).toEqual(['notification', 'request', 'reply']);
    expect(whole).toMatchObject({ enough: true, fault: null, position: { lastId: 'zwei-2', retryMs: 25 } });
    for (let at = 1; at < STREAM.length; at++)
      expect(collect([STREAM.subarray(0, at), STREAM.subarray(at)])).toEqual(whole);
    expect(collect([...STREAM].map((byte) => Buffer.of(byte)))).toEqual(whole);
  });

  test('would not, were each piece decoded by itself (vulnerable twin)', () => {
    const twin = (at: number): string => STREAM.subarray(0, at).toString() + STREAM.subarray(at).toString();
    const cuts = Array.from({ length: STREAM.length }, (_, at) => at);
    expect(cuts.some((at) => twin(at) !== STREAM.toString())).toBe(true);
  });

  test('says the same however its bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 60 }), (sizes) => {
        const chunks: Buffer[] = [];
        let at = 0;
        for (const size of sizes) chunks.push(STREAM.subarray(at, (at += size)));
        expect(collect([...chunks, STREAM.subarray(at)])).toEqual(whole);
      }),
      { seed: 31, numRuns: 200 },
    );
  });

  test('cut off at any byte never yields a message that was not whole', () => {
    for (let at = 0; at < STREAM.length; at++) {
      const { messages, fault } = collect([STREAM.subarray(0, at)]);
      expect(messages).toEqual(whole.messages.slice(0, messages.length));
      expect(fault).toBeNull();
    }
  });

  test('of any bytes ends in messages or in a fault, never in anything else', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.uint8Array({ maxLength: 40 }),
            fc
              .constantFrom('data: ', '\n\n', '\r', 'id: x', '{"jsonrpc":"2.0",', '"id":1,', '"result":{}}', ':')
              .map((t) => Buffer.from(t)),
          ),
          { maxLength: 40 },
        ),
        (parts) => {
          const { fault } = collect(
            parts.map((part) => Buffer.from(part)),
            200,
          );
          if (fault !== null) {
            expect(fault).toBeInstanceOf(UpstreamFault);
            expect(['upstream_protocol', 'upstream_too_large']).toContain((fault as UpstreamFault).code);
          }
        },
      ),
      { seed: 32, numRuns: 500 },
    );
  });

  test('one byte beyond a limit is too much, the limit itself is not', () => {
    const sized = (bytes: number): Buffer => {
      const head = 'data: {"jsonrpc":"2.0","method":"m","params":{"x":"';
      return Buffer.from(`${head}${'x'.repeat(bytes - (head.length - 6) - 3)}"}}\n\n`);
    };
    expect(collect([sized(LIMIT)])).toMatchObject({ fault: null, messages: [{ kind: 'notification' }] });
    expect(collect([sized(LIMIT + 1)]).fault).toMatchObject({ code: 'upstream_too_large' });
  });
});

describe('the era classifier', () => {
  const json = fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<Json>;
  const reply: fc.Arbitrary<UpstreamReply> = fc.oneof(
    fc.record({
      kind: fc.constant('result' as const),
      result: fc.dictionary(
        fc.constantFrom('supportedVersions', 'capabilities', 'protocolVersion', 'instructions', '_meta', 'x'),
        fc.oneof(json, fc.constant(['2026-07-28']), fc.constant('2025-11-25'), fc.constant({})),
      ) as fc.Arbitrary<JsonObject>,
    }),
    fc.record({
      kind: fc.constant('error' as const),
      error: fc.record({
        code: fc.oneof(fc.integer(), fc.constantFrom(-32601, -32602, -32600, -32020, -32021, -32022, -32001)),
        message: fc.string(),
      }),
    }),
  );
  const outcome = fc.oneof(
    reply,
    fc.constantFrom(400, 401, 403, 404, 405, 406, 410, 415, 422, 429, 500, 502, 503).map((s) => new HttpStatusFault(s)),
    fc
      .constantFrom('upstream_timeout', 'upstream_unreachable', 'upstream_closed', 'upstream_protocol')
      .map((code) => new UpstreamFault(code, code, { dispatched: 'unknown' })),
  );
  const wireOf = (answers: Record<string, UpstreamReply | UpstreamFault>, asked: string[]): Wire => ({
    exchange: async ({ method }) => {
      asked.push(method);
      const answer = answers[method]!;
      if (answer instanceof UpstreamFault) throw answer;
      return answer;
    },
    notify: async () => {},
    agree: () => {},
    onForgotten: () => {},
    hear: null,
    onLoose: () => {},
    closed: new Promise(() => {}),
    close: async () => {},
  });
  const { signal } = new AbortController();

  test('takes nothing for modern but a discovery or an error only a modern server has', async () => {
    await fc.assert(
      fc.asyncProperty(outcome, outcome, async (discover, initialize) => {
        const asked: string[] = [];
        const wire = wireOf({ 'server/discover': discover, initialize }, asked);
        const agreed = await agreeByAsking(wire, {}, signal, 1_000).catch((error: unknown) => error);
        const modern = !(discover instanceof UpstreamFault) && isModernAnswer(discover);
        const evidence =
          !(discover instanceof UpstreamFault) ||
          (discover instanceof HttpStatusFault && [400, 404, 405, 406, 410, 415, 422].includes(discover.status));
        // What is modern is never asked the legacy question, what is no evidence neither.
        expect(asked).toEqual(modern || !evidence ? ['server/discover'] : ['server/discover', 'initialize']);
        if (agreed instanceof Error) expect(agreed).toBeInstanceOf(UpstreamFault);
        else if (agreed === 'sse') {
          expect(initialize).toBeInstanceOf(HttpStatusFault);
          expect([400, 404, 405]).toContain((initialize as HttpStatusFault).status);
        } else expect((agreed as { era: string }).era).toBe(modern ? 'modern' : 'legacy');
      }),
      { seed: 33, numRuns: 600 },
    );
  });

  test('over stdio finds an era for every answer and every death', async () => {
    await fc.assert(
      fc.asyncProperty(outcome, async (discover) => {
        const era = await eraOfSibling(wireOf({ 'server/discover': discover }, []), signal, 1_000);
        const modern = !(discover instanceof UpstreamFault) && isModernAnswer(discover);
        expect(era).toBe(modern ? 'modern' : 'legacy');
      }),
      { seed: 34, numRuns: 300 },
    );
  });

  test('any bytes are read as one message, or refused in one sentence', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
          fc
            .dictionary(
              fc.constantFrom('jsonrpc', 'id', 'method', 'params', 'result', 'error'),
              fc.oneof(json, fc.constant('2.0')),
            )
            .map((message) => Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...message }))),
        ),
        (bytes) => {
          const read = readFromServer(bytes, 5_000);
          if (!read.ok) expect(read.error).toMatch(/^(?:a message|an id|params|a request|a result|an error) /);
          else if (read.value.kind !== 'reply') expect(typeof read.value.method).toBe('string');
        },
      ),
      { seed: 35, numRuns: 800 },
    );
  });
});
