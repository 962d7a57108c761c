/** The MCP listener against bytes: a header that stands twice, and strangers who begin bodies and never end them. */
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JSON_HEADERS, modernHeaders, modernMessage, startRig } from '../support/rig.ts';
import type { Rig } from '../support/rig.ts';

let rig: Rig;
const sockets: Socket[] = [];
beforeAll(async () => void (rig = await startRig()));
afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  await rig.stop();
});

/** What came back on a connection of its own, as it comes. */
function speak(...parts: readonly (string | Buffer)[]): { text: string } {
  const { hostname, port } = new URL(rig.url);
  const heard = { text: '' };
  const socket = connect(Number(port), hostname);
  sockets.push(socket);
  socket.on('data', (chunk: Buffer) => (heard.text += chunk.toString('latin1')));
  socket.on('error', () => undefined);
  for (const part of parts) socket.write(part);
  return heard;
}
const head = (lines: Readonly<Record<string, string>>, more = ''): string =>
  `POST ${rig.endpoint('notes')} HTTP/1.1\r\n${Object.entries(lines)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')}${more}\r\n`;
const status = (heard: { text: string }): string | undefined => /^HTTP\/1\.1 (\d+)/.exec(heard.text)?.[1];

test.each([
  ['Host', 'evil.example', '403'],
  ['Content-Type', 'text/plain', '415'],
  ['Origin', 'https://evil.example', '403'],
])('PH-03: a second %s header is not overlooked', async (name, value, expected) => {
  const message = JSON.stringify(modernMessage('tools/call', { name: 'read_note', arguments: { text: 'twice' } }));
  const request = head(
    {
      Host: new URL(rig.url).host,
      Origin: rig.url,
      ...JSON_HEADERS,
      ...modernHeaders('tools/call', { name: 'read_note' }),
      Authorization: `Bearer ${rig.token('dana')}`,
      'Content-Length': String(message.length),
    },
    `${name}: ${value}\r\n`,
  );
  const heard = speak(request, message);
  await rig.until('an answer', () => status(heard) !== undefined);
  expect(status(heard)).toBe(expected);
  expect(rig.sink().wire()).not.toContain('twice');
});

test('strangers who hold bodies open take a bounded memory: then a body is read only from who has a token', async () => {
  const begin = head({ Host: new URL(rig.url).host, ...JSON_HEADERS, 'Content-Length': '1048576' });
  const held = Array.from({ length: 72 }, () => speak(begin, Buffer.alloc(1_048_000, 0x20)));
  const late: Array<{ text: string }> = [];
  await rig.until('a stranger is refused before the body', () => {
    late.push(speak(begin));
    return late.some((one) => status(one) === '401' && /connection: close/i.test(one.text));
  });
  expect(held.some((one) => one.text === '')).toBe(true);
  expect((await rig.call('notes', 'read_note', { text: 'x' })).status).toBe(200);
});
