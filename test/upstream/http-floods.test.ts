/** Event streams that flood, against a real server and the real dispatcher: they end at the limit, and what came before an end counts. */
import type { ServerResponse } from 'node:http';
import { Agent } from 'undici';
import { afterEach, describe, expect, test } from 'vitest';
import { httpWire } from '../../src/upstream/http.ts';
import { type Script, event, scripted } from './scripted.ts';

const closers: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

const PROGRESS = event({ method: 'notifications/progress', params: { progressToken: 1, progress: 1 } });
const MOST = 20_000;

async function open(script: Script) {
  const server = await scripted('legacy', {}, script);
  const wire = httpWire({
    url: new URL(server.url),
    dispatcher: new Agent(),
    headers: [],
    maxBytes: 1_048_576,
    account: null,
  });
  closers.push(() => wire.close('the test is over'), server.close);
  wire.agree('legacy', '2025-11-25');
  return wire;
}

const stream = (response: ServerResponse): ServerResponse =>
  response.writeHead(200, { 'content-type': 'text/event-stream' });

describe('a stream that floods', () => {
  const never = new AbortController().signal;

  test.each<readonly [string, (response: ServerResponse) => void]>([
    ['ends', (response) => void response.end()],
    ['breaks', (response) => void response.socket?.end()],
    ['stays open', () => undefined],
  ])('an answer after many notifications comes, and so do they, when the stream then %s', async (_how, leave) => {
    const wire = await open(({ message }, response) => {
      const answer = event({ id: message['id'], result: { done: true } });
      stream(response).write(PROGRESS.repeat(15_000) + answer, () => leave(response));
    });
    let heard = 0;
    const reply = await wire.exchange(
      { method: 'tools/call', params: {}, hearing: { onNotification: () => heard++ } },
      never,
      null,
    );
    expect(reply).toEqual({ kind: 'result', result: { done: true } });
    expect(heard).toBe(15_000);
  });

  test('EX-07: one on which a server speaks unasked is ended at twenty thousand', async () => {
    const wire = await open(({ http }, response) => {
      if (http === 'GET') stream(response).write(PROGRESS.repeat(MOST + 1_000));
    });
    let heard = 0;
    wire.onLoose({ onNotification: () => heard++, onAsk: () => null });
    await expect(wire.hear!(never, () => {})).rejects.toMatchObject({
      code: 'upstream_too_large',
      message: 'the server floods its stream with notifications',
    });
    expect(heard).toBe(MOST);
  });
});
