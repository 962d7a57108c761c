/** A server that wants to see our certificate: which one it was shown is the oracle, and nothing that the dialler checks of it is given up. */
import { request as forward } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { afterEach, expect, test } from 'vitest';
import { guardedDispatcher } from '../../../src/upstream/dial.ts';
import { textOf } from '../../contracts/connection.ts';
import { selfSigned } from '../../support/certificate.ts';
import { httpServer, testPool } from '../../support/upstreams/open.ts';
import { startSink } from '../../support/upstreams/sink.ts';

const closers: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const ours = selfSigned('gateway.example', 'ec', 'gateway');
const stranger = selfSigned('gateway.example', 'ec', 'stranger');

async function start(trusted = true) {
  const sink = await startSink({ era: 'modern' });
  const own = selfSigned('127.0.0.1');
  const shown: string[] = [];
  const server = createServer(
    { key: own.key, cert: own.cert, requestCert: true, rejectUnauthorized: true, ca: [ours.cert] },
    (request, response) => {
      shown.push(String((request.socket as TLSSocket).getPeerCertificate().subject.CN));
      const { hostname, port, pathname } = new URL(sink.url);
      const on = forward(
        { hostname, port, path: pathname, method: request.method, headers: request.headers },
        (got) => {
          response.writeHead(got.statusCode ?? 0, got.headers);
          got.pipe(response);
        },
      );
      on.on('error', () => response.destroy());
      request.pipe(on);
    },
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const values: Record<string, string> = {
    'env:CERT': ours.cert,
    'env:KEY': ours.key,
    'env:OTHER_CERT': stranger.cert,
    'env:OTHER_KEY': stranger.key,
  };
  const pool = testPool({
    resolveSecret: async ({ secret }) => values[secret] ?? '',
    dispatcherFor: (rule) => guardedDispatcher({ ...rule, ...(trusted && { extraCa: [own.cert] }) }),
  });
  closers.push(
    async () => {
      server.close();
      server.closeAllConnections();
    },
    sink.close,
    pool.closeAll,
  );
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}${new URL(sink.url).pathname}`;
  const connect = (certificate?: string, key?: string) =>
    pool.connection(
      'mutual',
      httpServer(url, {
        era: 'modern',
        ...(certificate !== undefined && {
          clientCertificate: { certificate: { secret: certificate }, key: { secret: key! } },
        }),
      }),
    );
  return { sink, shown, connect };
}

test('the certificate of the record is shown, and the server lets the call in', async () => {
  const { shown, connect } = await start();
  expect(await textOf(await connect('env:CERT', 'env:KEY'), 'echo', { text: 'hi' })).toContain('hi');
  expect(new Set(shown)).toEqual(new Set(['gateway']));
});

test.each([
  ['none', undefined, undefined],
  ['of somebody else', 'env:OTHER_CERT', 'env:OTHER_KEY'],
])('a certificate %s: the server gets no request', async (_name, certificate, key) => {
  const { sink, connect } = await start();
  await expect(connect(certificate, key)).rejects.toMatchObject({ dispatched: 'no' });
  expect(sink.received).toEqual([]);
});

test('a key that does not fit is refused before anything is dialled, and no message quotes it', async () => {
  const { sink, connect } = await start();
  const fault = await connect('env:CERT', 'env:OTHER_KEY').catch((error: Error) => error);
  expect(fault).toMatchObject({
    code: 'upstream_auth',
    message: 'the client certificate and its key are not a pair in PEM',
  });
  expect(sink.received).toEqual([]);
});

test('AN-15: whoever shows a certificate still checks the one of the server', async () => {
  const { sink, shown, connect } = await start(false);
  await expect(connect('env:CERT', 'env:KEY')).rejects.toMatchObject({ dispatched: 'no' });
  expect([sink.received, shown]).toEqual([[], []]);
});
