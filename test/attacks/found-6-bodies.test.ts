/**
 * A server behind an allowed host that leaves a body unread (CL.0) takes it for the next request on the connection, and nobody has checked
 * that one. The oracle is that server; the twin sends it the same bytes on a connection that it may keep.
 */
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { type Socket, connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { startProxy } from '../../src/upstream/egress/proxy.ts';

const folder = mkdtempSync(join(realpathSync(tmpdir()), 'remit-bodies-'));
const HOST = 'careless.example.test';
const carriedOut: string[] = [];

/** Reads requests one after the other and never a body. */
const careless = createServer((socket: Socket) => {
  let text = '';
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
    for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
      const head = text.slice(0, end);
      text = text.slice(end + 4);
      carriedOut.push(head.split('\r\n', 1)[0]!);
      const close = /^connection: close$/im.test(head);
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n${close ? 'Connection: close\r\n' : ''}\r\nok`);
      if (close) return void socket.end();
    }
  });
});
let port = 0;
beforeAll(async () => {
  await new Promise<void>((resolve) => careless.listen(0, '127.0.0.1', resolve));
  port = (careless.address() as AddressInfo).port;
});
afterEach(() => void carriedOut.splice(0));
afterAll(() => {
  careless.close();
  rmSync(folder, { recursive: true });
});

const HIDDEN = 'DELETE /admin HTTP/1.1\r\nHost: x\r\n\r\n';
const post = (target: string, more = ''): string =>
  `POST ${target} HTTP/1.1\r\nHost: ${HOST}:${port}\r\n${more}Content-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`;

/** Until as many answers are there as asked for, or the other side ends. */
function say(to: { path: string } | { port: number; host: string }, text: string, answers: number): Promise<void> {
  return new Promise((resolve) => {
    let said = '';
    const socket = connect(to as { path: string }, () => socket.write(text));
    socket.on('data', (chunk: Buffer) => {
      said += chunk.toString('latin1');
      if (said.split('HTTP/1.1 200').length > answers) socket.destroy();
    });
    socket.on('error', () => undefined);
    socket.once('close', () => resolve());
    socket.setTimeout(10_000, () => socket.destroy());
  });
}

test('EX-04: a request that hides in the body of an allowed one is not carried out', async () => {
  const path = join(folder, 's');
  const rules = [{ scheme: 'http' as const, host: HOST, port, methods: ['POST'], pathPrefix: '/v1' }];
  const proxy = await startProxy(path, {
    rules,
    networks: ['127.0.0.0/8'],
    refused: () => undefined,
    resolve: () => Promise.resolve(['127.0.0.1']),
  });
  for (let n = 0; n < 3; n++) await say({ path }, post(`http://${HOST}:${port}/v1/${n}`), 1);
  await proxy.close();
  expect(carriedOut).toEqual(['POST /v1/0 HTTP/1.1', 'POST /v1/1 HTTP/1.1', 'POST /v1/2 HTTP/1.1']);
});

test('EX-04: twin: on a connection that goes on it is', async () => {
  await say({ port, host: '127.0.0.1' }, post('/v1/0'), 2);
  expect(carriedOut).toEqual(['POST /v1/0 HTTP/1.1', 'DELETE /admin HTTP/1.1']);
});
