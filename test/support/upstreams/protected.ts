/**
 * A sink that wants tokens, and its authorization server, both on loopback and scripted through `script`. What reached the
 * authorization server stands in `asked`. It shares no code with the product, so that a mistake there is not repeated here.
 */
import { randomUUID } from 'node:crypto';
import { type IncomingMessage, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Sink, type SinkOptions, type SinkRequest, startSink } from './sink.ts';

type Json = Record<string, unknown>;
type Headers = Readonly<Record<string, string | string[] | undefined>>;

export interface AskedRequest {
  readonly path: string;
  readonly headers: Headers;
  readonly form: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface ScriptedAnswer {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body: Json;
}

export interface AuthorizationSite {
  readonly issuer: string;
  readonly asked: readonly AskedRequest[];
  /** Requests for tokens among them. */
  tokens(): readonly AskedRequest[];
  /** Members that replace those of the metadata; undefined removes one. */
  metadata: Json;
  /** What the token endpoint answers; null: a new bearer token for an hour. */
  token: ((request: AskedRequest) => ScriptedAnswer | null) | null;
  /** Every access token it gave, newest last. */
  readonly given: string[];
  close(): Promise<void>;
}

const read = async (request: IncomingMessage): Promise<string> => {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return text;
};

export async function startAuthorizationSite(): Promise<AuthorizationSite> {
  const asked: AskedRequest[] = [];
  const given: string[] = [];
  const server = createServer((request, response) => {
    void (async () => {
      const body = await read(request);
      const path = request.url ?? '';
      const one = { path, headers: request.headers, body, form: Object.fromEntries(new URLSearchParams(body)) };
      asked.push(one);
      const { status = 200, headers = {}, body: answer } = answerTo(one) ?? { status: 404, body: {} };
      response.writeHead(status, { 'content-type': 'application/json', ...headers });
      response.end(JSON.stringify(answer));
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  function answerTo(request: AskedRequest): ScriptedAnswer | null {
    switch (request.path) {
      case '/.well-known/oauth-authorization-server':
        return {
          body: {
            issuer,
            authorization_endpoint: `${issuer}/authorize`,
            token_endpoint: `${issuer}/token`,
            registration_endpoint: `${issuer}/register`,
            code_challenge_methods_supported: ['S256'],
            token_endpoint_auth_methods_supported: [
              'client_secret_basic',
              'client_secret_post',
              'private_key_jwt',
              'none',
            ],
            ...site.metadata,
          },
        };
      case '/token': {
        const scripted = site.token?.(request) ?? null;
        if (scripted !== null) return scripted;
        const token = `at-${randomUUID()}`;
        given.push(token);
        return { body: { access_token: token, token_type: 'Bearer', expires_in: 3600 } };
      }
      case '/register':
        return { status: 201, body: { client_id: `client-of-${issuer}`, client_secret: `secret-of-${issuer}` } };
      case '/revoke':
        return { body: {} };
      default:
        return null;
    }
  }

  const site: AuthorizationSite = {
    issuer,
    asked,
    given,
    tokens: () => asked.filter(({ path }) => path === '/token'),
    metadata: {},
    token: null,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return site;
}

export interface ProtectedSink extends Sink {
  /** The authorization servers of its metadata. */
  servers: string[];
  /** Members that replace those of its metadata. */
  resource: Json;
  /** Whether a request is let in; its status and challenge if it is not. Default: the newest token of `site`. */
  admit:
    | ((
        request: SinkRequest,
      ) => { readonly status: number; readonly challenge: string; readonly nonce?: string } | null)
    | null;
  /** Parameters of the challenge of a 401. */
  challenge: string;
}

/** A sink that lets in whoever has the newest token of `site`. */
export async function startProtected(site: AuthorizationSite, options: SinkOptions = {}): Promise<ProtectedSink> {
  const sink = await startSink(options);
  const { origin } = new URL(sink.url);
  const guarded: ProtectedSink = Object.assign(sink, {
    servers: [site.issuer],
    resource: {},
    admit: null,
    challenge: `resource_metadata="${origin}/.well-known/oauth-protected-resource/mcp"`,
  });
  const json = (status: number, body: Json, headers: Record<string, string> = {}) => ({
    status,
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  sink.intercept((request) => {
    if (request.path.startsWith('/.well-known/'))
      return request.path === '/.well-known/oauth-protected-resource/mcp'
        ? json(200, { resource: sink.url, authorization_servers: guarded.servers, ...guarded.resource })
        : json(404, {});
    const newest = `Bearer ${site.given.at(-1)}`;
    const refusal: ReturnType<NonNullable<ProtectedSink['admit']>> =
      guarded.admit === null
        ? request.headers['authorization'] === newest
          ? null
          : { status: 401, challenge: `Bearer ${guarded.challenge}` }
        : guarded.admit(request);
    return refusal === null
      ? null
      : json(
          refusal.status,
          {},
          {
            'www-authenticate': refusal.challenge,
            ...(refusal.nonce !== undefined && { 'dpop-nonce': refusal.nonce }),
          },
        );
  });
  return guarded;
}
