/** Polling (RFC 8936) against a real HTTP server that keeps what was not acknowledged, as transmitters do. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { AdminContext } from '../../../src/admin/context.ts';
import { startPolling } from '../../../src/admin/events/poll.ts';
import { eventReceiver } from '../../../src/admin/events/receive.ts';
import { StoreFault } from '../../../src/store/state.ts';
import { until } from '../../support/upstreams/open.ts';
import { startPlane } from '../plane.ts';
import type { Plane } from '../plane.ts';
import { CAEP, issSub, startTransmitter } from './transmitter.ts';
import type { EventTransmitter } from './transmitter.ts';

interface PollRequest {
  readonly ack?: readonly string[];
  readonly setErrs?: Readonly<Record<string, { readonly err: string }>>;
  readonly maxEvents?: number;
}

let plane: Plane;
let sender: EventTransmitter;
let ctx: AdminContext;
let endpoint: Awaited<ReturnType<typeof startEndpoint>>;
const faults: { commit: (() => void) | null } = { commit: null };

/** Hands out every event until it is acknowledged or refused. */
async function startEndpoint() {
  const waiting = new Map<string, string>();
  const requests: PollRequest[] = [];
  const bearers: (string | undefined)[] = [];
  const state = { status: 200, answer: null as string | null, page: 50 };
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')));
    request.on('end', () => {
      const body = JSON.parse(text) as PollRequest;
      requests.push(body);
      bearers.push(request.headers.authorization);
      response.writeHead(state.status, { 'content-type': 'application/json' });
      if (state.status !== 200) return response.end();
      for (const id of [...(body.ack ?? []), ...Object.keys(body.setErrs ?? {})]) waiting.delete(id);
      const sets = Object.fromEntries([...waiting].slice(0, state.page));
      return response.end(state.answer ?? JSON.stringify({ sets, moreAvailable: waiting.size > state.page }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/poll`,
    waiting,
    requests,
    bearers,
    state,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

beforeEach(async () => {
  faults.commit = null;
  sender = await startTransmitter();
  endpoint = await startEndpoint();
  plane = await startPlane({
    wrap: (plain) =>
      (ctx = {
        ...plain,
        state: {
          ...plain.state,
          commit: async (request) => {
            faults.commit?.();
            return plain.state.commit(request);
          },
        },
      }),
  });
  await plane.seed([
    plane.put(
      'event_stream',
      'polled',
      sender.stream({
        delivery: { method: 'poll', url: endpoint.url, token: { secret: 'env:REMIT_SECRET_POLL' }, everyMs: 1_000 },
      }),
    ),
  ]);
});
afterEach(async () => {
  await plane?.close();
  await endpoint?.close();
  await sender?.close();
});

async function polling(work: () => Promise<void>): Promise<void> {
  const poller = startPolling(ctx, eventReceiver(ctx), async ({ secret }) => `value of ${secret}`);
  try {
    await work();
  } finally {
    await poller.close();
  }
}
const offer = (who: string, more = {}): string => {
  const claims = sender.claims(`${CAEP}session-revoked`, {}, { ...issSub(plane.issuer.issuer, who), ...more });
  const id = String(claims['jti']);
  endpoint.waiting.set(id, sender.sign(claims));
  return id;
};

describe('polling', () => {
  test('what waits takes effect and is acknowledged with the next request; the token comes from the reference', async () => {
    const id = offer('dana');
    await polling(async () => {
      await until('an acknowledgement', () => endpoint.requests.some(({ ack }) => ack?.includes(id) === true));
    });
    expect(plane.snapshot().voids?.get('person dana')).toBeGreaterThan(0);
    expect(endpoint.bearers[0]).toBe('Bearer value of env:REMIT_SECRET_POLL');
    expect(endpoint.waiting.size).toBe(0);
  });

  test('R1: nothing is acknowledged before it is committed', async () => {
    const id = offer('dana');
    faults.commit = () => {
      throw new StoreFault('store_unavailable', 'gone');
    };
    await polling(async () => {
      await until('two polls', () => endpoint.requests.length >= 2);
      expect(endpoint.requests.some(({ ack, setErrs }) => ack !== undefined || setErrs !== undefined)).toBe(false);
      expect(plane.snapshot().voids?.get('person dana')).toBeUndefined();
      faults.commit = null;
      await until('an acknowledgement', () => endpoint.requests.some(({ ack }) => ack?.includes(id) === true));
    });
    expect(plane.snapshot().voids?.get('person dana')).toBeGreaterThan(0);
  });

  test('what is refused is told so with its code, and does not hold up the others', async () => {
    const bad = offer('dana', { aud: 'https://other.example' });
    const good = offer('omar');
    endpoint.waiting.set('misnamed', sender.event(`${CAEP}session-revoked`, {}, issSub(plane.issuer.issuer, 'petra')));
    await polling(async () => {
      await until('all three', () => endpoint.waiting.size === 0);
    });
    const told = Object.assign({}, ...endpoint.requests.map(({ setErrs }) => setErrs)) as PollRequest['setErrs'];
    expect(told?.[bad]?.err).toBe('invalid_audience');
    expect(told?.['misnamed']?.err).toBe('invalid_request');
    expect(endpoint.requests.flatMap(({ ack }) => ack ?? [])).toEqual([good]);
  });

  test('more than one answer holds is fetched at once', async () => {
    endpoint.state.page = 3;
    const ids = Array.from({ length: 10 }, () => offer('dana'));
    const startedAt = performance.now();
    await polling(async () => {
      await until('all of them', () => endpoint.waiting.size === 0);
    });
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    expect(endpoint.requests.flatMap(({ ack }) => ack ?? []).sort()).toEqual(ids.sort());
  });

  test('an empty answer is a contact; a failed request is none', async () => {
    endpoint.state.status = 500;
    await polling(async () => {
      await until('a poll', () => endpoint.requests.length >= 1);
      expect(plane.snapshot().sources.get('polled')?.contactAt).toBeNull();
      endpoint.state.status = 200;
      await until('a contact', () => plane.snapshot().sources.get('polled')?.contactAt !== null);
    });
  });

  test.for([
    ['a list', '[]'],
    ['sets as a list', '{"sets":[]}'],
    ['two members of one name', '{"sets":{},"sets":{}}'],
    ['no JSON', '<html>'],
  ] as const)('an answer that is %s is a failed request', async ([, answer]) => {
    endpoint.state.answer = answer;
    await polling(async () => {
      await until('a poll', () => endpoint.requests.length >= 1);
      await until('a warning', () => plane.logged.some(({ message }) => message.startsWith('polling for')));
    });
    expect(plane.snapshot().sources.get('polled')?.contactAt).toBeNull();
  });

  test('a stream that is switched off is polled no more', async () => {
    await polling(async () => {
      await until('a poll', () => endpoint.requests.length >= 1);
      const { body } = (await plane.state.load()).records.find(({ id }) => id === 'polled')!;
      await plane.seed([plane.put('event_stream', 'polled', { ...body, state: 'disabled' })]);
      const polls = endpoint.requests.length;
      offer('dana');
      await new Promise((resolve) => setTimeout(resolve, 1_300));
      expect(endpoint.requests.length - polls).toBeLessThanOrEqual(1);
      expect(plane.snapshot().voids?.get('person dana')).toBeUndefined();
    });
  });
});
