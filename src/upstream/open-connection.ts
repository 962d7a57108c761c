/**
 * Opens one connection from a server's record: resolves its secrets, starts its process or dials, settles the era, shakes
 * hands. What was opened on the way and is not returned is closed again before the fault leaves.
 */
import { createSecureContext } from 'node:tls';
import type { Dispatcher } from 'undici';
import { digestOf } from '../lib/canonical-json.ts';
import type { Clock } from '../lib/clock.ts';
import { Fault, isFault } from '../lib/fault.ts';
import { UpstreamFault, type UpstreamFaultCode, type UpstreamIdentity } from './connection.ts';
import type { Standing } from './broker/broker.ts';
import { type DialRule, dialUrl, guardedDispatcher } from './dial.ts';
import { type EraMemory, agreeByAsking, agreeIn, eraOfSibling } from './era.ts';
import { headerProblem } from './http-rules.ts';
import { type HttpOptions, httpWire } from './http.ts';
import { type LinkedConnection, type RequestWatch, connectionOver } from './link.ts';
import type { Holder } from './oauth/holder.ts';
import type { ServerAccounts } from './oauth/accounts.ts';
import { sseWire } from './sse.ts';
import { stdioWire } from './stdio.ts';
import type {
  HttpTarget,
  Lane,
  RunningSource,
  SecretReference,
  ServerTarget,
  SseTarget,
  StartProcess,
  StdioTarget,
  Target,
  UpstreamLog,
} from './target.ts';
import type { Wire } from './wire.ts';

export interface OpenOptions {
  readonly clock: Clock;
  readonly startProcess: StartProcess;
  readonly resolveSecret: (reference: SecretReference, serverId: string) => Promise<string>;
  /** What its credentials are now. Default: they never change. */
  readonly standing?: (serverId: string, upstream: Target) => Standing;
  readonly log: UpstreamLog;
  /** Where servers with `auth` have their tokens from. */
  readonly accounts: ServerAccounts;
  /** Default: the guarded dialler. */
  readonly dispatcherFor?: (rule: DialRule) => Dispatcher;
  /** Longest time for process start, era question and handshake together, ms. */
  readonly openTimeoutMs?: number;
  /** How long a throw-away sibling may think about the era question, ms. */
  readonly probeTimeoutMs?: number;
  /** Largest message of an HTTP server, bytes. stdio servers have their own limit. */
  readonly maxMessageBytes?: number;
}

export interface Opened {
  readonly connection: LinkedConnection;
  /** Of the credentials it was opened with. */
  readonly stamp: string;
}

/**
 * `capabilities`: what a legacy server is told that we can do.
 * @throws UpstreamFault, or the Fault of what stood in the way; `openingFault` turns either into what a caller gets.
 */
export async function openConnection(
  serverId: string,
  server: ServerTarget,
  { capabilities, holder }: Pick<Lane, 'capabilities' | 'holder'>,
  eras: EraMemory,
  options: OpenOptions,
  signal: AbortSignal,
  watch?: RequestWatch,
): Promise<Opened> {
  const { upstream, timeoutMs } = server;
  let stamp: string;
  const definition = digestOf(upstream);
  const remembered = upstream.era === 'auto' ? eras.recall(serverId, definition) : upstream.era;
  const opened: Wire[] = [];
  const add = (wire: Wire): Wire => {
    opened.push(wire);
    return wire;
  };
  try {
    let identity: UpstreamIdentity;
    let way = remembered;
    if (upstream.transport === 'stdio') {
      const { value: env, ...resolved } = await steadily(serverId, upstream, options, () =>
        resolvedEnvironment(serverId, upstream, options),
      );
      ({ stamp } = resolved);
      const start = async (): Promise<Wire> => add(await processFor(serverId, upstream, env, server.source, options));
      const era =
        remembered === null || remembered === 'sse'
          ? await eraOfSibling(await start(), signal, options.probeTimeoutMs ?? 10_000)
          : remembered;
      identity = await agreeIn(era, await start(), capabilities, signal, options.openTimeoutMs ?? 30_000);
    } else {
      const { value: http, ...resolved } = await steadily(serverId, upstream, options, () =>
        httpTo(serverId, upstream, holder ?? null, options),
      );
      ({ stamp } = resolved);
      if (upstream.transport === 'sse') way = 'sse';
      let agreed: UpstreamIdentity | 'sse' = 'sse';
      if (way === null) agreed = await agreeByAsking(add(httpWire(http())), capabilities, signal, timeoutMs);
      else if (way !== 'sse') agreed = await agreeIn(way, add(httpWire(http())), capabilities, signal, timeoutMs);
      if (agreed === 'sse') {
        way = 'sse';
        await opened.pop()?.close('the server speaks HTTP+SSE');
        agreed = await agreeIn(
          'legacy',
          add(await sseWire(http(), signal, timeoutMs)),
          capabilities,
          signal,
          timeoutMs,
        );
      }
      identity = agreed;
    }
    if (upstream.era === 'auto') eras.remember(serverId, definition, way === 'sse' ? way : identity.era);
    const wire = opened.pop() as Wire;
    if (signal.aborted) {
      opened.push(wire);
      throw new UpstreamFault('upstream_closed', String(signal.reason), { dispatched: 'no' });
    }
    return { connection: connectionOver(wire, identity, { timeoutMs, capabilities, ...(watch && { watch }) }), stamp };
  } catch (error) {
    // A verdict may be what was wrong; the next attempt asks again.
    eras.forget(serverId);
    await Promise.all(opened.map((wire) => wire.close('it could not be opened')));
    throw error;
  }
}

