/**
 * Loads the OpenTelemetry SDK only when the configuration asks for it; until then the API calls of the pipeline cost next to nothing.
 * Must run before `createTelemetry`: instruments made earlier stay silent. Exports carry our codes and ids, never content.
 */
import { metrics, trace, context } from '@opentelemetry/api';
import type { UpstreamLog } from '../upstream/target.ts';

export interface TelemetrySettings {
  readonly prometheus: boolean;
  readonly otlpUrl?: string | undefined;
}

export interface RunningTelemetry {
  /** The Prometheus text of everything measured; null when not configured. */
  readonly scrape: (() => Promise<string>) | null;
  close(): Promise<void>;
}

export async function startTelemetry(
  settings: TelemetrySettings,
  service: { name: string; version: string; node: string },
): Promise<RunningTelemetry> {
  if (!settings.prometheus && settings.otlpUrl === undefined) return { scrape: null, close: () => Promise.resolve() };
  const { resourceFromAttributes } = await import('@opentelemetry/resources');
  const resource = resourceFromAttributes({
    'service.name': service.name,
    'service.version': service.version,
    'service.instance.id': service.node,
  });
  const closers: Array<() => Promise<void>> = [];
  let scrape: RunningTelemetry['scrape'] = null;

  if (settings.prometheus) {
    const { MeterProvider } = await import('@opentelemetry/sdk-metrics');
    const { PrometheusExporter, PrometheusSerializer } = await import('@opentelemetry/exporter-prometheus');
    const exporter = new PrometheusExporter({ preventServerStart: true });
    const provider = new MeterProvider({ resource, readers: [exporter] });
    metrics.setGlobalMeterProvider(provider);
    const serializer = new PrometheusSerializer();
    scrape = async () => serializer.serialize((await exporter.collect()).resourceMetrics);
    closers.push(() => provider.shutdown());
  }
  if (settings.otlpUrl !== undefined) {
    const { BatchSpanProcessor, TracerProvider } = await import('@opentelemetry/sdk-trace');
    const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-http');
    const { AsyncLocalStorageContextManager } = await import('@opentelemetry/context-async-hooks');
    const provider = new TracerProvider({
      resource,
      spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter({ url: settings.otlpUrl }) })],
    });
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    trace.setGlobalTracerProvider(provider);
    closers.push(() => provider.shutdown());
  }
  return {
    scrape,
    close: async () => {
      for (const close of closers) await close().catch(() => undefined);
    },
  };
}

/** Counts what a server on a pipe said that is no MCP message (PROTOCOL.md P1), beside handing every event on. */
export function countingViolations(log: UpstreamLog): UpstreamLog {
  const violations = metrics.getMeter('remit-gateway').createCounter('remit.upstream.violations', {
    description: 'Messages of servers that were no MCP, by server',
  });
  return (event) => {
    if (event.event === 'violation') violations.add(1, { server: event.serverId });
    log(event);
  };
}
