/**
 * The admin listener: its own port, its own audience. Health checks and resource metadata are open and say nothing;
 * everything else is a row of `routes.ts` and passes, in this order and before its body is read:
 * Host, Origin, bearer token for `{publicUrl}/api/v1`, fresh view, active person, no lock, scope, role, a good enough sign-in (PH-09).
 * There is no route without a token (the claim of the first administrator needs one, too), no CORS, and no way to switch a check off.
 * Pages for people (`pages/`) have a cookie in its place, which opens no row of the API by itself.
 */
import { fastify, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { AddressInfo } from 'node:net';
import { problemBody as scimProblemBody } from '../directory/scim/problem.ts';
import {
  challenge401,
  challenge403,
  challengeStepUp,
  metadataPath,
  resourceMetadata,
} from '../identity/protected-resource.ts';
import { newId } from '../lib/ids.ts';
import { err, ok, type Result } from '../lib/result.ts';
import { parseStrictJson, type JsonProblem } from '../lib/strict-json.ts';
import { AUTHZEN_METADATA_PATH, AUTHZEN_ROUTES, REQUEST_ID, authzenMetadata } from './authzen.ts';
import type { AdminContext } from './context.ts';
import { eventRoutes } from './events/push.ts';
import { pagesPlugin } from './pages/plugin.ts';
import { problemBody, type Problem } from './problem.ts';
import type { Refused } from './refusals.ts';
import type { AdminCaller, BodyLimits, Route, Seen } from './route.ts';
import { API_PATH, ROUTES, SCOPES } from './routes.ts';
import { admit, perform, readBody, readQuery, type Input } from './run-route.ts';
import { SCIM_PATH, scimPlugin } from './scim/plugin.ts';

const LIMITS: BodyLimits = { maxBytes: 524_288, maxMembers: 20_000 };
/** People and their tools, not agents: more than this is somebody holding connections open. */
const MAX_CONNECTIONS = 1024;
const METADATA_PATH = metadataPath(API_PATH);

interface Passed {
  readonly ref: string;
  who: AdminCaller | null;
}

export interface AdminListener {
  /** Origin, without trailing slash. */
  readonly url: string;
  /** Ends the listener and its connections. Idempotent. */
  close(): Promise<void>;
}

/** Listens as `ctx.facts` says. @throws when the port is taken or the address is not ours. */
export async function startAdmin(ctx: AdminContext): Promise<AdminListener> {
  const passed = new WeakMap<FastifyRequest, Passed>();
  const of = (request: FastifyRequest): Passed => {
    const known = passed.get(request);
    if (known !== undefined) return known;
    const fresh = { ref: newId('ref', ctx.clock), who: null };
    passed.set(request, fresh);
    return fresh;
  };
  let origin = ctx.facts.publicUrl ?? '';
  let hosts = new Set<string>();

  const server = fastify({
    logger: false,
    bodyLimit: LIMITS.maxBytes,
    requestTimeout: 30_000,
    forceCloseConnections: true,
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: 8192, ignoreTrailingSlash: false, caseSensitive: true },
    http: { maxHeaderSize: 16_384, headersTimeout: 10_000, joinDuplicateHeaders: true },
    frameworkErrors: (_error, request, reply) => {
      void answerProblem(request, reply, {
        status: 400,
        code: 'bad_request',
        message: 'The request target is malformed.',
      });
    },
  });

  function answerProblem(request: FastifyRequest, reply: FastifyReply, problem: Problem): FastifyReply {
    const { ref } = of(request);
    if (problem.challenge !== undefined)
      void reply.header('www-authenticate', challenge(problem, problem.challenge, neededScope(request)));
    if (problem.status === 503) void reply.header('retry-after', '1');
    // What was refused at the door is told as the API says it that was meant (RFC 7644 section 3.12).
    if (request.url.startsWith(`${SCIM_PATH}/`)) {
      const body = scimProblemBody({ status: problem.status, detail: `${problem.message} Reference: ${ref}.` });
      return reply.code(problem.status).type('application/scim+json').send(JSON.stringify(body));
    }
    return reply.code(problem.status).type('application/json').send(problemBody(problem, ref));
  }

  function challenge({ stepUp }: Problem, kind: NonNullable<Problem['challenge']>, scope: string): string {
    const metadataUrl = `${origin}${METADATA_PATH}`;
    if (stepUp) return challengeStepUp({ metadataUrl, ...stepUp });
    return kind === 'insufficient_scope'
      ? challenge403({ metadataUrl, scopes: [scope], description: 'The access token lacks a scope' })
      : challenge401({ metadataUrl, scope, presented: kind === 'invalid_token' });
  }

  server.removeAllContentTypeParsers();
  server.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, bytes, done) => {
    const parsed = parseStrictJson(bytes as Buffer, { ...limitsOf(request), maxDepth: 32 });
    if (parsed.ok) done(null, parsed.value);
    else done(new BadJson(parsed.error));
  });

  server.addHook('onRequest', async (request, reply) => {
    void reply.headers(securityHeaders(origin));
    // AuthZEN section "Request Identification": what names a request names its answer, whatever that is.
    const { 'x-request-id': id } = request.headers;
    if (typeof id === 'string' && REQUEST_ID.test(id)) void reply.header('x-request-id', id);
    if (isOpenProbe(request)) return;
    if (!hosts.has(request.headers.host ?? '')) {
      return answerProblem(request, reply, {
        status: 403,
        code: 'host_not_allowed',
        message: 'This listener does not answer for that Host.',
        remedy: 'Use the address in admin.publicUrl, or add the host to admin.allowedHosts.',
      });
    }
    // A browser page of another origin has no business here, and there is no CORS to tell it otherwise.
    if (request.headers.origin !== undefined && request.headers.origin !== origin) {
      return answerProblem(request, reply, {
        status: 403,
        code: 'origin_not_allowed',
        message: 'Requests from this origin are refused.',
      });
    }
  });

  server.setNotFoundHandler((request, reply) =>
    answerProblem(request, reply, { status: 404, code: 'no_such_route', message: 'There is nothing at this path.' }),
  );
  server.setErrorHandler(async (error, request, reply) => {
    const found = readableError(error, limitsOf(request));
    // AuthZEN knows one way to be wrong about a request.
    const problem: Problem = found.status === 415 && isAuthzen(request) ? { ...found, status: 400 } : found;
    if (problem.status >= 500)
      ctx.log.error({ ref: of(request).ref, err: error, route: request.routeOptions.url }, 'admin request failed');
    // A body that could not be taken in: no handler saw it, and what it was to change is refused all the same.
    const { who, ref } = of(request);
    if (who !== null) await ctx.refusals.note(ref, who, triedBy(request), problem);
    return answerProblem(request, reply, problem);
  });

  server.get('/healthz', async (_request, reply) => reply.send({ status: 'ok' }));
  server.get('/readyz', async (_request, reply) => {
    const fresh = ctx.follower.isFresh(ctx.facts.freshnessLimitMs);
    const reasons = [...new Set([...ctx.notReady(), ...(fresh ? [] : ['state_stale'])])];
    return reasons.length === 0 ? reply.send({ status: 'ok' }) : reply.code(503).send({ status: 'not_ready', reasons });
  });
  server.get(METADATA_PATH, async (_request, reply) =>
    reply.send(
      resourceMetadata({
        resource: `${origin}${API_PATH}`,
        name: 'Remit admin API',
        authorizationServers: ctx.facts.issuers,
        scopesSupported: Object.keys(SCOPES),
        scopes: Object.entries(SCOPES).map(([scope, description]) => ({ scope, description })),
      }),
    ),
  );

  server.get(AUTHZEN_METADATA_PATH, async (_request, reply) => reply.send(authzenMetadata(origin)));

  for (const route of [...ROUTES, ...AUTHZEN_ROUTES]) addRoute(server, route);
  void server.register(eventRoutes(ctx, () => origin));
  if (ctx.pages !== null) void server.register(pagesPlugin(ctx, ctx.pages, () => origin));

  function addRoute(instance: FastifyInstance, route: Route): void {
    instance.route({
      method: route.method,
      url: route.path,
      config: { scope: route.scope, ...(route.handler.limits && { limits: route.handler.limits }) },
      bodyLimit: route.handler.limits?.maxBytes ?? LIMITS.maxBytes,
      // Before the body is read: who may not call this does not get to send one.
      onRequest: async (request, reply) => {
        const { rawHeaders, url } = request.raw;
        const row = { ...route, params: request.params as Record<string, string> };
        const who = await admit(ctx, { rawHeaders, url: url ?? '' }, `${origin}${API_PATH}`, row, of(request).ref);
        if (!who.ok) return answerProblem(request, reply, who.error);
        of(request).who = who.value;
      },
      handler: async (request, reply) => {
        const { who, ref } = of(request);
        if (who === null) throw new Error('a route ran without an authenticated person');
        const answer = await perform(ctx, who, route, ref, () => readInput(route, request));
        if (!answer.ok) return answerProblem(request, reply, answer.error);
        const { status, revision, contentType, body: payload } = answer.value;
        if (revision !== undefined) void reply.header('etag', `"${revision}"`);
        return reply
          .code(status ?? 200)
          .type(contentType ?? 'application/json')
          .send(payload);
      },
    });
  }

  await server.register(
    scimPlugin(ctx, () => origin),
    { prefix: SCIM_PATH },
  );

  server.server.maxConnections = MAX_CONNECTIONS;
  await server.listen({ host: ctx.facts.host, port: ctx.facts.port });
  const { address, port, family } = server.server.address() as AddressInfo;
  const here = `${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  origin = (ctx.facts.publicUrl ?? `http://${here}`).replace(/\/$/, '');
  hosts = new Set([new URL(origin).host, ...ctx.facts.allowedHosts]);
  return { url: origin, close: () => server.close() };
}

