/** A reader that does not read: what waits for it is bounded, and then it is cut off. Real sockets, because the bound is about theirs. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { MAX_UNREAD, httpOutlet } from '../../src/gateway/outlet.ts';
import type { HttpOutlet } from '../../src/gateway/outlet.ts';
import { openStream } from '../support/event-stream.ts';
import { until } from '../support/upstreams/open.ts';

const MESSAGE = { jsonrpc: '2.0', method: 'x', params: { text: 'x'.repeat(100_000) } };
/** Far more than any two socket buffers hold. */
const MANY = 1_000;

async function serve(run: (outlet: HttpOutlet, unread: () => number, gone: () => boolean) => Promise<void>) {
  const done = Promise.withResolvers<void>();
  const server = createServer((_request, response) => {
    const outlet = httpOutlet(response, {
      headers: {},
      log: null,
      primes: () => false,
      maxUnread: () => MAX_UNREAD.endless,
    });
    outlet.keepAlive();
    run(
      outlet,
      () => response.writableLength,
      () => response.destroyed,
    ).then(done.resolve, done.reject);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const stream = await openStream(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, {
    method: 'GET',
    headers: {},
  });
  return {
    stream,
    done: done.promise,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

test('RL-03: a reader that stalls is cut off once it leaves too much unread, and nothing is kept for it', async () => {
  let most = 0;
  let sent = 0;
  const { stream, done, close } = await serve(async (outlet, unread, gone) => {
    while (!gone() && sent < MANY) {
      outlet.send(MESSAGE);
      sent++;
      most = Math.max(most, unread());
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(gone()).toBe(true);
    expect(outlet.open).toBe(false);
  });
  stream.stall();
  await done;
  expect(sent).toBeLessThan(MANY);
  expect(most).toBeLessThan(MAX_UNREAD.endless + 2 * 100_100);
  close();
});

test('what is replayed waits for its reader instead', async () => {
  const { stream, done, close } = await serve(async (outlet) => {
    for (let n = 0; n < 300; n++) {
      outlet.put({ data: JSON.stringify(MESSAGE), id: String(n) });
      await outlet.drained();
    }
    outlet.finish({ jsonrpc: '2.0', id: 1, result: {} });
  });
  await done;
  await until('all of it is read', () => stream.events.length === 301, 60_000);
  expect(stream.events[299]!.id).toBe('299');
  close();
});