/** More often in a row nobody changes credentials; then what was read last is used, and replaced as soon as it is open. */
const STEADY_TRIES = 5;

/** One connection never holds the old value of one credential and the new one of another. */
async function steadily<T>(
  serverId: string,
  upstream: Target,
  { standing }: OpenOptions,
  resolve: () => Promise<T>,
): Promise<{ readonly value: T; readonly stamp: string }> {
  for (let tries = 1; ; tries++) {
    const before = stampOf(standing?.(serverId, upstream));
    const value = await resolve();
    const stamp = stampOf(standing?.(serverId, upstream));
    if (stamp === before || tries === STEADY_TRIES) return { value, stamp: before };
  }
}

const stampOf = (standing: Standing | undefined): string => (standing?.ok === true ? standing.stamp : '');

/** Secrets resolved once; every wire gets a dispatcher of its own, which it destroys. */
async function httpTo(
  serverId: string,
  target: HttpTarget | SseTarget,
  holder: Holder | null,
  options: OpenOptions,
): Promise<() => HttpOptions> {
  const url = dialUrl(target.url);
  const headers: Array<readonly [string, string]> = [];
  for (const { name, value } of target.headers) {
    const text = await options.resolveSecret(value, serverId);
    const problem =
      target.auth !== undefined && OF_THE_ACCOUNT.has(name.toLowerCase())
        ? `the header ${name} belongs to the tokens that the server gets by its auth`
        : headerProblem(name, text);
    if (problem !== null) throw new Fault('upstream_header', problem);
    headers.push([name, text]);
  }
  const { clientCertificate: shown } = target;
  const clientCertificate = shown && {
    certificate: await options.resolveSecret(shown.certificate, serverId),
    key: await options.resolveSecret(shown.key, serverId),
  };
  const rule = {
    allowedNetworks: target.allowedNetworks,
    requireHttps: true,
    ...(clientCertificate && { clientCertificate: checkedCertificate(clientCertificate) }),
    ...(target.pins && { pins: target.pins }),
  };
  const { auth } = target;
  const account = auth === undefined ? null : options.accounts.of(serverId, { ...target, auth }, holder);
  return () => ({
    url,
    account,
    dispatcher: (options.dispatcherFor ?? guardedDispatcher)(rule),
    headers,
    maxBytes: options.maxMessageBytes ?? 4 * 1024 * 1024,
  });
}

/** Before anything is dialled, and without quoting what a parser says, which could hold the key. @throws Fault `secret_reference` */
function checkedCertificate(pair: { readonly certificate: string; readonly key: string }) {
  try {
    createSecureContext({ cert: pair.certificate, key: pair.key });
    return pair;
  } catch {
    throw new Fault('secret_reference', 'the client certificate and its key are not a pair in PEM');
  }
}

const OF_THE_ACCOUNT: ReadonlySet<string> = new Set(['authorization', 'dpop']);

async function resolvedEnvironment(
  serverId: string,
  target: StdioTarget,
  options: OpenOptions,
): Promise<ReadonlyMap<string, { value: string; secret: boolean }>> {
  const env = new Map<string, { value: string; secret: boolean }>();
  for (const [name, value] of Object.entries(target.env)) {
    const secret = typeof value !== 'string';
    env.set(name, { value: secret ? await options.resolveSecret(value, serverId) : value, secret });
  }
  return env;
}

async function processFor(
  serverId: string,
  target: StdioTarget,
  env: ReadonlyMap<string, { value: string; secret: boolean }>,
  source: RunningSource | undefined,
  { startProcess, clock, log }: OpenOptions,
): Promise<Wire> {
  const process = await startProcess({
    serverId,
    target,
    env: Object.fromEntries([...env].map(([name, { value }]) => [name, value])),
    ...(source?.digest !== undefined && { digest: source.digest }),
    ...(source !== undefined && { source }),
  });
  return stdioWire(process, {
    clock,
    outputBytes: target.limits.outputBytes,
    secrets: [...env.values()].filter(({ secret }) => secret).map(({ value }) => value),
    onStderr: (message) => log({ level: 'debug', serverId, event: 'stderr', message }),
    onViolation: (message) => log({ level: 'warn', serverId, event: 'violation', message }),
  });
}

/** Whatever went wrong while opening: no call was sent yet. */
export function openingFault(serverId: string, error: unknown): UpstreamFault {
  if (error instanceof UpstreamFault)
    return new UpstreamFault(error.code, error.message, { dispatched: 'no', cause: error });
  const code: UpstreamFaultCode = !isFault(error)
    ? 'upstream_unreachable'
    : error.code === 'dial_identity' || error.code === 'sandbox_identity'
      ? 'upstream_identity'
      : error.code.startsWith('sandbox_')
        ? 'upstream_sandbox'
        : error.code.startsWith('secret_') || error.code === 'upstream_header'
          ? 'upstream_auth'
          : error.code.startsWith('dial_')
            ? 'upstream_refused_address'
            : 'upstream_unreachable';
  const message = isFault(error) ? error.message : `${serverId} could not be opened`;
  return new UpstreamFault(code, message, { dispatched: 'no', cause: error });
}
