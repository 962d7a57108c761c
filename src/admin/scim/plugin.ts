/**
 * SCIM 2.0 (RFC 7644) under `/scim/v2` of the admin listener: routes, media types, error shape, ETags. A request passes, in this order and
 * before its body is read: Host and Origin (server.ts), the connection's token, a fresh view of the state, the connection's limits.
 * Nothing here knows a person or a role of the admin API, and no token of a person opens anything here.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { resourceTypes, schemas, serviceProviderConfig, listResponse } from '../../directory/scim/discovery.ts';
import { bad, problemBody, quoted, refusalIn, refuse, type ScimProblem } from '../../directory/scim/problem.ts';
import { projection, type Projection } from '../../directory/scim/project.ts';
import { etagOf } from '../../directory/scim/resources.ts';
import { GROUPS, USERS, type ResourceType } from '../../directory/scim/schemas.ts';
import { checkSchemas, objectOf } from '../../directory/scim/values.ts';
import { newId } from '../../lib/ids.ts';
import type { Json, JsonObject } from '../../lib/json.ts';
import { parseStrictJson } from '../../lib/strict-json.ts';
import type { AdminContext } from '../context.ts';
import { noteContact } from '../events/contact.ts';
import { bulkResponse, MAX_BULK_OPERATIONS, readBulk, runBulk } from './bulk.ts';
import { changer } from './change.ts';
import { connectionOf, type Connected } from './connections.ts';
import { directoryIndex, type DirectoryIndex } from './directory-index.ts';
import { openDraft, type Draft } from './draft.ts';
import { connectionLimits, LIMITS, type LimitSettings } from './limits.ts';
import { GROUP_OPERATIONS, missing, USER_OPERATIONS, type Operations } from './operations.ts';
import { list, listAll, MAX_RESULTS, readListQuery, resourceOf, type Library } from './query.ts';

export const SCIM_PATH = '/scim/v2';
const MEDIA_TYPE = 'application/scim+json';
const MAX_BODY_BYTES = 2_097_152;
const SEARCH_REQUEST = 'urn:ietf:params:scim:api:messages:2.0:SearchRequest';

const UNAUTHENTICATED: ScimProblem = {
  status: 401,
  detail:
    'Send the token of an active provisioning connection as a Bearer token. It may have expired or been replaced.',
};

/** Registers everything on `server`, which has checked Host and Origin. `origin` is known once it listens. */
export function scimPlugin(ctx: AdminContext, origin: () => string, settings: LimitSettings = LIMITS) {
  return async (scope: FastifyInstance): Promise<void> => {
    const refs = new WeakMap<FastifyRequest, string>();
    const limits = connectionLimits(ctx.clock, settings);
    let built: DirectoryIndex | null = null;
    /** At the first request: a node that is never asked keeps no index. */
    const index = (): DirectoryIndex => (built ??= directoryIndex(ctx));
    scope.addHook('onClose', async () => built?.close());
    const base = (): string => `${origin()}${SCIM_PATH}`;
    const failures = failureCount(ctx);

    const refOf = (request: FastifyRequest): string => {
      let ref = refs.get(request);
      if (ref === undefined) refs.set(request, (ref = newId('ref', ctx.clock)));
      return ref;
    };

    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser(
      [MEDIA_TYPE, 'application/json'],
      { parseAs: 'buffer', bodyLimit: MAX_BODY_BYTES },
      (_request, bytes, done) => {
        // Some clients name a type and send nothing, with DELETE.
        if (bytes.length === 0) return done(null, undefined);
        const parsed = parseStrictJson(bytes as Buffer, {
          maxBytes: MAX_BODY_BYTES,
          maxDepth: 16,
          maxMembers: 200_000,
        });
        if (parsed.ok) done(null, parsed.value);
        else done(new BadBody(parsed.error.tag));
      },
    );

    function answerProblem(request: FastifyRequest, reply: FastifyReply, problem: ScimProblem): FastifyReply {
      if (problem.status === 401) void reply.header('www-authenticate', 'Bearer realm="scim"');
      if (problem.retryAfterSeconds !== undefined) void reply.header('retry-after', String(problem.retryAfterSeconds));
      const detail = problem.status >= 500 ? `${problem.detail} Reference: ${refOf(request)}.` : problem.detail;
      return reply
        .code(problem.status)
        .type(MEDIA_TYPE)
        .send(JSON.stringify(problemBody({ ...problem, detail })));
    }

    scope.setErrorHandler((error, request, reply) => {
      const problem = refusalIn(error) ?? readableError(error);
      if (problem.status === 500)
        ctx.log.error({ ref: refOf(request), err: error, route: request.routeOptions.url }, 'SCIM request failed');
      return answerProblem(request, reply, problem);
    });
    scope.setNotFoundHandler((request, reply) => {
      const known = connectionOf(ctx, { rawHeaders: request.raw.rawHeaders, url: request.raw.url ?? '' });
      return answerProblem(
        request,
        reply,
        known === null ? UNAUTHENTICATED : { status: 404, detail: 'There is nothing at this path.' },
      );
    });

    /** Asked anew whenever it counts: between the headers and the body, or in the queue, a connection may have been disabled. */
    function connected(request: FastifyRequest): Connected {
      const found = connectionOf(ctx, { rawHeaders: request.raw.rawHeaders, url: request.raw.url ?? '' });
      if (found === null) {
        failures.count();
        return refuse(UNAUTHENTICATED);
      }
      return found;
    }

    scope.addHook('onRequest', async (request) => {
      const view = ctx.snapshot();
      if (!ctx.follower.isFresh(ctx.facts.freshnessLimitMs) || view.voids === null || view.locks === null) {
        refuse({
          status: 503,
          detail: 'This node cannot confirm that its view of the directory is current, so it refuses.',
          retryAfterSeconds: 2,
        });
      }
      const { id } = connected(request);
      limits.request(id);
      // Reading is contact, too. If it cannot be noted, the alarm for silence comes too early: better than refusing a read.
      await noteContact(ctx, id).catch((fault: unknown) =>
        ctx.log.warn({ connection: id, err: fault }, 'contact of a provisioning connection not noted'),
      );
    });

    const { change } = changer(ctx, index, limits);

    const look = (request: FastifyRequest): Draft => {
      const { id, connection } = connected(request);
      return openDraft({ ctx, index: index(), connectionId: id, connection });
    };
    const library = (request: FastifyRequest, type: ResourceType): Library => ({
      type,
      index: index(),
      base: base(),
      look: () => look(request),
    });
    const shownBy = (type: ResourceType, query: { readonly [name: string]: unknown }): Projection =>
      projection(type, names(query['attributes']), names(query['excludedAttributes']));

    function show(
      request: FastifyRequest,
      reply: FastifyReply,
      type: ResourceType,
      id: string,
      status: 200 | 201,
    ): FastifyReply {
      const shown = shownBy(type, request.query as JsonObject);
      const draft = look(request);
      const values = resourceOf(library(request, type), draft, id, shown.shows('members')) ?? missing(type, id);
      const etag = etagOf(draft.revision(type === USERS ? 'person' : 'group', id) ?? 0);
      void reply.header('etag', etag);
      if (request.method === 'GET' && sameTag(request.headers['if-none-match'], etag)) return reply.code(304).send();
      if (status === 201) void reply.header('location', `${base()}${type.endpoint}/${id}`);
      return reply
        .code(status)
        .type(MEDIA_TYPE)
        .send(JSON.stringify(shown.apply(values)));
    }

    const json = (reply: FastifyReply, body: unknown): FastifyReply =>
      reply.type(MEDIA_TYPE).send(JSON.stringify(body));

    for (const [type, operations] of [
      [USERS, USER_OPERATIONS],
      [GROUPS, GROUP_OPERATIONS],
    ] as const)
      serve(type, operations);

    function serve(type: ResourceType, operations: Operations): void {
      const noun = type.name.toLowerCase();
      const kind = type === USERS ? 'person' : 'group';
      const idOf = (request: FastifyRequest): string => (request.params as { readonly id: string }).id;
      const changed = <T>(
        request: FastifyRequest,
        verb: string,
        about: (value: T) => string,
        work: (draft: Draft) => T,
      ) =>
        change(
          {
            ref: refOf(request),
            still: () => connected(request),
            what: `scim.${noun}.${verb}`,
            subject: (value: T) => `${kind}/${about(value)}`,
          },
          work,
        );

      scope.get(type.endpoint, async (request, reply) => {
        const query = request.query as { readonly [name: string]: unknown };
        return json(reply, await search(request, type, query));
      });
      scope.post(`${type.endpoint}/.search`, async (request, reply) =>
        json(reply, await search(request, type, searchBody(request))),
      );
      scope.post(type.endpoint, async (request, reply) => {
        const body = bodyOf(request);
        const id = await changed(request, 'created', String, (draft) => operations.create(draft, body));
        return show(request, reply, type, id, 201);
      });
      scope.get(`${type.endpoint}/:id`, async (request, reply) => show(request, reply, type, idOf(request), 200));
      scope.put(`${type.endpoint}/:id`, async (request, reply) => {
        const [id, body] = [idOf(request), bodyOf(request)];
        await changed(
          request,
          'replaced',
          () => id,
          (draft) => operations.replace(draft, id, body, request.headers['if-match']),
        );
        return show(request, reply, type, id, 200);
      });
      scope.patch(`${type.endpoint}/:id`, async (request, reply) => {
        const [id, body] = [idOf(request), bodyOf(request)];
        await changed(
          request,
          'changed',
          () => id,
          (draft) => operations.patch(draft, id, body, request.headers['if-match'], base()),
        );
        return show(request, reply, type, id, 200);
      });
      scope.delete(`${type.endpoint}/:id`, async (request, reply) => {
        const id = idOf(request);
        const remove = (first: boolean): Promise<void> =>
          changed(
            request,
            'removed',
            () => id,
            (draft) => (first ? operations.remove(draft, id, request.headers['if-match']) : draft.removeGroup(id)),
          );
        await remove(true);
        if (operations === GROUP_OPERATIONS) {
          // The group gives nothing any more; what is left of a very large one is its id at its members.
          for (let left = index().members(id); left.length > 0; left = index().members(id)) await remove(false);
        }
        return reply.code(204).send();
      });
    }

    function search(request: FastifyRequest, type: ResourceType, query: { readonly [name: string]: unknown }) {
      const read = readListQuery(query);
      const run = () => list(library(request, type), read, shownBy(type, query));
      return read.filter === null && read.sortBy === null ? run() : limits.search(connected(request).id, run);
    }

    scope.post('/.search', async (request, reply) => {
      const sent = searchBody(request);
      const query = readListQuery(sent);
      const parts = [USERS, GROUPS].map((type) => ({ library: library(request, type), shown: shownBy(type, sent) }));
      return json(reply, await limits.search(connected(request).id, () => listAll(parts, query)));
    });

    scope.post('/Bulk', async (request, reply) => {
      const bulk = readBulk(bodyOf(request));
      const { id } = connected(request);
      const done = await change(
        {
          ref: refOf(request),
          still: () => connected(request),
          what: 'scim.bulk',
          subject: () => `scim_connection/${id}`,
        },
        (draft) => {
          const { failed, done } = runBulk(draft, bulk, base());
          if (failed) draft.discard();
          return done;
        },
      );
      const revisionOf = (kind: 'User' | 'Group', of: string) =>
        ctx.follower.records.get(kind === 'User' ? 'person' : 'group', ctx.org, of)?.revision;
      return json(reply, bulkResponse(done, base(), revisionOf));
    });

    scope.get('/ServiceProviderConfig', async (_request, reply) =>
      json(
        reply,
        serviceProviderConfig(base(), {
          maxResults: MAX_RESULTS,
          maxOperations: MAX_BULK_OPERATIONS,
          maxPayloadBytes: MAX_BODY_BYTES,
        }),
      ),
    );
    for (const [path, documents] of [
      ['/ResourceTypes', resourceTypes],
      ['/Schemas', schemas],
    ] as const) {
      scope.get(path, async (request, reply) => {
        // RFC 7644 section 4: nobody filters these.
        if ((request.query as JsonObject)['filter'] !== undefined)
          refuse({ status: 403, detail: 'This list takes no filter.' });
        const all = documents(base());
        return json(reply, listResponse(all, all.length, 1));
      });
      scope.get(`${path}/:id`, async (request, reply) => {
        const { id } = request.params as { readonly id: string };
        const found = documents(base()).find((document) => document['id'] === id);
        return json(reply, found ?? refuse({ status: 404, detail: `There is no ${quoted(id)} here.` }));
      });
    }
    for (const url of ['/ServiceProviderConfig', '/ResourceTypes', '/Schemas']) {
      scope.route({
        method: ['POST', 'PUT', 'PATCH', 'DELETE'],
        url,
        handler: async (_request, reply) => {
          void reply.header('allow', 'GET');
          refuse({ status: 405, detail: 'This document is only read.' });
        },
      });
    }
    scope.all('/Me', async () =>
      refuse({ status: 501, detail: 'A connection is not a person: there is no /Me here.' }),
    );
  };
}