class BadJson extends Error {
  readonly problem: JsonProblem;
  constructor(problem: JsonProblem) {
    super(problem.tag);
    this.problem = problem;
  }
}

const JSON_REMEDY: Readonly<Record<JsonProblem['tag'], string>> = {
  too_large: 'Send less at once.',
  not_utf8: 'Encode the body as UTF-8.',
  syntax: 'Check the JSON syntax.',
  too_deep: 'Nest less deeply.',
  too_many: 'Send fewer members.',
  unsafe_integer: 'Integers must fit in 53 bits.',
  duplicate_key: 'Name each key once.',
  forbidden_key: 'Remove that key.',
};

const isAuthzen = ({ routeOptions }: FastifyRequest): boolean =>
  AUTHZEN_ROUTES.some(({ path }) => path === routeOptions.url);

/** Probes of load balancers carry any Host; they learn one word. */
const isOpenProbe = (request: FastifyRequest): boolean =>
  request.routeOptions.url === '/healthz' || request.routeOptions.url === '/readyz';

const securityHeaders = (origin: string): Record<string, string> => ({
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  ...(origin.startsWith('https:') ? { 'strict-transport-security': 'max-age=31536000' } : {}),
});

function triedBy(request: FastifyRequest): Refused {
  const { method, url = '' } = request.routeOptions;
  return {
    method: method as Route['method'],
    path: url,
    scope: neededScope(request),
    params: request.params as Record<string, string>,
  };
}

