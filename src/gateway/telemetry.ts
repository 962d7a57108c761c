/**
 * Metrics and traces of the pipeline, through the OpenTelemetry API only: without an SDK each line costs next to nothing.
 * Labels are bounded by what reviewers registered (servers, approved tools) and by our own codes; nothing a peer wrote becomes a label.
 */
import { SpanKind, SpanStatusCode, context, metrics, trace } from '@opentelemetry/api';
import type { Span } from '@opentelemetry/api';
import type { TraceContext } from '../protocol/meta.ts';

const SCOPE = 'remit-gateway';

export interface CallMeasure {
  /** The W3C trace id in force, for the audit entry; null when nobody traces. */
  readonly traceId: string | null;
  /** `traceparent` for the next hop; null when nobody traces. */
  readonly traceparent: string | null;
  end(facts: {
    server: string;
    tool: string | null;
    method: string;
    verdict: string;
    reason: string | null;
    ms: number;
  }): void;
}

export interface Telemetry {
  start(method: string, parent: TraceContext | null): CallMeasure;
  noise(reason: string): void;
}

export function createTelemetry(observe: { readonly inflight: () => number }): Telemetry {
  const meter = metrics.getMeter(SCOPE);
  const tracer = trace.getTracer(SCOPE);
  const requests = meter.createCounter('remit.requests', {
    description: 'Requests by server, tool, verdict and reason',
  });
  const duration = meter.createHistogram('remit.request.duration', {
    unit: 'ms',
    description: 'Time from read to reply',
  });
  const noise = meter.createCounter('remit.unauthenticated', {
    description: 'Requests refused before anybody was known',
  });
  meter.createObservableGauge('remit.inflight').addCallback((result) => result.observe(observe.inflight()));

  return {
    start(method, parent) {
      const under = parent
        ? trace.setSpanContext(context.active(), {
            traceId: parent.traceId,
            spanId: parent.parentId,
            traceFlags: parent.sampled ? 1 : 0,
            isRemote: true,
          })
        : context.active();
      const span: Span = tracer.startSpan(`mcp ${method}`, { kind: SpanKind.SERVER }, under);
      const { traceId, spanId, traceFlags } = span.spanContext();
      const traced = !/^0+$/.test(traceId);
      return {
        traceId: traced ? traceId : null,
        traceparent: traced ? `00-${traceId}-${spanId}-0${traceFlags & 1}` : null,
        end({ server, tool, method: name, verdict, reason, ms }) {
          const labels = { server, tool: tool ?? '', method: name, verdict, reason: reason?.split(':')[0] ?? '' };
          requests.add(1, labels);
          duration.record(ms, { server, method: name, verdict });
          span.setAttributes({
            'mcp.method.name': name,
            'mcp.tool.name': tool ?? '',
            'remit.server': server,
            'remit.verdict': verdict,
          });
          if (verdict !== 'allow') span.setStatus({ code: SpanStatusCode.ERROR, message: labels.reason });
          span.end();
        },
      };
    },
    noise: (reason) => noise.add(1, { reason }),
  };
}
