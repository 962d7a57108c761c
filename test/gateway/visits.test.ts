/** A server of 2025-11-25 that wants a URL visited first (-32042), in front of clients of every kind. The oracle is the sink. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import { startRig } from '../support/rig.ts';
import type { Rig } from '../support/rig.ts';

let rig: Rig;
let visited = false;
let urls: readonly string[] = [];

beforeAll(async () => {
  rig = await startRig({
    servers: {
      old: { era: 'legacy', record: { asks: ['elicitation.url'], visits: ['pay.example'] } },
      mute: { era: 'legacy', record: { visits: ['pay.example'] } },
    },
  });
  for (const server of ['old', 'mute'])
    rig.sink(server).onCall(() => {
      if (visited) return { content: [{ type: 'text', text: 'done' }] };
      const elicitations = urls.map((url, i) => ({ mode: 'url', url, message: `Visit ${i}`, elicitationId: `e${i}` }));
      return { error: { code: -32042, message: 'A visit is needed', data: { elicitations } } };
    });
});
afterAll(() => rig.stop());
beforeEach(() => {
  visited = false;
  urls = ['https://pay.example/confirm?id=1'];
});

const calls = (server: string): number => rig.sink(server).calls().length;
const read = (server: string, capabilities: JsonObject, more: JsonObject = {}) =>
  rig.ask(server, 'tools/call', { name: 'read_note', arguments: { text: 'x' }, ...more }, { capabilities });

test('a modern client is asked by input_required, without an id, and its retry makes the call once more', async () => {
  const before = calls('old');
  const first = await read('old', { elicitation: { url: {} } });
  expect(first.result).toMatchObject({
    resultType: 'input_required',
    inputRequests: {
      'visit-1': {
        method: 'elicitation/create',
        params: { mode: 'url', message: 'Visit 0', url: 'https://pay.example/confirm?id=1' },
      },
    },
  });
  expect(first.text).not.toContain('elicitationId');
  visited = true;
  const second = await read(
    'old',
    { elicitation: { url: {} } },
    {
      inputResponses: { 'visit-1': { action: 'accept' } },
      requestState: first.result!['requestState']!,
    },
  );
  expect(second.result).toMatchObject({ resultType: 'complete', content: [{ type: 'text', text: 'done' }] });
  expect(calls('old') - before).toBe(2);
  expect(JSON.stringify(rig.sink('old').calls().at(-1))).not.toMatch(/inputResponses|requestState/);
});

test.each([
  ['did not declare it', 'old', { elicitation: {} }],
  ['declared it at a server that may not ask', 'mute', { elicitation: { url: {} } }],
])('a modern client that %s is told in words', async (_title, server, capabilities) => {
  const { result } = await read(server, capabilities);
  expect(result).toMatchObject({ isError: true, resultType: 'complete' });
  expect(JSON.stringify(result)).toContain('visit https://pay.example/confirm?id=1 first');
});

test.each([
  'javascript:alert(1)',
  'https://user:pw@pay.example/',
  'file:///etc/passwd',
  'not a url',
  'http://pay.example/',
  'https://evil.example/',
  'https://xn--py-7kc.example/',
  'https://127.0.0.1/',
])('PH-08, CI-10: %s is shown to nobody', async (url) => {
  urls = [url];
  const { text } = await read('old', { elicitation: { url: {} } });
  expect(text).not.toContain('input_required');
  expect(text).not.toContain(url);
});

test('a 2025-11-25 client that declared it gets the error it knows, another one words', async () => {
  const args = { text: 'x' };
  const able = await rig.call('old', 'read_note', args, { era: 'legacy', capabilities: { elicitation: { url: {} } } });
  expect(able.error).toMatchObject({
    code: -32042,
    data: { elicitations: [{ mode: 'url', message: 'Visit 0', url: urls[0], elicitationId: 'e0' }] },
  });
  const unable = await rig.call('old', 'read_note', args, { era: 'legacy' });
  expect(unable.result).toMatchObject({ isError: true });
  expect(unable.text).toContain('visit https://pay.example/confirm?id=1 first');
});