function neededScope(request: FastifyRequest): string {
  const { scope } = request.routeOptions.config as { scope?: string };
  return scope ?? 'admin:read';
}

const limitsOf = (request: FastifyRequest): BodyLimits =>
  (request.routeOptions.config as { readonly limits?: BodyLimits }).limits ?? LIMITS;

function readInput(route: Route, request: FastifyRequest): Result<Input, Problem> {
  const query = readQuery(route, request.query);
  if (!query.ok) return query;
  const body = readBody(route, request.body);
  if (!body.ok) return body;
  const seen = readSeen(request);
  if (seen === null)
    return err({
      status: 400,
      code: 'bad_precondition',
      message: 'If-Match must be one ETag of this API, If-None-Match must be *.',
    });
  return ok({ params: request.params as Record<string, string>, query: query.value, body: body.value, seen });
}

function readSeen(request: FastifyRequest): Seen | null {
  const match = request.headers['if-match'];
  const none = request.headers['if-none-match'];
  if (match === undefined && none === undefined) return { kind: 'unsaid' };
  if (match !== undefined && none !== undefined) return null;
  if (none !== undefined) return none === '*' ? { kind: 'absent' } : null;
  const revision = /^"(\d{1,15})"$/.exec(match ?? '')?.[1];
  return revision === undefined ? null : { kind: 'revision', revision: Number(revision) };
}

function readableError(error: unknown, { maxBytes }: BodyLimits): Problem {
  if (error instanceof BadJson) {
    return {
      status: 400,
      code: 'bad_json',
      message: `The body is not acceptable JSON: ${error.problem.tag}.`,
      remedy: JSON_REMEDY[error.problem.tag],
    };
  }
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  switch (code) {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return {
        status: 415,
        code: 'unsupported_media_type',
        message: 'Only application/json is understood here.',
        remedy: 'Set Content-Type: application/json.',
      };
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return { status: 413, code: 'too_large', message: `The body is larger than ${maxBytes} bytes.` };
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return { status: 400, code: 'bad_request', message: 'The body does not match its headers.' };
    default:
      return {
        status: 500,
        code: 'internal',
        message: 'The request failed inside Remit.',
        remedy: 'Quote the reference to your operator; the process log names the cause.',
      };
  }
}
