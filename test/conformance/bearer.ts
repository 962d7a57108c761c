/**
 * A preload (`node --import`): every request to the origin in CONFORMANCE_ORIGIN carries the token in CONFORMANCE_TOKEN.
 * The suite has no option for a token. Its requests leave by global fetch and undici (one dispatcher) and by node:http, so both are covered.
 * A request that has an Authorization header of its own keeps it. Changes nothing else of a request.
 */
import http from 'node:http';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { setGlobalDispatcher as setOurs, Agent as OurAgent } from 'undici';

const { CONFORMANCE_ORIGIN: origin, CONFORMANCE_TOKEN: token } = process.env;
if (origin === undefined || token === undefined) throw new Error('set CONFORMANCE_ORIGIN and CONFORMANCE_TOKEN');
const authorization = `Bearer ${token}`;

type Named = Readonly<Record<string, unknown>>;
type RequestHeaders = Named | readonly string[] | Iterable<readonly [string, unknown]> | null | undefined;

/** The same headers with ours, in one of the shapes that undici takes. */
function withToken(headers: RequestHeaders): readonly string[] | Record<string, unknown> {
  const isFlat = Array.isArray(headers) && typeof headers[0] === 'string';
  if (isFlat) {
    const flat = headers as readonly string[];
    const has = flat.some((name, index) => index % 2 === 0 && name.toLowerCase() === 'authorization');
    return has ? flat : [...flat, 'authorization', authorization];
  }
  const pairs =
    headers && Symbol.iterator in headers
      ? Object.fromEntries(headers as Iterable<readonly [string, unknown]>)
      : headers;
  const has = Object.keys(pairs ?? {}).some((name) => name.toLowerCase() === 'authorization');
  return has ? { ...pairs } : { ...pairs, authorization };
}

/** What undici of any major version calls its dispatcher, as far as it is used here. */
interface Undici {
  Agent: new () => {
    compose(interceptor: (dispatch: Dispatch) => Dispatch): unknown;
  };
  setGlobalDispatcher(agent: unknown): void;
}
type Dispatch = (options: { origin?: unknown; headers?: RequestHeaders }, handler: unknown) => boolean;

function cover({ Agent, setGlobalDispatcher }: Undici): void {
  const agent = new Agent().compose(
    (dispatch) => (options, handler) =>
      dispatch(
        String(options.origin) === origin ? { ...options, headers: withToken(options.headers) } : options,
        handler,
      ),
  );
  setGlobalDispatcher(agent);
}

// The suite may bring an undici of another major version, which has a dispatcher of its own.
cover({ Agent: OurAgent, setGlobalDispatcher: setOurs } as unknown as Undici);
cover(createRequire(process.argv[1] ?? import.meta.url)('undici') as Undici);

const original = http.request;
http.request = function request(this: unknown, ...args: Parameters<typeof original>) {
  const outgoing: http.ClientRequest = Reflect.apply(original, this, args);
  // The Host header may be forged on purpose; what counts is where the request goes.
  const [first] = args as readonly unknown[];
  const target = first instanceof URL || typeof first === 'string' ? new URL(first) : (first as http.RequestOptions);
  const port = Number(target.port ?? 80);
  const goal = new URL(origin);
  const isOurs =
    port === Number(goal.port) && (target.hostname ?? (target as http.RequestOptions).host) === goal.hostname;
  if (isOurs && !outgoing.headersSent && !outgoing.hasHeader('authorization'))
    outgoing.setHeader('authorization', authorization);
  return outgoing;
} as typeof original;
syncBuiltinESMExports();
