import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { manualClock } from '../../src/lib/clock.ts';
import { sealedBox } from '../../src/lib/sealed-box.ts';
import { type RequestState, requestStates } from '../../src/protocol/request-state.ts';
import { sessionSealer } from '../../src/protocol/session.ts';

const key = (fill: number): Uint8Array => new Uint8Array(32).fill(fill);
const state: RequestState = {
  who: 'https://as.example.com person_1 client',
  org: 'default',
  server: 'files',
  method: 'tools/call',
  item: 'delete',
  args: 'sha256:00',
  exp: 1000,
  round: 1,
  upstream: '\u{1f600} theirs',
  park: { node: 'n1', id: 'p1' },
  asked: { q: { method: 'elicitation/create', params: { message: 'Sure?', requestedSchema: { properties: {} } } } },
  approval: { id: 'apr_1', call: 'sha256:01' },
};
const states = requestStates([key(1)], manualClock(0));

test('what was sealed opens to the same, on every node with the key, until it expires', () => {
  const clock = manualClock(0);
  const sealed = states.seal(state);
  const other = requestStates([key(2), key(1)], clock);
  expect(other.open(sealed)).toEqual({ ok: true, value: state });
  clock.set(999);
  expect(other.open(sealed).ok).toBe(true);
  clock.set(1000);
  expect(other.open(sealed)).toEqual({ ok: false, error: 'expired' });
  expect(requestStates([key(3)], clock).open(sealed)).toEqual({ ok: false, error: 'unknown' });
});

test('a state that waits for nothing has nulls', () => {
  const bare = { ...state, upstream: null, park: null, approval: null, asked: {} };
  expect(states.open(states.seal(bare))).toEqual({ ok: true, value: bare });
});

test('a sealed session id is no request state, and neither is another release’s', () => {
  const facts = { org: 'o', server: 's', issuer: 'i', subject: 'p', clientId: 'c', version: '2025-11-25' as const };
  const session = sessionSealer([key(1)], manualClock(0)).seal({
    ...facts,
    capabilities: [],
    client: { name: 'n', version: 'v' },
  });
  expect(states.open(session)).toEqual({ ok: false, error: 'unknown' });
  const older = sealedBox([key(1)], 'request state').seal(JSON.stringify({ ...state, more: 1 }));
  expect(states.open(older)).toEqual({ ok: false, error: 'unknown' });
});

test('a state beyond 256 KiB is a fault, not a huge message', () => {
  expect(() => states.seal({ ...state, upstream: 'x'.repeat(200_000) })).toThrow(
    expect.objectContaining({ code: 'sealed_too_large', message: 'request state: the text does not fit' }),
  );
  expect(states.open('A'.repeat(262_145))).toEqual({ ok: false, error: 'unknown' });
});

test('whatever else comes is unknown', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.base64String({ maxLength: 400 })), (text) => {
      expect(states.open(text)).toEqual({ ok: false, error: 'unknown' });
    }),
    { seed: 4, numRuns: 300 },
  );
});
