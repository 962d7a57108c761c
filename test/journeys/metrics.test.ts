/** What operations see: counters of the pipeline behind the admin token, and traces that begin at the client and go on to the server. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { startIssuer } from '../support/issuer.ts';
import type { TestIssuer } from '../support/issuer.ts';
import { endAll, temporaryFolder } from '../support/processes.ts';
import { startSink } from '../support/upstreams/sink.ts';
import type { Sink } from '../support/upstreams/sink.ts';
import { SCOPES, gatewayNode, tokensOf } from './node.ts';

// Whole processes on a machine that may be busy: a bound, not an expectation.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let issuer: TestIssuer;
let sink: Sink;
beforeEach(async () => {
  issuer = await startIssuer();
  sink = await startSink();
});
afterEach(async () => {
  await endAll();
  await sink.close();
  await issuer.close();
});

interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly status: { readonly code?: number };
  readonly attributes: ReadonlyArray<{ readonly key: string; readonly value: { readonly stringValue?: string } }>;
}

/** Takes OTLP over HTTP as JSON, and keeps it. */
async function collector() {
  const spans: Span[] = [];
  const texts: string[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString('utf8');
      texts.push(text);
      const body = JSON.parse(text) as { resourceSpans: Array<{ scopeSpans: Array<{ spans: Span[] }> }> };
      spans.push(...body.resourceSpans.flatMap((resource) => resource.scopeSpans.flatMap((scope) => scope.spans)));
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/traces`,
    spans,
    texts,
    close: () => void server.close(),
  };
}

test('/metrics counts requests by server, tool, verdict and reason, for people who may read the status and nobody else', async () => {
  const node = await gatewayNode(temporaryFolder(), tokensOf(issuer), { telemetry: { prometheus: true } });
  const { started } = await node.start();
  await node.setUp(sink);
  for (let n = 0; n < 3; n++) expect((await node.call('put', { id: `${n}` })).status).toBe(200);
  await node.call('nothing-registered', { id: 'x' });
  const narrow = await tokensOf(issuer).token('dana', node.url, 'sink:read');
  expect((await node.call('put', { id: 'x' }, { token: narrow })).status).toBe(403);
  expect((await node.call('put', { id: 'x' }, { token: 'forged' })).status).toBe(401);

  expect((await fetch(`${node.adminUrl}/api/v1/metrics`)).status).toBe(401);
  expect((await fetch(`${node.adminUrl}/metrics`)).status).toBeGreaterThanOrEqual(401);
  expect((await node.api('dana', 'GET', '/metrics')).status).toBe(403);
  const mcpToken = await tokensOf(issuer).token('aiko', node.url, SCOPES);
  const wrongAudience = await fetch(`${node.adminUrl}/api/v1/metrics`, {
    headers: { authorization: `Bearer ${mcpToken}` },
  });
  expect(wrongAudience.status).toBe(401);

  const { status, text } = await node.api('aiko', 'GET', '/metrics');
  expect(status).toBe(200);
  /** The value of the one series of this counter with these labels. */
  const count = (name: string, labels: Record<string, string>): number => {
    const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`));
    const fits = lines.filter((line) =>
      Object.entries(labels).every(([key, value]) => line.includes(`${key}="${value}"`)),
    );
    expect([name, labels, fits.length, fits.length === 1 ? '' : text]).toEqual([name, labels, 1, '']);
    return Number(
      fits[0]!
        .slice(fits[0]!.lastIndexOf('}') + 1)
        .trim()
        .split(' ')[0],
    );
  };
  expect(count('remit_requests_total', { server: 'sink', tool: 'put', verdict: 'allow' })).toBe(3);
  expect(count('remit_requests_total', { tool: 'put', verdict: 'challenge', reason: 'scope_missing' })).toBe(1);
  expect(count('remit_requests_total', { verdict: 'deny', reason: 'tool_unknown' })).toBe(1);
  expect(count('remit_unauthenticated_total', { reason: 'token_invalid' })).toBe(1);
  expect(count('remit_request_duration_count', { server: 'sink', verdict: 'allow' })).toBe(3);
  // What a caller made up is no label.
  expect(text).not.toContain('nothing-registered');
  await started.stop();
});

test('a trace of the client goes on through the gateway to the server and into the log; without one, or with a broken one, a new trace begins', async () => {
  const otlp = await collector();
  const node = await gatewayNode(temporaryFolder(), tokensOf(issuer), { telemetry: { otlpUrl: otlp.url } });
  const { started } = await node.start();
  await node.setUp(sink);
  const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
  const parent = '00f067aa0ba902b7';
  const secret = 'canary-in-argument-of-a-trace';
  await node.call('put', { id: 'traced', text: secret }, { meta: { traceparent: `00-${traceId}-${parent}-01` } });
  await node.call('put', { id: 'untraced' });
  await node.call('put', { id: 'broken' }, { meta: { traceparent: `00-${'0'.repeat(32)}-${parent}-01` } });
  const narrow = await tokensOf(issuer).token('dana', node.url, 'sink:read');
  await node.call('put', { id: 'refused' }, { token: narrow, meta: { traceparent: `00-${traceId}-${parent}-01` } });
  // The last spans leave with the process.
  await started.stop();
  otlp.close();

  const atSink = new Map(
    sink.calls().map(({ message }) => {
      const { arguments: args, _meta: meta } = message!['params'] as {
        arguments: { id: string };
        _meta: Record<string, string>;
      };
      return [args.id, meta['traceparent'] ?? ''] as const;
    }),
  );
  const traced = otlp.spans.filter((span) => span.traceId === traceId);
  const [allowed] = traced.filter(({ status }) => (status.code ?? 0) !== 2);
  expect(traced).toHaveLength(2);
  expect(allowed).toMatchObject({ name: 'mcp tools/call', parentSpanId: parent });
  expect(atSink.get('traced')).toBe(`00-${traceId}-${allowed!.spanId}-01`);
  for (const id of ['untraced', 'broken']) {
    const [, fresh, span] = atSink.get(id)!.split('-');
    expect(fresh).toMatch(/^[0-9a-f]{32}$/);
    expect([fresh === traceId, /^0+$/.test(fresh!)]).toEqual([false, false]);
    expect(otlp.spans.some((one) => one.traceId === fresh && one.spanId === span)).toBe(true);
  }
  expect([...atSink.keys()]).not.toContain('refused');
  const entries = (await node.entries()).filter(({ trace }) => trace === traceId);
  expect(entries.map(({ kind }) => kind)).toEqual(['intent', 'outcome', 'denial']);
  // AE-04: exports carry our codes and ids, never content.
  expect(otlp.texts.join('\n')).not.toContain(secret);
  expect(otlp.texts.join('\n')).toContain('sink');
});

test('both are off unless they are asked for', async () => {
  const node = await gatewayNode(temporaryFolder(), tokensOf(issuer));
  const { started } = await node.start();
  await node.setUp(sink);
  const off = await node.api('aiko', 'GET', '/metrics');
  expect([off.status, off.body.error]).toMatchObject([404, { code: 'metrics_off' }]);
  await node.call('put', { id: 'x' }, { meta: { traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01` } });
  expect(sink.calls()).toHaveLength(1);
  await started.stop();
});
