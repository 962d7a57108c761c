/**
 * Where transmitters push security events (RFC 8935): `POST /events/{stream id}` with the bearer token of the stream and one token in
 * the body. Who has no token of the stream does not get to send a body, and does not learn whether there is such a stream.
 * Also what receivers of our own events need to know of us: SSF configuration metadata and our keys.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { readBearer } from '../../identity/bearer.ts';
import { MAX_EVENT_BYTES } from '../../identity/security-event.ts';
import type { EventError } from '../../identity/security-event.ts';
import { sameText, sha256Hex } from '../../lib/bytes.ts';
import type { AdminContext } from '../context.ts';
import type { Stream } from './apply.ts';
import { eventReceiver } from './receive.ts';

export const EVENTS_PATH = '/events';
export const EVENT_KEYS_PATH = `${EVENTS_PATH}/jwks`;
const PUSH_DELIVERY = 'urn:ietf:rfc:8935';

/** A Fastify plugin with a body parser of its own. `origin`: of the listener, without trailing slash. */
export function eventRoutes(ctx: AdminContext, origin: () => string) {
  const receiver = eventReceiver(ctx);
  const admitted = new WeakMap<FastifyRequest, Stream>();

  /** The stream of the path, active now, if the request has one of its tokens; null for everything else. */
  function opened(request: FastifyRequest): Stream | null {
    const { stream: id } = request.params as { stream: string };
    const stream = receiver.stream(id);
    const bearer = readBearer(request.raw.rawHeaders, request.raw.url ?? '');
    if (stream !== undefined && bearer.ok && opens(stream, bearer.value, ctx.clock.now())) return stream;
    // Anybody can send these: at a level that a flood cannot use to fill the disk of a process in service.
    ctx.log.debug({ known: stream !== undefined, bearer: bearer.ok }, 'security event without a good bearer token');
    return null;
  }

  return async function events(server: FastifyInstance): Promise<void> {
    server.removeAllContentTypeParsers();
    server.addContentTypeParser(
      'application/secevent+jwt',
      { parseAs: 'string', bodyLimit: MAX_EVENT_BYTES },
      (_request, body, done) => done(null, body),
    );
    server.setErrorHandler(async (error, request, reply) => {
      const stream = admitted.get(request);
      const code = typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
      const description = UNREADABLE[code];
      if (stream === undefined || description === undefined) {
        ctx.log.error({ err: error }, 'a security event request failed');
        return reply.code(500).send();
      }
      await receiver.refused(stream, 'invalid_request', description);
      return refuse(reply, 'invalid_request', description);
    });

    server.post(`${EVENTS_PATH}/:stream`, {
      onRequest: async (request, reply) => {
        const stream = opened(request);
        if (stream === null) return refuse(reply, 'authentication_failed', NOT_OPENED);
        admitted.set(request, stream);
        return undefined;
      },
      handler: async (request, reply) => {
        // ATTACKER-CONTROLLED: when the body is there. Its token may have been taken back meanwhile.
        const stream = opened(request);
        if (stream === null) return refuse(reply, 'authentication_failed', NOT_OPENED);
        if (typeof request.body !== 'string') {
          await receiver.refused(stream, 'invalid_request', UNREADABLE['FST_ERR_CTP_EMPTY_BODY']!);
          return refuse(reply, 'invalid_request', UNREADABLE['FST_ERR_CTP_EMPTY_BODY']!);
        }
        const received = await receiver.receive(stream, request.body.trim());
        switch (received.kind) {
          case 'accepted':
            return reply.code(202).send();
          case 'refused':
            return refuse(reply, received.code, received.description);
          case 'unavailable':
            return reply.code(503).header('retry-after', '1').send();
          default:
            return received satisfies never;
        }
      },
    });

    const { events: own } = ctx;
    if (own === null) return;
    server.get(EVENT_KEYS_PATH, async (_request, reply) => reply.send({ keys: own.publicKeys() }));
    server.get('/.well-known/ssf-configuration', async (_request, reply) =>
      reply.send({
        spec_version: '1_0',
        issuer: origin(),
        jwks_uri: `${origin()}${EVENT_KEYS_PATH}`,
        delivery_methods_supported: [PUSH_DELIVERY],
        default_subjects: 'ALL',
      }),
    );
  };
}

const NOT_OPENED = 'The bearer token is not one of this stream, or it has ended.';

const UNREADABLE: Readonly<Record<string, string>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'Send one token with Content-Type: application/secevent+jwt.',
  FST_ERR_CTP_BODY_TOO_LARGE: 'The token is larger than 64 KiB.',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'The body does not match its Content-Length.',
  FST_ERR_CTP_EMPTY_BODY: 'The body is empty; send one token with Content-Type: application/secevent+jwt.',
};

function refuse(reply: FastifyReply, err: EventError, description: string): FastifyReply {
  return reply.code(400).type('application/json').header('content-language', 'en').send({ err, description });
}

/** Compares hashes, all of them, so that time tells nothing about the tokens. */
function opens({ delivery }: Stream, bearer: string, now: number): boolean {
  if (delivery.method !== 'push') return false;
  const hash = sha256Hex(bearer);
  let good = false;
  for (const { sha256, expiresAt } of delivery.tokens) {
    if (sameText(hash, sha256) && expiresAt > now) good = true;
  }
  return good;
}