const bodyOf = (request: FastifyRequest): Json => (request.body as Json | undefined) ?? null;

function searchBody(request: FastifyRequest): { readonly [name: string]: Json } {
  const sent = objectOf(bodyOf(request), 'The search');
  checkSchemas(sent, SEARCH_REQUEST);
  return sent;
}

/** `a,b` of a query, or the list of `.search`. */
function names(value: unknown): readonly string[] {
  if (value === undefined || value === null || value === '') return [];
  const list = typeof value === 'string' ? value.split(',') : value;
  if (!Array.isArray(list) || list.length > 100 || !list.every((one) => typeof one === 'string'))
    return bad('invalidValue', 'attributes and excludedAttributes are lists of names.');
  return list.map((name) => name.trim()).filter((name) => name !== '');
}

function sameTag(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  const plain = (tag: string): string => tag.trim().replace(/^W\//, '');
  return header.split(',').some((tag) => tag.trim() === '*' || plain(tag) === plain(etag));
}

/** Anybody can fail to authenticate: one line in a minute at most, with how many there were. */
function failureCount(ctx: Pick<AdminContext, 'clock' | 'log'>) {
  let failed = 0;
  let toldAt = Number.NEGATIVE_INFINITY;
  return {
    count() {
      failed++;
      const now = ctx.clock.now();
      if (now - toldAt < 60_000) return;
      ctx.log.warn({ failed }, 'SCIM requests without the token of an active connection');
      failed = 0;
      toldAt = now;
    },
  };
}

class BadBody extends Error {
  readonly tag: string;
  constructor(tag: string) {
    super(tag);
    this.tag = tag;
  }
}

function readableError(error: unknown): ScimProblem {
  if (error instanceof BadBody)
    return { status: 400, scimType: 'invalidSyntax', detail: `The body is not acceptable JSON: ${error.tag}.` };
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  switch (code) {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return { status: 415, detail: `Set Content-Type to ${MEDIA_TYPE} or application/json.` };
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return { status: 413, scimType: 'tooMany', detail: `The body is larger than ${MAX_BODY_BYTES} bytes.` };
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return { status: 400, scimType: 'invalidSyntax', detail: 'The body does not match its headers.' };
    default:
      return { status: 500, detail: 'The request failed inside Remit. The process log names the cause.' };
  }
}
